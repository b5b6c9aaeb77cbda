//! The address that clients would reach this host by, as far as the host itself can tell. Nobody is asked.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::network::parse_routes;
use crate::host::Host;

/// The address of the interface with the default route; IPv4 where there is one.
pub fn probe(host: &Host) -> Option<IpAddr> {
    let read = |path: &str| host.read_text(path).unwrap_or_default();
    let v4 = parse_v4(&read("/proc/net/route"), &read("/proc/net/fib_trie")).map(IpAddr::V4);
    v4.or_else(|| parse_v6(&read("/proc/net/ipv6_route"), &read("/proc/net/if_inet6")).map(IpAddr::V6))
}

/// Whether clients elsewhere cannot reach it: the host is behind a translation of addresses.
pub fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            v4.is_private() || v4.is_link_local() || v4.is_loopback() || a == 100 && (64..128).contains(&b)
        }
        IpAddr::V6(v6) => {
            v6.is_loopback() || v6.segments()[0] & 0xfe00 == 0xfc00 || v6.segments()[0] & 0xffc0 == 0xfe80
        }
    }
}

/// Of /proc/net/route and /proc/net/fib_trie: the local address in a network of the default route's interface,
/// else (a single address without a network) the only one that others could reach.
pub fn parse_v4(routes: &str, trie: &str) -> Option<Ipv4Addr> {
    let is_default = |fields: &Vec<&str>| fields.get(1) == Some(&"00000000") && fields.get(7) == Some(&"00000000");
    let fields = routes.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<&str>>());
    let interface = fields.into_iter().find(is_default)?[0].to_string();
    let locals = parse_locals(trie);
    let routes = parse_routes(routes);
    let near =
        |a: &&Ipv4Addr| routes.iter().any(|(net, i)| *i == interface && net.contains(&IpNet::from(IpAddr::V4(**a))));
    let far = |a: &&Ipv4Addr| !is_private(IpAddr::V4(**a));
    locals.iter().find(near).or_else(|| locals.iter().find(far)).copied()
}

/// Addresses of this host in /proc/net/fib_trie, without those of the loopback network.
fn parse_locals(trie: &str) -> Vec<Ipv4Addr> {
    let mut found: Vec<Ipv4Addr> = Vec::new();
    let mut leaf = None;
    for line in trie.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("|-- ") {
            leaf = address.parse::<Ipv4Addr>().ok();
        } else if line == "/32 host LOCAL"
            && let Some(address) = leaf.filter(|a| !a.is_loopback() && !found.contains(a))
        {
            found.push(address);
        }
    }
    found
}

/// Of /proc/net/ipv6_route and /proc/net/if_inet6: the address that is valid everywhere on the default route's
/// interface.
pub fn parse_v6(routes: &str, addresses: &str) -> Option<Ipv6Addr> {
    let rows = |text: &str| -> Vec<Vec<String>> {
        text.lines().map(|line| line.split_whitespace().map(String::from).collect()).collect()
    };
    let is_default = |row: &&Vec<String>| row.len() > 9 && row[1] == "00" && row[4] != "0".repeat(32) && row[9] != "lo";
    let interface = rows(routes).iter().find(is_default)?[9].clone();
    let global = |row: &Vec<String>| {
        // The scope: 00 is global.
        let fits = row.len() > 5 && row[5] == interface && row[3] == "00";
        fits.then(|| u128::from_str_radix(&row[0], 16).ok().map(Ipv6Addr::from_bits)).flatten()
    };
    rows(addresses).iter().find_map(global)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Captured on a host with docker; the tail of the trie is the second of two tables that say the same.
    const ROUTES: &str = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
        eth0\t00000000\t0202000A\t0003\t0\t0\t202\t00000000\t0\t0\t0\n\
        eth0\t0002000A\t00000000\t0001\t0\t0\t202\t00FFFFFF\t0\t0\t0\n\
        docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n";
    const TRIE: &str = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n     \
        +-- 10.0.2.0/24 2 0 1\n        |-- 10.0.2.0\n           /24 link UNICAST\n        |-- 10.0.2.15\n           \
        /32 host LOCAL\n     +-- 127.0.0.0/8 2 0 2\n        |-- 127.0.0.1\n           /32 host LOCAL\n     \
        |-- 172.17.0.1\n        /32 host LOCAL\nLocal:\n        |-- 10.0.2.15\n           /32 host LOCAL\n";

    #[test]
    fn the_address_of_the_default_route() {
        assert_eq!(parse_v4(ROUTES, TRIE), Some(Ipv4Addr::new(10, 0, 2, 15)));
        assert_eq!(parse_v4("header\n", TRIE), None, "no default route");
        assert_eq!(parse_v4(ROUTES, ""), None);
    }

    /// Some providers give a single address, with the gateway outside of it.
    #[test]
    fn a_single_address() {
        let routes = ROUTES.replace("0002000A", "01001FAC").replace("00FFFFFF", "FFFFFFFF");
        let trie = TRIE.replace("10.0.2.15", "203.0.113.7");
        assert_eq!(parse_v4(&routes, &trie), Some(Ipv4Addr::new(203, 0, 113, 7)));
        assert_eq!(parse_v4(&routes, TRIE), None, "docker's own is not it");
    }

    #[test]
    fn ipv6() {
        let routes = "00000000000000000000000000000000 00 00000000000000000000000000000000 00 \
            fe80000000000000e46b73fffea19561 00000400 00000001 00000000 00450003     wan0\n";
        let addresses = "fe80000000000000505400fffe123456 02 40 20 80     wan0\n\
            20010db8000000000000000000000007 02 40 00 80     wan0\n";
        assert_eq!(parse_v6(routes, addresses), "2001:db8::7".parse().ok());
        assert_eq!(parse_v6("", addresses), None);
    }

    #[test]
    fn private_addresses() {
        for private in ["10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "169.254.1.1", "fd00::1", "fe80::1"] {
            assert!(is_private(private.parse().unwrap()), "{private}");
        }
        for public in ["203.0.113.7", "172.32.0.1", "100.128.0.1", "2001:db8::7"] {
            assert!(!is_private(public.parse().unwrap()), "{public}");
        }
    }
}
