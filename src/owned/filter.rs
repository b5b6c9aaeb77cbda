//! The packet filter: what runs in the container before the image's own program, and the rules on the host.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::Serialize;

use super::{Backend, Inputs, fill};
use crate::config::{Config, Firewall, Web};
use crate::error::Result;
use crate::facts::network::rules_script;

/// The host's side of the container's network; the name of an interface has 15 characters at most.
pub const BRIDGE: &str = "awg-easy";
/// On the host: what is accepted in DOCKER-USER, and what the container may not reach.
const PUBLISHED: &str = "AWG-PUBLISHED";
const ISOLATED: &str = "AWG-ISOLATED";
/// In the container: to itself, and through it.
const INPUT: &str = "AWG-INPUT";
const FORWARD: &str = "AWG-FORWARD";

/// What is no part of the internet: this network, private, shared, loopback and link-local ranges, metadata services
/// (AWS, Oracle, Azure's 168.63.129.16), documentation and benchmarks aside, multicast and reserved.
const CLOSED: &[&str] = &[
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "168.63.129.16/32",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "224.0.0.0/3",
];
/// Likewise; and IPv4's private ranges as a NAT64 gateway would reach them.
const CLOSED6: &[&str] = &[
    "::/96",
    "::ffff:0:0/96",
    "64:ff9b::a00:0/104",
    "64:ff9b::6440:0/106",
    "64:ff9b::7f00:0/104",
    "64:ff9b::a83f:8110/128",
    "64:ff9b::a9fe:0/112",
    "64:ff9b::ac10:0/108",
    "64:ff9b::c0a8:0/112",
    "64:ff9b:1::/48",
    "fc00::/7",
    "fe80::/9",
    "ff00::/8",
];

/// The rules of one chain on the host.
#[derive(Serialize)]
struct Part {
    program: &'static str,
    table: &'static str,
    chain: &'static str,
    parent: &'static str,
    #[serde(rename = "match")]
    matching: String,
    rules: Vec<String>,
}

/// What the container runs first.
pub(super) fn start(inputs: &Inputs) -> Result<String> {
    let families = families(inputs.ipv6);
    let parts: Vec<_> = families
        .iter()
        .map(|family| {
            let rules = inside(inputs.config, *family);
            minijinja::context! { program => family.program(), chains => [INPUT, FORWARD], rules }
        })
        .collect();
    let programs: Vec<_> = families.iter().map(|f| f.program()).collect();
    let isolate = inputs.config.network.isolate;
    fill(
        "start.sh",
        minijinja::context! { mode => inputs.rung.as_str(), nft => inputs.backend == Backend::Nft, isolate, programs, parts },
    )
}

/// The rules on the host, in the script that places them.
pub(super) fn host(inputs: &Inputs) -> Result<String> {
    let network = &inputs.config.network;
    let mut parts = Vec::new();
    for family in families(inputs.ipv6) {
        let part = |table, chain, parent, matching: &str, rules| {
            let program = family.program();
            Part { program, table, chain, parent, matching: matching.into(), rules }
        };
        if network.firewall == Firewall::Auto {
            parts.push(part("filter", PUBLISHED, "DOCKER-USER", "", published(inputs, family)));
        }
        if network.isolate {
            let matching = format!("-i {BRIDGE}");
            parts.push(part("mangle", ISOLATED, "PREROUTING", &matching, isolated(inputs.config, family)));
        }
    }
    fill("firewall.sh", minijinja::context! { parts, published => PUBLISHED, isolated => ISOLATED, bridge => BRIDGE })
}

/// The service that places the rules at boot.
pub(super) fn service(config: &Config, template: &str) -> Result<String> {
    fill(template, minijinja::context! { script => rules_script(&config.container.directory.to_string()) })
}

#[derive(Clone, Copy, PartialEq)]
enum Family {
    V4,
    V6,
}

impl Family {
    fn program(self) -> &'static str {
        if self == Family::V4 { "iptables" } else { "ip6tables" }
    }

    fn echo(self) -> &'static str {
        match self {
            Family::V4 => "-p icmp -m icmp --icmp-type 8",
            Family::V6 => "-p ipv6-icmp -m icmp6 --icmpv6-type 128",
        }
    }

    fn has(self, address: &IpAddr) -> bool {
        address.is_ipv4() == (self == Family::V4)
    }
}

fn families(ipv6: bool) -> Vec<Family> {
    if ipv6 { vec![Family::V4, Family::V6] } else { vec![Family::V4] }
}

const ANSWERS: &str = "-m conntrack --ctstate RELATED,ESTABLISHED";

/// Where peers ask for names, whatever else is closed to them.
fn names(config: &Config, family: Family) -> Vec<String> {
    let servers = config.server.dns.iter().filter(|a| family.has(a));
    let one = |a: &IpAddr| ["udp", "tcp"].map(|p| format!("-d {} -p {p} -m {p} --dport 53 -j RETURN", IpNet::from(*a)));
    servers.flat_map(one).collect()
}

/// The listed destinations, or those among them that are single addresses.
fn listed(config: &Config, family: Family, single: bool) -> Vec<String> {
    let nets = config.network.reachable.iter().filter(|n| family.has(&n.addr()));
    let nets = nets.filter(|n| !single || n.prefix_len() == n.max_prefix_len());
    nets.map(|n| format!("-d {n} -j RETURN")).collect()
}

/// In the container, for what comes out of the tunnel.
fn inside(config: &Config, family: Family) -> Vec<String> {
    let closed = if family == Family::V4 { CLOSED } else { CLOSED6 };
    let answers = [format!("{ANSWERS} -j RETURN")];
    let input = answers
        .iter()
        .cloned()
        .chain([format!("{} -j RETURN", family.echo())])
        .chain(names(config, family))
        .chain(listed(config, family, true))
        .chain(["-j DROP".to_string()]);
    let forward = answers
        .iter()
        .cloned()
        .chain(names(config, family))
        .chain(listed(config, family, false))
        .chain(["-o wg0 -j DROP".to_string()])
        .chain(closed.iter().map(|range| format!("-d {range} -j DROP")));
    let rules = input.map(|r| format!("-A {INPUT} {r}")).chain(forward.map(|r| format!("-A {FORWARD} {r}")));
    // Hung in last: until then nothing goes through half a chain, and before them there is no tunnel.
    rules.chain([("INPUT", INPUT), ("FORWARD", FORWARD)].map(|(at, to)| format!("-I {at} -i wg0 -j {to}"))).collect()
}

/// In DOCKER-USER: what was published, and the answers to and from it. What the container begins by itself goes
/// the operator's way.
fn published(inputs: &Inputs, family: Family) -> Vec<String> {
    let network = inputs.network;
    let one = |v4: &str, v6: &str| if family == Family::V4 { format!("{v4}/32") } else { format!("{v6}/128") };
    let server = &inputs.config.server;
    let web = (server.web == Web::Public).then_some(("tcp", server.web_port));
    let mut rules = opened(&one(network.address, network.address6), [("udp", server.port)].into_iter().chain(web));
    if server.web == Web::Https {
        let (v4, v6) = network.page();
        let ports = [("tcp", server.https.port), ("tcp", 80)].into_iter();
        rules.extend(opened(&one(&v4.to_string(), &v6.to_string()), ports));
    }
    rules
}

/// These ports of a container, as they are behind Docker's translation, and the answers.
fn opened(own: &str, ports: impl Iterator<Item = (&'static str, u16)>) -> Vec<String> {
    ports
        .map(|(protocol, port)| format!("-d {own} -p {protocol} -m {protocol} --dport {port} -j ACCEPT"))
        .chain([format!("-d {own} {ANSWERS} -j ACCEPT"), format!("-s {own} {ANSWERS} -j ACCEPT")])
        .collect()
}

/// Before Docker's own translation: what the container begins does not reach this host, at whichever address.
fn isolated(config: &Config, family: Family) -> Vec<String> {
    let open = names(config, family).into_iter().chain(listed(config, family, true));
    let closed = ["-m addrtype --dst-type LOCAL -m conntrack --ctstate INVALID,NEW -j DROP".to_string()];
    [format!("{ANSWERS} -j RETURN")].into_iter().chain(open).chain(closed).collect()
}
