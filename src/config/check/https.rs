//! What `server.web: https` needs.

use super::{at, wrong};
use crate::config::{Config, Loaded, Web};
use crate::error::{Error, Kind, Result};

/// Names that no public authority vouches for.
const NOT_PUBLIC: &[&str] =
    &["localhost", "local", "localdomain", "internal", "lan", "home.arpa", "test", "invalid", "example", "onion"];

pub(super) fn check(loaded: &Loaded, config: &Config) -> Result<()> {
    let https = &config.server.https;
    if config.server.web != Web::Https {
        return Ok(());
    }
    let Some(host) = &config.server.host else {
        return Err(Error::new(Kind::Config, format!("{}: https needs server.host", at(loaded, "server.web")))
            .cause("a certificate is for a name or an address")
            .remedy("give server.host, the name or address that browsers are to use"));
    };
    if https.port == https.http_port {
        let key = if loaded.is_set("server.https.port") { "server.https.port" } else { "server.https.http_port" };
        return wrong(
            loaded,
            key,
            format!("{} is both the page's port and the one that leads to it", https.port),
            "give server.https.port and server.https.http_port different numbers",
        );
    }
    let acme = [
        ("server.https.email", https.email.is_some()),
        ("server.https.acme_directory", https.acme_directory.is_some()),
        ("server.https.acme_root", https.acme_root.is_some()),
    ];
    if host.address().is_some() {
        return match acme.iter().find(|(_, given)| *given) {
            Some((key, _)) => wrong(
                loaded,
                key,
                format!("is for a DNS name, but server.host is the address {host}"),
                format!("leave {key} out, or set server.host to a DNS name"),
            ),
            None => Ok(()),
        };
    }
    if https.acme_root.is_some() && https.acme_directory.is_none() {
        return wrong(
            loaded,
            "server.https.acme_root",
            "has no server.https.acme_directory, whose certificate it would vouch for",
            "add server.https.acme_directory, or leave server.https.acme_root out",
        );
    }
    if let Some(directory) = &https.acme_directory {
        if !directory.is_https() {
            let why = "is plain http, and ACME is not spoken over that";
            return wrong(loaded, "server.https.acme_directory", why, "use https");
        }
        if directory.contains(['{', '}', '$', '?']) {
            let why = "holds one of { } $ ?, which are no part of a directory's address";
            return wrong(loaded, "server.https.acme_directory", why, "write the address without");
        }
    }
    if https.port != 443 && https.http_port != 80 {
        return wrong(
            loaded,
            "server.https.port",
            format!("is {}, and server.https.http_port is {}: no authority asks there", https.port, https.http_port),
            "leave server.https.http_port at 80 or server.https.port at 443",
        );
    }
    let name = host.to_ascii_lowercase();
    let local = !name.contains('.') || NOT_PUBLIC.iter().any(|n| name.ends_with(&format!(".{n}")));
    if local && https.acme_directory.is_none() {
        return wrong(
            loaded,
            "server.host",
            format!("{host} is a name that no public authority gives a certificate for, and server.web is https"),
            "use a public name, or name an authority of your own (server.https.acme_directory)",
        );
    }
    Ok(())
}
