//! The pair of kernel and module: every one that could be had, best first, and what speaks against each.

use super::{ANY, Aim, Choice, PassedOver, View, plain};
use crate::config::{Config, Flavour, ModuleSource, PREFERRED, PackageSource, Reboot, Release, ReleaseChoice};
use crate::error::{Error, Kind, Result};
use crate::facts::{Facts, Offer, PackageFile};
use crate::owned::Rung;
use crate::preflight;
use crate::recipe;

/// MiB that a kernel without firmware needs, of modules and of image and initramfs while that is made anew.
const NEED_KERNEL: u64 = 200;
const NEED_BOOT: u64 = 64;

pub(super) enum Outcome {
    Chosen(Choice),
    /// Why each better pair was passed over, best first.
    Below(Vec<PassedOver>),
}

pub(super) fn choose(view: View) -> Result<Outcome> {
    let View { config, facts, aim, .. } = view;
    let running = facts.kernel.running.as_str();
    if facts.os.id != "alpine" {
        return Ok(elsewhere(facts));
    }
    check_named(config, facts)?;
    let mut passed_over = Vec::new();
    let ready = first(view, ready_targets(view), &mut passed_over, |release| module_obstacle(view, release));
    // An upgrade does not stop at a pair that works while a newer one can be had.
    let newest = if aim == Aim::Upgrade { build_targets(view).into_iter().next() } else { None };
    let stop_at = |release: &str| newest.as_deref().is_none_or(|n| !is_newer(n, release));
    let stay = ready.as_deref().is_some_and(|r| r == running && aim != Aim::Upgrade);
    let open = facts.offers.iter().find(|o| o.open).filter(|_| aim != Aim::Boot && !stay);
    if let Some(open) = open {
        let what = match open.source {
            ModuleSource::Bundle => "the bundle is unpacked first",
            ModuleSource::Catalog => "the container image is looked into first: its tools must fit the module",
            _ => "the container image is looked into first: it may hold the module",
        };
        let why = ready
            .as_ref()
            .map_or("no module is known yet".to_string(), |r| format!("{r} has a module, if nothing better comes"));
        let choice = Choice { open: Some(what.into()), passed_over, ..plain(Rung::Kernel, &why) };
        return Ok(Outcome::Chosen(choice));
    }
    if let Some(release) = ready.as_deref().filter(|r| stop_at(r)) {
        return Ok(Outcome::Chosen(chosen(view, release, passed_over)));
    }
    let built = first(view, build_targets(view), &mut passed_over, |release| build_obstacle(view, release));
    match (built, ready) {
        (Some(release), _) => {
            passed_over.extend(without(facts, None));
            let why = if release == running {
                "no module for the running kernel is ready: it is compiled on this host".to_string()
            } else {
                format!("no module is ready: the one for {release} is compiled on this host; {running} runs now")
            };
            Ok(Outcome::Chosen(Choice {
                release: Some(release),
                build: true,
                passed_over,
                ..plain(Rung::Kernel, &why)
            }))
        }
        (None, Some(release)) => Ok(Outcome::Chosen(chosen(view, &release, passed_over))),
        (None, None) => {
            passed_over.extend(without(facts, None));
            if passed_over.is_empty() {
                let why = format!("no module is known: module.source is {} and names none", config.module.source);
                passed_over.push(PassedOver::new(ANY, why));
            }
            Ok(Outcome::Below(passed_over))
        }
    }
}

/// A module for `release` is in place, or can be put there.
fn module_for(config: &Config, facts: &Facts, release: &str) -> bool {
    let offered = facts.candidate_for(release).is_some();
    // The one that was named is meant, not what an earlier run has left.
    if config.module.source.is_named() && facts.candidates().next().is_some() {
        return offered;
    }
    offered || facts.modules.amneziawg.get(release).is_some_and(|m| m.vermagic_release == release)
}

/// What is known of package files for `release` that no repository has to have.
pub fn package_files(config: &Config, facts: &Facts, release: &str) -> Vec<PackageFile> {
    let sha256 = config.kernel.package_sha256.as_ref().map(ToString::to_string);
    match &config.kernel.package {
        PackageSource::Repository => {}
        PackageSource::File(path) => return vec![PackageFile { place: path.to_string(), sha256, size: None }],
        PackageSource::Url(url) => return vec![PackageFile { place: url.to_string(), sha256, size: None }],
    }
    let kernels = facts.offers.iter().flat_map(|o| &o.kernels);
    kernels.into_iter().find(|k| k.release == release).map(|k| k.packages.clone()).unwrap_or_default()
}

fn elsewhere(facts: &Facts) -> Outcome {
    let running = facts.kernel.running.as_str();
    if facts.modules.loaded.contains("amneziawg") {
        let why = "the amneziawg module is already loaded on this host";
        return Outcome::Chosen(Choice { release: Some(running.into()), ..plain(Rung::Kernel, why) });
    }
    let name = if facts.os.name.is_empty() { "this distribution" } else { facts.os.name.as_str() };
    let why = format!("{name} is not Alpine: only a module that is already loaded is used here");
    Outcome::Below(vec![PassedOver::new(ANY, why)])
}

/// The first target that nothing speaks against; what speaks against the better ones is kept.
fn first(
    view: View,
    targets: Vec<String>,
    passed_over: &mut Vec<PassedOver>,
    obstacle: impl Fn(&str) -> Option<String>,
) -> Option<String> {
    for release in targets {
        match obstacle(&release).or_else(|| kernel_obstacle(view, &release)) {
            Some(why) => passed_over.push(PassedOver::new(release, why)),
            None => return Some(release),
        }
    }
    None
}

fn chosen(view: View, release: &str, mut passed_over: Vec<PassedOver>) -> Choice {
    let facts = view.facts;
    let source = facts.offers.iter().find(|o| o.modules.iter().any(|m| m.inspection.vermagic.release == release));
    // What was asked before the one that has it.
    passed_over.extend(without(facts, source).into_iter().filter(|_| source.is_some()));
    let running = &facts.kernel.running;
    let why = if release == running {
        "the running kernel has a module".to_string()
    } else {
        format!("a module for it and the kernel can be had; {running} runs now")
    };
    Choice { release: Some(release.into()), passed_over, ..plain(Rung::Kernel, &why) }
}

/// Sources that have no module, up to `end`.
fn without(facts: &Facts, end: Option<&Offer>) -> Vec<PassedOver> {
    let before = facts.offers.iter().take_while(|o| end.is_none_or(|end| *o != end));
    before.filter_map(|o| Some(PassedOver::new(name_of(o.source), o.problem.clone()?))).collect()
}

fn name_of(source: ModuleSource) -> &'static str {
    match source {
        ModuleSource::Auto | ModuleSource::File | ModuleSource::Url => "the module that was named",
        ModuleSource::Bundle => "the bundle",
        ModuleSource::Image => "the container image",
        ModuleSource::Catalog => "the catalog",
        ModuleSource::Build => "a build on this host",
    }
}

/// A module that was named explicitly and does not fit is an error, never a reason to take another.
fn check_named(config: &Config, facts: &Facts) -> Result<()> {
    let Some(candidate) = facts.candidates().next().filter(|_| config.module.source.is_named()) else { return Ok(()) };
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
    if is_denied(config, inspection.srcversion.as_deref()) {
        return refuse("its srcversion is listed in module.denied_srcversions".into());
    }
    match &config.kernel.release {
        ReleaseChoice::Exact(wanted) if inspection.vermagic.release != wanted.to_string() => {
            refuse(format!("it was built for {}, kernel.release is {wanted}", inspection.vermagic.release))
        }
        _ => Ok(()),
    }
}

fn is_denied(config: &Config, srcversion: Option<&str>) -> bool {
    config.module.denied_srcversions.iter().any(|d| Some(d.to_string().as_str()) == srcversion)
}

/// Releases with a module ready, best first.
fn ready_targets(view: View) -> Vec<String> {
    let View { config, facts, aim, .. } = view;
    let running = &facts.kernel.running;
    if aim == Aim::Boot {
        return vec![running.clone()];
    }
    if let Some(exact) = config.kernel.release.exact() {
        return vec![exact.to_string()];
    }
    let mut known: Vec<&String> =
        facts.candidates().map(|c| &c.inspection.vermagic.release).chain(facts.modules.amneziawg.keys()).collect();
    // lts first, then the newest first; what is no release of Alpine's last.
    known.sort_by_key(|r| std::cmp::Reverse(r.parse::<Release>().ok().map(|p| (r.ends_with("-lts"), p))));
    let mut list: Vec<String> = Vec::new();
    let first: &[&str] = match aim {
        Aim::Upgrade => &[],
        _ => &[running.as_str(), PREFERRED],
    };
    let first = first.iter().filter(|r| module_for(config, facts, r)).map(|r| r.to_string());
    for release in first.chain(known.into_iter().cloned()) {
        if !list.contains(&release) {
            list.push(release);
        }
    }
    list
}

/// Releases for which the module could be compiled here, best first.
fn build_targets(view: View) -> Vec<String> {
    let View { config, facts, aim, .. } = view;
    if aim == Aim::Boot || !matches!(config.module.source, ModuleSource::Auto | ModuleSource::Build) {
        return Vec::new();
    }
    if let Some(exact) = config.kernel.release.exact() {
        return vec![exact.to_string()];
    }
    if config.kernel.reboot == Reboot::Never {
        return vec![facts.kernel.running.clone()];
    }
    let newest = facts.apk.as_ref().and_then(|apk| apk.kernels(Flavour::Lts).into_iter().next());
    newest.map(|r| r.to_string()).into_iter().collect()
}

fn is_newer(a: &str, b: &str) -> bool {
    match (a.parse::<Release>(), b.parse::<Release>()) {
        (Ok(a), Ok(b)) => a > b,
        _ => false,
    }
}

/// What speaks against the module that is ready for `release`.
fn module_obstacle(view: View, release: &str) -> Option<String> {
    let View { config, facts, aim, .. } = view;
    if !module_for(config, facts, release) {
        return Some(match config.module.source {
            _ if aim == Aim::Boot => {
                "it runs, and no module for it is installed (`awg-install upgrade` gets one)".into()
            }
            source if source.is_named() => "the module that was given is for another release".into(),
            source => format!("no module for it: module.source is {source} and nothing is installed for it"),
        });
    }
    let candidate = facts.candidate_for(release);
    let installed = facts.modules.amneziawg.get(release);
    let srcversion = match candidate {
        Some(c) => c.inspection.srcversion.as_deref(),
        None => installed.and_then(|m| m.srcversion.as_deref()),
    };
    if is_denied(config, srcversion) {
        return Some("the srcversion of its module is listed in module.denied_srcversions".into());
    }
    let unsigned = candidate.is_none_or(|c| !c.inspection.signed);
    locked_down(facts).filter(|_| unsigned)
}

fn build_obstacle(view: View, release: &str) -> Option<String> {
    recipe::obstacle(view.config, view.facts, release).or_else(|| locked_down(view.facts))
}

fn locked_down(facts: &Facts) -> Option<String> {
    let by = match facts.kernel.lockdown.as_str() {
        "none" | "" if facts.kernel.sig_enforce => "module.sig_enforce".to_string(),
        "none" | "" => return None,
        level => format!("lockdown={level}"),
    };
    Some(format!("the kernel runs with {by} and refuses modules that are not signed by its builder"))
}

/// What speaks against getting the kernel itself and starting it.
fn kernel_obstacle(view: View, release: &str) -> Option<String> {
    let View { config, facts, receipt, .. } = view;
    if let Some(ruled) = receipt.and_then(|r| r.ruled_out.iter().find(|o| o.release == release)) {
        return Some(format!("it was tried and failed: {}", ruled.reason));
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
    // The only other kernel here would be replaced by one that was never tried.
    let same = format!("-{}", parsed.flavour());
    if facts.kernel.running.ends_with(&same) && facts.kernel.installed.iter().all(|k| k.release.ends_with(&same)) {
        return Some(format!(
            "no kernel of another flavour is installed: {release} would take the place of the one that runs, and there would be no way back (`apk add linux-virt` provides one)"
        ));
    }
    if !package_files(config, facts, release).is_empty() {
        return None;
    }
    facts.apk.as_ref()?.lacks(&parsed.package(), &parsed.package_version())
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
