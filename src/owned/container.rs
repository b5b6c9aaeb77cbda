//! What the container is made from: compose file and environment.

use super::{Inputs, Rung, fill};
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
            documented => config.container.privilege == Privilege::Documented,
            ipv6 => inputs.ipv6,
            range => inputs.network.range,
            address => inputs.network.address,
            range6 => inputs.network.range6,
            address6 => inputs.network.address6,
            revision_label => crate::facts::engine::REVISION_LABEL,
            revision,
            tool => if inputs.rung == Rung::Wireguard { "wg" } else { "awg" },
        },
    )
}

pub(super) fn environment(inputs: &Inputs, first: bool) -> Result<String> {
    let config = inputs.config;
    let server = &config.server;
    let list = |items: Vec<String>| items.join(",");
    let mut values: Vec<(&str, String)> = vec![
        ("PORT", server.web_port.to_string()),
        ("INSECURE", "true".into()),
        ("DISABLE_IPV6", (!inputs.ipv6).to_string()),
        ("EXPERIMENTAL_AWG", "true".into()),
        ("OVERRIDE_AUTO_AWG", if inputs.rung == Rung::Wireguard { "wg" } else { "awg" }.into()),
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

/// Quotes a value for compose's env_file reader: single quotes take everything literally except a
/// single quote; double quotes would expand `$`.
pub fn quote(name: &str, value: &str) -> Result<String> {
    let refuse = |why: &str| {
        Err(Error::new(Kind::Config, format!("the value for {name} cannot be handed to the container"))
            .cause(why)
            .remedy("choose a value without that character"))
    };
    if value.chars().any(char::is_control) {
        return refuse("it contains a control character");
    }
    if !value.contains('\'') && !value.ends_with('\\') {
        return Ok(format!("'{value}'"));
    }
    if value.contains(['"', '\\', '$', '`']) {
        return refuse("it contains a single quote, or ends in a backslash, together with one of \" \\ $ `");
    }
    Ok(format!("\"{value}\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoting() {
        assert_eq!(quote("X", "a$b`c\"d #e").unwrap(), "'a$b`c\"d #e'");
        assert_eq!(quote("X", "it's").unwrap(), "\"it's\"");
        assert!(quote("X", "it's $5").is_err());
        assert!(quote("X", "a\nb").is_err());
        assert!(quote("X", "a\\").is_err());
    }
}
