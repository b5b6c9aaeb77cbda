//! Bundles in the making, good and bad.

#![allow(dead_code, reason = "each test program uses its own part of this")]

use std::path::Path;

use awg_install::bundle::{self, Opened, Trust};
use awg_install::error::Error;
use awg_install::host::{Host, files::sha256};
use minisign::KeyPair;
use serde_json::{Value, json};
use tar::{EntryType, Header};

use crate::support::{LTS, Root, module};

/// Where an operator would put it.
pub const FILE: &str = "/root/awg.bundle";
pub const CACHE: &str = "/var/lib/awg-install/cache/bundle";

pub fn host(root: &Root) -> Host {
    Host::new(Some(root.dir()), std::collections::BTreeMap::new()).unwrap()
}

pub fn by_key(key: &str) -> Trust {
    Trust { keys: vec![key.parse().unwrap()], sha256: None }
}

pub fn by_sum(bytes: &[u8]) -> Trust {
    Trust { keys: Vec::new(), sha256: Some(sha256(bytes).parse().unwrap()) }
}

pub fn open(root: &Root, trust: &Trust) -> Result<Opened, Error> {
    bundle::open(&host(root), Path::new(FILE), trust, &mut |_, _| {})
}

pub fn verify(root: &Root, trust: &Trust) -> Result<bundle::Verified, Error> {
    bundle::verify(&host(root), Path::new(FILE), trust, &mut |_, _| {})
}

/// A prepared host with this file in place of a bundle.
pub fn with(bytes: &[u8]) -> Root {
    let root = Root::fresh();
    root.write_bytes(FILE, bytes);
    root
}

/// Every path of a root.
pub fn paths(root: &Root) -> Vec<String> {
    root.tree().0.into_keys().collect()
}

/// A bundle in the making: its manifest, and what stands in the file, which may be something else.
pub struct Bundle {
    pub manifest: Value,
    pub entries: Vec<(Header, Vec<u8>)>,
    pub keys: KeyPair,
    pub signed: bool,
    /// The manifest is changed after it was signed.
    pub tampered: bool,
}

pub fn header(path: &str, size: usize) -> Header {
    let mut header = Header::new_ustar();
    // Written as bytes: the library refuses the paths that an attacker would write.
    header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
    header.set_entry_type(EntryType::Regular);
    header.set_size(size as u64);
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_cksum();
    header
}

impl Bundle {
    pub fn good() -> Bundle {
        let mut bundle = Bundle {
            manifest: json!({
                "version": 1, "arch": "x86_64", "created": "2026-01-02T03:04:05Z", "alpine": "v3.22",
                "image": {"reference": "ghcr.io/wg-easy/wg-easy:15", "id": format!("sha256:{}", "1".repeat(64)),
                    "digest": format!("sha256:{}", "2".repeat(64)), "member": "image.tar"},
                "kernels": [LTS], "modules": [], "repositories": ["apk/main"], "members": [],
            }),
            entries: Vec::new(),
            keys: KeyPair::generate_unencrypted_keypair().unwrap(),
            signed: true,
            tampered: false,
        };
        bundle.add("apk/main/x86_64/APKINDEX.tar.gz", b"an index");
        bundle.add("apk/main/x86_64/linux-lts-6.12.50-r0.apk", &vec![7; 100_000]);
        bundle.add("image.tar", &vec![3; 200_000]);
        bundle.add_module(LTS, &module::good());
        bundle
    }

    pub fn add(&mut self, path: &str, bytes: &[u8]) {
        self.list(path, bytes);
        self.entries.push((header(path, bytes.len()), bytes.to_vec()));
    }

    pub fn list(&mut self, path: &str, bytes: &[u8]) {
        let member = json!({"path": path, "size": bytes.len(), "sha256": sha256(bytes)});
        self.manifest["members"].as_array_mut().unwrap().push(member);
    }

    pub fn add_module(&mut self, release: &str, build: &module::Build) {
        let (path, bytes) = (format!("modules/{release}/amneziawg.ko"), build.bytes());
        self.add(&path, &bytes);
        let module = json!({"release": release, "sha256": sha256(&bytes), "member": path});
        self.manifest["modules"].as_array_mut().unwrap().push(module);
    }

    pub fn entry(&mut self, path: &str) -> &mut (Header, Vec<u8>) {
        let named = |(h, _): &&mut (Header, Vec<u8>)| h.path_bytes() == path.as_bytes();
        self.entries.iter_mut().find(named).unwrap()
    }

    pub fn key(&self) -> String {
        self.keys.pk.to_base64()
    }

    /// The manifest as it is signed.
    pub fn text(&self) -> Vec<u8> {
        serde_json::to_vec(&self.manifest).unwrap()
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut manifest = self.text();
        let signature = minisign::sign(None, &self.keys.sk, &manifest[..], Some("a test"), None).unwrap().into_string();
        if self.tampered {
            let at = manifest.windows(5).position(|w| w == b"v3.22").unwrap();
            manifest[at + 4] = b'1';
        }
        let mut all = vec![(header("manifest.json", manifest.len()), manifest)];
        if self.signed {
            all.push((header("manifest.json.minisig", signature.len()), signature.into_bytes()));
        }
        all.extend(self.entries.iter().cloned());
        tar_of(&all)
    }
}

pub fn tar_of(entries: &[(Header, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (header, bytes) in entries {
        out.extend_from_slice(header.as_bytes());
        out.extend_from_slice(bytes);
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.resize(out.len() + 1024, 0);
    out
}
