//! Whether a new kernel can reach `/`: each driver built in or inside of its initramfs; and making it so.

use std::collections::BTreeSet;

use xshell::cmd;

use crate::drivers::{self, Feature, Index, Met, Missing, Need, Texts};
use crate::error::{Error, Result};
use crate::facts::root::{self, RootDevice};
use crate::host::{Host, Limits};
use crate::initramfs;

/// What mkinitfs reads its features from; `repair` edits it.
pub const CONF: &str = "/etc/mkinitfs/mkinitfs.conf";
pub const FEATURES: &str = "/etc/mkinitfs/features.d";

/// Packing a large initramfs takes a small machine a while.
const MKINITFS: u64 = 600;
const OTHER_WAYS: &str = "keep the running kernel (`kernel.reboot: never`), or take `mode: userspace`";

/// What was found. Every driver that `needs` names exists in the new kernel.
#[derive(Debug)]
pub struct Checked {
    pub root: RootDevice,
    pub needs: Vec<Need>,
    pub missing: Vec<Missing>,
    /// Why the initramfs as a whole is of no use.
    pub damage: Option<Error>,
}

impl Checked {
    /// The kernel would find `/`.
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty() && self.damage.is_none()
    }
}

/// Holds the root device against the kernel `release` and `/boot/initramfs-<flavour>`. It is an error when the
/// kernel has no driver for it at all, or when that cannot be told: no initramfs would help.
pub fn check(host: &Host, release: &str, flavour: &str) -> Result<Checked> {
    let root = root::probe(host);
    if let Some(problem) = &root.problem {
        return Err(Error::step("which drivers the root device needs cannot be told")
            .cause(problem)
            .remedy(OTHER_WAYS));
    }
    let (target, running) = (texts(host, release), texts(host, &host.release()));
    let (target, running) = (Index::new(&target), Index::new(&running));
    if target.is_empty() {
        return Err(Error::step(format!("/lib/modules/{release}/modules.dep cannot be read"))
            .remedy(format!("run `depmod {release}`, then this again")));
    }
    let needs = drivers::needs(&root, &target, Some(&running).filter(|r| !r.is_empty()));
    let nowhere: Vec<&str> = needs.iter().filter(|n| n.met == Met::Nowhere).map(|n| n.what.as_str()).collect();
    if !nowhere.is_empty() {
        return Err(Error::step(format!("{release} has no driver for the root device {}", root.source))
            .cause(format!(
                "{}: in neither modules.alias nor modules.builtin of /lib/modules/{release}",
                nowhere.join("\n")
            ))
            .remedy(OTHER_WAYS));
    }
    let (names, damage) = match names(host, flavour) {
        Ok(names) => (names, None),
        Err(e) => (BTreeSet::new(), Some(e)),
    };
    let missing = drivers::missing(&needs, &drivers::contained(&names, release));
    let modular = needs.iter().any(|n| matches!(n.met, Met::Module(_)));
    let damage = damage.or_else(|| {
        // Without an index nothing in it can be loaded.
        let index = format!("lib/modules/{release}/modules.dep");
        let indexed = names.iter().any(|n| n.strip_prefix("usr/").unwrap_or(n).starts_with(&index));
        (modular && !indexed).then(|| {
            Error::step(format!("{} has no modules of {release}", path(flavour)))
                .cause(format!("it holds {}", or_nothing(&releases(&names))))
                .remedy(format!("run `{}`, then this again", remake(release, flavour)))
        })
    });
    Ok(Checked { root, needs, missing, damage })
}

/// Makes the initramfs once more with the features that bring what is missing, and checks it. Tells which
/// features were added to [`CONF`], whose prior state the caller has recorded.
pub fn repair(host: &Host, release: &str, flavour: &str, found: &Checked) -> Result<Vec<String>> {
    if found.is_complete() {
        return Ok(Vec::new());
    }
    let texts = texts(host, release);
    let target = Index::new(&texts);
    for module in found.missing.iter().flat_map(|m| &m.absent) {
        let file = format!("/lib/modules/{release}/{}", target.path(module).unwrap_or(module));
        if !host.exists(&file) {
            return Err(Error::step(format!("{file} is not there"))
                .cause("modules.dep lists it, and the root device needs it")
                .remedy(format!("run `apk fix linux-{flavour}`, then this again")));
        }
    }
    let conf = host.read_text(CONF).unwrap_or_default();
    let enabled = drivers::enabled_features(&conf);
    let choice = drivers::choose(&found.missing, &target, &features(host), &enabled, &found.root.fs);
    if let Some(module) = choice.without.first() {
        let file = target.path(module).unwrap_or(module);
        return Err(lacks(found, release, flavour)
            .remedy(format!("no feature of mkinitfs holds {file}: write that line to {FEATURES}/own.modules, add `own` to features in {CONF}, run `{}`, then this again", remake(release, flavour))));
    }
    if !choice.add.is_empty() {
        host.edit(CONF, &drivers::add_features(&conf, &choice.add))?;
    }
    make(host, release, flavour)?;
    let again = check(host, release, flavour)?;
    if again.is_complete() {
        return Ok(choice.add);
    }
    Err(lacks(&again, release, flavour)
        .remedy(format!("look at what `{}` says; or {OTHER_WAYS}", remake(release, flavour))))
}

/// The refusal to boot a kernel that would not find `/`.
fn lacks(found: &Checked, release: &str, flavour: &str) -> Error {
    let mut lines: Vec<String> = Vec::new();
    if let Some(e) = &found.damage {
        lines.push(e.cause.iter().fold(e.message.clone(), |text, cause| format!("{text} ({cause})")));
    }
    let missing = |m: &Missing| format!("{}: {} is not in it", m.what, m.absent.join(", "));
    lines.extend(found.missing.iter().map(missing));
    Error::step(format!("{release} would not find {}: {} is not complete", found.root.source, path(flavour)))
        .cause(lines.join("\n"))
}

fn make(host: &Host, release: &str, flavour: &str) -> Result<()> {
    let (sh, initramfs) = (host.shell(), path(flavour));
    let made =
        host.run(cmd!(sh, "mkinitfs -o {initramfs} {release}"), Limits::seconds(MKINITFS), "making the initramfs");
    made.map(drop).map_err(|e| e.remedy("see the cause; check the free space in /boot and /tmp, then run this again"))
}

fn names(host: &Host, flavour: &str) -> Result<BTreeSet<String>> {
    let path = path(flavour);
    let file = host.open(&path).map_err(|e| Error::step(format!("{path} cannot be opened")).cause(e))?;
    initramfs::names(file).map_err(|e| {
        let cause = e.cause.iter().fold(e.message.clone(), |text, cause| format!("{text}: {cause}"));
        let error = Error::step(format!("{path} cannot be read")).cause(cause);
        e.remedy.into_iter().fold(error, Error::remedy)
    })
}

fn texts(host: &Host, release: &str) -> Texts {
    let text = |name: &str| host.read_text(format!("/lib/modules/{release}/modules.{name}")).unwrap_or_default();
    Texts {
        alias: text("alias"),
        dep: text("dep"),
        builtin: text("builtin"),
        builtin_modinfo: text("builtin.modinfo"),
        softdep: text("softdep"),
    }
}

fn features(host: &Host) -> Vec<Feature> {
    let one = |file: String| {
        let name = file.strip_suffix(".modules")?;
        Some(Feature::new(name, &host.read_text(format!("{FEATURES}/{file}"))?))
    };
    host.names(FEATURES).into_iter().filter_map(one).collect()
}

/// The kernels whose modules an initramfs holds.
fn releases(names: &BTreeSet<String>) -> String {
    let release = |name: &String| {
        let rest = name.strip_prefix("usr/").unwrap_or(name).strip_prefix("lib/modules/")?;
        rest.split_once('/').map(|(release, _)| release.to_string())
    };
    let all: BTreeSet<String> = names.iter().filter_map(release).collect();
    all.into_iter().map(|release| format!("those of {release}")).collect::<Vec<_>>().join(", ")
}

fn or_nothing(text: &str) -> &str {
    if text.is_empty() { "none at all" } else { text }
}

fn path(flavour: &str) -> String {
    format!("/boot/initramfs-{flavour}")
}

fn remake(release: &str, flavour: &str) -> String {
    format!("mkinitfs -o {} {release}", path(flavour))
}
