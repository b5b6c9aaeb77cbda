//! What a kernel module is, and whether a given kernel would take it.
//!
//! Everything here works on bytes and text that the caller has read: nothing opens a file, so the
//! bytes that were judged are the bytes that get installed.

mod abi;
mod check;
mod compress;
mod elf;
mod evidence;
mod inspect;
mod modinfo;
mod report;
mod signature;
mod sniff;
mod symbols;
mod target;
mod vermagic;

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;

pub use abi::{crcs_from_symvers, exports_of};
pub use check::{Code, Finding, Severity, Verdict, check, refusal, verdict};
pub use compress::Compression;
pub use evidence::{Evidence, evidence_paths};
pub use inspect::{Inspection, inspect, open};
pub use report::{Report, text};
pub use target::{
    Abi, Lockdown, Target, lockdown_from, module_name, names_from_builtin, names_from_dep, sig_enforce_from_cmdline,
};
pub use vermagic::Vermagic;

use crate::error::{Error, Kind};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The module's name, as the kernel and modprobe know it.
pub const NAME: &str = "amneziawg";

/// Bounds on what is read, so that a hostile or mistaken file costs neither memory nor time.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Largest file accepted as given, in bytes.
    pub file: u64,
    /// Largest module after decompression, in bytes.
    pub uncompressed: u64,
    /// Largest growth by decompression; small files may always grow to `RATIO_FLOOR`.
    pub ratio: u64,
}

/// Largest module file that is fetched, taken out of something or put into something, in bytes.
pub const LARGEST_FILE: u64 = 16 << 20;

/// Any file may unpack to this much, whatever its ratio: tiny modules compress very well.
pub const RATIO_FLOOR: u64 = 4 << 20;

impl Default for Limits {
    fn default() -> Self {
        Limits { file: 64 << 20, uncompressed: 64 << 20, ratio: 100 }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Machine {
    #[serde(rename = "x86_64")]
    X86_64,
    Aarch64,
    /// ELF machine number of an architecture this program does not install on.
    Other(u16),
}

impl Machine {
    pub(crate) fn from_elf(number: u16) -> Machine {
        match number {
            object::elf::EM_X86_64 => Machine::X86_64,
            object::elf::EM_AARCH64 => Machine::Aarch64,
            other => Machine::Other(other),
        }
    }

    /// From `uname -m`; `None` for an architecture this program does not know.
    pub fn from_uname(name: &str) -> Option<Machine> {
        match name.trim() {
            "x86_64" => Some(Machine::X86_64),
            "aarch64" => Some(Machine::Aarch64),
            _ => None,
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use object::elf;
        match *self {
            Machine::X86_64 => f.write_str("x86_64"),
            Machine::Aarch64 => f.write_str("aarch64"),
            Machine::Other(elf::EM_RISCV) => f.write_str("riscv"),
            Machine::Other(elf::EM_PPC64) => f.write_str("ppc64"),
            Machine::Other(elf::EM_S390) => f.write_str("s390"),
            Machine::Other(elf::EM_LOONGARCH) => f.write_str("loongarch"),
            Machine::Other(number) => write!(f, "ELF machine {number}"),
        }
    }
}

/// Module names are compared as the kernel does, where `-` and `_` are one.
pub(crate) fn normal(name: &str) -> String {
    name.replace('-', "_")
}

fn bad(message: impl Into<String>) -> Error {
    Error::new(Kind::Artifact, message)
}

/// The remedy for a file that was cut or altered on its way here.
const FETCH_AGAIN: &str = "fetch the file again and compare its sha256 with the publisher's";
