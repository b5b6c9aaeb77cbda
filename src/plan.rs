//! The plan: a pure function of configuration, facts and receipt. Printing it is the dry run.

mod guarded;
mod runtime;
mod steps;
mod subnet;

use serde::{Deserialize, Serialize};

use crate::choice::{Aim, Choice, choose};
use crate::config::{Config, Ipv6};
use crate::drift::Diff;
use crate::error::{Error, Result};
use crate::facts::Facts;
use crate::facts::network::accept_ra;
use crate::owned::Inputs;
use crate::preflight;
use crate::receipt::Receipt;
use crate::step::Step;
use steps::Steps;

pub const SCHEMA: u32 = 1;

/// What would be changed, in this order, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub schema: u32,
    #[serde(flatten)]
    pub choice: Choice,
    pub steps: Vec<Planned>,
    /// How files that are there would change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diffs: Vec<Diff>,
    /// What the operator should know before saying yes.
    pub notes: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Planned {
    #[serde(flatten)]
    pub step: Step,
    pub why: String,
    /// It goes on while the steps after it are carried out, up to the first that needs what it brings.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub beside: bool,
}

impl Plan {
    /// What `status` returns when this plan has been carried out.
    pub fn exit_code(&self) -> u8 {
        if self.choice.degraded { 8 } else { 0 }
    }

    /// Whether the image is to be fetched.
    pub fn pulls(&self) -> bool {
        self.steps.iter().any(|p| matches!(p.step, Step::Pull { .. }))
    }

    /// Files that somebody has edited by hand, with what that differs in.
    pub fn edited(&self) -> impl Iterator<Item = &Diff> {
        self.diffs.iter().filter(|d| d.edited)
    }

    /// Whether nothing is left to do, whatever kernels could be had: the best that was asked for is here.
    pub fn is_last(&self) -> bool {
        self.steps.is_empty() && !self.choice.degraded && self.choice.open.is_none()
    }

    /// The critical path in words, by the numbers of the steps: what goes on at the same time, of which the longest
    /// decides how long the whole takes. Nothing where one step follows the other. How long each takes is not known
    /// ahead: it depends on the link, and nobody says how large an image is before it is asked for.
    pub fn critical_path(&self) -> Option<String> {
        let (first, pulls) =
            (self.steps.iter().position(|p| p.beside)?, self.steps.iter().filter(|p| p.beside).count());
        let beside = self.steps[first..].iter().take_while(|p| p.step.goes_beside_a_pull()).count();
        let (first, last) = (first + 1, first + beside);
        let pulled = (first..first + pulls).map(|n| n.to_string()).collect::<Vec<_>>().join(", ");
        let others = match first + pulls {
            other if other == last => other.to_string(),
            other => format!("{other} to {last}"),
        };
        let end = self.steps.len();
        let then = if last < end { format!(", then {} to {end}", last + 1) } else { String::new() };
        Some(match first {
            1 => format!("the longest of {pulled} and {others}{then}"),
            first => format!("1 to {}, the longest of {pulled} and {others}{then}", first - 1),
        })
    }

    /// Whether the package mirror has a say: packages are wanted, or a better rung was passed over.
    pub fn needs_mirror(&self) -> bool {
        let packages = |s: &Step| matches!(s, Step::Repository { .. } | Step::Packages { .. } | Step::Kernel { .. });
        self.steps.iter().any(|p| packages(&p.step)) || self.choice.degraded && !self.steps.is_empty()
    }
}

/// Plans the way from what is to what is asked for. Steps whose result is already there are left out,
/// so that the plan of a finished host is empty. Where the choice is open, the plan goes as far as what
/// decides it.
pub fn plan(config: &Config, facts: &Facts, receipt: Option<&Receipt>, aim: Aim) -> Result<Plan> {
    let choice = choose(config, facts, receipt, aim)?;
    preflight::check(config, facts, &choice)?;
    if aim != Aim::Boot {
        preflight::port_stays(config, facts)?;
    }
    let inputs = inputs(config, facts, &choice)?;
    let mut steps = Steps { config, facts, receipt, inputs: &inputs, aim, list: Vec::new(), diffs: Vec::new() };
    steps.all(&choice)?;
    let (mut list, diffs) = (steps.list, steps.diffs);
    overlap(&mut list);
    let mut notes = preflight::notes(config, facts, receipt, &choice, !list.is_empty());
    notes.extend(diffs.iter().filter(|d| d.edited).map(|d| format!("{} was edited by hand", d.path)));
    Ok(Plan { schema: SCHEMA, choice, steps: list, diffs, notes })
}

/// Marks the pulls that something else can be done beside.
fn overlap(list: &mut [Planned]) {
    for at in 0..list.len() {
        let after = list[at + 1..].iter().take_while(|p| p.step.goes_beside_a_pull());
        let beside = matches!(list[at].step, Step::Pull { .. }) && after.clone().any(|p| p.step.takes_long());
        list[at].beside = beside;
    }
}

/// What the renderings depend on, as far as the facts tell.
pub fn inputs<'a>(config: &'a Config, facts: &Facts, choice: &Choice) -> Result<Inputs<'a>> {
    let ipv6 = match config.network.ipv6 {
        Ipv6::On if !facts.network.ipv6 => {
            return Err(Error::host("network.ipv6 is on, and IPv6 is switched off on this host")
                .remedy("switch it on (sysctl net.ipv6.conf.all.disable_ipv6=0) or set network.ipv6: auto"));
        }
        Ipv6::On => true,
        Ipv6::Off => false,
        Ipv6::Auto => facts.network.ipv6,
    };
    let mut sysctl = vec![("net.ipv4.ip_forward".to_string(), "1".to_string())];
    if ipv6 {
        // First: the moment the host forwards, it would forget the routes that were advertised to it.
        sysctl.extend(facts.network.advertised.iter().map(|interface| (accept_ra(interface), "2".to_string())));
        sysctl.push(("net.ipv6.conf.all.forwarding".into(), "1".into()));
    }
    let image = facts.engine.image.as_ref();
    let https = facts.https.as_ref();
    let caddy = https.and_then(|h| h.image.as_ref()).and_then(|i| i.digest.clone());
    Ok(Inputs {
        config,
        rung: choice.rung,
        ipv6,
        caddy: caddy.unwrap_or_else(|| config.server.https.image.to_string()),
        acme_root: https.and_then(|h| h.acme_root.as_ref()).map(|r| r.sha256.clone()),
        image: image.and_then(|i| i.digest.clone()).unwrap_or_else(|| config.container.image.to_string()),
        command: image.map(|i| i.command.clone()).unwrap_or_default(),
        backend: preflight::backend(facts, choice),
        start_interval: facts.engine.knows_start_interval(),
        network: subnet::choose(facts)?,
        sysctl,
        effective: config.effective_yaml(!facts.database),
    })
}
