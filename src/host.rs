//! The one door to the outside world: files below the root, commands, the environment, the clock.
//!
//! With `--root DIR` every path is below DIR and every command is looked up in `DIR/.fakeroot/bin`
//! only, so that nothing of the machine the program runs on can be changed.

pub mod command;
pub mod files;
pub mod hash;
pub mod http;
pub mod log;
pub mod partial;
pub mod random;
pub mod scratch;
pub mod signals;
pub mod terminal;
pub mod tls;
pub mod tree;

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::{Error, Kind, Result};
pub use command::{Limits, Output};
pub use files::File;
pub use http::{Ended, Post, Reply};
pub use log::Log;

/// Directory below a fake root that marks it as one and holds its stand-in programs.
pub const FAKE_MARK: &str = ".fakeroot";
/// The program that runs, whatever has become of its name since.
const SELF_EXE: &str = "/proc/self/exe";

/// Told how far a long piece of work is: bytes so far, and bytes in all where that is known.
pub type Progress = Box<dyn FnMut(u64, Option<u64>)>;
/// Makes one of these for a piece of work, by its name.
pub type Watch = Box<dyn Fn(&str) -> Progress + Send>;

/// Everything this program knows of the world outside it goes through here.
pub struct Host {
    root: Option<PathBuf>,
    env: BTreeMap<String, String>,
    pub log: Log,
    shell: xshell::Shell,
    boundaries: Arc<AtomicU32>,
    kill_at: Option<u32>,
    count_in: Option<PathBuf>,
    /// Present in runs that change something.
    pub stop: Option<Arc<signals::Stop>>,
    /// Shows people how far a piece of work is; who looks on is known to the program alone.
    pub watch: Option<Watch>,
    /// Set when what this one does is not wanted any more; see [`Host::beside`].
    given_up: Option<Arc<AtomicBool>>,
    /// Made at the first question to the engine.
    engine: OnceCell<std::result::Result<reqwest::blocking::Client, String>>,
}

impl Host {
    /// The machine itself, or a prepared directory that plays one (`root`).
    pub fn new(root: Option<&Path>, env: BTreeMap<String, String>) -> Result<Host> {
        let root = match root {
            None => None,
            Some(dir) => {
                let dir = dir.canonicalize().map_err(|e| {
                    Error::new(Kind::Usage, format!("--root {}: {e}", dir.display()))
                        .remedy("name a directory that exists")
                })?;
                if !dir.join(FAKE_MARK).is_dir() {
                    return Err(Error::new(
                        Kind::Usage,
                        format!("--root {}: this is not a prepared root", dir.display()),
                    )
                    .cause(format!("it has no {FAKE_MARK}/bin with the programs to run in place of the host's"))
                    .remedy("see scripts/first-look, which prepares one"));
                }
                Some(dir)
            }
        };
        // A kill point exists only where nothing but a prepared directory can be hurt.
        let kill_at = root.as_ref().and(env.get("AWG_TEST_KILL_AT")).and_then(|n| n.parse().ok());
        let count_in = root.as_ref().and(env.get("AWG_TEST_BOUNDARIES_IN")).map(PathBuf::from);
        let shell =
            xshell::Shell::new().map_err(|e| Error::new(Kind::Usage, "cannot tell the current directory").cause(e))?;
        Ok(Host {
            root,
            env,
            log: Log::off(),
            shell,
            boundaries: Arc::default(),
            kill_at,
            count_in,
            stop: None,
            watch: None,
            given_up: None,
            engine: OnceCell::new(),
        })
    }

    /// The same host for work on another thread, which ends as one that was asked to stop does once `given_up` is set.
    pub fn beside(&self, given_up: Arc<AtomicBool>) -> Host {
        Host {
            root: self.root.clone(),
            env: self.env.clone(),
            log: self.log.share(),
            shell: self.shell.clone(),
            boundaries: Arc::clone(&self.boundaries),
            kill_at: self.kill_at,
            count_in: self.count_in.clone(),
            stop: self.stop.clone(),
            watch: None,
            given_up: Some(given_up),
            engine: OnceCell::new(),
        }
    }

    /// Boundaries are counted in this run: they have to come in the same order every time.
    pub fn is_counted(&self) -> bool {
        self.kill_at.is_some() || self.count_in.is_some()
    }

    /// What this one does is not wanted any more.
    pub(super) fn is_given_up(&self) -> bool {
        self.given_up.as_ref().is_some_and(|g| g.load(Ordering::SeqCst))
    }

    /// For `xshell::cmd!`, which renders commands the way a person would type them.
    pub fn shell(&self) -> &xshell::Shell {
        &self.shell
    }

    pub fn is_fake(&self) -> bool {
        self.root.is_some()
    }

    pub fn root(&self) -> Option<&Path> {
        self.root.as_deref()
    }

    /// Where `path` (absolute, as the host sees it) really is.
    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        match &self.root {
            None => path.to_path_buf(),
            Some(root) => root.join(path.strip_prefix("/").unwrap_or(path)),
        }
    }

    pub fn env(&self, name: &str) -> Option<&str> {
        self.env.get(name).map(String::as_str)
    }

    pub fn env_all(&self) -> &BTreeMap<String, String> {
        &self.env
    }

    /// Seconds since 1970; a clock before that counts as 0.
    pub fn now(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
    }

    /// Changes with every boot; the evidence that a reboot has happened.
    pub fn boot_id(&self) -> String {
        self.read_trimmed("/proc/sys/kernel/random/boot_id").unwrap_or_default()
    }

    /// The running kernel's release, as `uname -r` prints it.
    pub fn release(&self) -> String {
        self.read_trimmed("/proc/sys/kernel/osrelease").unwrap_or_default()
    }

    /// What is to be told how far `what` is.
    pub fn progress(&self, what: &str) -> Progress {
        self.watch.as_ref().map_or_else(|| Box::new(|_, _| {}) as Progress, |watch| watch(what))
    }

    /// Root on the machine itself; a fake root asks for nothing.
    pub fn require_root(&self) -> Result<()> {
        if self.is_fake() || nix::unistd::geteuid().is_root() {
            return Ok(());
        }
        Err(Error::host("awg-install must run as root")
            .cause(format!("the effective user id is {}", nix::unistd::geteuid()))
            .remedy("log in as root, or run it with doas or sudo"))
    }

    /// Writes everything that is still in memory to the disks.
    pub fn sync(&self) {
        if !self.is_fake() {
            nix::unistd::sync();
        }
    }

    /// SHA-256 of the program that runs, in hexadecimal; empty when it cannot be read.
    pub fn own_sha256(&self) -> String {
        File::open(SELF_EXE).ok().and_then(files::sha256_all).unwrap_or_default()
    }

    /// Whether the file is this very program, byte for byte.
    pub fn is_self(&self, path: impl AsRef<Path>) -> bool {
        let same = || {
            let (own, other) = (File::open(SELF_EXE)?, File::open(self.path(path))?);
            let (a, b) = (own.metadata()?, other.metadata()?);
            Ok::<_, std::io::Error>(
                (a.dev(), a.ino()) == (b.dev(), b.ino()) || a.len() == b.len() && files::are_equal(own, other)?,
            )
        };
        same().unwrap_or(false)
    }

    /// Copies this program; as with `write`, the file is at any instant the old one or the new one.
    pub fn install_self(&self, path: impl AsRef<Path>) -> Result<()> {
        let mut own = File::open(SELF_EXE).map_err(|e| Error::step("this program cannot read itself").cause(e))?;
        let owner = files::Owner { mode: 0o755, uid: 0, gid: 0 };
        self.write_owned(path, owner, false, |file| std::io::copy(&mut own, file).map(drop))
    }

    /// A boundary between two durable states. Tests count them, and kill the program at the n-th one; on a real host
    /// it does nothing.
    pub fn boundary(&self) {
        let n = self.boundaries.fetch_add(1, Ordering::SeqCst) + 1;
        if let Some(path) = &self.count_in {
            let _ = fs::write(path, n.to_string());
        }
        if self.kill_at == Some(n) {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::this(), nix::sys::signal::Signal::SIGKILL);
            // The signal is delivered before kill() returns to us, but say so to the compiler.
            std::process::abort();
        }
    }
}
