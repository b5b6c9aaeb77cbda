//! Kernels that run and are installed, and what is known of their modules.

use std::collections::BTreeSet;

use super::{InstalledKernel, InstalledModule, Kernel, Modules};
use crate::host::{Host, files::sha256};
use crate::module;

/// wg-easy selects iptables-legacy, so the host must have these tables loaded.
pub const IPTABLES: &[&str] = &["ip_tables", "iptable_nat", "iptable_filter"];
/// The same for IPv6.
pub const IP6TABLES: &[&str] = &["ip6_tables", "ip6table_nat", "ip6table_filter"];
/// What iptables-nft needs instead, for both.
pub const NF_TABLES: &[&str] = &["nf_tables", "nft_compat", "nft_chain_nat", "xt_MASQUERADE"];
/// Where this program puts the module below `/lib/modules/<release>/`.
pub const EXTRA: &str = "extra/amneziawg.ko";

pub fn probe(host: &Host) -> Kernel {
    Kernel {
        running: host.release(),
        boot_id: host.boot_id(),
        installed: installed(host),
        lockdown: parse_lockdown(&host.read_text("/sys/kernel/security/lockdown").unwrap_or_default()).into(),
        sig_enforce: host.read_trimmed("/sys/module/module/parameters/sig_enforce").as_deref() == Some("Y"),
    }
}

/// Alpine's kernel packages say their release in `/usr/share/kernel/<flavour>/kernel.release`.
fn installed(host: &Host) -> Vec<InstalledKernel> {
    host.names("/usr/share/kernel")
        .into_iter()
        .filter_map(|flavour| {
            let release = host.read_trimmed(format!("/usr/share/kernel/{flavour}/kernel.release"))?;
            Some(InstalledKernel {
                vmlinuz: host.exists(format!("/boot/vmlinuz-{flavour}")),
                initramfs: host.exists(format!("/boot/initramfs-{flavour}")),
                modules: host.exists(format!("/lib/modules/{release}/modules.dep")),
                flavour,
                release,
            })
        })
        .collect()
}

pub fn modules(host: &Host) -> Modules {
    let loaded: BTreeSet<String> =
        parse_proc_modules(&host.read_text("/proc/modules").unwrap_or_default()).into_iter().collect();
    let builtin = host.read_text(format!("/lib/modules/{}/modules.builtin", host.release())).unwrap_or_default();
    let builtin: BTreeSet<&str> = builtin.lines().filter_map(|l| l.rsplit('/').next()?.strip_suffix(".ko")).collect();
    let interesting = IPTABLES.iter().chain(IP6TABLES).chain(NF_TABLES).chain(&["amneziawg", "wireguard", "tun"]);
    Modules {
        // A built-in module with parameters, or one that is loaded, has a directory here.
        loaded: interesting
            .filter(|m| loaded.contains(**m) || host.is_dir(format!("/sys/module/{m}")) || builtin.contains(**m))
            .map(|m| m.to_string())
            .collect(),
        amneziawg: host
            .names("/lib/modules")
            .into_iter()
            .filter_map(|release| Some((release.clone(), installed_module(host, &release)?)))
            .collect(),
        loaded_srcversion: host.read_trimmed("/sys/module/amneziawg/srcversion"),
        ip_tables: host
            .names("/lib/modules")
            .into_iter()
            .filter_map(|release| {
                let index = host.read_text(format!("/lib/modules/{release}/modules.dep"))?;
                let builtin = host.read_text(format!("/lib/modules/{release}/modules.builtin")).unwrap_or_default();
                Some((release, lists(&index, "ip_tables") || lists(&builtin, "ip_tables")))
            })
            .collect(),
    }
}

/// A module is named in `modules.dep` or `modules.builtin`, compressed or not.
fn lists(index: &str, name: &str) -> bool {
    let mut paths = index.lines().map(|l| l.split(':').next().unwrap_or_default());
    paths.any(|path| is_module(path, name))
}

/// A kernel has five thousand modules: only a file whose name is as long is taken apart.
fn is_module(path: &str, name: &str) -> bool {
    let file = path.rsplit('/').next().unwrap_or_default();
    file.as_bytes().get(name.len()) == Some(&b'.') && module::module_name(path).as_deref() == Some(name)
}

/// The module file that kmod would load for `release`.
pub fn installed_module(host: &Host, release: &str) -> Option<InstalledModule> {
    let base = format!("/lib/modules/{release}");
    let dep = host.read_text(format!("{base}/modules.dep")).unwrap_or_default();
    let listed = dep.lines().filter_map(|l| l.split(':').next()).find(|p| is_amneziawg(p));
    let path = format!("{base}/{}", listed.unwrap_or(EXTRA));
    let bytes = host.read(&path)?;
    let binary = host.read(format!("{base}/modules.dep.bin")).unwrap_or_default();
    let inspection = module::inspect(&bytes, &module::Limits::default()).ok();
    Some(InstalledModule {
        sha256: sha256(&bytes),
        srcversion: inspection.as_ref().and_then(|i| i.srcversion.clone()),
        vermagic_release: inspection.map(|i| i.vermagic.release).unwrap_or_default(),
        indexed: listed.is_some_and(|l| memchr::memmem::find(&binary, l.as_bytes()).is_some()),
        path,
    })
}

fn is_amneziawg(path: &str) -> bool {
    is_module(path, module::NAME)
}

/// The names in `/proc/modules` of modules that are live.
pub fn parse_proc_modules(text: &str) -> Vec<String> {
    text.lines()
        .filter(|l| l.split(' ').nth(4).is_none_or(|state| state == "Live"))
        .filter_map(|l| l.split(' ').next())
        .map(str::to_string)
        .collect()
}

/// The chosen word in `none [integrity] confidentiality`.
pub fn parse_lockdown(text: &str) -> &str {
    text.split_once('[').and_then(|(_, rest)| rest.split_once(']')).map_or("none", |(word, _)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn live_modules_only() {
        let text = "amneziawg 94208 0 - Live 0xffffffffc0321000 (OE)\nudp_tunnel 32768 1 amneziawg, Live 0x0\n\
                    half 4096 0 - Loading 0x0\n";
        assert_eq!(parse_proc_modules(text), ["amneziawg", "udp_tunnel"]);
    }

    #[test]
    fn modules_in_an_index() {
        let index = "kernel/net/ipv4/netfilter/iptable_nat.ko.gz: kernel/net/ipv4/netfilter/ip_tables.ko.gz\n\
                     kernel/net/netfilter/nft_compat.ko.gz: kernel/net/netfilter/nf_tables.ko.gz\n";
        // Named as a dependency only: no line of its own.
        assert!(!lists(index, "ip_tables"));
        assert!(lists(index, "nft_compat"));
        assert!(lists("kernel/net/ipv4/netfilter/ip_tables.ko\n", "ip_tables"));
        assert!(lists("kernel/net/ipv4/netfilter/ip-tables.ko.xz:\n", "ip_tables"));
        assert!(!lists("kernel/net/ipv4/netfilter/ip_tables.ko.bak:\n", "ip_tables"));
    }

    #[test]
    fn lockdown_states() {
        assert_eq!(parse_lockdown("none [integrity] confidentiality\n"), "integrity");
        assert_eq!(parse_lockdown("[none] integrity confidentiality\n"), "none");
        assert_eq!(parse_lockdown(""), "none");
    }

    #[test]
    fn module_file_names() {
        assert!(is_amneziawg("extra/amneziawg.ko"));
        assert!(is_amneziawg("updates/amneziawg.ko.gz"));
        assert!(!is_amneziawg("extra/amneziawg.ko.bak"));
        assert!(!is_amneziawg("kernel/drivers/net/wireguard/wireguard.ko"));
    }
}
