//! A large file on its way: bytes beside the file they will become, kept across runs, in place only when whole.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::Host;
use super::files::{feed, sync_dir};
use super::hash::Hasher;
use crate::error::{Error, Result};

/// What has arrived so far, hashed as it came.
pub struct Partial {
    file: File,
    /// As people know the file.
    name: String,
    place: PathBuf,
    beside: PathBuf,
    length: u64,
    hasher: Hasher,
}

impl Host {
    /// The download that becomes `path`: goes on where an earlier one was cut off.
    pub fn partial(&self, path: &str) -> Result<Partial> {
        let place = self.path(path);
        let mut beside = place.clone().into_os_string();
        beside.push(".part");
        let beside = PathBuf::from(beside);
        let fail = |e: std::io::Error| failed(path, e);
        // O_NOFOLLOW: a link that somebody put there leads nowhere.
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .custom_flags(nix::fcntl::OFlag::O_NOFOLLOW.bits())
            .open(&beside)
            .map_err(fail)?;
        let mut hasher = Hasher::default();
        let length = feed(&mut file, &mut hasher).map_err(fail)?;
        Ok(Partial { file, name: path.into(), place, beside, length, hasher })
    }
}

impl Host {
    /// As `partial`, and forgets what an earlier one has left.
    pub fn partial_anew(&self, path: &str) -> Result<Partial> {
        // Removed, not emptied: what is there is not worth reading, and may be a link.
        let _ = std::fs::remove_file(self.path(format!("{path}.part")));
        self.partial(path)
    }
}

impl Partial {
    /// Bytes that have arrived.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The lowercase hexadecimal SHA-256 of them.
    pub fn sha256(&mut self) -> String {
        self.hasher.sha256()
    }

    pub fn add(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(|e| failed(&self.name, e))?;
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Forgets what has arrived.
    pub fn restart(&mut self) -> Result<()> {
        self.file.set_len(0).and_then(|()| self.file.seek(SeekFrom::Start(0))).map_err(|e| failed(&self.name, e))?;
        self.hasher = Hasher::default();
        self.length = 0;
        Ok(())
    }

    /// As something to write to. A run that was asked to stop ends there.
    pub fn feed(self, host: &Host) -> Feed<'_> {
        Feed { host, partial: self }
    }

    /// Puts the file into its place.
    pub fn commit(self, mode: u32) -> Result<()> {
        let done = (|| {
            self.file.set_permissions(Permissions::from_mode(mode))?;
            self.file.sync_all()?;
            std::fs::rename(&self.beside, &self.place)?;
            sync_dir(self.place.parent().unwrap_or(Path::new("/")))
        })();
        done.map_err(|e| failed(&self.name, e))
    }
}

/// A partial file that a writer of archives can write to.
pub struct Feed<'a> {
    host: &'a Host,
    partial: Partial,
}

impl Feed<'_> {
    pub fn into_inner(self) -> Partial {
        self.partial
    }
}

impl Write for Feed<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let done = self.host.go_on().and_then(|()| self.partial.add(bytes));
        done.map(|()| bytes.len()).map_err(|e| std::io::Error::other(e.cause.unwrap_or(e.message)))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn failed(name: &str, error: std::io::Error) -> Error {
    let remedy = match error.kind() {
        std::io::ErrorKind::StorageFull => "free some space, then run this again: it goes on where it stopped",
        _ => "check the directory",
    };
    Error::step(format!("{name}: cannot be written")).cause(error).remedy(remedy)
}
