//! The first entry of a backup: what is in it. All else in the file is held against this.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

pub(super) const NAME: &str = "manifest.json";
pub(super) const SCHEMA: u32 = 1;
/// Directory in the archive that holds the server's files.
pub(super) const DATA: &str = "data";
/// Bytes of a manifest.
pub(super) const MAX_MANIFEST: u64 = 16 << 20;
/// Bytes of all files together: a server's database has some hundred KB.
pub(super) const MAX_DATA: u64 = 4 << 30;
/// Files and directories.
const MAX_ENTRIES: usize = 100_000;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    pub schema: u32,
    /// RFC 3339, UTC.
    pub created: String,
    /// Of the program that made it.
    pub version: String,
    /// What carried the tunnel; empty where this program had not installed the server.
    pub mode: String,
    pub image: Image,
    pub container: String,
    /// Directory of compose file, environment file and data.
    pub directory: String,
    /// In the order of the archive.
    pub files: Vec<File>,
    /// Those below the data, each after the one that holds it.
    pub directories: Vec<Directory>,
    pub left_out: Vec<LeftOut>,
}

/// The image that the container was made from, as far as the engine said.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Image {
    pub reference: Option<String>,
    pub id: Option<String>,
    pub digest: Option<String>,
    /// When it was built.
    pub created: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct File {
    pub path: String,
    pub sha256: String,
    pub size: u64,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Directory {
    pub path: String,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
}

/// Something below the data that is not in the backup.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LeftOut {
    pub path: String,
    pub why: String,
}

impl Manifest {
    /// Why it cannot be the list of a backup.
    pub(super) fn fault(&self) -> Option<String> {
        if self.schema != SCHEMA {
            return Some(format!("its schema is {}, this release knows {SCHEMA}", self.schema));
        }
        if self.files.len() + self.directories.len() > MAX_ENTRIES {
            return Some(format!("it lists more than {MAX_ENTRIES} files"));
        }
        let mut total: u64 = 0;
        let mut directories: BTreeSet<&str> = BTreeSet::from([DATA]);
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        for directory in &self.directories {
            if let Some(why) = path_fault(&directory.path, &directories) {
                return Some(why);
            }
            if !directories.insert(&directory.path) {
                return Some(format!("it lists {:?} twice", directory.path));
            }
        }
        for file in &self.files {
            let beside = super::BESIDE.contains(&file.path.as_str());
            if let Some(why) = path_fault(&file.path, &directories).filter(|_| !beside) {
                return Some(why);
            }
            if directories.contains(file.path.as_str()) || !seen.insert(&file.path) {
                return Some(format!("it lists {:?} twice", file.path));
            }
            total = total.saturating_add(file.size);
        }
        (total > MAX_DATA).then(|| format!("its files have {total} bytes, more than {MAX_DATA}"))
    }

    /// Whether the server had been started: without a database there is nothing to go back to.
    pub(super) fn has_database(&self) -> bool {
        self.files.iter().any(|f| f.path == format!("{DATA}/{}", super::DATABASE) && f.size > 0)
    }

    /// Bytes of the server's files.
    pub(super) fn data_size(&self) -> u64 {
        self.files.iter().filter(|f| f.path.starts_with("data/")).map(|f| f.size).sum()
    }
}

/// A path that means one place below the data, in a directory that is listed.
fn path_fault(path: &str, directories: &BTreeSet<&str>) -> Option<String> {
    let plain = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains('\0');
    if !path.split('/').all(plain) || !path.starts_with("data/") {
        return Some(format!("it lists {path:?}, which is no path below {DATA}"));
    }
    let above = path.rsplit_once('/').map_or("", |(above, _)| above);
    (!directories.contains(above)).then(|| format!("it lists {path:?} and not the directory that holds it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(files: &[&str], directories: &[&str]) -> Manifest {
        let (mode, uid, gid) = (0o600, 0, 0);
        let file = |p: &&str| File { path: p.to_string(), sha256: String::new(), size: 1, mode, uid, gid };
        Manifest {
            schema: SCHEMA,
            created: String::new(),
            version: String::new(),
            mode: String::new(),
            image: Image::default(),
            container: String::new(),
            directory: String::new(),
            files: files.iter().map(file).collect(),
            directories: directories.iter().map(|p| Directory { path: p.to_string(), mode, uid, gid }).collect(),
            left_out: Vec::new(),
        }
    }

    #[test]
    fn what_a_backup_lists() {
        let good = manifest(&["compose.yaml", "wg-easy.env", "data/wg-easy.db", "data/a/b"], &["data/a"]);
        assert_eq!(good.fault(), None);
        assert!(good.has_database());
    }

    #[test]
    fn paths_that_lead_elsewhere() {
        for path in
            ["/etc/passwd", "data/../x", "data/./x", "data//x", "data/", "data", "../x", "x", "compose.yaml/x", ""]
        {
            let why = manifest(&[path], &[]).fault();
            assert!(why.is_some(), "{path:?} as a file");
            let why = manifest(&[], &[path]).fault();
            assert!(why.is_some(), "{path:?} as a directory");
        }
        for (files, directories) in [
            (&["data/a", "data/a"][..], &[][..]),
            (&["data/a"], &["data/a"]),
            (&["data/a/b"], &[]),
            (&["data/a", "data/a/b"], &[]),
            (&[], &["data/a/b", "data/a"]),
            (&[], &["compose.yaml"]),
        ] {
            assert!(manifest(files, directories).fault().is_some(), "{files:?} {directories:?}");
        }
    }

    #[test]
    fn bounds() {
        let mut large = manifest(&["data/a", "data/b"], &[]);
        large.files[0].size = u64::MAX;
        assert!(large.fault().unwrap().contains("bytes, more than"));
        let mut later = manifest(&[], &[]);
        later.schema = 2;
        assert!(later.fault().unwrap().contains("this release knows 1"));
    }
}
