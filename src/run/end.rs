//! How a run ends: what is recorded, and what people are told.

use crate::ask;
use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::facts::Facts;
use crate::host::Host;
use crate::notice;
use crate::plan::Plan;
use crate::reboot::{self, End};
use crate::receipt::{Outcome, Receipt};
use crate::report::{Report, say, wrap};
use crate::wayback;

use super::{LOG, Wish};

/// Before the host restarts: whoever watches reads what will happen, and is waited for; whoever logs in
/// afterwards is told how it stands.
pub(super) fn before_restart(host: &Host, config: &Config, wish: Wish, expected: &str) -> Result<()> {
    if let Some(attended) = wish.attended.filter(|_| wish.reboot) {
        say(&format!("\n{}", card(host, config, expected)));
        attended.tell_password();
        ask::pause(host, "\nPress Enter to restart:");
    }
    notice::set(host, &format!("goes on by itself once {expected} runs"))
}

pub(super) fn rebooting(
    host: &Host,
    config: &Config,
    report: &Report,
    receipt: &Receipt,
    end: End,
    attended: bool,
) -> u8 {
    if end == End::RebootNeeded {
        report.end("reboot-needed", 7, &receipt.summary, "next: `reboot`; the resume service does the rest");
        return 7;
    }
    let expected = receipt.reboot.as_ref().map(|r| r.expected_release.clone()).unwrap_or_default();
    // Who was at the wizard has read it already.
    let card = if attended { String::new() } else { card(host, config, &expected) };
    report.end("reboot-scheduled", 0, &receipt.summary, &card);
    0
}

/// What will happen, how long it takes, what to do when the host does not answer, and how to look afterwards.
fn card(host: &Host, config: &Config, expected: &str) -> String {
    let when = match reboot::first_boot_tool(host) {
        Some(tool) => format!("when {tool} has ended"),
        None => "in 3 seconds".to_string(),
    };
    let lines = [
        ("Restart:", format!("{when}, into {expected}, once; the rest follows by itself and takes a few minutes.")),
        ("SSH:", "is back within a few minutes. Log in again as you did before.".into()),
        (
            "No answer?",
            format!(
                "If that kernel does not come up, any restart is back on the old one: by itself after 15 seconds when it \
                 panics, after {} seconds when it hangs once its init runs. Only a hang before that needs the \
                 provider's power switch: use it after {} minutes without an answer.",
                config.kernel.trial_timeout,
                config.kernel.trial_timeout / 60 + 5
            ),
        ),
        ("Then:", format!("`awg-install status --wait` tells how it ended; {LOG} says why.")),
    ];
    lines.map(|(label, text)| wrap(&format!("{label:<12}{text}"), 12)).join("\n")
}

/// The end of a run that got where it wanted. `seen`: what there was to see and still is, where nothing was changed.
pub(super) fn finish(
    host: &Host,
    config: &Config,
    report: &Report,
    plan: &Plan,
    receipt: Option<Receipt>,
    seen: Option<&Facts>,
) -> Result<u8> {
    let unchanged = seen.is_some();
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
        notice::renew(host, &summary)?;
    }
    report.end(
        if unchanged { "unchanged" } else { "done" },
        code,
        &summary,
        &crate::status::access(host, config, seen),
    );
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
    // It is written for whoever logs in; that it cannot be is no second failure.
    let _ = notice::renew(host, &receipt.summary);
    Error { kind: Kind::Step, ..error }
}

/// A plan that cannot be made or may not be carried out. Where this run has not begun anything, all stays as it was,
/// what an earlier run has recorded too.
pub(super) fn refused(host: &Host, receipt: Option<Receipt>, error: Error, begun: bool) -> Error {
    if begun { end_failed(host, receipt, error) } else { error }
}
