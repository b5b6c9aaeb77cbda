//! A value that no log, plan, receipt or error shows.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::error::{Error, Kind, Result};

/// What stands where a secret would.
pub const REDACTED: &str = "[redacted]";
/// wg-easy lets nobody log in with a shorter one.
pub const MIN_PASSWORD: usize = 12;
/// The longest password of a registry; some are keys in JSON.
pub const MAX_TOKEN: usize = 16384;

/// Text that is wiped from memory when dropped; only [`Secret::expose`] shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The password in a file's or standard input's text: the line end an editor leaves is
    /// not part of it.
    pub fn from_password_text(text: &str) -> Result<Self> {
        let text = text.strip_suffix('\n').unwrap_or(text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        check_password(text)?;
        Ok(Self::new(text))
    }

    /// A registry's password or token out of a file's or standard input's text.
    pub fn from_token_text(text: &str) -> std::result::Result<Self, String> {
        let text = text.strip_suffix('\n').unwrap_or(text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        token_rule(text).map(|()| Self::new(text))
    }

    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// Refuses a password that nobody could log in with. The error does not contain it.
pub fn check_password(password: &str) -> Result<()> {
    rule(password).map_err(|why| {
        Error::new(Kind::Config, format!("server password: {why}"))
            .remedy("choose another one, for example from `openssl rand -base64 18`")
    })
}

fn rule(password: &str) -> std::result::Result<(), String> {
    let length = password.chars().count();
    if length < MIN_PASSWORD {
        return Err(format!("has {length} characters, at least {MIN_PASSWORD} are needed"));
    }
    if length > 1024 {
        return Err("is longer than 1024 characters".into());
    }
    if password.chars().any(char::is_control) {
        return Err("holds a control character (more than one line, perhaps)".into());
    }
    Ok(())
}

/// Registries make their passwords by rules of their own: some are documents of several lines.
fn token_rule(token: &str) -> std::result::Result<(), String> {
    match token.len() {
        0 => Err("is empty".into()),
        1..=MAX_TOKEN => Ok(()),
        _ => Err(format!("is longer than {MAX_TOKEN} bytes")),
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(REDACTED)
    }
}

/// An optional secret. Where a program reads back what it wrote, the mark means "not kept".
pub(super) fn kept<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<Secret>, D::Error> {
    read(deserializer, rule)
}

/// The same for a registry's password.
pub(super) fn token<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<Secret>, D::Error> {
    read(deserializer, token_rule)
}

fn read<'de, D: Deserializer<'de>>(
    deserializer: D,
    rule: fn(&str) -> std::result::Result<(), String>,
) -> std::result::Result<Option<Secret>, D::Error> {
    match Option::<String>::deserialize(deserializer)? {
        Some(text) if text != REDACTED => {
            rule(&text).map(|()| Some(Secret::new(text))).map_err(serde::de::Error::custom)
        }
        _ => Ok(None),
    }
}

impl JsonSchema for Secret {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Secret".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "minLength": MIN_PASSWORD, "maxLength": 1024})
    }
}
