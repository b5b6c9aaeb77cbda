//! YAML text to JSON values and back. The only module that names the YAML crate.
//!
//! Stricter than the crate: duplicate keys, tags and several documents are errors, and a
//! budget bounds what aliases can expand to.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::fmt;

use serde::de::{self, DeserializeSeed, EnumAccess, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Values and keys a text may expand to, aliases included.
const MAX_NODES: usize = 20_000;
/// Bytes of text these may hold together.
const MAX_BYTES: usize = 2 << 20;
/// Opening brackets in a text. The scanner's time grows with the square of their depth, so
/// that they are counted before it sees them.
const MAX_BRACKETS: usize = 1_000;
const TOO_DEEP: &str = "is nested more deeply than a configuration can be";
/// What [`locate`] raises where the path ends; its position is the answer.
const FOUND: &str = "found";

/// A place in a text; both count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    pub line: usize,
    pub column: usize,
}

/// Why a text is not YAML that this program reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub message: String,
    pub position: Option<Position>,
}

/// Parses one document. An empty text is `Null`.
pub fn parse(text: &str) -> Result<Value, Fault> {
    if text.chars().any(|c| c == '\u{feff}' || c == '\0') {
        return Err(Fault { message: "holds a byte order mark or NUL".into(), position: None });
    }
    if let Some(line) = text.lines().position(is_dense) {
        let position = Some(Position { line: line + 1, column: 1 });
        return Err(Fault { message: TOO_DEEP.into(), position });
    }
    if text.bytes().filter(|b| matches!(b, b'[' | b'{')).count() > MAX_BRACKETS {
        return Err(Fault { message: TOO_DEEP.into(), position: None });
    }
    let budget = Budget { nodes: Cell::new(MAX_NODES), bytes: Cell::new(MAX_BYTES) };
    match (Node { budget: &budget }).deserialize(serde_yaml::Deserializer::from_str(text)) {
        Ok(value) => Ok(value),
        // Nothing but comments: the crate calls this the end of the stream.
        Err(_) if text.lines().all(is_blank) => Ok(Value::Null),
        Err(err) => Err(fault(&err)),
    }
}

/// Where the key that ends `path` stands in `text`, or with `value` what it maps to.
pub fn locate(text: &str, path: &[&str], value: bool) -> Option<Position> {
    let seed = Finder { path, value };
    let err = seed.deserialize(serde_yaml::Deserializer::from_str(text)).err()?;
    let fault = fault(&err);
    fault.message.ends_with(FOUND).then_some(fault.position)?
}

/// A value as YAML text.
pub fn to_string(value: &Value) -> String {
    serde_yaml::to_string(value).expect("a JSON value has a YAML form")
}

/// One value on one line, quoted where YAML would read it as something else.
pub fn inline(value: &Value) -> String {
    match value {
        Value::String(text) => {
            let plain = serde_yaml::to_string(value).unwrap_or_default();
            let plain = plain.trim_end_matches('\n');
            // Readers of YAML 1.1 take these words for true and false.
            let switch = ["y", "n", "yes", "no", "on", "off"].iter().any(|w| text.eq_ignore_ascii_case(w));
            let risky = switch || plain.contains('\n') || plain.starts_with('|') || plain.contains(" #");
            if risky { Value::from(text.as_str()).to_string() } else { plain.to_string() }
        }
        // JSON is YAML, and its quoting leaves nothing to guess.
        other => other.to_string(),
    }
}

fn is_blank(line: &str) -> bool {
    let line = line.trim();
    line.is_empty() || line.starts_with('#') || line == "---"
}

/// Lists of lists on one line, `- - - x`, which cost as much as brackets.
fn is_dense(line: &str) -> bool {
    let marks = |pair: &[u8]| matches!(pair, [b'-' | b'?', b' ']);
    line.as_bytes().windows(2).filter(|pair| marks(pair)).count() > 64 && line.trim_start().starts_with(['-', '?'])
}

fn fault(err: &serde_yaml::Error) -> Fault {
    let position = err.location().map(|at| Position { line: at.line(), column: at.column() });
    let text = err.to_string();
    let message = match text.find(" at line ") {
        Some(end) if position.is_some() => one_line(&text[..end]),
        _ => one_line(&text),
    };
    Fault { message, position }
}

struct Budget {
    nodes: Cell<usize>,
    bytes: Cell<usize>,
}

impl Budget {
    fn spend<E: de::Error>(&self, bytes: usize) -> Result<(), E> {
        let left = (self.nodes.get().checked_sub(1), self.bytes.get().checked_sub(bytes));
        let (Some(nodes), Some(bytes)) = left else {
            return Err(E::custom("expands to more values than a configuration can have"));
        };
        self.nodes.set(nodes);
        self.bytes.set(bytes);
        Ok(())
    }
}

#[derive(Clone, Copy)]
struct Node<'a> {
    budget: &'a Budget,
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a plain YAML value")
    }

    fn visit_bool<E: de::Error>(self, v: bool) -> Result<Value, E> {
        self.budget.spend(0)?;
        Ok(v.into())
    }

    fn visit_i64<E: de::Error>(self, v: i64) -> Result<Value, E> {
        self.budget.spend(0)?;
        Ok(v.into())
    }

    fn visit_u64<E: de::Error>(self, v: u64) -> Result<Value, E> {
        self.budget.spend(0)?;
        Ok(v.into())
    }

    fn visit_i128<E: de::Error>(self, v: i128) -> Result<Value, E> {
        self.visit_f64(v as f64)
    }

    fn visit_u128<E: de::Error>(self, v: u128) -> Result<Value, E> {
        self.visit_f64(v as f64)
    }

    fn visit_f64<E: de::Error>(self, v: f64) -> Result<Value, E> {
        self.budget.spend(0)?;
        Number::from_f64(v).map(Value::Number).ok_or_else(|| E::custom("not a finite number"))
    }

    fn visit_str<E: de::Error>(self, v: &str) -> Result<Value, E> {
        self.budget.spend(v.len())?;
        Ok(v.into())
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        self.budget.spend(0)?;
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        self.budget.spend(0)?;
        let mut list = Vec::new();
        while let Some(item) = seq.next_element_seed(self)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        self.budget.spend(0)?;
        let seen = RefCell::new(HashSet::new());
        let mut map = Map::new();
        while let Some(key) = entries.next_key_seed(Key { seen: &seen, budget: self.budget })? {
            map.insert(key, entries.next_value_seed(self)?);
        }
        Ok(Value::Object(map))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, _: A) -> Result<Value, A::Error> {
        Err(de::Error::custom("tags (words that begin with !) are not supported"))
    }
}

/// A mapping's key. Raised here, an error carries the position of the key itself.
struct Key<'a> {
    seen: &'a RefCell<HashSet<String>>,
    budget: &'a Budget,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = String;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a word as key")
    }

    fn visit_str<E: de::Error>(self, v: &str) -> Result<String, E> {
        self.budget.spend(v.len())?;
        if !self.seen.borrow_mut().insert(v.to_string()) {
            return Err(E::custom(format_args!("duplicate key {}", shown(v))));
        }
        Ok(v.to_string())
    }
}

/// Text from outside, safe to print on one line: what could end the line, colour the terminal
/// or turn the direction of writing is escaped.
pub fn one_line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\'' | '"' | '\\' => out.push(c),
            _ => out.extend(c.escape_debug()),
        }
    }
    out
}

/// A word from outside in quotes, cut where it is long.
pub fn shown(word: &str) -> String {
    let mut out: String = word.chars().take(60).flat_map(char::escape_debug).collect();
    if word.chars().nth(60).is_some() {
        out.push_str("...");
    }
    format!("\"{out}\"")
}

/// Walks to the end of a path and raises [`FOUND`] there.
#[derive(Clone, Copy)]
struct Finder<'a> {
    path: &'a [&'a str],
    value: bool,
}

impl<'de> DeserializeSeed<'de> for Finder<'_> {
    type Value = ();

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Finder<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let Some((head, rest)) = self.path.split_first() else {
            return Err(de::Error::custom(FOUND));
        };
        let stop = rest.is_empty() && !self.value;
        while let Some(hit) = entries.next_key_seed(FinderKey { head, stop })? {
            if !hit {
                entries.next_value::<de::IgnoredAny>()?;
            } else if rest.is_empty() {
                return entries.next_value_seed(Here);
            } else {
                entries.next_value_seed(Finder { path: rest, value: self.value })?;
            }
        }
        Ok(())
    }
}

struct FinderKey<'a> {
    head: &'a str,
    stop: bool,
}

impl<'de> DeserializeSeed<'de> for FinderKey<'_> {
    type Value = bool;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for FinderKey<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a word as key")
    }

    fn visit_str<E: de::Error>(self, v: &str) -> Result<bool, E> {
        let hit = v == self.head;
        if hit && self.stop { Err(E::custom(FOUND)) } else { Ok(hit) }
    }
}

/// Raises [`FOUND`] at whatever value stands here.
struct Here;

impl<'de> DeserializeSeed<'de> for Here {
    type Value = ();

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

macro_rules! found {
    ($($method:ident: $type:ty),*) => {
        $(fn $method<E: de::Error>(self, _: $type) -> Result<(), E> {
            Err(E::custom(FOUND))
        })*
    };
}

impl<'de> Visitor<'de> for Here {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(FOUND)
    }

    found!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_i128: i128, visit_u128: u128,
        visit_f64: f64, visit_str: &str);

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        Err(E::custom(FOUND))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        Err(de::Error::custom(FOUND))
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        Err(de::Error::custom(FOUND))
    }
}
