//! The kernel that a module is meant for, as far as it is known.

use super::abi::Crcs;
use super::evidence::Evidence;
use super::vermagic::Vermagic;
use super::{Machine, NAME, abi, normal};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    pub release: String,
    pub machine: Machine,
    /// The name that the module must have.
    pub name: String,
    /// As the kernel's own modules carry it.
    pub vermagic: Option<Vermagic>,
    /// Size of `struct module` in the kernel's own modules.
    pub struct_size: Option<u64>,
    pub abi: Option<Abi>,
    /// Names of the modules that can be resolved, built in or loadable.
    pub modules: Option<BTreeSet<String>>,
    pub lockdown: Lockdown,
    pub sig_enforce: bool,
    /// Certificates that signed the kernel's own modules.
    pub signers: BTreeSet<String>,
    pub denied_srcversions: BTreeSet<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Abi {
    #[serde(with = "abi::hex")]
    pub crcs: Crcs,
    /// True when a symbol that is not listed is not exported (`Module.symvers`).
    pub complete: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lockdown {
    #[default]
    None,
    Integrity,
    Confidentiality,
}

impl Target {
    /// A kernel of which only the release is known; the fields say the rest.
    pub fn new(release: impl Into<String>, machine: Machine) -> Target {
        Target {
            release: release.into(),
            machine,
            name: NAME.to_owned(),
            vermagic: None,
            struct_size: None,
            abi: None,
            modules: None,
            lockdown: Lockdown::None,
            sig_enforce: false,
            signers: BTreeSet::new(),
            denied_srcversions: BTreeSet::new(),
        }
    }

    /// What the kernel's own modules show: vermagic, structure size, signers and, in part, CRCs.
    pub fn with_evidence(mut self, evidence: Evidence) -> Target {
        self.vermagic = evidence.vermagic;
        self.struct_size = evidence.struct_size;
        self.signers = evidence.signers;
        if self.abi.is_none() && !evidence.crcs.is_empty() {
            self.abi = Some(Abi { crcs: evidence.crcs, complete: false });
        }
        self
    }

    /// All that the kernel exports, out of the headers' `Module.symvers`.
    pub fn with_symvers(mut self, crcs: Crcs) -> Target {
        self.abi = Some(Abi { crcs, complete: true });
        self
    }
}

/// Module names out of `modules.dep`.
pub fn names_from_dep(text: &str) -> BTreeSet<String> {
    text.lines().filter_map(|line| module_name(line.split_once(':')?.0)).collect()
}

/// Module names out of `modules.builtin`.
pub fn names_from_builtin(text: &str) -> BTreeSet<String> {
    text.lines().filter_map(module_name).collect()
}

/// The level in brackets: `none [integrity] confidentiality`. A kernel without lockdown has no such file.
pub fn lockdown_from(text: &str) -> Lockdown {
    let active = text.split_once('[').and_then(|(_, rest)| rest.split_once(']')).map(|(level, _)| level);
    match active {
        Some("integrity") => Lockdown::Integrity,
        Some("confidentiality") => Lockdown::Confidentiality,
        _ => Lockdown::None,
    }
}

/// Whether a kernel command line asks for signed modules only; the last word counts.
pub fn sig_enforce_from_cmdline(text: &str) -> bool {
    let mut wanted = text.split_ascii_whitespace().filter_map(|word| {
        let (key, value) = word.split_once('=').unwrap_or((word, "1"));
        (key == "module.sig_enforce").then_some(matches!(value, "1" | "y" | "Y" | "on"))
    });
    wanted.next_back().unwrap_or(false)
}

/// `kernel/net/ipv4/udp_tunnel.ko.gz` is `udp_tunnel`.
pub fn module_name(path: &str) -> Option<String> {
    let file = path.trim().rsplit('/').next()?;
    let (stem, extension) = file.split_once(".ko")?;
    let known = ["", ".gz", ".xz", ".zst"].contains(&extension);
    (known && !stem.is_empty()).then(|| normal(stem))
}
