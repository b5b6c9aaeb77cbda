//! Ports that something else listens on, and containers of somebody else's under our names.

use crate::config::{Config, Web};
use crate::error::{Error, Result};
use crate::facts::{Container, Facts, engine::caddy_name};

/// Programs that people log in by.
const LOGINS: &[&str] = &["sshd", "dropbear"];

/// Every port that is published must be free, or be held by our own containers.
pub(super) fn check(config: &Config, facts: &Facts) -> Result<()> {
    let (udp, tcp) = (&facts.network.udp, &facts.network.tcp);
    let own = ours(&config.container.name, facts.container.as_ref())?;
    taken("server.port", config.server.port, udp.get(&config.server.port), own)?;
    if config.server.web == Web::Public {
        taken("server.web_port", config.server.web_port, tcp.get(&config.server.web_port), own)?;
    }
    let Some(https) = &facts.https else { return Ok(()) };
    let wanted = &config.server.https;
    if let (Some(path), Some(why)) = (&wanted.acme_root, https.acme_root.as_ref().and_then(|r| r.problem.as_ref())) {
        return Err(Error::host(format!("server.https.acme_root {path}: no certificate of an authority"))
            .cause(why)
            .remedy("name a PEM file with the authority's root certificate; it has to stay where it is"));
    }
    // A page of ours that was open over plain http until now goes with its container.
    let own = ours(&caddy_name(config), https.container.as_ref())? || own;
    for (key, port) in [("server.https.port", wanted.port), ("server.https.http_port", wanted.http_port)] {
        taken(key, port, tcp.get(&port), own)?;
    }
    Ok(())
}

/// A container of ours is there; one of somebody else's is left alone.
fn ours(name: &str, container: Option<&Container>) -> Result<bool> {
    match container {
        Some(c) if c.revision.is_empty() => {
            Err(Error::host(format!("a container named {name} exists that this program did not make"))
                .remedy("choose another container.name, or remove that container"))
        }
        found => Ok(found.is_some()),
    }
}

/// `own`: a container of ours is there, which holds its ports by a process of the engine's or by none that can be told.
fn taken(key: &str, port: u16, held: Option<&String>, own: bool) -> Result<()> {
    let Some(by) = held.filter(|by| !(own && (by.is_empty() || by.starts_with("docker-proxy")))) else {
        return Ok(());
    };
    if LOGINS.iter().any(|login| by.starts_with(login)) {
        return Err(Error::host(format!("{key} {port} is the port that logins come in by"))
            .cause(format!("{by} listens on it"))
            .remedy(format!("set {key} to a free port")));
    }
    let by = if by.is_empty() { "a process that cannot be told" } else { by };
    Err(Error::host(format!("{key} {port} is taken"))
        .cause(format!("{by} listens on it"))
        .remedy(format!("stop it, or set {key} to a free port")))
}
