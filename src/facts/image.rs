//! What was found when the container image was looked into: kept beside the receipt, by the image's id.

use serde::{Deserialize, Serialize};

use super::{Candidate, Image, Offer};
use crate::config::ModuleSource;
use crate::host::{Host, files::sha256};
use crate::module;

/// Everything here can be fetched or made anew.
pub const CACHE: &str = "/var/lib/awg-install/cache";

/// What an image holds that matters.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Contents {
    pub schema: u32,
    pub programs: Vec<String>,
    /// What its `awg --version` says.
    #[serde(default)]
    pub tools: Option<String>,
    /// `/etc/amneziawg-kernel-version.txt`: an upstream version such as `6.12.50`.
    pub version: Option<String>,
    /// Module files that were taken out of it.
    pub modules: Vec<Kept>,
    /// Why there are not more of them.
    pub problem: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// Where it is in the image.
    pub path: String,
    pub sha256: String,
}

/// The directory for an image's contents.
pub fn place(id: &str) -> String {
    format!("{CACHE}/image/{}", id.trim_start_matches("sha256:"))
}

/// What an earlier look has found; nothing where there was none.
pub fn contents(host: &Host, id: &str) -> Option<Contents> {
    let contents: Contents = serde_json::from_slice(&host.read(format!("{}/contents.json", place(id)))?).ok()?;
    (contents.schema == super::SCHEMA).then_some(contents)
}

/// The generation of the netlink interface that tools of this version speak: those before v3.0 cannot
/// configure a module of the third generation (amneziawg-tools v3.0, amneziawg-linux-kernel-module
/// v3.0.20260730). What is older is told as 2, which has no other tools than 1.
pub fn generation(version: &str) -> Option<u32> {
    let word = version.split_whitespace().find_map(|w| w.strip_prefix('v'))?;
    let major: u32 = word.split('.').next()?.parse().ok()?;
    Some(if major >= 3 { major } else { 2 })
}

/// The modules that the image brings along, and their bytes. They count by the image's id and digest, not
/// by its tag: what was looked into is what they belong to.
pub fn offer(host: &Host, image: Option<&Image>, reference: &str, arch: &str) -> (Offer, Vec<Vec<u8>>) {
    let source = ModuleSource::Image;
    let Some((image, contents)) = image.and_then(|i| Some((i, contents(host, &i.id)?))) else {
        return (Offer { open: true, ..Offer::nothing(source, "it was not looked into yet") }, Vec::new());
    };
    let by = image.digest.as_deref().unwrap_or(&image.id);
    let (mut modules, mut all) = (Vec::new(), Vec::new());
    let mut problem = contents.problem.clone();
    for kept in &contents.modules {
        let read = host.read(format!("{}/{}", place(&image.id), kept.sha256)).filter(|b| sha256(b) == kept.sha256);
        let Some(bytes) = read else {
            // Something has cleaned up here: it has to be looked into once more.
            return (Offer { open: true, ..Offer::nothing(source, "what was taken out of it is gone") }, Vec::new());
        };
        match module::inspect(&bytes, &module::Limits::default()) {
            Err(e) => problem = Some(format!("{} in {reference}: {}", kept.path, e.message)),
            Ok(i) if i.name != module::NAME => {
                problem = Some(format!("{} in {reference} is a module called {}", kept.path, i.name));
            }
            Ok(i) if i.machine.to_string() != arch => {
                problem = Some(format!("{} in {reference} is for {}, this machine is {arch}", kept.path, i.machine));
            }
            Ok(inspection) => {
                let says = contents.version.as_ref().filter(|v| !inspection.vermagic.release.starts_with(v.as_str()));
                if let Some(says) = says {
                    problem = Some(format!(
                        "the version file in {reference} says {says}, its module is for {}",
                        inspection.vermagic.release
                    ));
                }
                modules.push(Candidate { source: format!("{} in the image {by}", kept.path), inspection });
                all.push(bytes);
            }
        }
    }
    if modules.is_empty() && problem.is_none() {
        problem = Some(format!("{reference} holds no amneziawg.ko"));
    }
    (Offer { problem, ..Offer::of(source, modules) }, all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generations_of_tools() {
        // As the programs print them.
        assert_eq!(generation("amneziawg-tools v1.0.20250903 - https://example.org"), Some(2));
        assert_eq!(generation("amneziawg-tools v3.1.20260805 - https://example.org"), Some(3));
        assert_eq!(generation("awg: not found"), None);
    }
}
