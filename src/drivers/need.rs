//! From the root device to the modules that must be in the initramfs.

use std::collections::BTreeSet;

use super::index::{Found, Index, module_name, normal};
use crate::facts::root::{Device, Layer, RootDevice};

/// Something without which `/` cannot be mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// For people: `driver virtio_blk of virtio1 (virtio:d00000002v00001AF4)`.
    pub what: String,
    pub met: Met,
}

/// How a kernel meets a need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Met {
    BuiltIn,
    /// One of these has to be in the initramfs with its dependencies.
    Module(Vec<Module>),
    /// This kernel has nothing for it.
    Nowhere,
}

/// A module and those it depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    pub name: String,
    /// Names of all that have to be loaded, itself last.
    pub load: Vec<String>,
}

/// Drivers whose module has another name, where sysfs does not tell it.
const OTHER_NAMES: &[(&str, &str)] = &[
    ("hub", "usbcore"),
    ("mmcblk", "mmc_block"),
    ("sd", "sd_mod"),
    ("sr", "sr_mod"),
    ("usb", "usbcore"),
    ("vbd", "xen_blkfront"),
    ("vmbus", "hv_vmbus"),
    ("xhci_hcd", "xhci_pci"),
];

/// Soft dependencies without which a mount fails: every file system that asks for it checks its metadata
/// with CRC-32C. Others (btrfs asks for all checksums that it knows) may be absent, as for modprobe.
const NEEDED_SOFT: &[&str] = &["crc32c", "crypto-crc32c"];

/// All that `/` needs of `target`. `running` is the kernel that drives these devices now, where its indexes
/// are known.
pub fn needs(root: &RootDevice, target: &Index, running: Option<&Index>) -> Vec<Need> {
    let mut needs: Vec<Need> = root.chain.iter().filter_map(|device| of_device(device, target, running)).collect();
    for layer in &root.stack {
        for module in modules_of(layer) {
            let what = format!("driver {module} of {} ({})", layer.block, layer.kind);
            needs.push(Need { what, met: met(target.find(&module), target) });
        }
    }
    if !root.fs.is_empty() {
        // The type by its name, or a module that says it handles the type: ext4 mounts ext3.
        let (named, aliased) = (target.find(&root.fs), target.find(&format!("fs-{}", root.fs)));
        let builtin = named.builtin || aliased.builtin;
        let modules = named.modules.into_iter().chain(aliased.modules).collect();
        needs
            .push(Need { what: format!("file system {} of /", root.fs), met: met(Found { builtin, modules }, target) });
    }
    let soft = of_softdeps(&needs, target);
    needs.extend(soft);
    needs
}

fn of_device(device: &Device, target: &Index, running: Option<&Index>) -> Option<Need> {
    let driver = device.driver.as_deref()?;
    let modalias = device.modalias.as_deref().unwrap_or_default();
    // The kernel itself finds what lies behind a PCI bridge; a bridge's driver serves hotplug and errors.
    if modalias.starts_with("pci:") && modalias.contains("bc06sc") {
        return None;
    }
    let place = device.path.rsplit('/').next().unwrap_or_default();
    let what = match modalias {
        "" => format!("driver {driver} of {place}"),
        modalias => format!("driver {driver} of {place} ({modalias})"),
    };
    let other = OTHER_NAMES.iter().find(|(name, _)| *name == driver).map(|(_, module)| *module);
    let known: Vec<&str> = device.module.as_deref().into_iter().chain(other).chain([driver]).collect();
    // What drives the device now will do so again. Until 6.17 a built-in driver's device table is in no
    // index, so that its name is all there is to find it by.
    if known.iter().any(|name| target.is_builtin(name)) {
        return Some(Need { what, met: Met::BuiltIn });
    }
    if let Some(name) = known.iter().find(|name| target.path(name).is_some()) {
        return Some(Need { what, met: Met::Module(vec![module(name, target)]) });
    }
    // Else whatever answers: an AHCI controller may be driven by ahci or, worse, by ata_generic, and which of
    // them would be bound first cannot be told here.
    let answering = if modalias.is_empty() { Found::default() } else { target.answering(modalias) };
    if answering != Found::default() {
        return Some(Need { what, met: met(answering, target) });
    }
    // A driver that can be no module is in no index of any kernel, and in every kernel of this configuration.
    let is_core = running.is_some_and(|r| !known.iter().any(|name| r.is_builtin(name) || r.path(name).is_some()));
    (!is_core).then_some(Need { what, met: Met::Nowhere })
}

fn met(found: Found, target: &Index) -> Met {
    match found {
        Found { builtin: true, .. } => Met::BuiltIn,
        Found { modules, .. } if modules.is_empty() => Met::Nowhere,
        Found { modules, .. } => Met::Module(modules.iter().map(|name| module(name, target)).collect()),
    }
}

fn module(name: &str, target: &Index) -> Module {
    Module { name: normal(name), load: target.with_dependencies(name) }
}

/// The drivers that make a stacked device, as module names or aliases.
fn modules_of(layer: &Layer) -> Vec<String> {
    let names = |names: &[&str]| names.iter().map(|n| n.to_string()).collect();
    match layer.kind.as_str() {
        "md" if layer.detail.is_empty() => names(&["md_mod"]),
        // raid4, raid5 and raid6 are aliases of raid456.
        "md" => names(&["md_mod", &format!("md-{}", layer.detail)]),
        "dm" => {
            let mut all = vec!["dm_mod"];
            // Its table is not in sysfs, but what LVM and cryptsetup name their parts is.
            // (_rimage and the like are reserved names there.)
            let made_by = |prefix: &str| layer.detail.starts_with(prefix);
            let tagged = |tags: &[&str]| tags.iter().any(|tag| layer.detail.ends_with(tag));
            let part = |parts: &[&str]| made_by("LVM-") && parts.iter().any(|part| layer.name.contains(part));
            all.extend(made_by("CRYPT-").then_some("dm_crypt"));
            all.extend(made_by("mpath-").then_some("dm_multipath"));
            all.extend((tagged(&["-tpool"]) || part(&["_tdata", "_tmeta"])).then_some("dm_thin_pool"));
            all.extend(part(&["_rimage_", "_rmeta_"]).then_some("dm_raid"));
            all.extend(part(&["_mimage_", "_mlog"]).then_some("dm_mirror"));
            all.extend(tagged(&["-cow", "-real"]).then_some("dm_snapshot"));
            all.extend(part(&["_cdata", "_cmeta", "_cpool"]).then_some("dm_cache"));
            names(&all)
        }
        kind => names(&[kind]),
    }
}

fn of_softdeps(needs: &[Need], target: &Index) -> Vec<Need> {
    let mut asked: BTreeSet<(&str, &str)> = BTreeSet::new();
    for need in needs {
        let Met::Module(modules) = &need.met else { continue };
        for name in modules.iter().flat_map(|m| &m.load) {
            let soft = target.soft_dependencies(name).iter().filter(|s| NEEDED_SOFT.contains(s));
            asked.extend(soft.map(|s| (*s, name.as_str())));
        }
    }
    // One need for each alias; one that nothing answers to is no need, again as for modprobe.
    let mut seen = BTreeSet::new();
    asked
        .into_iter()
        .filter(|(alias, _)| seen.insert(*alias))
        .map(|(alias, by)| Need { what: format!("{alias}, which {by} uses"), met: met(target.find(alias), target) })
        .filter(|need| need.met != Met::Nowhere)
        .collect()
}

/// A need that the initramfs does not meet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    pub what: String,
    /// The module that would meet it.
    pub module: String,
    /// Itself, or those of its dependencies, that are not there.
    pub absent: Vec<String>,
}

/// The modules of one kernel among the names in an initramfs.
pub fn contained(names: &BTreeSet<String>, release: &str) -> BTreeSet<String> {
    let place = |name: &str| {
        let rest = name.strip_prefix("usr/").unwrap_or(name).strip_prefix("lib/modules/")?;
        module_name(rest.strip_prefix(release)?.strip_prefix('/')?)
    };
    names.iter().filter_map(|name| place(name)).collect()
}

/// The needs that are not met by what is built in and what the initramfs contains. Of several modules that
/// would do, the one that lacks least is named.
pub fn missing(needs: &[Need], contained: &BTreeSet<String>) -> Vec<Missing> {
    let lacks = |m: &Module| m.load.iter().filter(|name| !contained.contains(*name)).cloned().collect::<Vec<_>>();
    let one = |need: &Need| {
        let Met::Module(modules) = &need.met else { return None };
        let (module, absent) = modules.iter().map(|m| (m, lacks(m))).min_by_key(|(_, absent)| absent.len())?;
        (!absent.is_empty()).then(|| Missing { what: need.what.clone(), module: module.name.clone(), absent })
    };
    needs.iter().filter_map(one).collect()
}
