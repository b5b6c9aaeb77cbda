//! The distribution, its init system, what kind of machine it runs on, and its services.

use std::collections::BTreeMap;

use super::{Os, Service};
use crate::host::Host;

/// Services that a plan may touch or has to know of.
const SERVICES: &[&str] =
    &["awg-firewall", "awg-guard", "awg-install", "awg-watchdog", "cgroups", "docker", "modules", "sysctl"];
const RUNLEVELS: &[&str] = &["sysinit", "boot", "default"];

pub fn probe(host: &Host) -> Os {
    let release = parse_os_release(&host.read_text("/etc/os-release").unwrap_or_default());
    let field = |name: &str| release.get(name).cloned().unwrap_or_default();
    let container = container(host);
    Os {
        id: field("ID"),
        name: field("PRETTY_NAME"),
        version: field("VERSION_ID"),
        init: if host.exists("/run/openrc/softlevel") || host.exists("/sbin/openrc") {
            "openrc".into()
        } else if host.exists("/run/systemd/system") {
            "systemd".into()
        } else {
            String::new()
        },
        tun: tun(host, container.is_some()),
        container,
        diskless: matches!(root_fs_type(&host.read_text("/proc/mounts").unwrap_or_default()), "tmpfs" | "ramfs")
            || host.exists("/.modloop"),
    }
}

pub fn memory_mib(host: &Host) -> u64 {
    parse_memory_kib(&host.read_text("/proc/meminfo").unwrap_or_default()) / 1024
}

/// Read from the links of OpenRC, or of systemd, so that no program has to run.
pub fn services(host: &Host, os: &Os) -> BTreeMap<String, Service> {
    match os.init.as_str() {
        "openrc" => {}
        "systemd" => {
            let firewall = ("awg-firewall".to_string(), systemd_firewall(host));
            return BTreeMap::from([("docker".to_string(), systemd_docker(host)), firewall]);
        }
        _ => return BTreeMap::new(),
    }
    let one = |name: &str| Service {
        installed: host.exists(format!("/etc/init.d/{name}")),
        runlevels: RUNLEVELS
            .iter()
            .filter(|level| host.exists(format!("/etc/runlevels/{level}/{name}")))
            .map(|level| level.to_string())
            .collect(),
        started: host.exists(format!("/run/openrc/started/{name}")),
    };
    SERVICES.iter().map(|name| (name.to_string(), one(name))).collect()
}

fn systemd_firewall(host: &Host) -> Service {
    let (name, wants) = ("awg-firewall", "multi-user.target");
    let enabled = host.exists(format!("/etc/systemd/system/{wants}.wants/{name}.service"));
    Service {
        installed: host.exists(format!("/etc/systemd/system/{name}.service")),
        runlevels: if enabled { vec![wants.into()] } else { Vec::new() },
        started: false,
    }
}

/// The engine's own unit: one that its socket starts would not bring a container back after a restart.
fn systemd_docker(host: &Host) -> Service {
    let directories = ["/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system", "/run/systemd/system"];
    let unit = "docker.service";
    let enabled = host.exists(format!("/etc/systemd/system/multi-user.target.wants/{unit}"));
    Service {
        installed: directories.iter().any(|d| host.exists(format!("{d}/{unit}"))),
        runlevels: if enabled { vec!["multi-user.target".into()] } else { Vec::new() },
        // Whether it answers is asked of the engine itself.
        started: false,
    }
}

/// `KEY=value` lines with optional quotes.
pub fn parse_os_release(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .filter_map(|line| line.trim().split_once('='))
        .map(|(k, v)| (k.to_string(), v.trim_matches(|c| c == '"' || c == '\'').to_string()))
        .collect()
}

/// File system type of `/` in `/proc/mounts`; the last mount wins.
pub fn root_fs_type(mounts: &str) -> &str {
    mounts
        .lines()
        .filter_map(|line| {
            let mut field = line.split(' ').skip(1);
            (field.next()? == "/").then(|| field.next()).flatten()
        })
        .next_back()
        .unwrap_or_default()
}

fn parse_memory_kib(meminfo: &str) -> u64 {
    let line = meminfo.lines().find_map(|l| l.strip_prefix("MemTotal:")).unwrap_or_default();
    line.trim().trim_end_matches("kB").trim().parse().unwrap_or(0)
}

/// A container has no kernel of its own. The marks are those that each technology documents.
fn container(host: &Host) -> Option<String> {
    let environ = host.read_text("/proc/1/environ").unwrap_or_default();
    let named = environ.split('\0').find_map(|e| e.strip_prefix("container=")).filter(|v| !v.is_empty());
    let osrelease = host.release().to_lowercase();
    if let Some(name) = named {
        Some(name.to_string())
    } else if host.exists("/proc/vz/veinfo") && !host.exists("/proc/vz/version") {
        Some("openvz".into())
    } else if host.exists("/.dockerenv") {
        Some("docker".into())
    } else if host.exists("/run/.containerenv") {
        Some("podman".into())
    } else if osrelease.contains("microsoft") {
        Some("wsl".into())
    } else {
        None
    }
}

/// A container cannot load modules: there only the device itself counts.
fn tun(host: &Host, container: bool) -> bool {
    if container {
        return host.exists("/dev/net/tun");
    }
    let release = host.release();
    let names = |file: &str| {
        host.read_text(format!("/lib/modules/{release}/{file}"))
            .is_some_and(|t| t.lines().any(|l| l.split(':').next().unwrap_or("").contains("/tun.ko")))
    };
    host.exists("/dev/net/tun") || names("modules.dep") || names("modules.builtin")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn os_release_of_alpine() {
        // As shipped in alpine-baselayout 3.22.
        let text = "NAME=\"Alpine Linux\"\nID=alpine\nVERSION_ID=3.22.1\nPRETTY_NAME=\"Alpine Linux v3.22\"\n";
        let fields = parse_os_release(text);
        assert_eq!(fields["ID"], "alpine");
        assert_eq!(fields["VERSION_ID"], "3.22.1");
        assert_eq!(fields["PRETTY_NAME"], "Alpine Linux v3.22");
    }

    #[test]
    fn root_file_system() {
        let text = "rootfs / rootfs rw 0 0\n/dev/root / ext4 rw,relatime 0 0\nproc /proc proc rw 0 0\n";
        assert_eq!(root_fs_type(text), "ext4");
        assert_eq!(root_fs_type("tmpfs / tmpfs rw 0 0\n"), "tmpfs");
        assert_eq!(root_fs_type(""), "");
    }

    #[test]
    fn memory() {
        assert_eq!(parse_memory_kib("MemTotal:        1500972 kB\nMemFree: 1 kB\n"), 1_500_972);
        assert_eq!(parse_memory_kib("nothing"), 0);
    }
}
