//! The check at boot.

use crate::backup;
use crate::choice::Aim;
use crate::config::Config;
use crate::container;
use crate::daemon;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::owned::SERVICE;
use crate::receipt::{Outcome, Receipt};
use crate::report::Report;

use super::end::end_failed;
use super::{LOCK, Wish, code, go_back, look_and_plan, reconcile};

/// `guard`: at every boot. The container works in the best mode that the kernel which runs allows; a restart
/// loop is ended. Nothing is fetched, no kernel is changed, and a host that is as it was left is not touched.
pub fn guard(host: &Host, config: &Config, report: &Report) -> Result<u8> {
    if backup::is_unsettled(host) {
        daemon::wait_if_started(host);
        let Some(_lock) = host.lock(LOCK)? else { return Ok(0) };
        backup::settle(host, config, report)?;
    }
    // One that failed before the server ever ran is the operator's to go on with; one that was cut off later, be it
    // by the end of the boot before this one, has a server that is to run.
    let cut_off = |r: &Receipt| r.outcome == Outcome::Running && r.reboot.is_none() && !host.exists(SERVICE);
    let ran = |r: &Receipt| r.proven.is_some() && (r.outcome == Outcome::Failed || cut_off(r));
    let finished = |r: &Receipt| r.outcome == Outcome::Done || ran(r);
    if let Some(code) = after_a_cut(host, config, report)? {
        return Ok(code);
    }
    let Some(receipt) = Receipt::load(host)?.filter(finished) else {
        report.note("an installation is under way, or there is none: nothing to look after");
        return Ok(0);
    };
    let planned = look_and_plan(host, config, Some(&receipt), Aim::Boot, false);
    if let Ok((plan, ..)) = &planned {
        for file in plan.edited() {
            report.note(&format!("{} was edited by hand and is left as it is", file.path));
        }
    }
    if planned.is_ok_and(|(plan, ..)| plan.steps.is_empty()) && receipt.outcome == Outcome::Done {
        return Ok(receipt.exit_code.unwrap_or_default());
    }
    // Somebody is at it already.
    let Some(_lock) = host.lock(LOCK)? else { return Ok(0) };
    // What was true before the lock was had may be over: a rollback may have begun meanwhile.
    let Some(receipt) = Receipt::load(host)?.filter(finished) else { return Ok(0) };
    let wish =
        Wish { reboot: false, confirm: false, replace_edited: false, retry: false, aim: Aim::Boot, attended: None };
    let ended = reconcile(host, config, report, wish, Some(receipt)).and_then(code);
    if ended.is_err() && container::end_restart_loop(host, &config.container.name.to_string()) {
        report.note("the container was restarted again and again: it is stopped now");
    }
    ended
}

/// An upgrade that was cut off, and that no boot service goes on with: back to what ran before.
fn after_a_cut(host: &Host, config: &Config, report: &Report) -> Result<Option<u8>> {
    let cut = |r: &Receipt| {
        r.way_back.is_some() && r.reboot.is_none() && matches!(r.outcome, Outcome::Running | Outcome::Failed)
    };
    if host.exists(SERVICE) || !Receipt::load(host)?.is_some_and(|r| cut(&r)) {
        return Ok(None);
    }
    // Somebody is at it.
    let Some(_lock) = host.lock(LOCK)? else { return Ok(Some(0)) };
    let Some(mut receipt) = Receipt::load(host)?.filter(cut) else { return Ok(Some(0)) };
    daemon::wait_if_started(host);
    let error = go_back(host, config, report, &mut receipt, Error::step("the last run was cut off"));
    let error = end_failed(host, Some(receipt), error);
    report.note(&error.message);
    Ok(Some(error.exit_code()))
}
