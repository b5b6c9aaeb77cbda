//! The client that downloads go through: whom it trusts, which proxies it takes, where it may be sent.

use std::time::Duration;

use reqwest::blocking::{Client, ClientBuilder};
use reqwest::{Certificate, NoProxy, Proxy};

use crate::config::Url;
use crate::error::{Error, Kind, Result};
use crate::host::{Host, http::text};

/// Largest file of certificate authorities.
const CA_LIMIT: u64 = 1 << 20;
/// Redirects that are followed.
const REDIRECTS: usize = 5;
/// What a proxy could not reach, and what plain http is allowed for because nobody else sees it.
const NEVER_PROXIED: &str = "localhost,127.0.0.0/8,::1";

/// `patience` is how long the other side may be silent; `vouched`, whether a checksum makes up for plain http.
pub(super) fn client(host: &Host, patience: Duration, vouched: bool) -> Result<Client> {
    let builder = Client::builder()
        .connect_timeout(patience)
        // Of one read, not of the whole.
        .timeout(patience)
        .user_agent(concat!("awg-install/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::custom(move |attempt| {
            let secure = attempt.previous().last().is_some_and(|p| p.scheme() == "https");
            let plain = attempt.url().scheme() != "https";
            let stays = || attempt.url().as_str().parse().is_ok_and(|u: Url| u.is_loopback());
            if plain && secure {
                attempt.error("it redirects from https to plain http")
            } else if plain && !vouched && !stays() {
                attempt.error("it redirects to plain http elsewhere, and no checksum vouches for what comes")
            } else if attempt.previous().len() > REDIRECTS {
                attempt.error("it redirects again and again")
            } else {
                attempt.follow()
            }
        }));
    let builder = with_authorities(with_proxies(builder, host)?, host)?;
    builder.build().map_err(|e| Error::step("no https client can be made").cause(text(&e)))
}

/// `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`, in capitals or not, as curl and wget take them.
fn with_proxies(builder: ClientBuilder, host: &Host) -> Result<ClientBuilder> {
    let listed = variable(host, "NO_PROXY").map(|(_, list)| list).unwrap_or_default();
    let direct = NoProxy::from_string(&format!("{listed},{NEVER_PROXIED}"));
    // Without this the library would read the environment of the process, which need not be the host's.
    let mut builder = builder.no_proxy();
    for scheme in ["http", "https"] {
        let Some((name, address)) = proxy(host, scheme) else { continue };
        // The address may hold a password: no message repeats it.
        let bad = |why: String| {
            Error::new(Kind::Config, format!("{name} is not the address of a proxy that can be used"))
                .cause(why)
                .remedy("give it as http://HOST:PORT or https://HOST:PORT")
        };
        if let Some((kind, _)) = address.split_once("://")
            && !["http", "https"].contains(&kind.to_ascii_lowercase().as_str())
        {
            return Err(bad(format!("proxies of kind {kind:?} are not supported")));
        }
        let proxy = if scheme == "http" { Proxy::http(address) } else { Proxy::https(address) };
        let proxy = proxy.map_err(|e| bad(text(&e.without_url())))?;
        builder = builder.proxy(proxy.no_proxy(direct.clone()));
    }
    Ok(builder)
}

/// The variable that names the proxy for a scheme, and what it says.
pub fn proxy<'a>(host: &'a Host, scheme: &str) -> Option<(String, &'a str)> {
    let name = format!("{}_PROXY", scheme.to_ascii_uppercase());
    variable(host, &name).or_else(|| variable(host, "ALL_PROXY"))
}

/// A variable that is set to something, by its name in capitals or in small letters.
fn variable<'a>(host: &'a Host, name: &str) -> Option<(String, &'a str)> {
    let set = |name: String| host.env(&name).map(str::trim).filter(|v| !v.is_empty()).map(|v| (name, v));
    set(name.to_string()).or_else(|| set(name.to_ascii_lowercase()))
}

/// The authorities in `SSL_CERT_FILE`, besides those that the program knows.
fn with_authorities(builder: ClientBuilder, host: &Host) -> Result<ClientBuilder> {
    let Some(file) = host.env("SSL_CERT_FILE").filter(|f| !f.is_empty()) else { return Ok(builder) };
    let pem = host.read_named(Kind::Config, "SSL_CERT_FILE", file.as_ref(), CA_LIMIT)?;
    let bad = |e: String| Error::new(Kind::Config, format!("SSL_CERT_FILE {file}: no certificates")).cause(e);
    let bundle = Certificate::from_pem_bundle(&pem).map_err(|e| bad(text(&e)))?;
    if bundle.is_empty() {
        return Err(bad("there is no BEGIN CERTIFICATE in it".into()));
    }
    Ok(bundle.into_iter().fold(builder, |b, authority| b.add_root_certificate(authority)))
}
