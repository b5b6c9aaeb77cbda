//! Facts: one serialisable value from read-only probes. Planning sees nothing else of the host.
//!
//! Probes read files wherever a file tells; commands run only where none does. What could not be
//! learned is `None` or empty, never an error.

pub mod address;
pub mod apk;
pub mod boot;
pub mod engine;
pub mod grub;
pub mod https;
pub mod image;
pub mod kernel;
pub mod mounts;
pub mod network;
mod offer;
pub mod os;
pub mod root;
mod rules;

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::config::{Config, Flavour, Release};
use crate::drift;
use crate::host::{Host, files::sha256};

pub use offer::{Candidate, KernelPackages, Offer, PackageFile};

pub const SCHEMA: u32 = 1;
/// The first kernel series of Alpine without `ip_tables`.
const NO_IP_TABLES: (u32, u32) = (6, 18);
/// Where this program installs itself.
pub const SELF: &str = "/usr/local/sbin/awg-install";
/// A password that was made here, until it has been shown.
pub const FIRST_PASSWORD: &str = "/var/lib/awg-install/first-password";
/// Bytes of the largest file whose text is kept.
const LARGEST_TEXT: usize = 1 << 16;

/// All that planning knows of a host.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    pub schema: u32,
    pub os: Os,
    /// As the kernel names it: `x86_64`, `aarch64`.
    pub arch: String,
    pub kernel: Kernel,
    pub boot: Boot,
    /// Absent on hosts without apk.
    pub apk: Option<Apk>,
    pub modules: Modules,
    /// Modules that could be put in place, by source; the source that is preferred comes first.
    pub offers: Vec<Offer>,
    pub engine: Engine,
    pub container: Option<Container>,
    /// What stands in front of the admin page; absent where https was not asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub https: Option<https::Https>,
    pub network: Network,
    /// MiB of memory in all.
    pub memory_mib: u64,
    /// MiB free for root where it matters: `/`, `/boot`.
    pub free_mib: BTreeMap<String, u64>,
    /// SHA-256 and mode of the files this program owns or edits, by path; absent files are not listed.
    pub files: BTreeMap<String, FileFact>,
    /// OpenRC services by name.
    pub services: BTreeMap<String, Service>,
    /// sysctl values by dotted name.
    pub sysctl: BTreeMap<String, String>,
    /// The server's database exists: first-start settings no longer apply.
    pub database: bool,
    /// The UDP port that the server listens on, as it has written it down itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listen_port: Option<u16>,
    /// The installed copy of this program is the one that runs, byte for byte.
    #[serde(default)]
    pub program_installed: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Os {
    /// `ID` of os-release: `alpine`, `debian`, ...
    pub id: String,
    pub name: String,
    /// `VERSION_ID` of os-release, such as `3.22.1`.
    pub version: String,
    /// `openrc`, `systemd` or empty.
    pub init: String,
    /// A container technology that lends this system its kernel, such as `lxc`.
    pub container: Option<String>,
    /// The root file system lives in memory (Alpine's diskless and data modes).
    pub diskless: bool,
    /// `/dev/net/tun` can be used, or the running kernel has the driver.
    pub tun: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Kernel {
    /// What `uname -r` prints.
    pub running: String,
    pub boot_id: String,
    pub installed: Vec<InstalledKernel>,
    /// `none`, `integrity` or `confidentiality`.
    pub lockdown: String,
    /// Unsigned modules are refused.
    pub sig_enforce: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct InstalledKernel {
    /// `lts`, `virt`, ...
    pub flavour: String,
    pub release: String,
    pub vmlinuz: bool,
    pub initramfs: bool,
    pub modules: bool,
}

/// The boot loader and what it will start.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Boot {
    /// `extlinux`, `grub`, or the name of one that is not supported; empty when none was found.
    pub loader: String,
    /// Why the kernel cannot be switched here, in words; absent when it can.
    pub unsupported: Option<String>,
    /// The `default=` of the loader's own configuration.
    pub configured_default: String,
    /// The label that boots unless something else is asked for.
    pub default: String,
    pub entries: Vec<BootEntry>,
    /// A trial entry of ours is there, or the loader is told to start one once.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub trial_pending: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct BootEntry {
    pub label: String,
    pub linux: String,
    pub initrd: Option<String>,
    pub append: String,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Apk {
    pub world: Vec<String>,
    /// Repositories that are enabled, as written.
    pub repositories: Vec<String>,
    /// Installed versions of the packages that matter here.
    pub installed: BTreeMap<String, String>,
    /// Versions that the repositories (with `community`) offer, of the packages that matter here.
    pub offered: BTreeMap<String, Vec<String>>,
    /// The repositories were asked in this run; else `offered` is what apk's cache happens to hold.
    pub asked: bool,
    /// Packages come out of a bundle, not from the repositories.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bundled: bool,
    /// Why `offered` may not be complete.
    pub offered_problem: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Modules {
    /// Those of interest that are loaded or built in.
    pub loaded: BTreeSet<String>,
    /// The module file for each release, where there is one: its SHA-256.
    pub amneziawg: BTreeMap<String, InstalledModule>,
    /// srcversion of the loaded amneziawg.
    pub loaded_srcversion: Option<String>,
    /// For each release with an index of modules: it has `ip_tables`, which iptables-legacy needs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ip_tables: BTreeMap<String, bool>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct InstalledModule {
    pub path: String,
    pub sha256: String,
    pub vermagic_release: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub srcversion: Option<String>,
    /// kmod's binary index (`modules.dep.bin`) names it.
    pub indexed: bool,
}

impl Apk {
    /// Why the repositories do not have a package in this version; nothing where they have not been asked.
    pub fn lacks(&self, package: &str, version: &str) -> Option<String> {
        let offered = self.offered.get(package).map(Vec::as_slice).unwrap_or_default();
        let unknown = offered.is_empty() && !self.asked && self.offered_problem.is_none();
        if unknown || offered.iter().any(|v| v == version) {
            return None;
        }
        let have = if offered.is_empty() { "none".to_string() } else { offered.join(", ") };
        let problem = self.offered_problem.as_ref().map(|p| format!(" ({p})")).unwrap_or_default();
        Some(format!("{package}={version} cannot be had: the repository offers {have}{problem}"))
    }

    /// The kernels of a flavour on offer, the newest first.
    pub fn kernels(&self, flavour: Flavour) -> Vec<Release> {
        let versions = self.offered.get(&format!("linux-{flavour}")).into_iter().flatten();
        let mut releases: Vec<Release> = versions.filter_map(|v| Release::from_package(flavour, v).ok()).collect();
        releases.sort_by(|a, b| b.cmp(a));
        releases
    }
}

impl Facts {
    /// The module that would be put in place for `release`: of the first source that has one.
    pub fn candidate_for(&self, release: &str) -> Option<&Candidate> {
        self.candidates().find(|c| c.inspection.vermagic.release == release)
    }

    /// iptables-legacy can work under `release`: a file tells, else the version does (Alpine 3.23 has 6.18).
    pub fn legacy_tables(&self, release: &str) -> bool {
        if release == self.kernel.running && self.modules.loaded.contains("ip_tables") {
            return true;
        }
        if let Some(known) = self.modules.ip_tables.get(release) {
            return *known;
        }
        let mut numbers = release.split(['.', '-']).map_while(|n| n.parse::<u32>().ok());
        let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        self.os.id != "alpine" || version < NO_IP_TABLES
    }

    pub fn candidates(&self) -> impl Iterator<Item = &Candidate> {
        self.offers.iter().flat_map(|o| &o.modules)
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Engine {
    pub installed: bool,
    pub answers: bool,
    /// It listens and did not answer: in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    pub version: String,
    /// `docker compose`, `docker-compose` or empty.
    pub compose: String,
    /// Of a `docker-compose` that is a program of its own: its first generation has the same name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub compose_version: String,
    /// Another engine that answers in docker's place, by its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub emulated_by: Option<String>,
    /// How the operator has set the engine up, where that matters.
    #[serde(default, skip_serializing_if = "EngineSettings::is_usual")]
    pub settings: EngineSettings,
    /// Networks of the engine, with their ranges.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<EngineNetwork>,
    /// Where somebody else's compose project of our name lives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other_project: Option<String>,
    /// Id and digest of the configured image, when present.
    pub image: Option<Image>,
}

/// What `daemon.json` and the engine itself say.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct EngineSettings {
    /// Root in a container is another user on the host.
    pub user_namespace: bool,
    /// The engine itself runs without root's rights.
    pub rootless: bool,
    /// It makes no firewall rules (`"iptables": false`).
    pub no_iptables: bool,
}

impl EngineSettings {
    fn is_usual(&self) -> bool {
        *self == EngineSettings::default()
    }
}

impl Engine {
    /// Docker can check a container's health more often while it starts since version 25 (moby's API 1.44, which
    /// compose asks for). One that is still to be installed is Alpine's: 26 or later in every release that gets fixes.
    pub fn knows_start_interval(&self) -> bool {
        let major = self.version.split('.').next().and_then(|major| major.parse::<u32>().ok());
        match major {
            Some(major) => major >= 25 && self.emulated_by.is_none(),
            None => self.version.is_empty(),
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct EngineNetwork {
    pub name: String,
    /// Its bridge on the host.
    pub device: String,
    pub subnets: Vec<IpNet>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Image {
    pub id: String,
    pub digest: Option<String>,
    pub architecture: String,
    /// The version of wg-easy that it says it is, where it says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Which of the programs that matter it has; absent until it was looked into.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub programs: Option<Vec<String>>,
    /// What it starts: its entrypoint, then its command.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Generation of the netlink interface that its `awg` speaks, as far as its version tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u32>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Container {
    pub running: bool,
    pub restarting: bool,
    pub restarts: u64,
    /// `healthy`, `unhealthy`, `starting` or empty.
    pub health: String,
    /// Its environment still holds the password of the first start.
    pub first_start: bool,
    /// The rendering this container was made from; empty when it is not ours.
    pub revision: String,
    /// Id of the image it was made from.
    #[serde(default)]
    pub image: String,
    /// It may do whatever the host's root may.
    #[serde(default)]
    pub privileged: bool,
    /// Capabilities that were added to it, without `CAP_`.
    #[serde(default)]
    pub capabilities: BTreeSet<String>,
    pub pid: u32,
    pub address: String,
    /// Kind of wg0 inside its namespace: `amneziawg`, `tun`, `wireguard`; absent when there is none.
    pub interface: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Network {
    pub ipv6: bool,
    /// Ports something listens on, with the process that holds them where it can be told.
    pub udp: BTreeMap<u16, String>,
    pub tcp: BTreeMap<u16, String>,
    /// Interfaces whose default route comes from router advertisements, which forwarding would switch off.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub advertised: Vec<String>,
    /// Firewalls that are started at boot beside this one's rules: `ufw`, `firewalld`, `nftables`, ...
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub firewalls: Vec<String>,
    /// The file of an nftables rule set whose forward chain drops what it does not name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forward_drop: Option<String>,
    /// What is missing of this program's own rules, empty when they are in place; absent without its script.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<String>,
    /// Ranges that the host has a route to, with the device; the default route is left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<(IpNet, String)>,
    /// The container's range in the compose file that is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<IpNet>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FileFact {
    pub sha256: String,
    pub mode: u32,
    /// What is in it, without the values of secrets; absent where it is no text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Service {
    pub installed: bool,
    /// The runlevels that start it.
    pub runlevels: Vec<String>,
    pub started: bool,
}

/// How far the probes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// As `Local`, and apk is not asked either: it reads its whole index for an answer that counts only where
    /// something is to be installed.
    Files,
    /// Nothing but this machine; apk's index as it lies in its cache.
    Local,
    /// Asks the package mirror what it has today. Writes only to apk's cache.
    Network,
}

/// The machine's architecture, as its kernel names it.
pub fn arch(host: &Host) -> String {
    host.read_trimmed("/proc/sys/kernel/arch").unwrap_or_else(|| std::env::consts::ARCH.into())
}

/// Probes the host. Changes nothing (apk's cache aside, with `Reach::Network`).
pub fn gather(host: &Host, config: &Config, owned: &[&str], reach: Reach) -> Facts {
    let os = os::probe(host);
    let apk = (os.id == "alpine").then(|| apk::probe(host, &os, reach));
    let engine = engine::probe(host, config);
    let container = if engine.answers { engine::container(host, &config.container.name) } else { None };
    let https = https::probe(host, config, engine.answers);
    let directory = config.container.directory.clone();
    Facts {
        schema: SCHEMA,
        arch: arch(host),
        kernel: kernel::probe(host),
        boot: boot::probe(host, &os),
        apk,
        modules: kernel::modules(host),
        offers: Vec::new(),
        engine,
        container,
        https,
        network: network::probe(host, &os, &directory.to_string()),
        memory_mib: os::memory_mib(host),
        free_mib: ["/", "/boot"].iter().filter_map(|p| host.free_mib(p).map(|mib| (p.to_string(), mib))).collect(),
        files: owned.iter().filter_map(|p| file(host, p).map(|f| (p.to_string(), f))).collect(),
        services: os::services(host, &os),
        sysctl: network::sysctl(host),
        database: host.exists(format!("{directory}/data/wg-easy.db")),
        listen_port: engine::listen_port(host, &directory.to_string()),
        program_installed: host.is_self(SELF),
        os,
    }
}

fn file(host: &Host, path: &str) -> Option<FileFact> {
    let bytes = host.read(path)?;
    let (sha256, mode) = (sha256(&bytes), host.owner(path)?.mode);
    // No part of a password goes into facts.
    let bytes = if path == FIRST_PASSWORD { Vec::new() } else { bytes };
    let text = String::from_utf8(bytes).ok().filter(|t| t.len() <= LARGEST_TEXT);
    Some(FileFact { sha256, mode, text: text.map(|t| drift::redacted(&t)) })
}
