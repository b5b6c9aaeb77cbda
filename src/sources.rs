//! What modules can be had: every source that the configuration allows is asked, and what it has is fetched,
//! inspected and listed among the facts.

mod bundle;
mod catalog;

use std::collections::BTreeMap;

use crate::config::{Config, ModuleSource};
use crate::error::{Error, Kind, Result};
use crate::facts::{Candidate, Facts, Offer, Reach, image};
use crate::fetch;
use crate::host::Host;
use crate::module;

/// The bytes of every module that was inspected, by the SHA-256 of the uncompressed module.
pub type Modules = BTreeMap<String, Vec<u8>>;

pub use bundle::unpack as unpack_bundle;

/// Asks the sources, and adds what they have to the facts. `new`: nothing is installed here yet.
///
/// # Errors
/// A module that was named (file, URL) and cannot be read, or is none; a catalog that is not what it should be,
/// where an installation is only begun. A source that has nothing is no error.
pub fn ask(host: &Host, config: &Config, reach: Reach, facts: &mut Facts, new: bool) -> Result<Modules> {
    let mut modules = Modules::new();
    facts.offers.clear();
    let source = config.module.source;
    if let Some((words, bytes)) = named(host, config, reach, facts)? {
        let inspection = inspect(config, &words, &bytes)?;
        modules.insert(inspection.uncompressed_sha256.clone(), bytes);
        facts.offers.push(Offer::of(source, vec![Candidate { source: words, inspection }]));
    }
    if facts.os.id != "alpine" {
        return Ok(modules);
    }
    let asked = |one: ModuleSource| source == one || source == ModuleSource::Auto;
    if asked(ModuleSource::Bundle) {
        let offer = bundle::offer(host, config, facts, &mut modules);
        facts.offers.push(offer);
    }
    if asked(ModuleSource::Image) {
        let reference = config.container.image.to_string();
        let (offer, bytes) = image::offer(host, facts.engine.image.as_ref(), &reference, &facts.arch);
        for (candidate, bytes) in offer.modules.iter().zip(bytes) {
            modules.insert(candidate.inspection.uncompressed_sha256.clone(), bytes);
        }
        facts.offers.push(offer);
    }
    if asked(ModuleSource::Catalog) {
        let offer = catalog::offer(host, config, reach, facts, new, &mut modules)?;
        facts.offers.push(offer);
    }
    if asked(ModuleSource::Build) {
        facts.offers.extend(built_before(host, &mut modules));
    }
    // What is not even configured is said last.
    let unset = |o: &Offer| match o.source {
        ModuleSource::Bundle => config.bundle.path.is_none(),
        ModuleSource::Catalog => config.module.catalog.url.is_none(),
        _ => false,
    };
    facts.offers.sort_by_key(unset);
    Ok(modules)
}

/// Where a module that was compiled here is kept.
pub fn built(release: &str) -> String {
    format!("{}/built/{release}/amneziawg.ko", image::CACHE)
}

/// Modules that were compiled here by an earlier run, or by one that was cut off.
fn built_before(host: &Host, modules: &mut Modules) -> Option<Offer> {
    let mut found = Vec::new();
    for release in host.names(format!("{}/built", image::CACHE)) {
        let bytes = host.read(built(&release)).unwrap_or_default();
        // What is no whole module is compiled once more.
        if let Ok(inspection) = module::inspect(&bytes, &module::Limits::default())
            && inspection.vermagic.release == release
        {
            modules.insert(inspection.uncompressed_sha256.clone(), bytes);
            found.push(Candidate { source: "a build on this host".into(), inspection });
        }
    }
    (!found.is_empty()).then(|| Offer::of(ModuleSource::Build, found))
}

fn inspect(config: &Config, source: &str, bytes: &[u8]) -> Result<module::Inspection> {
    let inspection = module::inspect(bytes, &module::Limits::default()).map_err(|mut e| {
        e.message = format!("the module from {source} cannot be used: {}", e.message);
        e
    })?;
    match config.module.sha256.as_ref().map(ToString::to_string) {
        Some(wanted) if wanted != inspection.sha256 => {
            Err(Error::new(Kind::Artifact, format!("the module from {source} is not the one that was asked for"))
                .cause(format!("its SHA-256 is {}, module.sha256 is {wanted}", inspection.sha256))
                .remedy("check the file, or correct module.sha256"))
        }
        _ => Ok(inspection),
    }
}

/// The module that the configuration names by path or address.
fn named(host: &Host, config: &Config, reach: Reach, facts: &Facts) -> Result<Option<(String, Vec<u8>)>> {
    let (module, installed) = (&config.module, &facts.modules.amneziawg);
    let here = match module.source {
        // A file that was used and tidied away since is not missed: the installed one counts.
        ModuleSource::File => module.path.as_ref().is_some_and(|path| !host.exists(path)) && !installed.is_empty(),
        ModuleSource::Url => {
            let is_it = |sha256: &str| installed.values().any(|m| m.sha256 == sha256 && m.indexed);
            reach != Reach::Network || module.sha256.as_ref().is_some_and(|sha256| is_it(sha256))
        }
        _ => true,
    };
    if here { Ok(None) } else { fetch::named_module(host, module) }
}
