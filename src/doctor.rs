//! `doctor`: each thing that must hold for the server to work, with evidence, cause and remedy.
//!
//! Most checks are functions of what was seen. What a failed check is the cause of is skipped, and says so.

mod archive;
mod check;
mod container;
mod host;
mod kernel;
mod known;
mod look;
mod module;
mod network;

use std::path::Path;

use console::style;
use serde_json::json;

use crate::choice::Aim;
use crate::config::{Config, Loaded};
use crate::container::prove;
use crate::error::Result;
use crate::facts::{Facts, Reach};
use crate::host::Host;
use crate::https;
use crate::owned::Rung;
use crate::plan;
use crate::proof;
use crate::receipt::{Outcome, Receipt};
use crate::report::{Report, say, wrap};
pub use check::{Check, State};
use check::{Found, View};

/// One line of the list that is gone through.
struct Test {
    name: &'static str,
    /// Checks that must hold first.
    needs: &'static [&'static str],
    /// Says nothing where nothing was installed.
    installed: bool,
    how: How,
}

enum How {
    Seen(fn(&View) -> Found),
    /// Waits for something, or makes and removes something.
    Tried(fn(&Host, &View) -> Found),
}

/// The most fundamental first.
const TESTS: &[Test] = &[
    always("installation", host::installation),
    always("clock", host::clock),
    always("disk", host::disk),
    always("inodes", host::inodes),
    always("memory", host::memory),
    always("logins", host::logins),
    seen("kernel", &[], kernel::release),
    always("kernel modules", kernel::modules),
    seen("next boot", &[], kernel::next),
    seen("kernel held", &["kernel"], kernel::hold),
    seen("leftovers", &[], kernel::leftovers),
    seen("module file", &["kernel"], module::file),
    seen("module index", &["module file"], module::index),
    seen("module fits", &["module file"], module::fits),
    seen("module", &["module fits"], module::loaded),
    seen("kernel log", &[], kernel::log),
    seen("tun device", &[], kernel::tun),
    seen("iptables tables", &[], kernel::tables),
    seen("forwarding", &[], network::forwarding),
    always("IPv6", network::ipv6),
    seen("IPv6 route", &[], network::advertised),
    always("ports", network::ports),
    seen("packet filter", &[], network::filter),
    always("other firewalls", network::others),
    seen("engine", &[], container::engine),
    seen("image", &["engine"], container::image),
    seen("version file", &["image"], module::version_file),
    Test { name: "container", needs: &["engine"], installed: true, how: How::Tried(container_runs) },
    seen("rights", &["engine"], container::privileges),
    seen("health check", &["engine"], container::health_check),
    seen("mode", &["engine", "container"], container::mode),
    seen("password", &["engine"], container::password),
    seen("restarts", &["engine", "container"], container::restarts),
    seen("log", &["engine", "container"], container::log),
    seen("MTU", &["container"], network::mtu),
    Test { name: "tunnel", needs: &["engine", "image", "module"], installed: true, how: How::Tried(tunnel) },
    Test { name: "https", needs: &["engine"], installed: true, how: How::Tried(page) },
    seen("drift", &[], host::drift),
];

const fn always(name: &'static str, how: fn(&View) -> Found) -> Test {
    Test { name, needs: &[], installed: false, how: How::Seen(how) }
}

const fn seen(name: &'static str, needs: &'static [&'static str], how: fn(&View) -> Found) -> Test {
    Test { name, needs, installed: true, how: How::Seen(how) }
}

/// What all checks have found.
#[derive(Clone)]
pub struct Diagnosis {
    pub checks: Vec<Check>,
    pub facts: Facts,
}

/// Makes every check and prints what it has found; 10 when something does not hold. The tunnel of the proof is
/// made and taken away again; nothing else is touched. With `to`, what was found goes into a support archive as well.
pub fn doctor(host: &Host, config: &Config, report: &Report, to: Option<(&Path, &Loaded)>) -> Result<u8> {
    let to = match to {
        Some((file, loaded)) => Some((archive::place(host, file)?, loaded)),
        None => None,
    };
    let receipt = Receipt::load(host)?;
    let diagnosis = diagnose(host, config, receipt.as_ref())?;
    let (mut document, mut text) = (diagnosis.document(), diagnosis.text(report.is_quiet()));
    if let Some((file, loaded)) = to {
        let manifest = archive::write(host, loaded, receipt.as_ref(), &diagnosis, &file)?;
        text.push_str(&format!("\n{}", archive::text(&file, &manifest)));
        document["support_archive"] = json!({"path": file, "files": manifest.files, "missing": manifest.missing});
    }
    match report.is_json() {
        true => report.document("doctor", diagnosis.exit_code(), &document),
        false => say(&text),
    }
    Ok(diagnosis.exit_code())
}

/// Makes every check.
pub fn diagnose(host: &Host, config: &Config, receipt: Option<&Receipt>) -> Result<Diagnosis> {
    let (facts, _) = crate::run::look(host, config, Reach::Local, receipt)?;
    let plan = plan::plan(config, &facts, receipt, Aim::Boot);
    let more = look::look(host, config, &facts, receipt);
    let planned = plan.as_ref().map_or(Rung::Userspace, |p| p.choice.rung);
    let rung = receipt.and_then(decided).unwrap_or(planned);
    let view = View { config, facts: &facts, receipt, plan: &plan, more: &more, rung };
    let mut checks: Vec<Check> = Vec::new();
    for test in TESTS {
        let found = match (skipped(test, &checks, receipt.is_some()), &test.how) {
            (Some(found), _) => found,
            (None, How::Seen(look)) => look(&view),
            (None, How::Tried(attempt)) => attempt(host, &view),
        };
        checks.push(found.called(test.name));
    }
    Ok(Diagnosis { checks, facts })
}

impl Diagnosis {
    pub fn exit_code(&self) -> u8 {
        if self.count(State::Fail) == 0 { 0 } else { 10 }
    }

    /// For programs.
    pub fn document(&self) -> serde_json::Value {
        json!({"v": 1, "type": "doctor", "exit_code": self.exit_code(), "summary": self.summary(),
            "counts": {"ok": self.count(State::Ok), "warn": self.count(State::Warn), "fail": self.count(State::Fail),
                "skipped": self.count(State::Skipped)}, "checks": self.checks})
    }

    /// For people: one line for each check that holds. With `quiet` only those that do not.
    pub fn text(&self, quiet: bool) -> String {
        let told = |c: &&Check| !quiet || matches!(c.state, State::Warn | State::Fail);
        let lines = self.checks.iter().filter(told).map(text).chain([self.summary()]);
        lines.collect::<Vec<String>>().join("\n")
    }

    /// Without what the container has said itself.
    fn without_quotes(&self) -> Diagnosis {
        let mut all = self.clone();
        let quoting = all.checks.iter_mut().filter(|c| matches!(c.name, "container" | "log") && c.cause.is_some());
        quoting.for_each(|c| c.cause = Some("(left out here: the container's own words)".into()));
        all
    }

    fn summary(&self) -> String {
        let count = |state| self.count(state);
        format!(
            "{} checks: {} ok, {} to look at, {} failed, {} skipped",
            self.checks.len(),
            count(State::Ok),
            count(State::Warn),
            count(State::Fail),
            count(State::Skipped)
        )
    }

    fn count(&self, state: State) -> usize {
        self.checks.iter().filter(|c| c.state == state).count()
    }
}

/// The mode that an installation has ended in: a host that cannot keep it up any more is ill.
fn decided(receipt: &Receipt) -> Option<Rung> {
    let rungs = [Rung::Kernel, Rung::Userspace, Rung::Wireguard];
    rungs.into_iter().find(|r| receipt.outcome == Outcome::Done && r.as_str() == receipt.mode)
}

/// Why a check is not made: something that it needs has failed, or says nothing here itself.
fn skipped(test: &Test, before: &[Check], installed: bool) -> Option<Found> {
    if test.installed && !installed {
        return Some(Found::skipped("nothing was installed here"));
    }
    let needed = |name: &&str| before.iter().find(|c| c.name == *name);
    let unmet = test.needs.iter().filter_map(needed).find(|c| matches!(c.state, State::Fail | State::Skipped))?;
    Some(match unmet.state {
        State::Fail => Found::skipped(format!("because of `{}`", unmet.name)),
        _ => Found::skipped(unmet.evidence.clone()),
    })
}

fn text(check: &Check) -> String {
    let mark = match check.state {
        State::Ok => style("ok  ").green(),
        State::Warn => style("WARN").yellow().bold(),
        State::Fail => style("FAIL").red().bold(),
        State::Skipped => style("skip").dim(),
    };
    let mut text = wrap(&format!("{mark} {}: {}", check.name, check.evidence), 5);
    let more = [("cause", &check.cause), ("remedy", &check.remedy)];
    for (label, words) in more.iter().filter_map(|(label, words)| Some((label, words.as_ref()?))) {
        text.push('\n');
        text.push_str(&wrap(&format!("     {label}: {}", words.replace('\n', "\n       ")), 7));
    }
    text
}

fn container_runs(host: &Host, view: &View) -> Found {
    let config = view.config;
    Found::of(prove(host, config, None, view.rung.interface()).map(|seen| {
        let web = seen.web.map_or(String::new(), |s| format!(", web page answers ({s})"));
        format!("healthy, wg0 is {}, UDP {} bound{web}", view.rung.interface(), config.server.port)
    }))
}

fn page(host: &Host, view: &View) -> Found {
    if view.facts.https.is_none() {
        return Found::skipped("server.web is not https");
    }
    Found::of(https::prove(host, view.config, false).map(|page| https::seen(&page)))
}

/// The proof that module, tools and image are of one generation.
fn tunnel(host: &Host, view: &View) -> Found {
    let proof = proof::prove(host, &view.config.container.image.to_string(), &view.facts.kernel.running);
    Found::of(proof.map(|_| "a handshake and a ping between two interfaces of the module".to_string()))
}
