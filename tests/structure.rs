//! Which part may know which, held against the sources.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use support::repository;

/// Layers, lowest first. A module may use those of lower layers and of its own; nothing above.
const LAYERS: &[&[&str]] = &[
    &["error"],
    &["age", "redact", "unpack", "yaml"],
    &["host"],
    &["config", "drift", "initramfs", "module"],
    &["seal"],
    // What can be known of a host; no decision is made here.
    &["bundle", "catalog", "facts", "fetch", "pull"],
    &["packages", "sources"],
    // Data that decisions are made of.
    &["drivers", "owned", "step", "receipt"],
    // Decisions: pure functions, see PURE.
    &["choice", "preflight", "plan", "recipe"],
    // What people see, and what acts.
    &[
        "ask",
        "bootable",
        "bootloader",
        "build",
        "cli",
        "container",
        "daemon",
        "https",
        "image",
        "kernel",
        "notice",
        "proof",
        "reboot",
        "report",
    ],
    &["backup"],
    &["change", "status"],
    &["apply", "beside", "doctor", "undo", "wayback"],
    &["run", "setup", "wizard"],
    &["main"],
];

/// Known crossings of the layers, each with its reason.
const CROSSINGS: &[(&str, &str, &str)] = &[
    ("undo", "run", "the lock that every changing command takes"),
    ("status", "run", "the same look at the host"),
    ("doctor", "run", "the same look at the host"),
];

/// Parts that must not see the host: their result is a function of their arguments.
const PURE: &[&str] = &[
    "age",
    "choice",
    "config",
    "drift",
    "drivers",
    "initramfs",
    "module",
    "owned",
    "plan",
    "preflight",
    "recipe",
    "redact",
    "step",
    "unpack",
    "yaml",
];

/// Text that only the named files may contain, and why.
const ONLY_IN: &[(&str, &[&str], &str)] = &[
    ("serde_yaml", &["src/yaml.rs"], "one place knows the YAML library"),
    ("minijinja", &["src/owned", "src/owned.rs"], "one place fills templates"),
    (
        "reqwest",
        &["src/fetch", "src/fetch.rs", "src/host.rs", "src/host/http", "src/host/http.rs", "src/host/tls.rs"],
        "the network",
    ),
    ("Command::new", &["src/host/command.rs"], "commands run through one door"),
    ("std::process::", &["src/host", "src/host.rs", "src/main.rs", "src/receipt.rs"], "exit code; number of the run"),
    (
        "std::fs::",
        &["src/host", "src/facts.rs", "src/facts/network.rs", "src/apply.rs", "src/main.rs", "src/run.rs"],
        "files go through one door; /proc/self and links below /proc have no other",
    ),
    ("dialoguer", &["src/host/terminal.rs"], "the terminal"),
    ("read_line(", &["src/ask.rs", "src/host/terminal.rs"], "questions are asked in one place"),
    ("unsafe ", &[], "nothing here needs it"),
];

#[test]
fn layers() {
    let layer = |name: &str| LAYERS.iter().position(|names| names.contains(&name));
    let mut wrong = Vec::new();
    let mut crossed = BTreeSet::new();
    for (name, uses) in uses() {
        let Some(own) = layer(&name) else {
            wrong.push(format!("{name}: has no layer in this test"));
            continue;
        };
        for used in uses {
            let Some(theirs) = layer(&used) else { continue };
            if theirs <= own {
                continue;
            }
            match CROSSINGS.iter().position(|(from, to, _)| *from == name && *to == used) {
                Some(known) => _ = crossed.insert(known),
                None => wrong.push(format!("{name} uses {used}, which is above it")),
            }
        }
    }
    for (index, (from, to, _)) in CROSSINGS.iter().enumerate().filter(|(i, _)| !crossed.contains(i)) {
        wrong.push(format!("crossing {index}, {from} to {to}, is not made any more: take it out"));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn decisions_do_not_see_the_host() {
    let uses = uses();
    for name in PURE {
        let used = uses.get(*name).unwrap_or_else(|| panic!("{name} is gone"));
        for reaching in ["apply", "fetch", "kernel", "run"] {
            assert!(!used.contains(reaching), "{name} uses {reaching}");
        }
        for (path, text) in sources_of(name) {
            for line in code(&text).lines().filter(|l| l.contains("Host")) {
                // The configuration has a type of that name: the server's address.
                let own = *name == "config" || !line.contains("host::Host") && !line.contains("&Host");
                assert!(own, "{path}: {line}");
            }
        }
    }
}

#[test]
fn one_place_for_each_power() {
    for (text, files, why) in ONLY_IN {
        for (path, source) in sources().into_iter().filter(|(path, _)| !path.ends_with("/tests.rs")) {
            let allowed = files.iter().any(|f| path == *f || path.starts_with(&format!("{f}/")));
            assert!(allowed || !code(&source).contains(text), "{path} contains {text:?}; only {files:?} may: {why}");
        }
    }
}

#[test]
fn files_stay_short() {
    for (path, source) in sources() {
        let lines = source.lines().count();
        assert!(lines < 450, "{path} has {lines} lines");
        let said = source.starts_with("//!") || path.ends_with("/tests.rs");
        assert!(said, "{path} does not begin by saying what it is");
    }
}

#[test]
fn nothing_is_left_for_later() {
    let marks = [["TO", "DO"].concat(), ["FIX", "ME"].concat(), ["XX", "X"].concat(), ["unimplemented", "!"].concat()];
    for (path, source) in sources() {
        for mark in &marks {
            assert!(!source.contains(mark.as_str()), "{path} contains {mark}");
        }
    }
}

/// The modules that each top-level module names.
fn uses() -> BTreeMap<String, BTreeSet<String>> {
    let all: BTreeSet<&str> = LAYERS.iter().flat_map(|names| names.iter().copied()).collect();
    let mut uses: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, source) in sources() {
        let name = top(&path);
        if name == "lib" {
            continue;
        }
        let text = code(&source);
        let entry = uses.entry(name.clone()).or_default();
        for prefix in ["crate::", "awg_install::"] {
            for (at, _) in text.match_indices(prefix) {
                let rest = &text[at + prefix.len()..];
                let named: Vec<&str> = match rest.strip_prefix('{') {
                    Some(list) => list.split('}').next().unwrap_or("").split(',').collect(),
                    None => vec![rest],
                };
                for one in named {
                    let word: String = one.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                    if all.contains(word.as_str()) && word != name {
                        entry.insert(word);
                    }
                }
            }
        }
    }
    assert!(uses.len() > 15, "{uses:?}");
    uses
}

/// A source without its tests and comments.
fn code(source: &str) -> String {
    let source = source.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    source.lines().filter(|l| !l.trim_start().starts_with("//")).map(|l| format!("{l}\n")).collect()
}

/// `src/facts/apk.rs` belongs to `facts`.
fn top(path: &str) -> String {
    let path = path.trim_start_matches("src/");
    path.split('/').next().unwrap_or(path).trim_end_matches(".rs").to_string()
}

fn sources_of(name: &str) -> Vec<(String, String)> {
    sources().into_iter().filter(|(path, _)| top(path) == name).collect()
}

fn sources() -> Vec<(String, String)> {
    fn walk(dir: &Path, found: &mut Vec<(String, String)>) {
        for entry in fs::read_dir(dir).expect("a directory").flatten() {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let name = path.strip_prefix(repository()).expect("below the top").display().to_string();
                found.push((name, fs::read_to_string(&path).expect("text")));
            }
        }
    }
    let mut found = Vec::new();
    walk(&repository().join("src"), &mut found);
    found.sort();
    assert!(found.len() > 30, "{}", found.len());
    found
}
