//! Rollback: takes back what the receipt records, newest first. The receipt and the program go last.

use crate::change;
use crate::error::{Error, Kind, Result};
use crate::host::Host;
use crate::owned::SELF;
use crate::receipt::{self, Change, Entry, Outcome, Receipt, STATE_DIR, State};
use crate::report::Report;

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

/// `rollback`. Returns the exit code: 7 when the old kernel has to be started before the rest can go.
pub fn rollback(host: &Host, report: &Report, purge_data: bool) -> Result<u8> {
    let _lock = crate::run::lock(host)?;
    let Some(mut receipt) = Receipt::load(host)? else {
        // A run that was cut off while it wrote its first receipt leaves these.
        host.remove_file(receipt::PATH)?;
        host.remove_empty_dir(STATE_DIR);
        report.end("nothing", 0, "nothing to roll back: no installation was begun here", "");
        return Ok(0);
    };
    receipt.outcome = Outcome::RollingBack;
    receipt.save(host)?;
    change::remove_services(host)?;
    let running = format!("kernel:{}", host.release());
    let mut waits = false;
    for index in (0..receipt.steps.len()).rev() {
        let entry = receipt.steps[index].clone();
        if entry.state == State::Undone || entry.id == "install-self" {
            continue;
        }
        if entry.id == running {
            // Removing it now would take the modules away from under the running kernel.
            waits = true;
            continue;
        }
        report.note(&format!("undo {}", entry.id));
        undo_entry(host, &mut receipt, index, purge_data)?;
    }
    if waits {
        receipt.summary = format!("rolled back up to the running kernel {}", host.release());
        receipt.exit_code = Some(7);
        receipt.save(host)?;
        report.end(
            "reboot-needed",
            7,
            &receipt.summary,
            "next: `reboot` (the old kernel is the default), then `awg-install rollback` once more",
        );
        return Ok(7);
    }
    last(host, &mut receipt, purge_data)?;
    report.end(
        "rolled-back",
        0,
        "rolled back: what was installed is undone",
        if purge_data { "" } else { "the server's data was kept" },
    );
    Ok(0)
}

/// A rollback that was begun has to be finished before anything is installed again.
pub fn refuse_unfinished(receipt: &Receipt) -> Result<()> {
    if receipt.outcome != Outcome::RollingBack {
        return Ok(());
    }
    Err(Error::new(Kind::Host, "a rollback was begun and is not finished").remedy("run `awg-install rollback` first"))
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

fn last(host: &Host, receipt: &mut Receipt, purge_data: bool) -> Result<()> {
    receipt.outcome = Outcome::RolledBack;
    receipt.exit_code = Some(0);
    receipt.summary = "rolled back".into();
    receipt.save(host)?;
    let own = receipt.steps.iter().position(|e| e.id == "install-self" && e.state != State::Undone);
    let directories = kept_directories(receipt);
    host.remove_tree(receipt::COPIES)?;
    host.remove_file(receipt::PATH)?;
    host.remove_empty_dir(STATE_DIR);
    if let Some(index) = own {
        for change in receipt.steps[index].prior.iter().rev() {
            change::undo(host, change, purge_data)?;
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
