//! Who the engine says it is at the registry: as configured, else as a `docker login` on this host has left it.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::config::{Config, DOCKER_HUB, ImageRef, MAX_TOKEN, Secret};
use crate::error::{Error, Kind, Result};
use crate::host::Host;

/// Where `docker login` keeps what it was told.
const KEPT: &str = "/root/.docker/config.json";
/// Largest file of that kind.
const KEPT_LIMIT: u64 = 1 << 20;
/// Docker Hub's own name in it and in a login.
const HUB_LOGIN: &str = "https://index.docker.io/v1/";

/// A login, if there is one, and where it comes from.
#[derive(Debug, Default)]
pub struct Login {
    pub(super) known: Option<(String, Secret)>,
    /// It stands in `docker login`'s file.
    pub kept: bool,
    /// `docker login`'s file leaves this registry to a credential helper.
    pub helper: bool,
}

/// The login for the registry that an image comes from; the configured one is for that of `container.image` alone.
///
/// # Errors
/// The configuration names a user and no password, or a file that cannot be read.
pub fn of(host: &Host, config: &Config, image: &ImageRef) -> Result<Login> {
    let login = &config.container.registry;
    let own = image.registry() == config.container.image.registry();
    let Some(user) = login.username.as_ref().filter(|_| own) else {
        let kept = host.read_start(KEPT, KEPT_LIMIT).and_then(|bytes| serde_json::from_slice(&bytes).ok());
        return Ok(kept.map(|kept| kept_login(&kept, image.registry())).unwrap_or_default());
    };
    config.require_login()?;
    let password = match (&login.password, &login.password_file) {
        (Some(password), _) => password.clone(),
        (None, file) => from_file(host, file.as_deref().unwrap_or_default())?,
    };
    Ok(Login { known: Some((user.to_string(), password)), ..Login::default() })
}

impl Login {
    pub fn is_known(&self) -> bool {
        self.known.is_some()
    }

    /// The engine's header: JSON in URL-safe base64. It sends the login to no other registry than the image's.
    pub fn header(&self, registry: &str) -> Option<Zeroizing<String>> {
        let (user, password) = self.known.as_ref()?;
        let server = if registry == DOCKER_HUB { HUB_LOGIN } else { registry };
        let login = json!({"username": user, "password": password.expose(), "serveraddress": server});
        Some(Zeroizing::new(URL_SAFE.encode(Zeroizing::new(login.to_string()).as_bytes())))
    }
}

fn from_file(host: &Host, file: &str) -> Result<Secret> {
    const KEY: &str = "container.registry.password_file";
    let bytes = Zeroizing::new(host.read_named(Kind::Config, KEY, file.as_ref(), MAX_TOKEN as u64 + 2)?);
    let bad = |why: String| Error::new(Kind::Config, format!("{KEY} {file}: {why}"));
    let text = std::str::from_utf8(&bytes).map_err(|_| bad("is not UTF-8 text".into()))?;
    Secret::from_token_text(text).map_err(bad)
}

/// What a document of `docker login` says of a registry. Credential helpers are programs of somebody else's: they
/// are not run.
fn kept_login(kept: &Value, registry: &str) -> Login {
    fn name(key: &str) -> &str {
        let host = key.split_once("://").map_or(key, |(_, rest)| rest);
        let host = host.split('/').next().unwrap_or_default();
        if host == "index.docker.io" { DOCKER_HUB } else { host }
    }
    let entry = |section: &str| {
        let entries = kept[section].as_object()?;
        entries.iter().find(|(key, _)| name(key) == registry).map(|(_, value)| value.clone())
    };
    let plain = entry("auths").and_then(|entry| {
        let bytes = Zeroizing::new(STANDARD.decode(entry["auth"].as_str()?).ok()?);
        let (user, password) = std::str::from_utf8(&bytes).ok()?.split_once(':')?;
        Some((user.to_string(), Secret::from_token_text(password).ok()?))
    });
    let helper = plain.is_none() && (entry("credHelpers").is_some() || kept["credsStore"].is_string());
    Login { kept: plain.is_some(), known: plain, helper }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(login: &Login) -> Option<(&str, &str)> {
        login.known.as_ref().map(|(user, password)| (user.as_str(), password.expose()))
    }

    #[test]
    fn the_header_is_what_the_engine_reads() {
        let login = Login { known: Some(("me".into(), Secret::new("ä?~>\"\n"))), ..Login::default() };
        for (registry, server) in [("ghcr.io", "ghcr.io"), ("docker.io", HUB_LOGIN)] {
            let header = login.header(registry).unwrap();
            assert!(!header.contains(['+', '/', '\n']), "{header:?}");
            let read: Value = serde_json::from_slice(&URL_SAFE.decode(header.as_bytes()).unwrap()).unwrap();
            assert_eq!(read, json!({"username": "me", "password": "ä?~>\"\n", "serveraddress": server}));
        }
        assert!(!format!("{login:?}").contains('~'), "it does not show by accident");
        assert_eq!(Login::default().header("ghcr.io"), None);
    }

    #[test]
    fn what_a_docker_login_has_left() {
        let auth = |text: &str| json!({"auth": STANDARD.encode(text)});
        let kept = json!({"auths": {
            "ghcr.io": auth("me:a:b"), "https://index.docker.io/v1/": auth("hub:token"), "empty.example": {},
            "broken.example": {"auth": "%%%"}, "helped.example": {},
        }, "credHelpers": {"helped.example": "pass"}});
        assert_eq!(shown(&kept_login(&kept, "ghcr.io")), Some(("me", "a:b")));
        assert_eq!(shown(&kept_login(&kept, "docker.io")), Some(("hub", "token")));
        for (registry, helper) in [
            ("other.example", false),
            ("empty.example", false),
            ("broken.example", false),
            ("helped.example", true),
            ("io", false),
        ] {
            let login = kept_login(&kept, registry);
            assert_eq!((shown(&login), login.helper, login.kept), (None, helper, false), "{registry}");
        }
        assert!(kept_login(&json!({"auths": {}, "credsStore": "desktop"}), "ghcr.io").helper);
        assert!(!kept_login(&json!([]), "ghcr.io").helper);
    }
}
