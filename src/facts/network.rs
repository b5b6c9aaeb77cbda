//! Ports in use, IPv6, and the sysctl values that forwarding needs; all read from /proc.

use std::collections::BTreeMap;

use ipnet::{IpNet, Ipv4Net};

use super::Network;
use crate::host::Host;

/// The values this program may set, in the dotted form of sysctl.conf.
pub const SYSCTLS: &[&str] =
    &["net.ipv4.ip_forward", "net.ipv4.conf.all.src_valid_mark", "net.ipv6.conf.all.forwarding"];

/// `compose` is the container's compose file.
pub fn probe(host: &Host, compose: &str) -> Network {
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
    Network {
        ipv6: disabled.as_deref() == Some("0"),
        udp,
        tcp,
        routes: parse_routes(&host.read_text("/proc/net/route").unwrap_or_default()),
        container: host.read_text(compose).and_then(|text| parse_subnet(&text)),
    }
}

pub fn sysctl(host: &Host) -> BTreeMap<String, String> {
    SYSCTLS
        .iter()
        .filter_map(|name| {
            let value = host.read_trimmed(format!("/proc/sys/{}", name.replace('.', "/")))?;
            Some((name.to_string(), value))
        })
        .collect()
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
