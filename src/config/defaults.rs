//! What holds where nothing was said.

use super::*;

impl Default for Config {
    fn default() -> Self {
        Self {
            version: VERSION,
            mode: Mode::Auto,
            fallback: Fallback::Userspace,
            accept_plain_wireguard: false,
            kernel: Kernel::default(),
            module: Module::default(),
            bundle: Bundle::default(),
            server: Server::default(),
            container: Container::default(),
            network: Network::default(),
            backup: Backup::default(),
        }
    }
}

impl Default for Kernel {
    fn default() -> Self {
        Self {
            release: ReleaseChoice::Auto,
            package: PackageSource::Repository,
            package_sha256: None,
            keep_old: true,
            reboot: Reboot::Auto,
            trial_timeout: 300,
            hold: true,
        }
    }
}

impl Default for Module {
    fn default() -> Self {
        Self {
            source: ModuleSource::Auto,
            path: None,
            url: None,
            sha256: None,
            catalog: Catalog::default(),
            build: true,
            source_url: None,
            source_sha256: None,
            denied_srcversions: Vec::new(),
        }
    }
}

/// None, unless whoever built this release has set one: `AWG_CATALOG_URL`, and `AWG_CATALOG_KEYS` with
/// blanks between the keys.
impl Default for Catalog {
    fn default() -> Self {
        Self::built_in(option_env!("AWG_CATALOG_URL"), option_env!("AWG_CATALOG_KEYS"))
            .unwrap_or_else(|why| panic!("this build cannot be used: {why}"))
    }
}

impl Catalog {
    pub(super) fn built_in(url: Option<&str>, keys: Option<&str>) -> Result<Self, String> {
        let url = url.filter(|u| !u.is_empty()).map(str::parse).transpose();
        let keys: Result<Vec<PublicKey>, String> =
            keys.unwrap_or_default().split_whitespace().map(str::parse).collect();
        let catalog = Self {
            url: url.map_err(|e| format!("AWG_CATALOG_URL {e}"))?,
            public_keys: keys.map_err(|e| format!("AWG_CATALOG_KEYS: one {e}"))?,
        };
        match catalog.url.is_some() == catalog.public_keys.is_empty() {
            true => Err("AWG_CATALOG_URL and AWG_CATALOG_KEYS go together".into()),
            false => Ok(catalog),
        }
    }
}

impl Default for Server {
    fn default() -> Self {
        Self {
            host: None,
            port: 51820,
            web_port: 51821,
            username: None,
            password_file: None,
            password: None,
            generate_password: false,
            dns: Vec::new(),
            ipv4_cidr: None,
            ipv6_cidr: None,
            allowed_ips: Vec::new(),
            web: Web::Local,
            https: Https::default(),
        }
    }
}

impl Default for Https {
    fn default() -> Self {
        Self { image: ImageRef::caddy(), port: 443, http_port: 80, email: None, acme_directory: None, acme_root: None }
    }
}

impl Default for Container {
    fn default() -> Self {
        Self {
            image: ImageRef::standard(),
            registry: Registry::default(),
            name: ContainerName::standard(),
            directory: AbsolutePath::known("/opt/wg-easy"),
            privilege: Privilege::Least,
            accept_privileged: false,
            memory: 512,
        }
    }
}

impl Default for Network {
    fn default() -> Self {
        Self { ipv6: Ipv6::Auto, isolate: true, reachable: Vec::new(), firewall: Firewall::Auto }
    }
}

impl Default for Backup {
    fn default() -> Self {
        Self { keep: 5, directory: AbsolutePath::known("/var/lib/awg-install/backup"), recipients: Vec::new() }
    }
}
