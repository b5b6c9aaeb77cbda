//! What a bundle holds, as its first member lists it. A list that passes [`Manifest::check`] names only
//! places below the directory that it is unpacked into.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::config::{ImageRef, Release};
use crate::module::Machine;

/// The format that this release writes and reads.
pub const VERSION: u32 = 1;
/// Bytes of a manifest.
pub const LIMIT: u64 = 1 << 20;
/// The image, as `docker save` writes it.
pub const IMAGE: &str = "image.tar";
/// The signed list of packages in each repository.
pub const INDEX: &str = "APKINDEX.tar.gz";

const MEMBERS: usize = 4096;
const INDEX_LIMIT: u64 = 64 << 20;
const PACKAGE_LIMIT: u64 = 2 << 30;
const IMAGE_LIMIT: u64 = 8 << 30;
const TOTAL_LIMIT: u64 = 16 << 30;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    pub version: u32,
    /// As the kernel names it: `x86_64`, `aarch64`.
    pub arch: String,
    /// When it was made, RFC 3339.
    pub created: String,
    /// The branch of Alpine that its packages are of, such as `v3.22`.
    pub alpine: String,
    pub image: Option<BundledImage>,
    /// Releases of the kernels whose packages are here.
    pub kernels: Vec<String>,
    pub modules: Vec<BundledModule>,
    /// Directories that apk takes as repositories.
    pub repositories: Vec<String>,
    pub members: Vec<Member>,
}

/// The container's image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundledImage {
    /// As the configuration names it.
    pub reference: String,
    /// The engine's id of it: what a loaded image is known by.
    pub id: String,
    /// What the registry knew it by; lost in an image that is loaded from a file.
    pub digest: Option<String>,
    pub member: String,
}

/// A module and the kernel that it is for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundledModule {
    pub release: String,
    pub sha256: String,
    pub member: String,
}

/// One file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Lowercase hexadecimal.
    pub sha256: String,
}

/// What a member is, told by its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// The index of a repository.
    Index {
        repository: String,
    },
    /// An .apk file in a repository.
    Package {
        repository: String,
        file: String,
    },
    /// amneziawg.ko for a release.
    Module {
        release: String,
    },
    Image,
}

impl Kind {
    /// `None` for a place where nothing may be.
    pub fn of(path: &str, arch: &str) -> Option<Kind> {
        let parts: Vec<&str> = path.split('/').collect();
        match parts[..] {
            [IMAGE] => Some(Kind::Image),
            ["modules", release, "amneziawg.ko"] => {
                release.parse::<Release>().ok().map(|_| Kind::Module { release: release.into() })
            }
            ["apk", name, of, file] if of == arch && is_name(name) && is_name(file) => {
                let repository = format!("apk/{name}");
                if file == INDEX {
                    Some(Kind::Index { repository })
                } else {
                    file.ends_with(".apk").then(|| Kind::Package { repository, file: file.into() })
                }
            }
            _ => None,
        }
    }

    fn limit(&self) -> u64 {
        match self {
            Kind::Index { .. } => INDEX_LIMIT,
            Kind::Package { .. } => PACKAGE_LIMIT,
            // The only kind of member that is held in memory.
            Kind::Module { .. } => crate::module::LARGEST_FILE,
            Kind::Image => IMAGE_LIMIT,
        }
    }
}

impl Manifest {
    /// Reads a manifest that somebody has vouched for.
    pub fn parse(bytes: &[u8]) -> Result<Manifest, String> {
        // The version first: what else there is may have other names in another one.
        let value: serde_json::Value = serde_json::from_slice(bytes).map_err(|e| format!("is no JSON: {e}"))?;
        match value.get("version").and_then(serde_json::Value::as_u64) {
            Some(version) if version == u64::from(VERSION) => {}
            Some(version) => return Err(format!("is of version {version}; this release reads version {VERSION}")),
            None => return Err("has no version".into()),
        }
        let manifest: Manifest = serde_json::from_value(value).map_err(|e| e.to_string())?;
        manifest.check()?;
        Ok(manifest)
    }

    /// Bytes of all members.
    pub fn size(&self) -> u64 {
        self.members.iter().map(|m| m.size).sum()
    }

    /// How many packages there are.
    pub fn packages(&self) -> usize {
        self.members.iter().filter(|m| matches!(Kind::of(&m.path, &self.arch), Some(Kind::Package { .. }))).count()
    }

    /// Whether the list is one that can be trusted with a directory: places, sizes, and that its parts agree.
    pub fn check(&self) -> Result<(), String> {
        if Machine::from_uname(&self.arch).is_none() {
            return Err(format!("is for {:?}, which is no architecture that this program knows", self.arch));
        }
        for (key, text) in [("alpine", &self.alpine), ("created", &self.created)] {
            if !is_name(text) {
                return Err(format!("{key} is {text:?}"));
            }
        }
        if self.members.is_empty() || self.members.len() > MEMBERS {
            return Err(format!("lists {} members, 1 to {MEMBERS} are taken", self.members.len()));
        }
        let (mut found, mut seen, mut total) = (Found::default(), BTreeSet::new(), 0u64);
        for member in &self.members {
            let path = &member.path;
            let Some(kind) = Kind::of(path, &self.arch) else {
                return Err(format!("lists {path:?}, where no member may be"));
            };
            if !seen.insert(path) {
                return Err(format!("lists {path} twice"));
            }
            if member.size > kind.limit() {
                let limit = kind.limit();
                return Err(format!("lists {} bytes for {path}, the limit is {limit}", member.size));
            }
            if !is_digest(&member.sha256) {
                return Err(format!("lists no SHA-256 for {path}"));
            }
            total = total.saturating_add(member.size);
            found.add(kind, member);
        }
        if total > TOTAL_LIMIT {
            return Err(format!("lists {total} bytes in all, the limit is {TOTAL_LIMIT}"));
        }
        self.check_repositories(&found)?;
        self.check_modules(&found)?;
        self.check_image(found.image)
    }

    fn check_repositories(&self, found: &Found) -> Result<(), String> {
        let listed: BTreeSet<&str> = self.repositories.iter().map(String::as_str).collect();
        if listed.len() != self.repositories.len() {
            return Err("lists a repository twice".into());
        }
        if let Some(name) = listed.iter().find(|r| !found.indexes.contains(**r)) {
            return Err(format!("lists the repository {name:?}, which has no index"));
        }
        let holding = found.indexes.iter().chain(found.packages.iter().map(|(repository, _)| repository));
        if let Some(name) = holding.into_iter().find(|r| !listed.contains(r.as_str())) {
            return Err(format!("has members in {name}, which it does not list as a repository"));
        }
        for kernel in &self.kernels {
            let Ok(release) = kernel.parse::<Release>() else {
                return Err(format!("lists the kernel {kernel:?}, which is no release of Alpine's"));
            };
            let file = format!("{}-{}.apk", release.package(), release.package_version());
            if !found.packages.iter().any(|(_, f)| *f == file) {
                return Err(format!("lists the kernel {kernel} without its package {file}"));
            }
        }
        Ok(())
    }

    fn check_modules(&self, found: &Found) -> Result<(), String> {
        let listed: BTreeMap<&str, &BundledModule> = self.modules.iter().map(|m| (m.release.as_str(), m)).collect();
        let agree = listed.len() == self.modules.len()
            && listed.len() == found.modules.len()
            && found.modules.iter().all(|(release, member)| {
                listed.get(release.as_str()).is_some_and(|m| m.member == member.path && m.sha256 == member.sha256)
            });
        if agree { Ok(()) } else { Err("lists modules that are not those among its members".into()) }
    }

    fn check_image(&self, member: bool) -> Result<(), String> {
        let Some(image) = &self.image else {
            return if member { Err(format!("has {IMAGE} and does not say what it is")) } else { Ok(()) };
        };
        if !member || image.member != IMAGE {
            return Err(format!("describes an image, which is not at {IMAGE}"));
        }
        image.reference.parse::<ImageRef>().map_err(|e| format!("names an image whose reference {e}"))?;
        let named = |digest: &str| digest.strip_prefix("sha256:").is_some_and(is_digest);
        if !named(&image.id) || !image.digest.as_deref().is_none_or(named) {
            return Err("describes an image without a proper id".into());
        }
        Ok(())
    }
}

/// What the members of a list are.
#[derive(Default)]
struct Found {
    indexes: BTreeSet<String>,
    /// Repository and file.
    packages: Vec<(String, String)>,
    modules: BTreeMap<String, Member>,
    image: bool,
}

impl Found {
    fn add(&mut self, kind: Kind, member: &Member) {
        match kind {
            Kind::Index { repository } => _ = self.indexes.insert(repository),
            Kind::Package { repository, file } => self.packages.push((repository, file)),
            Kind::Module { release } => _ = self.modules.insert(release, member.clone()),
            Kind::Image => self.image = true,
        }
    }
}

/// A word that is safe as a file's name: nothing that leads elsewhere, hides, or looks like an option.
fn is_name(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._+-:~".contains(&b))
}

pub(super) fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}
