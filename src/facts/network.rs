//! Ports in use, IPv6, the sysctl values that forwarding needs, and who else has a say in the packet filter.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::{IpNet, Ipv4Net};

use super::{Network, Os, rules};
use crate::host::Host;

/// The values this program may set on every host, in the dotted form of sysctl.conf.
const SYSCTLS: &[&str] = &["net.ipv4.ip_forward", "net.ipv4.conf.all.src_valid_mark", "net.ipv6.conf.all.forwarding"];
/// Services that load packet filter rules at boot.
const FIREWALLS: &[&str] =
    &["ufw", "firewalld", "nftables", "iptables", "ip6tables", "netfilter-persistent", "shorewall"];
/// Where nftables' services read their rules: Alpine, Debian.
const NFT_FILES: &[&str] = &["/etc/nftables.nft", "/etc/nftables.conf"];
const NFT_DIRECTORY: &str = "/etc/nftables.d";

pub fn probe(host: &Host, os: &Os, directory: &str) -> Network {
    let mut inodes: BTreeMap<u64, u16> = BTreeMap::new();
    let mut ports = |files: [&str; 2], state: &str| -> BTreeMap<u16, String> {
        let mut found = BTreeMap::new();
        for file in files {
            for (port, inode) in parse_sockets(&host.read_text(file).unwrap_or_default(), state) {
                inodes.insert(inode, port);
                found.insert(port, String::new());
            }
        }
        found
    };
    // The state column: 0A is LISTEN for TCP, 07 an unconnected UDP socket.
    let mut udp = ports(["/proc/net/udp", "/proc/net/udp6"], "07");
    let mut tcp = ports(["/proc/net/tcp", "/proc/net/tcp6"], "0A");
    for (port, process) in holders(host, &inodes) {
        for map in [&mut udp, &mut tcp] {
            if let Some(name) = map.get_mut(&port) {
                *name = process.clone();
            }
        }
    }
    let disabled = host.read_trimmed("/proc/sys/net/ipv6/conf/all/disable_ipv6");
    let firewalls = firewalls(host, os);
    Network {
        ipv6: disabled.as_deref() == Some("0"),
        udp,
        tcp,
        advertised: advertised(host),
        forward_drop: if firewalls.iter().any(|f| f == "nftables") { forward_drop(host) } else { None },
        firewalls,
        rules: rules::missing(host, &rules_script(directory)),
        routes: parse_routes(&host.read_text("/proc/net/route").unwrap_or_default()),
        container: host.read_text(format!("{directory}/compose.yaml")).and_then(|text| parse_subnet(&text)),
    }
}

/// The values this program may set here that exist, by name.
pub fn sysctl(host: &Host) -> BTreeMap<String, String> {
    let advertised = advertised(host);
    let names = SYSCTLS.iter().map(|name| name.to_string()).chain(advertised.iter().map(|i| accept_ra(i)));
    names.filter_map(|name| Some((name.clone(), host.read_trimmed(sysctl_path(&name))?))).collect()
}

/// The setting that says whether an interface listens to router advertisements. The name of an interface may
/// hold a dot (`eth0.100`): the parts are kept apart by slashes then, which every sysctl understands.
pub fn accept_ra(interface: &str) -> String {
    match interface.contains('.') {
        true => format!("net/ipv6/conf/{interface}/accept_ra"),
        false => format!("net.ipv6.conf.{interface}.accept_ra"),
    }
}

pub fn sysctl_path(name: &str) -> String {
    match name.contains('/') {
        true => format!("/proc/sys/{name}"),
        false => format!("/proc/sys/{}", name.replace('.', "/")),
    }
}

/// The script that holds this program's rules for the host's packet filter.
pub fn rules_script(directory: &str) -> String {
    format!("{directory}/firewall.sh")
}

/// Interfaces that need accept_ra=2 to keep their default route while the host forwards, and those that have it.
fn advertised(host: &Host) -> Vec<String> {
    let routes = parse_advertised(&host.read_text("/proc/net/ipv6_route").unwrap_or_default());
    let listens = |interface: &String| {
        let value = host.read_trimmed(sysctl_path(&accept_ra(interface)));
        match value.as_deref() {
            Some("1") => routes.contains(interface),
            value => value == Some("2"),
        }
    };
    let interfaces = host.names("/proc/sys/net/ipv6/conf").into_iter().filter(|i| i != "all" && i != "default");
    interfaces.filter(listens).collect()
}

/// Interfaces of the default routes in /proc/net/ipv6_route that a router has advertised.
pub fn parse_advertised(table: &str) -> BTreeSet<String> {
    // RTF_DEFAULT and RTF_ADDRCONF of linux/ipv6_route.h.
    const WANTED: u32 = 0x0001_0000 | 0x0004_0000;
    let one = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let flags = u32::from_str_radix(fields.get(8)?, 16).ok()?;
        (fields[1] == "00" && flags & WANTED == WANTED).then(|| fields.get(9).map(|i| i.to_string()))?
    };
    table.lines().filter_map(one).collect()
}

fn firewalls(host: &Host, os: &Os) -> Vec<String> {
    let places: &[&str] = match os.init.as_str() {
        "openrc" => &["/etc/runlevels/boot/", "/etc/runlevels/default/"],
        _ => &["/etc/systemd/system/multi-user.target.wants/", "/etc/systemd/system/sysinit.target.wants/"],
    };
    let suffix = if os.init == "openrc" { "" } else { ".service" };
    let starts = |name: &&&str| places.iter().any(|place| host.exists(format!("{place}{name}{suffix}")));
    // ufw's service is there as soon as it is installed, and does nothing until it is enabled.
    let on = |name: &&&str| {
        let enabled = |text: String| text.lines().any(|l| l.trim().eq_ignore_ascii_case("ENABLED=yes"));
        **name != "ufw" || host.read_text("/etc/ufw/ufw.conf").is_some_and(enabled)
    };
    FIREWALLS.iter().filter(starts).filter(on).map(|name| name.to_string()).collect()
}

fn forward_drop(host: &Host) -> Option<String> {
    let more = host.names(NFT_DIRECTORY).into_iter().map(|name| format!("{NFT_DIRECTORY}/{name}"));
    let mut files = NFT_FILES.iter().map(|f| f.to_string()).chain(more.filter(|f| f.ends_with(".nft")));
    files.find(|file| host.read_text(file).is_some_and(|text| drops_forwarded(&text)))
}

/// A chain in an nftables file that hangs on `forward` drops what it does not name.
pub fn drops_forwarded(rules: &str) -> bool {
    let plain: Vec<&str> = rules.lines().map(|l| l.split('#').next().unwrap_or_default()).collect();
    let plain = plain.join(" ").split_whitespace().collect::<Vec<_>>().join(" ");
    let mut chains = plain.split("hook forward").skip(1);
    // The policy follows the hook, before the first rule's braces end the chain.
    chains.any(|after| after.split('}').next().is_some_and(|chain| chain.contains("policy drop")))
}

/// Local port and inode of each socket in `state` in a /proc/net/{tcp,udp}{,6} table.
pub fn parse_sockets(table: &str, state: &str) -> Vec<(u16, u64)> {
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let port = u16::from_str_radix(fields.get(1)?.rsplit_once(':')?.1, 16).ok()?;
            (*fields.get(3)? == state).then_some((port, fields.get(9)?.parse().ok()?))
        })
        .collect()
}

/// Destinations in /proc/net/route (numbers in the byte order of the machine), without the default route.
pub fn parse_routes(table: &str) -> Vec<(IpNet, String)> {
    let one = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let number = |n: usize| u32::from_str_radix(fields.get(n)?, 16).ok().map(u32::from_be);
        let net = Ipv4Net::with_netmask(number(1)?.into(), number(7)?.into()).ok()?;
        (net.prefix_len() > 0).then(|| (IpNet::V4(net), fields[0].to_string()))
    };
    table.lines().skip(1).filter_map(one).collect()
}

/// The interface of the default route in /proc/net/route; the one with the lowest metric counts.
pub fn parse_uplink(table: &str) -> Option<String> {
    let one = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let everywhere = *fields.get(1)? == "00000000" && *fields.get(7)? == "00000000";
        everywhere.then(|| Some((fields.get(6)?.parse::<u32>().ok()?, fields[0].to_string())))?
    };
    table.lines().skip(1).filter_map(one).min().map(|(_, name)| name)
}

/// Whether /proc/net/ipv6_route leads everywhere; the kernel's own entry, which rejects, does not.
pub fn parse_default6(table: &str) -> bool {
    table.lines().any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields.get(1) == Some(&"00") && fields.get(9).is_some_and(|device| *device != "lo")
    })
}

/// The first range that a compose file asks for.
pub fn parse_subnet(compose: &str) -> Option<IpNet> {
    let range = |line: &str| line.trim().strip_prefix("- subnet: ")?.trim().parse().ok();
    compose.lines().find_map(range)
}

/// The process that holds each socket, as `name (pid N)`.
fn holders(host: &Host, inodes: &BTreeMap<u64, u16>) -> Vec<(u16, String)> {
    if inodes.is_empty() || host.is_fake() {
        return Vec::new();
    }
    let mut found = Vec::new();
    for pid in host.names("/proc").into_iter().filter(|n| n.bytes().all(|b| b.is_ascii_digit())) {
        let dir = format!("/proc/{pid}/fd");
        for fd in host.names(&dir) {
            let Ok(link) = std::fs::read_link(host.path(format!("{dir}/{fd}"))) else { continue };
            let link = link.to_string_lossy().into_owned();
            let inode = link.strip_prefix("socket:[").and_then(|s| s.strip_suffix(']'));
            if let Some(port) = inode.and_then(|i| inodes.get(&i.parse().ok()?)) {
                let name = host.read_trimmed(format!("/proc/{pid}/comm")).unwrap_or_default();
                found.push((*port, format!("{name} (pid {pid})")));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Captured on a host with a UDP socket on 51820 and sshd on 22.
    const UDP: &str = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n\
        4291: 00000000:CA6C 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 21034 2 0000000000000000 0\n";
    const TCP: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
        0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 19862 1 0000000000000000 100 0 0 10 0\n\
        1: 0F02000A:0016 0202000A:D3A2 01 00000000:00000000 02:000A7E3C 00000000     0        0 20417 4 0000000000000000 20 4 31 10 -1\n";

    /// Captured on a host (Linux 6.18) whose default route a router has advertised; the last one is the kernel's
    /// own, which rejects.
    const ROUTES: &str = "fe800000000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     wan0\n\
        00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe80000000000000e46b73fffea19561 00000400 00000001 00000000 00450003     wan0\n\
        ff000000000000000000000000000000 08 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000003 00000000 00000001     wan0\n\
        00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo\n";

    #[test]
    fn routes_from_advertisements() {
        assert_eq!(parse_advertised(ROUTES).into_iter().collect::<Vec<_>>(), ["wan0"]);
        // As an administrator sets it.
        assert!(parse_advertised(&ROUTES.replace("00450003", "00000003")).is_empty());
        assert!(parse_advertised("garbage\n").is_empty());
        assert!(parse_default6(ROUTES));
        assert!(!parse_default6(ROUTES.lines().last().unwrap()), "the kernel's own one rejects");
    }

    #[test]
    fn names_of_settings() {
        assert_eq!(sysctl_path(&accept_ra("eth0")), "/proc/sys/net/ipv6/conf/eth0/accept_ra");
        assert_eq!(sysctl_path(&accept_ra("eth0.100")), "/proc/sys/net/ipv6/conf/eth0.100/accept_ra");
        assert_eq!(accept_ra("eth0.100"), "net/ipv6/conf/eth0.100/accept_ra");
    }

    #[test]
    fn forward_chains_that_drop() {
        let alpine = "table inet filter {\n\tchain input {\n\t\ttype filter hook input priority 0; policy drop;\n\t\ticmp type { echo-request } accept\n\t}\n\
            \tchain forward {\n\t\ttype filter hook forward priority 0; policy drop;\n\t}\n}\n";
        assert!(drops_forwarded(alpine));
        assert!(!drops_forwarded(
            &alpine.replace("forward priority 0; policy drop", "forward priority 0; policy accept")
        ));
        assert!(!drops_forwarded(&alpine.replace("\t\ttype filter hook forward", "# type filter hook forward")));
    }

    #[test]
    fn routes() {
        // Captured on a host with docker; 10.0.2.0/24 by DHCP.
        let table = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
            ens3\t00000000\t0202000A\t0003\t0\t0\t1024\t00000000\t0\t0\t0\n\
            ens3\t0002000A\t00000000\t0001\t0\t0\t1024\t00FFFFFF\t0\t0\t0\n\
            docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n";
        let wanted = [("10.0.2.0/24", "ens3"), ("172.17.0.0/16", "docker0")];
        let wanted: Vec<(IpNet, String)> = wanted.iter().map(|(n, d)| (n.parse().unwrap(), d.to_string())).collect();
        assert_eq!(parse_routes(table), wanted);
        assert_eq!(parse_uplink(table).as_deref(), Some("ens3"));
        assert_eq!(parse_uplink("header\nens3\tzz\n"), None);
        assert!(parse_routes("header\nens3\tzz\n").is_empty());
        assert_eq!(parse_subnet("x:\n        - subnet: 10.42.42.0/24\n").unwrap().to_string(), "10.42.42.0/24");
        assert_eq!(parse_subnet("nothing\n"), None);
    }

    #[test]
    fn listening_ports() {
        assert_eq!(parse_sockets(UDP, "07"), [(51820, 21034)]);
        assert_eq!(parse_sockets(TCP, "0A"), [(22, 19862)]);
        assert!(parse_sockets("", "0A").is_empty());
        assert!(parse_sockets("header\ngarbage here\n", "0A").is_empty());
    }
}
