//! Texts that may be seen by others: without keys, passwords, and the addresses and names of peers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde_json::Value;

/// What stands where something was taken out.
pub const HIDDEN: &str = "[redacted]";
const KEY: &str = "KEY";
/// Characters of base64 before the `=` of a key with 32 bytes.
const KEY_LENGTH: usize = 43;
/// Words that the next one is a secret after, as in the headers of requests and in tokens.
const BEFORE_SECRETS: &[&str] = &["bearer", "basic"];
/// A key that names a secret, in a document.
const SECRET_KEYS: &[&str] = &["PASSWORD", "TOKEN", "SECRET", "PRIVATEKEY", "PRIVATE_KEY", "PRESHAREDKEY"];

/// Takes out what is known by its form, and the words that it was told of.
#[derive(Debug, Clone, Default)]
pub struct Redactor {
    /// The longest first: one may be part of another.
    words: Vec<(String, &'static str)>,
}

impl Redactor {
    /// Hides a word wherever it stands; one that is too short to be told from others is not looked for.
    pub fn hide(&mut self, word: &str, with: &'static str) {
        let word = word.trim();
        if word.chars().count() >= 3 && !self.words.iter().any(|(w, _)| w == word) {
            self.words.push((word.to_string(), with));
            self.words.sort_by_key(|(w, _)| std::cmp::Reverse(w.len()));
        }
    }

    pub fn text(&self, text: &str) -> String {
        let told = self.words.iter().fold(text.to_string(), |text, (word, with)| text.replace(word.as_str(), with));
        by_form(&told)
    }

    /// Every text in a document; the value of a key that names a secret is hidden whatever it is.
    pub fn value(&self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.text(text),
            Value::Array(list) => list.iter_mut().for_each(|v| self.value(v)),
            Value::Object(map) => {
                for (key, value) in map.iter_mut() {
                    if names_a_secret(key) && value.is_string() {
                        *value = HIDDEN.into();
                    } else {
                        self.value(value);
                    }
                }
            }
            _ => {}
        }
    }
}

/// A path to a password's file, or whether there is one, is no secret.
fn names_a_secret(key: &str) -> bool {
    let key = key.to_ascii_uppercase();
    !key.ends_with("_FILE") && SECRET_KEYS.iter().any(|word| key.contains(word))
}

/// What is known by its form: keys of WireGuard and age, credentials in addresses and headers, public addresses.
pub fn by_form(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut after_secret = false;
    for piece in pieces(text) {
        if piece.trim().is_empty() {
            out.push_str(piece);
            continue;
        }
        if std::mem::take(&mut after_secret) && piece.len() > 5 {
            out.push_str(HIDDEN);
            continue;
        }
        after_secret = BEFORE_SECRETS.iter().any(|w| piece.trim_matches([':', '"']).eq_ignore_ascii_case(w));
        out.push_str(&addresses(&keys(&userinfo(piece))));
    }
    out
}

/// Runs of blanks, and what stands between them.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let blank = rest.chars().next()?.is_whitespace();
        let end = rest.find(|c: char| c.is_whitespace() != blank).unwrap_or(rest.len());
        let (piece, after) = rest.split_at(end);
        rest = after;
        Some(piece)
    })
}

/// `scheme://user:password@host`.
fn userinfo(word: &str) -> String {
    let Some((before, rest)) = word.split_once("://") else { return word.to_string() };
    let end = rest.find(['/', '?', '#', '"', '\'']).unwrap_or(rest.len());
    let (authority, after) = rest.split_at(end);
    let authority = match authority.rsplit_once('@') {
        Some((_, host)) => format!("{HIDDEN}@{host}"),
        None => authority.to_string(),
    };
    format!("{before}://{authority}{}", if after.contains("://") { userinfo(after) } else { after.to_string() })
}

fn keys(word: &str) -> String {
    if let Some(at) = word.find("AGE-SECRET-KEY-") {
        return format!("{}{KEY}", &word[..at]);
    }
    let is_base64 = |c: char| c.is_ascii_alphanumeric() || c == '+' || c == '/';
    let mut out = String::with_capacity(word.len());
    let mut rest = word;
    while let Some(first) = rest.chars().next() {
        let end = rest.find(|c| is_base64(c) != is_base64(first)).unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        // A path before it may look like a part of it.
        if is_base64(first) && run.len() >= KEY_LENGTH && after.starts_with('=') {
            out.push_str(&run[..run.len() - KEY_LENGTH]);
            out.push_str(KEY);
            rest = &after[1..];
            continue;
        }
        out.push_str(run);
        rest = after;
    }
    out
}

fn addresses(word: &str) -> String {
    let belongs = |c: char| c.is_ascii_hexdigit() || c == '.' || c == ':';
    let mut out = String::with_capacity(word.len());
    let mut rest = word;
    while let Some(first) = rest.chars().next() {
        let end = rest.find(|c| belongs(c) != belongs(first)).unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        match belongs(first) {
            true => out.push_str(&address(run)),
            false => out.push_str(run),
        }
        rest = after;
    }
    out
}

/// An address as it stands, or with a port, or with what a sentence ends it with.
fn address(run: &str) -> String {
    let bare = run.trim_end_matches(['.', ':']);
    let hidden = |address: &str| match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(v4)) => is_public(v4).then_some("x.x.x.x"),
        Ok(IpAddr::V6(v6)) => is_public6(v6).then_some("x::x"),
        Err(_) => None,
    };
    if let Some(with) = hidden(bare) {
        return format!("{with}{}", &run[bare.len()..]);
    }
    // `endpoint:port`, `key:endpoint`: each part between colons by itself.
    let parts = run.split(':').map(|part| hidden(part.trim_end_matches('.')).map_or(part, |with| with));
    parts.collect::<Vec<_>>().join(":")
}

fn is_public(v4: Ipv4Addr) -> bool {
    let shared = v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64;
    !(v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_unspecified() || v4.is_broadcast() || shared)
}

fn is_public6(v6: Ipv6Addr) -> bool {
    v6.to_ipv4_mapped().map_or(v6.segments()[0] & 0xe000 == 0x2000, is_public)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WG: &str = "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=";

    #[test]
    fn keys_go_and_digests_stay() {
        for text in [WG.to_string(), format!("PrivateKey={WG}"), format!("\"{WG}\","), format!("peer: {WG}:10.8.0.2")] {
            let shown = by_form(&text);
            assert!(!shown.contains("lXXJ") && shown.contains(KEY), "{text} -> {shown}");
        }
        let digest = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
        assert_eq!(by_form(digest), digest);
        assert_eq!(by_form("x AGE-SECRET-KEY-1ABCDEF"), "x KEY");
    }

    #[test]
    fn public_addresses_go_and_private_ones_stay() {
        for (text, wanted) in [
            ("endpoint 203.0.113.7:51820, gone", "endpoint x.x.x.x:51820, gone"),
            ("from [2001:db8::7]:443.", "from [x::x]:443."),
            ("::ffff:203.0.113.7", "x::x"),
            (
                "10.42.42.42 172.17.0.1 192.168.1.2 127.0.0.1 0.0.0.0:51820",
                "10.42.42.42 172.17.0.1 192.168.1.2 127.0.0.1 0.0.0.0:51820",
            ),
            ("fdcc:ad94:bacf:61a3::2a fe80::1", "fdcc:ad94:bacf:61a3::2a fe80::1"),
            (
                "2026-01-02T03:04:05Z amneziawg 1.0.20251004 02:42:ac:11:00:02",
                "2026-01-02T03:04:05Z amneziawg 1.0.20251004 02:42:ac:11:00:02",
            ),
        ] {
            assert_eq!(by_form(text), wanted);
        }
    }

    #[test]
    fn credentials_go() {
        for (text, wanted) in [
            ("proxy http://me:hunter2@proxy.example:3128/x", "proxy http://[redacted]@proxy.example:3128/x"),
            ("https://me@a/?u=http://you:p@b/", "https://[redacted]@a/?u=http://[redacted]@b/"),
            ("Authorization: Bearer abcdef123", "Authorization: Bearer [redacted]"),
        ] {
            assert_eq!(by_form(text), wanted);
        }
    }

    #[test]
    fn words_that_were_told() {
        let mut redactor = Redactor::default();
        redactor.hide("Alice", "PEER");
        redactor.hide("Alice's phone", "PEER");
        redactor.hide("x", "PEER");
        assert_eq!(redactor.text("Alice's phone and Alice, x"), "PEER and PEER, x");
        let mut value = serde_json::json!({"a": ["Alice"], "password": "p", "password_file": "/root/p", "n": 1});
        redactor.value(&mut value);
        assert_eq!(value, serde_json::json!({"a": ["PEER"], "password": HIDDEN, "password_file": "/root/p", "n": 1}));
    }
}
