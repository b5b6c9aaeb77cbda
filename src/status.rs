//! `status`: one screen that says what runs, held against what was asked for.

use std::time::Duration;

use serde_json::json;

use crate::choice::Aim;
use crate::config::{Config, Web};
use crate::drift::Diff;
use crate::error::Result;
use crate::facts::{Facts, Reach, engine};
use crate::host::Host;
use crate::https;
use crate::notice;
use crate::owned::{CONFIG, FIRST_PASSWORD, SUBNETS};
use crate::plan::{self, Planned};
use crate::preflight;
use crate::receipt::{Outcome, Receipt};
use crate::report::{Report, diffs_text, say, wrap};
use crate::run::LOG;
use crate::step::Step;

/// How often `--wait` looks.
const POLL: Duration = Duration::from_millis(500);

/// A run that holds no lock for this long is dead, or between two steps of a boot.
const PATIENCE: Duration = Duration::from_secs(15);
/// After a restart the boot service is waited for this long: it starts last.
const BOOT_PATIENCE: Duration = Duration::from_secs(600);

/// Blocks until a pending installation or rollback has ended.
pub fn wait(host: &Host) -> Result<()> {
    let mut idle = Duration::ZERO;
    while let Some(receipt) = Receipt::load(host)? {
        let restarted = receipt.reboot.as_ref().is_some_and(|r| r.boot_id != host.boot_id());
        let patience = match receipt.outcome {
            Outcome::Done | Outcome::Failed | Outcome::RolledBack => return Ok(()),
            _ if restarted => BOOT_PATIENCE,
            // The restart is the operator's: that is an answer, not something to wait for.
            Outcome::RebootNeeded => return Ok(()),
            Outcome::RollingBack if receipt.exit_code == Some(7) => return Ok(()),
            Outcome::RebootScheduled => Duration::MAX,
            Outcome::RollingBack if receipt.reboot.is_some() => Duration::MAX,
            Outcome::Running | Outcome::RollingBack => PATIENCE,
        };
        idle = if host.lock(crate::run::LOCK)?.is_some() { idle + POLL } else { Duration::ZERO };
        if idle > patience {
            return Ok(());
        }
        std::thread::sleep(POLL);
    }
    Ok(())
}

/// The exit code that the receipt carries, or 10 for drift when it is asked for.
pub fn status(host: &Host, config: &Config, report: &Report, detailed: bool, waited: bool) -> Result<u8> {
    let Some(receipt) = Receipt::load(host)? else {
        report.end("not-installed", if waited { 6 } else { 0 }, "not installed: no installation was begun here", "");
        return Ok(if waited { 6 } else { 0 });
    };
    let (facts, _) = crate::run::look(host, config, Reach::Local, Some(&receipt))?;
    let seen = Status::of(config, &facts, &receipt);
    if !receipt.pending() {
        // It was looked at: a login need not tell it any more.
        notice::clear(host)?;
    }
    let code = seen.exit_code(detailed);
    match report.is_json() {
        true => report.document("status", code, &seen.document(code)),
        false => say(&seen.text(report.is_quiet())),
    }
    Ok(code)
}

/// What runs, held against what was asked for.
pub struct Status<'a> {
    receipt: &'a Receipt,
    facts: &'a Facts,
    held: Option<String>,
    drift: Vec<String>,
    diffs: Vec<Diff>,
}

impl<'a> Status<'a> {
    pub fn of(config: &Config, facts: &'a Facts, receipt: &'a Receipt) -> Status<'a> {
        let planned = plan::plan(config, facts, Some(receipt), Aim::Install);
        let held = planned.as_ref().ok().and_then(|p| preflight::held(config, facts, Some(receipt), &p.choice));
        let (drift, diffs) = match planned {
            Ok(plan) => (plan.steps.iter().filter(|p| p.step.is_drift()).map(difference).collect(), plan.diffs),
            Err(error) => (vec![error.message], Vec::new()),
        };
        Status { receipt, facts, held, drift, diffs }
    }

    /// The code that the receipt carries, or 10 for drift when it is asked for.
    pub fn exit_code(&self, detailed: bool) -> u8 {
        // A run that was cut off has no code of its own: what it began has not been finished.
        let code = self.receipt.exit_code.unwrap_or(6);
        if detailed && !self.drift.is_empty() && matches!(code, 0 | 8) { 10 } else { code }
    }

    /// For programs.
    pub fn document(&self, code: u8) -> serde_json::Value {
        let Status { receipt, facts, held, drift, diffs } = self;
        json!({"v": 1, "type": "status", "outcome": receipt.outcome, "exit_code": code, "summary": receipt.summary,
            "mode": receipt.mode, "kernel": facts.kernel.running, "module_loaded": facts.modules.loaded.contains("amneziawg"),
            "container": facts.container, "held": held, "ruled_out": receipt.ruled_out, "drift": drift,
            "diffs": diffs})
    }

    /// For people; with `quiet` only the state, and what differs.
    fn text(&self, quiet: bool) -> String {
        let all = text(self.receipt, self.facts, self.held.as_deref(), &self.drift);
        let all = match quiet {
            true => brief(&all),
            false => all,
        };
        format!("{all}\n{}", diffs_text(&self.diffs)).trim_end().to_string()
    }
}

/// The lines that are a result or a warning, with what belongs to them.
fn brief(all: &str) -> String {
    let mut told = false;
    let kept = all.lines().filter(|line| {
        if !line.starts_with(' ') {
            told = ["State:", "Held:", "Ruled out:"].iter().any(|label| line.starts_with(label))
                || line.starts_with("Drift:") && !line.ends_with(" none");
        }
        told
    });
    kept.collect::<Vec<_>>().join("\n")
}

/// A step that would mend the host says what differs; for the container, why it is to be made anew as well.
fn difference(planned: &Planned) -> String {
    match planned.step {
        Step::Compose => format!("{}: {}", planned.step, planned.why),
        _ => planned.step.to_string(),
    }
}

fn text(receipt: &Receipt, facts: &Facts, held: Option<&str>, drift: &[String]) -> String {
    let module = if facts.modules.loaded.contains("amneziawg") {
        format!("amneziawg loaded (srcversion {})", facts.modules.loaded_srcversion.as_deref().unwrap_or("unknown"))
    } else {
        "amneziawg not loaded".into()
    };
    let container = match &facts.container {
        None => "none".to_string(),
        Some(c) if c.restarting => format!("restarting again and again ({} times)", c.restarts),
        Some(c) if !c.running => "stopped".to_string(),
        Some(c) => format!("{}, wg0 is {}", c.health, c.interface.as_deref().unwrap_or("absent")),
    };
    let mut out = format!(
        "State:     {}\nMode:      {}\nKernel:    {}\nModule:    {module}\nContainer: {container}\n",
        receipt.summary, receipt.mode, facts.kernel.running,
    );
    if let Some(held) = held {
        out.push_str(&format!("Held:      {held}\n"));
    }
    for ruled in &receipt.ruled_out {
        out.push_str(&format!("Ruled out: {}: {}\n", ruled.release, ruled.reason));
    }
    if receipt.outcome == Outcome::Done {
        match drift {
            [] => out.push_str("Drift:     none"),
            some => out.push_str(&format!("Drift:     {}", some.join("\n           "))),
        }
    }
    out.trim_end().to_string()
}

/// How to reach the admin page, what to do next, and how to undo it all. `seen`: the facts, where they still hold.
pub fn access(host: &Host, config: &Config, seen: Option<&Facts>) -> String {
    let name = config.server.host.as_ref().map_or("SERVER".to_string(), ToString::to_string);
    let port = config.server.web_port;
    let directory = &config.container.directory;
    let page = match config.server.web {
        Web::Local => {
            let asked = || engine::container(host, &config.container.name);
            let container = seen.map_or_else(asked, |facts| facts.container.clone());
            let address =
                container.map(|c| c.address).filter(|a| !a.is_empty()).unwrap_or_else(|| SUBNETS[0].address.into());
            format!("ssh -L {port}:{address}:{port} root@{name}, then http://localhost:{port}/")
        }
        Web::Public => format!("http://{name}:{port}/"),
        Web::Https => https::access(host, config),
    };
    let cli = format!("docker exec -it {} cli", config.container.name);
    let password = host.exists(FIRST_PASSWORD).then(|| ("Password:", "`awg-install password` shows it, once".into()));
    let lines = [
        Some(("Server:", format!("{name}, UDP port {} (let it pass where the provider filters)", config.server.port))),
        Some(("Admin page:", page)),
        password,
        Some((
            "Clients:",
            format!("make one on the admin page; its QR code: `{cli} clients:list`, then `{cli} clients:qr ID`"),
        )),
        Some(("Files:", format!("{directory}, {CONFIG}"))),
        Some(("Look:", format!("awg-install status; awg-install doctor; {LOG}"))),
        Some(("Undo:", "awg-install rollback".into())),
    ];
    let lines: Vec<String> =
        lines.into_iter().flatten().map(|(label, text)| wrap(&format!("{label:<12}{text}"), 12)).collect();
    lines.join("\n")
}
