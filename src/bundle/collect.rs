//! Collecting packages with apk, as if for an empty host: all that they need comes along, and nothing of what
//! happens to be installed on this one is taken for granted.

use std::collections::BTreeMap;

use xshell::cmd;

use super::index::{self, Listed};
use super::manifest::INDEX;
use crate::config::{Flavour, Release};
use crate::error::{Error, Kind, Result};
use crate::facts::{self, apk, os};
use crate::host::{Host, Limits};

/// Seconds that apk may take, which waits for its lock up to five minutes.
const TIME: u64 = 3600;
const KEYS: &str = "/etc/apk/keys";

/// A mini repository: an index as its maker signed it, and some of the packages that it lists.
#[derive(Debug)]
pub struct Collected {
    /// `apk/` and a name.
    pub repository: String,
    /// Where the index lies.
    pub index: String,
    /// Names of the .apk files.
    pub files: Vec<String>,
}

/// The branch of Alpine that this host follows; nothing where it is not Alpine.
pub fn branch(host: &Host) -> Option<String> {
    let release = os::parse_os_release(&host.read_text("/etc/os-release").unwrap_or_default());
    let version = release.get("VERSION_ID").filter(|_| release.get("ID").is_some_and(|id| id == "alpine"))?;
    let (major, rest) = version.split_once('.')?;
    let minor = rest.split('.').next().unwrap_or(rest);
    Some(if version.contains("_alpha") { "edge".into() } else { format!("v{major}.{minor}") })
}

/// The repositories of this host, looked at from an empty root of our own.
pub struct Source<'a> {
    host: &'a Host,
    root: String,
    repositories: Vec<String>,
    /// Index files and what they list, in the order of their names.
    indexes: Vec<(String, Vec<Listed>)>,
}

impl<'a> Source<'a> {
    /// Prepares the empty root below `work` and asks the mirrors what they have.
    pub fn new(host: &'a Host, work: &str) -> Result<Source<'a>> {
        let mut repositories = apk::parse_repositories(&host.read_text(apk::REPOSITORIES).unwrap_or_default());
        if repositories.is_empty() {
            return Err(Error::host(format!("{} enables no repository", apk::REPOSITORIES))
                .remedy("enable main and community there, then run this again"));
        }
        repositories.extend(apk::missing_community(&repositories));
        let root = format!("{work}/root");
        for dir in ["etc/apk/keys", "lib/apk/db", "var/cache/apk"] {
            host.make_dirs(format!("{root}/{dir}"), 0o755)?;
        }
        for key in host.names(KEYS) {
            let bytes = host.read(format!("{KEYS}/{key}")).unwrap_or_default();
            host.write(format!("{root}{KEYS}/{key}"), &bytes, 0o644)?;
        }
        let lines = |list: &[String]| list.iter().map(|l| format!("{l}\n")).collect::<String>();
        host.write(format!("{root}/etc/apk/arch"), lines(&[facts::arch(host)]).as_bytes(), 0o644)?;
        host.write(format!("{root}/etc/apk/repositories"), lines(&repositories).as_bytes(), 0o644)?;
        let mut source = Source { host, root, repositories, indexes: Vec::new() };
        source.world(&[])?;
        let sh = host.shell();
        let root = &source.root;
        let update = host.ask(cmd!(sh, "apk --root {root} --wait 300 update"), Limits::seconds(TIME));
        if !update.ok() {
            return Err(host_error(update.error("the mirrors cannot be asked"))
                .remedy("check the network and the lines of /etc/apk/repositories"));
        }
        source.read_indexes()?;
        Ok(source)
    }

    /// The newest kernel of a flavour on offer.
    pub fn newest(&self, flavour: Flavour) -> Result<Release> {
        let package = format!("linux-{flavour}");
        let of = |p: &&Listed| p.name == package;
        let releases = self.indexes.iter().flat_map(|(_, list)| list).filter(of);
        releases.filter_map(|p| Release::from_package(flavour, &p.version).ok()).max().ok_or_else(|| {
            Error::host(format!("no repository of this host offers {package}"))
                .remedy("check the lines of /etc/apk/repositories")
        })
    }

    /// Fetches what these constraints need into `out`, and finds out which index lists each file.
    pub fn fetch(&self, world: &[String], out: &str) -> Result<Vec<Collected>> {
        self.world(world)?;
        self.host.make_dirs(out, 0o755)?;
        let (sh, root) = (self.host.shell(), &self.root);
        let fetch = cmd!(sh, "apk --root {root} fetch --world --recursive --output {out}");
        let fetched = self.host.ask(fetch, Limits::seconds(TIME));
        if !fetched.ok() {
            return Err(host_error(fetched.error("the packages cannot be fetched"))
                .remedy("check that the repositories offer all of them, kernel.release included"));
        }
        let files: Vec<(String, u64)> =
            self.host.names(out).into_iter().map(|f| (f.clone(), self.host.size(format!("{out}/{f}")))).collect();
        if files.is_empty() {
            return Err(Error::host("apk fetched no package at all").cause(fetched.shown));
        }
        assign(&self.indexes, files)
    }

    fn world(&self, constraints: &[String]) -> Result<()> {
        let text: String = constraints.iter().map(|c| format!("{c}\n")).collect();
        self.host.write(format!("{}/etc/apk/world", self.root), text.as_bytes(), 0o644)
    }

    /// apk keeps the index of a mirror in its cache; that of a directory lies in the directory.
    fn read_indexes(&mut self) -> Result<()> {
        let cache = format!("{}/var/cache/apk", self.root);
        let cached = self.host.names(&cache).into_iter().filter(|n| n.starts_with("APKINDEX.") && n.ends_with(".gz"));
        let arch = facts::arch(self.host);
        let local =
            self.repositories.iter().map(|r| r.strip_prefix("file://").unwrap_or(r)).filter(|r| r.starts_with('/'));
        let local = local.map(|dir| format!("{}/{arch}/{INDEX}", dir.trim_end_matches('/')));
        let places: Vec<String> = cached.map(|name| format!("{cache}/{name}")).chain(local).collect();
        for place in places {
            let fail = |e: String| Error::host(format!("{place}: the index cannot be read")).cause(e);
            let file = self.host.open(&place).map_err(|e| fail(e.to_string()))?;
            self.indexes.push((place.clone(), index::packages(file).map_err(fail)?));
        }
        Ok(())
    }
}

/// Which index each file belongs to. The index that lists most of them is taken first, so that as few as
/// possible are needed.
fn assign(indexes: &[(String, Vec<Listed>)], files: Vec<(String, u64)>) -> Result<Vec<Collected>> {
    let listed: Vec<BTreeMap<String, u64>> =
        indexes.iter().map(|(_, list)| list.iter().map(|p| (p.file(), p.size)).collect()).collect();
    let mut left = files;
    let mut collected = Vec::new();
    while !left.is_empty() {
        let count = |list: &BTreeMap<String, u64>| left.iter().filter(|(f, size)| list.get(f) == Some(size)).count();
        // Of equals the first.
        let best = (0..listed.len()).rev().max_by_key(|i| count(&listed[*i])).filter(|i| count(&listed[*i]) > 0);
        let Some(best) = best else {
            let (file, size) = &left[0];
            let wanted = listed.iter().find_map(|list| list.get(file));
            let why = match wanted {
                Some(wanted) => format!("it has {size} bytes, its index lists {wanted}"),
                None => "no index of an enabled repository lists it".into(),
            };
            return Err(Error::new(Kind::Artifact, format!("{file}: is not the package that was asked for"))
                .cause(why)
                .remedy("run this again; if it stays so, the mirror is at fault: choose another one"));
        };
        let (here, elsewhere) = left.into_iter().partition(|(f, size)| listed[best].get(f) == Some(size));
        left = elsewhere;
        let index = indexes[best].0.clone();
        let repository = format!("apk/{}", label(&index, best));
        collected.push(Collected { repository, index, files: Vec::from_iter(Vec::into_iter(here).map(|(f, _)| f)) });
    }
    collected.sort_by(|a, b| a.repository.cmp(&b.repository));
    Ok(collected)
}

/// A short name for a repository: the number that apk gives its address, else ours.
fn label(index: &str, number: usize) -> String {
    let name = index.rsplit('/').next().unwrap_or(index);
    match name.strip_prefix("APKINDEX.").and_then(|n| n.strip_suffix(".tar.gz")) {
        Some(hash) => hash.to_string(),
        None => format!("local{number}"),
    }
}

fn host_error(mut error: Error) -> Error {
    error.kind = Kind::Host;
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(place: &str, files: &[(&str, &str, u64)]) -> (String, Vec<Listed>) {
        let one = |(name, version, size): &(&str, &str, u64)| Listed {
            name: name.to_string(),
            version: version.to_string(),
            size: *size,
        };
        (place.into(), files.iter().map(one).collect())
    }

    #[test]
    fn each_file_goes_to_the_index_that_lists_it() {
        let indexes = [
            index("/c/APKINDEX.00aa.tar.gz", &[("kmod", "1-r0", 5)]),
            index("/c/APKINDEX.11bb.tar.gz", &[("kmod", "1-r0", 5), ("musl", "2-r0", 6), ("zlib", "3-r0", 7)]),
            index("/media/cd/x86_64/APKINDEX.tar.gz", &[("docker", "4-r0", 8)]),
        ];
        let files = |list: &[(&str, u64)]| list.iter().map(|(f, n)| (f.to_string(), *n)).collect::<Vec<_>>();
        let all = [("docker-4-r0.apk", 8), ("kmod-1-r0.apk", 5), ("musl-2-r0.apk", 6)];
        let found = assign(&indexes, files(&all)).unwrap();
        let found: Vec<(&str, usize)> = found.iter().map(|c| (c.repository.as_str(), c.files.len())).collect();
        assert_eq!(found, [("apk/11bb", 2), ("apk/local2", 1)]);
        let error = assign(&indexes, files(&[("musl-2-r0.apk", 9)])).unwrap_err();
        assert!(error.to_string().contains("it has 9 bytes, its index lists 6"), "{error}");
        let error = assign(&indexes, files(&[("evil-2-r0.apk", 9)])).unwrap_err();
        assert!(error.to_string().contains("no index of an enabled repository lists it"), "{error}");
    }
}
