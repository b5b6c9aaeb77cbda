//! The offline bundle: one tar file with packages, modules and image for hosts without a network.
//!
//! Its first member lists all others by size and SHA-256. That list is vouched for, by a signature or by the
//! checksum of the whole file, before anything else in the file is looked at; what is not in the list, or
//! is not as listed, is refused.

mod collect;
mod create;
mod index;
mod manifest;
mod read;
mod text;
mod trust;
mod write;

use std::path::Path;

pub use create::{Created, Order, create};
pub use manifest::{BundledImage, BundledModule, Kind, Manifest, Member, VERSION};
pub use text::{created_text, text};
pub use trust::{Trust, Voucher};

use crate::error::{Error, Result};
use crate::fetch::Progress;
use crate::host::{Host, files::sha256, partial::Partial};

/// Where bundles are unpacked, each in a directory named by the SHA-256 of its manifest.
pub const CACHE: &str = "/var/lib/awg-install/cache/bundle";
/// Names the directory below [`CACHE`] that holds everything it should.
const COMPLETE: &str = "/var/lib/awg-install/cache/bundle/complete";
const MANIFEST: &str = "manifest.json";
const SIGNATURE: &str = "manifest.json.minisig";
const REPOSITORIES: &str = "repositories";
/// MiB that stay free beside an unpacked bundle.
const SPARE_MIB: u64 = 16;

/// A bundle that was read to its end and found good.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Verified {
    pub manifest: Manifest,
    pub voucher: Voucher,
}

/// An unpacked bundle: complete, and verified when it was unpacked.
#[derive(Debug, Clone, PartialEq)]
pub struct Opened {
    /// Where it lies, as the host sees it.
    pub dir: String,
    pub manifest: Manifest,
}

impl Opened {
    /// A file that lists the repositories, for apk's `--repositories-file`.
    pub fn repositories_file(&self) -> String {
        format!("{}/{REPOSITORIES}", self.dir)
    }

    /// The module's file for a release.
    pub fn module(&self, release: &str) -> Option<String> {
        let module = self.manifest.modules.iter().find(|m| m.release == release)?;
        Some(format!("{}/{}", self.dir, module.member))
    }

    /// The image's file, for `docker load`.
    pub fn image_file(&self) -> Option<String> {
        self.manifest.image.as_ref().map(|image| format!("{}/{}", self.dir, image.member))
    }

    /// The image that it holds goes by this name.
    pub fn holds_image(&self, reference: &str) -> bool {
        self.manifest.image.as_ref().is_some_and(|image| image.reference == reference)
    }

    /// Releases of the kernels whose packages are here.
    pub fn kernels(&self) -> &[String] {
        &self.manifest.kernels
    }
}

/// Reads a bundle to its end and holds everything against its manifest. Writes nothing.
pub fn verify(host: &Host, path: &Path, trust: &Trust, progress: Progress) -> Result<Verified> {
    let mut bundle = read::vouched(host, path, trust)?;
    check(host, &mut bundle, progress)?;
    Ok(Verified { manifest: bundle.manifest, voucher: bundle.voucher })
}

/// Whether every member is what the manifest lists.
fn check<R: std::io::Read>(host: &Host, bundle: &mut read::Vouched<R>, progress: Progress) -> Result<()> {
    struct Nobody;
    impl read::Taker for Nobody {
        fn begin(&mut self, _: &Member) -> Result<()> {
            Ok(())
        }
        fn take(&mut self, _: &[u8]) -> Result<()> {
            Ok(())
        }
        fn good(&mut self, _: &Member) -> Result<()> {
            Ok(())
        }
        fn bad(&mut self, _: &Member) {}
    }
    bundle.members(host, &mut Nobody, progress)
}

/// Unpacks a bundle into the cache, for this host. What an earlier run has left there and is good stays as
/// it is, so that a run that was cut off is gone on with. Bundles that were unpacked before make room.
pub fn open(host: &Host, path: &Path, trust: &Trust, progress: Progress) -> Result<Opened> {
    let mut bundle = read::vouched(host, path, trust)?;
    fits_host(host, &bundle)?;
    let name = read::directory(&bundle.bytes);
    let dir = format!("{CACHE}/{name}");
    room(host, &dir, &bundle.manifest)?;
    host.make_dirs(&dir, 0o700)?;
    bundle.members(host, &mut Unpacking { host, dir: &dir, partial: None }, progress)?;
    host.write(format!("{dir}/{MANIFEST}"), &bundle.bytes, 0o600)?;
    let repositories: String = bundle.manifest.repositories.iter().map(|r| format!("{dir}/{r}\n")).collect();
    host.write(format!("{dir}/{REPOSITORIES}"), repositories.as_bytes(), 0o600)?;
    host.write(COMPLETE, name.as_bytes(), 0o600)?;
    for other in host.names(CACHE).iter().filter(|n| **n != name && manifest::is_digest(n)) {
        host.remove_tree(format!("{CACHE}/{other}"))?;
    }
    Ok(Opened { dir, manifest: bundle.manifest })
}

/// The bundle that an earlier run unpacked, if it is still whole; the file it came from may be gone.
pub fn opened(host: &Host) -> Option<Opened> {
    let name = host.read_trimmed(COMPLETE).filter(|n| manifest::is_digest(n))?;
    let dir = format!("{CACHE}/{name}");
    let bytes = host.read(format!("{dir}/{MANIFEST}")).filter(|b| sha256(b) == name)?;
    let manifest = Manifest::parse(&bytes).ok()?;
    let there = |m: &Member| {
        let place = format!("{dir}/{}", m.path);
        host.exists(&place) && host.size(&place) == m.size
    };
    let whole = manifest.members.iter().all(there) && host.exists(format!("{dir}/{REPOSITORIES}"));
    whole.then_some(Opened { dir, manifest })
}

/// A bundle for another machine or another branch of Alpine is of no use, however good it is.
fn fits_host<R: std::io::Read>(host: &Host, bundle: &read::Vouched<R>) -> Result<()> {
    let manifest = &bundle.manifest;
    let arch = crate::facts::arch(host);
    if manifest.arch != arch {
        return Err(bundle.bad(format!("is for {}, this machine is {arch}", manifest.arch)).remedy("make one for it"));
    }
    match collect::branch(host) {
        Some(branch) if branch != manifest.alpine => {
            let what = format!("is for Alpine {}, this host has {branch}", manifest.alpine);
            Err(bundle.bad(what).remedy("make one on a host of the same branch"))
        }
        _ => Ok(()),
    }
}

/// Half a bundle on a full disk helps nobody.
fn room(host: &Host, dir: &str, manifest: &Manifest) -> Result<()> {
    let there: u64 = manifest.members.iter().map(|m| host.size(format!("{dir}/{}", m.path)).min(m.size)).sum();
    let need = (manifest.size().saturating_sub(there) >> 20) + SPARE_MIB;
    // The nearest directory that exists is on the same file system.
    let above = Path::new(dir).ancestors().find(|d| host.is_dir(d)).unwrap_or(Path::new("/"));
    match host.free_mib(above) {
        Some(free) if free < need => {
            Err(Error::host(format!("{CACHE} has {free} MiB free, {need} MiB are needed to unpack the bundle"))
                .remedy("free some space, then run this again"))
        }
        _ => Ok(()),
    }
}

/// Writes what is not there yet.
struct Unpacking<'a> {
    host: &'a Host,
    dir: &'a str,
    /// The file on its way, with its place.
    partial: Option<Partial>,
}

impl Unpacking<'_> {
    fn place(&self, member: &Member) -> String {
        format!("{}/{}", self.dir, member.path)
    }
}

impl read::Taker for Unpacking<'_> {
    fn begin(&mut self, member: &Member) -> Result<()> {
        let place = self.place(member);
        let there = self.host.exists(&place)
            && self.host.size(&place) == member.size
            && self.host.sha256_of(&place).as_ref() == Some(&member.sha256);
        self.partial = None;
        if !there {
            let above = Path::new(&place).parent().expect("below the cache");
            self.host.make_dirs(above, 0o700)?;
            self.partial = Some(self.host.partial_anew(&place)?);
        }
        Ok(())
    }

    fn take(&mut self, bytes: &[u8]) -> Result<()> {
        self.partial.as_mut().map_or(Ok(()), |p| p.add(bytes))
    }

    fn good(&mut self, _: &Member) -> Result<()> {
        if let Some(partial) = self.partial.take() {
            self.host.boundary();
            partial.commit(0o600)?;
            self.host.boundary();
        }
        Ok(())
    }

    fn bad(&mut self, member: &Member) {
        if self.partial.take().is_some() {
            // Whatever this was, nobody is to find it.
            let _ = self.host.remove_file(format!("{}.part", self.place(member)));
        }
    }
}
