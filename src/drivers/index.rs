//! The indexes of one kernel's modules, as depmod and the kernel's build write them.

use std::collections::{BTreeMap, BTreeSet};

use glob::Pattern;

/// The texts in `/lib/modules/<release>/` of that name; those that are not there may be empty.
#[derive(Debug, Clone, Default)]
pub struct Texts {
    pub alias: String,
    pub dep: String,
    pub builtin: String,
    pub builtin_modinfo: String,
    pub softdep: String,
}

/// What can be asked of a kernel. Module names are compared with `_` for `-`, as kmod does it.
#[derive(Debug, Default)]
pub struct Index<'a> {
    /// Path and dependencies of each module.
    modules: BTreeMap<String, (&'a str, Vec<&'a str>)>,
    builtin: BTreeSet<String>,
    aliases: Vec<(&'a str, &'a str)>,
    soft: BTreeMap<String, Vec<&'a str>>,
}

/// Who answers to an alias.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    pub builtin: bool,
    pub modules: BTreeSet<String>,
}

impl<'a> Index<'a> {
    pub fn new(texts: &'a Texts) -> Index<'a> {
        let dep = texts.dep.lines().filter_map(|line| {
            let (path, needs) = line.split_once(':')?;
            Some((module_name(path)?, (path, needs.split_whitespace().collect())))
        });
        // NUL-separated `module.key=value`.
        let builtin = texts.builtin_modinfo.split('\0').filter_map(|entry| {
            let (key, value) = entry.split_once('=')?;
            Some((value, key.strip_suffix(".alias")?))
        });
        let modular = texts.alias.lines().filter_map(|line| line.strip_prefix("alias ")?.trim_end().rsplit_once(' '));
        let mut soft: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for line in texts.softdep.lines() {
            let mut words = line.split_whitespace();
            let (Some("softdep"), Some(module)) = (words.next(), words.next()) else { continue };
            let mut before = false;
            for word in words {
                match word {
                    "pre:" => before = true,
                    "post:" => before = false,
                    name if before => soft.entry(normal(module)).or_default().push(name),
                    _ => {}
                }
            }
        }
        Index {
            modules: dep.collect(),
            builtin: texts.builtin.lines().filter_map(module_name).collect(),
            aliases: modular.chain(builtin).collect(),
            soft,
        }
    }

    /// Neither modules nor built-in drivers are known.
    pub fn is_empty(&self) -> bool {
        self.modules.is_empty() && self.builtin.is_empty()
    }

    pub fn is_builtin(&self, name: &str) -> bool {
        self.builtin.contains(&normal(name))
    }

    /// Where a module lies below `/lib/modules/<release>/`.
    pub fn path(&self, name: &str) -> Option<&'a str> {
        self.modules.get(&normal(name)).map(|(path, _)| *path)
    }

    /// The paths of all modules.
    pub fn paths(&self) -> impl Iterator<Item = &'a str> {
        self.modules.values().map(|(path, _)| *path)
    }

    /// A built-in driver or module of that name, or those that have it as an alias.
    pub fn find(&self, name: &str) -> Found {
        if self.is_builtin(name) {
            return Found { builtin: true, modules: BTreeSet::new() };
        }
        match self.path(name) {
            Some(_) => Found { builtin: false, modules: [normal(name)].into() },
            None => self.answering(name),
        }
    }

    /// All whose alias patterns a modalias matches.
    pub fn answering(&self, alias: &str) -> Found {
        let alias = normal_pattern(alias);
        let mut found = Found::default();
        for (pattern, module) in &self.aliases {
            if !matches(pattern, &alias) {
                continue;
            }
            if self.is_builtin(module) {
                found.builtin = true;
            } else if self.path(module).is_some() {
                found.modules.insert(normal(module));
            }
        }
        found
    }

    /// The modules that one needs, by name, and nothing that is built in; itself last.
    pub fn with_dependencies(&self, name: &str) -> Vec<String> {
        let (mut order, mut seen) = (Vec::new(), BTreeSet::new());
        self.visit(&normal(name), &mut seen, &mut order);
        order
    }

    fn visit(&self, name: &str, seen: &mut BTreeSet<String>, order: &mut Vec<String>) {
        let Some((_, needs)) = self.modules.get(name) else { return };
        if !seen.insert(name.to_string()) {
            return;
        }
        needs.iter().filter_map(|path| module_name(path)).for_each(|dep| self.visit(&dep, seen, order));
        order.push(name.to_string());
    }

    /// What a module asks to have loaded before it, as names or aliases.
    pub fn soft_dependencies(&self, name: &str) -> &[&'a str] {
        self.soft.get(&normal(name)).map_or(&[], Vec::as_slice)
    }
}

/// `virtio_blk` for `kernel/drivers/block/virtio-blk.ko.gz`; nothing for what is no module.
pub fn module_name(path: &str) -> Option<String> {
    let file = path.trim().rsplit('/').next()?;
    let (name, rest) = file.split_once(".ko")?;
    matches!(rest, "" | ".gz" | ".xz" | ".zst").then(|| normal(name))
}

pub fn normal(name: &str) -> String {
    name.replace('-', "_")
}

/// As kmod does it: `_` for `-`, but not inside of brackets, where it makes a range.
fn normal_pattern(text: &str) -> String {
    let mut depth = 0u32;
    let one = |c| {
        match c {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if c == '-' && depth == 0 { '_' } else { c }
    };
    text.chars().map(one).collect()
}

/// fnmatch without flags: `*` runs over any character.
fn matches(pattern: &str, alias: &str) -> bool {
    // Nearly all fail here, which spares making a pattern of them.
    let literal = pattern.find(['*', '?', '[', '-', '\\']).unwrap_or(pattern.len());
    if !alias.starts_with(&pattern[..literal]) {
        return false;
    }
    let mut pattern = normal_pattern(pattern);
    // To `glob` two stars are something else.
    while pattern.contains("**") {
        pattern = pattern.replace("**", "*");
    }
    Pattern::new(&pattern).is_ok_and(|p| p.matches(alias))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_modules() {
        assert_eq!(module_name("kernel/drivers/block/virtio-blk.ko.gz").as_deref(), Some("virtio_blk"));
        assert_eq!(module_name("kernel/fs/ext4/ext4.ko").as_deref(), Some("ext4"));
        for other in ["modules.dep", "kernel/fs/ext4", "x.ko.bak", "x.konf", ""] {
            assert_eq!(module_name(other), None, "{other}");
        }
    }

    #[test]
    fn patterns_of_the_kernel() {
        let device = "pci:v00001AF4d00001042sv00001AF4sd00001100bc01sc00i00";
        assert!(matches("pci:v00001AF4d*sv*sd*bc*sc*i*", device));
        assert!(!matches("pci:v00001AF5d*sv*sd*bc*sc*i*", device));
        assert!(!matches("pci:v*d*sv*sd*bc01sc06i01*", device));
        assert!(matches("pci:v*d*sv*sd*bc01sc06i01*", "pci:v00008086d00002922sv00001AF4sd00001100bc01sc06i01"));
        assert!(matches("usb:v0BC2p[2-3]3[0-9A]0d*", "usb:v0BC2p2390d0100dc00"));
        assert!(!matches("usb:v0BC2p[2-3]3[0-9A]0d*", "usb:v0BC2p43B0d0100dc00"));
        assert!(matches("of:N*T*Carm,pl18?C*", "of:NmmcT(null)Carm,pl180Carm,primecell"));
        assert!(matches("acpi*:PNP0C14:**", "acpi:PNP0C14:"));
        assert!(matches("fs-ext4", &normal_pattern("fs-ext4")));
        assert!(matches("crypto-crc32c", "crypto_crc32c"));
        assert!(!matches("[", "x"));
    }

    #[test]
    fn dependencies_come_first() {
        let texts = Texts {
            dep: "kernel/a.ko.gz: kernel/b-b.ko.gz kernel/c.ko.gz\nkernel/b-b.ko.gz: kernel/c.ko.gz\nkernel/c.ko.gz:\n\
                loop.ko: pool.ko\npool.ko: loop.ko\n"
                .into(),
            ..Texts::default()
        };
        let index = Index::new(&texts);
        assert_eq!(index.with_dependencies("a"), ["c", "b_b", "a"]);
        assert_eq!(index.with_dependencies("loop"), ["pool", "loop"]);
        assert!(index.with_dependencies("unknown").is_empty());
        assert_eq!(index.path("b-b"), Some("kernel/b-b.ko.gz"));
    }

    #[test]
    fn built_in_and_soft() {
        let texts = Texts {
            alias: "# Aliases extracted from modules themselves.\nalias crypto-crc32c crc32c_generic\n".into(),
            dep: "kernel/crypto/crc32c_generic.ko.gz:\n".into(),
            builtin: "kernel/fs/ext4/ext4.ko\nkernel/drivers/scsi/sd_mod.ko\n".into(),
            builtin_modinfo: "ext4.license=GPL\0ext4.alias=fs-ext3\0sd_mod.alias=scsi:t-0x00*\0".into(),
            softdep: "# Soft\nsoftdep ext4 pre: crypto-crc32c a-b post: later\n".into(),
        };
        let index = Index::new(&texts);
        assert!(index.find("ext4").builtin && index.find("fs-ext3").builtin);
        assert!(index.answering("scsi:t-0x00").builtin);
        assert_eq!(index.find("crypto-crc32c").modules, ["crc32c_generic".to_string()].into());
        assert_eq!(index.soft_dependencies("ext4"), ["crypto-crc32c", "a-b"]);
        assert_eq!(index.find("nothing"), Found::default());
    }
}
