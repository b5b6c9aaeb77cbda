//! What somebody has to say yes to before it is done.

use std::cell::Cell;

use super::{Wish, look};
use crate::ask;
use crate::choice::Aim;
use crate::config::{Config, Secret};
use crate::error::{Error, Kind, Result};
use crate::facts::{Facts, Reach, engine};
use crate::host::Host;
use crate::plan::{self, Plan};
use crate::preflight;
use crate::receipt::Receipt;
use crate::report::{Report, explain::explain, say};

/// What was said to a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    Yes,
    /// The questions that led to it are to be asked again.
    Back,
}

/// Somebody who answers the wizard, and what is still to be told to them.
pub struct Attended {
    pub username: String,
    /// A password that was made up: told once, and nowhere written down by what tells it.
    generated: Option<Secret>,
    told: Cell<bool>,
}

impl Attended {
    pub fn new(username: String, generated: Option<Secret>) -> Attended {
        Attended { username, generated, told: Cell::new(false) }
    }

    /// Shows the password that was made up, the first time it is called.
    pub fn tell_password(&self) {
        let Some(password) = self.generated.as_ref().filter(|_| !self.told.replace(true)) else { return };
        say(&format!("\nLogin:      {}\nPassword:   {}\n", self.username, password.expose()));
        say(&"It is shown this once. Note it down now.");
    }
}

/// Asks until it is answered whether the plan is to be carried out. No is the default.
pub(super) fn approve(host: &Host, plan: &Plan, may_go_back: bool) -> Result<Said> {
    let back = if may_go_back { " / [b]ack" } else { "" };
    host.forget_typed();
    let question = format!("[y]es / [n]o / [e]xplain{back} (no):");
    loop {
        say(&"Carry out this plan?");
        match ask::line(host, &question)?.as_str() {
            said if ask::is(said, "yes") => return Ok(Said::Yes),
            said if ask::is(said, "explain") => say(&explain(plan)),
            said if may_go_back && (said == ask::BACK || ask::is(said, "back")) => return Ok(Said::Back),
            said if said.is_empty() || ask::is(said, "no") => return Err(ask::stopped()),
            _ => say(&format!("Please answer y, n, e{}.", if may_go_back { " or b" } else { "" })),
        }
    }
}

/// A no, once something was done that the plan follows from.
pub(super) fn half_way(no: Error) -> Error {
    match no.kind {
        Kind::Usage => Error::step("stopped before the rest of the plan")
            .cause("what was done so far is recorded")
            .remedy("run the same command again to go on, or `awg-install rollback` to undo it"),
        _ => no,
    }
}

/// Consent to overwriting what somebody has edited by hand; nothing of it is lost.
pub(super) fn may_replace(host: &Host, plan: &Plan, ask: bool) -> Result<()> {
    let (paths, texts): (Vec<&str>, Vec<&str>) = plan.edited().map(|d| (d.path.as_str(), d.text.as_str())).unzip();
    if paths.is_empty() {
        return Ok(());
    }
    let what = paths.join(", ");
    if ask {
        return confirm(host, &format!("{what}: edited by hand. Replace (a copy is kept beside)?"));
    }
    Err(Error::host(format!("{what}: edited by hand since it was written; nothing was changed"))
        .cause(texts.join("\n"))
        .remedy("put into the configuration what is to stay, or replace it: `--replace-edited` keeps a copy beside"))
}

/// Asks on the terminal for a yes.
pub fn confirm(host: &Host, question: &str) -> Result<()> {
    if ask::yes(host, question)? { Ok(()) } else { Err(ask::stopped()) }
}

/// What is refused on a host where a server works, before anything is begun or recorded; an upgrade asks here
/// about files that were edited by hand, since it fetches the image before its plan is whole. Says whether that
/// was consented to.
pub(super) fn consented(host: &Host, config: &Config, report: &Report, wish: Wish, receipt: &Receipt) -> Result<bool> {
    let directory = config.container.directory.to_string();
    let database = host.exists(format!("{directory}/data/wg-easy.db")) && !receipt.first_start_pending();
    let listen_port = engine::listen_port(host, &directory);
    preflight::port_stays(config, &Facts { database, listen_port, ..Facts::default() })?;
    if wish.aim != Aim::Upgrade || wish.replace_edited {
        return Ok(false);
    }
    let (facts, _) = look(host, config, Reach::Local, Some(receipt))?;
    // Where no plan can be made from what is here, the upgrade's own says why.
    let Ok(plan) = plan::plan(config, &facts, Some(receipt), Aim::Install) else { return Ok(false) };
    if plan.edited().next().is_none() {
        return Ok(false);
    }
    report.plan(&plan, &facts);
    may_replace(host, &plan, wish.confirm).map(|()| true)
}
