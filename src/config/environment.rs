//! Values that arrive as text: environment variables and flags, both named after the keys.

use std::collections::BTreeMap;

use serde_json::Value;

use super::leaf::{Leaf, LeafKind, leaf, leaves, sections, variable as variable_of};
use super::load::{Layers, Origin};
use super::shape::{nearest, shape_fits, unknown, wrong_shape};
use super::{Fallback, Mode};
use crate::error::{Error, Kind, Result};
use crate::yaml::shown;

/// Takes the variables named after keys, and wg-easy's own switch below them.
pub(super) fn read_variables(environment: &BTreeMap<String, String>, layers: &mut Layers) -> Result<()> {
    if let Some(word) = environment.get(OVERRIDE).filter(|w| !w.is_empty()) {
        override_mode(word, layers)?;
    }
    for (variable, text) in environment {
        // An empty variable is how scripts and compose files say "not set".
        if text.is_empty() {
            continue;
        }
        match leaves().iter().find(|l| l.variable().as_deref() == Some(variable)) {
            Some(leaf) => {
                let at = format!("environment {variable}");
                let value = from_text(leaf, text, &at)?;
                layers.set(leaf, value, Origin::Environment(variable.clone()), &|| at.clone())?;
            }
            None => refuse_misspelt(variable)?,
        }
    }
    Ok(())
}

/// wg-easy's own switch, which operators know from its documents.
const OVERRIDE: &str = "OVERRIDE_AUTO_AWG";

/// `wg` asks for plain WireGuard. `awg` only rules it out: it says nothing about how
/// AmneziaWG is carried, so any other mode from the file stands.
fn override_mode(word: &str, layers: &mut Layers) -> Result<()> {
    let at = format!("environment {OVERRIDE}");
    let plain = |path: &str| layers.values.get(path).is_some_and(|(v, _)| v == Mode::Wireguard.as_str());
    let mut changes = Vec::new();
    match word {
        "wg" => changes.push(("mode", Mode::Wireguard.as_str())),
        "awg" => {
            if plain("mode") {
                changes.push(("mode", Mode::Auto.as_str()));
            }
            if plain("fallback") {
                changes.push(("fallback", Fallback::Userspace.as_str()));
            }
        }
        other => {
            return Err(Error::new(Kind::Config, format!("{at}: {} is neither awg nor wg", shown(other)))
                .remedy("set AWG_MODE instead, or unset the variable"));
        }
    }
    for (path, word) in changes {
        if let Some(leaf) = leaf(path) {
            layers.set(leaf, word.into(), Origin::Environment(OVERRIDE.to_string()), &|| at.clone())?;
        }
    }
    Ok(())
}

/// A variable of ours by its beginning that is none: misspelt, and silently ignored it would
/// leave a default in place that nobody chose.
fn refuse_misspelt(variable: &str) -> Result<()> {
    let ours = sections()
        .iter()
        .any(|(section, _)| !section.contains('.') && variable.starts_with(&format!("{}_", variable_of(section))));
    if !ours {
        return Ok(());
    }
    let known = leaves().iter().filter_map(Leaf::variable);
    let score = |name: &String| strsim::normalized_damerau_levenshtein(variable, name);
    let nearest = known.max_by(|a, b| score(a).total_cmp(&score(b))).unwrap_or_default();
    Err(unknown("environment", "variable", variable, &nearest))
}

/// Takes values by dotted path, as the command line found them.
pub(super) fn read_flags(flags: &BTreeMap<String, String>, layers: &mut Layers) -> Result<()> {
    for (path, text) in flags {
        let found = leaf(path).and_then(|leaf| Some((leaf, leaf.flag()?)));
        let Some((leaf, flag)) = found else {
            return Err(unknown("flag", "key", path, &nearest(path)));
        };
        let at = format!("flag --{flag}");
        let value = from_text(leaf, text, &at)?;
        layers.set(leaf, value, Origin::Flag(flag), &|| at.clone())?;
    }
    Ok(())
}

/// A value out of the text that a flag or a variable carries. Lists are comma-separated.
fn from_text(leaf: &Leaf, text: &str, at: &str) -> Result<Value> {
    let value = match &leaf.kind {
        LeafKind::Boolean => text.parse::<bool>().map(Value::from).ok(),
        LeafKind::Integer { .. } => text.parse::<i64>().map(Value::from).ok(),
        LeafKind::List => {
            let entries = text.split(',').map(str::trim).filter(|e| !e.is_empty());
            Some(Value::Array(entries.map(Value::from).collect()))
        }
        LeafKind::Text | LeafKind::Choice(_) => Some(text.into()),
    };
    match value {
        Some(value) if shape_fits(leaf, &value) => Ok(value),
        _ => Err(Error { remedy: None, ..wrong_shape(leaf, &text.into(), at) }),
    }
}
