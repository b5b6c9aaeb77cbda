//! The files this program owns, and their contents: pure functions of the configuration and the plan.

mod caddy;
mod container;
mod filter;
pub mod first_boot;

use std::collections::BTreeSet;

pub use crate::facts::{FIRST_PASSWORD, SELF};
pub use filter::BRIDGE;
use std::net::{Ipv4Addr, Ipv6Addr};

use minijinja::{Environment, UndefinedBehavior};
use serde::{Deserialize, Serialize};

use crate::config::{Config, Web};
use crate::error::{Error, Result};
use crate::facts::engine::capabilities;
use crate::facts::kernel::{EXTRA, IP6TABLES, IPTABLES, NF_TABLES};
use crate::facts::network::rules_script;
use crate::host::files::sha256;
use crate::step::TRIAL;
pub use caddy::{own_authority, page_url};

pub const CONFIG: &str = "/etc/awg-install/config.yaml";
pub const SERVICE: &str = "/etc/init.d/awg-install";
pub const WATCHDOG: &str = "/etc/init.d/awg-watchdog";
/// Names the watchdog device that the service has started; gone with the next boot.
pub const WATCHDOG_MARK: &str = "/run/awg-watchdog.device";
pub const GUARD: &str = "/etc/init.d/awg-guard";
/// apk calls what lies here before and after it changes something.
pub const HOOK: &str = "/etc/apk/commit_hooks.d/awg-install";
pub const MODULES_LOAD: &str = "/etc/modules-load.d/awg-install.conf";
pub const SYSCTL: &str = "/etc/sysctl.d/60-awg-install.conf";
pub const FIREWALL: &str = "/etc/init.d/awg-firewall";
pub const FIREWALL_UNIT: &str = "/etc/systemd/system/awg-firewall.service";
/// What it tells: one line, in a directory that only root can read.
pub const NOTICE_LINE: &str = "/var/lib/awg-install/notice";
/// Every login shell reads what lies there.
pub const NOTICE: &str = "/etc/profile.d/awg-install.sh";
pub const TRIAL_ENTRY: &str = "/etc/update-extlinux.d/awg-install";

/// One of the files this program writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Owned {
    /// The effective configuration; with the password only until the server has started once.
    Config,
    ResumeService,
    /// The watchdog of a trial boot.
    Watchdog,
    /// At every boot: makes the container work in the best mode that the kernel allows.
    Guard,
    /// Says after an upgrade what it has left behind.
    Hook,
    /// Tells root at a login how an installation stands that went on after a restart.
    Notice,
    ModulesLoad,
    Sysctl,
    Compose,
    /// What the container runs before the image's own program.
    Start,
    /// The rules for the host's packet filter, as a script.
    Firewall,
    /// Places them at boot.
    FirewallService,
    /// The same, for systemd.
    FirewallUnit,
    /// The container's environment for its first start: holds the password.
    FirstEnvironment,
    Environment,
    /// The password that was made here, until it has been shown.
    FirstPassword,
    /// What Caddy serves, and where its certificate comes from.
    Caddyfile,
}

/// What carries the tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rung {
    Kernel,
    Userspace,
    Wireguard,
}

/// The kernel's interface that the container's iptables goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// The image's own choice.
    Legacy,
    /// nf_tables, where the kernel has no `ip_tables`.
    Nft,
}

/// All that a rendering depends on.
pub struct Inputs<'a> {
    pub config: &'a Config,
    pub rung: Rung,
    /// The container gets IPv6: the host has it and the configuration does not switch it off.
    pub ipv6: bool,
    pub image: String,
    /// Caddy's image; used only with `server.web: https`.
    pub caddy: String,
    /// SHA-256 of the ACME authority's root certificate, where one is configured.
    pub acme_root: Option<String>,
    /// What the image starts; empty as long as it is not here.
    pub command: Vec<String>,
    pub backend: Backend,
    /// The engine can ask for the container's health more often while it starts (`start_interval`).
    pub start_interval: bool,
    /// The ranges of the container's network, and its fixed address in each.
    pub network: &'static Subnet,
    /// sysctl lines this host needs.
    pub sysctl: Vec<(String, String)>,
    /// The effective configuration as YAML, without the password.
    pub effective: String,
}

/// One choice of ranges for the container's network. Hosts and engines have networks of their own.
#[derive(Debug, PartialEq)]
pub struct Subnet {
    pub range: &'static str,
    /// The container's address: firewall rules may name it.
    pub address: &'static str,
    pub range6: &'static str,
    pub address6: &'static str,
}

/// In the order in which they are tried; the first is wg-easy's own.
pub static SUBNETS: [Subnet; 4] = [
    subnet("10.42.42.0/24", "10.42.42.42", "fdcc:ad94:bacf:61a3::/64", "fdcc:ad94:bacf:61a3::2a"),
    subnet("10.43.43.0/24", "10.43.43.42", "fdcc:ad94:bacf:61b3::/64", "fdcc:ad94:bacf:61b3::2a"),
    subnet("172.30.242.0/24", "172.30.242.42", "fdcc:ad94:bacf:61c3::/64", "fdcc:ad94:bacf:61c3::2a"),
    subnet("192.168.242.0/24", "192.168.242.42", "fdcc:ad94:bacf:61d3::/64", "fdcc:ad94:bacf:61d3::2a"),
];

impl Subnet {
    /// The addresses of what stands in front of the admin page: the next ones.
    pub fn page(&self) -> (Ipv4Addr, Ipv6Addr) {
        let (v4, v6) = (self.address.parse::<Ipv4Addr>(), self.address6.parse::<Ipv6Addr>());
        let (v4, v6) = (v4.expect("an address"), v6.expect("an address"));
        (Ipv4Addr::from_bits(v4.to_bits() + 1), Ipv6Addr::from_bits(v6.to_bits() + 1))
    }
}

const fn subnet(range: &'static str, address: &'static str, range6: &'static str, address6: &'static str) -> Subnet {
    Subnet { range, address, range6, address6 }
}

const TEMPLATES: &[(&str, &str)] = &[
    ("compose.yaml", include_str!("../templates/compose.yaml")),
    ("Caddyfile", include_str!("../templates/Caddyfile")),
    ("wg-easy.env", include_str!("../templates/wg-easy.env")),
    ("start.sh", include_str!("../templates/start.sh")),
    ("firewall.sh", include_str!("../templates/firewall.sh")),
    ("firewall.initd", include_str!("../templates/firewall.initd")),
    ("firewall.service", include_str!("../templates/firewall.service")),
    ("resume.initd", include_str!("../templates/resume.initd")),
    ("watchdog.initd", include_str!("../templates/watchdog.initd")),
    ("guard.initd", include_str!("../templates/guard.initd")),
    ("first-boot.sh", include_str!("../templates/first-boot.sh")),
    ("cloud-init.yaml", include_str!("../templates/cloud-init.yaml")),
    ("hook.sh", include_str!("../templates/hook.sh")),
    ("notice.sh", include_str!("../templates/notice.sh")),
    ("trial-entry.extlinux", include_str!("../templates/trial-entry.extlinux")),
    ("trial-entry.grub", include_str!("../templates/trial-entry.grub")),
];

impl Owned {
    pub fn path(self, config: &Config) -> String {
        let directory = &config.container.directory;
        match self {
            Owned::Config => CONFIG.into(),
            Owned::ResumeService => SERVICE.into(),
            Owned::Watchdog => WATCHDOG.into(),
            Owned::Guard => GUARD.into(),
            Owned::Hook => HOOK.into(),
            Owned::Notice => NOTICE.into(),
            Owned::ModulesLoad => MODULES_LOAD.into(),
            Owned::Sysctl => SYSCTL.into(),
            Owned::Compose => format!("{directory}/compose.yaml"),
            Owned::Start => format!("{directory}/start.sh"),
            Owned::Firewall => rules_script(&directory.to_string()),
            Owned::FirewallService => FIREWALL.into(),
            Owned::FirewallUnit => FIREWALL_UNIT.into(),
            Owned::FirstEnvironment | Owned::Environment => format!("{directory}/wg-easy.env"),
            Owned::FirstPassword => FIRST_PASSWORD.into(),
            Owned::Caddyfile => format!("{directory}/Caddyfile"),
        }
    }

    pub fn mode(self) -> u32 {
        match self {
            Owned::Config | Owned::FirstEnvironment | Owned::Environment | Owned::FirstPassword => 0o600,
            Owned::ResumeService | Owned::Watchdog | Owned::Guard | Owned::Hook => 0o755,
            Owned::Start | Owned::Firewall | Owned::FirewallService => 0o755,
            Owned::ModulesLoad | Owned::Sysctl | Owned::Compose | Owned::Notice => 0o644,
            Owned::Caddyfile | Owned::FirewallUnit => 0o644,
        }
    }

    pub fn purpose(self) -> &'static str {
        match self {
            Owned::Config => "the effective configuration",
            Owned::ResumeService => "service that goes on after the reboot",
            Owned::Watchdog => "watchdog of the trial boot",
            Owned::Guard => "service that looks after the container at every boot",
            Owned::Hook => "says after an upgrade what it has left behind",
            Owned::Notice => "says at a login how it stands",
            Owned::ModulesLoad => "modules to load at boot",
            Owned::Sysctl => "forwarding",
            Owned::Compose => "the container",
            Owned::Start => "what the container runs first",
            Owned::Firewall => "rules for the packet filter",
            Owned::FirewallService | Owned::FirewallUnit => "places the rules at boot",
            Owned::FirstEnvironment => "the container's settings for its first start",
            Owned::Environment => "the container's settings, without the password",
            Owned::FirstPassword => "the administrator's password, made here",
            Owned::Caddyfile => "the admin page over https",
        }
    }

    /// The file's content.
    pub fn render(self, inputs: &Inputs) -> Result<String> {
        match self {
            Owned::Config => Ok(config_text(inputs)),
            Owned::ResumeService => resume_service(),
            Owned::Watchdog => watchdog(inputs.config.kernel.trial_timeout),
            Owned::Guard => guard(),
            Owned::Hook => hook(),
            Owned::Notice => fill("notice.sh", minijinja::context! { notice => NOTICE_LINE }),
            Owned::ModulesLoad => Ok(modules_load(inputs)),
            Owned::Sysctl => Ok(sysctl(inputs)),
            Owned::Compose => container::compose(inputs, &revision(inputs)?),
            Owned::Start => filter::start(inputs),
            Owned::Firewall => filter::host(inputs),
            Owned::FirewallService => filter::service(inputs.config, "firewall.initd"),
            Owned::FirewallUnit => filter::service(inputs.config, "firewall.service"),
            Owned::FirstEnvironment => container::environment(inputs, true),
            Owned::Environment => container::environment(inputs, false),
            Owned::FirstPassword => {
                let password = inputs.config.server.password.as_ref();
                Ok(password.map(|p| format!("{}\n", p.expose())).unwrap_or_default())
            }
            Owned::Caddyfile => caddy::caddyfile(inputs),
        }
    }
}

impl Rung {
    pub fn as_str(self) -> &'static str {
        match self {
            Rung::Kernel => "kernel",
            Rung::Userspace => "userspace",
            Rung::Wireguard => "wireguard",
        }
    }

    /// Kind of wg0 that proves this rung.
    pub fn interface(self) -> &'static str {
        match self {
            Rung::Kernel => "amneziawg",
            Rung::Userspace => "tun",
            Rung::Wireguard => "wireguard",
        }
    }

    /// The modules of every rung.
    pub fn all_modules() -> impl Iterator<Item = &'static str> {
        let tables = [IPTABLES, IP6TABLES, NF_TABLES].into_iter().flatten();
        ["amneziawg", "tun", "wireguard"].into_iter().chain(tables.copied())
    }

    /// Kernel modules that must be loaded on the host.
    pub fn modules(self, backend: Backend, ipv6: bool) -> Vec<&'static str> {
        let first: &[&str] = match self {
            Rung::Kernel => &["amneziawg", "tun"],
            Rung::Userspace => &["tun"],
            Rung::Wireguard => &["wireguard"],
        };
        let tables: &[&[&str]] = match backend {
            Backend::Nft => &[NF_TABLES],
            Backend::Legacy if ipv6 => &[IPTABLES, IP6TABLES],
            Backend::Legacy => &[IPTABLES],
        };
        first.iter().chain(tables.iter().copied().flatten()).copied().collect()
    }
}

/// Identifies a rendering without the password, so that a container can be held against it.
pub fn revision(inputs: &Inputs) -> Result<String> {
    let (compose, start) = (container::compose(inputs, "-")?, filter::start(inputs)?);
    let mut text = format!("{compose}\n{}\n{start}", container::environment(inputs, false)?);
    if inputs.config.server.web == Web::Https {
        text.push_str(&caddy::caddyfile(inputs)?);
    }
    Ok(sha256(text.as_bytes())[..16].to_string())
}

/// Whether the container is privileged, and its capabilities, as its compose file says.
pub fn rights(inputs: &Inputs) -> Result<(bool, BTreeSet<String>)> {
    let file = crate::yaml::parse(&container::compose(inputs, "-")?)
        .map_err(|e| Error::step("template compose.yaml is no YAML").cause(e.message))?;
    let service = &file["services"]["wg-easy"];
    Ok((service["privileged"].as_bool().unwrap_or(false), capabilities(&service["cap_add"])))
}

/// The service that goes on after a restart.
pub fn resume_service() -> Result<String> {
    fill("resume.initd", minijinja::context! { program => SELF })
}

/// The service that watches over a trial boot for this long.
pub fn watchdog(seconds: u32) -> Result<String> {
    fill("watchdog.initd", minijinja::context! { seconds, mark => WATCHDOG_MARK })
}

/// The service that looks after the container at every boot.
pub fn guard() -> Result<String> {
    fill("guard.initd", minijinja::context! { program => SELF })
}

/// What apk calls after each of its transactions.
pub fn hook() -> Result<String> {
    fill("hook.sh", minijinja::context! { module => EXTRA })
}

/// extlinux's entry for one boot of the new kernel, after the generated entry of the same kernel.
pub fn extlinux_trial(
    linux: &str,
    initrd: Option<&str>,
    append: &str,
    parameters: &str,
    old_label: &str,
) -> Result<String> {
    let context = minijinja::context! { label => TRIAL, linux, initrd, append, parameters, old_label };
    fill("trial-entry.extlinux", context)
}

/// GRUB's entry for one boot of a kernel, after the generated entry `like` of the same kernel; `back` is the
/// old kernel's, for the case that a file is not what `sums` (beside grub.cfg) says. `directory` is where GRUB
/// finds both kernels.
pub fn grub_trial(like: &[String], parameters: &str, back: &[String], sums: &str, directory: &str) -> Result<String> {
    let is = |line: &String, kind: &str| line.split_whitespace().next().is_some_and(|word| word.starts_with(kind));
    let one = |kind: &str| like.iter().find(|l| is(l, kind)).cloned().unwrap_or_default();
    let (linux, initrd) = (one("linux"), one("initrd"));
    let setup: Vec<&String> = like.iter().filter(|l| !is(l, "linux") && !is(l, "initrd") && !is(l, "echo")).collect();
    let back: Vec<&String> = back.iter().filter(|l| !is(l, "echo")).collect();
    let context = minijinja::context! { label => TRIAL, setup, sums, directory, linux, initrd, parameters, back };
    fill("trial-entry.grub", context)
}

/// Fills a template; a placeholder that nothing fills is an error.
fn fill(name: &str, context: minijinja::Value) -> Result<String> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.set_keep_trailing_newline(true);
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.add_filter("yaml", |v: String| container::yaml(&v));
    environment.add_filter("caddy", |v: String| {
        caddy::quote(&v).map_err(|why| minijinja::Error::new(minijinja::ErrorKind::InvalidOperation, why))
    });
    environment.add_filter("shell", |v: String| format!("'{}'", v.replace('\'', r"'\''")));
    environment.add_filter("unit", |v: String| {
        let v = v.replace('%', "%%").replace('$', "$$");
        serde_json::to_string(&v).expect("a string")
    });
    let text = TEMPLATES.iter().find(|(n, _)| *n == name).expect("a template of ours").1;
    environment
        .render_named_str(name, text, context)
        .map_err(|e| Error::step(format!("template {name} cannot be filled in")).cause(e))
}

fn config_text(inputs: &Inputs) -> String {
    format!("# The effective configuration, written by awg-install.\n{}", inputs.effective)
}

fn modules_load(inputs: &Inputs) -> String {
    let modules = inputs.rung.modules(inputs.backend, inputs.ipv6).join("\n");
    format!("# Written by awg-install; read by the modules service at boot.\n{modules}\n")
}

fn sysctl(inputs: &Inputs) -> String {
    let mut text = String::from("# Written by awg-install: a server forwards its clients' packets.\n");
    for (name, value) in &inputs.sysctl {
        text.push_str(&format!("{name} = {value}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_placeholder_is_an_error() {
        assert!(fill("resume.initd", minijinja::context! {}).is_err());
    }
}
