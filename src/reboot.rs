//! Around a restart: the watchdog of a trial boot, and what is left to learn of a boot that failed.

use xshell::cmd;

use crate::host::{Host, Limits};

const WATCHDOGS: &str = "/sys/class/watchdog";
const PSTORE: &str = "/sys/fs/pstore";
/// What a crashed kernel leaves is quoted up to here.
const QUOTED: usize = 6;

/// Stops the software watchdog that the trial boot's guard has started. Harmless where none runs.
pub fn stop_watchdog(host: &Host) {
    for dog in host.names(WATCHDOGS) {
        if host.read_trimmed(format!("{WATCHDOGS}/{dog}/identity")).as_deref() == Some("Software Watchdog") {
            // The letter V before the close is how a watchdog is stopped (Linux, watchdog-api).
            host.poke(format!("/dev/{dog}"), b"V");
        }
    }
}

/// Why the new kernel is not the one that runs, as far as anything can tell.
pub fn why_it_failed(host: &Host, running: &str) -> String {
    let back = format!("it was started once and the host came back on {running}");
    match last_words(host) {
        Some(words) => format!("{back}; the kernel's last words were: {words}"),
        None => format!(
            "{back}; the kernel left no record (a panic before its log could be kept, a hang, a file that the \
             loader could not load, or the power was cut)"
        ),
    }
}

/// The end of the newest crash record that the firmware or reserved memory kept.
fn last_words(host: &Host) -> Option<String> {
    let sh = host.shell();
    let mounted = host.read_text("/proc/mounts").unwrap_or_default().lines().any(|l| l.contains(" /sys/fs/pstore "));
    if !mounted && host.is_dir(PSTORE) {
        host.ask(cmd!(sh, "mount -t pstore pstore /sys/fs/pstore"), Limits::seconds(10));
    }
    let names = host.names(PSTORE);
    let record = names.iter().find(|n| n.starts_with("dmesg-")).or(names.iter().find(|n| n.starts_with("console-")));
    let words = record.and_then(|name| host.read_text(format!("{PSTORE}/{name}"))).map(|text| parse_record(&text));
    if !mounted && host.is_dir(PSTORE) {
        host.ask(cmd!(sh, "umount /sys/fs/pstore"), Limits::seconds(10));
    }
    words.filter(|w| !w.is_empty())
}

/// The lines that say why, of a crash record: the panic and what the kernel said right before it.
pub fn parse_record(text: &str) -> String {
    let lines: Vec<&str> = text
        .lines()
        .map(|line| line.trim_start_matches(|c: char| c == '<' || c == '>' || c.is_ascii_digit()))
        .map(|line| line.trim_start().split_once("] ").filter(|(t, _)| t.starts_with('[')).map_or(line, |(_, l)| l))
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let signs = ["Kernel panic", "Oops", "BUG:", "soft lockup", "watchdog"];
    let at = lines.iter().rposition(|line| signs.iter().any(|s| line.contains(s)));
    match at {
        Some(at) => lines[at.saturating_sub(2)..=at].join(" | "),
        None => lines[lines.len().saturating_sub(QUOTED)..].join(" | "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crash_records() {
        let record = "Panic#1 Part1\n<6>[    1.2] virtio_blk virtio1: 1/0/0 default/read/poll queues\n\
            <4>[    1.9] VFS: Cannot open root device\n<0>[    2.0] Kernel panic - not syncing: VFS: Unable to mount root fs\n\
            <4>[    2.0] CPU: 0 UID: 0 PID: 1\n";
        let words = parse_record(record);
        assert!(words.contains("Kernel panic - not syncing: VFS") && words.contains("Cannot open root"), "{words}");
        assert!(!words.contains("CPU: 0"), "{words}");
        assert_eq!(parse_record(""), "");
    }
}
