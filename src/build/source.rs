//! The source archive: verified, then read entry by entry.

use std::io::Read;
use std::path::{Component, Path};

use tar::{Archive, EntryType};

use crate::error::{Error, Kind, Result};
use crate::host::files::sha256;
use crate::recipe::Source;
use crate::unpack::{Compression, Decoder};

/// Bytes of the archive as it comes, and of the tar in it, that are taken at most.
pub const LARGEST: u64 = 16 << 20;
const LARGEST_TAR: u64 = 64 << 20;
const CHUNK: usize = 64 << 10;

/// A file of the source.
#[derive(Debug, PartialEq)]
pub struct SourceFile {
    /// Below the archive's one top directory, without any part such as `..`.
    pub path: String,
    pub bytes: Vec<u8>,
}

/// The plain tar in what was fetched, when the checksum is that of either.
pub fn verified(fetched: Vec<u8>, source: &Source) -> Result<Vec<u8>> {
    let as_it_came = sha256(&fetched);
    let plain = plain(fetched, source)?;
    let inside = sha256(&plain);
    if [&as_it_came, &inside].contains(&&source.sha256) {
        return Ok(plain);
    }
    Err(Error::new(Kind::Artifact, format!("{} is not the source that was asked for", source.url))
        .cause(format!("its SHA-256 is {as_it_came}, that of the tar in it {inside}; wanted is {}", source.sha256))
        .remedy("check module.source_url and module.source_sha256, or who answers at that address"))
}

/// The files of a tar. What could end up elsewhere than below a directory of its own is refused.
pub fn files(tar: &[u8], source: &Source) -> Result<Vec<SourceFile>> {
    let bad = |why: String| {
        Error::new(Kind::Artifact, format!("{} cannot be used as source", source.url))
            .cause(why)
            .remedy("give a tar archive of the module's source in one top directory, as `git archive` makes it")
    };
    let unreadable = |e: std::io::Error| bad(format!("it cannot be read as a tar archive: {e}"));
    let mut files = Vec::new();
    for entry in Archive::new(tar).entries().map_err(unreadable)? {
        let mut entry = entry.map_err(unreadable)?;
        let path = entry.path().map_err(unreadable)?.into_owned();
        match entry.header().entry_type() {
            EntryType::XGlobalHeader => continue,
            EntryType::Directory => {
                below_top(&path).map_err(bad)?;
                continue;
            }
            EntryType::Regular => {}
            other => return Err(bad(format!("{} is no plain file but {other:?}", path.display()))),
        }
        let path = below_top(&path).map_err(bad)?;
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).map_err(unreadable)?;
        if !path.is_empty() {
            files.push(SourceFile { path, bytes });
        }
    }
    if !files.iter().any(|f| ["Kbuild", "Makefile", "src/Kbuild", "src/Makefile"].contains(&f.path.as_str())) {
        return Err(bad("it holds neither a Kbuild file nor a Makefile, at its top or in src".into()));
    }
    Ok(files)
}

/// The path without its first part; empty for that part itself.
fn below_top(path: &Path) -> std::result::Result<String, String> {
    let mut parts = Vec::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => parts.push(name.to_str().ok_or(format!("{path:?} is no plain name"))?),
            Component::CurDir => {}
            _ => return Err(format!("{} leads out of the archive's directory", path.display())),
        }
    }
    Ok(parts.get(1..).unwrap_or_default().join("/"))
}

fn plain(fetched: Vec<u8>, source: &Source) -> Result<Vec<u8>> {
    if Compression::of(&fetched) == Compression::None {
        return Ok(fetched);
    }
    let bad = |why: String| Error::new(Kind::Artifact, format!("{} cannot be unpacked", source.url)).cause(why);
    let (mut rest, mut tar, mut chunk) = (fetched.as_slice(), Vec::new(), vec![0; CHUNK]);
    let mut decoder = Decoder::new(&mut rest, &fetched, LARGEST_TAR).map_err(|p| bad(format!("{p:?}")))?;
    loop {
        let read = decoder.read(&mut chunk).map_err(|p| bad(format!("{p:?}")))?;
        if read == 0 {
            return Ok(tar);
        }
        tar.extend_from_slice(&chunk[..read]);
        if tar.len() as u64 > LARGEST_TAR {
            return Err(bad(format!("it holds more than {LARGEST_TAR} bytes")));
        }
    }
}
