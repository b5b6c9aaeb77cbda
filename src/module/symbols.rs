//! The symbols of a module, one by one, against those of a kernel.

use super::check::{Code, Findings, Severity, built_for};
use super::inspect::Inspection;
use super::target::{Abi, Target};
use std::fmt;

/// Does each symbol that it needs exist, with the same CRC?
pub(super) fn symbols(module: &Inspection, target: &Target, findings: &mut Findings) {
    let versioned = target.vermagic.as_ref().unwrap_or(&module.vermagic).has("modversions");
    if versioned && module.imports.is_empty() {
        let message = "it carries no symbol versions, so the kernel would refuse to load it";
        findings.error(Code::Versions, message, "build it against the kernel's Module.symvers");
    }
    let Some(abi) = &target.abi else {
        let message = format!(
            "the CRCs of its {} symbols were not checked: nothing is known of the kernel's",
            module.imports.len()
        );
        return findings.add(Severity::Warning, Code::CrcUnknown, message, SYMVERS);
    };
    let crc_of = |symbol: &String| abi.crcs.get(symbol).copied();
    let mut differing: Vec<(&String, &u32, u32)> = module
        .imports
        .iter()
        .filter_map(|(symbol, crc)| Some((symbol, crc, crc_of(symbol).filter(|known| known != crc)?)))
        .collect();
    // The kernel looks at this one first, and it tells of another configuration rather than another function.
    differing.sort_by_key(|(symbol, ..)| symbol.as_str() != "module_layout");
    let differing: Vec<String> = differing
        .into_iter()
        .map(|(symbol, crc, known)| format!("{symbol} (module {crc:#010x}, kernel {known:#010x})"))
        .collect();
    if !differing.is_empty() {
        let message = format!(
            "{} of its {} symbols have another CRC in the kernel: {}",
            differing.len(),
            module.imports.len(),
            Few(&differing)
        );
        findings.error(Code::Crc, message, built_for(target));
    }
    let unknown = |symbol: &&String| !abi.crcs.contains_key(*symbol) && !module.weak.contains(*symbol);
    let unknown: Vec<String> = module.imports.keys().chain(&module.unversioned).filter(unknown).cloned().collect();
    if !unknown.is_empty() {
        unresolved(module, abi, &unknown, target, findings);
    }
}

const SYMVERS: &str = "with linux-lts-dev installed, or more of the kernel's modules in place, all can be compared";

fn unresolved(module: &Inspection, abi: &Abi, unknown: &[String], target: &Target, findings: &mut Findings) {
    let total = module.imports.len() + module.unversioned.len();
    if abi.complete {
        let message = format!("{} of its {total} symbols do not exist in the kernel: {}", unknown.len(), Few(unknown));
        return findings.error(Code::Symbol, message, built_for(target));
    }
    let message = format!(
        "{} of its {total} symbols were compared; the kernel's CRC of the rest is not known: {}",
        total - unknown.len(),
        Few(unknown)
    );
    findings.add(Severity::Warning, Code::CrcPartial, message, SYMVERS);
}

/// At most five of a list, and how many more there are.
pub(super) struct Few<'a>(pub(super) &'a [String]);

impl fmt::Display for Few<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 5;
        let shown = self.0.get(..SHOWN).unwrap_or(self.0);
        f.write_str(&shown.join(", "))?;
        match self.0.len() - shown.len() {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}
