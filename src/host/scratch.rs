//! Directories that are thrown away with all that is in them: nothing in them has to survive a power cut.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::sys::stat::{Mode, SFlag, makedev, mknod, umask};
use xshell::cmd;

use super::{Host, Limits};
use crate::error::{Error, Result};

impl Host {
    /// An empty directory for root alone, whatever an earlier run has left there.
    pub fn make_scratch(&self, dir: &str) -> Result<()> {
        self.remove_scratch(dir)?;
        self.make_dirs(dir, 0o700).map(drop)
    }

    /// Removes the directory and all in it. What is mounted there is unmounted; where that fails nothing is
    /// removed, for it would be removed from another file system.
    pub fn remove_scratch(&self, dir: &str) -> Result<()> {
        let sh = self.shell();
        for point in self.mounted_below(dir).iter().rev() {
            self.ask(cmd!(sh, "umount {point}"), Limits::seconds(30));
        }
        let still = self.mounted_below(dir);
        if !still.is_empty() {
            return Err(Error::step(format!("{dir} cannot be removed: something is mounted below it"))
                .cause(still.join(", "))
                .remedy("unmount it, then run this again"));
        }
        self.remove_tree(dir)
    }

    /// Writes a file that is not there yet, with the directories above it.
    pub fn scratch_file(&self, path: &str, bytes: &[u8], mode: u32) -> Result<()> {
        let place = self.path(path);
        let written = (|| {
            fs::create_dir_all(place.parent().unwrap_or(Path::new("/")))?;
            // O_EXCL: a link that is there already leads nowhere.
            fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&place)?.write_all(bytes)
        })();
        written.map_err(|e| Error::step(format!("{path}: cannot be written")).cause(e))
    }

    /// A null device at `path`; with a fake root an empty file, which needs no rights.
    pub fn null_device(&self, path: &str) -> Result<()> {
        if self.is_fake() {
            return self.scratch_file(path, b"", 0o666);
        }
        let place = self.path(path);
        let made = (|| {
            fs::create_dir_all(place.parent().unwrap_or(Path::new("/")))?;
            let before = umask(Mode::empty());
            let made = mknod(&place, SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(1, 3));
            umask(before);
            made?;
            // A file system mounted nodev takes the node and does not let it be opened.
            fs::OpenOptions::new().write(true).open(&place)?.write_all(b"\n")
        })();
        made.map_err(|e: std::io::Error| {
            Error::step(format!("{path}: a null device cannot be made there"))
                .cause(e)
                .remedy("the file system must allow device nodes: mount it without nodev")
        })
    }

    /// Mount points at and below a directory, outermost first.
    fn mounted_below(&self, dir: &str) -> Vec<String> {
        // The kernel knows mount points by their real path.
        let real = self.path(dir).canonicalize().ok();
        let real = match (&real, self.root()) {
            (Some(real), Some(root)) => real.strip_prefix(root).ok().map(|p| Path::new("/").join(p)),
            (real, _) => real.clone(),
        };
        let Some(real) = real else { return Vec::new() };
        mount_points(&self.read_text("/proc/self/mountinfo").unwrap_or_default(), &real)
    }
}

fn mount_points(mountinfo: &str, dir: &Path) -> Vec<String> {
    let points = mountinfo.lines().filter_map(|l| l.split(' ').nth(4)).map(unescape);
    points.filter(|p| Path::new(p).starts_with(dir)).collect()
}

/// Space, tab, line feed and backslash are written as three octal digits.
fn unescape(field: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(field.to_string(), |text, (code, plain)| text.replace(code, plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_below() {
        let table = "22 1 254:1 / / rw shared:1 - ext4 /dev/vda1 rw\n\
            30 22 0:5 / /var/build/proc rw - proc proc rw\n\
            31 22 0:6 / /var/build rw - tmpfs tmpfs rw\n\
            32 22 0:6 / /var/build-too/proc rw - tmpfs tmpfs rw\n\
            33 22 0:6 / /var/build/a\\040b rw - tmpfs tmpfs rw\n";
        let found = mount_points(table, Path::new("/var/build"));
        assert_eq!(found, ["/var/build/proc", "/var/build", "/var/build/a b"]);
        assert!(mount_points("nonsense\n", Path::new("/var")).is_empty());
    }
}
