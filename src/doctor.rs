//! `doctor`: each thing that must hold for the server to work, with evidence, and a remedy where it does not.

use serde::Serialize;
use serde_json::json;

use crate::choice::Aim;
use crate::config::Config;
use crate::container;
use crate::error::{Error, Result};
use crate::facts::{Facts, Reach};
use crate::host::Host;
use crate::https;
use crate::owned::Rung;
use crate::plan::{self, Plan};
use crate::proof;
use crate::receipt::Receipt;
use crate::report::{Report, say};

/// One check and what it has found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Check {
    pub name: &'static str,
    pub ok: bool,
    /// What was seen.
    pub evidence: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Check {
    fn good(name: &'static str, evidence: impl Into<String>) -> Check {
        Check { name, ok: true, evidence: evidence.into(), cause: None, remedy: None }
    }

    fn bad(name: &'static str, error: Error) -> Check {
        Check { name, ok: false, evidence: error.message, cause: error.cause, remedy: error.remedy }
    }

    fn of(name: &'static str, seen: Result<String>) -> Check {
        seen.map_or_else(|e| Check::bad(name, e), |evidence| Check::good(name, evidence))
    }
}

/// Makes every check and prints what it has found; 10 when something does not hold. The tunnel of the proof is
/// made and taken away again; nothing else is touched.
pub fn doctor(host: &Host, config: &Config, report: &Report) -> Result<u8> {
    let receipt = Receipt::load(host)?;
    let (facts, _) = crate::run::look(host, config, Reach::Local, receipt.as_ref())?;
    let checks = checks(host, config, &facts, receipt.as_ref());
    let code = if checks.iter().all(|c| c.ok) { 0 } else { 10 };
    if report.is_json() {
        say(&json!({"v": 1, "type": "doctor", "exit_code": code, "checks": checks}));
    } else {
        for check in &checks {
            say(&text(check));
        }
    }
    Ok(code)
}

fn text(check: &Check) -> String {
    let mut text = format!("{} {}: {}", if check.ok { "ok  " } else { "FAIL" }, check.name, check.evidence);
    let more = [("cause", &check.cause), ("remedy", &check.remedy)];
    for (label, words) in more.iter().filter_map(|(label, words)| Some((label, words.as_ref()?))) {
        text.push_str(&format!("\n     {label}: {}", words.replace('\n', "\n       ")));
    }
    text
}

fn checks(host: &Host, config: &Config, facts: &Facts, receipt: Option<&Receipt>) -> Vec<Check> {
    let mut checks = vec![installation(receipt)];
    let planned = plan::plan(config, facts, receipt, Aim::Boot);
    let rung = planned.as_ref().map_or(Rung::Userspace, |p| p.choice.rung);
    if rung == Rung::Kernel {
        checks.push(module(facts));
        checks.push(tunnel(host, config, facts));
    }
    checks.push(Check::of(
        "container",
        container::prove(host, config, None, rung.interface()).map(|seen| {
            let web = seen.web.map_or(String::new(), |s| format!(", web page answers ({s})"));
            format!("healthy, wg0 is {}, UDP {} bound{web}", rung.interface(), config.server.port)
        }),
    ));
    if facts.https.is_some() {
        let seen = https::prove(host, config, false).map(|page| https::seen(&page));
        checks.push(Check::of("https", seen));
    }
    checks.push(filter(facts));
    checks.push(planned.map_or_else(|error| Check::bad("drift", error), |plan| drift(&plan)));
    checks
}

fn drift(plan: &Plan) -> Check {
    let edited = plan.edited().map(|d| format!("{} was edited by hand\n{}", d.path, d.text));
    let steps = plan.steps.iter().filter(|p| p.step.is_drift()).map(|p| p.step.to_string());
    let differs: Vec<String> = edited.chain(steps).collect();
    if differs.is_empty() {
        return Check::good("drift", "the host is as it was left");
    }
    let error = Error::step(format!("{} things differ from what was installed", differs.len()));
    Check::bad("drift", error.cause(differs.join("\n")).remedy("run `awg-install install`"))
}

fn installation(receipt: Option<&Receipt>) -> Check {
    let name = "installation";
    match receipt {
        None => Check::bad(name, Error::step("nothing was installed here").remedy("run `awg-install`")),
        Some(r) if r.exit_code == Some(0) => Check::good(name, r.summary.clone()),
        Some(r) => {
            let why = r.ruled_out.iter().map(|o| format!("{}: {}", o.release, o.reason)).collect::<Vec<_>>().join("\n");
            let error =
                Error::step(if r.summary.is_empty() { "it has not ended".to_string() } else { r.summary.clone() });
            let error = if why.is_empty() { error } else { error.cause(why) };
            Check::bad(name, error.remedy("see `awg-install plan` for what would mend it"))
        }
    }
}

/// What `modinfo` inside the container would find, and whether that is what is loaded.
fn module(facts: &Facts) -> Check {
    let running = &facts.kernel.running;
    let seen = match facts.modules.amneziawg.get(running) {
        _ if facts.os.id != "alpine" => Ok("loaded by somebody else".to_string()),
        None => Err(Error::step(format!("no amneziawg.ko is there for {running}"))),
        Some(m) if !m.indexed => Err(Error::step(format!("{} is not in modules.dep.bin", m.path))
            .cause("the index was made by another depmod than kmod's, or not at all")),
        Some(m) if m.vermagic_release != *running => {
            Err(Error::step(format!("{} is for {}, and {running} runs", m.path, m.vermagic_release)))
        }
        Some(m) if m.srcversion.is_some() && m.srcversion != facts.modules.loaded_srcversion => {
            Err(Error::step("another build of the module is loaded than the one in place")
                .cause(format!("in place {:?}, loaded {:?}", m.srcversion, facts.modules.loaded_srcversion)))
        }
        Some(m) => Ok(format!("{}, {}, loaded", m.path, m.srcversion.as_deref().unwrap_or("no srcversion"))),
    };
    Check::of(
        "module",
        seen.map_err(|e| e.remedy("run `awg-install install`, or `awg-install upgrade` after a kernel update")),
    )
}

/// Our rules on the host; those in the container are placed at each of its starts, or it does not start.
fn filter(facts: &Facts) -> Check {
    let seen = match facts.network.rules.as_deref() {
        Some("") => Ok("the rules on this host are in place, before others".to_string()),
        Some(missing) => {
            Err(Error::step(missing).cause("another firewall was loaded since, or somebody took them away"))
        }
        None => Err(Error::step("there is no script with rules for this host")),
    };
    Check::of("packet filter", seen.map_err(|e| e.remedy("run `awg-install install`")))
}

fn tunnel(host: &Host, config: &Config, facts: &Facts) -> Check {
    let proof = proof::prove(host, &config.container.image.to_string(), &facts.kernel.running);
    Check::of("tunnel", proof.map(|_| "a handshake and a ping between two interfaces of the module".to_string()))
}
