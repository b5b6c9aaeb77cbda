//! Whether a kernel would take a module, finding by finding.

use super::inspect::Inspection;
use super::symbols::{Few, symbols};
use super::target::{Lockdown, Target};
use super::{NAME, bad, normal};
use crate::error::Error;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing, changes nothing.
    Note,
    /// Something could not be checked, or is unusual.
    Warning,
    /// The kernel would refuse the module, or it is the wrong one.
    Error,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    Machine,
    Name,
    Alias,
    Release,
    Vermagic,
    VermagicUnknown,
    Structure,
    Versions,
    Crc,
    CrcPartial,
    CrcUnknown,
    Symbol,
    Dependency,
    DependencyUnknown,
    Signature,
    Denied,
    License,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    pub severity: Severity,
    pub code: Code,
    pub message: String,
    pub remedy: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Compatible,
    Incompatible,
}

/// All reasons against the module at once, worst first.
pub fn check(module: &Inspection, target: &Target) -> Vec<Finding> {
    let mut findings = Findings(Vec::new());
    identity(module, target, &mut findings);
    if module.machine == target.machine {
        build(module, target, &mut findings);
        symbols(module, target, &mut findings);
        dependencies(module, target, &mut findings);
        signature(module, target, &mut findings);
    }
    findings.0.sort_by_key(|f| std::cmp::Reverse(f.severity));
    findings.0
}

pub fn verdict(findings: &[Finding]) -> Verdict {
    match findings.iter().any(|f| f.severity == Severity::Error) {
        true => Verdict::Incompatible,
        false => Verdict::Compatible,
    }
}

/// The findings as the one error that refuses the module; `None` when it is compatible.
pub fn refusal(module: &Inspection, target: &Target, findings: &[Finding]) -> Option<Error> {
    let errors: Vec<&Finding> = findings.iter().filter(|f| f.severity == Severity::Error).collect();
    let first = errors.first()?;
    let causes: Vec<&str> = errors.iter().map(|f| f.message.as_str()).collect();
    let message =
        format!("module {} ({}) does not fit kernel {}", module.name, module.vermagic.release, target.release);
    Some(bad(message).cause(causes.join("; ")).remedy(first.remedy.clone()))
}

pub(super) struct Findings(Vec<Finding>);

impl Findings {
    pub(super) fn add(
        &mut self,
        severity: Severity,
        code: Code,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.0.push(Finding { severity, code, message: message.into(), remedy: remedy.into() });
    }

    pub(super) fn error(&mut self, code: Code, message: impl Into<String>, remedy: impl Into<String>) {
        self.add(Severity::Error, code, message, remedy);
    }
}

pub(super) fn built_for(target: &Target) -> String {
    format!("take the module built for {} on {}", target.release, target.machine)
}

/// Is it the module that is wanted, for this kind of machine?
fn identity(module: &Inspection, target: &Target, findings: &mut Findings) {
    if module.machine != target.machine {
        let message = format!("it is built for {}, the machine is {}", module.machine, target.machine);
        findings.error(Code::Machine, message, built_for(target));
    }
    if normal(&module.name) != normal(&target.name) {
        let message = format!("it is the module `{}`, not `{}`", module.name, target.name);
        findings.error(Code::Name, message, format!("name the {}.ko file", target.name));
    } else if target.name == NAME {
        let alias = format!("rtnl-link-{NAME}");
        if !module.aliases.contains(&alias) {
            let message = format!("it does not provide links of kind {NAME} (no alias {alias})");
            findings.error(Code::Alias, message, "take a module built from amneziawg-linux-kernel-module");
        }
    }
    match &module.srcversion {
        Some(srcversion) if target.denied_srcversions.contains(srcversion) => {
            let message = format!("srcversion {srcversion} is on the list of denied builds");
            findings.error(Code::Denied, message, "take another build, or change module.denied_srcversions");
        }
        None if !target.denied_srcversions.is_empty() => {
            let message = "it has no srcversion, so it cannot be held against the denied builds";
            findings.add(Severity::Warning, Code::Denied, message, "take a build with a srcversion");
        }
        _ => {}
    }
}

/// Was it built for this very kernel?
fn build(module: &Inspection, target: &Target, findings: &mut Findings) {
    if module.vermagic.release != target.release {
        let message = format!("it is built for release {}, the kernel is {}", module.vermagic.release, target.release);
        findings.error(Code::Release, message, built_for(target));
    }
    let Some(kernel) = &target.vermagic else {
        let message = "its build flags could not be compared: no module of the kernel itself was found";
        let remedy = format!("check that /lib/modules/{} is complete", target.release);
        return findings.add(Severity::Warning, Code::VermagicUnknown, message, remedy);
    };
    for difference in module.vermagic.flag_differences(kernel) {
        let message = format!("vermagic differs: {difference}");
        findings.error(Code::Vermagic, message, "build it with the kernel's own configuration and headers");
    }
    if let Some(size) = target.struct_size.filter(|size| *size != module.struct_size) {
        let message = format!("its module structure has {} bytes, the kernel's has {size}", module.struct_size);
        findings.error(Code::Structure, message, "build it with the kernel's own configuration and headers");
    }
    let free = ["GPL", "GPL v2", "GPL and additional rights", "Dual BSD/GPL", "Dual MIT/GPL", "Dual MPL/GPL"];
    if !module.license.as_deref().is_some_and(|l| free.contains(&l)) {
        let license = module.license.as_deref().unwrap_or("none");
        let message = format!("its licence ({license}) bars it from the symbols that the kernel exports under the GPL");
        findings.error(Code::License, message, "take a module built from amneziawg-linux-kernel-module");
    }
}

fn dependencies(module: &Inspection, target: &Target, findings: &mut Findings) {
    if module.depends.is_empty() {
        return;
    }
    let Some(available) = &target.modules else {
        let message = format!("its dependencies were not checked: {}", module.depends.join(", "));
        let remedy = format!("check that /lib/modules/{}/modules.dep exists", target.release);
        return findings.add(Severity::Warning, Code::DependencyUnknown, message, remedy);
    };
    let missing: Vec<String> =
        module.depends.iter().filter(|name| !available.contains(&normal(name))).cloned().collect();
    if !missing.is_empty() {
        let message = format!("it depends on modules that the kernel does not have: {}", Few(&missing));
        findings.error(Code::Dependency, message, "take a module whose dependencies the kernel package carries");
    }
}

/// Would the kernel's signature policy let it in?
fn signature(module: &Inspection, target: &Target, findings: &mut Findings) {
    let trusted = module.signer.as_ref().is_some_and(|signer| target.signers.contains(signer));
    if trusted {
        return;
    }
    let what = match (&module.signer, module.signed) {
        (Some(signer), _) => format!("it is signed with a key ({signer}) that signed none of the kernel's own modules"),
        (None, true) => "it is signed with a key that cannot be read".to_owned(),
        (None, false) => "it is not signed".to_owned(),
    };
    let strict = match (target.sig_enforce, target.lockdown) {
        (true, _) => Some("the kernel enforces module signatures"),
        (false, Lockdown::Integrity | Lockdown::Confidentiality) => Some("the kernel is locked down"),
        (false, Lockdown::None) => None,
    };
    match strict {
        // A key that is not the kernel's own may still be enrolled: only loading it can tell.
        Some(why) if module.signed => {
            let message = format!("{what} and {why}: it loads only if that key is enrolled");
            findings.error(
                Code::Signature,
                message,
                "use the userspace mode, or sign with a key that the kernel trusts",
            );
        }
        Some(why) => {
            let message = format!("{what} and {why}, so it would be refused");
            let remedy = "use the userspace mode, or boot without module.sig_enforce and lockdown";
            findings.error(Code::Signature, message, remedy);
        }
        None => {
            let message = format!("{what}; the kernel takes it and marks itself tainted");
            findings.add(Severity::Note, Code::Signature, message, "nothing to do");
        }
    }
}
