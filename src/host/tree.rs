//! A directory that somebody else fills, such as a container's root: read without following any link in it,
//! written anew beside it, and exchanged with it at one blow.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use nix::dir::Dir;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};
use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::Host;
use super::files::{Owner, sync_dir};
use crate::error::{Error, Result};

/// What lies below a directory, by its path from there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub path: String,
    pub owner: Owner,
    pub what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    Directory,
    File {
        size: u64,
    },
    /// Neither, or out of bounds: in words.
    Other(&'static str),
}

/// Is shown each node, a directory before what is in it, and a file opened.
pub type Visit<'a> = dyn FnMut(&Node, Option<File>) -> Result<()> + 'a;

/// Deeper directories are left out.
const DEPTH: usize = 32;
/// More entries than that are refused.
const MANY: usize = 100_000;

impl Host {
    /// Goes through all below `dir` in the order of names. Below it no link is followed, whatever is changed
    /// meanwhile: every name is opened from the directory that holds it, and what was opened is looked at again.
    pub fn walk(&self, dir: &str, visit: &mut Visit) -> Result<()> {
        let top = File::open(self.path(dir)).map_err(|e| unreadable(dir, e))?;
        let device = top.metadata().map_err(|e| unreadable(dir, e))?.dev();
        Walk { dir, device, seen: 0, visit }.directory(top.into(), "", 0)
    }

    /// Writes a file that is not there yet, and brings it to the disk.
    pub fn plant(&self, path: &str, owner: Owner, bytes: &mut dyn Read) -> Result<()> {
        let place = self.path(path);
        let planted = (|| {
            // O_EXCL: a link that is there leads nowhere.
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&place)?;
            std::io::copy(bytes, &mut file)?;
            if !self.is_fake() {
                std::os::unix::fs::fchown(&file, Some(owner.uid), Some(owner.gid))?;
            }
            // After the owner, whose change takes bits away.
            file.set_permissions(Permissions::from_mode(owner.mode))?;
            file.sync_all()
        })();
        planted.map_err(|e| unwritable(path, e))?;
        self.boundary();
        Ok(())
    }

    /// Makes a directory that is not there yet.
    pub fn plant_directory(&self, path: &str, owner: Owner) -> Result<()> {
        let place = self.path(path);
        let planted = (|| {
            fs::create_dir(&place)?;
            if !self.is_fake() {
                std::os::unix::fs::chown(&place, Some(owner.uid), Some(owner.gid))?;
            }
            fs::set_permissions(&place, Permissions::from_mode(owner.mode))?;
            sync_dir(place.parent().unwrap_or(Path::new("/")))
        })();
        planted.map_err(|e| unwritable(path, e))?;
        self.boundary();
        Ok(())
    }

    /// Brings the names in a directory to the disk.
    pub fn sync_names(&self, dir: &str) -> Result<()> {
        sync_dir(&self.path(dir)).map_err(|e| unwritable(dir, e))
    }

    /// The number that tells a directory from one that takes its place; `None` where there is none.
    pub fn directory_number(&self, dir: &str) -> Option<u64> {
        let m = self.path(dir).metadata().ok().filter(fs::Metadata::is_dir)?;
        Some(m.ino())
    }

    /// Exchanges two directories beside each other: at any instant both names are there. A file system that
    /// cannot do that is an error of the kind `Unsupported`.
    pub fn exchange(&self, a: &str, b: &str) -> std::io::Result<()> {
        let (from, to) = (self.path(a), self.path(b));
        renameat_with(CWD, &from, CWD, &to, RenameFlags::EXCHANGE).map_err(|e| match e {
            rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS => std::io::Error::from(ErrorKind::Unsupported),
            e => e.into(),
        })?;
        sync_dir(from.parent().unwrap_or(Path::new("/")))?;
        self.boundary();
        Ok(())
    }

    /// Gives a directory another name, which nothing has yet.
    pub fn rename_directory(&self, from: &str, to: &str) -> std::io::Result<()> {
        let (from, to) = (self.path(from), self.path(to));
        fs::rename(&from, &to)?;
        sync_dir(to.parent().unwrap_or(Path::new("/")))?;
        self.boundary();
        Ok(())
    }

    /// A file for this run alone, which has no name: nothing of it is left, however the run ends.
    pub fn nameless(&self, beside: &str) -> Result<File> {
        let place = self.path(format!("{beside}/.awg-install.{}", std::process::id()));
        let made = (|| {
            let _ = fs::remove_file(&place);
            let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&place)?;
            fs::remove_file(&place)?;
            Ok(file)
        })();
        made.map_err(|e: std::io::Error| unwritable(beside, e))
    }
}

struct Walk<'a, 'b> {
    dir: &'a str,
    device: u64,
    seen: usize,
    visit: &'a mut Visit<'b>,
}

impl Walk<'_, '_> {
    fn directory(&mut self, fd: OwnedFd, inside: &str, depth: usize) -> Result<()> {
        for name in names(&fd).map_err(|e| unreadable(&format!("{}/{inside}", self.dir), e))? {
            self.seen += 1;
            if self.seen > MANY {
                return Err(Error::step(format!("{}: holds more than {MANY} files", self.dir))
                    .cause("the server's data is a few files")
                    .remedy("remove what does not belong there"));
            }
            let shown = name.to_string_lossy();
            let path = if inside.is_empty() { shown.to_string() } else { format!("{inside}/{shown}") };
            let fail = |e: nix::Error| unreadable(&format!("{}/{path}", self.dir), e);
            let stat = match fstatat(fd.as_fd(), name.as_c_str(), AtFlags::AT_SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                // Removed meanwhile: that is as if it had never been there.
                Err(nix::Error::ENOENT) => continue,
                Err(e) => return Err(fail(e)),
            };
            let mut node = Node { path: path.clone(), owner: owner(&stat), what: what(&stat) };
            if name.to_str().is_err() {
                node.what = What::Other("its name is not text");
            } else if stat.st_dev != self.device {
                node.what = What::Other("another file system");
            }
            match node.what {
                What::Directory if depth >= DEPTH => {
                    node.what = What::Other("too deep");
                    (self.visit)(&node, None)?;
                }
                What::Directory => {
                    (self.visit)(&node, None)?;
                    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
                    match openat(fd.as_fd(), name.as_c_str(), flags, Mode::empty()) {
                        Ok(below) => self.directory(below, &path, depth + 1)?,
                        Err(nix::Error::ENOENT | nix::Error::ENOTDIR | nix::Error::ELOOP) => {}
                        Err(e) => return Err(fail(e)),
                    }
                }
                What::File { .. } => {
                    // O_NONBLOCK: should a pipe lie there by now, opening it does not wait.
                    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
                    let opened = match openat(fd.as_fd(), name.as_c_str(), flags, Mode::empty()) {
                        Ok(opened) => opened,
                        Err(nix::Error::ENOENT | nix::Error::ELOOP) => continue,
                        Err(e) => return Err(fail(e)),
                    };
                    let stat = fstat(&opened).map_err(fail)?;
                    (node.owner, node.what) = (owner(&stat), what(&stat));
                    let file = matches!(node.what, What::File { .. }).then(|| File::from(opened));
                    (self.visit)(&node, file)?;
                }
                What::Other(_) => (self.visit)(&node, None)?,
            }
        }
        Ok(())
    }
}

fn names(fd: &OwnedFd) -> std::io::Result<Vec<CString>> {
    let mut dir = Dir::from_fd(fd.try_clone()?)?;
    let mut names = Vec::new();
    for entry in dir.iter() {
        let name = entry?.file_name().to_owned();
        if name.as_bytes() != b"." && name.as_bytes() != b".." {
            names.push(name);
        }
        if names.len() > MANY {
            break;
        }
    }
    names.sort();
    Ok(names)
}

fn owner(stat: &FileStat) -> Owner {
    Owner { mode: stat.st_mode & 0o7777, uid: stat.st_uid, gid: stat.st_gid }
}

fn what(stat: &FileStat) -> What {
    match SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) {
        SFlag::S_IFDIR => What::Directory,
        SFlag::S_IFREG => What::File { size: stat.st_size.max(0) as u64 },
        SFlag::S_IFLNK => What::Other("a link"),
        SFlag::S_IFIFO => What::Other("a pipe"),
        SFlag::S_IFSOCK => What::Other("a socket"),
        _ => What::Other("a device"),
    }
}

fn unreadable(path: &str, e: impl std::fmt::Display) -> Error {
    Error::step(format!("{path}: cannot be read")).cause(e).remedy("check the disk, then run this again")
}

fn unwritable(path: &str, e: std::io::Error) -> Error {
    let remedy = match e.kind() {
        ErrorKind::StorageFull => "free some space, then run this again",
        _ => "check the directory and the disk, then run this again",
    };
    Error::step(format!("{path}: cannot be written")).cause(e).remedy(remedy)
}
