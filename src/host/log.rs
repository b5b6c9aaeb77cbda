//! `/var/log/awg-install.log`: JSON lines for whoever has to find out later what happened.
//!
//! Fields are those named here and no others, and texts are redacted: peer names and addresses can endanger people.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use serde_json::{Value, json};

use crate::redact::Redactor;

/// Rotated to `.1` above this many bytes when a run begins.
const ROTATE_AT: u64 = 1 << 20;

/// What an event may tell. What is not named here is left out, whoever adds it.
const FIELDS: &[&str] = &[
    "address",
    "cause",
    "command",
    "cpu_ms",
    "detached",
    "exit",
    "exit_code",
    "handshake",
    "image",
    "interface",
    "issuer",
    "message",
    "method",
    "ms",
    "name",
    "number",
    "outcome",
    "page",
    "path",
    "peak_memory_kib",
    "plan",
    "port",
    "problem",
    "release",
    "remedy",
    "srcversion",
    "status",
    "step",
    "summary",
    "text",
    "timed_out",
    "total",
    "trusted",
    "ts",
    "type",
    "udp_port",
    "url",
    "v",
    "web_status",
    "what",
];
/// From here on a cause quotes the container, which may name its peers.
pub const QUOTES: &str = "last lines of the container:";

pub struct Log {
    file: Option<File>,
}

impl Log {
    pub fn off() -> Log {
        Log { file: None }
    }

    /// A log that cannot be opened is no reason to fail: the run goes on without.
    pub fn open(path: &Path) -> Log {
        if path.metadata().is_ok_and(|m| m.len() > ROTATE_AT) {
            let mut old = path.as_os_str().to_owned();
            old.push(".1");
            let _ = std::fs::rename(path, old);
        }
        Log { file: OpenOptions::new().create(true).append(true).mode(0o600).open(path).ok() }
    }

    /// The same log for another thread. Lines of both stay whole: each is one write to the file's end.
    pub fn share(&self) -> Log {
        Log { file: self.file.as_ref().and_then(|file| file.try_clone().ok()) }
    }

    pub fn event(&self, mut event: Value) {
        let Some(mut file) = self.file.as_ref() else { return };
        if let Value::Object(map) = &mut event {
            map.retain(|key, _| FIELDS.contains(&key.as_str()));
            let quoted = map.get("cause").and_then(Value::as_str).and_then(|c| c.split_once(QUOTES));
            if let Some((before, _)) = quoted {
                map["cause"] = json!(format!("{before}{QUOTES} (not kept here)"));
            }
            map.entry("ts").or_insert_with(|| json!(timestamp(std::time::SystemTime::now())));
        }
        Redactor::default().value(&mut event);
        // One write call, so that lines of two processes do not mix.
        let _ = file.write_all(format!("{event}\n").as_bytes());
    }

    /// The last line of a run: how it has ended, and what this process has used for it.
    pub fn exit(&self, code: u8) {
        self.event(json!({
            "type": "exit", "exit_code": code, "cpu_ms": cpu_ms(), "peak_memory_kib": peak_memory_kib()
        }));
    }
}

/// Processor time of this process in milliseconds: of all its threads, not of the programs that it has started.
fn cpu_ms() -> Option<u64> {
    let used = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    u64::try_from((used.user_time() + used.system_time()).num_milliseconds()).ok()
}

/// The most memory this process has held at once.
fn peak_memory_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches("kB").trim().parse().ok()
}

/// RFC 3339 in UTC, whole seconds.
pub fn timestamp(at: std::time::SystemTime) -> String {
    let format = time::macros::format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
    time::OffsetDateTime::from(at).format(&format).unwrap_or_default()
}
