//! What the checks see beyond the facts that a plan is made from. Nothing is changed by looking.

use serde_json::Value;
use xshell::cmd;

use crate::config::Config;
use crate::container::{self, Said};
use crate::error::Error;
use crate::facts::image::{self, Contents};
use crate::facts::{Container, Facts, network};
use crate::host::{Host, Limits};
use crate::kernel;
use crate::module;
use crate::receipt::Receipt;

/// Words in the kernel's log that tell of a module it has refused. "module verification failed" is not one: it is
/// said of every module that Alpine has not signed, and the module is taken.
const REFUSALS: &[&str] =
    &["disagrees about version", "version magic", "Unknown symbol", "unsigned module is rejected"];
/// Where OpenRC and systemd say that the clock is kept.
const CLOCK_SERVICES: &[&str] = &[
    "/run/openrc/started/chronyd",
    "/run/openrc/started/ntpd",
    "/run/openrc/started/openntpd",
    "/run/systemd/timesync/synchronized",
    "/run/chrony/chronyd.pid",
];

/// See [`look`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct More {
    /// Seconds since 1970, and the last moment that is known to have been before now.
    pub now: u64,
    pub before: u64,
    /// Somebody keeps the clock.
    pub clock_kept: bool,
    /// Inodes that are free in `/`, where its file system counts them.
    pub inodes: Option<u64>,
    /// Ports that logins come in by, as their service is set up; empty where there is none.
    pub logins: Vec<u16>,
    /// The interface of the default route, and its MTU.
    pub uplink: Option<(String, u32)>,
    /// The MTU of wg0 in the container.
    pub tunnel_mtu: Option<u32>,
    /// There is an IPv6 route to everywhere.
    pub ipv6_route: bool,
    /// The running kernel has an index of its modules, as text and in kmod's own form.
    pub text_index: bool,
    pub binary_index: bool,
    /// Why the running kernel would refuse the module that is in place.
    pub misfit: Option<(String, String)>,
    /// The kernel's last words on the module, where it has refused one.
    pub refusals: Vec<String>,
    /// What was found when the image was looked into.
    pub image: Option<Contents>,
    pub made: Made,
    /// The last lines of the container; nothing where there is none.
    pub said: Option<Said>,
}

/// How the container was made, as the engine tells it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Made {
    pub health_check: Option<String>,
    pub experimental: Option<String>,
    pub override_auto: Option<String>,
}

pub fn look(host: &Host, config: &Config, facts: &Facts, receipt: Option<&Receipt>) -> More {
    let running = &facts.kernel.running;
    let index = format!("/lib/modules/{running}/modules.dep");
    let ipv6 = host.read_text("/proc/net/ipv6_route").unwrap_or_default();
    More {
        now: host.now(),
        before: receipt.map_or(0, |r| seconds(&r.updated)),
        clock_kept: CLOCK_SERVICES.iter().any(|place| host.exists(place)),
        inodes: host.free_inodes("/"),
        logins: logins(host),
        uplink: uplink(host),
        tunnel_mtu: facts.container.as_ref().and_then(|c| tunnel_mtu(host, c)),
        ipv6_route: network::parse_default6(&ipv6),
        text_index: host.exists(&index),
        binary_index: host.exists(format!("{index}.bin")),
        misfit: misfit(host, facts),
        refusals: refusals(host),
        image: facts.container.as_ref().and_then(|c| image::contents(host, &c.image)),
        made: facts.container.as_ref().map(|_| made(host, config)).unwrap_or_default(),
        said: facts.container.as_ref().map(|_| container::said(host, config)),
    }
}

fn seconds(stamp: &str) -> u64 {
    let parsed = time::OffsetDateTime::parse(stamp, &time::format_description::well_known::Rfc3339);
    parsed.map_or(0, |t| t.unix_timestamp().max(0) as u64)
}

/// The ports in sshd's own configuration; 22 where it names none.
fn logins(host: &Host) -> Vec<u16> {
    const SERVICES: &[&str] = &[
        "/etc/runlevels/default/sshd",
        "/etc/runlevels/default/dropbear",
        "/etc/systemd/system/multi-user.target.wants/ssh.service",
        "/etc/systemd/system/multi-user.target.wants/sshd.service",
    ];
    if !SERVICES.iter().any(|place| host.exists(place)) {
        return Vec::new();
    }
    let ports = parse_login_ports(&host.read_text("/etc/ssh/sshd_config").unwrap_or_default());
    if ports.is_empty() { vec![22] } else { ports }
}

fn uplink(host: &Host) -> Option<(String, u32)> {
    let name = network::parse_uplink(&host.read_text("/proc/net/route")?)?;
    let mtu = host.read_trimmed(format!("/sys/class/net/{name}/mtu"))?.parse().ok()?;
    Some((name, mtu))
}

fn tunnel_mtu(host: &Host, container: &Container) -> Option<u32> {
    host.read_trimmed(format!("/proc/{}/root/sys/class/net/wg0/mtu", container.pid))?.parse().ok()
}

/// The module in place, held against the kernel that runs: release, flags, every symbol's CRC.
fn misfit(host: &Host, facts: &Facts) -> Option<(String, String)> {
    let installed = facts.modules.amneziawg.get(&facts.kernel.running)?;
    let inspected = module::inspect(&host.read(&installed.path)?, &module::Limits::default());
    let refused = match inspected {
        Ok(inspection) => kernel::check(host, &inspection, &facts.kernel.running, &facts.arch).err(),
        Err(error) => Some(error),
    };
    refused.map(|Error { message, cause, .. }| (message, cause.unwrap_or_default()))
}

fn refusals(host: &Host) -> Vec<String> {
    let sh = host.shell();
    let out = host.ask(cmd!(sh, "dmesg"), Limits::seconds(20));
    let ours = |l: &&str| l.contains(module::NAME) && REFUSALS.iter().any(|word| l.contains(word));
    out.stdout.lines().filter(ours).map(str::to_string).collect()
}

fn made(host: &Host, config: &Config) -> Made {
    let answer = host.engine_get(&format!("/containers/{}/json", config.container.name)).found();
    answer.map(|a| parse_made(&a)).unwrap_or_default()
}

/// The answer to `/containers/NAME/json`. Of the environment only the two values that name the implementation.
pub fn parse_made(answer: &Value) -> Made {
    let environment = || answer["Config"]["Env"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let value = |name: &str| environment().find_map(|e| Some(e.strip_prefix(name)?.strip_prefix('=')?.to_string()));
    let words = answer["Config"]["Healthcheck"]["Test"].as_array();
    Made {
        health_check: words.map(|all| all.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ")),
        experimental: value("EXPERIMENTAL_AWG"),
        override_auto: value("OVERRIDE_AUTO_AWG"),
    }
}

/// `Port` lines of sshd_config.
pub fn parse_login_ports(text: &str) -> Vec<u16> {
    let port = |line: &str| {
        let mut words = line.split_whitespace();
        words.next().filter(|w| w.eq_ignore_ascii_case("port"))?;
        words.next()?.parse().ok()
    };
    text.lines().filter_map(port).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ports_of_logins() {
        assert_eq!(parse_login_ports("#Port 22\nPort 2222\nport 2022\nListenAddress ::\n"), [2222, 2022]);
        assert!(parse_login_ports("PermitRootLogin no\n").is_empty());
    }

    #[test]
    fn only_two_values_of_the_environment_are_taken() {
        let answer = json!({"Config": {"Env": ["INIT_PASSWORD=x", "EXPERIMENTAL_AWG=true", "OVERRIDE_AUTO_AWG=awg"],
            "Healthcheck": {"Test": ["CMD-SHELL", "awg show wg0"]}}});
        let made = parse_made(&answer);
        assert_eq!((made.experimental.as_deref(), made.override_auto.as_deref()), (Some("true"), Some("awg")));
        assert_eq!(made.health_check.as_deref(), Some("CMD-SHELL awg show wg0"));
        assert_eq!(parse_made(&Value::Null), Made::default());
    }

    #[test]
    fn times() {
        assert_eq!(seconds("2026-01-02T03:04:05Z"), 1_767_323_045);
        assert_eq!(seconds("nonsense"), 0);
    }
}
