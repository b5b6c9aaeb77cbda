//! Which rung of the ladder, and which kernel: a pure choice that can explain itself.

use serde::{Deserialize, Serialize};

use crate::config::{Config, Fallback, Mode, ModuleSource, PackageSource, Reboot, Release, ReleaseChoice};
use crate::error::{Error, Kind, Result};
use crate::facts::Facts;
use crate::owned::Rung;
use crate::preflight;
use crate::receipt::Receipt;

/// The pair that the user's document was written for; preferred while it can be had.
pub const PREFERRED: &str = "6.12.50-0-lts";

/// MiB that a kernel without firmware needs, of modules and of image and initramfs while that is made anew.
const NEED_KERNEL: u64 = 200;
const NEED_BOOT: u64 = 64;

/// What was chosen and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    pub rung: Rung,
    /// The kernel the module rung runs on; absent on other rungs.
    pub release: Option<String>,
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
    /// In words that stand alone.
    fn reason(&self) -> String {
        if self.what == ANY { self.why.clone() } else { format!("{}: {}", self.what, self.why) }
    }
}

/// What is passed over where no particular release is meant.
const ANY: &str = "kernel module";

/// Chooses the rung. An error means: nothing may be changed.
pub fn choose(config: &Config, facts: &Facts, receipt: Option<&Receipt>) -> Result<Choice> {
    let plain =
        |rung, why: &str| Choice { rung, release: None, why: why.into(), passed_over: Vec::new(), degraded: false };
    match config.mode {
        Mode::Wireguard => {
            Ok(plain(Rung::Wireguard, "standard WireGuard was asked for; it can be recognised on the wire"))
        }
        Mode::Userspace => require_tun(facts, plain(Rung::Userspace, "the userspace mode was asked for")),
        Mode::Kernel | Mode::Auto => match kernel(config, facts, receipt)? {
            Ok(choice) => Ok(choice),
            Err(passed_over) => below(config, facts, receipt, passed_over),
        },
    }
}

/// The kernel rung is out of reach: what then?
fn below(config: &Config, facts: &Facts, receipt: Option<&Receipt>, passed_over: Vec<PassedOver>) -> Result<Choice> {
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
            Choice {
                rung: Rung::Userspace,
                release: None,
                why: format!("no kernel module: {why}"),
                passed_over,
                degraded,
            },
        ),
        Fallback::Wireguard => Ok(Choice {
            rung: Rung::Wireguard,
            release: None,
            why: format!("no kernel module: {why}; plain WireGuard was accepted as fallback"),
            passed_over,
            degraded: true,
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

type Outcome = std::result::Result<Choice, Vec<PassedOver>>;

fn kernel(config: &Config, facts: &Facts, receipt: Option<&Receipt>) -> Result<Outcome> {
    let mut passed_over = Vec::new();
    let pass = |what: &str, why: String| PassedOver { what: what.into(), why };
    let running = facts.kernel.running.as_str();
    if facts.os.id != "alpine" {
        if facts.modules.loaded.contains("amneziawg") {
            return Ok(Ok(chosen(running, "the amneziawg module is already loaded on this host".into(), Vec::new())));
        }
        let name = if facts.os.name.is_empty() { "this distribution" } else { facts.os.name.as_str() };
        return Ok(Err(vec![pass(
            ANY,
            format!("{name} is not Alpine: only a module that is already loaded is used here"),
        )]));
    }
    check_candidate(config, facts)?;
    for release in targets(config, facts) {
        match obstacle(config, facts, receipt, &release) {
            Some(why) => passed_over.push(pass(&release, why)),
            None => {
                let why = if release == running {
                    "the running kernel has a module".to_string()
                } else {
                    format!("a module for it and the kernel can be had; {running} runs now")
                };
                return Ok(Ok(chosen(&release, why, passed_over)));
            }
        }
    }
    if passed_over.is_empty() {
        passed_over
            .push(pass(ANY, format!("no module is known: module.source is {} and names none", config.module.source)));
    }
    Ok(Err(passed_over))
}

fn chosen(release: &str, why: String, passed_over: Vec<PassedOver>) -> Choice {
    Choice { rung: Rung::Kernel, release: Some(release.into()), why, passed_over, degraded: false }
}

/// A module that was named explicitly and does not fit is an error, never a reason to take another.
fn check_candidate(config: &Config, facts: &Facts) -> Result<()> {
    let Some(candidate) = &facts.candidate else { return Ok(()) };
    let inspection = &candidate.inspection;
    let refuse = |why: String| {
        Err(Error::new(Kind::Artifact, format!("the module from {} cannot be used", candidate.source))
            .cause(why)
            .remedy("give a module that was built for exactly this kernel; `awg-install module inspect FILE` shows what one is"))
    };
    if inspection.name != crate::module::NAME {
        return refuse(format!("it is a module called {}, not {}", inspection.name, crate::module::NAME));
    }
    if inspection.machine.to_string() != facts.arch {
        return refuse(format!("it was built for {}, this machine is {}", inspection.machine, facts.arch));
    }
    if config.module.denied_srcversions.iter().any(|d| Some(d.to_string()) == inspection.srcversion) {
        return refuse("its srcversion is listed in module.denied_srcversions".into());
    }
    match &config.kernel.release {
        ReleaseChoice::Exact(wanted) if inspection.vermagic.release != wanted.to_string() => {
            refuse(format!("it was built for {}, kernel.release is {wanted}", inspection.vermagic.release))
        }
        _ => Ok(()),
    }
}

/// Releases worth considering, best first.
fn targets(config: &Config, facts: &Facts) -> Vec<String> {
    if let Some(exact) = config.kernel.release.exact() {
        return vec![exact.to_string()];
    }
    let known = |release: &str| module_for(facts, release);
    let mut list: Vec<String> = Vec::new();
    let mut add = |release: String| {
        if !list.contains(&release) {
            list.push(release);
        }
    };
    if known(&facts.kernel.running) {
        add(facts.kernel.running.clone());
    }
    if known(PREFERRED) {
        add(PREFERRED.into());
    }
    if let Some(candidate) = &facts.candidate {
        add(candidate.inspection.vermagic.release.to_string());
    }
    for release in facts.modules.amneziawg.keys().rev() {
        add(release.clone());
    }
    list
}

/// A module for `release` is in place, or can be put there.
pub fn module_for(facts: &Facts, release: &str) -> bool {
    match &facts.candidate {
        Some(candidate) => candidate.inspection.vermagic.release == release,
        None => facts.modules.amneziawg.get(release).is_some_and(|m| m.vermagic_release == release),
    }
}

/// A kernel that would fill the disk is not begun with: half of it would be worse than none.
fn no_room(facts: &Facts) -> Option<String> {
    let others = if facts.engine.installed { 0 } else { preflight::NEED_ENGINE };
    let others = others + if facts.engine.image.is_none() { preflight::NEED_IMAGE } else { 0 };
    [("/", NEED_KERNEL + others), ("/boot", NEED_BOOT)].into_iter().find_map(|(place, need)| {
        let free = facts.free_mib.get(place).filter(|free| **free < need)?;
        Some(format!("{place} has {free} MiB free, {need} MiB are needed with it"))
    })
}

fn obstacle(config: &Config, facts: &Facts, receipt: Option<&Receipt>, release: &str) -> Option<String> {
    if let Some(ruled) = receipt.and_then(|r| r.ruled_out.iter().find(|o| o.release == release)) {
        return Some(format!("it was tried and failed: {}", ruled.reason));
    }
    if !module_for(facts, release) {
        return Some(match config.module.source {
            ModuleSource::File | ModuleSource::Url => "the module that was given is for another release".into(),
            source => format!("no module for it: module.source is {source} and nothing is installed for it"),
        });
    }
    let unsigned = facts.candidate.as_ref().is_none_or(|c| !c.inspection.signed);
    if unsigned && (facts.kernel.lockdown != "none" || facts.kernel.sig_enforce) {
        return Some("the kernel is locked down and refuses modules that are not signed by its builder".into());
    }
    if release == facts.kernel.running {
        return None;
    }
    if config.kernel.reboot == Reboot::Never {
        return Some("it needs a reboot, and kernel.reboot is never".into());
    }
    if let Some(why) = &facts.boot.unsupported {
        return Some(why.clone());
    }
    if facts.kernel.installed.iter().any(|k| k.release == release && k.modules && k.vmlinuz) {
        return None;
    }
    if let Some(why) = no_room(facts) {
        return Some(why);
    }
    let parsed: Release = match release.parse() {
        Ok(parsed) => parsed,
        Err(e) => return Some(format!("it is not a release of Alpine's kernels: {e}")),
    };
    if !matches!(config.kernel.package, PackageSource::Repository) {
        return None;
    }
    let apk = facts.apk.as_ref()?;
    let offered = apk.offered.get(&parsed.package()).cloned().unwrap_or_default();
    let unknown = offered.is_empty() && !apk.asked && apk.offered_problem.is_none();
    if unknown || offered.contains(&parsed.package_version()) {
        return None;
    }
    let have = if offered.is_empty() { "none".to_string() } else { offered.join(", ") };
    let problem = apk.offered_problem.as_ref().map(|p| format!(" ({p})")).unwrap_or_default();
    Some(format!("{} cannot be had: the repository offers {have}{problem}", parsed.pin()))
}
