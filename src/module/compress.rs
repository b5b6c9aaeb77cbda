//! Decompression with bounds: kmod reads `.ko`, `.ko.gz`, `.ko.xz` and `.ko.zst`, so do we.

use super::{FETCH_AGAIN, Limits, RATIO_FLOOR, bad};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;
use std::io::{self, Read};
use xz4rust::XzError;

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

/// The module itself; borrowed when the file is not compressed.
pub(crate) fn expand<'a>(bytes: &'a [u8], limits: &Limits) -> Result<(Compression, Cow<'a, [u8]>)> {
    let compression = Compression::of(bytes);
    let sink = Sink::new(compression, bytes.len(), limits);
    let plain = match compression {
        Compression::None => return Ok((compression, Cow::Borrowed(bytes))),
        Compression::Gzip => gzip(bytes, sink)?,
        Compression::Xz => xz(bytes, sink)?,
        Compression::Zstd => zstd(bytes, sink, limits)?,
    };
    if plain.is_empty() {
        return Err(bad(format!("the {compression} file unpacks to nothing")).remedy(FETCH_AGAIN));
    }
    Ok((compression, Cow::Owned(plain)))
}

const CHUNK: usize = 64 << 10;

/// Collects output and stops at the bound, whatever the decoder would go on to produce.
struct Sink {
    compression: Compression,
    packed: usize,
    cap: u64,
    uncompressed: u64,
    out: Vec<u8>,
}

impl Sink {
    fn new(compression: Compression, packed: usize, limits: &Limits) -> Sink {
        let by_ratio = (packed as u64).saturating_mul(limits.ratio).max(RATIO_FLOOR);
        let cap = by_ratio.min(limits.uncompressed);
        Sink { compression, packed, cap, uncompressed: limits.uncompressed, out: Vec::new() }
    }

    fn push(&mut self, chunk: &[u8]) -> Result<()> {
        if (self.out.len() + chunk.len()) as u64 > self.cap {
            return Err(self.overflow());
        }
        self.out.extend_from_slice(chunk);
        Ok(())
    }

    fn overflow(&self) -> Error {
        let Sink { compression, packed, cap, .. } = self;
        let error = if self.cap < self.uncompressed {
            bad(format!("the {compression} file of {packed} bytes unpacks to more than {cap}: a decompression bomb"))
        } else {
            bad(format!("the {compression} file unpacks to more than the limit of {cap} bytes"))
        };
        error.remedy("a kernel module is far smaller: check where the file comes from")
    }

    fn drain(&mut self, reader: &mut impl Read) -> Result<()> {
        let mut chunk = vec![0; CHUNK];
        loop {
            match reader.read(&mut chunk) {
                Ok(0) => return Ok(()),
                Ok(n) => self.push(&chunk[..n])?,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
                    return Err(cut(self.compression));
                }
                Err(e) => return Err(damaged(self.compression, e)),
            }
        }
    }

    /// All of the file has to be the one compressed stream that kmod would read.
    fn finish(self, rest: &[u8]) -> Result<Vec<u8>> {
        if rest.is_empty() {
            return Ok(self.out);
        }
        let Sink { compression, .. } = self;
        Err(bad(format!("{} stray bytes follow the {compression} data", rest.len())).remedy(FETCH_AGAIN))
    }
}

fn cut(compression: Compression) -> Error {
    bad(format!("the {compression} data is cut short")).remedy(FETCH_AGAIN)
}

fn damaged(compression: Compression, cause: impl fmt::Display) -> Error {
    bad(format!("the {compression} data is damaged")).cause(cause).remedy(FETCH_AGAIN)
}

fn gzip(bytes: &[u8], mut sink: Sink) -> Result<Vec<u8>> {
    let mut rest = bytes;
    sink.drain(&mut flate2::bufread::GzDecoder::new(&mut rest))?;
    sink.finish(rest)
}

/// What `xz -9` asks for, however small the file; the format itself would allow 4 GiB.
const DICTIONARY: usize = 64 << 20;

fn xz(bytes: &[u8], mut sink: Sink) -> Result<Vec<u8>> {
    let mut decoder = xz4rust::XzDecoder::in_heap_with_alloc_dict_size(CHUNK, DICTIONARY);
    let (mut rest, mut chunk) = (bytes, vec![0; CHUNK]);
    loop {
        let step = decoder.decode(rest, &mut chunk).map_err(|e| match e {
            XzError::NeedsLargerInputBuffer => cut(Compression::Xz),
            XzError::UnsupportedLzmaProperties(_) | XzError::DictionaryTooLarge(_) => {
                bad(format!("the xz file asks for a dictionary of more than {DICTIONARY} bytes"))
                    .remedy("compress it again with plain `xz`")
            }
            other => damaged(Compression::Xz, other),
        })?;
        rest = rest.get(step.input_consumed()..).unwrap_or_default();
        sink.push(&chunk[..step.output_produced().min(CHUNK)])?;
        if step.is_end_of_stream() {
            return sink.finish(rest);
        }
        if !step.made_progress() {
            return Err(cut(Compression::Xz));
        }
    }
}

fn zstd(bytes: &[u8], mut sink: Sink, limits: &Limits) -> Result<Vec<u8>> {
    // The decoder keeps one window before it hands anything out, so the window is a bound of its own.
    let window = zstd_window(bytes).ok_or_else(|| cut(Compression::Zstd))?;
    if window > limits.uncompressed {
        let message = format!("the zstd file asks for a window of {window} bytes");
        return Err(bad(message).remedy("compress it again with plain `zstd`"));
    }
    let mut rest = bytes;
    let mut decoder = ruzstd::decoding::StreamingDecoder::new(&mut rest).map_err(|e| damaged(Compression::Zstd, e))?;
    if let Err(e) = sink.drain(&mut decoder) {
        // Its errors do not say whether input ran out; an empty remainder does.
        let ran_out = decoder.get_ref().is_empty() && e.cause.is_some();
        return Err(if ran_out { cut(Compression::Zstd) } else { e });
    }
    let frame = decoder.into_frame_decoder();
    let stored = frame.get_checksum_from_data();
    if stored.is_some() && stored != frame.get_calculated_checksum() {
        return Err(damaged(Compression::Zstd, "checksum mismatch"));
    }
    sink.finish(rest)
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
