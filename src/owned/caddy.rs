//! What Caddy is made from: its configuration.

use super::{Inputs, fill};
use crate::config::Config;
use crate::error::{Error, Kind, Result};

/// Where the page is, as a browser is told.
pub fn page_url(config: &Config) -> String {
    let name = config.server.host.as_ref().map_or("SERVER".to_string(), |h| h.in_url());
    match config.server.https.port {
        443 => format!("https://{name}/"),
        port => format!("https://{name}:{port}/"),
    }
}

/// The certificate comes from an authority that Caddy makes for itself: no other vouches for a bare address.
pub fn own_authority(config: &Config) -> bool {
    config.server.host.as_ref().is_some_and(|h| h.address().is_some())
}

pub(super) fn caddyfile(inputs: &Inputs) -> Result<String> {
    let (config, https) = (inputs.config, &inputs.config.server.https);
    let Some(host) = &config.server.host else {
        return Err(Error::new(Kind::Config, "server.web: https needs server.host"));
    };
    let challenge = match (https.port, https.http_port) {
        (443, 80) => None,
        (443, _) => Some("disable_http_challenge"),
        _ => Some("disable_tlsalpn_challenge"),
    };
    fill(
        "Caddyfile",
        minijinja::context! {
            internal => own_authority(config),
            host => host.to_string(),
            site => format!("https://{}:{}", host.in_url(), https.port),
            email => https.email.as_ref().map(ToString::to_string),
            directory => https.acme_directory.as_ref().map(ToString::to_string),
            root => inputs.acme_root.as_deref(),
            challenge,
            upstream => format!("wg-easy:{}", config.server.web_port),
        },
    )
}

/// A value as one word of a Caddyfile. In quotes a brace would still stand for something else, and a quote needs
/// an escape: no value here needs either.
pub(super) fn quote(value: &str) -> std::result::Result<String, &'static str> {
    if value.is_empty() || value.chars().any(|c| c.is_control() || "\"\\`{}".contains(c)) {
        return Err("a value for Caddy is empty, or holds a quote, a backslash, a brace or a control character");
    }
    Ok(format!("\"{value}\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        assert_eq!(quote("https://ca.example.org/a b#c").unwrap(), "\"https://ca.example.org/a b#c\"");
        for bad in ["", "a\nb", "a\"b", "a\\", "{$HOME}", "a`b"] {
            assert!(quote(bad).is_err(), "{bad:?}");
        }
    }
}
