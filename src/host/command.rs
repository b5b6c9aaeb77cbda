//! Commands: built with xshell, supervised here. Each has a time limit, a clean environment, bounded
//! captured output, a process group of its own, and a line in the log.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::json;

use super::{FAKE_MARK, Host};
use crate::error::{Error, Result};

/// How long a command may take, and what it may read.
#[derive(Debug, Clone)]
pub struct Limits {
    pub time: Duration,
    pub stdin: Option<Vec<u8>>,
}

/// What a command left behind. Each stream keeps its last `KEEP` bytes.
#[derive(Debug, Clone)]
pub struct Output {
    /// The exit code; 128 + signal when a signal ended it.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    pub timed_out: bool,
    /// As a person would type it.
    pub shown: String,
}

/// Bytes that are kept of a stream.
pub const KEEP: usize = 256 * 1024;
/// Between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(5);
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// What a child may inherit. DOCKER_HOST, COMPOSE_FILE and their like would send the work elsewhere.
const PASSED_ON: &[&str] = &[
    "ALL_PROXY",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "all_proxy",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "TZ",
];

impl Limits {
    pub fn seconds(seconds: u64) -> Limits {
        Limits { time: Duration::from_secs(seconds), stdin: None }
    }
}

impl Output {
    pub fn ok(&self) -> bool {
        self.code == 0 && !self.timed_out
    }

    /// The last lines of what the command said, for an error's cause.
    pub fn tail(&self, lines: usize) -> String {
        let said = if self.stderr.trim().is_empty() { &self.stdout } else { &self.stderr };
        let all: Vec<&str> = said.trim_end().lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// An error that carries the command, its exit and its last words.
    pub fn error(&self, message: impl Into<String>) -> Error {
        let how = if self.timed_out { "ran out of time".into() } else { format!("exit {}", self.code) };
        Error::step(message).cause(format!("`{}`: {how}\n{}", self.shown, self.tail(8)).trim_end())
    }
}

impl Host {
    /// Runs a command whose failure is an answer, not an error.
    pub fn ask(&self, cmd: xshell::Cmd<'_>, limits: Limits) -> Output {
        let shown = cmd.to_string();
        self.supervise(cmd.into(), shown, limits)
    }

    /// Runs a command that must succeed.
    pub fn run(&self, cmd: xshell::Cmd<'_>, limits: Limits, doing: &str) -> Result<Output> {
        let output = self.ask(cmd, limits);
        if output.ok() { Ok(output) } else { Err(output.error(format!("{doing} failed"))) }
    }

    /// Where a program is, or nothing.
    pub fn which(&self, program: &str) -> Option<PathBuf> {
        if self.is_fake() {
            let place = self.path(format!("/{FAKE_MARK}/bin/{program}"));
            return place.is_file().then_some(place);
        }
        PATH.split(':').map(|d| PathBuf::from(d).join(program)).find(|p| p.is_file())
    }

    fn supervise(&self, built: Command, shown: String, limits: Limits) -> Output {
        let began = Instant::now();
        let output = self.execute(built, &shown, limits);
        self.log.event(json!({"type": "command", "command": shown, "exit": output.code,
            "ms": began.elapsed().as_millis() as u64, "timed_out": output.timed_out}));
        self.boundary();
        output
    }

    fn execute(&self, built: Command, shown: &str, limits: Limits) -> Output {
        let failed = |code, why: String| Output {
            code,
            stdout: String::new(),
            stderr: why,
            timed_out: false,
            shown: shown.to_string(),
        };
        let program = built.get_program().to_string_lossy().into_owned();
        let name = program.rsplit('/').next().unwrap_or(&program);
        let Some(place) = self.which(name) else {
            return failed(127, format!("{program}: not found"));
        };
        let mut command = Command::new(place);
        command
            .arg0(&program)
            .args(built.get_args())
            .env_clear()
            .env("PATH", PATH)
            .env("LANG", "C")
            .env("LC_ALL", "C")
            .env("HOME", "/root")
            .process_group(0)
            .stdin(if limits.stdin.is_some() { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        for (key, value) in PASSED_ON.iter().filter_map(|k| self.env(k).map(|v| (k, v))) {
            command.env(key, value);
        }
        for (key, value) in built.get_envs() {
            if let Some(value) = value {
                command.env(key, value);
            }
        }
        if let Some(root) = self.root() {
            command.env("FAKE_ROOT", root).current_dir(root);
            for (key, value) in self.env_all().iter().filter(|(k, _)| k.starts_with("FAKE_")) {
                command.env(key, value);
            }
        } else {
            command.current_dir("/");
        }
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(e) => return failed(126, format!("{program}: {e}")),
        };
        let group = Pid::from_raw(child.id() as i32);
        if let (Some(mut pipe), Some(bytes)) = (child.stdin.take(), limits.stdin) {
            std::thread::spawn(move || drop(pipe.write_all(&bytes)));
        }
        let out = collect(child.stdout.take().expect("piped"));
        let err = collect(child.stderr.take().expect("piped"));
        let (sender, ended) = mpsc::channel();
        std::thread::spawn(move || drop(sender.send(child.wait())));
        let (status, timed_out) = match self.await_end(&ended, limits.time) {
            Some(status) => (status, false),
            None => {
                let _ = killpg(group, Signal::SIGTERM);
                let status = ended.recv_timeout(GRACE).unwrap_or_else(|_| {
                    let _ = killpg(group, Signal::SIGKILL);
                    ended.recv_timeout(GRACE).unwrap_or_else(|e| Err(std::io::Error::other(e)))
                });
                (status, true)
            }
        };
        // A daemon that the command started may hold the pipes open for ever: do not wait for it long.
        let patience = Duration::from_secs(2);
        let text = |stream: mpsc::Receiver<Vec<u8>>| {
            String::from_utf8_lossy(&stream.recv_timeout(patience).unwrap_or_default()).into_owned()
        };
        let code = match status {
            Ok(s) => s.code().unwrap_or_else(|| 128 + s.signal().unwrap_or(0)),
            Err(_) => -1,
        };
        Output { code, stdout: text(out), stderr: text(err), timed_out, shown: shown.to_string() }
    }
}

impl Host {
    /// The end of a command, or nothing when its time is over or the run was told twice to stop.
    fn await_end<T>(&self, ended: &mpsc::Receiver<T>, limit: Duration) -> Option<T> {
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match ended.recv_timeout(left.min(Duration::from_millis(200))) {
                Ok(status) => return Some(status),
                Err(mpsc::RecvTimeoutError::Disconnected) => return None,
                Err(mpsc::RecvTimeoutError::Timeout) if left.is_zero() || self.stop_at_once() => return None,
                Err(mpsc::RecvTimeoutError::Timeout) => {}
            }
        }
    }
}

/// Reads a stream to its end on a thread of its own, keeping the last `KEEP` bytes.
fn collect(mut stream: impl Read + Send + 'static) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut kept: VecDeque<u8> = VecDeque::new();
        let mut buffer = [0u8; 8192];
        while let Ok(n @ 1..) = stream.read(&mut buffer) {
            kept.extend(&buffer[..n]);
            let excess = kept.len().saturating_sub(KEEP);
            kept.drain(..excess);
        }
        let _ = sender.send(kept.into());
    });
    receiver
}

impl Host {
    /// Starts a command that outlives this program and returns its process id. With a fake root it is run
    /// to its end instead.
    pub fn detach(&self, cmd: xshell::Cmd<'_>) -> Result<u32> {
        if self.is_fake() {
            let out = self.ask(cmd, Limits::seconds(60));
            return if out.ok() { Ok(0) } else { Err(out.error("the command failed")) };
        }
        let shown = cmd.to_string();
        self.log.event(json!({"type": "command", "command": shown, "detached": true}));
        let built: Command = cmd.into();
        let mut command = Command::new(built.get_program());
        command
            .args(built.get_args())
            .env_clear()
            .env("PATH", PATH)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = command.spawn().map_err(|e| Error::step(format!("`{shown}` cannot be started")).cause(e))?;
        Ok(child.id())
    }
}
