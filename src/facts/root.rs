//! The device that holds `/`: its drivers, from the block device up to the bus, and what is stacked on it.
//!
//! All of it is read from sysfs. A device's ancestors there are the devices it hangs on, so that the walk
//! upward meets each driver that has to be loaded before the device can appear.

use std::collections::{BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use super::mounts::{Mount, mount_of};
use crate::host::Host;

/// What the kernel needs drivers for before it can mount `/`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RootDevice {
    /// As mountinfo names it: `/dev/vda2`, `/dev/root`, `/dev/mapper/vg0-root`.
    pub source: String,
    /// Type of the file system.
    pub fs: String,
    /// The block devices it lies on, as `/sys/class/block` names them.
    pub blocks: Vec<String>,
    /// Devices with a modalias or a driver, from the block device up, each once.
    pub chain: Vec<Device>,
    /// Drivers that make one block device of others.
    pub stack: Vec<Layer>,
    /// Why not all of it could be learned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// A device that `/` hangs on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Device {
    /// Its directory in sysfs.
    pub path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modalias: Option<String>,
    /// The driver that is bound to it now, by the name it has on its bus.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// The module which that driver is part of, where the kernel says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module: Option<String>,
}

/// A block device made of others.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Layer {
    pub block: String,
    /// `dm`, `md`, `bcache`.
    pub kind: String,
    /// `dm`: its name there; else empty.
    pub name: String,
    /// `dm`: its uuid, which begins with who made it (`LVM-`, `CRYPT-`); `md`: its level, such as `raid1`.
    pub detail: String,
}

/// More devices than this in one stack are not believed.
const BLOCKS: usize = 64;

pub fn probe(host: &Host) -> RootDevice {
    let mounts = host.read_text("/proc/self/mountinfo").unwrap_or_default();
    let Some(mount) = mount_of(&mounts, "/") else {
        return RootDevice {
            problem: Some("/proc/self/mountinfo names no mount at /".into()),
            ..RootDevice::default()
        };
    };
    let mut root = RootDevice { source: mount.source.clone(), fs: mount.fs.clone(), ..RootDevice::default() };
    match blocks(host, &mount) {
        Ok(blocks) => root.blocks = blocks,
        Err(problem) => root.problem = Some(problem),
    }
    walk(host, &mut root);
    root
}

/// The names of the block devices that a mount lies on.
fn blocks(host: &Host, mount: &Mount) -> Result<Vec<String>, String> {
    let (major, minor) = mount.device;
    let by_number = host.link(format!("/sys/dev/block/{major}:{minor}"));
    if let Some(to) = by_number {
        return Ok(vec![last(&to).to_string()]);
    }
    // btrfs and bcachefs have numbers of their own. The source then names one device, or all with colons.
    let mut named: Vec<String> =
        mount.source.split(':').filter(|s| s.starts_with("/dev/")).filter_map(|s| block_name(host, s)).collect();
    if mount.fs == "btrfs" {
        named = btrfs(host, named);
    }
    if !named.is_empty() {
        return Ok(named);
    }
    if major == 0 && !mount.source.starts_with("/dev/") {
        return Err(format!("the root file system is {}, which lies on no block device that can be told", mount.fs));
    }
    Err(format!("the block device {} ({major}:{minor}) is not in /sys", mount.source))
}

/// All members of the btrfs that one device belongs to. Without a device it has to be the only one.
fn btrfs(host: &Host, named: Vec<String>) -> Vec<String> {
    let all: Vec<Vec<String>> = host
        .names("/sys/fs/btrfs")
        .into_iter()
        .map(|id| host.names(format!("/sys/fs/btrfs/{id}/devices")))
        .filter(|members| !members.is_empty())
        .collect();
    let with = all.iter().find(|members| members.iter().any(|m| named.contains(m)));
    match (with, &all[..]) {
        (Some(members), _) => members.clone(),
        (None, [only]) if named.is_empty() => only.clone(),
        _ => named,
    }
}

/// The name in `/sys/class/block` of a path below `/dev`.
fn block_name(host: &Host, path: &str) -> Option<String> {
    let known = |name: &str| host.exists(format!("/sys/class/block/{name}")).then(|| name.to_string());
    let name = path.trim_start_matches("/dev/");
    // Names with a slash, such as cciss/c0d0, have an exclamation mark in sysfs.
    known(&name.replace('/', "!")).or_else(|| known(last(&host.link(path)?))).or_else(|| {
        let mapped = name.strip_prefix("mapper/")?;
        let named = |block: &String| host.read_trimmed(format!("/sys/class/block/{block}/dm/name"));
        host.names("/sys/class/block").into_iter().find(|block| named(block).as_deref() == Some(mapped))
    })
}

fn walk(host: &Host, root: &mut RootDevice) {
    let mut next: VecDeque<String> = root.blocks.iter().map(|name| format!("/sys/class/block/{name}")).collect();
    let mut seen = BTreeSet::new();
    let mut blocks = 0;
    while let Some(link) = next.pop_front() {
        blocks += 1;
        if blocks > BLOCKS {
            root.problem = Some(format!("more than {BLOCKS} block devices below /"));
            return;
        }
        let start = host.link(&link).map_or(link.clone(), |to| resolve(&link, &to));
        let mut below = 0;
        for dir in ancestors(&start) {
            let under = parts(host, dir);
            below += under.len();
            if !seen.insert(dir.to_string()) {
                continue;
            }
            next.extend(under);
            root.stack.extend(layer(host, dir));
            root.chain.extend(device(host, dir));
        }
        if below == 0 && start.contains("/virtual/block/") {
            let name = last(&start);
            root.problem = Some(format!("the block device {name} exists only in memory: what it needs cannot be told"));
        }
    }
}

/// The devices that the one in `dir` is made of, as links to them.
fn parts(host: &Host, dir: &str) -> Vec<String> {
    let slaves = host.names(format!("{dir}/slaves")).into_iter().map(|name| format!("{dir}/slaves/{name}"));
    // With multipath, NVMe disks hang on a virtual subsystem that only links to its controllers.
    if !last(dir).starts_with("nvme-subsys") {
        return slaves.collect();
    }
    let controller = |n: &String| n.strip_prefix("nvme").is_some_and(|n| n.parse::<u32>().is_ok());
    slaves.chain(host.names(dir).into_iter().filter(controller).map(|name| format!("{dir}/{name}"))).collect()
}

fn layer(host: &Host, dir: &str) -> Option<Layer> {
    let text = |file: &str| host.read_trimmed(format!("{dir}/{file}")).unwrap_or_default();
    let block = last(dir).to_string();
    if host.is_dir(format!("{dir}/dm")) {
        return Some(Layer { block, kind: "dm".into(), name: text("dm/name"), detail: text("dm/uuid") });
    }
    if host.is_dir(format!("{dir}/md")) {
        return Some(Layer { block, kind: "md".into(), name: String::new(), detail: text("md/level") });
    }
    // Backing devices have such a directory too.
    let bcache = block.starts_with("bcache") && host.exists(format!("{dir}/bcache"));
    bcache.then(|| Layer { block, kind: "bcache".into(), ..Layer::default() })
}

fn device(host: &Host, dir: &str) -> Option<Device> {
    let link = |name: &str| host.link(format!("{dir}/{name}")).map(|to| last(&to).to_string());
    let modalias = host.read_trimmed(format!("{dir}/modalias")).filter(|text| !text.is_empty());
    let device = Device { path: dir.into(), modalias, driver: link("driver"), module: link("driver/module") };
    (device.modalias.is_some() || device.driver.is_some()).then_some(device)
}

/// A directory below `/sys/devices` and those above it, lowest first.
fn ancestors(dir: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut at = dir;
    while at.len() > "/sys/devices/".len() && at.starts_with("/sys/devices/") {
        found.push(at);
        at = at.rsplit_once('/').map_or("", |(above, _)| above);
    }
    found
}

/// Where a link leads. Links in sysfs lead to real directories, so that this needs no second look.
fn resolve(link: &str, to: &str) -> String {
    let above = link.rsplit_once('/').map_or("", |(above, _)| above);
    let whole = if to.starts_with('/') { to.to_string() } else { format!("{above}/{to}") };
    let mut parts: Vec<&str> = Vec::new();
    for part in whole.split('/') {
        match part {
            "" | "." => {}
            ".." => _ = parts.pop(),
            name => parts.push(name),
        }
    }
    format!("/{}", parts.join("/"))
}

fn last(path: &str) -> &str {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_of_sysfs() {
        let to = "../../devices/pci0000:00/0000:00:04.0/virtio1/block/vda/vda2";
        let real = resolve("/sys/dev/block/254:2", to);
        assert_eq!(real, "/sys/devices/pci0000:00/0000:00:04.0/virtio1/block/vda/vda2");
        assert_eq!(ancestors(&real).len(), 6);
        assert!(ancestors("/sys/class/block/vda").is_empty());
    }
}
