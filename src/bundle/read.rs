//! Reading a bundle: one pass, in constant memory, and nothing of a member is used before its manifest is
//! vouched for.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Cursor, Read, Seek, SeekFrom};
use std::path::Path;

use tar::{Archive, Entry, EntryType};

use super::manifest::{self, Kind, Manifest, Member};
use super::trust::{Trust, Voucher};
use super::{MANIFEST, SIGNATURE};
use crate::error::{self, Error, Result};
use crate::fetch::Progress;
use crate::host::Host;
use crate::host::hash::{BLOCK, Hasher, sha256};
use crate::module;
use crate::unpack::Compression;

/// Bytes of a header.
const HEADER: usize = 512;
const SIGNATURE_LIMIT: u64 = 4 << 10;
/// Zeros that may follow the last member: what tar fills its last record with, with room to spare.
const TAIL_LIMIT: usize = 64 << 10;

/// A bundle whose manifest is vouched for.
pub struct Vouched<R> {
    name: String,
    file: R,
    pub manifest: Manifest,
    /// The manifest as it stands in the file.
    pub bytes: Vec<u8>,
    pub voucher: Voucher,
}

/// Takes a member's bytes as they come, then whether they were right.
pub trait Taker {
    fn begin(&mut self, member: &Member) -> Result<()>;
    fn take(&mut self, bytes: &[u8]) -> Result<()>;
    /// The member was what the manifest lists.
    fn good(&mut self, member: &Member) -> Result<()>;
    /// It was not.
    fn bad(&mut self, member: &Member);
}

/// Opens a bundle and has its manifest vouched for, then read.
pub fn vouched(host: &Host, path: &Path, trust: &Trust) -> Result<Vouched<impl Read + Seek + use<>>> {
    let name = path.display().to_string();
    trust.require(&name)?;
    let fail = |e| unreadable(&name, e);
    let mut file = host.open_named(path).map_err(fail)?;
    let mut hashed = Hashed { host, inner: &mut file, hasher: trust.sha256.is_some().then(Hasher::default) };
    let head = head(&mut hashed, &name)?;
    let voucher = match &trust.sha256 {
        // The bytes of the manifest that is in memory now are among those that were hashed, whatever
        // happens to the file later.
        Some(wanted) => {
            let got = hashed.finish().map_err(fail)?;
            if got != **wanted {
                return Err(Error::new(
                    error::Kind::Artifact,
                    format!("bundle {name}: is not the file that was meant"),
                )
                .cause(format!("its SHA-256 is {got}, wanted {}", &**wanted))
                .remedy("copy the file again, or correct the sha256"));
            }
            Voucher::Sha256(got)
        }
        None => trust.signer(&head.manifest, head.signature.as_deref()).map_err(|why| {
            bad(&name, "is not trusted").cause(why).remedy("give its sha256, or the public key it was signed with")
        })?,
    };
    let manifest =
        Manifest::parse(&head.manifest).map_err(|why| bad(&name, "its manifest cannot be used").cause(why))?;
    file.seek(SeekFrom::Start(0)).map_err(fail)?;
    Ok(Vouched { name, file, manifest, bytes: head.manifest, voucher })
}

/// Opens a bundle that this program has just written and whose sum it knows: that its manifest and signature are the
/// ones that were written is all that has to be found out before the members are read.
pub fn written(
    host: &Host,
    path: &Path,
    sum: &str,
    manifest: &[u8],
    signature: Option<&[u8]>,
) -> Result<Vouched<impl Read + Seek + use<>>> {
    let name = path.display().to_string();
    let fail = |e| unreadable(&name, e);
    let mut file = host.open_named(path).map_err(fail)?;
    let head = head(&mut file, &name)?;
    if head.manifest != manifest || head.signature.as_deref() != signature {
        return Err(bad(&name, "does not begin as it was written"));
    }
    let manifest = Manifest::parse(manifest).map_err(|why| bad(&name, "its manifest cannot be used").cause(why))?;
    file.seek(SeekFrom::Start(0)).map_err(fail)?;
    Ok(Vouched { name, file, manifest, bytes: head.manifest, voucher: Voucher::Sha256(sum.into()) })
}

fn unreadable(name: &str, error: std::io::Error) -> Error {
    Error::new(error::Kind::Artifact, format!("bundle {name}: cannot be read"))
        .cause(error)
        .remedy("check the path and its permissions")
}

impl<R: Read> Vouched<R> {
    /// An error about this bundle.
    pub fn bad(&self, what: impl std::fmt::Display) -> Error {
        bad(&self.name, what)
    }

    /// Streams every member past `taker`, each held against the manifest.
    pub fn members(&mut self, host: &Host, taker: &mut dyn Taker, progress: Progress) -> Result<()> {
        let name = self.name.clone();
        let listed: BTreeMap<&str, &Member> = self.manifest.members.iter().map(|m| (m.path.as_str(), m)).collect();
        let arch = &self.manifest.arch;
        let total = self.manifest.size();
        let (mut seen, mut done) = (BTreeSet::new(), 0);
        let broken = |e: std::io::Error| bad(&name, "is cut off or damaged").cause(e);
        let mut archive = Archive::new(&mut self.file);
        for (number, entry) in archive.entries().map_err(broken)?.raw(true).enumerate() {
            let mut entry = entry.map_err(broken)?;
            let path = path(&entry);
            if number == 0 || number == 1 && path == SIGNATURE {
                continue;
            }
            let kind = regular(&entry).and_then(|()| Kind::of(&path, arch).ok_or_else(|| misplaced(&path)));
            let kind = kind.map_err(|why| bad(&name, format!("the member {path:?} {why}")))?;
            let Some(member) = listed.get(path.as_str()) else {
                return Err(bad(&name, format!("the member {path} is not in the manifest")));
            };
            if !seen.insert(path.clone()) {
                return Err(bad(&name, format!("the member {path} is there twice")));
            }
            if entry.size() != member.size {
                let (is, wanted) = (entry.size(), member.size);
                return Err(bad(&name, format!("the member {path} has {is} bytes, the manifest lists {wanted}")));
            }
            taker.begin(member)?;
            let taken = one(host, &mut entry, member, &kind, arch, taker, &mut |n| progress(done + n, Some(total)));
            match taken {
                Ok(()) => taker.good(member)?,
                Err(Failed::Own(e)) => return Err(e),
                Err(Failed::Member(why)) => {
                    taker.bad(member);
                    return Err(bad(&name, format!("the member {path} is not what the manifest lists")).cause(why));
                }
            }
            done += member.size;
        }
        if let Some(missing) = listed.keys().find(|path| !seen.contains(**path)) {
            return Err(bad(&name, format!("the member {missing} is missing")));
        }
        end(&mut self.file).map_err(|why| bad(&name, why))
    }
}

enum Failed {
    /// The member is at fault.
    Member(String),
    /// This machine is.
    Own(Error),
}

impl From<Error> for Failed {
    fn from(e: Error) -> Failed {
        Failed::Own(e)
    }
}

/// One member, from its first byte to its last.
fn one(
    host: &Host,
    entry: &mut impl Read,
    member: &Member,
    kind: &Kind,
    arch: &str,
    taker: &mut dyn Taker,
    progress: &mut dyn FnMut(u64),
) -> std::result::Result<(), Failed> {
    let (mut hasher, mut length) = (Hasher::default(), 0);
    let mut whole = matches!(kind, Kind::Module { .. }).then(Vec::new);
    let mut chunk = vec![0; BLOCK];
    loop {
        host.go_on()?;
        let read = entry.read(&mut chunk).map_err(|e| Failed::Member(e.to_string()))?;
        if read == 0 {
            break;
        }
        let bytes = &chunk[..read];
        hasher.update(bytes);
        length += read as u64;
        if let Some(whole) = &mut whole {
            whole.extend_from_slice(bytes);
        }
        taker.take(bytes)?;
        progress(length);
    }
    if length != member.size {
        return Err(Failed::Member(format!("it is cut off after {length} of {} bytes", member.size)));
    }
    let got = hasher.sha256();
    if got != member.sha256 {
        return Err(Failed::Member(format!("its SHA-256 is {got}, wanted {}", member.sha256)));
    }
    match (kind, whole) {
        (Kind::Module { release }, Some(bytes)) => fits(&bytes, release, arch).map_err(Failed::Member),
        _ => Ok(()),
    }
}

/// Whether a module is one for that kernel.
pub(super) fn fits(bytes: &[u8], release: &str, arch: &str) -> std::result::Result<(), String> {
    let limits = module::Limits { file: module::LARGEST_FILE, ..module::Limits::default() };
    let module = module::inspect(bytes, &limits).map_err(|e| e.message)?;
    let (name, machine) = (&module.name, module.machine.to_string());
    if name != module::NAME {
        return Err(format!("it is a module called {name}, not {}", module::NAME));
    }
    if machine != arch {
        return Err(format!("it was built for {machine}, the bundle is for {arch}"));
    }
    if module.vermagic.release != release {
        return Err(format!("it was built for {}, its place says {release}", module.vermagic.release));
    }
    Ok(())
}

struct Head {
    manifest: Vec<u8>,
    signature: Option<Vec<u8>>,
}

/// The manifest and its signature, which stand first. Only these are read here, and neither is parsed.
fn head(file: &mut impl Read, name: &str) -> Result<Head> {
    let broken = |e: std::io::Error| bad(name, "is cut off or damaged").cause(e);
    let mut first = Vec::new();
    file.by_ref().take(HEADER as u64).read_to_end(&mut first).map_err(broken)?;
    if let Some(why) = no_tar(&first) {
        return Err(bad(name, why));
    }
    let mut archive = Archive::new(Cursor::new(first).chain(file));
    let mut entries = archive.entries().map_err(broken)?.raw(true);
    let mut manifest = match entries.next() {
        Some(entry) => entry.map_err(broken)?,
        None => return Err(bad(name, "is empty")),
    };
    let path = path(&manifest);
    if path != MANIFEST || regular(&manifest).is_err() {
        return Err(bad(name, format!("is no bundle: {MANIFEST} does not stand first, but {path:?}")));
    }
    let manifest = small(&mut manifest, manifest::LIMIT, MANIFEST).map_err(|why| bad(name, why))?;
    let signature = match entries.next() {
        Some(entry) => {
            let mut entry = entry.map_err(broken)?;
            let signed = self::path(&entry) == SIGNATURE && regular(&entry).is_ok();
            signed.then(|| small(&mut entry, SIGNATURE_LIMIT, SIGNATURE)).transpose().map_err(|why| bad(name, why))?
        }
        None => None,
    };
    Ok(Head { manifest, signature })
}

/// A member that is held in memory.
fn small<R: Read>(entry: &mut Entry<'_, R>, limit: u64, what: &str) -> std::result::Result<Vec<u8>, String> {
    let size = entry.size();
    if size > limit {
        return Err(format!("{what} has {size} bytes, the limit is {limit}"));
    }
    let mut bytes = Vec::new();
    entry.read_to_end(&mut bytes).map_err(|e| format!("{what} cannot be read: {e}"))?;
    if bytes.len() as u64 != size {
        return Err(format!("{what} is cut off after {} of {size} bytes", bytes.len()));
    }
    Ok(bytes)
}

/// What a file is that does not begin as a tar file does.
fn no_tar(first: &[u8]) -> Option<String> {
    if first.is_empty() {
        return Some("is an empty file".into());
    }
    if first.get(257..262) == Some(b"ustar") {
        return None;
    }
    let compression = Compression::of(first);
    let text = String::from_utf8_lossy(first).trim_start().to_ascii_lowercase();
    Some(if compression != Compression::None {
        format!("is compressed ({compression}); a bundle is not: unpack it first")
    } else if text.starts_with("<!doctype") || text.starts_with("<html") || text.starts_with("<?xml") {
        "is a web page, not a bundle".into()
    } else {
        "is no bundle: it does not begin as a tar file does".into()
    })
}

fn path<R: Read>(entry: &Entry<'_, R>) -> String {
    String::from_utf8_lossy(&entry.path_bytes()).into_owned()
}

/// Only plain files: everything else could lead somewhere, or changes what the next member is.
fn regular<R: Read>(entry: &Entry<'_, R>) -> std::result::Result<(), String> {
    let what = match entry.header().entry_type() {
        EntryType::Regular => return Ok(()),
        EntryType::Symlink => "is a symbolic link",
        EntryType::Link => "is a hard link",
        EntryType::Char | EntryType::Block => "is a device",
        EntryType::Fifo => "is a pipe",
        EntryType::Directory => "is a directory",
        _ => "is an extension of the tar format",
    };
    Err(format!("{what}; only plain files may be in a bundle"))
}

/// Why nothing may be at a place.
fn misplaced(path: &str) -> String {
    if path.starts_with('/') {
        "has an absolute path".into()
    } else if path.split('/').any(|part| part == "..") {
        "leads out of its directory".into()
    } else {
        "is where no member may be".into()
    }
}

/// Nothing but zeros may follow the last member.
fn end(file: &mut impl Read) -> std::result::Result<(), String> {
    let mut rest = Vec::new();
    file.take(TAIL_LIMIT as u64 + 1).read_to_end(&mut rest).map_err(|e| format!("cannot be read to its end: {e}"))?;
    if rest.len() > TAIL_LIMIT || rest.iter().any(|b| *b != 0) {
        return Err("has something after its last member".into());
    }
    Ok(())
}

fn bad(name: &str, what: impl std::fmt::Display) -> Error {
    Error::new(error::Kind::Artifact, format!("bundle {name}: {what}"))
        .remedy("copy the file again and compare its sha256 with what `bundle create` printed; else make it anew")
}

/// Hashes what is read through it, where that is wanted.
struct Hashed<'a, R> {
    host: &'a Host,
    inner: R,
    hasher: Option<Hasher>,
}

impl<R: Read> Read for Hashed<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&buffer[..read]);
        }
        Ok(read)
    }
}

impl<R: Read> Hashed<'_, R> {
    /// Reads what is left; the SHA-256 of all.
    fn finish(mut self) -> std::io::Result<String> {
        let mut chunk = vec![0; BLOCK];
        while self.read(&mut chunk)? > 0 {
            self.host.go_on().map_err(|e| std::io::Error::other(e.message))?;
        }
        Ok(self.hasher.map(|mut h| h.sha256()).unwrap_or_default())
    }
}

/// The name of the directory that a bundle with this manifest is unpacked into.
pub fn directory(manifest: &[u8]) -> String {
    sha256(manifest)
}
