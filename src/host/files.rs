//! Reading, and writing in a way that survives a power cut: temporary file, fsync, rename, fsync.

/// An open file, as it is handed out here.
pub use std::fs::File;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

use super::Host;
use super::hash::{BLOCK, Hasher};
pub use super::hash::{hex, sha256};
use crate::error::{Error, Kind, Result};

/// The lowercase hexadecimal SHA-256 of a file of any size, which is never held whole.
pub fn sha256_all(mut file: File) -> Option<String> {
    let mut hasher = Hasher::default();
    feed(&mut file, &mut hasher).ok()?;
    Some(hasher.sha256())
}

/// Hashes all that is left to read; tells how many bytes that were.
pub fn feed(from: &mut impl Read, hasher: &mut Hasher) -> std::io::Result<u64> {
    let (mut buffer, mut length) = (vec![0; BLOCK], 0);
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(length),
            Ok(read) => {
                hasher.update(&buffer[..read]);
                length += read as u64;
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

/// Whether two files hold the same.
pub fn are_equal(mut a: File, mut b: File) -> std::io::Result<bool> {
    let (mut left, mut right) = (vec![0; BLOCK], vec![0; BLOCK]);
    loop {
        let read = a.read(&mut left)?;
        if read == 0 {
            return Ok(b.read(&mut right)? == 0);
        }
        match b.read_exact(&mut right[..read]) {
            Ok(()) if left[..read] == right[..read] => {}
            Ok(()) => return Ok(false),
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => return Ok(false),
            Err(e) => return Err(e),
        }
    }
}

/// Owner, group and permission bits of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Owner {
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
}

impl Host {
    /// `None` where the file is absent or cannot be read: facts are what could be learned.
    pub fn read(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        fs::read(self.path(path)).ok()
    }

    pub fn read_text(&self, path: impl AsRef<Path>) -> Option<String> {
        let lossy = |e: std::string::FromUtf8Error| String::from_utf8_lossy(e.as_bytes()).into_owned();
        self.read(path).map(|b| String::from_utf8(b).unwrap_or_else(lossy))
    }

    pub fn read_trimmed(&self, path: impl AsRef<Path>) -> Option<String> {
        self.read_text(path).map(|s| s.trim().to_string())
    }

    pub fn exists(&self, path: impl AsRef<Path>) -> bool {
        self.path(path).symlink_metadata().is_ok()
    }

    pub fn is_dir(&self, path: impl AsRef<Path>) -> bool {
        self.path(path).is_dir()
    }

    pub fn owner(&self, path: impl AsRef<Path>) -> Option<Owner> {
        let m = self.path(path).metadata().ok()?;
        Some(Owner { mode: m.mode() & 0o7777, uid: m.uid(), gid: m.gid() })
    }

    /// SHA-256 of a file of any size, which is never held whole.
    pub fn sha256_of(&self, path: impl AsRef<Path>) -> Option<String> {
        sha256_all(File::open(self.path(path)).ok()?)
    }

    /// What tells a directory from another that has taken its name.
    pub fn inode(&self, path: impl AsRef<Path>) -> Option<u64> {
        self.path(path).symlink_metadata().ok().map(|m| m.ino())
    }

    /// Where a symbolic link points, as written in it.
    pub fn link(&self, path: impl AsRef<Path>) -> Option<String> {
        Some(fs::read_link(self.path(path)).ok()?.to_string_lossy().into_owned())
    }

    /// The first bytes of a file or device; fewer where it is shorter.
    pub fn read_start(&self, path: impl AsRef<Path>, bytes: u64) -> Option<Vec<u8>> {
        let mut start = Vec::new();
        File::open(self.path(path)).ok()?.take(bytes).read_to_end(&mut start).ok()?;
        Some(start)
    }

    /// The first bytes of a file that somebody else may have put there, as text: a link is not followed, and
    /// nothing but a plain file is read.
    pub fn read_plain(&self, path: impl AsRef<Path>, bytes: u64) -> Option<String> {
        let flags = (nix::fcntl::OFlag::O_NOFOLLOW | nix::fcntl::OFlag::O_NONBLOCK).bits();
        let file = OpenOptions::new().read(true).custom_flags(flags).open(self.path(path)).ok()?;
        let mut text = Vec::new();
        if !file.metadata().is_ok_and(|m| m.is_file()) {
            return None;
        }
        file.take(bytes).read_to_end(&mut text).ok()?;
        Some(String::from_utf8_lossy(&text).into_owned())
    }

    /// Bytes in a file; 0 where it is absent.
    pub fn size(&self, path: impl AsRef<Path>) -> u64 {
        self.path(path).metadata().map_or(0, |m| m.len())
    }

    /// What was written to a log after its first `from` bytes, at most 1 MiB of it; all of it where the
    /// log has been made anew since.
    pub fn read_from(&self, path: impl AsRef<Path>, from: u64) -> Option<Vec<u8>> {
        let mut file = File::open(self.path(path)).ok()?;
        let start = if file.metadata().ok()?.len() < from { 0 } else { from };
        file.seek(SeekFrom::Start(start)).ok()?;
        let mut rest = Vec::new();
        file.take(1 << 20).read_to_end(&mut rest).ok()?;
        Some(rest)
    }

    /// Writes to a device or kernel file as it is; whether that worked is up to what follows.
    pub fn poke(&self, path: impl AsRef<Path>, bytes: &[u8]) {
        let file = OpenOptions::new().write(true).open(self.path(path));
        let _ = file.and_then(|mut f| f.write_all(bytes));
    }

    /// Adds a line to somebody else's log that is there; nobody waits for it.
    pub fn append(&self, path: impl AsRef<Path>, line: &str) {
        let file = OpenOptions::new().append(true).open(self.path(path));
        let _ = file.and_then(|mut f| f.write_all(line.as_bytes()));
    }

    /// The names in a directory, sorted; empty where there is none.
    pub fn names(&self, dir: impl AsRef<Path>) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path(dir)) else { return Vec::new() };
        let mut names: Vec<String> = entries.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// The plain files below a directory, with their sizes in bytes, sorted; links are not followed, and a tree
    /// of more than `MANY` entries is not gone through to its end.
    pub fn files_below(&self, dir: impl AsRef<Path>) -> Vec<(String, u64)> {
        const MANY: usize = 100_000;
        let base = self.path(dir);
        let is_dir = |p: &Path| p.symlink_metadata().is_ok_and(|m| m.is_dir());
        let (mut found, mut seen, mut left) = (Vec::new(), 0, vec![base.clone()]);
        while let Some(dir) = left.pop().filter(|d| is_dir(d)) {
            for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
                seen += 1;
                match entry.path().symlink_metadata() {
                    Ok(m) if m.is_dir() && seen < MANY => left.push(entry.path()),
                    Ok(m) if m.is_file() && seen < MANY => {
                        let path = entry.path();
                        let inside = path.strip_prefix(&base).unwrap_or(&path);
                        found.push((inside.to_string_lossy().into_owned(), m.len()));
                    }
                    _ => {}
                }
            }
        }
        found.sort();
        found
    }

    /// A file to be read piece by piece, for those too large to be held.
    pub fn open(&self, path: impl AsRef<Path>) -> std::io::Result<File> {
        File::open(self.path(path))
    }

    /// A file that the operator named, to be read piece by piece; one in the working directory may be meant.
    pub fn open_named(&self, path: &Path) -> std::io::Result<File> {
        let place = if path.is_absolute() { self.path(path) } else { path.to_path_buf() };
        if !place.metadata()?.is_file() {
            return Err(std::io::Error::new(ErrorKind::InvalidInput, "it is not a plain file"));
        }
        File::open(place)
    }

    /// Free space for root in MiB on the file system that holds `path`.
    pub fn free_mib(&self, path: impl AsRef<Path>) -> Option<u64> {
        if let Some(text) = self.is_fake().then(|| self.read_trimmed("/.fakeroot/free_mib")).flatten() {
            return text.parse().ok();
        }
        let s = nix::sys::statvfs::statvfs(&self.path(path)).ok()?;
        Some(s.blocks_available() * s.fragment_size() / (1 << 20))
    }

    /// Files that can still be made on the file system that holds `path`; nothing where it does not count them.
    pub fn free_inodes(&self, path: impl AsRef<Path>) -> Option<u64> {
        if let Some(text) = self.is_fake().then(|| self.read_trimmed("/.fakeroot/free_inodes")).flatten() {
            return text.parse().ok();
        }
        let s = nix::sys::statvfs::statvfs(&self.path(path)).ok()?;
        (s.files() > 0).then(|| s.files_available())
    }

    /// A file the operator named. The error says which one and what to do.
    pub fn read_named(&self, kind: Kind, what: &str, path: &Path, limit: u64) -> Result<Vec<u8>> {
        let place = if path.is_absolute() { self.path(path) } else { path.to_path_buf() };
        let fail = |e: &dyn std::fmt::Display| {
            Error::new(kind, format!("{what} {}: cannot be read", path.display()))
                .cause(e)
                .remedy("check the path and its permissions")
        };
        let file = File::open(place).map_err(|e| fail(&e))?;
        let mut bytes = Vec::new();
        file.take(limit + 1).read_to_end(&mut bytes).map_err(|e| fail(&e))?;
        if bytes.len() as u64 > limit {
            return Err(fail(&format!("it is larger than {limit} bytes")));
        }
        Ok(bytes)
    }

    /// Replaces or creates a file so that at any instant it holds the old content or the new one.
    pub fn write(&self, path: impl AsRef<Path>, bytes: &[u8], mode: u32) -> Result<()> {
        self.write_owned(path, Owner { mode, uid: 0, gid: 0 }, false, |file| file.write_all(bytes))
    }

    /// Replaces the content of a file that is not ours and keeps its mode; one that is not there is made 0644.
    pub fn edit(&self, path: impl AsRef<Path>, text: &str) -> Result<()> {
        let mode = self.owner(&path).map_or(0o644, |o| o.mode);
        self.write(path, text.as_bytes(), mode)
    }

    /// As `write`, and gives the file back to the owner it had.
    pub fn restore(&self, path: impl AsRef<Path>, bytes: &[u8], owner: Owner) -> Result<()> {
        self.write_owned(path, owner, true, |file| file.write_all(bytes))
    }

    pub(super) fn write_owned(
        &self,
        path: impl AsRef<Path>,
        owner: Owner,
        chown: bool,
        fill: impl FnOnce(&mut File) -> std::io::Result<()>,
    ) -> Result<()> {
        let path = path.as_ref();
        let place = self.path(path);
        let fail = |e: std::io::Error| Error::step(format!("{}: cannot be written", path.display())).cause(e);
        let dir = place.parent().expect("an absolute path has a parent");
        let temporary = temporary(&place);
        // Left by a run that was cut off; nobody else writes this name.
        let _ = fs::remove_file(&temporary);
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(owner.mode).open(&temporary).map_err(fail)?;
        let done = (|| {
            self.boundary();
            fill(&mut file)?;
            file.set_permissions(fs::Permissions::from_mode(owner.mode))?;
            if chown && !self.is_fake() {
                std::os::unix::fs::fchown(&file, Some(owner.uid), Some(owner.gid))?;
            }
            file.sync_all()?;
            self.boundary();
            fs::rename(&temporary, &place)?;
            sync_dir(dir)
        })();
        if let Err(e) = done {
            let _ = fs::remove_file(&temporary);
            return Err(fail(e));
        }
        self.boundary();
        Ok(())
    }

    /// Creates a directory and those above it; tells which of them were not there before, topmost first.
    pub fn make_dirs(&self, path: impl AsRef<Path>, mode: u32) -> Result<Vec<String>> {
        let path = path.as_ref();
        let mut made = Vec::new();
        for dir in path.ancestors().collect::<Vec<_>>().into_iter().rev() {
            let place = self.path(dir);
            if place.is_dir() {
                continue;
            }
            fs::create_dir(&place)
                .and_then(|()| fs::set_permissions(&place, fs::Permissions::from_mode(mode)))
                .and_then(|()| sync_dir(place.parent().expect("below the root")))
                .map_err(|e| Error::step(format!("{}: cannot make the directory", dir.display())).cause(e))?;
            made.push(dir.to_string_lossy().into_owned());
        }
        Ok(made)
    }

    /// Removes a file or link; one that is not there is fine.
    pub fn remove_file(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let place = self.path(path);
        // What a write of this file that was cut off has left goes with it.
        let _ = fs::remove_file(temporary(&place));
        match fs::remove_file(&place) {
            Ok(()) => {
                let _ = sync_dir(place.parent().expect("an absolute path has a parent"));
                self.boundary();
                Ok(())
            }
            Err(e) if e.kind() == ErrorKind::NotFound || e.kind() == ErrorKind::NotADirectory => Ok(()),
            Err(e) => Err(Error::step(format!("{}: cannot be removed", path.display())).cause(e)),
        }
    }

    /// Removes a directory only when it is empty; tells whether it is gone.
    pub fn remove_empty_dir(&self, path: impl AsRef<Path>) -> bool {
        let place = self.path(path);
        match fs::remove_dir(&place) {
            Ok(()) => true,
            Err(e) => e.kind() == ErrorKind::NotFound,
        }
    }

    /// Removes a file, or a directory and all in it. Links are removed, never followed.
    pub fn remove_tree(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        if !self.path(path).symlink_metadata().is_ok_and(|m| m.is_dir()) {
            return self.remove_file(path);
        }
        match fs::remove_dir_all(self.path(path)) {
            Err(e) if e.kind() != ErrorKind::NotFound => {
                Err(Error::step(format!("{}: cannot be removed", path.display())).cause(e))
            }
            _ => Ok(()),
        }
    }

    /// Exclusive lock for as long as the returned value lives; `None` when another run holds it.
    pub fn lock(&self, path: impl AsRef<Path>) -> Result<Option<Flock<File>>> {
        let path = path.as_ref();
        // Open for reading: a run that has nothing to do writes nothing.
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(nix::fcntl::OFlag::O_CREAT.bits())
            .mode(0o600)
            .open(self.path(path))
            .map_err(|e| Error::step(format!("{}: cannot be opened", path.display())).cause(e))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Some(lock)),
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(None),
            Err((_, e)) => Err(Error::step(format!("{}: cannot be locked", path.display())).cause(e)),
        }
    }
}

/// The name under which a file is written before it takes its place.
fn temporary(place: &Path) -> PathBuf {
    let name = place.file_name().expect("a file has a name").to_string_lossy();
    place.with_file_name(format!(".{name}.awg-new"))
}

pub(super) fn sync_dir(dir: &Path) -> std::io::Result<()> {
    File::open(dir)?.sync_all()
}
