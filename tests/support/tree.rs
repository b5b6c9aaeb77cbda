//! File trees that are compared before and after.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Everything below a directory, by path from it.
#[derive(Clone, PartialEq)]
pub struct Tree(pub BTreeMap<String, Node>);

#[derive(Clone, PartialEq)]
pub enum Node {
    Directory(u32),
    File(u32, Vec<u8>),
    Link(String),
}

/// What a rollback leaves behind and why that is right; the rest of the tree must be as it was.
pub const LEFT_BY_ROLLBACK: &[&str] = &[
    // The stand-ins' own record.
    "/.fakeroot/boots",
    "/.fakeroot/commands",
    "/.fakeroot/console",
    // Every boot has an id of its own.
    "/proc/sys/kernel/random/boot_id",
    // Alpine's generator keeps its previous output.
    "/boot/extlinux.conf.old",
    // Held until the very end; /run is empty after the next boot.
    "/run/awg-install.lock",
    // Who wonders later what happened needs it.
    "/var/log/awg-install.log",
];

impl Tree {
    pub fn of(root: &Path) -> Tree {
        let mut nodes = BTreeMap::new();
        collect(root, root, &mut nodes);
        Tree(nodes)
    }

    /// Leaves out whatever the given paths name or hold.
    pub fn without(mut self, paths: &[&str]) -> Tree {
        self.0.retain(|path, _| !paths.iter().any(|p| path == p || path.starts_with(&format!("{p}/"))));
        self
    }

    /// Rewrites the text of one file before a comparison.
    pub fn normal(mut self, path: &str, change: impl Fn(String) -> String) -> Tree {
        if let Some(Node::File(_, bytes)) = self.0.get_mut(path) {
            *bytes = change(String::from_utf8_lossy(bytes).into_owned()).into_bytes();
        }
        self
    }

    pub fn files_with(&self, needle: &str) -> Vec<String> {
        let holds = |bytes: &[u8]| memchr::memmem::find(bytes, needle.as_bytes()).is_some();
        self.0
            .iter()
            .filter(|(_, node)| matches!(node, Node::File(_, bytes) if holds(bytes)))
            .map(|(path, _)| path.clone())
            .collect()
    }

    /// What differs, a line each; empty when nothing does.
    pub fn difference(&self, other: &Tree) -> String {
        let mut text = String::new();
        for path in self.0.keys().chain(other.0.keys().filter(|p| !self.0.contains_key(*p))) {
            match (self.0.get(path), other.0.get(path)) {
                (a, b) if a == b => {}
                (Some(_), None) => _ = writeln!(text, "- {path}"),
                (None, Some(_)) => _ = writeln!(text, "+ {path}"),
                (a, b) => _ = writeln!(text, "! {path}\n{}\n{}", shown(a), shown(b)),
            }
        }
        text
    }

    #[track_caller]
    pub fn assert_same(&self, other: &Tree, what: &str) {
        let difference = self.difference(other);
        assert!(difference.is_empty(), "{what}:\n{difference}");
    }
}

fn shown(node: Option<&Node>) -> String {
    match node {
        None => "absent".into(),
        Some(Node::Directory(mode)) => format!("  directory {mode:o}"),
        Some(Node::Link(to)) => format!("  link to {to}"),
        Some(Node::File(mode, bytes)) if bytes.len() < 4000 => {
            format!("  file {mode:o}: {}", String::from_utf8_lossy(bytes))
        }
        Some(Node::File(mode, bytes)) => format!("  file {mode:o} of {} bytes", bytes.len()),
    }
}

fn collect(root: &Path, dir: &Path, nodes: &mut BTreeMap<String, Node>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let place = entry.path();
        let path = format!("/{}", place.strip_prefix(root).expect("below the root").display());
        let Ok(meta) = place.symlink_metadata() else { continue };
        let mode = meta.permissions().mode() & 0o7777;
        let node = if meta.is_symlink() {
            Node::Link(fs::read_link(&place).map(|to| to.display().to_string()).unwrap_or_default())
        } else if meta.is_dir() {
            collect(root, &place, nodes);
            Node::Directory(mode)
        } else {
            Node::File(mode, fs::read(&place).unwrap_or_default())
        };
        nodes.insert(path, node);
    }
}
