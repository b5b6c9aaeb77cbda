//! What `module inspect` says.

use super::check::{Finding, Severity, Verdict, verdict};
use super::compress::Compression;
use super::inspect::Inspection;
use super::target::Target;
use serde::{Deserialize, Serialize};

/// The JSON form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    pub module: Inspection,
    /// The kernel it was held against, if any.
    pub release: Option<String>,
    pub findings: Vec<Finding>,
    pub verdict: Option<Verdict>,
}

impl Report {
    /// `target` and the findings of [`super::check`] against it, or `None` to describe the module alone.
    pub fn new(module: Inspection, checked: Option<(&Target, Vec<Finding>)>) -> Report {
        match checked {
            Some((target, findings)) => {
                let verdict = Some(verdict(&findings));
                Report { module, release: Some(target.release.clone()), findings, verdict }
            }
            None => Report { module, release: None, findings: Vec::new(), verdict: None },
        }
    }
}

/// The form for people, ending in a newline.
pub fn text(report: &Report) -> String {
    let module = &report.module;
    let stated = |value: &Option<String>| value.clone().unwrap_or_else(|| "not stated".to_owned());
    let mut rows = vec![
        ("name", module.name.clone()),
        ("version", stated(&module.version)),
        ("srcversion", stated(&module.srcversion)),
        ("licence", stated(&module.license)),
        ("machine", module.machine.to_string()),
        ("vermagic", module.vermagic.text.trim_end().to_owned()),
        ("depends", list(&module.depends)),
        ("aliases", list(&module.aliases)),
        ("signature", signature(module)),
        ("imports", imports(module)),
        ("size", size(module)),
        ("sha256", module.sha256.clone()),
    ];
    if module.compression != Compression::None {
        rows.push(("unpacked", module.uncompressed_sha256.clone()));
    }
    let rows: String = rows.iter().map(|(key, value)| format!("{key:<12}{value}\n")).collect();
    rows + &judgement(report)
}

fn judgement(report: &Report) -> String {
    let (Some(release), Some(verdict)) = (&report.release, report.verdict) else {
        return String::new();
    };
    let mut out = String::new();
    for finding in &report.findings {
        let severity = match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        };
        out += &format!("\n{severity:<9}{}\n", finding.message);
        if finding.severity != Severity::Note {
            out += &format!("{:<9}{}\n", "", finding.remedy);
        }
    }
    let verdict = match verdict {
        Verdict::Compatible => "compatible",
        Verdict::Incompatible => "NOT compatible",
    };
    out + &format!("\n{verdict} with kernel {release}\n")
}

fn list(items: &[String]) -> String {
    if items.is_empty() { "none".to_owned() } else { items.join(" ") }
}

fn signature(module: &Inspection) -> String {
    match (&module.signer, module.signed) {
        (Some(signer), _) => format!("present, key {signer} (not verified here)"),
        (None, true) => "present, key unreadable".to_owned(),
        (None, false) => "none".to_owned(),
    }
}

fn imports(module: &Inspection) -> String {
    let versioned = format!("{} symbols with CRC", module.imports.len());
    match module.unversioned.len() {
        0 => versioned,
        more => format!("{versioned}, {more} without"),
    }
}

fn size(module: &Inspection) -> String {
    match module.compression {
        Compression::None => format!("{} bytes", module.size),
        packed => format!("{} bytes ({packed}), {} unpacked", module.size, module.uncompressed_size),
    }
}
