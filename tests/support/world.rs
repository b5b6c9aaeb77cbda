//! A host whose catalog is served by a [`Site`].

use std::time::Duration;

use awg_install::catalog::{Catalog, Shard, Trouble};
use awg_install::config;
use awg_install::error::Kind;
use awg_install::facts::Reach;
use awg_install::fetch::Pace;
use awg_install::host::{Host, files::sha256};
use minisign::KeyPair;
use serde_json::Value;

use super::site::{Seen, Site, key, object, public, shard};
use super::{LTS, Root};

pub const MODULE: &[u8] = b"stands for a module: the catalog does not look inside";
pub const NAME: &str = "v1/x86_64/6.12.50-0-lts.json";
pub const INDEX: &str = "v1/x86_64/index.json";

/// A host with a catalog.
pub struct World {
    pub root: Root,
    pub site: Site,
    pub key: KeyPair,
    pub config: config::Catalog,
}

impl World {
    pub fn with(site: Site, key: KeyPair) -> World {
        let root = Root::empty();
        root.write("/.fakeroot/bin/none", "");
        root.write("/proc/sys/kernel/arch", "x86_64\n");
        let config = config::Catalog { url: Some(site.base.clone()), public_keys: vec![public(&key)] };
        World { root, site, key, config }
    }

    /// With one release in it, whose document is as published.
    pub fn good() -> World {
        let world = World::with(Site::new(), key());
        world.publish(&shard(LTS, 7, MODULE));
        world.site.put_file(&object(&sha256(MODULE), ""), MODULE);
        world
    }

    pub fn publish(&self, document: &Value) {
        self.site.publish(NAME, document, &self.key);
    }

    pub fn ask<T>(&self, reach: Reach, ask: impl Fn(&Catalog) -> T) -> T {
        let host = Host::new(Some(self.root.dir()), Default::default()).unwrap();
        let mut catalog = Catalog::of(&host, &self.config, reach).unwrap();
        let milliseconds = Duration::from_millis;
        catalog.pace = Pace { stall: milliseconds(2000), window: milliseconds(2000), floor: 1, pause: milliseconds(5) };
        ask(&catalog)
    }

    pub fn release(&self) -> Result<Option<Shard>, Trouble> {
        self.ask(Reach::Network, |c| c.release(LTS))
    }

    pub fn shard(&self) -> Shard {
        self.release().unwrap().unwrap()
    }

    /// The error of an artifact that is not taken.
    #[track_caller]
    pub fn refused(&self) -> String {
        match self.release() {
            Err(Trouble::Refused(error)) => {
                assert_eq!(error.kind, Kind::Artifact);
                assert!(error.cause.is_some() && error.remedy.is_some(), "{error}");
                error.to_string()
            }
            other => panic!("not refused: {other:?}"),
        }
    }

    /// The documents that are kept.
    pub fn kept(&self) -> Vec<String> {
        self.root.files_with("\"signature\"")
    }
}

pub fn paths(seen: &[Seen]) -> Vec<(&str, u16)> {
    seen.iter().map(|s| (s.path.as_str(), s.status)).collect()
}

#[track_caller]
pub fn says(text: &str, wanted: &str) {
    assert!(text.contains(wanted), "not said: {wanted:?}\n{text}");
}
