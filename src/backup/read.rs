//! Reading a backup: nothing in it counts before all of it has been held against its own list.

use std::io::{BufRead, BufReader, Read, Seek};
use std::path::Path;

use flate2::bufread::GzDecoder;
use tar::EntryType;

use super::manifest::{File as Listed, MAX_MANIFEST, Manifest, NAME};
use crate::age;
use crate::error::{Error, Kind, Result};
use crate::host::hash::Hasher;
use crate::host::{File, Host};
use crate::unpack::Compression;

/// Bytes that may follow the last file: blocks of zeros that writers of tar archives add.
const MAX_END: u64 = 1 << 20;
const MAX_IDENTITIES: u64 = 64 << 10;

/// A backup's file, held open from the first look to the last.
pub(super) struct Archive<'a> {
    host: &'a Host,
    name: String,
    file: File,
    identities: Vec<age::SecretKey>,
    sealed: bool,
}

/// Is shown each file that the list names, in its order.
pub(super) type Each<'a> = dyn FnMut(&Listed, &mut dyn Read) -> Result<()> + 'a;

impl Archive<'_> {
    pub(super) fn open<'a>(host: &'a Host, path: &Path, identity: Option<&Path>) -> Result<Archive<'a>> {
        let name = path.display().to_string();
        let fail = |e: std::io::Error| {
            Error::new(Kind::Artifact, format!("{name}: cannot be read")).cause(e).remedy("check the path")
        };
        let mut file = host.open_named(path).map_err(fail)?;
        let mut head = Vec::new();
        (&mut file).take(64).read_to_end(&mut head).map_err(fail)?;
        let sealed = age::is_age(&head);
        if head.starts_with(b"-----BEGIN AGE") {
            return Err(Error::new(Kind::Artifact, format!("{name}: is encrypted in age's text form"))
                .remedy("decrypt it first: `age --decrypt -i KEYFILE -o backup.tar.gz FILE`"));
        }
        if !sealed && Compression::of(&head) != Compression::Gzip {
            return Err(Error::new(Kind::Artifact, format!("{name}: is no backup"))
                .cause("it is neither a gzip file nor encrypted with age")
                .remedy("name a file that `awg-install backup` has made"));
        }
        let identities = match (identity, sealed) {
            (Some(path), true) => identities(host, path)?,
            (None, true) => {
                return Err(Error::new(Kind::Usage, format!("{name}: is encrypted"))
                    .remedy("add --identity FILE, with the secret key of one of its recipients"));
            }
            (_, false) => Vec::new(),
        };
        Ok(Archive { host, name, file, identities, sealed })
    }

    /// Reads and checks all of it, shows `each` its files, and returns its list.
    pub(super) fn go_through(
        &mut self,
        begin: &mut dyn FnMut(&Manifest) -> Result<()>,
        each: &mut Each,
    ) -> Result<Manifest> {
        let wrong = |why: String| {
            Error::new(Kind::Artifact, format!("{}: is not a backup as it was made", self.name))
                .cause(why)
                .remedy("use another backup; nothing was changed")
        };
        let io = |e: std::io::Error| wrong(e.to_string());
        self.file.rewind().map_err(io)?;
        let file = BufReader::new(&self.file);
        let plain: Box<dyn Read> = match self.sealed {
            false => Box::new(file),
            true => Box::new(age::Reader::new(file, &self.identities).map_err(|problem| {
                match problem {
                    age::Problem::Damaged(why) => wrong(why),
                    age::Problem::OtherKey => {
                        Error::new(Kind::Artifact, format!("{}: is not encrypted to this identity", self.name))
                            .remedy("give the secret key of one of its recipients with --identity")
                    }
                }
            })?),
        };
        let mut tar = tar::Archive::new(GzDecoder::new(BufReader::new(plain)));
        // Raw: entries that say something of the next one, such as a longer name, are no entries of ours.
        let mut entries = tar.entries().map_err(io)?.raw(true);
        let mut next = |wanted: &str| -> Result<tar::Entry<'_, _>> {
            let entry = entries.next().ok_or_else(|| wrong(format!("it ends before {wanted:?}")))?.map_err(io)?;
            let found = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            if entry.header().entry_type() != EntryType::Regular || found != wanted {
                return Err(wrong(format!("it holds {found:?} where the plain file {wanted:?} belongs")));
            }
            Ok(entry)
        };
        let list = next(NAME)?;
        let mut bytes = Vec::new();
        list.take(MAX_MANIFEST).read_to_end(&mut bytes).map_err(io)?;
        let manifest: Manifest =
            serde_json::from_slice(&bytes).map_err(|e| wrong(format!("its list cannot be understood: {e}")))?;
        if let Some(why) = manifest.fault() {
            return Err(wrong(why));
        }
        begin(&manifest)?;
        for listed in &manifest.files {
            self.host.go_on()?;
            let entry = next(&listed.path)?;
            if entry.header().size().map_err(io)? != listed.size {
                return Err(wrong(format!("{:?} has another size than its list says", listed.path)));
            }
            let mut hashing = Hashing { from: entry.take(listed.size), hasher: Hasher::default(), length: 0 };
            each(listed, &mut hashing)?;
            if hashing.length != listed.size || hashing.hasher.sha256() != listed.sha256 {
                return Err(wrong(format!("{:?} is not what its list says", listed.path)));
            }
        }
        if entries.next().is_some() {
            return Err(wrong("it holds more than its list says".into()));
        }
        // To the very end: only there the checksum of the compression is, and the mark of the encryption.
        let mut rest = tar.into_inner();
        let more = std::io::copy(&mut (&mut rest).take(MAX_END), &mut std::io::sink()).map_err(io)?;
        let mut rest = rest.into_inner();
        if more == MAX_END || !rest.fill_buf().map_err(io)?.is_empty() {
            return Err(wrong("something follows its end".into()));
        }
        Ok(manifest)
    }

    /// Reads and checks all of it.
    pub(super) fn verify(&mut self) -> Result<Manifest> {
        let name = self.name.clone();
        self.go_through(&mut |_| Ok(()), &mut |_, bytes| {
            let read = std::io::copy(bytes, &mut std::io::sink());
            read.map(drop).map_err(|e| {
                Error::new(Kind::Artifact, format!("{name}: is not a backup as it was made"))
                    .cause(e)
                    .remedy("use another backup; nothing was changed")
            })
        })
    }
}

/// Hashes and counts what is read through it.
struct Hashing<R: Read> {
    from: R,
    hasher: Hasher,
    length: u64,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        let n = self.from.read(bytes)?;
        self.hasher.update(&bytes[..n]);
        self.length += n as u64;
        Ok(n)
    }
}

/// The keys in a file as `age-keygen` writes it.
fn identities(host: &Host, path: &Path) -> Result<Vec<age::SecretKey>> {
    let bytes = zeroize::Zeroizing::new(host.read_named(Kind::Usage, "--identity", path, MAX_IDENTITIES)?);
    let wrong = |why: String| {
        // Never the line itself: it may be a key with a slip in it.
        Error::new(Kind::Usage, format!("--identity {}: {why}", path.display()))
            .remedy("give a file with lines that begin with AGE-SECRET-KEY-1, as `age-keygen` makes it")
    };
    let text = std::str::from_utf8(&bytes).map_err(|_| wrong("is not text".into()))?;
    let mut keys = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        keys.push(line.parse().map_err(|e: String| wrong(format!("line {} {e}", number + 1)))?);
    }
    if keys.is_empty() { Err(wrong("holds no key".into())) } else { Ok(keys) }
}
