//! Decompression as a stream: gzip, xz and zstd, told apart by content, in bounded memory.

use std::fmt;
use std::io::{self, BufRead};

use ruzstd::decoding::{FrameDecoder, StreamingDecoder};
use serde::{Deserialize, Serialize};
use xz4rust::{XzDecoder, XzError};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    None,
    Gzip,
    Xz,
    Zstd,
}

impl Compression {
    /// By content, never by file name: mirrors and browsers rename and unpack.
    pub fn of(bytes: &[u8]) -> Compression {
        match bytes {
            [0x1f, 0x8b, ..] => Compression::Gzip,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Compression::Xz,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Compression::Zstd,
            _ => Compression::None,
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Compression::None => "uncompressed",
            Compression::Gzip => "gzip",
            Compression::Xz => "xz",
            Compression::Zstd => "zstd",
        })
    }
}

/// Why a stream cannot be read to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// The data ends before the stream does.
    Cut,
    Damaged(String),
    /// An xz stream that wants a dictionary larger than [`DICTIONARY`].
    Dictionary,
    /// A zstd frame that wants a window of this size, larger than allowed.
    Window(u64),
}

/// What `xz -9` asks for, however small the file; the format itself would allow 4 GiB.
pub const DICTIONARY: usize = 64 << 20;
/// As many first bytes as [`Decoder::new`] has to see: the longest header of a zstd frame.
pub const HEAD: usize = 18;
const CHUNK: usize = 64 << 10;

/// One compressed stream. It takes from its source exactly the bytes of that stream, so that whatever
/// follows can be read afterwards.
pub enum Decoder<'a, R: BufRead> {
    None(&'a mut R),
    Gzip(flate2::bufread::GzDecoder<&'a mut R>),
    Xz { decoder: Box<XzDecoder<'static>>, source: &'a mut R, ended: bool },
    Zstd(Box<StreamingDecoder<&'a mut R, FrameDecoder>>),
}

impl<'a, R: BufRead> Decoder<'a, R> {
    /// `head` is the beginning of what `source` holds, at least [`HEAD`] bytes unless there are fewer.
    pub fn new(source: &'a mut R, head: &[u8], window: u64) -> Result<Decoder<'a, R>, Problem> {
        Ok(match Compression::of(head) {
            Compression::None => Decoder::None(source),
            Compression::Gzip => Decoder::Gzip(flate2::bufread::GzDecoder::new(source)),
            Compression::Xz => {
                let decoder = XzDecoder::in_heap_with_alloc_dict_size(CHUNK, DICTIONARY);
                Decoder::Xz { decoder, source, ended: false }
            }
            Compression::Zstd => {
                // One window is kept before anything is handed out, so the window is a bound of its own.
                let asked = zstd_window(head).ok_or(Problem::Cut)?;
                if asked > window {
                    return Err(Problem::Window(asked));
                }
                let decoder = StreamingDecoder::new(source).map_err(|e| Problem::Damaged(e.to_string()))?;
                Decoder::Zstd(Box::new(decoder))
            }
        })
    }

    /// The next bytes; none at the end of the stream, whose checksum was right.
    pub fn read(&mut self, chunk: &mut [u8]) -> Result<usize, Problem> {
        loop {
            let done = match self {
                Decoder::None(source) => source.read(chunk),
                Decoder::Gzip(decoder) => io::Read::read(decoder, chunk),
                Decoder::Xz { ended: true, .. } => Ok(0),
                Decoder::Xz { decoder, source, ended } => return xz(decoder, *source, ended, chunk),
                Decoder::Zstd(decoder) => return zstd(decoder, chunk),
            };
            match done {
                Ok(n) => return Ok(n),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Err(Problem::Cut),
                Err(e) => return Err(Problem::Damaged(e.to_string())),
            }
        }
    }
}

fn xz(
    decoder: &mut XzDecoder<'static>,
    source: &mut impl BufRead,
    ended: &mut bool,
    chunk: &mut [u8],
) -> Result<usize, Problem> {
    loop {
        let input = match source.fill_buf() {
            Ok(input) => input,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(Problem::Damaged(e.to_string())),
        };
        let at_end = input.is_empty();
        let step = decoder.decode(input, chunk).map_err(|e| match e {
            XzError::NeedsLargerInputBuffer => Problem::Cut,
            XzError::UnsupportedLzmaProperties(_) | XzError::DictionaryTooLarge(_) => Problem::Dictionary,
            other => Problem::Damaged(other.to_string()),
        })?;
        let (taken, made) = (step.input_consumed(), step.output_produced().min(chunk.len()));
        source.consume(taken);
        *ended = step.is_end_of_stream();
        if *ended || made > 0 {
            return Ok(made);
        }
        if at_end || !step.made_progress() {
            return Err(Problem::Cut);
        }
    }
}

fn zstd<R: BufRead>(decoder: &mut StreamingDecoder<&mut R, FrameDecoder>, chunk: &mut [u8]) -> Result<usize, Problem> {
    match io::Read::read(decoder, chunk) {
        Ok(0) => {
            let stored = decoder.decoder.get_checksum_from_data();
            if stored.is_some() && stored != decoder.decoder.get_calculated_checksum() {
                return Err(Problem::Damaged("checksum mismatch".into()));
            }
            Ok(0)
        }
        Ok(n) => Ok(n),
        Err(e) => {
            // Its errors do not say whether input ran out; an empty remainder does.
            let ran_out = decoder.get_mut().fill_buf().is_ok_and(|rest| rest.is_empty());
            Err(if ran_out { Problem::Cut } else { Problem::Damaged(e.to_string()) })
        }
    }
}

/// Window size out of a zstd frame header (RFC 8878, 3.1.1.1).
fn zstd_window(bytes: &[u8]) -> Option<u64> {
    let descriptor = *bytes.get(4)?;
    let single_segment = descriptor & 0x20 != 0;
    if !single_segment {
        let byte = u64::from(*bytes.get(5)?);
        let base = 1u64 << (10 + (byte >> 3));
        return Some(base + base / 8 * (byte & 7));
    }
    let dictionary_id = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let width = [1, 2, 4, 8][usize::from(descriptor >> 6)];
    let field = bytes.get(5 + dictionary_id..)?.get(..width)?;
    let size = field.iter().rev().fold(0u64, |value, byte| value << 8 | u64::from(*byte));
    Some(if width == 2 { size + 256 } else { size })
}
