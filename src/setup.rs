//! From the command line to a configuration: which file, which environment, where the password is.

use std::io::Read;
use std::path::Path;

use crate::cli::Cli;
use crate::config::{Config, Loaded, MAX_FILE, MAX_TOKEN, Secret, Sources, load};
use crate::error::{Error, Kind, Result};
use crate::host::Host;
use crate::owned::CONFIG;
use crate::receipt::Receipt;

/// The configuration with its password in hand, where one is still needed.
pub fn configuration(host: &Host, cli: &Cli) -> Result<Config> {
    let mut config = loaded(host, cli)?.config;
    registry_input(&mut config)?;
    let begun = Receipt::load(host).ok().flatten().is_some_and(|r| r.first_start_pending());
    let database = host.exists(format!("{}/data/wg-easy.db", config.container.directory)) && !begun;
    if database || config.server.password.is_some() {
        return Ok(config);
    }
    if let Some(file) = config.server.password_file.clone() {
        config.server.password = Some(password(host, &file)?);
    }
    Ok(config)
}

/// Flags, environment and file. Without `--config`, the configuration of the last run on this host.
pub fn loaded(host: &Host, cli: &Cli) -> Result<Loaded> {
    let file = match &cli.globals.config {
        Some(path) => Some(read(host, path)?),
        None if host.exists(CONFIG) => Some(read(host, Path::new(CONFIG))?),
        None => None,
    };
    load(&Sources { file, environment: host.env_all().clone(), flags: cli.leaves.clone() })
}

/// The registry's password, where it comes on standard input. A file is read when something is pulled.
pub fn registry_input(config: &mut Config) -> Result<()> {
    const KEY: &str = "container.registry.password_file";
    let registry = &mut config.container.registry;
    if registry.password.is_none() && registry.password_file.as_deref() == Some("-") {
        let token = Secret::from_token_text(&standard_input(KEY, MAX_TOKEN as u64 + 2)?);
        registry.password = Some(token.map_err(|why| Error::new(Kind::Config, format!("{KEY} -: {why}")))?);
    }
    Ok(())
}

fn standard_input(key: &str, limit: u64) -> Result<String> {
    let mut text = String::new();
    let read = std::io::stdin().take(limit).read_to_string(&mut text);
    read.map_err(|e| Error::new(Kind::Config, format!("{key}: standard input cannot be read")).cause(e))?;
    Ok(text)
}

fn read(host: &Host, path: &Path) -> Result<(String, String)> {
    let bytes = host.read_named(Kind::Config, "--config", path, MAX_FILE as u64)?;
    let text = String::from_utf8(bytes).map_err(|e| {
        Error::new(Kind::Config, format!("{}: is not UTF-8 text", path.display())).cause(e).remedy("save it as UTF-8")
    })?;
    Ok((path.display().to_string(), text))
}

fn password(host: &Host, file: &str) -> Result<Secret> {
    let text = if file == "-" {
        standard_input("server.password_file", 4096)?
    } else {
        let bytes = host.read_named(Kind::Config, "server.password_file", Path::new(file), 4096)?;
        String::from_utf8(bytes)
            .map_err(|e| Error::new(Kind::Config, format!("server.password_file {file}: is not UTF-8 text")).cause(e))?
    };
    Secret::from_password_text(&text)
}
