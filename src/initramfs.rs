//! What an initramfs holds: the names in its cpio archives, read the way the kernel unpacks them.
//!
//! The file is a row of segments, with zero bytes between them: plain newc archives (early microcode) and
//! gzip, xz or zstd streams of such archives. It is read once from front to back in bounded memory.

mod source;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::io::{self, Read};

use crate::error::{Error, Result};
use crate::unpack::{Compression, DICTIONARY, Decoder, HEAD, Problem};
use source::Source;

/// Bounds on what is read, so that a damaged or hostile file costs neither memory nor time.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Largest number of files and directories.
    pub entries: usize,
    /// Largest sum of their names' lengths.
    pub names: usize,
    /// Largest content after decompression, in bytes.
    pub content: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { entries: 50_000, names: 3 << 20, content: 2 << 30 }
    }
}

/// The longest name that the kernel takes out of an archive, with its final NUL.
const PATH_MAX: usize = 4096;
/// As much as the decoder can take; `zstd -19` asks for 8 MiB.
const WINDOW: u64 = 100 << 20;
const TRAILER: &str = "TRAILER!!!";
const REMAKE: &str = "make it again with mkinitfs";

/// The paths of all that the archives hold, without a leading `/` or `./`.
pub fn names(reader: impl Read) -> Result<BTreeSet<String>> {
    names_within(reader, &Limits::default())
}

pub fn names_within(reader: impl Read, limits: &Limits) -> Result<BTreeSet<String>> {
    let mut file = Source::new(reader, limits.content);
    let mut found = Found { names: BTreeSet::new(), length: 0, left: limits.content, limits: *limits };
    let mut segments = 0;
    loop {
        file.skip_zeros().map_err(broken)?;
        let mut head = [0; HEAD];
        let seen = file.peek(HEAD).map_err(broken)?;
        let length = seen.len();
        head[..length].copy_from_slice(seen);
        match &head[..length] {
            [] if segments == 0 => return Err(bad("it is empty").remedy(REMAKE)),
            [] => return Ok(found.names),
            start if start.starts_with(b"0707") => archive(&mut file, &mut found)?,
            start => compressed(&mut file, start, &mut found)?,
        }
        segments += 1;
    }
}

/// A compressed segment: archives, and nothing else, up to the end of the stream.
fn compressed<R: Read>(file: &mut Source<R>, head: &[u8], found: &mut Found) -> Result<()> {
    let compression = Compression::of(head);
    if compression == Compression::None {
        return Err(unknown(head, file.position()));
    }
    let decoder = Decoder::new(file, head, WINDOW).map_err(|p| broken(problem(compression, p)))?;
    let mut content = Source::new(Unpacked { compression, decoder }, found.left);
    let mut archives = 0;
    loop {
        content.skip_zeros().map_err(broken)?;
        match content.peek(4).map_err(broken)? {
            [] if archives == 0 => return Err(bad(format!("its {compression} data holds nothing")).remedy(REMAKE)),
            [] => break,
            b"0707" => archive(&mut content, found)?,
            _ => return Err(bad(format!("its {compression} data is not a cpio archive")).remedy(REMAKE)),
        }
        archives += 1;
    }
    found.left = found.left.saturating_sub(content.position());
    Ok(())
}

/// One archive, up to its trailer.
///
/// The crate `cpio` reads this format too, but sets memory aside for a name of any length that a header
/// claims and hides where an archive ends; all that is needed here is a header of 110 bytes.
fn archive<R: Read>(source: &mut Source<R>, found: &mut Found) -> Result<()> {
    let mut header = [0; 110];
    let mut name = [0; PATH_MAX];
    loop {
        let at = source.position();
        let damaged = |what: &str| bad(format!("the cpio archive is damaged at byte {at}: {what}")).remedy(REMAKE);
        source.read_exact(&mut header).map_err(broken)?;
        match &header[..6] {
            b"070701" | b"070702" => {}
            b"070707" => return Err(bad("it is a cpio archive of the old format, which the kernel does not read")),
            _ => return Err(damaged("no header where one should be")),
        }
        let field = |index: usize| number(&header[6 + 8 * index..][..8]);
        let (size, length) = (field(6), field(11));
        let (Some(size), Some(length)) = (size, length) else { return Err(damaged("a number is not one")) };
        if length == 0 || length as usize > PATH_MAX {
            return Err(damaged(&format!("a name of {length} bytes")));
        }
        let bytes = &mut name[..length as usize];
        source.read_exact(bytes).map_err(broken)?;
        let Some(end) = bytes.iter().position(|b| *b == 0) else { return Err(damaged("a name without end")) };
        let text = String::from_utf8_lossy(&bytes[..end]);
        // What follows the trailer is padding, which may be missing at the very end.
        if text == TRAILER {
            return Ok(());
        }
        let padding = (110 + length).next_multiple_of(4) - (110 + length);
        let content = u64::from(size).next_multiple_of(4);
        source.skip(u64::from(padding) + content).map_err(broken)?;
        found.add(&text)?;
    }
}

fn number(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |value, digit| Some(value << 4 | char::from(*digit).to_digit(16)?))
}

struct Found {
    names: BTreeSet<String>,
    length: usize,
    /// Bytes that compressed segments may still unpack to.
    left: u64,
    limits: Limits,
}

impl Found {
    fn add(&mut self, name: &str) -> Result<()> {
        let name = name.trim_start_matches("./").trim_start_matches('/');
        if name.is_empty() || name == "." {
            return Ok(());
        }
        self.length += name.len();
        if self.names.len() >= self.limits.entries || self.length > self.limits.names {
            let Limits { entries, names, .. } = self.limits;
            return Err(bad(format!("it holds more than {entries} names, or more than {names} bytes of them")));
        }
        self.names.insert(name.to_string());
        Ok(())
    }
}

/// A compressed stream as something to read from.
struct Unpacked<'a, R: Read> {
    compression: Compression,
    decoder: Decoder<'a, Source<R>>,
}

impl<R: Read> Read for Unpacked<'_, R> {
    fn read(&mut self, chunk: &mut [u8]) -> io::Result<usize> {
        self.decoder.read(chunk).map_err(|p| problem(self.compression, p))
    }
}

fn problem(compression: Compression, problem: Problem) -> io::Error {
    io::Error::other(match problem {
        Problem::Cut => format!("the {compression} data is cut short"),
        Problem::Damaged(why) => format!("the {compression} data is damaged: {why}"),
        Problem::Dictionary => format!("the xz data asks for a dictionary of more than {DICTIONARY} bytes"),
        Problem::Window(size) => format!("the zstd data asks for a window of {size} bytes"),
    })
}

fn broken(e: io::Error) -> Error {
    let cut = e.kind() == io::ErrorKind::UnexpectedEof;
    bad(if cut { "the cpio archive is cut short".to_string() } else { e.to_string() }).remedy(REMAKE)
}

fn unknown(head: &[u8], position: u64) -> Error {
    let name = match head {
        [0x02, 0x21, 0x4c, 0x18, ..] | [0x04, 0x22, 0x4d, 0x18, ..] => "lz4",
        [b'B', b'Z', b'h', ..] => "bzip2",
        [0x5d, 0x00, 0x00, ..] => "lzma",
        [0x89, b'L', b'Z', b'O', ..] => "lzo",
        _ => {
            let what = format!("at byte {position} there is neither a cpio archive nor data compressed in a known way");
            return bad(what).remedy(REMAKE);
        }
    };
    bad(format!("it is compressed with {name}, which cannot be read"))
        .remedy("set initfscomp=\"gzip\" in /etc/mkinitfs/mkinitfs.conf and make it again with mkinitfs")
}

fn bad(message: impl Into<String>) -> Error {
    Error::step(message)
}
