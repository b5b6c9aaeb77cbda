//! From the command line to a configuration: which file, which environment, where the password is.

use std::io::Read;
use std::path::Path;

use crate::cli::{Cli, RenderArgs};
use crate::config::{Config, Loaded, MAX_FILE, MAX_TOKEN, Origin, Secret, Sources, load, render_given};
use crate::error::{Error, Kind, Result};
use crate::host::{Host, random};
use crate::owned::first_boot::Program;
use crate::owned::{CONFIG, FIRST_PASSWORD};
use crate::receipt::Receipt;

/// The configuration with its password in hand, where one is still needed.
pub fn configuration(host: &Host, cli: &Cli) -> Result<Config> {
    let mut config = loaded(host, cli)?.config;
    registry_input(&mut config)?;
    let begun = Receipt::load(host).ok().flatten().is_some_and(|r| r.first_start_pending());
    let database = host.exists(format!("{}/data/wg-easy.db", config.container.directory)) && !begun;
    if database || config.server.password.is_some() {
        // One that was given is not written down to be shown, nor one that was shown already.
        config.server.generate_password &= database || host.exists(FIRST_PASSWORD);
        return Ok(config);
    }
    if let Some(file) = config.server.password_file.clone() {
        config.server.password = Some(password(host, &file)?);
    } else if config.server.generate_password {
        config.server.password = Some(generated(host)?);
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

/// What user-data for another host is made of: where the program comes from, and a configuration without secrets.
/// Where none names a password, that host makes its own.
///
/// # Errors
/// When the configuration is wrong or not whole (3), or the address is none (2).
pub fn for_another_host(host: &Host, cli: &Cli, args: &RenderArgs) -> Result<(Program, String)> {
    let mut loaded = loaded(host, cli)?;
    let server = &mut loaded.config.server;
    if server.password_file.as_deref().is_none_or(|f| f == "-") {
        (server.password, server.password_file, server.generate_password) = (None, None, true);
        loaded.origins.insert("server.generate_password".into(), Origin::Flag("server-generate-password".into()));
    }
    loaded.config.require_server()?;
    let program = match &args.url {
        None => Program::Present,
        Some(url)
            if !url.starts_with("https://") && !url.starts_with("http://") || url.contains(char::is_whitespace) =>
        {
            return Err(Error::new(Kind::Usage, format!("--url {url:?}: is no http(s) address"))
                .remedy("give the address that the program can be fetched from"));
        }
        Some(url) => {
            let sha256 = args.sha256.as_ref().map(ToString::to_string).unwrap_or_else(|| host.own_sha256());
            Program::Fetched { url: url.clone(), sha256 }
        }
    };
    Ok((program, render_given(&loaded)))
}

/// A password that was made on this host, for whoever administers it.
#[derive(serde::Serialize)]
pub struct HandedOut {
    pub username: String,
    pub password: String,
}

impl HandedOut {
    pub fn text(&self) -> String {
        format!("User name: {}\nPassword:  {}\nIt is not shown again: keep it now.", self.username, self.password)
    }
}

/// Reads the password that was made here and removes its file.
///
/// # Errors
/// When none is kept here (4).
pub fn hand_out_password(host: &Host, cli: &Cli) -> Result<HandedOut> {
    let config = loaded(host, cli)?.config;
    let Some(text) = host.read_text(FIRST_PASSWORD) else {
        let name = &config.container.name;
        return Err(Error::host("no password is kept here")
            .cause("it was shown already, or it was given and not made on this host")
            .remedy(format!("set a new one in the container: `docker exec -it {name} cli db:admin:reset`")));
    };
    let username = config.server.username.map(|u| u.to_string()).unwrap_or_default();
    host.remove_file(FIRST_PASSWORD)?;
    Ok(HandedOut { username, password: text.trim_end().to_string() })
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

/// One that an earlier run on this host has made, or a new one.
fn generated(host: &Host) -> Result<Secret> {
    if let Some(text) = host.read_text(FIRST_PASSWORD).filter(|t| !t.is_empty()) {
        return Secret::from_password_text(&text);
    }
    random::word().map(Secret::new)
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
