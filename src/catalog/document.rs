//! What the documents of a catalog say. Strict in what it knows, and open to what later releases add.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use time::PrimitiveDateTime;
use time::macros::format_description;

use crate::config::{Sha256, SrcVersion, Url};
use crate::error::{Error, Kind, Result};
use crate::facts::PackageFile;
use crate::fetch;
use crate::module::LARGEST_FILE;

/// The format that this program reads.
const VERSION: u64 = 1;
/// Bounds on what one document may list.
const RELEASES: usize = 1000;
const MODULES: usize = 32;
const PACKAGES: usize = 16;
/// Longest text meant for people, in characters.
const TEXT: usize = 500;
/// Largest kernel package, in bytes.
const PACKAGE: u64 = 512 << 20;

/// What every document begins with.
#[derive(Debug, Clone, PartialEq)]
pub struct Head {
    /// The catalog's own name, for people.
    pub name: String,
    pub arch: String,
    /// Grows with every change.
    pub serial: u64,
    /// Seconds since 1970.
    pub issued: u64,
    /// Seconds since 1970; not valid from then on.
    pub expires: u64,
}

/// The newest releases that the catalog has something for.
#[derive(Debug, Clone, PartialEq)]
pub struct Index {
    pub head: Head,
    pub releases: Vec<Listed>,
    /// Why the catalog could not be asked, where a copy of an earlier run stands in for it.
    pub unasked: Option<String>,
}

/// One release in the index.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Listed {
    /// As `uname -r` prints it.
    pub release: String,
    /// Generations of the netlink interface that there are modules of; none where there is no module.
    #[serde(default)]
    pub netlink: Vec<u32>,
    /// The kernel's packages can be had as well.
    #[serde(default)]
    pub kernel: bool,
}

/// What the catalog has for one release.
#[derive(Debug, Clone, PartialEq)]
pub struct Shard {
    pub head: Head,
    /// As `uname -r` prints it.
    pub release: String,
    /// In the order in which they are to be tried.
    pub modules: Vec<ModuleEntry>,
    /// For when the mirrors have dropped them.
    pub kernel: Vec<PackageEntry>,
    /// As in [`Index`].
    pub unasked: Option<String>,
}

/// A file that the catalog vouches for.
#[derive(Debug, Clone, PartialEq)]
pub struct Artifact {
    pub sha256: Sha256,
    /// In bytes.
    pub size: u64,
    pub url: Url,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ModuleEntry {
    pub file: Artifact,
    pub srcversion: SrcVersion,
    /// Generation of the netlink interface: tools and module must share it.
    pub netlink: u32,
    /// Of the module's source.
    pub version: Option<String>,
    /// For people.
    pub note: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct PackageEntry {
    pub file: Artifact,
    /// `linux-lts`
    pub package: String,
    /// `6.12.50-r0`
    pub version: String,
}

impl From<&PackageEntry> for PackageFile {
    fn from(entry: &PackageEntry) -> PackageFile {
        let Artifact { sha256, size, url } = &entry.file;
        PackageFile { place: url.to_string(), sha256: Some(sha256.to_string()), size: Some(*size) }
    }
}

#[derive(Deserialize)]
struct RawFormat {
    kind: String,
    version: u64,
}

#[derive(Deserialize)]
struct RawHead {
    name: String,
    arch: String,
    serial: u64,
    issued: String,
    expires: String,
}

#[derive(Deserialize)]
struct RawIndex {
    releases: Vec<Listed>,
}

#[derive(Deserialize)]
struct RawShard {
    release: String,
    modules: Vec<RawModule>,
    #[serde(default)]
    kernel: Vec<RawPackage>,
}

#[derive(Deserialize)]
struct RawModule {
    sha256: Sha256,
    size: u64,
    url: String,
    srcversion: SrcVersion,
    netlink: u32,
    version: Option<String>,
    note: Option<String>,
}

#[derive(Deserialize)]
struct RawPackage {
    package: String,
    version: String,
    sha256: Sha256,
    size: u64,
    url: String,
}

/// Reads the index that was asked for at `url`.
pub(super) fn index(text: &str, url: &Url, arch: &str) -> Result<Index> {
    let head = head(text, url, "index", arch)?;
    let RawIndex { releases } = json(text, url)?;
    bounded(url, "releases", releases.len(), RELEASES)?;
    for listed in &releases {
        check(url, "release", &listed.release, is_name(&listed.release))?;
        for generation in &listed.netlink {
            check(url, "netlink", generation, is_generation(*generation))?;
        }
    }
    Ok(Index { head, releases, unasked: None })
}

/// Reads what was asked for at `url` about one release.
pub(super) fn shard(text: &str, url: &Url, arch: &str, release: &str) -> Result<Shard> {
    let head = head(text, url, "release", arch)?;
    let raw: RawShard = json(text, url)?;
    if raw.release != release {
        return Err(other(url, format!("it is about release {}, not {release}", shown(&raw.release))));
    }
    bounded(url, "modules", raw.modules.len(), MODULES)?;
    bounded(url, "kernel", raw.kernel.len(), PACKAGES)?;
    let modules = raw.modules.into_iter().map(|m| module(m, url)).collect::<Result<_>>()?;
    let kernel = raw.kernel.into_iter().map(|p| package(p, url)).collect::<Result<_>>()?;
    Ok(Shard { head, release: raw.release, modules, kernel, unasked: None })
}

fn head(text: &str, url: &Url, kind: &str, arch: &str) -> Result<Head> {
    // The format first: all else may be different in another one.
    let format: RawFormat = json(text, url)?;
    if format.version != VERSION {
        return Err(Error::new(Kind::Artifact, format!("{url}: this catalog needs a newer awg-install"))
            .cause(format!("it has format {}; this release reads format {VERSION}", format.version))
            .remedy("install a newer release of awg-install"));
    }
    if format.kind != kind {
        return Err(other(url, format!("its kind is {}, not {kind}", shown(&format.kind))));
    }
    let raw: RawHead = json(text, url)?;
    if raw.arch != arch {
        return Err(other(url, format!("it is for {}, not {arch}", shown(&raw.arch))));
    }
    check(url, "name", &raw.name, is_text(&raw.name) && !raw.name.is_empty())?;
    let time = |key: &str, text: &str| {
        seconds(text)
            .ok_or_else(|| malformed(url, format!("{key} is {}, no time such as 2026-01-31T12:00:00Z", shown(text))))
    };
    let (issued, expires) = (time("issued", &raw.issued)?, time("expires", &raw.expires)?);
    if expires <= issued {
        return Err(malformed(url, "it expires before it was issued"));
    }
    Ok(Head { name: raw.name, arch: raw.arch, serial: raw.serial, issued, expires })
}

fn module(raw: RawModule, url: &Url) -> Result<ModuleEntry> {
    check(url, "netlink", raw.netlink, is_generation(raw.netlink))?;
    for (key, text) in [("version", &raw.version), ("note", &raw.note)] {
        check(url, key, text.as_deref().unwrap_or_default(), text.as_ref().is_none_or(|t| is_text(t)))?;
    }
    Ok(ModuleEntry {
        file: artifact(url, raw.sha256, raw.size, LARGEST_FILE, &raw.url)?,
        srcversion: raw.srcversion,
        netlink: raw.netlink,
        version: raw.version,
        note: raw.note,
    })
}

fn package(raw: RawPackage, url: &Url) -> Result<PackageEntry> {
    check(url, "package", &raw.package, is_name(&raw.package))?;
    check(url, "version", &raw.version, is_name(&raw.version))?;
    let file = artifact(url, raw.sha256, raw.size, PACKAGE, &raw.url)?;
    Ok(PackageEntry { file, package: raw.package, version: raw.version })
}

fn artifact(base: &Url, sha256: Sha256, size: u64, limit: u64, reference: &str) -> Result<Artifact> {
    check(base, "size", size, (1..=limit).contains(&size))?;
    // A catalog on loopback is a test's or a tunnel's: its files may lie beside it.
    let fit = |url: &Url| url.is_https() || base.is_loopback() && url.is_loopback();
    let url = fetch::resolve(base, reference).filter(fit);
    let url =
        url.ok_or_else(|| malformed(base, format!("url is {}, which does not lead to https", shown(reference))))?;
    Ok(Artifact { sha256, size, url })
}

/// What becomes part of a path or an address.
pub(super) fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._+~-".contains(&b))
}

fn is_text(text: &str) -> bool {
    text.chars().count() <= TEXT && !text.chars().any(char::is_control)
}

/// It is one byte in the kernel, and there was none before the first.
fn is_generation(number: u32) -> bool {
    (1..=255).contains(&number)
}

fn seconds(text: &str) -> Option<u64> {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
    PrimitiveDateTime::parse(text, &format).ok()?.assume_utc().unix_timestamp().try_into().ok()
}

fn json<T: DeserializeOwned>(text: &str, url: &Url) -> Result<T> {
    serde_json::from_str(text).map_err(|e| malformed(url, e))
}

fn check(url: &Url, key: &str, value: impl ToString, good: bool) -> Result<()> {
    if good { Ok(()) } else { Err(malformed(url, format!("{key} cannot be {}", shown(&value.to_string())))) }
}

fn bounded(url: &Url, key: &str, count: usize, most: usize) -> Result<()> {
    let why = || malformed(url, format!("{key} has {count} entries; {most} are the most that are read"));
    if count <= most { Ok(()) } else { Err(why()) }
}

/// Rightly signed, and yet not usable.
fn malformed(url: &Url, cause: impl std::fmt::Display) -> Error {
    Error::new(Kind::Artifact, format!("{url}: this is no catalog as it should be"))
        .cause(cause)
        .remedy("tell whoever keeps the catalog: it is signed, and wrong")
}

/// A signature vouches for what a document says, not for where it lies.
fn other(url: &Url, cause: String) -> Error {
    Error::new(Kind::Artifact, format!("{url}: another document lies in its place"))
        .cause(cause)
        .remedy("tell whoever keeps the catalog; somebody may have exchanged its files")
}

fn shown(text: &str) -> String {
    let cut: String = text.chars().take(80).collect();
    format!("{cut:?}")
}
