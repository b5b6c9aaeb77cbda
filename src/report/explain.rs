//! What each step of a plan is for in fuller words, what can go wrong with it, and what undoes it.

use console::style;

use super::wrap;
use crate::owned::Owned;
use crate::plan::Plan;
use crate::step::Step;

/// The plan once more, for whoever wants to know before saying yes.
pub fn explain(plan: &Plan) -> String {
    let mut text = String::new();
    let part = |label: &str, words: &str| format!("{}\n", wrap(&format!("      {label:<12}{words}"), 18));
    for (index, planned) in plan.steps.iter().enumerate() {
        let step = &planned.step;
        text.push_str(&wrap(&format!("  {:>2}. {}", index + 1, style(step.to_string()).bold()), 6));
        text.push('\n');
        text.push_str(&part("why:", &planned.why));
        text.push_str(&part("can fail:", risk(step)));
        text.push_str(&part("undone by:", undo(step)));
    }
    let whole = "Every step is recorded before it is made. If one fails, the run ends there and says why; running \
                 awg-install again goes on from it, and `awg-install rollback` takes back all that was done, newest \
                 first. The server's data is kept unless rollback is given --purge-data.";
    text.push_str(&wrap(whole, 0));
    text
}

/// What can go wrong, and what then.
fn risk(step: &Step) -> &'static str {
    match step {
        Step::Write { .. } | Step::KeepEdited { .. } | Step::InstallSelf => {
            "only where the disk is full or read-only; the file is replaced whole or not at all"
        }
        Step::WayBack => "only where the disk is full; nothing that runs is touched",
        Step::Backup => "where there is no room for the copy; the server is then left as it is",
        Step::Repository { .. } => "when the mirror does not answer",
        Step::Packages { .. } => "when the mirror does not answer or another apk holds the lock",
        Step::Kernel { .. } => {
            "when the mirror does not answer or /boot is full; what apk has left is checked file by file before it counts"
        }
        Step::Hold { .. } => "hardly; the price is that this kernel gets no security fixes until an upgrade",
        Step::Build { .. } => {
            "when sources or compiler cannot be had; it takes minutes, and nothing else has begun by then"
        }
        Step::Clean { .. } => "hardly; only files of ours are left there",
        Step::Module { .. } => {
            "when the module does not fit that kernel exactly; it is held against the kernel before it is written"
        }
        Step::Enable { .. } => "hardly; it is a link in a runlevel",
        Step::Start { .. } => "when the service does not answer in time; its own log says why",
        Step::Pull { .. } => "when the registry does not answer, or asks for a login",
        Step::Extract { .. } => "when the image lacks programs; it is looked into and not run",
        Step::Arm { .. } => "when the loader's configuration does not read back as written; then nothing is restarted",
        Step::Reboot { .. } => {
            "when the new kernel does not come up: the next restart is back on the old one, by itself except after a hang \
             before init, which needs the provider's power switch"
        }
        Step::Default { .. } => "when the loader's configuration does not read back as written",
        Step::RemoveOld { .. } => "hardly; but the old kernel is then no way back any more",
        Step::Load { .. } => "when the running kernel refuses a module; `fallback` says what is done then",
        Step::Prove { .. } => "when module and tools are of different generations; `fallback` says what is done then",
        Step::Sysctl { .. } => "where the kernel is lent by a container's host",
        Step::Firewall { .. } => "when the kernel has no tables for it; ssh is not touched by these rules",
        Step::Compose => "when the engine refuses the container; a server that ran before is gone back to",
        Step::FirstStart => "when the server does not come up in time; its last log lines are shown",
        Step::Ready { .. } => {
            "when what runs is not what was asked for; in kernel mode `fallback` says what is done then, else it ends here"
        }
        Step::Https { .. } => {
            "when no certificate can be had, because the name does not lead here or port 80 is closed"
        }
        Step::Finish => "hardly; they have done their work",
    }
}

/// What takes it back.
fn undo(step: &Step) -> &'static str {
    match step {
        Step::Write { file: Owned::Caddyfile, .. } => "rollback removes the file; certificates stay unless purged",
        Step::Write { .. } | Step::InstallSelf => "rollback removes the file, or puts back what was there",
        Step::KeepEdited { .. } => "nothing needs to: it is a copy for you",
        Step::WayBack | Step::Backup => "nothing needs to: it is what the rest is undone with",
        Step::Repository { .. } => "rollback takes the line out again",
        Step::Packages { .. } | Step::Kernel { .. } | Step::Hold { .. } => {
            "rollback asks apk for what was asked of it before"
        }
        Step::Build { .. } => "nothing needs to: the throw-away root goes by itself",
        Step::Clean { .. } => "nothing needs to: no kernel is there that could use it",
        Step::Module { .. } => "rollback removes the module and makes the index again",
        Step::Enable { .. } => "rollback takes the service out of the runlevel",
        Step::Start { .. } => "rollback stops it, if it did not run before",
        Step::Pull { .. } => "rollback removes the image",
        Step::Extract { .. } | Step::Prove { .. } | Step::Ready { .. } | Step::Https { .. } => {
            "nothing needs to: it leaves nothing behind"
        }
        Step::Arm { .. } => "any restart, or rollback: the default has not changed",
        Step::Reboot { .. } => "any further restart is back on the old kernel, until the new one is proven",
        Step::Default { .. } => "rollback starts the old kernel first, then makes it the default again",
        Step::RemoveOld { .. } => "rollback installs it again, which needs the repository",
        Step::Load { .. } => "rollback unloads what was not loaded before",
        Step::Sysctl { .. } => "rollback sets the values that were there",
        Step::Firewall { .. } => "rollback takes the rules away",
        Step::Compose | Step::FirstStart => "rollback removes container and network, and keeps the data",
        Step::Finish => "nothing needs to",
    }
}
