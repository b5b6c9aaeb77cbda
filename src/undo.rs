//! Rollback: takes back what the receipt records, newest first. The receipt and the program go last.
//!
//! Where the kernel that runs is one that was installed, the old one is started first, once, like a new
//! kernel is: nothing is taken away before it is known that the host still boots without.

use crate::backup;
use crate::bootloader;
use crate::build;
use crate::change;
use crate::error::{Error, Kind, Result};
use crate::host::Host;
use crate::notice;
use crate::owned::{self, Owned, SELF, SERVICE, WATCHDOG};
use crate::reboot::{self, End};
use crate::receipt::{self, Change, Entry, Outcome, Receipt, STATE_DIR, State};
use crate::report::Report;
use crate::step::{RESUME, Step, WATCHDOG_SERVICE};

/// Seconds that the old kernel has to come up again.
const TRIAL_TIMEOUT: u32 = 300;

/// Undoes every step whose id is chosen, newest first, recording each.
pub fn some(host: &Host, receipt: &mut Receipt, chosen: impl Fn(&str) -> bool) -> Result<()> {
    for index in (0..receipt.steps.len()).rev() {
        let entry = &receipt.steps[index];
        if entry.state != State::Undone && chosen(&entry.id) {
            undo_entry(host, receipt, index, false)?;
        }
    }
    Ok(())
}

/// `rollback`. Returns the exit code: 0 also when the host restarts into the old kernel and the rest
/// follows by itself, 7 when that restart is left to the operator.
pub fn rollback(host: &Host, report: &Report, purge_data: bool, may_reboot: bool) -> Result<u8> {
    let _lock = crate::run::lock(host)?;
    let Some(mut receipt) = Receipt::load(host)? else {
        // A run that was cut off while it wrote its first receipt leaves these.
        host.remove_file(receipt::PATH)?;
        host.remove_empty_dir(STATE_DIR);
        report.end("nothing", 0, "nothing to roll back: no installation was begun here", "");
        return Ok(0);
    };
    if receipt.outcome != Outcome::RollingBack {
        receipt.outcome = Outcome::RollingBack;
        // A reboot that the installation had asked for is not waited for any more.
        receipt.reboot = None;
    }
    receipt.purge_data |= purge_data;
    receipt.save(host)?;
    backup::drop_unfinished(host)?;
    go_on(host, report, receipt, may_reboot)
}

/// What the boot service does after the restart into the old kernel; `None` when no rollback is under way.
pub fn resume(host: &Host, report: &Report, may_reboot: bool) -> Result<Option<u8>> {
    if Receipt::load(host)?.is_none_or(|r| r.outcome != Outcome::RollingBack) {
        return Ok(None);
    }
    let _lock = crate::run::lock(host)?;
    match Receipt::load(host)? {
        Some(receipt) if receipt.outcome == Outcome::RollingBack => go_on(host, report, receipt, may_reboot).map(Some),
        _ => Ok(None),
    }
}

/// A rollback that was begun has to be finished before anything is installed again.
pub fn refuse_unfinished(receipt: &Receipt) -> Result<()> {
    if receipt.outcome != Outcome::RollingBack {
        return Ok(());
    }
    Err(Error::new(Kind::Host, "a rollback was begun and is not finished").remedy("run `awg-install rollback` first"))
}

fn go_on(host: &Host, report: &Report, mut receipt: Receipt, may_reboot: bool) -> Result<u8> {
    settle(host, report, &mut receipt)?;
    let running = host.release();
    let is_ours = |e: &Entry| e.state != State::Undone && e.id == format!("kernel:{running}");
    if receipt.steps.iter().any(is_ours) {
        // The old kernel may have been removed: that comes back before it is started.
        some(host, &mut receipt, |id| id.starts_with("remove-old:"))?;
        return back_to_the_old_kernel(host, report, &mut receipt, may_reboot);
    }
    // First of all: what the loader starts from now on is the kernel that runs.
    some(host, &mut receipt, |id| id.starts_with("default:"))?;
    for index in (0..receipt.steps.len()).rev() {
        let entry = &receipt.steps[index];
        // The services stay until the end: they finish a rollback that is cut off.
        if entry.state == State::Undone || entry.id == "install-self" || is_service(&entry.id) {
            continue;
        }
        host.go_on()?;
        report.note(&format!("undo {}", entry.id));
        let purge_data = receipt.purge_data;
        undo_entry(host, &mut receipt, index, purge_data)?;
    }
    let purged = receipt.purge_data;
    let backups = backup::purge(host, purged)?;
    last(host, &mut receipt)?;
    let kept = match (purged, backups) {
        (true, _) => "",
        (false, 0) => "the server's data was kept",
        (false, _) => "the server's data and its backups were kept",
    };
    report.end("rolled-back", 0, "rolled back: what was installed is undone", kept);
    Ok(0)
}

fn is_service(id: &str) -> bool {
    [SERVICE, WATCHDOG].iter().any(|path| id == format!("write:{path}"))
        || [RESUME, WATCHDOG_SERVICE].iter().any(|name| id.starts_with(&format!("enable:{name}:")))
}

/// Finds out what became of the restart into the old kernel.
fn settle(host: &Host, report: &Report, receipt: &mut Receipt) -> Result<()> {
    let Some(asked) = receipt.reboot.clone() else { return Ok(()) };
    let why = match reboot::outcome(host, &asked) {
        reboot::Outcome::Pending => return Ok(()),
        reboot::Outcome::CameUp => {
            report.note(&format!("the host runs {} again", asked.expected_release));
            receipt.reboot = None;
            return receipt.save(host);
        }
        reboot::Outcome::Failed(why) => why,
    };
    receipt.reboot = None;
    receipt.outcome = Outcome::Failed;
    receipt.exit_code = Some(6);
    receipt.summary = format!("rollback stopped: the old kernel {} does not start", asked.expected_release);
    receipt.save(host)?;
    some(host, receipt, |id| id == format!("arm:{}", asked.expected_release))?;
    change::remove_services(host)?;
    Err(Error::step(receipt.summary.clone())
        .cause(why)
        .remedy("nothing was taken away; make the old kernel boot again, then run `awg-install rollback` once more"))
}

/// Arms the kernel that ran before and restarts into it, as the installation did with the new one.
fn back_to_the_old_kernel(host: &Host, report: &Report, receipt: &mut Receipt, may_reboot: bool) -> Result<u8> {
    let origin = receipt.origin.clone();
    let (flavour, old) = installed_like(host, &origin).ok_or_else(|| {
        Error::step(format!("the kernel that ran before, {origin:?}, is not installed any more"))
            .cause("without it, taking the new one away would leave nothing to boot")
            .remedy("install it (apk add linux-virt), then run `awg-install rollback` again")
    })?;
    change::record(host, &write(Owned::ResumeService, SERVICE), "", receipt)?;
    host.write(SERVICE, owned::resume_service()?.as_bytes(), 0o755)?;
    change::record(host, &write(Owned::Watchdog, WATCHDOG), "", receipt)?;
    host.write(WATCHDOG, owned::watchdog(TRIAL_TIMEOUT)?.as_bytes(), 0o755)?;
    for (service, runlevel) in [(RESUME, "default"), (WATCHDOG_SERVICE, "sysinit")] {
        change::record(host, &Step::Enable { service: service.into(), runlevel: runlevel.into() }, "", receipt)?;
        change::enable(host, service, runlevel)?;
    }
    // Where the default was never changed, it is the old kernel already.
    if bootloader::default(host) != flavour {
        change::record(host, &Step::Arm { flavour: flavour.clone(), release: old.clone() }, "", receipt)?;
        bootloader::arm(host, &flavour)?;
    }
    let end = reboot::ask(host, receipt, &old, may_reboot)?;
    if end == End::RebootNeeded {
        report.end("reboot-needed", 7, &receipt.summary, "next: `reboot`; the rest of the rollback follows by itself");
        return Ok(7);
    }
    let more = format!("nothing is taken away before {old} is seen to start; then the rollback goes on by itself");
    report.end("reboot-scheduled", 0, &receipt.summary, &more);
    Ok(0)
}

fn write(file: Owned, path: &str) -> Step {
    Step::Write { file, path: path.into() }
}

/// Flavour and release of the kernel that ran before; where its package was removed and added again,
/// what is there now of its flavour.
fn installed_like(host: &Host, release: &str) -> Option<(String, String)> {
    let named = |f: String| Some((host.read_trimmed(format!("/usr/share/kernel/{f}/kernel.release"))?, f));
    let all: Vec<(String, String)> =
        host.names("/usr/share/kernel").into_iter().filter_map(named).map(|(r, f)| (f, r)).collect();
    let exact = all.iter().find(|(_, r)| r == release);
    exact.or(all.iter().find(|(f, _)| release.ends_with(&format!("-{f}")))).cloned()
}

fn undo_entry(host: &Host, receipt: &mut Receipt, index: usize, purge_data: bool) -> Result<()> {
    let Entry { id, prior, .. } = receipt.steps[index].clone();
    for change in prior.iter().rev() {
        change::undo(host, change, purge_data).map_err(|mut e| {
            e.message = format!("undoing {id}: {}", e.message);
            e
        })?;
    }
    receipt.steps[index].state = State::Undone;
    receipt.steps[index].at = receipt::timestamp();
    receipt.save(host)
}

/// The services, the receipt, and at the very end the program itself.
fn last(host: &Host, receipt: &mut Receipt) -> Result<()> {
    receipt.exit_code = Some(0);
    receipt.summary = "rolled back".into();
    receipt.save(host)?;
    change::remove_services(host)?;
    let own = receipt.steps.iter().position(|e| e.id == "install-self" && e.state != State::Undone);
    let directories = kept_directories(receipt);
    host.remove_tree(receipt::COPIES)?;
    host.remove_tree(receipt::WAY_BACK)?;
    build::remove_cache(host)?;
    notice::clear(host)?;
    host.remove_file(receipt::PATH)?;
    host.remove_empty_dir(STATE_DIR);
    if let Some(index) = own {
        for change in receipt.steps[index].prior.iter().rev() {
            change::undo(host, change, receipt.purge_data)?;
        }
    } else if receipt.steps.is_empty() {
        host.remove_file(SELF)?;
    }
    // Directories that held data until it was purged.
    for directory in directories.iter().rev() {
        host.remove_empty_dir(directory);
    }
    Ok(())
}

fn kept_directories(receipt: &Receipt) -> Vec<String> {
    receipt
        .steps
        .iter()
        .flat_map(|e| &e.prior)
        .filter_map(|c| match c {
            Change::Directory { path } => Some(path.clone()),
            _ => None,
        })
        .collect()
}
