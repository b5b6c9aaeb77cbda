//! Rules that tie keys to each other. What a single value may be is its type's business.

mod https;

use std::net::IpAddr;

use super::{Config, Fallback, Loaded, Mode, ModuleSource, Origin, PackageSource, Privilege, Web};
use crate::error::{Error, Kind, Result};

pub(super) fn check(loaded: &Loaded) -> Result<()> {
    let config = &loaded.config;
    modes(loaded, config)?;
    kernel(loaded, config)?;
    module(loaded, config)?;
    bundle(loaded, config)?;
    server(loaded, config)?;
    https::check(loaded, config)?;
    lists(loaded, config)?;
    registry(loaded, config)?;
    container(loaded, config)
}

impl Config {
    /// What a server that does not exist yet cannot be set up without.
    pub fn require_server(&self) -> Result<()> {
        let missing = |key: &str, remedy: String| {
            Err(Error::new(Kind::Config, format!("{key}: missing, and a new server needs it")).remedy(remedy))
        };
        let ways = |key: &str| {
            let name = key.replace(['.', '_'], "-");
            format!("give --{name}, AWG_{} or {key} in the file", name.replace('-', "_").to_uppercase())
        };
        if self.server.host.is_none() {
            return missing("server.host", ways("server.host"));
        }
        if self.server.username.is_none() {
            return missing("server.username", ways("server.username"));
        }
        let server = &self.server;
        if server.password.is_none() && server.password_file.is_none() && !server.generate_password {
            return missing(
                "server.password",
                "give server.password_file, AWG_SERVER_PASSWORD, or --server-password-file - for standard input; or \
                 have one made: --server-generate-password"
                    .into(),
            );
        }
        Ok(())
    }

    /// What a pull cannot do without, where a login at the registry is configured.
    pub fn require_login(&self) -> Result<()> {
        let login = &self.container.registry;
        if login.username.is_none() || login.password.is_some() || login.password_file.is_some() {
            return Ok(());
        }
        let message = "container.registry.password: missing, and container.registry.username is given";
        Err(Error::new(Kind::Config, message)
            .cause("a password that was given directly, or on standard input, is not kept on the host")
            .remedy(
                "give container.registry.password_file, AWG_CONTAINER_REGISTRY_PASSWORD, or \
                     --container-registry-password-file - for standard input",
            ))
    }
}

/// `config.yaml:4: server.port`: the key, after the place that gave its value.
fn at(loaded: &Loaded, key: &str) -> String {
    match loaded.origin(key) {
        Origin::Default => key.to_string(),
        origin => format!("{origin}: {key}"),
    }
}

fn wrong(loaded: &Loaded, key: &str, why: impl std::fmt::Display, remedy: impl Into<String>) -> Result<()> {
    Err(Error::new(Kind::Config, format!("{}: {why}", at(loaded, key))).remedy(remedy))
}

fn modes(loaded: &Loaded, config: &Config) -> Result<()> {
    if config.fallback == Fallback::Wireguard && !config.accept_plain_wireguard {
        return wrong(
            loaded,
            "fallback",
            "wireguard can be recognised on the wire and blocked",
            "set accept_plain_wireguard: true if that is acceptable, else fallback: userspace or fail",
        );
    }
    // Asked for by name, plain WireGuard needs no second consent; but then nothing may suggest
    // that there is any AmneziaWG.
    let mode = config.mode;
    if mode == Mode::Wireguard && config.module.source != ModuleSource::Auto {
        return wrong(
            loaded,
            "module.source",
            "names an AmneziaWG module, but mode is wireguard",
            "leave module.source out, or choose mode: auto or kernel",
        );
    }
    if matches!(mode, Mode::Userspace | Mode::Wireguard) && config.kernel.release.exact().is_some() {
        return wrong(
            loaded,
            "kernel.release",
            format!("names a kernel, but mode: {mode} changes none"),
            "leave kernel.release out, or choose mode: auto or kernel",
        );
    }
    Ok(())
}

fn kernel(loaded: &Loaded, config: &Config) -> Result<()> {
    let kernel = &config.kernel;
    match (&kernel.package, &kernel.package_sha256) {
        (PackageSource::Url(_), None) => wrong(
            loaded,
            "kernel.package",
            "is a URL without kernel.package_sha256",
            "add the sha256sum of the .apk file",
        ),
        (PackageSource::File(_) | PackageSource::Url(_), _) if kernel.release.exact().is_none() => wrong(
            loaded,
            "kernel.package",
            "names a package, and kernel.release does not say of which kernel",
            "set kernel.release to the release that the package holds",
        ),
        (PackageSource::Repository, Some(_)) => wrong(
            loaded,
            "kernel.package_sha256",
            "is for a file or a URL, but kernel.package is repository",
            "leave it out: apk checks the repository's signature",
        ),
        _ => Ok(()),
    }
}

fn module(loaded: &Loaded, config: &Config) -> Result<()> {
    let module = &config.module;
    let source = module.source;
    let needs = |key: &str| {
        wrong(loaded, "module.source", format!("{source} needs {key}"), format!("add {key}, or choose another source"))
    };
    let stray = |key: &str, wanted: &str| {
        let why = format!("is used only with module.source: {wanted}, which is {source}");
        wrong(loaded, key, why, format!("set module.source: {wanted}, or leave {key} out"))
    };
    match source {
        ModuleSource::Bundle if config.bundle.path.is_none() => return needs("bundle.path"),
        ModuleSource::File if module.path.is_none() => return needs("module.path"),
        ModuleSource::Url if module.url.is_none() => return needs("module.url"),
        ModuleSource::Url if module.sha256.is_none() => return needs("module.sha256"),
        ModuleSource::Catalog if module.catalog.url.is_none() => return needs("module.catalog.url"),
        ModuleSource::Build if !module.build => {
            return wrong(loaded, "module.build", "is false, but module.source is build", "set module.build: true");
        }
        _ => {}
    }
    if module.path.is_some() && source != ModuleSource::File {
        return stray("module.path", "file");
    }
    if module.url.is_some() && source != ModuleSource::Url {
        return stray("module.url", "url");
    }
    if module.sha256.is_some() && source == ModuleSource::Build {
        return wrong(
            loaded,
            "module.sha256",
            "cannot be known of a module that is yet to be built",
            "leave it out, or choose another module.source",
        );
    }
    match (&module.source_url, &module.source_sha256) {
        (Some(_), None) => {
            let remedy = "add the sha256sum of the archive, or of the plain tar in it";
            return wrong(loaded, "module.source_url", "has no module.source_sha256", remedy);
        }
        (None, Some(_)) => {
            let remedy = "add the address of the source, or leave it out";
            return wrong(loaded, "module.source_sha256", "has no module.source_url", remedy);
        }
        _ => {}
    }
    if module.source_url.is_some() && (!module.build || !matches!(source, ModuleSource::Auto | ModuleSource::Build)) {
        return wrong(
            loaded,
            "module.source_url",
            "is given, but nothing would be compiled",
            "set module.build: true and module.source: auto or build, or leave it out",
        );
    }
    catalog(loaded, config)
}

fn catalog(loaded: &Loaded, config: &Config) -> Result<()> {
    let keys = &config.module.catalog.public_keys;
    match &config.module.catalog.url {
        Some(_) if keys.is_empty() => wrong(
            loaded,
            "module.catalog.url",
            "has no module.catalog.public_keys to check its signature with",
            "add the catalog's minisign public key",
        ),
        None if !keys.is_empty() => {
            wrong(loaded, "module.catalog.public_keys", "has no module.catalog.url", "add the catalog's address")
        }
        Some(url) if !url.is_https() && !url.is_loopback() => wrong(
            loaded,
            "module.catalog.url",
            "is plain http, which lets anybody on the way hold back updates",
            "use https",
        ),
        Some(url) if url.contains('?') => wrong(
            loaded,
            "module.catalog.url",
            "holds a query (?), but names of files are to follow it",
            "give the address of the directory that holds the catalog's v1/",
        ),
        _ => Ok(()),
    }
}

/// A bundle and what vouches for it come together.
fn bundle(loaded: &Loaded, config: &Config) -> Result<()> {
    let bundle = &config.bundle;
    let (sum, keys) = (bundle.sha256.is_some(), !bundle.public_keys.is_empty());
    if bundle.path.is_some() && !sum && !keys && config.module.catalog.public_keys.is_empty() {
        return wrong(
            loaded,
            "bundle.path",
            "has nothing that vouches for it",
            "add bundle.sha256, as `bundle create` printed it, or bundle.public_keys",
        );
    }
    for (key, given) in [("bundle.sha256", sum), ("bundle.public_keys", keys)] {
        if given && bundle.path.is_none() {
            let why = "vouches for a bundle, but bundle.path names none";
            return wrong(loaded, key, why, format!("add bundle.path, or leave {key} out"));
        }
    }
    Ok(())
}

fn server(loaded: &Loaded, config: &Config) -> Result<()> {
    let server = &config.server;
    if server.port == server.web_port {
        let key = if loaded.is_set("server.web_port") { "server.web_port" } else { "server.port" };
        return wrong(
            loaded,
            key,
            format!("{} is both the tunnel's and the admin page's port", server.port),
            "give server.port and server.web_port different numbers",
        );
    }
    if server.generate_password && server.password_file.is_some() {
        let why = "is set, and server.password_file names a password";
        return wrong(loaded, "server.generate_password", why, "leave one of them out");
    }
    for (key, present, other, other_present) in [
        ("server.ipv4_cidr", server.ipv4_cidr.is_some(), "server.ipv6_cidr", server.ipv6_cidr.is_some()),
        ("server.ipv6_cidr", server.ipv6_cidr.is_some(), "server.ipv4_cidr", server.ipv4_cidr.is_some()),
    ] {
        if present && !other_present {
            let why = format!("is given without {other}, and wg-easy ignores one alone");
            return wrong(loaded, key, why, format!("add {other}, or leave both out"));
        }
    }
    if let Some(address) = server.host.as_ref().and_then(|h| h.address()).filter(|a| unreachable(*a)) {
        return wrong(
            loaded,
            "server.host",
            format!("{address} is no address that a client could reach"),
            "give the host's public name or address",
        );
    }
    Ok(())
}

/// Lists whose entries stand for themselves.
fn lists(loaded: &Loaded, config: &Config) -> Result<()> {
    let server = &config.server;
    for (key, list) in [
        ("module.catalog.public_keys", config.module.catalog.public_keys.iter().map(ToString::to_string).collect()),
        ("backup.recipients", config.backup.recipients.iter().map(ToString::to_string).collect()),
        ("server.dns", server.dns.iter().map(ToString::to_string).collect::<Vec<_>>()),
        ("server.allowed_ips", server.allowed_ips.iter().map(ToString::to_string).collect()),
        ("network.reachable", config.network.reachable.iter().map(ToString::to_string).collect()),
    ] {
        let repeated = list.iter().enumerate().find(|(i, entry)| list[..*i].contains(entry));
        if let Some((_, entry)) = repeated {
            return wrong(loaded, key, format!("lists {entry} twice"), "leave one of them out");
        }
    }
    Ok(())
}

/// A login is a name and a password.
fn registry(loaded: &Loaded, config: &Config) -> Result<()> {
    const FILE: &str = "container.registry.password_file";
    let login = &config.container.registry;
    let file = login.password_file.as_deref();
    for (key, given) in [("container.registry.password", login.password.is_some()), (FILE, file.is_some())] {
        if given && login.username.is_none() {
            let remedy = format!("add the user name, or leave {key} out");
            return wrong(loaded, key, "is given without container.registry.username", remedy);
        }
    }
    if file == Some("-") && config.server.password_file.as_deref() == Some("-") {
        let remedy = "put one of the two passwords in a file";
        return wrong(loaded, FILE, "is standard input, and so is server.password_file", remedy);
    }
    if file.is_some_and(|f| f != "-" && !f.starts_with('/')) {
        let remedy = "write it from the root: /root/registry.password";
        return wrong(loaded, FILE, "is no absolute path, and an upgrade reads it again", remedy);
    }
    Ok(())
}

fn unreachable(address: IpAddr) -> bool {
    let v4_broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    address.is_unspecified() || address.is_multicast() || v4_broadcast
}

fn container(loaded: &Loaded, config: &Config) -> Result<()> {
    let container = &config.container;
    if container.privilege == Privilege::Documented && !container.accept_privileged {
        let exposed = match config.server.web {
            Web::Local => "",
            Web::Public | Web::Https => ", and its admin page would be open to everybody",
        };
        return wrong(
            loaded,
            "container.privilege",
            format!("documented gives whoever controls the container the whole host{exposed}"),
            "set container.accept_privileged: true if that is acceptable, else privilege: least",
        );
    }
    for (key, path) in [("container.directory", &container.directory), ("backup.directory", &config.backup.directory)] {
        let text = path.to_string();
        let volatile = ["/proc", "/sys", "/dev", "/run", "/tmp"];
        if volatile.iter().any(|dir| text == *dir || text.starts_with(&format!("{dir}/"))) {
            return wrong(loaded, key, format!("{text} does not outlive a reboot"), "choose a directory on the disk");
        }
        let shared =
            ["/", "/bin", "/boot", "/etc", "/home", "/lib", "/media", "/mnt", "/opt", "/root", "/sbin", "/srv"];
        if shared.contains(&text.as_str()) || ["/usr", "/var"].contains(&text.as_str()) {
            return wrong(
                loaded,
                key,
                format!("{text} belongs to the system"),
                "choose a directory of its own, such as /opt/wg-easy",
            );
        }
    }
    Ok(())
}
