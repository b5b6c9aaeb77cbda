//! What stands in front of the admin page, where https was asked for.

use serde::{Deserialize, Serialize};

use super::{Container, Image, engine};
use crate::config::{Config, Web};
use crate::host::{Host, files::sha256, tls};

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Https {
    /// Caddy's image, when present.
    pub image: Option<Image>,
    pub container: Option<Container>,
    /// The root certificate of the configured ACME authority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acme_root: Option<AcmeRoot>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AcmeRoot {
    /// Of the file; empty where it cannot be read.
    pub sha256: String,
    /// Why it is no use, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

pub fn probe(host: &Host, config: &Config, answers: bool) -> Option<Https> {
    if config.server.web != Web::Https {
        return None;
    }
    let https = &config.server.https;
    let asked = |yes: bool| yes.then(|| https.image.to_string());
    Some(Https {
        image: asked(answers).and_then(|image| engine::image(host, &image)),
        container: asked(answers).and_then(|_| engine::container(host, &engine::caddy_name(config))),
        acme_root: https.acme_root.as_ref().map(|path| match host.read(path) {
            None => AcmeRoot { problem: Some("it cannot be read".into()), ..AcmeRoot::default() },
            Some(pem) => AcmeRoot { sha256: sha256(&pem), problem: tls::certificates(&pem).err() },
        }),
    })
}
