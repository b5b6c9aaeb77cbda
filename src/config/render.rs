//! The configuration as text for people: the annotated example and the effective values.

use std::fmt::Write as _;

use serde_json::Value;

use super::leaf::{Leaf, LeafKind, leaves, sections};
use super::{Loaded, Origin, REDACTED};
use crate::yaml;

/// Every key with its meaning and default. Keys without a default are commented out, each
/// with an example.
pub fn render_example() -> String {
    let mut out = String::from(
        "# Configuration of awg-install, complete. Each key stands here with its default; a key that is\n\
         # commented out has none. Each is also a flag (--server-port) and an environment variable\n\
         # (AWG_SERVER_PORT). A flag wins over the environment, the environment over this file.\n\n",
    );
    write_tree(&mut out, true, &|leaf| leaf.default.is_some(), &mut |leaf, pad, out| {
        for line in about(leaf, 98 - pad.len()) {
            let _ = writeln!(out, "{pad}# {line}");
        }
        let name = leaf_name(leaf);
        if let Some(default) = &leaf.default {
            let _ = writeln!(out, "{pad}{name}: {}", yaml::inline(default));
        }
        if let Some(example) = &leaf.example {
            let hash = if pad.contains('#') { "" } else { "# " };
            let _ = writeln!(out, "{pad}{hash}{name}: {}", yaml::inline(example));
        }
    });
    out
}

/// The values in force, each with its origin. Loading the result gives the same
/// configuration, except for the password, which is never written.
pub fn render_effective(loaded: &Loaded) -> String {
    let tree = serde_json::to_value(&loaded.config).unwrap_or_default();
    let value = |leaf: &Leaf| tree.pointer(&format!("/{}", leaf.path.replace('.', "/"))).unwrap_or(&Value::Null);
    let mut out = String::new();
    write_tree(&mut out, false, &|leaf| !leaf.secret && !value(leaf).is_null(), &mut |leaf, pad, out| {
        let (name, origin) = (leaf_name(leaf), loaded.origin(&leaf.path));
        let _ = match value(leaf) {
            Value::Null => Ok(()),
            _ if leaf.secret => writeln!(out, "{pad}# {name}: {REDACTED}  # {origin}"),
            value => writeln!(out, "{pad}{name}: {}  # {origin}", yaml::inline(value)),
        };
    });
    out
}

/// The values that somebody has given, as a configuration file for another host. Secrets are left out, and what
/// only this run can read.
pub fn render_given(loaded: &Loaded) -> String {
    let tree = serde_json::to_value(&loaded.config).unwrap_or_default();
    let value = |leaf: &Leaf| tree.pointer(&format!("/{}", leaf.path.replace('.', "/"))).unwrap_or(&Value::Null);
    let given = |leaf: &Leaf| {
        let value = value(leaf);
        !leaf.secret && *loaded.origin(&leaf.path) != Origin::Default && !value.is_null() && value != "-"
    };
    let mut out = String::new();
    write_tree(&mut out, false, &given, &mut |leaf, pad, out| {
        if given(leaf) {
            let _ = writeln!(out, "{pad}{}: {}", leaf_name(leaf), yaml::inline(value(leaf)));
        }
    });
    out
}

/// Visits sections and leaves in the order of the type. A section without a live leaf is left
/// out, or with `all` commented out with what it holds: YAML reads a bare name as "nothing".
fn write_tree(
    out: &mut String,
    all: bool,
    live: &dyn Fn(&Leaf) -> bool,
    leaf_text: &mut dyn FnMut(&Leaf, &str, &mut String),
) {
    let mut open = "";
    for leaf in leaves() {
        let section = leaf.path.rsplit_once('.').map_or("", |(section, _)| section);
        let depth = if section.is_empty() { 0 } else { section.split('.').count() };
        let inside = format!("{section}.");
        let alive = section.is_empty() || leaves().iter().any(|l| l.path.starts_with(&inside) && live(l));
        let hash = if alive { "" } else { "# " };
        if !alive && !all {
            continue;
        }
        // A nested section stands between its parent's keys; coming back out of it needs no
        // header, since the indentation says it.
        if section != open && !open.starts_with(&inside) {
            let outer = "  ".repeat(depth.saturating_sub(1));
            let name = section.rsplit('.').next().unwrap_or_default();
            let meaning = sections().iter().find(|(path, _)| path == section).map_or("", |(_, about)| about);
            if depth == 1 {
                out.push('\n');
            }
            let _ = writeln!(out, "{outer}# {meaning}\n{outer}{hash}{name}:");
        }
        open = section;
        let pad = if alive { "  ".repeat(depth) } else { format!("{}{hash}  ", "  ".repeat(depth - 1)) };
        leaf_text(leaf, &pad, out);
    }
}

fn leaf_name(leaf: &Leaf) -> &str {
    leaf.path.rsplit('.').next().unwrap_or_default()
}

/// What a leaf means, in lines; the words of a closed set stand one below the other.
fn about(leaf: &Leaf, width: usize) -> Vec<String> {
    let mut text = leaf.description.clone();
    if leaf.first_start {
        text.push_str(" First start only: later changes are made in wg-easy.");
    }
    let mut lines = wrapped(&text, width);
    if let LeafKind::Choice(choices) = &leaf.kind {
        let longest = choices.iter().map(|c| c.word.len()).max().unwrap_or_default();
        lines.extend(choices.iter().map(|c| format!("  {:longest$}  {}", c.word, c.help)));
    }
    lines
}

fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().filter(|line| line.is_empty() || line.len() + 1 + word.len() <= width);
        match line {
            Some(line) => {
                if !line.is_empty() {
                    line.push(' ');
                }
                line.push_str(word);
            }
            None => lines.push(word.to_string()),
        }
    }
    lines
}

impl Loaded {
    /// The keys that were given by somebody, with their origin.
    pub fn given(&self) -> impl Iterator<Item = (&str, &Origin)> {
        self.origins.iter().filter(|(_, o)| **o != Origin::Default).map(|(path, o)| (path.as_str(), o))
    }
}
