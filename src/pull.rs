//! Pulling the image: out of the bundle, or from its registry by the engine's own interface.

mod failure;
mod layers;
mod login;

use std::time::Duration;

use xshell::cmd;

use crate::bundle;
use crate::config::{Config, ImageRef};
use crate::error::{Error, Result};
use crate::facts::{Image, engine};
use crate::fetch;
use crate::host::{Ended, Host, Limits, Post};
use failure::{Attempt, STALLED};
use layers::Layers;

/// How long a registry may send nothing. Writing the last layer on a slow disk takes a while as well.
const PATIENCE: Duration = Duration::from_secs(120);
/// Of a fake root, in seconds: another patience.
const FAKE_PATIENCE: &str = "FAKE_PATIENCE";

/// Fetches an image of the configuration's and checks that it can run here. Where it cannot, the engine has what it
/// had before. `again`: an earlier attempt was cut off.
pub fn pull(host: &Host, config: &Config, image: &ImageRef, arch: &str, again: bool) -> Result<()> {
    let reference = image.to_string();
    if again {
        // The engine believes in layers that a power cut has emptied; what is in use stays.
        let sh = host.shell();
        host.ask(cmd!(sh, "docker image rm {reference}"), Limits::seconds(120));
    }
    match bundled(host, &reference) {
        None => from_registry(host, config, image, arch).map(drop),
        Some(file) => {
            let before = engine::image(host, &reference);
            let loaded = load(host, image, &file).and_then(|got| fitting(&reference, got, arch));
            loaded.map(drop).inspect_err(|_| put_back(host, image, before.as_ref()))
        }
    }
}

/// The image as its registry has it now, for this machine.
pub fn from_registry(host: &Host, config: &Config, image: &ImageRef, arch: &str) -> Result<Image> {
    let reference = image.to_string();
    let before = engine::image(host, &reference);
    let fetched = fetch_layers(host, config, image, arch).and_then(|()| {
        let got = engine::image(host, &reference);
        fitting(&reference, got.ok_or_else(|| not_found(&reference, "was pulled"))?, arch)
    });
    fetched.inspect_err(|_| put_back(host, image, before.as_ref()))
}

/// What would make a pull fail and can be known before anything is changed: a password file that is not there.
pub fn foresee(host: &Host, config: &Config) -> Result<()> {
    match bundled(host, &config.container.image.to_string()) {
        Some(_) => Ok(()),
        None => login::of(host, config, &config.container.image).map(drop),
    }
}

/// The file of the image in an unpacked bundle.
fn bundled(host: &Host, reference: &str) -> Option<std::path::PathBuf> {
    let file = bundle::opened(host).filter(|b| b.holds_image(reference))?.image_file()?;
    Some(host.path(file))
}

fn load(host: &Host, image: &ImageRef, file: &std::path::Path) -> Result<Image> {
    let sh = host.shell();
    let load = cmd!(sh, "docker load --quiet --input {file}");
    host.run(load, Limits::seconds(1800), &format!("loading {image} out of the bundle"))?;
    let reference = image.to_string();
    engine::image(host, &reference).ok_or_else(|| match image.digest() {
        Some(_) => not_found(&reference, "was loaded out of the bundle")
            .cause("the engine keeps no digest of an image that it has from a file")
            .remedy("name the image by its tag (container.image): what vouches for the bundle vouches for it"),
        None => not_found(&reference, "was loaded out of the bundle"),
    })
}

fn fetch_layers(host: &Host, config: &Config, image: &ImageRef, arch: &str) -> Result<()> {
    let login = login::of(host, config, image)?;
    let (name, platform) = (image.familiar(), engine::platform(arch));
    // Without a tag the engine would fetch every one there is.
    let version = image.digest().or(image.tag()).unwrap_or("latest");
    let path = format!("/images/create?fromImage={name}&tag={version}&platform=linux/{platform}");
    let header = login.header(image.registry());
    let secret = header.as_ref().map(|h| ("X-Registry-Auth", h.as_str()));
    let mut layers = Layers::default();
    let mut progress = host.progress(&format!("pulling {image}"));
    let ended = host.engine_post(&Post { path: &path, secret, patience: patience(host) }, &mut |line| {
        layers.take(line);
        let (have, total) = layers.sum();
        progress(have, total);
    });
    // The line on the terminal goes before anything is said.
    drop(progress);
    let said = match ended {
        Ended::Whole(200..=299, _) => match layers.error {
            None => return Ok(()),
            Some(said) => said,
        },
        Ended::Whole(status, document) => {
            document["message"].as_str().map_or_else(|| format!("status {status}"), str::to_string)
        }
        Ended::Stopped => {
            host.go_on()?;
            "the run was asked to stop".to_string()
        }
        Ended::Stalled => STALLED.to_string(),
        Ended::Broken(why) => why,
    };
    let own = image.registry() == config.container.image.registry();
    let key = if *image == config.container.image { "container.image" } else { "server.https.image" };
    let attempt =
        Attempt { image, key, own, platform, login: &login, patience: patience(host), proxy: proxy_gap(host) };
    Err(failure::explain(&attempt, &said))
}

fn patience(host: &Host) -> Duration {
    let played = host.env(FAKE_PATIENCE).filter(|_| host.is_fake()).and_then(|s| s.parse().ok());
    played.map_or(PATIENCE, Duration::from_secs)
}

fn not_found(reference: &str, how: &str) -> Error {
    Error::step(format!("{reference} {how} and cannot be inspected"))
}

/// The image, where it can run here.
fn fitting(reference: &str, got: Image, arch: &str) -> Result<Image> {
    match got.misfit(reference, arch) {
        None => Ok(got),
        Some(error) => Err(Error { kind: crate::error::Kind::Step, ..error }),
    }
}

/// After a pull that failed: what goes by the image's name is what it was, and what came is gone again.
fn put_back(host: &Host, image: &ImageRef, before: Option<&Image>) {
    let reference = image.to_string();
    let Some(now) = engine::image(host, &reference).filter(|now| before.is_none_or(|b| b.id != now.id)) else {
        return;
    };
    let (sh, limits) = (host.shell(), || Limits::seconds(120));
    let unwanted = match before {
        None => reference,
        Some(before) => {
            let id = &before.id;
            host.ask(cmd!(sh, "docker tag {id} {reference}"), limits());
            now.id
        }
    };
    host.ask(cmd!(sh, "docker image rm {unwanted}"), limits());
}

/// The variable with a proxy that this program takes and the engine knows nothing of.
fn proxy_gap(host: &Host) -> Option<String> {
    let (name, _) = fetch::proxy(host, "https")?;
    let info = host.engine_get("/info").found()?;
    let none = |key: &str| info[key].as_str().unwrap_or_default().is_empty();
    (none("HttpProxy") && none("HttpsProxy")).then_some(name)
}
