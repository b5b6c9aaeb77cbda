//! Why a pull has failed: what the engine says, told as one clear cause with its remedy.

use std::time::Duration;

use super::login::Login;
use crate::config::ImageRef;
use crate::error::Error;

/// Stands for what the engine says when it says nothing any more.
pub const STALLED: &str = "nothing new has come";

/// What was tried.
pub struct Attempt<'a> {
    pub image: &'a ImageRef,
    /// The key that names it, and whether `container.registry` is for its registry.
    pub key: &'a str,
    pub own: bool,
    pub platform: &'a str,
    pub login: &'a Login,
    pub patience: Duration,
    /// A variable with a proxy, which the engine does not have.
    pub proxy: Option<String>,
}

/// Kinds of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    Engine,
    Proxy,
    Certificate,
    PlainHttp,
    DiskFull,
    RateLimit,
    Architecture,
    Spoilt,
    Access,
    Unknown,
    Name,
    Unreachable,
    Slow,
    Broken,
    Other,
}

/// The texts that tell them apart, in this order: one may stand inside of another. Docker 26 to 28 print these.
const KNOWN: &[(Trouble, &[&str])] = &[
    (Trouble::Engine, &["docker.sock", "the engine broke off", "error sending request"]),
    (Trouble::Proxy, &["proxyconnect", "Proxy Authentication Required"]),
    (Trouble::Certificate, &["x509:", "tls: failed to verify", "remote error: tls"]),
    (Trouble::PlainHttp, &["server gave HTTP response to HTTPS client", "first record does not look like a TLS"]),
    (Trouble::DiskFull, &["no space left on device"]),
    (Trouble::RateLimit, &["toomanyrequests", "Too Many Requests", "pull rate limit"]),
    (
        Trouble::Architecture,
        &["no matching manifest", "no match for platform", "does not match the specified platform"],
    ),
    (Trouble::Spoilt, &["verification failed for digest", "failed precondition", "unexpected commit digest"]),
    // Of a file of the engine's.
    (Trouble::Other, &["permission denied"]),
    // Docker Hub says this of what does not exist as well.
    (Trouble::Access, &["denied", "no basic auth credentials", "unauthorized", "Unauthorized", "403 Forbidden"]),
    (Trouble::Access, &["authentication required", "failed to fetch oauth token"]),
    (Trouble::Name, &["dial tcp: lookup", "no such host", "name resolution"]),
    (Trouble::Unknown, &["manifest unknown", "name unknown", "not found"]),
    (Trouble::Unreachable, &["connection refused", "no route to host", "network is unreachable"]),
    (Trouble::Unreachable, &["unexpected HTTP status: 5", "Service Unavailable", "Bad Gateway"]),
    (Trouble::Slow, &[STALLED, "i/o timeout", "context deadline exceeded", "Client.Timeout exceeded"]),
    (Trouble::Slow, &["TLS handshake timeout", "context canceled", "request canceled"]),
    (Trouble::Broken, &["EOF", "connection reset by peer", "broken pipe", "use of closed network connection"]),
];

/// The error of a pull that ended with these words of the engine's.
pub fn explain(attempt: &Attempt, said: &str) -> Error {
    let trouble = trouble(said);
    let (what, remedy) = words(attempt, trouble);
    let cause = match said {
        STALLED => format!("{STALLED} for {} s", attempt.patience.as_secs()),
        _ => said.to_string(),
    };
    let remedy = match &attempt.proxy {
        Some(name) if matches!(trouble, Trouble::Name | Trouble::Unreachable | Trouble::Slow | Trouble::Broken) => {
            format!(
                "{remedy}. {name} is set, but the engine has a proxy setting of its own, and that is empty: \
                 \"proxies\" in /etc/docker/daemon.json, then restart the engine"
            )
        }
        _ => remedy,
    };
    Error::step(format!("pulling {} failed: {what}", attempt.image))
        .cause(cause)
        .remedy(format!("{remedy}; then run this again. What ran before still runs"))
}

fn trouble(said: &str) -> Trouble {
    KNOWN.iter().find(|(_, signs)| signs.iter().any(|sign| said.contains(sign))).map_or(Trouble::Other, |(t, _)| *t)
}

/// What it means, and what to do.
fn words(attempt: &Attempt, trouble: Trouble) -> (String, String) {
    let (registry, key) = (attempt.image.registry(), attempt.key);
    let (what, remedy) = match trouble {
        Trouble::Engine => ("the container engine does not answer".into(), "see /var/log/docker.log".into()),
        Trouble::Proxy => (
            format!("the engine's proxy does not let it through to {registry}"),
            "correct the proxy in the engine's own settings (`docker info` shows it)".into(),
        ),
        Trouble::Certificate => (
            format!("the certificate of {registry} is not trusted"),
            format!(
                "check the host's clock; where the authority is one of your own, put its certificate into \
                 /etc/docker/certs.d/{registry}/ca.crt"
            ),
        ),
        Trouble::PlainHttp => (
            format!("{registry} speaks plain http, and the engine wants https"),
            "give the registry a certificate, or list it in \"insecure-registries\" of /etc/docker/daemon.json".into(),
        ),
        Trouble::DiskFull => {
            ("the disk is full".into(), "make room (`df -h`; `docker system df` shows what the engine has)".into())
        }
        Trouble::RateLimit => (
            format!("{registry} gives this host no more images for now"),
            "wait (Docker Hub counts over six hours), or log in: container.registry.username".into(),
        ),
        Trouble::Architecture => (
            format!("there is no image for this machine (linux/{})", attempt.platform),
            format!("name an image for this architecture ({key})"),
        ),
        Trouble::Spoilt => (
            "what came is not what its digest says".into(),
            "something on the way changes it: try another network or proxy".into(),
        ),
        Trouble::Unknown => (
            match (attempt.image.digest(), attempt.image.tag()) {
                (Some(digest), _) => format!("{registry} has no image of the digest {digest} there"),
                (None, tag) => format!("{registry} has no such image, or none of the tag {}", tag.unwrap_or("latest")),
            },
            format!("check {key}"),
        ),
        Trouble::Access => login_words(attempt, registry),
        Trouble::Name => (
            format!("the name {registry} cannot be looked up"),
            "check the name, and the name servers in /etc/resolv.conf".into(),
        ),
        Trouble::Unreachable => (
            format!("the registry {registry} is down or cannot be reached"),
            "check the registry, the network and the firewall, or `docker load` the image from a file".into(),
        ),
        Trouble::Slow => (
            format!("the registry {registry} is too slow or does not answer"),
            "check the registry and the network, or `docker load` the image from a file".into(),
        ),
        Trouble::Broken => (
            format!("the connection to {registry} was broken off"),
            "check the registry and the network, or `docker load` the image from a file".into(),
        ),
        Trouble::Other => ("the engine could not do it".into(), "see the cause, and /var/log/docker.log".into()),
    };
    (what, remedy)
}

fn login_words(attempt: &Attempt, registry: &str) -> (String, String) {
    let (login, key) = (attempt.login, attempt.key);
    let way = match attempt.own {
        true => {
            "set container.registry.username with container.registry.password_file (or AWG_CONTAINER_REGISTRY_PASSWORD)"
                .to_string()
        }
        false => format!("`docker login {registry}`"),
    };
    if login.kept {
        return (
            format!("{registry} refuses the login in /root/.docker/config.json, or has no such image"),
            format!("check {key}; {way}"),
        );
    }
    if login.is_known() {
        return (
            format!("{registry} refuses the login, or has no such image for it"),
            format!("check container.registry.username, its password and what it may read, and {key}"),
        );
    }
    let helper = if login.helper { ". The credential helper in /root/.docker/config.json is not run" } else { "" };
    (format!("{registry} asks for a login, or has no such image"), format!("check {key}; {way}{helper}"))
}

#[cfg(test)]
mod tests;
