//! From flags, environment and file to one checked configuration, with the origin of every
//! value. Pure: whoever calls has already read the file.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::leaf::{Leaf, leaves};
use super::{Config, Mode, REDACTED, environment, file};
use crate::error::{Error, Kind, Result};
use crate::yaml::{one_line, shown};

/// A larger file is not a configuration.
pub const MAX_FILE: usize = 1 << 20;

/// Everything a configuration is made of.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// Name (for messages) and text of the configuration file.
    pub file: Option<(String, String)>,
    pub environment: BTreeMap<String, String>,
    /// Values by dotted path, as the command line gave them.
    pub flags: BTreeMap<String, String>,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    Default,
    File { path: String, line: Option<usize> },
    Environment(String),
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File { path, line: None } => f.write_str(&one_line(path)),
            Origin::File { path, line: Some(line) } => write!(f, "{}:{line}", one_line(path)),
            Origin::Environment(variable) => write!(f, "environment {variable}"),
            Origin::Flag(flag) => write!(f, "flag --{flag}"),
        }
    }
}

/// A checked configuration and the origin of each leaf, by dotted path.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub config: Config,
    pub origins: BTreeMap<String, Origin>,
}

impl Loaded {
    pub fn origin(&self, path: &str) -> &Origin {
        self.origins.get(path).unwrap_or(&Origin::Default)
    }

    /// Whether somebody asked for this value, rather than taking the default.
    pub fn is_set(&self, path: &str) -> bool {
        *self.origin(path) != Origin::Default
    }
}

/// Merges and checks: flag over environment over file over default.
pub fn load(sources: &Sources) -> Result<Loaded> {
    let mut layers = Layers { values: BTreeMap::new() };
    if let Some((name, text)) = &sources.file {
        file::read(name, text, &mut layers)?;
    }
    environment::read_variables(&sources.environment, &mut layers)?;
    environment::read_flags(&sources.flags, &mut layers)?;
    settle_passwords(&mut layers)?;
    settle_mode(&mut layers);
    let origins: BTreeMap<String, Origin> = leaves()
        .iter()
        .map(|l| (l.path.clone(), layers.values.get(&l.path).map_or(Origin::Default, |(_, o)| o.clone())))
        .collect();
    let tree = nested(layers.values.iter().map(|(path, (value, _))| (path.as_str(), value)));
    let config: Config = serde_json::from_value(tree)
        .map_err(|err| Error::new(Kind::Config, "configuration: values do not fit together").cause(err))?;
    let loaded = Loaded { config, origins };
    super::check::check(&loaded)?;
    Ok(loaded)
}

/// What was found so far, the stronger source over the weaker.
pub(super) struct Layers {
    pub(super) values: BTreeMap<String, (Value, Origin)>,
}

impl Layers {
    /// How strong the source of a value is; 0 where there is none.
    fn rank(&self, path: &str) -> u8 {
        match self.values.get(path) {
            None | Some((_, Origin::Default)) => 0,
            Some((_, Origin::File { .. })) => 1,
            Some((_, Origin::Environment(_))) => 2,
            Some((_, Origin::Flag(_))) => 3,
        }
    }

    /// Takes a value of the right shape, once its own rule accepts it.
    pub(super) fn set(&mut self, leaf: &Leaf, value: Value, origin: Origin, at: &dyn Fn() -> String) -> Result<()> {
        if leaf.secret && value == REDACTED {
            return Err(refused(leaf, &value, &at(), "stands for a value that was left out"));
        }
        let alone = nested(std::iter::once((leaf.path.as_str(), &value)));
        if let Err(err) = serde_json::from_value::<Config>(alone) {
            return Err(refused(leaf, &value, &at(), &err.to_string()));
        }
        self.values.insert(leaf.path.clone(), (value, origin));
        Ok(())
    }
}

fn refused(leaf: &Leaf, value: &Value, at: &str, why: &str) -> Error {
    let value = match value {
        _ if leaf.secret => String::new(),
        Value::String(text) => format!(" {}", shown(text)),
        Value::Array(_) => String::new(),
        other => format!(" {other}"),
    };
    Error::new(Kind::Config, format!("{at}: {}:{value} {why}", leaf.path))
}

/// A tree out of dotted paths.
fn nested<'a>(values: impl Iterator<Item = (&'a str, &'a Value)>) -> Value {
    let mut tree = Value::Object(Map::new());
    for (path, value) in values {
        let mut node = &mut tree;
        for part in path.split('.') {
            if !node.is_object() {
                *node = json!({});
            }
            node = &mut node[part];
        }
        *node = value.clone();
    }
    tree
}

/// A password and a password file together are a mistake within one source; across sources
/// the stronger one wins, as for any other key.
fn settle_passwords(layers: &mut Layers) -> Result<()> {
    for direct in leaves().iter().filter(|l| l.secret).map(|l| l.path.as_str()) {
        let file = format!("{direct}_file");
        let ranks = (layers.rank(direct), layers.rank(&file));
        match ranks {
            (0, _) | (_, 0) => {}
            (one, other) if one == other => {
                let message = format!("{file}: {direct} is given as well");
                return Err(Error::new(Kind::Config, message).remedy("keep one of them"));
            }
            (weak, strong) => drop(layers.values.remove(if weak < strong { direct } else { &file })),
        }
    }
    Ok(())
}

/// A mode that overrides the file's makes moot what the file says for its own mode:
/// OVERRIDE_AUTO_AWG=wg need not know which module the file names. The same contradiction
/// within one source is left for the check to find.
fn settle_mode(layers: &mut Layers) {
    let mode = layers.values.get("mode").map(|(value, _)| value.clone());
    let is = |mode: &Option<Value>, word: Mode| mode.as_ref().is_some_and(|m| *m == word.as_str());
    let moot: &[&str] = if is(&mode, Mode::Wireguard) {
        &["kernel.release", "module.source", "module.path", "module.url", "module.sha256"]
    } else if is(&mode, Mode::Userspace) {
        &["kernel.release"]
    } else {
        &[]
    };
    for path in moot {
        if layers.rank(path) < layers.rank("mode") {
            layers.values.remove(*path);
        }
    }
}
