//! The configuration as one type. Flags, environment, file, schema, annotated example and
//! help are all derived from it; see [`leaf`].

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod check;
mod defaults;
mod environment;
mod file;
mod image;
mod leaf;
mod load;
mod net;
mod release;
mod render;
mod secret;
mod shape;
mod store;
#[cfg(test)]
mod tests;
mod value;
mod words;

pub use image::{DOCKER_HUB, ImageRef, KNOWN_MAJOR, same_repository, unknown_major};
pub use leaf::{Leaf, LeafKind, leaves, schema};
pub use load::{Loaded, MAX_FILE, Origin, Sources, load};
pub use release::{Flavour, PREFERRED, Release, ReleaseChoice};
pub use render::{render_effective, render_example, render_given};
pub use secret::{MAX_TOKEN, REDACTED, Secret, check_password};
pub use value::{
    AbsolutePath, ContainerName, Email, Host, InputFile, PackageSource, PublicKey, Recipient, RegistryUser, Sha256,
    SrcVersion, Url, Username,
};
pub use words::{Fallback, Firewall, Ipv6, Mode, ModuleSource, Privilege, Reboot, Web};

/// The file format this release reads and writes.
pub const VERSION: u32 = 1;

/// Configuration of awg-install.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Format of this file.
    #[schemars(range(min = 1, max = 1))]
    pub version: u32,
    /// What carries the tunnel.
    pub mode: Mode,
    /// What to do when the kernel module cannot be had.
    pub fallback: Fallback,
    /// Allows `fallback: wireguard`. Plain WireGuard can be recognised on the wire and blocked.
    pub accept_plain_wireguard: bool,
    pub kernel: Kernel,
    pub module: Module,
    pub bundle: Bundle,
    pub server: Server,
    pub container: Container,
    pub network: Network,
    pub backup: Backup,
}

/// Which kernel runs, and how the host gets to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Kernel {
    /// Release to run: auto, or an exact one such as 6.12.50-0-lts (the package linux-lts=6.12.50-r0).
    #[schemars(extend("x-example" = "6.12.50-0-lts"))]
    pub release: ReleaseChoice,
    /// Where the kernel package comes from: repository, the path of an .apk file, or a URL. A URL needs
    /// kernel.package_sha256.
    pub package: PackageSource,
    /// SHA-256 of the kernel package, for a file or a URL.
    #[schemars(extend("x-example" = EXAMPLE_SHA256))]
    pub package_sha256: Option<Sha256>,
    /// Keep the kernel that runs now, as the way back.
    pub keep_old: bool,
    /// How the new kernel is started. With never, only the running kernel is considered.
    pub reboot: Reboot,
    /// Seconds that the first boot of a new kernel has before a watchdog restarts the host into the old one.
    #[schemars(range(min = 60, max = 3600))]
    pub trial_timeout: u32,
    /// Pin the kernel package, so that `apk upgrade` cannot part it from its module. A held kernel gets no
    /// security fixes; `status` says what is newer.
    pub hold: bool,
}

/// Where amneziawg.ko comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Module {
    /// Where the module is taken from.
    pub source: ModuleSource,
    /// The module's file, for `source: file`.
    #[schemars(extend("x-example" = "/root/amneziawg.ko"))]
    pub path: Option<AbsolutePath>,
    /// The module's address, for `source: url`; needs module.sha256.
    #[schemars(extend("x-example" = "https://downloads.example.org/6.12.50-0-lts/amneziawg.ko"))]
    pub url: Option<Url>,
    /// SHA-256 that the module file must have, whichever source it comes from except build.
    #[schemars(extend("x-example" = EXAMPLE_SHA256))]
    pub sha256: Option<Sha256>,
    pub catalog: Catalog,
    /// Allow the module to be compiled on this host when nothing ready fits.
    pub build: bool,
    /// Address of the source to compile, a tar archive with one top directory; needs module.source_sha256.
    /// Absent: the release of AmneziaWG that this program was made for.
    #[schemars(extend("x-example" = "https://downloads.example.org/amneziawg-linux-kernel-module.tar.gz"))]
    pub source_url: Option<Url>,
    /// SHA-256 of that archive. Over https it may also be that of the plain tar in it, as `git archive` makes it.
    #[schemars(extend("x-example" = EXAMPLE_SHA256))]
    pub source_sha256: Option<Sha256>,
    /// Builds that must never be used, by the srcversion that modinfo shows.
    #[schemars(extend("x-example" = ["533BB7E5866E52F63B9ACCB"]))]
    pub denied_srcversions: Vec<SrcVersion>,
}

/// A signed list of modules by kernel release.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Catalog {
    /// Address of the catalog: the directory that holds its v1/.
    #[schemars(extend("x-example" = "https://modules.example.org/catalog"))]
    pub url: Option<Url>,
    /// minisign public keys, any one of which may have signed the catalog: two while one is replaced by another.
    #[schemars(extend("x-example" = ["RWRleGFtcGxlIGtleSB0aGF0IHNpZ25zIG5vdGhpbmcgYXQgYWxsOiBy"]))]
    pub public_keys: Vec<PublicKey>,
}

/// One file with all that an installation needs, for hosts without a network.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Bundle {
    /// The bundle's file, as `awg-install bundle create` makes it; needs bundle.sha256 or a public key.
    #[schemars(extend("x-example" = "/root/awg.bundle", "x-flag" = "--bundle"))]
    pub path: Option<AbsolutePath>,
    /// SHA-256 that the file must have.
    #[schemars(extend("x-example" = EXAMPLE_SHA256))]
    pub sha256: Option<Sha256>,
    /// minisign public keys, any of which may have signed it. Empty: the catalog's.
    #[schemars(extend("x-example" = ["RWRleGFtcGxlIGtleSB0aGF0IHNpZ25zIG5vdGhpbmcgYXQgYWxsOiBy"]))]
    pub public_keys: Vec<PublicKey>,
}

/// What clients see and who administers it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// Public DNS name or IP address that clients connect to.
    #[schemars(extend("x-example" = "vpn.example.org", "x-first-start" = true))]
    pub host: Option<Host>,
    /// UDP port of the tunnel.
    #[schemars(range(min = 1, max = 65535), extend("x-first-start" = true))]
    pub port: u16,
    /// TCP port of the admin page.
    #[schemars(range(min = 1, max = 65535))]
    pub web_port: u16,
    /// Administrator's name.
    #[schemars(extend("x-example" = "admin", "x-first-start" = true))]
    pub username: Option<Username>,
    /// File that holds the administrator's password, or - for standard input.
    #[schemars(extend("x-example" = "/root/wg-easy.password", "x-first-start" = true))]
    pub password_file: Option<InputFile>,
    /// Administrator's password, at least 12 characters. A file or standard input is safer: server.password_file.
    #[serde(deserialize_with = "secret::kept")]
    #[schemars(extend("x-example" = "at least twelve characters", "x-secret" = true, "x-first-start" = true))]
    pub password: Option<Secret>,
    /// Make the administrator's password on the host; `awg-install password` shows it there, once.
    pub generate_password: bool,
    /// DNS servers handed to clients. Empty: wg-easy's own choice.
    #[schemars(with = "Vec<String>", extend("x-example" = ["1.1.1.1", "2606:4700:4700::1111"], "x-first-start" = true))]
    pub dns: Vec<IpAddr>,
    /// IPv4 range of the tunnel; only together with server.ipv6_cidr. Absent: wg-easy's own choice.
    #[serde(deserialize_with = "net::subnet4")]
    #[schemars(with = "Option<String>", extend("x-example" = "10.8.0.0/24", "x-first-start" = true))]
    pub ipv4_cidr: Option<Ipv4Net>,
    /// IPv6 range of the tunnel; only together with server.ipv4_cidr. Absent: wg-easy's own choice.
    #[serde(deserialize_with = "net::subnet6")]
    #[schemars(with = "Option<String>", extend("x-example" = "fdcc:ad94:bacf:61a4::/64", "x-first-start" = true))]
    pub ipv6_cidr: Option<Ipv6Net>,
    /// Destinations that clients send through the tunnel. Empty: everything.
    #[serde(deserialize_with = "net::destinations")]
    #[schemars(with = "Vec<String>", extend("x-example" = ["0.0.0.0/0", "::/0"], "x-first-start" = true))]
    pub allowed_ips: Vec<IpNet>,
    /// Who can open the admin page.
    pub web: Web,
    pub https: Https,
}

/// The page over https. A certificate for an address comes from Caddy's own authority: browsers warn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Https {
    /// Image of Caddy 2; pinned to the digest found at the first pull.
    pub image: ImageRef,
    /// TCP port of the page.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
    /// TCP port that leads to the page. An ACME authority asks at port 80, or at 443.
    #[schemars(range(min = 1, max = 65535))]
    pub http_port: u16,
    /// E-mail address of the account with the authority.
    #[schemars(extend("x-example" = "admin@example.org"))]
    pub email: Option<Email>,
    /// ACME directory of another authority. Absent: Caddy's own choice, Let's Encrypt.
    #[schemars(extend("x-example" = "https://ca.example.org/acme/acme/directory"))]
    pub acme_directory: Option<Url>,
    /// File with the root certificate of that authority (PEM), where it is no public one. It is mounted, and has
    /// to stay there.
    #[schemars(extend("x-example" = "/root/ca.pem"))]
    pub acme_root: Option<AbsolutePath>,
}

/// The wg-easy container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Container {
    /// Image to run; pinned to the digest found at the first pull.
    pub image: ImageRef,
    pub registry: Registry,
    /// Name of the container.
    pub name: ContainerName,
    /// Directory of compose file, environment file and data.
    pub directory: AbsolutePath,
    /// Rights of the container.
    pub privilege: Privilege,
    /// Allows `privilege: documented`. Whoever controls such a container controls the host.
    pub accept_privileged: bool,
    /// MiB of memory that the container may use, without swap. Beyond that the kernel ends a process of it.
    #[schemars(range(min = 128, max = 1048576))]
    pub memory: u32,
}

/// Login at the registry that container.image names; no other registry gets it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Registry {
    /// User name; goes together with a password.
    #[schemars(extend("x-example" = "reader"))]
    pub username: Option<RegistryUser>,
    /// File that holds the registry's password or token (an absolute path, read at every pull), or - for standard
    /// input.
    #[schemars(extend("x-example" = "/root/registry.password"))]
    pub password_file: Option<InputFile>,
    /// The registry's password or token. It is not kept on the host: an upgrade needs it again, or the file.
    #[serde(deserialize_with = "secret::token")]
    #[schemars(extend("minLength" = 1, "maxLength" = 16384, "x-example" = "a token", "x-secret" = true))]
    pub password: Option<Secret>,
}

/// How packets get in and out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Network {
    /// IPv6 in the container and the tunnel.
    pub ipv6: Ipv6,
    /// Keep peers away from the admin page, link-local and metadata addresses, this host, private ranges and each
    /// other. The DNS servers in server.dns can be asked all the same.
    pub isolate: bool,
    /// What peers reach all the same. A range opens what lies behind the server (the tunnel's own range: peers among
    /// each other); a single address (/32, /128) also what is on it of this host or of the server itself, such as the
    /// admin page.
    #[serde(deserialize_with = "net::destinations")]
    #[schemars(with = "Vec<String>", extend("x-example" = ["192.168.10.0/24", "10.8.0.1/32"]))]
    pub reachable: Vec<IpNet>,
    /// The host's firewall. Docker's published ports pass by ufw and by the rules for the host's own ports; what filters
    /// them is the chain DOCKER-USER.
    pub firewall: Firewall,
}

/// Copies of the server's data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Backup {
    /// How many backups are kept.
    #[schemars(range(min = 1, max = 1000))]
    pub keep: u32,
    /// Where they are kept.
    pub directory: AbsolutePath,
    /// age public keys that backups are encrypted to, any of whose secret keys opens them. Empty: they are not
    /// encrypted. A backup holds the private key of every client.
    #[schemars(extend("x-example" = ["age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"]))]
    pub recipients: Vec<Recipient>,
}

const EXAMPLE_SHA256: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
