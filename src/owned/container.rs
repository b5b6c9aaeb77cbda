//! What the container is made from: compose file and environment.

use super::filter::BRIDGE;
use super::{Backend, Inputs, Rung, fill};
use crate::config::{Privilege, Web};
use crate::error::{Error, Kind, Result};

pub(super) fn compose(inputs: &Inputs, revision: &str) -> Result<String> {
    let config = inputs.config;
    fill(
        "compose.yaml",
        minijinja::context! {
            mode => inputs.rung.as_str(),
            image => inputs.image,
            name => config.container.name.to_string(),
            port => config.server.port,
            web_port => config.server.web_port,
            public => config.server.web == Web::Public,
            memory => config.container.memory,
            https => config.server.web == Web::Https,
            caddy => inputs.caddy,
            caddy_name => crate::facts::engine::caddy_name(config),
            https_port => config.server.https.port,
            http_port => config.server.https.http_port,
            acme_root => config.server.https.acme_root.as_ref().map(ToString::to_string),
            documented => config.container.privilege == Privilege::Documented,
            nft => inputs.backend == Backend::Nft,
            start_interval => inputs.start_interval,
            ipv6 => inputs.ipv6,
            bridge => BRIDGE,
            command => inputs.command,
            range => inputs.network.range,
            address => inputs.network.address,
            range6 => inputs.network.range6,
            address6 => inputs.network.address6,
            page => inputs.network.page().0.to_string(),
            page6 => inputs.network.page().1.to_string(),
            revision_label => crate::facts::engine::REVISION_LABEL,
            revision,
            tool => if inputs.rung == Rung::Wireguard { "wg" } else { "awg" },
        },
    )
}

/// A text in the compose file: as JSON, which is YAML, with each `$` doubled, since compose fills in variables
/// after it has parsed the file.
pub(super) fn yaml(text: &str) -> String {
    serde_json::to_string(text).expect("a string").replace('$', "$$")
}

pub(super) fn environment(inputs: &Inputs, first: bool) -> Result<String> {
    let config = inputs.config;
    let server = &config.server;
    let list = |items: Vec<String>| items.join(",");
    let mut values: Vec<(&str, String)> = vec![
        ("PORT", server.web_port.to_string()),
        // Without it, nobody can log in over plain http.
        ("INSECURE", (server.web != Web::Https).to_string()),
        ("DISABLE_IPV6", (!inputs.ipv6).to_string()),
        ("EXPERIMENTAL_AWG", "true".into()),
        ("OVERRIDE_AUTO_AWG", if inputs.rung == Rung::Wireguard { "wg" } else { "awg" }.into()),
        // Otherwise the page asks GitHub for the newest release and fails where there is no way out. What is
        // newer is found by `awg-install upgrade`.
        ("DISABLE_VERSION_CHECK", "true".into()),
    ];
    if first {
        values.push(("INIT_ENABLED", "true".into()));
        values.push(("INIT_USERNAME", server.username.as_ref().map(ToString::to_string).unwrap_or_default()));
        values.push(("INIT_PASSWORD", server.password.as_ref().map(|p| p.expose().to_string()).unwrap_or_default()));
        values.push(("INIT_HOST", server.host.as_ref().map(ToString::to_string).unwrap_or_default()));
        values.push(("INIT_PORT", server.port.to_string()));
        if !server.dns.is_empty() {
            values.push(("INIT_DNS", list(server.dns.iter().map(ToString::to_string).collect())));
        }
        if let (Some(v4), Some(v6)) = (&server.ipv4_cidr, &server.ipv6_cidr) {
            values.push(("INIT_IPV4_CIDR", v4.to_string()));
            values.push(("INIT_IPV6_CIDR", v6.to_string()));
        }
        if !server.allowed_ips.is_empty() {
            values.push(("INIT_ALLOWED_IPS", list(server.allowed_ips.iter().map(ToString::to_string).collect())));
        }
    }
    let lines = values
        .iter()
        .map(|(name, value)| Ok(format!("{name}={}", quote(name, value)?)))
        .collect::<Result<Vec<String>>>()?;
    fill("wg-easy.env", minijinja::context! { lines })
}

/// Quotes a value for compose's reader of env files (compose-go, package dotenv; the same from v1.6.0, 2022, to v2.9.0).
///
/// Between single quotes everything stands for itself, except for a single quote and what is before it; versions
/// differ in where a backslash hides the closing quote. So a value with one of these goes between double
/// quotes, where no quote and no backslash is left but in an octal escape, and `$$` is a dollar.
pub fn quote(name: &str, value: &str) -> Result<String> {
    if value.chars().any(char::is_control) {
        return Err(Error::new(Kind::Config, format!("the value for {name} cannot be handed to the container"))
            .cause("it contains a control character")
            .remedy("choose a value without that character"));
    }
    if !value.contains(['\'', '\\']) {
        return Ok(format!("'{value}'"));
    }
    let escaped = value.chars().fold(String::new(), |text, c| match c {
        '\\' => text + r"\0134",
        '"' => text + r"\0042",
        '$' => text + "$$",
        c => text + c.encode_utf8(&mut [0; 4]),
    });
    Ok(format!("\"{escaped}\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoting() {
        assert_eq!(quote("X", "a$b`c\"d #e").unwrap(), "'a$b`c\"d #e'");
        assert_eq!(quote("X", "it's").unwrap(), "\"it's\"");
        assert_eq!(quote("X", "it's \"$5\"").unwrap(), "\"it's \\0042$$5\\0042\"");
        assert_eq!(quote("X", "a\\").unwrap(), "\"a\\0134\"");
        assert!(quote("X", "a\nb").is_err());
    }

    #[test]
    fn compose_does_not_fill_in_what_is_a_value() {
        assert_eq!(yaml("a: ${HOME} \"#\""), "\"a: $${HOME} \\\"#\\\"\"");
    }
}
