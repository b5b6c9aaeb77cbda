//! mkinitfs's features: which of them would put a module into the initramfs.

use std::collections::BTreeSet;

use glob::{MatchOptions, Pattern};

use super::index::{Index, module_name};
use super::need::Missing;

/// A file `<name>.modules` in `/etc/mkinitfs/features.d`.
#[derive(Debug, Clone)]
pub struct Feature {
    pub name: String,
    patterns: Vec<Pattern>,
}

/// What to do about missing modules.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choice {
    /// Features to add, in this order.
    pub add: Vec<String>,
    /// Modules that no feature holds.
    pub without: Vec<String>,
}

/// Those that name what they are for come before those that happen to hold a driver too, such as `network`
/// or `cryptsetup`.
const PREFERRED: &[&str] = &[
    "virtio",
    "nvme",
    "ata",
    "scsi",
    "mmc",
    "usb",
    "ext4",
    "xfs",
    "btrfs",
    "f2fs",
    "raid",
    "lvm",
    "cryptsetup",
    "nfit",
    "xenpci",
    "phy",
];

const SHELL: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

impl Feature {
    /// The shell patterns in such a file, relative to the directory of the kernel's modules.
    pub fn new(name: &str, text: &str) -> Feature {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let words = lines.flat_map(str::split_whitespace).map(|word| word.trim_matches('/'));
        Feature { name: name.into(), patterns: words.filter_map(|word| Pattern::new(word).ok()).collect() }
    }

    /// A pattern matches the module's file, or a directory above it: that stands for all below.
    fn names(&self, path: &str) -> bool {
        let above = path.match_indices('/').map(|(at, _)| &path[..at]);
        above.chain([path]).any(|part| self.patterns.iter().any(|p| p.matches_with(part, SHELL)))
    }

    /// The names of all modules that it brings, with what they depend on.
    fn brings(&self, index: &Index) -> BTreeSet<String> {
        let named = index.paths().filter(|path| self.names(path)).filter_map(module_name);
        named.flat_map(|name| index.with_dependencies(&name)).collect()
    }
}

/// Which features bring what is missing. `fs` is the root file system's type: its own feature is preferred.
pub fn choose(missing: &[Missing], index: &Index, features: &[Feature], enabled: &[String], fs: &str) -> Choice {
    let rank = |f: &Feature| match PREFERRED.iter().position(|name| *name == f.name) {
        _ if f.name == fs => 0,
        Some(at) => at + 1,
        None => PREFERRED.len() + 1,
    };
    let mut choice = Choice::default();
    let on = features.iter().filter(|f| enabled.contains(&f.name));
    let mut brought: BTreeSet<String> = on.flat_map(|f| f.brings(index)).collect();
    for one in missing {
        // The module itself brings its dependencies along; they come last.
        for name in one.absent.iter().rev() {
            if brought.contains(name) {
                continue;
            }
            let off =
                || features.iter().filter(|f| !enabled.contains(&f.name)).filter(|f| !choice.add.contains(&f.name));
            let named = index.path(name).and_then(|path| off().filter(|f| f.names(path)).min_by_key(|f| rank(f)));
            let chosen = named.or_else(|| off().filter(|f| f.brings(index).contains(name)).min_by_key(|f| rank(f)));
            match chosen {
                Some(feature) => {
                    brought.extend(feature.brings(index));
                    choice.add.push(feature.name.clone());
                }
                None => choice.without.push(name.clone()),
            }
        }
    }
    choice.without.sort();
    choice.without.dedup();
    choice
}

#[cfg(test)]
mod tests {
    use super::super::index::Texts;
    use super::*;

    #[test]
    fn patterns_as_the_shell_has_them() {
        let scsi = Feature::new("scsi", "# all\n\nkernel/drivers/scsi/*\n/kernel/drivers/message/fusion/\n");
        assert!(scsi.names("kernel/drivers/scsi/sd_mod.ko.gz"));
        assert!(scsi.names("kernel/drivers/scsi/aacraid/aacraid.ko.gz"));
        assert!(scsi.names("kernel/drivers/message/fusion/mptspi.ko.gz"));
        assert!(!scsi.names("kernel/drivers/ata/ahci.ko.gz"));
        let crc = Feature::new("ext4", "kernel/arch/*/crypto/crc32*\nkernel/fs/ext4\n");
        assert!(crc.names("kernel/arch/x86/crypto/crc32c-intel.ko.gz"));
        assert!(!crc.names("kernel/arch/x86/deep/crypto/crc32c-intel.ko.gz"));
        let base = Feature::new("base", "kernel/drivers/block/loop.ko*");
        assert!(base.names("kernel/drivers/block/loop.ko") && base.names("kernel/drivers/block/loop.ko.gz"));
        assert!(!base.names("kernel/drivers/block/loop/x.ko"));
    }

    #[test]
    fn a_dependency_comes_with_what_needs_it() {
        let texts = Texts {
            dep: "kernel/drivers/scsi/hv_storvsc.ko: kernel/drivers/hv/hv_vmbus.ko\nkernel/drivers/hv/hv_vmbus.ko:\n\
                kernel/odd/odd.ko:\n"
                .into(),
            ..Texts::default()
        };
        let index = Index::new(&texts);
        let features = [Feature::new("network", "kernel/drivers/net"), Feature::new("scsi", "kernel/drivers/scsi/*")];
        let missing = |module: &str, absent: &[&str]| Missing {
            what: String::new(),
            module: module.into(),
            absent: absent.iter().map(|a| a.to_string()).collect(),
        };
        let vmbus = [missing("hv_vmbus", &["hv_vmbus"]), missing("odd", &["odd"])];
        let choice = choose(&vmbus, &index, &features, &[], "ext4");
        assert_eq!(choice, Choice { add: vec!["scsi".into()], without: vec!["odd".into()] });
        // Enabled already: the initramfs only has to be made again.
        let choice = choose(&vmbus[..1], &index, &features, &["scsi".into()], "ext4");
        assert_eq!(choice, Choice::default());
    }

    #[test]
    fn the_file_systems_own_feature_comes_first() {
        let texts = Texts { dep: "kernel/crypto/crc32c_generic.ko:\n".into(), ..Texts::default() };
        let index = Index::new(&texts);
        let features = ["cryptsetup", "ext4", "xfs"].map(|name| Feature::new(name, "kernel/crypto/crc32*"));
        let absent = vec!["crc32c_generic".to_string()];
        let missing = [Missing { what: String::new(), module: absent[0].clone(), absent }];
        assert_eq!(choose(&missing, &index, &features, &[], "xfs").add, ["xfs"]);
        assert_eq!(choose(&missing, &index, &features, &[], "zfs").add, ["ext4"]);
    }
}
