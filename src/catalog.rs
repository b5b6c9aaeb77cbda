//! The signed catalog: which modules and kernel packages there are for a kernel release.
//!
//! A small index, and one document for each release: a host fetches kilobytes, however large the catalog is.
//! A document counts only when one of the configured keys has signed it, when it is the one that was asked
//! for, when it is not older than one seen before, and as long as it has not expired. What has been
//! verified is kept, together with its signature, and verified again whenever it is used.

mod document;

use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

pub use document::{Artifact, Head, Index, Listed, ModuleEntry, PackageEntry, Shard};

use crate::config::{self, Url};
use crate::error::{Error, Kind, Result};
use crate::facts::{self, Reach};
use crate::fetch::{self, Look, Pace, Progress, Version, Wanted};
use crate::host::{Host, files::sha256, log::timestamp};
use crate::seal::{self, Refusal};

/// Where documents and files are kept.
use crate::facts::image::CACHE;
/// Largest document, in bytes.
const DOCUMENT: u64 = 1 << 20;
/// Largest signature, in bytes.
const SIGNATURE: u64 = 4 << 10;
/// How far the clocks of host and publisher may be apart, in seconds.
const SKEW: u64 = 24 * 60 * 60;

/// Why a catalog gives nothing.
#[derive(Debug)]
pub enum Trouble {
    /// It cannot be asked, and nothing that is kept stands in for it.
    Unreachable(Error),
    /// Something is wrong with what came: signature, age, content.
    Refused(Error),
    /// It counts no more, or not yet: its age or this host's clock is to blame.
    Expired(Error),
    /// Something is wrong on this side, such as a full disk or a signal to stop.
    Failed(Error),
}

impl From<Trouble> for Error {
    fn from(trouble: Trouble) -> Error {
        match trouble {
            Trouble::Unreachable(e) | Trouble::Refused(e) | Trouble::Expired(e) | Trouble::Failed(e) => e,
        }
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Trouble {
        match error.kind {
            Kind::Host => Trouble::Unreachable(error),
            Kind::Artifact => Trouble::Refused(error),
            _ => Trouble::Failed(error),
        }
    }
}

type Attempt<T> = std::result::Result<T, Trouble>;

/// A catalog that is configured.
pub struct Catalog<'a> {
    host: &'a Host,
    base: &'a Url,
    keys: &'a [config::PublicKey],
    /// The host's, as its kernel names it.
    pub arch: String,
    reach: Reach,
    pub pace: Pace,
}

impl<'a> Catalog<'a> {
    /// `None` where none is configured. Without [`Reach::Network`] only what is kept counts.
    pub fn of(host: &'a Host, config: &'a config::Catalog, reach: Reach) -> Option<Catalog<'a>> {
        let base = config.url.as_ref()?;
        Some(Catalog { host, base, keys: &config.public_keys, arch: facts::arch(host), reach, pace: Pace::default() })
    }

    /// The newest releases that there is something for.
    pub fn index(&self) -> Attempt<Index> {
        let read = |text: &str, url: &Url| document::index(text, url, &self.arch).map(|i| (i.head.clone(), i));
        let Some((mut index, unasked)) = self.document("index.json", &read)? else {
            return Err(Trouble::Unreachable(
                Error::host(format!("{}: there is no catalog for {}", self.base, self.arch))
                    .cause("the server answered 404 to v1/<architecture>/index.json")
                    .remedy("check module.catalog.url"),
            ));
        };
        index.unasked = unasked;
        Ok(index)
    }

    /// What there is for a release, as `uname -r` prints it; `None` where the catalog has nothing for it.
    pub fn release(&self, release: &str) -> Attempt<Option<Shard>> {
        if !document::is_name(release) {
            return Ok(None);
        }
        let read = |text: &str, url: &Url| document::shard(text, url, &self.arch, release).map(|s| (s.head.clone(), s));
        let found = self.document(&format!("{release}.json"), &read)?;
        Ok(found.map(|(shard, unasked)| Shard { unasked, ..shard }))
    }

    /// A module's file as it was published, out of what is kept where it is there.
    pub fn module(&self, module: &ModuleEntry, progress: Progress) -> Attempt<Vec<u8>> {
        let Artifact { sha256: sum, size, url } = &module.file;
        let path = match self.reach {
            Reach::Files | Reach::Local => fetch::kept(self.host, sum, "").ok_or_else(|| not_asked(url))?,
            Reach::Network => {
                let wanted = Wanted { url, sha256: Some(sum), limit: *size };
                fetch::object(self.host, &wanted, self.pace, "", progress)?
            }
        };
        let bytes = self.host.read_named(Kind::Step, "the module in the cache,", path.as_ref(), *size)?;
        // What is handed out is what was hashed, whatever happens to the file in between.
        if sha256(&bytes) != **sum {
            return Err(Trouble::Failed(Error::step(format!("{path}: changed while it was read"))));
        }
        Ok(bytes)
    }

    /// A document that counts, and why it could not be asked for where it is one of an earlier run. `None`
    /// where the catalog has none of that name.
    fn document<T>(&self, name: &str, read: Reader<T>) -> Attempt<Option<(T, Option<String>)>> {
        let url: Url = format!("{}/v1/{}/{name}", self.base.trim_end_matches('/'), self.arch)
            .parse()
            .map_err(|why| Error::new(Kind::Config, format!("module.catalog.url: {why}")))?;
        let place = Place::of(self.base, &self.arch, name);
        let kept = self.kept(&place, &url, read);
        let known = kept.as_ref().map(|(kept, ..)| kept.version.clone()).unwrap_or_default();
        let asked = match self.reach {
            Reach::Files | Reach::Local => Err(not_asked(&url)),
            Reach::Network => self.ask(&url, &known, read),
        };
        let (head, content, unasked) = match (asked, kept) {
            (Ok(Answer::Absent), _) => return Ok(None),
            (Ok(Answer::New(new, head, content)), before) => {
                if let Some((_, seen, _)) = before.filter(|(_, seen, _)| head.serial < seen.serial) {
                    return Err(Trouble::Refused(older(&url, &head, &seen, &place.path())));
                }
                self.current(&url, &head)?;
                self.keep(&place, &new)?;
                (head, content, None)
            }
            (Ok(Answer::Unchanged), Some((_, head, content))) => (head, content, None),
            (Err(Trouble::Unreachable(why)), Some((_, head, content))) => {
                let why = (self.reach == Reach::Network).then(|| why.cause.unwrap_or(why.message));
                (head, content, why)
            }
            (Err(trouble), _) => return Err(trouble),
            // Only what is kept is asked for with a condition.
            (Ok(Answer::Unchanged), None) => return Err(not_asked(&url)),
        };
        self.current(&url, &head)?;
        Ok(Some((content, unasked)))
    }

    fn ask<T>(&self, url: &Url, known: &Version, read: Reader<T>) -> Attempt<Answer<T>> {
        let mut first = true;
        loop {
            let wanted = Wanted { url, sha256: None, limit: DOCUMENT };
            let (bytes, version) = match fetch::look(self.host, &wanted, self.pace, known)? {
                Look::Unchanged => return Ok(Answer::Unchanged),
                Look::Absent => return Ok(Answer::Absent),
                Look::Whole(bytes, version) => (bytes, version),
            };
            match self.sealed(url, bytes)? {
                Ok((document, signature)) => {
                    let (head, content) = read(&document, url)?;
                    return Ok(Answer::New(Kept { version, document, signature }, head, content));
                }
                // Published between the two requests, perhaps.
                Err(_) if first => std::thread::sleep(self.pace.pause),
                Err(why) => {
                    return Err(Trouble::Refused(
                        Error::new(Kind::Artifact, format!("{url}: the catalog's signature is not right"))
                            .cause(why)
                            .remedy("check module.catalog.public_keys against what the catalog's keeper publishes"),
                    ));
                }
            }
            first = false;
        }
    }

    /// A document and its signature, or what is wrong with them.
    fn sealed(&self, url: &Url, bytes: Vec<u8>) -> Attempt<std::result::Result<(String, String), String>> {
        let beside: Url = format!("{url}.minisig").parse().map_err(|why: String| Error::step(why))?;
        let wanted = Wanted { url: &beside, sha256: None, limit: SIGNATURE };
        let Look::Whole(signature, _) = fetch::look(self.host, &wanted, self.pace, &Version::default())? else {
            return Ok(Err("there is no signature (.minisig) beside it".into()));
        };
        let signature = String::from_utf8_lossy(&signature).into_owned();
        let verified = seal::signer(&bytes, &signature, self.keys).map_err(|why| self.refusal(why));
        Ok(verified.and_then(|_| match String::from_utf8(bytes) {
            Ok(text) => Ok((text, signature)),
            Err(_) => Err("it is signed, and yet no text".into()),
        }))
    }

    fn refusal(&self, why: Refusal) -> String {
        match why {
            Refusal::Unreadable(_) => "what lies beside it is no minisign signature".into(),
            Refusal::Key(key, e) => format!("{key}: {e}"),
            Refusal::OtherKey => {
                let keys = self.keys.len();
                format!("it is signed with a key that is not among module.catalog.public_keys ({keys})")
            }
            Refusal::OldForm(_) => "its signature is of minisign's old form: sign it without -l".into(),
            Refusal::Changed(_) => "it is not what was signed: it was changed or cut, or its signature was".into(),
        }
    }

    /// What an earlier run has kept, as far as it still counts.
    fn kept<T>(&self, place: &Place, url: &Url, read: Reader<T>) -> Option<(Kept, Head, T)> {
        let kept: Kept = serde_json::from_slice(&self.host.read(place.path())?).ok()?;
        seal::signer(kept.document.as_bytes(), &kept.signature, self.keys).ok()?;
        let (head, content) = read(&kept.document, url).ok()?;
        Some((kept, head, content))
    }

    fn keep(&self, place: &Place, new: &Kept) -> Result<()> {
        self.host.make_dirs(&place.dir, 0o700)?;
        let text = serde_json::to_vec(new).map_err(|e| Error::step("a document cannot be kept").cause(e))?;
        self.host.write(place.path(), &text, 0o600)
    }

    /// Whether a document counts today.
    fn current(&self, url: &Url, head: &Head) -> Attempt<()> {
        let now = self.host.now();
        let what = if head.expires <= now {
            "this catalog has expired"
        } else if head.issued > now + SKEW {
            "this catalog comes from the future"
        } else {
            return Ok(());
        };
        Err(Trouble::Expired(
            Error::host(format!("{url}: {what}"))
                .cause(format!(
                    "it counts from {} to {}, and this host's clock says {}",
                    time(head.issued),
                    time(head.expires),
                    time(now)
                ))
                .remedy("check the clock (date -u); if it is right, the catalog's keeper has to sign it anew"),
        ))
    }
}

type Reader<'a, T> = &'a dyn Fn(&str, &Url) -> Result<(Head, T)>;

enum Answer<T> {
    New(Kept, Head, T),
    Unchanged,
    Absent,
}

/// A document as it is kept: in one file, so that it never lies beside the signature of another.
#[derive(Serialize, Deserialize)]
struct Kept {
    version: Version,
    document: String,
    signature: String,
}

/// Where a document is kept. Serials of different catalogs have nothing to do with each other.
struct Place {
    dir: String,
    name: String,
}

impl Place {
    fn of(base: &Url, arch: &str, name: &str) -> Place {
        let catalog = sha256(base.trim_end_matches('/').as_bytes());
        Place { dir: format!("{CACHE}/catalog/{}/{arch}", &catalog[..16]), name: name.into() }
    }

    fn path(&self) -> String {
        format!("{}/{}", self.dir, self.name)
    }
}

fn time(seconds: u64) -> String {
    timestamp(UNIX_EPOCH + Duration::from_secs(seconds))
}

fn not_asked(url: &Url) -> Trouble {
    Trouble::Unreachable(
        Error::host(format!("{url} is not there"))
            .cause("no earlier run has kept it, and this one does not use the network")
            .remedy("run `awg-install install` where the network can be reached"),
    )
}

fn older(url: &Url, head: &Head, seen: &Head, path: &str) -> Error {
    Error::new(Kind::Artifact, format!("{url}: this catalog is older than one that was seen before"))
        .cause(format!(
            "its serial is {}, and {} has been seen: somebody holds back what is newer",
            head.serial, seen.serial
        ))
        .remedy(format!("try again later; if its keeper has begun anew, remove {path}"))
}
