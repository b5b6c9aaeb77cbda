//! Which rung of the ladder, and which kernel: a pure choice that can explain itself.

mod kernel;

use serde::{Deserialize, Serialize};

use crate::config::{Config, Fallback, Mode};
use crate::error::{Error, Kind, Result};
use crate::facts::Facts;
use crate::owned::Rung;
use crate::receipt::Receipt;

pub use kernel::package_files;

/// What a run is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Aim {
    /// What was asked for, from what is there; a pair that works is not replaced by a newer one.
    #[default]
    Install,
    /// The newest kernel and module that fit together.
    Upgrade,
    /// At boot: only the kernel that runs, and only what is installed for it.
    Boot,
}

/// What was chosen and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    pub rung: Rung,
    /// The kernel the module rung runs on; absent on other rungs.
    pub release: Option<String>,
    /// The module is compiled on this host.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub build: bool,
    /// Not the last word: what has to be looked into first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<String>,
    pub why: String,
    /// Better pairs that were passed over, best first.
    pub passed_over: Vec<PassedOver>,
    /// Below the top rung that this host supports, without having been asked for.
    pub degraded: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PassedOver {
    pub what: String,
    pub why: String,
}

impl PassedOver {
    fn new(what: impl Into<String>, why: impl Into<String>) -> PassedOver {
        PassedOver { what: what.into(), why: why.into() }
    }

    /// In words that stand alone.
    fn reason(&self) -> String {
        if self.what == ANY { self.why.clone() } else { format!("{}: {}", self.what, self.why) }
    }
}

/// What is passed over where no particular release is meant.
const ANY: &str = "kernel module";

/// What there is to choose from.
#[derive(Clone, Copy)]
struct View<'a> {
    config: &'a Config,
    facts: &'a Facts,
    receipt: Option<&'a Receipt>,
    aim: Aim,
}

/// Chooses the rung. An error means: nothing may be changed.
pub fn choose(config: &Config, facts: &Facts, receipt: Option<&Receipt>, aim: Aim) -> Result<Choice> {
    if aim == Aim::Upgrade && facts.engine.image.is_none() {
        let what = "the newest version of the image is fetched first";
        return Ok(Choice {
            open: Some(what.into()),
            ..plain(Rung::Kernel, "it is one set with the module and the kernel")
        });
    }
    match config.mode {
        Mode::Wireguard => {
            Ok(plain(Rung::Wireguard, "standard WireGuard was asked for; it can be recognised on the wire"))
        }
        Mode::Userspace => require_tun(facts, plain(Rung::Userspace, "the userspace mode was asked for")),
        Mode::Kernel | Mode::Auto => {
            let view = View { config, facts, receipt, aim };
            match kernel::choose(view)? {
                kernel::Outcome::Chosen(choice) => Ok(choice),
                kernel::Outcome::Below(passed_over) => below(view, passed_over),
            }
        }
    }
}

fn plain(rung: Rung, why: &str) -> Choice {
    Choice { rung, release: None, build: false, open: None, why: why.into(), passed_over: Vec::new(), degraded: false }
}

/// The kernel rung is out of reach: what then?
fn below(view: View, passed_over: Vec<PassedOver>) -> Result<Choice> {
    let View { config, facts, receipt, .. } = view;
    let reasons: Vec<String> = passed_over.iter().map(PassedOver::reason).collect();
    let tried = receipt.is_some_and(|r| !r.ruled_out.is_empty());
    let refuse = |message: &str, remedy: &str| {
        let kind = if tried { Kind::Step } else { Kind::Host };
        Err(Error::new(kind, message).cause(reasons.join("\n")).remedy(remedy))
    };
    if config.mode == Mode::Kernel {
        return refuse(
            "the kernel mode was asked for and cannot be had",
            "give a release and a module that fit (kernel.release, module.source), or allow mode: auto",
        );
    }
    let why = reasons.first().cloned().unwrap_or_default();
    // Where no kernel can be switched at all, userspace is the top of the ladder.
    let degraded = facts.os.id == "alpine" && facts.boot.unsupported.is_none() || tried;
    match config.fallback {
        Fallback::Fail => refuse(
            "no kernel and module that fit together can be had, and fallback is fail",
            "provide the kernel package and the module, or set fallback: userspace",
        ),
        Fallback::Userspace => require_tun(
            facts,
            Choice { passed_over, degraded, ..plain(Rung::Userspace, &format!("no kernel module: {why}")) },
        ),
        Fallback::Wireguard => Ok(Choice {
            passed_over,
            degraded: true,
            ..plain(Rung::Wireguard, &format!("no kernel module: {why}; plain WireGuard was accepted as fallback"))
        }),
    }
}

fn require_tun(facts: &Facts, choice: Choice) -> Result<Choice> {
    if facts.os.tun {
        return Ok(choice);
    }
    Err(Error::host("the userspace mode cannot work here: there is no /dev/net/tun and the kernel has no tun module")
        .cause(choice.why)
        .remedy("let the provider switch on TUN/TAP for this machine"))
}
