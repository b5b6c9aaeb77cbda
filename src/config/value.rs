//! The kinds of text a configuration holds. Each type parses itself, so that a value which
//! exists is a valid one.

use std::fmt;
use std::net::IpAddr;
use std::ops::Deref;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use super::release::ReleaseChoice;

/// Serde and schema for a type that is one string with `FromStr` and `Display`.
macro_rules! text {
    ($name:ty, $label:expr) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                $crate::config::value::printable(&text).map_err(serde::de::Error::custom)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl schemars::JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                $label.into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({"type": "string", "minLength": 1, "maxLength": MAX_TEXT})
            }
        }
    };
}

/// The longest text a key takes.
pub const MAX_TEXT: usize = 1024;

/// Refuses text that could end a line, colour a terminal or hide in a log.
pub(super) fn printable(text: &str) -> Result<(), String> {
    if text.chars().count() > MAX_TEXT {
        return Err(format!("is longer than {MAX_TEXT} characters"));
    }
    let hidden = |c: char| {
        c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200b}'..='\u{200f}')
    };
    match text.chars().find(|c| hidden(*c)) {
        Some(c) => Err(format!("holds the control character U+{:04X}", c as u32)),
        None => Ok(()),
    }
}

/// One string with a rule of its own.
macro_rules! word {
    ($(#[$doc:meta])* $name:ident, $rule:path) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
        pub struct $name(String);

        impl Deref for $name {
            type Target = str;

            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                $rule(text).map(|()| Self(text.to_string()))
            }
        }

        text!($name, stringify!($name));
    };
}
pub(super) use text;

word!(
    /// A DNS name or an IP address, as clients reach the server.
    Host, host_rule
);
word!(
    /// The administrator's name in wg-easy.
    Username, username_rule
);
word!(
    /// An e-mail address.
    Email, email_rule
);
word!(
    /// A container's name, as the engine takes it.
    ContainerName, container_name_rule
);
word!(
    /// A SHA-256 digest: 64 hexadecimal digits.
    Sha256, sha256_rule
);
word!(
    /// A module's srcversion, as modinfo shows it.
    SrcVersion, srcversion_rule
);
word!(
    /// A minisign public key: the second line of its `.pub` file.
    PublicKey, public_key_rule
);
word!(
    /// An age public key.
    Recipient, recipient_rule
);
word!(
    /// A path as the operator wrote it; `-` is standard input.
    InputFile, input_file_rule
);
word!(
    /// A user of a container registry.
    RegistryUser, registry_user_rule
);
word!(
    /// An http or https URL without credentials.
    Url, url_rule
);
text!(ReleaseChoice, "KernelRelease");
text!(AbsolutePath, "AbsolutePath");
text!(PackageSource, "PackageSource");

impl ContainerName {
    /// The name in wg-easy's own documents.
    pub(super) fn standard() -> Self {
        Self("wg-easy".into())
    }
}

impl Host {
    /// The address, when the host is one.
    pub fn address(&self) -> Option<IpAddr> {
        self.0.parse().ok()
    }

    /// As a URL writes it: an IPv6 address stands in brackets.
    pub fn in_url(&self) -> String {
        match self.address() {
            Some(IpAddr::V6(address)) => format!("[{address}]"),
            _ => self.0.clone(),
        }
    }
}

impl Url {
    pub fn is_https(&self) -> bool {
        self.0.starts_with("https://")
    }

    /// Whether it can only mean this machine.
    pub fn is_loopback(&self) -> bool {
        let (host, _) = split_authority(&self.0).unwrap_or_default();
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}

/// A path from the root, without `.` or `..`, so that it means one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AbsolutePath(PathBuf);

impl AbsolutePath {
    /// For a constant of this program.
    pub(super) fn known(path: &str) -> Self {
        Self(path.into())
    }
}

impl Deref for AbsolutePath {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl AsRef<Path> for AbsolutePath {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

impl fmt::Display for AbsolutePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

impl FromStr for AbsolutePath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let path = Path::new(text);
        if !path.is_absolute() {
            return Err("is not an absolute path".into());
        }
        // Compared as text: `components` already leaves out what `/a/./b` writes.
        if text.split('/').any(|part| part == "." || part == "..") {
            return Err("holds . or .. as a part".into());
        }
        let tidy: PathBuf = path.components().filter(|c| !matches!(c, Component::CurDir)).collect();
        Ok(Self(tidy))
    }
}

/// `kernel.package`: where the kernel's package comes from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum PackageSource {
    #[default]
    Repository,
    File(AbsolutePath),
    Url(Url),
}

impl FromStr for PackageSource {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "repository" {
            Ok(Self::Repository)
        } else if text.starts_with('/') {
            text.parse().map(Self::File)
        } else if text.contains("://") {
            text.parse().map(Self::Url)
        } else {
            Err("is neither the word repository, nor an absolute path, nor a URL".into())
        }
    }
}

impl fmt::Display for PackageSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Repository => f.write_str("repository"),
            Self::File(path) => path.fmt(f),
            Self::Url(url) => url.fmt(f),
        }
    }
}

fn host_rule(text: &str) -> Result<(), String> {
    if text.parse::<IpAddr>().is_ok() {
        return Ok(());
    }
    if text.contains("://") {
        return Err("has a scheme; write only the name or address".into());
    }
    if text.starts_with('[') {
        return Err("has brackets; write the bare IPv6 address".into());
    }
    if !text.is_ascii() {
        return Err("has letters outside ASCII; write the xn-- form of the name".into());
    }
    if text.contains('/') || text.contains('@') {
        return Err("has more than a name; write only the name or address".into());
    }
    if text.contains(':') {
        return Err("has a port; server.port is a key of its own".into());
    }
    let label = |l: &str| {
        (1..=63).contains(&l.len())
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    let digits = |l: &str| l.bytes().all(|b| b.is_ascii_digit());
    let last = text.rsplit('.').next().unwrap_or_default();
    if text.len() > 253 || !text.split('.').all(label) || digits(last) {
        return Err("is neither a DNS name nor an IP address".into());
    }
    Ok(())
}

fn username_rule(text: &str) -> Result<(), String> {
    if text.chars().count() < 2 {
        return Err("is shorter than 2 characters".into());
    }
    if text.contains(':') {
        return Err("holds a colon, which ends the name in a Basic login".into());
    }
    if text.trim() != text {
        return Err("begins or ends with a space".into());
    }
    Ok(())
}

fn email_rule(text: &str) -> Result<(), String> {
    let local = |l: &str| l.bytes().all(|b| b.is_ascii_alphanumeric() || b"._+-".contains(&b));
    match text.rsplit_once('@') {
        Some((name, domain)) if !name.is_empty() && local(name) && host_rule(domain).is_ok() => Ok(()),
        _ => Err("is not an e-mail address such as admin@example.org".into()),
    }
}

fn container_name_rule(text: &str) -> Result<(), String> {
    let good = (2..=63).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
    let need = "needs 2 to 63 letters, digits, _ . or -, a letter or digit first";
    if good { Ok(()) } else { Err(need.into()) }
}

fn hex(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_hexdigit())
}

fn sha256_rule(text: &str) -> Result<(), String> {
    if text.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err("has capital letters; write the digest as sha256sum prints it".into());
    }
    if text.len() == 64 && hex(text) { Ok(()) } else { Err("is not 64 hexadecimal digits".into()) }
}

fn srcversion_rule(text: &str) -> Result<(), String> {
    let good = (16..=64).contains(&text.len()) && hex(text);
    if good { Ok(()) } else { Err("is not a srcversion as modinfo shows it".into()) }
}

fn public_key_rule(text: &str) -> Result<(), String> {
    let good = text.len() == 56 && text.starts_with("RW") && minisign_verify::PublicKey::from_base64(text).is_ok();
    if good { Ok(()) } else { Err("is not a minisign public key (56 characters that begin with RW)".into()) }
}

fn recipient_rule(text: &str) -> Result<(), String> {
    text.parse::<crate::age::PublicKey>().map(drop)
}

fn input_file_rule(text: &str) -> Result<(), String> {
    if text.is_empty() { Err("is empty".into()) } else { Ok(()) }
}

/// A colon ends the name where it is sent (RFC 7617).
fn registry_user_rule(text: &str) -> Result<(), String> {
    match text {
        "" => Err("is empty".into()),
        _ if text.contains(':') => Err("holds a colon, which no user of a registry has".into()),
        _ => Ok(()),
    }
}

fn url_rule(text: &str) -> Result<(), String> {
    let Some((host, port)) = split_authority(text) else {
        return Err("is not an http or https URL".into());
    };
    if text.contains('@') && authority(text).is_some_and(|a| a.contains('@')) {
        return Err("holds a user or password, which would end up in plans and logs".into());
    }
    if text.bytes().any(|b| b <= b' ' || b >= 0x7f || b"\"'\\<>`".contains(&b)) {
        return Err("holds a character that a URL must escape".into());
    }
    if text.contains('#') {
        return Err("holds a fragment (#), which is never sent".into());
    }
    let good_port = port.is_none_or(|p| p.parse::<u16>().is_ok_and(|p| p > 0));
    if !good_port || host_rule(host).is_err() {
        return Err("names no valid host and port".into());
    }
    Ok(())
}

fn authority(url: &str) -> Option<&str> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
    Some(&rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())])
}

/// Host (without brackets) and port of a URL.
fn split_authority(url: &str) -> Option<(&str, Option<&str>)> {
    let authority = authority(url)?;
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, tail) = rest.split_once(']')?;
        return match tail {
            "" => Some((host, None)),
            _ => Some((host, Some(tail.strip_prefix(':')?))),
        };
    }
    match authority.split_once(':') {
        Some((host, port)) => Some((host, Some(port))),
        None => Some((authority, None)),
    }
}
