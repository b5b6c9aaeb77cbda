//! Decompression with bounds: kmod reads `.ko`, `.ko.gz`, `.ko.xz` and `.ko.zst`, so do we.

use super::{FETCH_AGAIN, Limits, RATIO_FLOOR, bad};
use crate::error::{Error, Result};
use crate::unpack::{DICTIONARY, Decoder, Problem};
use std::borrow::Cow;

pub use crate::unpack::Compression;

/// The module itself; borrowed when the file is not compressed.
pub(crate) fn expand<'a>(bytes: &'a [u8], limits: &Limits) -> Result<(Compression, Cow<'a, [u8]>)> {
    let compression = Compression::of(bytes);
    if compression == Compression::None {
        return Ok((compression, Cow::Borrowed(bytes)));
    }
    let mut sink = Sink::new(compression, bytes.len(), limits);
    let mut rest = bytes;
    let failed = |problem| error(compression, problem);
    let mut decoder = Decoder::new(&mut rest, bytes, limits.uncompressed).map_err(failed)?;
    let mut chunk = vec![0; CHUNK];
    loop {
        match decoder.read(&mut chunk).map_err(failed)? {
            0 => break,
            n => sink.push(&chunk[..n])?,
        }
    }
    drop(decoder);
    let plain = sink.finish(rest)?;
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

    /// All of the file has to be the one compressed stream that kmod would read.
    fn finish(self, rest: &[u8]) -> Result<Vec<u8>> {
        if rest.is_empty() {
            return Ok(self.out);
        }
        let Sink { compression, .. } = self;
        Err(bad(format!("{} stray bytes follow the {compression} data", rest.len())).remedy(FETCH_AGAIN))
    }
}

fn error(compression: Compression, problem: Problem) -> Error {
    let again = format!("compress it again with plain `{compression}`");
    match problem {
        Problem::Cut => bad(format!("the {compression} data is cut short")).remedy(FETCH_AGAIN),
        Problem::Damaged(cause) => bad(format!("the {compression} data is damaged")).cause(cause).remedy(FETCH_AGAIN),
        Problem::Dictionary => {
            bad(format!("the xz file asks for a dictionary of more than {DICTIONARY} bytes")).remedy(again)
        }
        Problem::Window(size) => bad(format!("the zstd file asks for a window of {size} bytes")).remedy(again),
    }
}
