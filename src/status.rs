//! `status`: one screen that says what runs, held against what was asked for.

use std::time::Duration;

use serde_json::json;

use crate::choice::Aim;
use crate::config::{Config, Web};
use crate::error::Result;
use crate::facts::{Facts, Reach, engine};
use crate::host::Host;
use crate::https;
use crate::notice;
use crate::owned::{CONFIG, SUBNETS};
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
    let planned = plan::plan(config, &facts, Some(&receipt), Aim::Install);
    let held = planned.as_ref().ok().and_then(|p| preflight::held(config, &facts, Some(&receipt), &p.choice));
    let (drift, diffs) = match planned {
        Ok(plan) => (plan.steps.iter().filter(|p| p.step.is_drift()).map(difference).collect(), plan.diffs),
        Err(error) => (vec![error.message], Vec::new()),
    };
    // A run that was cut off has no code of its own: what it began has not been finished.
    let code = receipt.exit_code.unwrap_or(6);
    if !receipt.pending() {
        // It was looked at: a login need not tell it any more.
        notice::clear(host)?;
    }
    let code = if detailed && !drift.is_empty() && matches!(code, 0 | 8) { 10 } else { code };
    if report.is_json() {
        say(
            &json!({"v": 1, "type": "status", "outcome": receipt.outcome, "exit_code": code, "summary": receipt.summary,
                "mode": receipt.mode, "kernel": facts.kernel.running, "module_loaded": facts.modules.loaded.contains("amneziawg"),
                "container": facts.container, "held": held, "ruled_out": receipt.ruled_out, "drift": drift,
                "diffs": diffs}),
        );
        return Ok(code);
    }
    let text = format!("{}\n{}", text(&receipt, &facts, held.as_deref(), &drift), diffs_text(&diffs));
    say(&text.trim_end());
    Ok(code)
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

/// How to reach the admin page, what to do next, and how to undo it all.
pub fn access(host: &Host, config: &Config) -> String {
    let name = config.server.host.as_ref().map_or("SERVER".to_string(), ToString::to_string);
    let port = config.server.web_port;
    let directory = &config.container.directory;
    let page = match config.server.web {
        Web::Local => {
            let container = engine::container(host, &config.container.name);
            let address =
                container.map(|c| c.address).filter(|a| !a.is_empty()).unwrap_or_else(|| SUBNETS[0].address.into());
            format!("ssh -L {port}:{address}:{port} root@{name}, then http://localhost:{port}/")
        }
        Web::Public => format!("http://{name}:{port}/"),
        Web::Https => https::access(host, config),
    };
    let cli = format!("docker exec -it {} cli", config.container.name);
    let lines = [
        ("Server:", format!("{name}, UDP port {} (let it pass where the provider filters)", config.server.port)),
        ("Admin page:", page),
        (
            "Clients:",
            format!("make one on the admin page; its QR code: `{cli} clients:list`, then `{cli} clients:qr ID`"),
        ),
        ("Files:", format!("{directory}, {CONFIG}")),
        ("Look:", format!("awg-install status; awg-install doctor; {LOG}")),
        ("Undo:", "awg-install rollback".into()),
    ];
    lines.map(|(label, text)| wrap(&format!("{label:<12}{text}"), 12)).join("\n")
}
