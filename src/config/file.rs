//! The configuration file: known keys, each of the right shape, with its place in the text.

use serde_json::{Map, Value};

use super::VERSION;
use super::leaf::{join, leaf, sections};
use super::load::{Layers, MAX_FILE, Origin};
use super::shape::{described, nearest, shape_fits, unknown, wrong_shape};
use crate::error::{Error, Kind, Result};
use crate::yaml::{self, Position, one_line, shown};

/// Reads a file's text into the layers; every error names line and column.
pub(super) fn read(name: &str, text: &str, layers: &mut Layers) -> Result<()> {
    let name_shown = one_line(name);
    if text.len() > MAX_FILE {
        return Err(Error::new(Kind::Config, format!("{name_shown}: larger than 1 MiB, so not a configuration"))
            .remedy("give the configuration file to --config"));
    }
    let file = File { name, text };
    let tree = yaml::parse(text).map_err(|fault| {
        let place = file.place(fault.position);
        Error::new(Kind::Config, format!("{place}: not a valid configuration")).cause(fault.message)
    })?;
    let Some(top) = tree.as_object() else {
        if tree.is_null() {
            return Ok(());
        }
        return Err(Error::new(Kind::Config, format!("{name_shown}: is not a mapping of keys to values"))
            .remedy("see `awg-install render example`"));
    };
    if let Some(version) = top.get("version").filter(|v| v.as_u64() != Some(u64::from(VERSION)) && !v.is_null()) {
        let place = file.place(file.find("version", true));
        let version = if version.is_string() || version.is_number() { version.to_string() } else { "this".into() };
        let version: String = version.chars().take(20).collect();
        return Err(Error::new(
            Kind::Config,
            format!("{place}: version: {version} is not a format this release reads"),
        )
        .remedy(format!("write version: {VERSION}, or take the release that wrote the file")));
    }
    file.walk(top, "", layers)
}

struct File<'a> {
    name: &'a str,
    text: &'a str,
}

impl File<'_> {
    fn find(&self, path: &str, value: bool) -> Option<Position> {
        yaml::locate(self.text, &path.split('.').collect::<Vec<_>>(), value)
    }

    /// The line of a key that is known to be there. One that is written only once needs no
    /// second parse.
    fn line(&self, path: &str, name: &str) -> Option<usize> {
        let lines = self.text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with('#'));
        let mut places = lines.flat_map(|(number, line)| {
            let word = |c: char| c.is_alphanumeric() || c == '_';
            let whole = move |at: usize| {
                !line[..at].ends_with(word) && line[at + name.len()..].trim_start_matches(['"', '\'']).starts_with(':')
            };
            line.match_indices(name).filter(move |(at, _)| whole(*at)).map(move |_| number + 1)
        });
        match (places.next(), places.next()) {
            (Some(only), None) => Some(only),
            _ => self.find(path, false).map(|at| at.line),
        }
    }

    fn place(&self, position: Option<Position>) -> String {
        let name = one_line(self.name);
        match position {
            Some(at) => format!("{name}:{}:{}", at.line, at.column),
            None => name,
        }
    }

    fn walk(&self, map: &Map<String, Value>, section: &str, layers: &mut Layers) -> Result<()> {
        for (name, value) in map {
            let path = join(section, name);
            // A dot in a key must not reach into another section.
            let known = if name.contains('.') { None } else { leaf(&path) };
            let is_section = !name.contains('.') && sections().iter().any(|(s, _)| *s == path);
            match (known, value) {
                // "key:" with nothing after it leaves the default.
                (Some(_), Value::Null) => {}
                (Some(leaf), _) => {
                    let at = || self.place(self.find(&path, true));
                    if !shape_fits(leaf, value) {
                        return Err(wrong_shape(leaf, value, &at()));
                    }
                    let origin = Origin::File { path: self.name.to_string(), line: self.line(&path, name) };
                    layers.set(leaf, value.clone(), origin, &at)?;
                }
                (None, Value::Object(inner)) if is_section => self.walk(inner, &path, layers)?,
                (None, Value::Null) if is_section => {}
                (None, other) if is_section => {
                    let at = self.place(self.find(&path, true));
                    let message = format!("{at}: {path}: takes keys of its own, not {}", described(other));
                    return Err(Error::new(Kind::Config, message).remedy(format!("indent its keys below {path}:")));
                }
                (None, _) if leaf(&path).is_some() => {
                    let at = self.place(yaml::locate(self.text, &steps(section, name), false));
                    let (section, last) = path.rsplit_once('.').unwrap_or(("", &path));
                    return Err(Error::new(
                        Kind::Config,
                        format!("{at}: {}: a key has no dots in the file", shown(name)),
                    )
                    .remedy(format!("write {last}: indented below {section}:")));
                }
                (None, _) => {
                    let at = self.place(yaml::locate(self.text, &steps(section, name), false));
                    return Err(unknown(&at, "key", &path, &nearest(&path)));
                }
            }
        }
        Ok(())
    }
}

/// The way to a key, whose own name may hold a dot.
fn steps<'a>(section: &'a str, name: &'a str) -> Vec<&'a str> {
    section.split('.').filter(|s| !s.is_empty()).chain([name]).collect()
}
