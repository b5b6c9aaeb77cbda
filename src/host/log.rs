//! `/var/log/awg-install.log`: JSON lines for whoever has to find out later what happened.
//!
//! Fields are those named here and no others: peer names and addresses can endanger people.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde_json::{Value, json};

/// Rotated to `.1` above this many bytes when a run begins.
const ROTATE_AT: u64 = 1 << 20;

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

    pub fn event(&self, mut event: Value) {
        let Some(mut file) = self.file.as_ref() else { return };
        if let Value::Object(map) = &mut event {
            map.entry("ts").or_insert_with(|| json!(timestamp(std::time::SystemTime::now())));
        }
        // One write call, so that lines of two processes do not mix.
        let _ = file.write_all(format!("{event}\n").as_bytes());
    }
}

/// RFC 3339 in UTC, whole seconds.
pub fn timestamp(at: std::time::SystemTime) -> String {
    let format = time::macros::format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
    time::OffsetDateTime::from(at).format(&format).unwrap_or_default()
}
