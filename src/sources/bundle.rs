//! The offline bundle as a source.

use super::Modules;
use crate::bundle;
use crate::config::{Config, ModuleSource};
use crate::error::Result;
use crate::facts::{Candidate, Facts, Offer};
use crate::host::Host;
use crate::module;

/// Unpacks the bundle that the configuration names, all of it verified; where its file is gone, what an
/// earlier run has unpacked counts. One that is configured no more is forgotten.
pub fn unpack(host: &Host, config: &Config) -> Result<()> {
    match &config.bundle.path {
        None => host.remove_tree(bundle::CACHE),
        Some(path) if !host.exists(path) && bundle::opened(host).is_some() => Ok(()),
        Some(path) => {
            let trust = bundle::Trust::of(config);
            bundle::open(host, path, &trust, &mut *host.progress("unpacking the bundle")).map(drop)
        }
    }
}

/// What it has.
pub fn offer(host: &Host, config: &Config, facts: &Facts, all: &mut Modules) -> Offer {
    let source = ModuleSource::Bundle;
    if config.bundle.path.is_none() {
        return Offer::nothing(source, "none was given (--bundle)");
    }
    let Some(opened) = bundle::opened(host) else {
        return Offer { open: true, ..Offer::nothing(source, "it was not unpacked yet") };
    };
    let mut offer = Offer::of(source, Vec::new());
    for listed in &opened.manifest.modules {
        let bytes = opened.module(&listed.release).and_then(|path| host.read(path)).unwrap_or_default();
        match module::inspect(&bytes, &module::Limits::default()) {
            Ok(i) if i.name == module::NAME && i.machine.to_string() == facts.arch => {
                all.insert(i.uncompressed_sha256.clone(), bytes);
                offer.modules.push(Candidate { source: format!("{} in the bundle", listed.member), inspection: i });
            }
            Ok(i) => offer.problem = Some(format!("{}: it is {} for {}", listed.member, i.name, i.machine)),
            Err(e) => offer.problem = Some(format!("{}: {}", listed.member, e.message)),
        }
    }
    if offer.modules.is_empty() && offer.problem.is_none() {
        offer.problem = Some("it holds no module".into());
    }
    offer
}
