//! Around a restart: the watchdog of a trial boot, and what is left to learn of a boot that failed.

use std::time::{Duration, Instant};

use xshell::cmd;

use crate::error::Result;
use crate::host::{Host, Limits};
use crate::owned::{SELF, WATCHDOG_MARK};
use crate::receipt::{self, MAX_REBOOTS, Reboot, Receipt};

const PSTORE: &str = "/sys/fs/pstore";
/// What a crashed kernel leaves is quoted up to here.
const QUOTED: usize = 6;

/// What first-boot tools may still have to do is waited for this long.
const FIRST_BOOT: Duration = Duration::from_secs(900);

/// How far a run got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Done,
    /// A reboot is under way; the resume service goes on.
    Rebooting,
    /// The operator restarts the host.
    RebootNeeded,
}

/// Records what is expected of the restart and asks for it. Everything is durable before.
pub fn ask(host: &Host, receipt: &mut Receipt, release: &str, allowed: bool) -> Result<End> {
    begin(host, receipt, release, allowed, false)
}

/// The same, by the kernel that was loaded for kexec.
pub fn ask_kexec(host: &Host, receipt: &mut Receipt, release: &str) -> Result<End> {
    begin(host, receipt, release, true, true)
}

fn begin(host: &Host, receipt: &mut Receipt, release: &str, allowed: bool, kexec: bool) -> Result<End> {
    let attempt = match &receipt.reboot {
        Some(r) if r.expected_release == release && r.boot_id == host.boot_id() => r.attempt + 1,
        _ => 1,
    };
    receipt.reboot = Some(Reboot { boot_id: host.boot_id(), expected_release: release.into(), attempt, kexec });
    let back = receipt.outcome == receipt::Outcome::RollingBack;
    let (end, code, summary) = if allowed {
        (End::Rebooting, 0, format!("reboot into {release} scheduled; the rest follows by itself"))
    } else {
        (End::RebootNeeded, 7, format!("reboot needed: {release} is armed for the next boot"))
    };
    if !back {
        receipt.outcome = if allowed { receipt::Outcome::RebootScheduled } else { receipt::Outcome::RebootNeeded };
    }
    (receipt.exit_code, receipt.summary) = (Some(code), summary);
    receipt.save(host)?;
    host.sync();
    if end == End::Rebooting {
        restart(host, receipt)?;
    }
    Ok(end)
}

/// Restarts now, or once whatever sets this host up at its first boot has ended: a restart in the middle
/// of it would run it all again, or leave its files empty (cloud-init issue 5699).
fn restart(host: &Host, receipt: &mut Receipt) -> Result<()> {
    let sh = host.shell();
    let kexec = receipt.reboot.as_ref().is_some_and(|r| r.kexec);
    let tool = first_boot_tool(host);
    if tool.is_none() && !kexec {
        // A short delay lets the caller, such as an SSH session, read the outcome.
        return host.detach(cmd!(sh, "reboot -d 3")).map(drop);
    }
    let how: &[&str] = if kexec { &["--kexec"] } else { &[] };
    let pid = host.detach(cmd!(sh, "{SELF} reboot-when-ready {how...}"))?;
    if let Some(tool) = tool {
        receipt.summary =
            format!("{}; process {pid} (awg-install reboot-when-ready) waits for {tool} to end first", receipt.summary);
        receipt.save(host)?;
    }
    Ok(())
}

/// What `reboot-when-ready` does: in a session of its own, so that its caller's end does not end it.
pub fn when_ready(host: &Host, kexec: bool) -> Result<()> {
    let _ = nix::unistd::setsid();
    let began = Instant::now();
    while first_boot_tool(host).is_some() && began.elapsed() < FIRST_BOOT {
        std::thread::sleep(Duration::from_secs(1));
    }
    host.sync();
    let sh = host.shell();
    if kexec {
        std::thread::sleep(Duration::from_secs(3));
        // Services are stopped and file systems made read-only as for a restart. That ends every process
        // but those of this session.
        host.ask(cmd!(sh, "openrc shutdown"), Limits::seconds(120));
        host.ask(cmd!(sh, "kexec -e"), Limits::seconds(30));
        // Still here: the loader starts the old kernel, and the resumed run hears of it.
        return host.run(cmd!(sh, "reboot -f"), Limits::seconds(60), "restarting the host").map(drop);
    }
    host.run(cmd!(sh, "reboot -d 3"), Limits::seconds(60), "restarting the host").map(drop)
}

/// cloud-init or tiny-cloud, where it is at work in this boot.
pub fn first_boot_tool(host: &Host) -> Option<&'static str> {
    // cloud-init links its result into /run when its final stage has ended; /run is new at every boot.
    if host.exists("/run/cloud-init/status.json") && !host.exists("/run/cloud-init/result.json") {
        return Some("cloud-init");
    }
    // tiny-cloud marks its completion as the last thing of its final phase.
    let planned = ["default", "boot"].iter().any(|l| host.exists(format!("/etc/runlevels/{l}/tiny-cloud-final")));
    (planned && !host.exists("/var/lib/cloud/.bootstrap-complete")).then_some("tiny-cloud")
}

/// Says how it ended where a first-boot tool keeps the output of what it has started. Nothing depends on it.
pub fn tell_first_boot(host: &Host, outcome: &str) {
    for log in ["/var/log/cloud-init-output.log", "/var/log/user-data.log"] {
        if host.exists(log) {
            host.append(log, &format!("awg-install: {outcome}\n"));
        }
    }
}

/// Stops the software watchdog that the trial boot's service has started. Harmless where none runs.
fn stop_watchdog(host: &Host) {
    if let Some(dog) = host.read_trimmed(WATCHDOG_MARK) {
        // The letter V before the close is how a watchdog is stopped (Linux, watchdog-api).
        host.poke(format!("/dev/{dog}"), b"V");
        // What cannot be removed there is gone with the next boot.
        let _ = host.remove_file(WATCHDOG_MARK);
    }
}

/// What became of a restart that was asked for.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The expected kernel runs.
    CameUp,
    /// Why it does not.
    Failed(String),
    /// It has not happened yet, and may be asked for again.
    Pending,
}

/// The same for an installation and for a rollback. A trial boot that came up is not watched any more.
pub fn outcome(host: &Host, asked: &Reboot) -> Outcome {
    let running = host.release();
    if running == asked.expected_release {
        stop_watchdog(host);
        Outcome::CameUp
    } else if asked.boot_id != host.boot_id() {
        Outcome::Failed(why_it_failed(host, &running))
    } else if asked.attempt >= MAX_REBOOTS {
        Outcome::Failed(format!("{} reboots were asked for and none happened", asked.attempt))
    } else {
        Outcome::Pending
    }
}

/// Why the new kernel is not the one that runs, as far as anything can tell.
fn why_it_failed(host: &Host, running: &str) -> String {
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
