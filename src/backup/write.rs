//! Copying the server's files at one moment, and writing them to one archive at leisure.

use std::io::{Read, Seek, SeekFrom, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{Builder, EntryType, Header};

use super::manifest::{DATA, Directory, File as Listed, LeftOut, MAX_DATA, Manifest, NAME};
use super::{BESIDE, DATABASE};
use crate::age;
use crate::error::{Error, Result};
use crate::host::files::{Owner, feed};
use crate::host::hash::Hasher;
use crate::host::partial::Feed;
use crate::host::tree::{Node, What};
use crate::host::{File, Host, files::sha256};

/// The files as they were at one moment, one after the other in a file that nobody else can open.
pub(super) struct Copied {
    spool: File,
    pub files: Vec<Listed>,
    pub directories: Vec<Directory>,
    pub left_out: Vec<LeftOut>,
}

/// Where the archive goes: as it is, or encrypted.
pub(super) enum Sink<'a> {
    Plain(Box<Feed<'a>>),
    Sealed(Box<age::Writer<Feed<'a>>>),
}

impl<'a> Sink<'a> {
    pub(super) fn new(feed: Feed<'a>, recipients: &[age::PublicKey]) -> std::io::Result<Sink<'a>> {
        match recipients.is_empty() {
            true => Ok(Sink::Plain(Box::new(feed))),
            false => age::Writer::new(feed, recipients).map(|w| Sink::Sealed(Box::new(w))),
        }
    }

    pub(super) fn finish(self) -> std::io::Result<Feed<'a>> {
        match self {
            Sink::Plain(feed) => Ok(*feed),
            Sink::Sealed(writer) => writer.finish(),
        }
    }
}

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Sink::Plain(feed) => feed.write(bytes),
            Sink::Sealed(writer) => writer.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Bytes of all files below the data; more than a backup takes is an error.
pub(super) fn measure(host: &Host, data: &str) -> Result<u64> {
    let mut total: u64 = 0;
    host.walk(data, &mut |node, _| {
        let What::File { size } = node.what else { return Ok(()) };
        total = total.saturating_add(size);
        if total <= MAX_DATA {
            return Ok(());
        }
        Err(Error::step(format!("{data}: is too large for a backup"))
            .cause(format!("{} brings it to {total} bytes; a backup takes {MAX_DATA}", node.path))
            .remedy("the server's data is a few files of some MB: remove what does not belong there"))
    })?;
    Ok(total)
}

/// Copies all regular files. To be called while the server stands still.
pub(super) fn copy(host: &Host, data: &str, mut spool: File) -> Result<Copied> {
    let (mut files, mut directories, mut left_out) = (Vec::new(), Vec::new(), Vec::new());
    let mut total: u64 = 0;
    host.walk(data, &mut |node: &Node, opened: Option<File>| {
        host.go_on()?;
        let path = format!("{DATA}/{}", node.path);
        let why = match node.what {
            // The index of the write-ahead log: SQLite makes it anew out of the log.
            _ if node.path == format!("{DATABASE}-shm") => Some("made anew by SQLite"),
            What::Other(why) => Some(why),
            _ if header(&path, 0, 0).is_err() => Some("its path is too long"),
            _ => None,
        };
        match (why, opened) {
            (Some(why), _) => left_out.push(LeftOut { path, why: why.into() }),
            (None, Some(file)) => {
                let fail = |e| Error::step(format!("{data}/{}: cannot be copied", node.path)).cause(e);
                let size = std::io::copy(&mut file.take(MAX_DATA + 1 - total), &mut spool).map_err(fail)?;
                total += size;
                if total > MAX_DATA {
                    return Err(fail(std::io::Error::other("it has grown beyond what a backup takes")));
                }
                let Owner { mode, uid, gid } = node.owner;
                files.push(Listed { path, sha256: String::new(), size, mode, uid, gid });
            }
            (None, None) => {
                let Owner { mode, uid, gid } = node.owner;
                directories.push(Directory { path, mode, uid, gid });
            }
        }
        Ok(())
    })?;
    Ok(Copied { spool, files, directories, left_out })
}

impl Copied {
    /// Hashes what was copied.
    pub(super) fn hash(&mut self) -> Result<()> {
        self.rewind()?;
        for file in &mut self.files {
            let mut hasher = Hasher::default();
            feed(&mut (&mut self.spool).take(file.size), &mut hasher)
                .map_err(|e| Error::step("the copy cannot be read back").cause(e))?;
            file.sha256 = hasher.sha256();
        }
        Ok(())
    }

    /// Writes the archive and returns what it was written to.
    pub(super) fn archive<'a>(
        &mut self,
        manifest: &Manifest,
        beside: &[(String, Vec<u8>)],
        to: Sink<'a>,
    ) -> std::io::Result<Sink<'a>> {
        self.spool.seek(SeekFrom::Start(0))?;
        let mut tar = Builder::new(GzEncoder::new(to, Compression::default()));
        let mut list = serde_json::to_vec_pretty(manifest).expect("plain data");
        list.push(b'\n');
        tar.append(&header(NAME, list.len() as u64, 0o600)?, &list[..])?;
        for file in &manifest.files {
            let header = header(&file.path, file.size, file.mode)?;
            match beside.iter().find(|(name, _)| *name == file.path) {
                Some((_, bytes)) => tar.append(&header, &bytes[..])?,
                None => tar.append(&header, (&mut self.spool).take(file.size))?,
            }
        }
        tar.into_inner()?.finish()
    }

    fn rewind(&mut self) -> Result<()> {
        let rewound = self.spool.seek(SeekFrom::Start(0));
        rewound.map(drop).map_err(|e| Error::step("the copy cannot be read back").cause(e))
    }
}

/// Compose file and environment as they are, but for a password that a first start has left.
pub(super) fn beside(host: &Host, directory: &str) -> Vec<(Listed, Vec<u8>)> {
    let mut found = Vec::new();
    for name in BESIDE {
        let place = format!("{directory}/{name}");
        let (Some(bytes), Some(owner)) = (host.read(&place), host.owner(&place)) else { continue };
        let bytes = if *name == "wg-easy.env" { without_passwords(bytes) } else { bytes };
        let (size, Owner { mode, uid, gid }) = (bytes.len() as u64, owner);
        found.push((Listed { path: name.to_string(), sha256: sha256(&bytes), size, mode, uid, gid }, bytes));
    }
    found
}

fn without_passwords(bytes: Vec<u8>) -> Vec<u8> {
    let text = String::from_utf8_lossy(&bytes);
    let secret = |line: &&str| line.split('=').next().is_some_and(|name| name.contains("PASSWORD"));
    if !text.lines().any(|l| secret(&l)) {
        return bytes;
    }
    text.lines().filter(|l| !secret(l)).map(|l| format!("{l}\n")).collect::<String>().into_bytes()
}

/// Anyone who unpacks an archive with tar gets files of root's own; whose they were is in the manifest.
pub(crate) fn header(path: &str, size: u64, mode: u32) -> std::io::Result<Header> {
    let mut header = Header::new_ustar();
    header.set_path(path)?;
    header.set_entry_type(EntryType::Regular);
    header.set_size(size);
    header.set_mode(mode & 0o777);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_cksum();
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_does_not_go_along() {
        let env = b"PORT='51821'\nINIT_USERNAME='admin'\nINIT_PASSWORD='secret'\n".to_vec();
        assert_eq!(without_passwords(env), b"PORT='51821'\nINIT_USERNAME='admin'\n");
        // Untouched, whatever it holds.
        assert_eq!(without_passwords(b"PORT='1'\xff".to_vec()), b"PORT='1'\xff");
    }
}
