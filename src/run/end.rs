//! How a run ends: what is recorded, and what people are told.

use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::host::Host;
use crate::plan::Plan;
use crate::reboot::{self, End};
use crate::receipt::{Outcome, Receipt};
use crate::report::Report;
use crate::wayback;

use super::LOG;

pub(super) fn rebooting(host: &Host, config: &Config, report: &Report, receipt: &Receipt, end: End) -> u8 {
    let expected = receipt.reboot.as_ref().map(|r| r.expected_release.clone()).unwrap_or_default();
    if end == End::RebootNeeded {
        report.end("reboot-needed", 7, &receipt.summary, "next: `reboot`; the resume service does the rest");
        return 7;
    }
    let when = match reboot::first_boot_tool(host) {
        Some(tool) => format!("when {tool} has ended"),
        None => "in 3 seconds".to_string(),
    };
    let card = format!(
        "The host restarts {when} into {expected}, once. If that kernel does not come up, any restart is\n\
         back on the old one: by itself after 15 seconds when it panics, after {} seconds when it hangs once its\n\
         init runs; only a hang before that needs the provider's power switch. Expect SSH back within a few\n\
         minutes. Then: `awg-install status --wait`, or look at {LOG}.",
        config.kernel.trial_timeout
    );
    report.end("reboot-scheduled", 0, &receipt.summary, &card);
    0
}

/// The end of a run that got where it wanted.
pub(super) fn finish(
    host: &Host,
    config: &Config,
    report: &Report,
    plan: &Plan,
    receipt: Option<Receipt>,
    unchanged: bool,
) -> Result<u8> {
    let code = plan.exit_code();
    let on = plan.choice.release.as_ref().map(|r| format!(" on {r}")).unwrap_or_default();
    let mode = plan.choice.rung.as_str();
    let summary = match (unchanged, code) {
        (true, 0) => format!("nothing to do: AmneziaWG runs in {mode} mode{on}"),
        (true, _) => format!("nothing to do: runs in {mode} mode, below what was hoped for ({})", plan.choice.why),
        (false, 0) => format!("done: AmneziaWG runs in {mode} mode{on}"),
        (false, _) => format!("done, but below the top: runs in {mode} mode ({})", plan.choice.why),
    };
    let summary = if plan.choice.rung == crate::owned::Rung::Wireguard {
        summary.replace("AmneziaWG", "standard WireGuard")
    } else {
        summary
    };
    if let Some(mut receipt) = receipt
        && (receipt.outcome != Outcome::Done || !unchanged || receipt.way_back.is_some())
    {
        receipt.outcome = Outcome::Done;
        receipt.exit_code = Some(code);
        receipt.summary = summary.clone();
        receipt.mode = mode.into();
        wayback::arrived(host, config, &mut receipt)?;
        receipt.save(host)?;
    }
    report.end(if unchanged { "unchanged" } else { "done" }, code, &summary, &crate::status::access(host, config));
    Ok(code)
}

/// Records how a run that has changed something ended; a run that has not leaves no receipt.
pub(super) fn end_failed(host: &Host, receipt: Option<Receipt>, error: Error) -> Error {
    let Some(mut receipt) = receipt else { return error };
    receipt.outcome = Outcome::Failed;
    receipt.exit_code = Some(6);
    receipt.summary = error.message.clone();
    if let Err(second) = receipt.save(host) {
        return error.remedy(format!("the receipt could not be written either: {second}"));
    }
    Error { kind: Kind::Step, ..error }
}

/// A plan that cannot be made or may not be carried out. Where this run has not begun anything, all stays as it was,
/// what an earlier run has recorded too.
pub(super) fn refused(host: &Host, receipt: Option<Receipt>, error: Error, begun: bool) -> Error {
    if begun { end_failed(host, receipt, error) } else { error }
}

/// Consent to overwriting what somebody has edited by hand; nothing of it is lost.
pub(super) fn may_replace(plan: &Plan, ask: bool) -> Result<()> {
    let (paths, texts): (Vec<&str>, Vec<&str>) = plan.edited().map(|d| (d.path.as_str(), d.text.as_str())).unzip();
    if paths.is_empty() {
        return Ok(());
    }
    let what = paths.join(", ");
    let question = format!("{what}: edited by hand. Replace (a copy is kept beside)?");
    if ask {
        return confirm(&question);
    }
    Err(Error::host(format!("{what}: edited by hand since it was written; nothing was changed"))
        .cause(texts.join("\n"))
        .remedy("put into the configuration what is to stay, or replace it: `--replace-edited` keeps a copy beside"))
}

pub(super) fn confirm(question: &str) -> Result<()> {
    let yes = dialoguer::Confirm::new().with_prompt(question).default(false).interact().map_err(|e| {
        Error::new(Kind::Usage, "the answer cannot be read").cause(e).remedy("use --unattended or --yes")
    })?;
    if yes { Ok(()) } else { Err(Error::new(Kind::Usage, "stopped: nothing was changed")) }
}
