//! Whether a value has the shape its key takes, and what to say when it has not.

use serde_json::Value;

use super::leaf::{Leaf, LeafKind, leaves, sections};
use crate::error::{Error, Kind};
use crate::yaml::{one_line, shown};

pub(super) fn shape_fits(leaf: &Leaf, value: &Value) -> bool {
    match &leaf.kind {
        LeafKind::Boolean => value.is_boolean(),
        LeafKind::Integer { min, max } => value.as_i64().is_some_and(|n| (*min..=*max).contains(&n)),
        LeafKind::Text => value.is_string(),
        LeafKind::List => value.as_array().is_some_and(|list| list.iter().all(Value::is_string)),
        LeafKind::Choice(choices) => choices.iter().any(|c| *value == c.word),
    }
}

pub(super) fn wrong_shape(leaf: &Leaf, value: &Value, at: &str) -> Error {
    let given = if leaf.secret { kind_of(value).to_string() } else { described(value) };
    let error = Error::new(Kind::Config, format!("{at}: {}: takes {}, not {given}", leaf.path, leaf.expects()));
    match (&leaf.kind, value) {
        (LeafKind::Text, Value::Number(_) | Value::Bool(_)) => error.remedy("put the value in quotes"),
        (LeafKind::List, Value::String(_)) => error.remedy("write a list in brackets: [\"...\", \"...\"]"),
        (LeafKind::List, Value::Array(_)) => error.remedy("put each entry in quotes"),
        (LeafKind::Integer { .. }, Value::String(text)) if text.parse::<i64>().is_ok() => {
            error.remedy("write the number without quotes")
        }
        (LeafKind::Choice(_), Value::Bool(_)) => error.remedy("write the word in quotes"),
        _ => error,
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}

pub(super) fn described(value: &Value) -> String {
    match value {
        Value::String(text) => shown(text),
        Value::Number(_) | Value::Bool(_) => value.to_string(),
        other => kind_of(other).to_string(),
    }
}

pub(super) fn unknown(at: &str, what: &str, name: &str, nearest: &str) -> Error {
    let name: String = one_line(name).chars().take(80).collect();
    Error::new(Kind::Config, format!("{at}: unknown {what} {name}"))
        .remedy(format!("the nearest known {what} is {nearest}"))
}

/// The known path most like an unknown one: a key written in the wrong section is found by
/// its last word, a misspelt one by its letters.
pub(super) fn nearest(path: &str) -> String {
    let word = path.rsplit('.').next().unwrap_or_default();
    let known = leaves().iter().map(|l| l.path.clone()).chain(sections().iter().map(|(s, _)| s.clone()));
    let score = |candidate: &String| {
        let last = candidate.rsplit('.').next().unwrap_or_default();
        let cut = |s: &str| s.chars().take(80).collect::<String>();
        let whole = strsim::normalized_damerau_levenshtein(&cut(path), candidate);
        whole + strsim::normalized_damerau_levenshtein(&cut(word), last)
    };
    known.max_by(|a, b| score(a).total_cmp(&score(b))).unwrap_or_default()
}
