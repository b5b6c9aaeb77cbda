//! Prepared roots for whole-binary tests: made by `scripts/fakeroot/make`, run with `--root`.

#![allow(dead_code, reason = "each test program uses its own part of this")]

pub mod backups;
pub mod engine;
pub mod golden;
pub mod module;
pub mod server;
pub mod site;
pub mod sysfs;
pub mod terminal;
pub mod tree;
pub mod world;

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

pub const PASSWORD: &str = "correct horse battery 42";
pub const LTS: &str = "6.12.50-0-lts";
pub const VIRT: &str = "6.12.50-0-virt";

/// Below the prepared root, where an operator would put them.
pub const CONFIG: &str = "/root/awg.yaml";
pub const PASSWORD_FILE: &str = "/root/password";
pub const MODULE: &str = "/root/amneziawg.ko";

/// The configuration that most tests start from.
pub const CONFIG_TEXT: &str = "server:\n  host: vpn.example.org\n  username: admin\n  password_file: /root/password\n\
    module:\n  source: file\n  path: /root/amneziawg.ko\n";

/// A directory that plays a host; removed when dropped.
pub struct Root {
    dir: PathBuf,
    env: BTreeMap<String, String>,
}

/// What a run of the program left.
#[derive(Debug)]
pub struct Ran {
    /// The exit code, or -1 when a signal ended it.
    pub code: i32,
    pub out: String,
    pub err: String,
}

fn copy_into(to: &Path, from: &Path) {
    let status = Command::new("cp").arg("-a").arg(from.join(".")).arg(to).status().expect("cp");
    assert!(status.success());
}

/// What `make` makes of these arguments, made once and kept until it or the stand-ins change.
fn template(args: &[&str]) -> PathBuf {
    static STAND_INS: OnceLock<Vec<(PathBuf, Vec<u8>)>> = OnceLock::new();
    let from = repository().join("scripts/fakeroot");
    let stand_ins = STAND_INS.get_or_init(|| {
        let mut files = Vec::new();
        let mut left = vec![from.clone()];
        while let Some(path) = left.pop() {
            match fs::read_dir(&path) {
                Ok(entries) => left.extend(entries.map(|e| e.expect("an entry").path())),
                Err(_) => files.push((path.clone(), fs::read(&path).expect("a file"))),
            }
        }
        files.sort();
        files
    });
    let mut hasher = DefaultHasher::new();
    (args, stand_ins).hash(&mut hasher);
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fakeroot-{:016x}", hasher.finish()));
    if !place.exists() {
        let made = place.with_extension(format!("{}-{:?}", std::process::id(), std::thread::current().id()));
        let ran = Command::new(from.join("make")).arg(&made).args(args).output().expect("a shell");
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        // Another one may have been quicker.
        if fs::rename(&made, &place).is_err() {
            fs::remove_dir_all(&made).expect("a directory of our own");
        }
    }
    place
}

/// A new directory that lasts as long as this process. Nothing runs at its end, so the next process of the same
/// test program removes what those before it have left.
fn place_of_installed() -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let base = Path::new(env!("CARGO_TARGET_TMPDIR")).join(concat!("installed-", env!("CARGO_CRATE_NAME")));
    fs::create_dir_all(&base).expect("a directory");
    let own = base.join(std::process::id().to_string());
    for entry in fs::read_dir(&base).expect("a directory").flatten() {
        if entry.path() != own && !Path::new("/proc").join(entry.file_name()).exists() {
            // Another process may do the same.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    let place = own.join(NUMBER.fetch_add(1, Ordering::Relaxed).to_string());
    // Left by a process that had the same number.
    let _ = fs::remove_dir_all(&place);
    fs::create_dir_all(&place).expect("a directory");
    place
}

impl Root {
    /// A fresh Alpine host with configuration, password and module in `/root`.
    pub fn fresh() -> Root {
        Root::prepared(&[], CONFIG_TEXT)
    }

    /// A host made with these arguments of `make`, and this configuration.
    pub fn prepared(args: &[&str], config: &str) -> Root {
        let root = Root::bare(args);
        root.write(CONFIG, config);
        root.write(PASSWORD_FILE, &format!("{PASSWORD}\n"));
        root.write_bytes(MODULE, &module::good().bytes());
        root
    }

    /// A host whose installation in kernel mode has ended well, with this added to its configuration. A test
    /// program installs it once, and gives out copies.
    pub fn installed(more: &str) -> Root {
        static MADE: Mutex<BTreeMap<String, Arc<OnceLock<PathBuf>>>> = Mutex::new(BTreeMap::new());
        let made = MADE.lock().expect("no panic").entry(more.into()).or_default().clone();
        let kept = made.get_or_init(|| {
            let root = Root::prepared(&[], &format!("{CONFIG_TEXT}{more}"));
            root.install().expect(0);
            root.run(&["resume"]).expect(0);
            assert_eq!(root.running(), LTS);
            let place = place_of_installed();
            copy_into(&place, &root.dir);
            place
        });
        let root = Root::empty();
        copy_into(&root.dir, kept);
        root
    }

    pub fn bare(args: &[&str]) -> Root {
        let root = Root::empty();
        copy_into(&root.dir, &template(args));
        root
    }

    /// The same host once more, byte for byte.
    pub fn copy(&self) -> Root {
        let mut copy = Root::empty();
        copy.env = self.env.clone();
        copy_into(&copy.dir, &self.dir);
        copy
    }

    /// A directory with nothing in it.
    pub fn empty() -> Root {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        // In memory where that is possible: the program syncs every file that it writes.
        let shared = Path::new("/dev/shm");
        let base = if fs::metadata(shared).is_ok_and(|m| m.permissions().mode() & 0o002 != 0) {
            shared.to_path_buf()
        } else {
            std::env::temp_dir()
        };
        let dir = base.join(format!("awg-install-test-{}-{number}", std::process::id()));
        fs::create_dir_all(&dir).expect("a temporary directory");
        Root { dir, env: BTreeMap::new() }
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.dir.join(path.trim_start_matches('/'))
    }

    pub fn exists(&self, path: &str) -> bool {
        self.path(path).symlink_metadata().is_ok()
    }

    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
    }

    pub fn read_bytes(&self, path: &str) -> Vec<u8> {
        fs::read(self.path(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
    }

    pub fn json(&self, path: &str) -> serde_json::Value {
        serde_json::from_str(&self.read(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
    }

    pub fn mode(&self, path: &str) -> u32 {
        fs::metadata(self.path(path)).unwrap_or_else(|e| panic!("{path}: {e}")).permissions().mode() & 0o7777
    }

    pub fn write(&self, path: &str, text: &str) {
        self.write_bytes(path, text.as_bytes());
    }

    pub fn write_bytes(&self, path: &str, bytes: &[u8]) {
        let place = self.path(path);
        fs::create_dir_all(place.parent().expect("below the root")).expect("a directory");
        fs::write(place, bytes).unwrap_or_else(|e| panic!("{path}: {e}"));
    }

    pub fn remove(&self, path: &str) {
        fs::remove_file(self.path(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
    }

    /// For the program and, where the name begins with `FAKE_`, for the stand-ins it runs.
    pub fn set(&mut self, name: &str, value: &str) {
        self.env.insert(name.into(), value.into());
    }

    pub fn unset(&mut self, name: &str) {
        self.env.remove(name);
    }

    /// What was set for the program and its stand-ins.
    pub fn environment(&self) -> impl Iterator<Item = (&str, &str)> {
        self.env.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    pub fn run(&self, args: &[&str]) -> Ran {
        self.run_with(args, &[], "")
    }

    pub fn run_with(&self, args: &[&str], env: &[(&str, &str)], stdin: &str) -> Ran {
        let mut command = Command::new(program());
        command
            .arg("--root")
            .arg(&self.dir)
            .args(args)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .envs(&self.env)
            .envs(env.iter().copied())
            .current_dir(&self.dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program");
        let mut pipe = child.stdin.take().expect("piped");
        // A run that ends before it reads closes the pipe: that is its right.
        let _ = std::io::Write::write_all(&mut pipe, stdin.as_bytes());
        drop(pipe);
        let output = child.wait_with_output().expect("the program's end");
        Ran {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// `install --unattended` with the configuration in `/root`.
    pub fn install(&self) -> Ran {
        self.run(&["--unattended", "--config", CONFIG])
    }

    /// Switches the power off and on, or restarts: the same for a prepared root.
    pub fn reboot(&self) {
        let status = Command::new(self.path("/.fakeroot/bin/reboot"))
            .envs(&self.env)
            .env("FAKE_ROOT", &self.dir)
            .current_dir(&self.dir)
            .stdout(Stdio::null())
            .status()
            .expect("the stand-in");
        assert!(status.success(), "the machine does not come up");
    }

    /// Every command that the program has run, one a line.
    pub fn commands(&self) -> Vec<String> {
        self.read("/.fakeroot/commands").lines().map(String::from).collect()
    }

    pub fn forget_commands(&self) {
        self.write("/.fakeroot/commands", "");
    }

    pub fn running(&self) -> String {
        self.read("/proc/sys/kernel/osrelease").trim().to_string()
    }

    pub fn loaded(&self, module: &str) -> bool {
        self.read("/proc/modules").lines().any(|l| l.split(' ').next() == Some(module))
    }

    pub fn tree(&self) -> tree::Tree {
        tree::Tree::of(&self.dir)
    }

    /// Paths of all files that hold `needle`.
    pub fn files_with(&self, needle: &str) -> Vec<String> {
        self.tree().files_with(needle)
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        if std::env::var_os("KEEP_ROOTS").is_some() {
            eprintln!("kept: {}", self.dir.display());
            return;
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

impl Ran {
    /// Fails the test, with all that was said, unless the exit code is `code`.
    #[track_caller]
    pub fn expect(self, code: i32) -> Ran {
        assert_eq!(self.code, code, "exit code\n--- out\n{}\n--- err\n{}", self.out, self.err);
        self
    }

    #[track_caller]
    pub fn says(self, text: &str) -> Ran {
        assert!(
            self.out.contains(text) || self.err.contains(text),
            "not said: {text:?}\n--- out\n{}\n--- err\n{}",
            self.out,
            self.err
        );
        self
    }
}

/// The program without its debugging information: it hashes and copies itself in every run.
/// `AWG_TEST_PROGRAM` names another build to be tested, such as the static one.
pub fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        if let Some(other) = std::env::var_os("AWG_TEST_PROGRAM") {
            return other.into();
        }
        let built = PathBuf::from(env!("CARGO_BIN_EXE_awg-install"));
        let small = Path::new(env!("CARGO_TARGET_TMPDIR")).join("awg-install.stripped");
        let newer =
            |a: &Path, b: &Path| Some(a.metadata().ok()?.modified().ok()? > b.metadata().ok()?.modified().ok()?);
        if newer(&small, &built) == Some(true) {
            return small;
        }
        // Under a name of its own first: several test programs may do this at the same time.
        let own = small.with_extension(std::process::id().to_string());
        let done = Command::new("strip").arg("-o").arg(&own).arg(&built).status().is_ok_and(|s| s.success());
        if done && fs::rename(&own, &small).is_ok() { small } else { built }
    })
}

/// The top of this repository.
pub fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
