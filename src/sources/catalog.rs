//! The catalog as a source: what it has for the few releases that this host could run.

use super::Modules;
use crate::catalog::{Catalog, Shard, Trouble};
use crate::config::{Config, Flavour, ModuleSource, PREFERRED};
use crate::error::{Error, Kind, Result};
use crate::facts::{Candidate, Facts, KernelPackages, Offer, PackageFile, Reach};
use crate::host::Host;
use crate::module;

/// Releases that are asked for at most: each costs a host some kilobytes.
const RELEASES: usize = 4;

/// What the catalog has.
///
/// # Errors
/// A catalog that is forged, too old or spoilt ends a new installation (`new`), lest it be built on something
/// else than was meant. A host that runs is left as it is, and told.
pub fn offer(host: &Host, config: &Config, reach: Reach, facts: &Facts, new: bool, all: &mut Modules) -> Result<Offer> {
    let source = ModuleSource::Catalog;
    let Some(catalog) = Catalog::of(host, &config.module.catalog, reach) else {
        return Ok(Offer::nothing(source, "none is configured (module.catalog.url)"));
    };
    match collect(host, config, &catalog, facts, all) {
        Ok(offer) => Ok(offer),
        Err(Trouble::Unreachable(e)) => {
            let why = e.cause.map(|c| format!("{}: {c}", e.message)).unwrap_or(e.message);
            Ok(Offer::nothing(source, why))
        }
        Err(Trouble::Refused(e) | Trouble::Expired(e)) if !new => Ok(Offer::nothing(source, e.message)),
        Err(trouble) => Err(trouble.into()),
    }
}

fn collect(
    host: &Host,
    config: &Config,
    catalog: &Catalog,
    facts: &Facts,
    all: &mut Modules,
) -> std::result::Result<Offer, Trouble> {
    let index = catalog.index()?;
    let listed = index.releases.iter().map(|l| (l.release.clone(), l.kernel)).collect::<Vec<_>>();
    let mut offer = Offer::of(ModuleSource::Catalog, Vec::new());
    offer.problem = index.unasked.map(|why| format!("it could not be asked, an earlier copy counts: {why}"));
    for release in releases(config, facts, &listed) {
        let Some(shard) = catalog.release(&release)? else { continue };
        if !shard.kernel.is_empty() {
            let packages = shard.kernel.iter().map(PackageFile::from).collect();
            offer.kernels.push(KernelPackages { release: shard.release.clone(), packages });
        }
        match pick(host, config, catalog, facts, &shard)? {
            Ok((candidate, bytes)) => {
                all.insert(candidate.inspection.uncompressed_sha256.clone(), bytes);
                offer.modules.push(candidate);
            }
            Err(why) => offer.problem = Some(why),
        }
    }
    // Which generation the image's tools speak decides between its modules.
    offer.open = !offer.modules.is_empty() && facts.engine.image.as_ref().is_none_or(|i| i.programs.is_none());
    if offer.modules.is_empty() && offer.problem.is_none() {
        offer.problem = Some(format!("{} has no module for a kernel that can be had here", index.head.name));
    }
    Ok(offer)
}

/// Those that this host runs or could get, best first.
fn releases(config: &Config, facts: &Facts, listed: &[(String, bool)]) -> Vec<String> {
    if let Some(exact) = config.kernel.release.exact() {
        return vec![exact.to_string()];
    }
    let offered = facts.apk.iter().flat_map(|apk| apk.kernels(Flavour::Lts));
    let offered: Vec<String> = offered.map(|release| release.to_string()).collect();
    let kernels = listed.iter().filter(|(_, kernel)| *kernel).map(|(release, _)| release.clone());
    let mut list = vec![facts.kernel.running.clone()];
    // The preferred one only where its kernel can be had at all.
    list.extend(Some(PREFERRED.to_string()).filter(|p| offered.contains(p) || listed.contains(&(p.clone(), true))));
    for release in offered.iter().cloned().chain(kernels) {
        if list.len() >= RELEASES {
            break;
        }
        if !list.contains(&release) {
            list.push(release);
        }
    }
    list
}

type Picked = std::result::Result<(Candidate, Vec<u8>), String>;

/// The first module of a shard that may be used; it has to be what the catalog says it is.
fn pick(
    host: &Host,
    config: &Config,
    catalog: &Catalog,
    facts: &Facts,
    shard: &Shard,
) -> std::result::Result<Picked, Trouble> {
    let tools = facts.engine.image.as_ref().and_then(|i| i.generation);
    let mut why = format!("it has no module for {}", shard.release);
    for entry in &shard.modules {
        if config.module.denied_srcversions.contains(&entry.srcversion) {
            why = format!("its module for {} is listed in module.denied_srcversions", shard.release);
            continue;
        }
        // The first two generations share their tools; from the third on they part.
        if let Some(tools) = tools.filter(|t| (*t >= 3) != (entry.netlink >= 3)) {
            why = format!(
                "its module for {} is of generation {}, and the image's `awg` of generation {tools}",
                shard.release, entry.netlink
            );
            continue;
        }
        let bytes = catalog.module(entry, &mut *host.progress("fetching the module"))?;
        let refuse = |what: String| {
            Trouble::Refused(
                Error::new(Kind::Artifact, format!("the module for {} in the catalog: {what}", shard.release))
                    .remedy("tell whoever publishes the catalog"),
            )
        };
        let inspection = module::inspect(&bytes, &module::Limits::default()).map_err(|e| refuse(e.message.clone()))?;
        if inspection.name != module::NAME || inspection.vermagic.release != shard.release {
            return Err(refuse(format!("it is {} for {}", inspection.name, inspection.vermagic.release)));
        }
        if inspection.machine.to_string() != facts.arch {
            return Err(refuse(format!("it is for {}", inspection.machine)));
        }
        let source = format!("{} (the catalog {})", entry.file.url, shard.head.name);
        return Ok(Ok((Candidate { source, inspection }, bytes)));
    }
    Ok(Err(why))
}
