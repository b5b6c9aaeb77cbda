//! A kernel's interface without its headers: its own modules tell what they import and export.

use super::abi::{Crcs, exports};
use super::inspect::{Inspection, Parsed, unpack};
use super::target::module_name;
use super::vermagic::Vermagic;
use super::{Limits, Machine};
use crate::error::Result;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

/// What has been learnt so far. Feed it modules until it covers what is to be judged.
#[derive(Debug, Clone)]
pub struct Evidence {
    release: String,
    machine: Machine,
    pub vermagic: Option<Vermagic>,
    pub struct_size: Option<u64>,
    pub signers: BTreeSet<String>,
    pub crcs: Crcs,
    /// Symbols on which two modules disagree, so that neither is believed.
    pub conflicts: BTreeSet<String>,
}

impl Evidence {
    pub fn new(release: impl Into<String>, machine: Machine) -> Evidence {
        Evidence {
            release: release.into(),
            machine,
            vermagic: None,
            struct_size: None,
            signers: BTreeSet::new(),
            crcs: Crcs::new(),
            conflicts: BTreeSet::new(),
        }
    }

    /// Learns from one of the kernel's own modules. Those of another release or built out of tree
    /// prove nothing about this kernel and are left aside (`false`).
    pub fn add(&mut self, bytes: &[u8], limits: &Limits) -> Result<bool> {
        let (_, plain) = unpack(bytes, limits)?;
        let module = Parsed::of(&plain)?;
        let own = module.info.one("intree")?.is_some()
            && module.vermagic.release == self.release
            && module.elf.machine == self.machine;
        if !own {
            return Ok(false);
        }
        let (imports, ..) = module.imports()?;
        for (symbol, crc) in imports.into_iter().chain(exports(&module.elf)?) {
            self.learn(symbol, crc);
        }
        self.signers.extend(module.signature.and_then(|s| s.signer));
        self.vermagic.get_or_insert(module.vermagic);
        self.struct_size.get_or_insert(module.struct_size);
        Ok(true)
    }

    /// Whether nothing more can be learnt that bears on this module.
    pub fn covers(&self, module: &Inspection) -> bool {
        self.vermagic.is_some()
            && module.imports.keys().all(|s| self.crcs.contains_key(s) || self.conflicts.contains(s))
    }

    fn learn(&mut self, symbol: String, crc: u32) {
        if self.conflicts.contains(&symbol) {
            return;
        }
        match self.crcs.entry(symbol) {
            Entry::Vacant(free) => {
                free.insert(crc);
            }
            Entry::Occupied(known) if *known.get() != crc => {
                self.conflicts.insert(known.remove_entry().0);
            }
            Entry::Occupied(_) => {}
        }
    }
}

/// A kernel package has thousands of modules; what the first few hundred do not tell, the rest hardly do.
const TEACHERS: usize = 300;

/// Paths of `modules.dep` in the order in which they teach most about a VPN module: wireguard, what
/// it depends on, then the network and crypto modules, then the rest. Out-of-tree ones are left out,
/// and so is all beyond [`TEACHERS`].
pub fn evidence_paths(modules_dep: &str) -> Vec<String> {
    let rows: Vec<(&str, &str)> = modules_dep.lines().filter_map(|l| l.split_once(':')).collect();
    let rows: Vec<(&str, &str)> = rows.into_iter().filter(|(path, _)| path.starts_with("kernel/")).collect();
    let wireguard = rows.iter().find(|(path, _)| module_name(path).as_deref() == Some("wireguard"));
    let mut rank: BTreeMap<&str, u8> = BTreeMap::new();
    if let Some((path, depends)) = wireguard {
        rank.insert(path, 0);
        depends.split_ascii_whitespace().for_each(|d| _ = rank.insert(d, 1));
    }
    let near = ["kernel/drivers/net/", "kernel/net/", "kernel/crypto/", "kernel/lib/", "kernel/arch/"];
    let order = |path: &str| match rank.get(path) {
        Some(rank) => *rank,
        None => 2 + near.iter().position(|p| path.starts_with(p)).unwrap_or(near.len()) as u8,
    };
    let mut paths: Vec<&str> = rows.iter().map(|(path, _)| *path).collect();
    paths.sort_by_key(|path| (order(path), *path));
    paths.into_iter().take(TEACHERS).map(str::to_owned).collect()
}
