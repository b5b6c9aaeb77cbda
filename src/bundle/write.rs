//! Writing a bundle: the same members give the same bytes.

use std::io::{BufReader, BufWriter, IntoInnerError, Read};

use tar::{Builder, EntryType, Header};

use crate::error::{Error, Result};
use crate::host::Host;
use crate::host::hash::BLOCK;
use crate::host::partial::{Feed, Partial};

/// A bundle on its way to a file.
pub struct Writer<'a> {
    name: &'a str,
    /// The library copies little at a time.
    tar: Builder<BufWriter<Feed<'a>>>,
}

impl<'a> Writer<'a> {
    pub fn new(host: &'a Host, name: &'a str, partial: Partial) -> Writer<'a> {
        Writer { name, tar: Builder::new(BufWriter::with_capacity(BLOCK, partial.feed(host))) }
    }

    /// Adds a plain file of `size` bytes that belongs to root and has no date.
    pub fn add(&mut self, path: &str, size: u64, bytes: impl Read) -> Result<()> {
        let fail = |e: std::io::Error| Error::step(format!("{}: {path} cannot be written", self.name)).cause(e);
        let mut header = Header::new_ustar();
        header.set_path(path).map_err(fail)?;
        header.set_entry_type(EntryType::Regular);
        header.set_size(size);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_cksum();
        self.tar.append(&header, BufReader::with_capacity(BLOCK, bytes).take(size)).map_err(fail)
    }

    /// Ends the archive.
    pub fn finish(self) -> Result<Partial> {
        let fail = |e: std::io::Error| Error::step(format!("{}: cannot be written", self.name)).cause(e);
        let buffer = self.tar.into_inner().map_err(fail)?;
        Ok(buffer.into_inner().map_err(IntoInnerError::into_error).map_err(fail)?.into_inner())
    }
}
