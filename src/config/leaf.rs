//! The one table of keys, read off the configuration's own schema: flags, environment
//! variables, help, example and the check for unknown keys all come from here.

use std::sync::OnceLock;

use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use super::Config;

/// What a key takes.
#[derive(Debug, Clone, PartialEq)]
pub enum LeafKind {
    Boolean,
    Integer { min: i64, max: i64 },
    Text,
    List,
    Choice(Vec<Choice>),
}

/// One word of a closed set.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    pub word: String,
    pub help: String,
}

/// A key that holds a value.
#[derive(Debug, Clone, PartialEq)]
pub struct Leaf {
    /// Dotted path: `server.web_port`.
    pub path: String,
    pub kind: LeafKind,
    pub description: String,
    /// `None` where the default is "absent".
    pub default: Option<Value>,
    pub example: Option<Value>,
    /// Never shown, and never a flag: the process list shows flags.
    pub secret: bool,
    /// wg-easy reads it on its first start only; later changes do not reach it.
    pub first_start: bool,
    /// The name of its flag, where that is not made from the path.
    own_flag: Option<String>,
}

impl Leaf {
    /// `server.web_port` → `server-web-port`, unless it has a name of its own; `None` for what cannot be a flag.
    pub fn flag(&self) -> Option<String> {
        let fit = !self.secret && self.path != "version";
        fit.then(|| self.own_flag.clone().unwrap_or_else(|| self.path.replace(['.', '_'], "-")))
    }

    /// `server.web_port` → `AWG_SERVER_WEB_PORT`; `None` for the file format's own version.
    pub fn variable(&self) -> Option<String> {
        (self.path != "version").then(|| variable(&self.path))
    }

    /// What it takes, for messages: `a number from 1 to 65535`.
    pub fn expects(&self) -> String {
        match &self.kind {
            LeafKind::Boolean => "true or false".into(),
            LeafKind::Integer { min, max } if min == max => format!("the number {min}"),
            LeafKind::Integer { min, max } => format!("a number from {min} to {max}"),
            LeafKind::Text => "a text".into(),
            LeafKind::List => "a list of texts".into(),
            LeafKind::Choice(choices) => {
                let words: Vec<&str> = choices.iter().map(|c| c.word.as_str()).collect();
                format!("one of {}", words.join(", "))
            }
        }
    }
}

/// Every key, in the order of the type.
pub fn leaves() -> &'static [Leaf] {
    &table().leaves
}

/// The leaf at a dotted path.
pub(super) fn leaf(path: &str) -> Option<&'static Leaf> {
    leaves().iter().find(|leaf| leaf.path == path)
}

/// The sections, outermost first, with what they are about.
pub(super) fn sections() -> &'static [(String, String)] {
    &table().sections
}

/// JSON schema (draft 2020-12) of the configuration file.
pub fn schema() -> Value {
    let mut schema = generate();
    annotate(&mut schema, "");
    schema
}

pub(super) fn variable(path: &str) -> String {
    format!("AWG_{}", path.replace('.', "_").to_uppercase())
}

pub(super) fn join(section: &str, name: &str) -> String {
    if section.is_empty() { name.to_string() } else { format!("{section}.{name}") }
}

fn generate() -> Value {
    let mut settings = SchemaSettings::draft2020_12();
    settings.inline_subschemas = true;
    settings.into_generator().into_root_schema_for::<Config>().to_value()
}

#[derive(Default)]
struct Table {
    leaves: Vec<Leaf>,
    sections: Vec<(String, String)>,
}

fn table() -> &'static Table {
    static TABLE: OnceLock<Table> = OnceLock::new();
    TABLE.get_or_init(|| {
        let defaults = serde_json::to_value(Config::default()).unwrap_or_default();
        let mut table = Table::default();
        collect(&generate(), &defaults, "", &mut table);
        table
    })
}

fn properties(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    schema.get("properties").and_then(Value::as_object).into_iter().flatten()
}

fn collect(schema: &Value, defaults: &Value, section: &str, table: &mut Table) {
    for (name, property) in properties(schema) {
        let path = join(section, name);
        let default = defaults.get(name).cloned().unwrap_or_default();
        if property.get("properties").is_some() {
            table.sections.push((path.clone(), text(property, "description")));
            collect(property, &default, &path, table);
        } else {
            table.leaves.push(Leaf {
                path,
                kind: kind(property),
                description: text(property, "description"),
                default: (!default.is_null()).then_some(default),
                example: property.get("x-example").cloned(),
                secret: property.get("x-secret").is_some(),
                first_start: property.get("x-first-start").is_some(),
                own_flag: property.get("x-flag").and_then(Value::as_str).map(|f| f.trim_start_matches('-').to_string()),
            });
        }
    }
}

fn kind(property: &Value) -> LeafKind {
    if let Some(variants) = property.get("oneOf").and_then(Value::as_array) {
        let choice = |v: &Value| Choice { word: text(v, "const"), help: text(v, "description") };
        return LeafKind::Choice(variants.iter().map(choice).collect());
    }
    let named = |wanted: &str| match property.get("type") {
        Some(Value::String(name)) => name == wanted,
        Some(Value::Array(names)) => names.iter().any(|n| n == wanted),
        _ => false,
    };
    let bound = |key: &str, otherwise| property.get(key).and_then(Value::as_i64).unwrap_or(otherwise);
    if named("boolean") {
        LeafKind::Boolean
    } else if named("integer") {
        LeafKind::Integer { min: bound("minimum", 0), max: bound("maximum", i64::from(u32::MAX)) }
    } else if named("array") {
        LeafKind::List
    } else {
        LeafKind::Text
    }
}

fn text(schema: &Value, key: &str) -> String {
    let text = schema.get(key).and_then(Value::as_str).unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Adds to each leaf what it is called on the command line and in the environment.
fn annotate(schema: &mut Value, section: &str) {
    let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) else { return };
    for (name, property) in properties {
        let path = join(section, name);
        let Some(leaf) = leaf(&path) else {
            annotate(property, &path);
            continue;
        };
        if let Some(flag) = leaf.flag() {
            property["x-flag"] = json!(format!("--{flag}"));
        }
        if let Some(variable) = leaf.variable() {
            property["x-environment"] = json!(variable);
        }
    }
}
