//! Forwarding, IPv6, ports, packet filter, MTU.

use super::check::{Found, View, problem};
use crate::config::{Ipv6, Web};
use crate::error::Error;
use crate::facts::network::accept_ra;
use crate::owned::BRIDGE;
use crate::preflight;

/// What a packet of the tunnel carries around a client's: IPv6, UDP and the tunnel's own header.
const AROUND: u32 = 40 + 8 + 32;

pub fn forwarding(view: &View) -> Found {
    let mut wanted = vec!["net.ipv4.ip_forward"];
    if view.ipv6() {
        wanted.push("net.ipv6.conf.all.forwarding");
    }
    let value = |name: &str| view.facts.sysctl.get(name).map(String::as_str).unwrap_or("absent");
    let off: Vec<String> = wanted.iter().filter(|n| value(n) != "1").map(|n| format!("{n} is {}", value(n))).collect();
    if off.is_empty() {
        return Found::good(wanted.iter().map(|n| format!("{n} is 1")).collect::<Vec<_>>().join(", "));
    }
    Found::bad(problem(
        off.join(", "),
        "no packet of a client goes on from here: something has set it back since",
        "run `awg-install install`; `grep -r forward /etc/sysctl.conf /etc/sysctl.d` tells who else sets it",
    ))
}

/// Asked for, against what is there.
pub fn ipv6(view: &View) -> Found {
    let (asked, on, route) = (view.config.network.ipv6, view.facts.network.ipv6, view.more.ipv6_route);
    match (asked, on) {
        (Ipv6::Off, _) => Found::good("switched off in the configuration"),
        (Ipv6::On, false) => Found::bad(problem(
            "network.ipv6 is on, and IPv6 is switched off on this host",
            "the container asks for it, and cannot start",
            "switch it on (sysctl net.ipv6.conf.all.disable_ipv6=0) or set network.ipv6: auto",
        )),
        (Ipv6::Auto, false) => Found::good("switched off on this host: the tunnel has none either"),
        (Ipv6::On, true) if !route => Found::warning(problem(
            "network.ipv6 is on, and this host has no IPv6 route to the internet",
            "clients get an IPv6 address that leads nowhere, and programs on them wait",
            "have the provider switch IPv6 on, or set network.ipv6: off",
        )),
        (_, true) if !route => Found::good("on; this host has no IPv6 route to the internet"),
        (_, true) => Found::good("on, with a route to the internet"),
    }
}

/// A host that forwards forgets a route that was advertised to it, unless it is told to go on listening.
pub fn advertised(view: &View) -> Found {
    let interfaces = &view.facts.network.advertised;
    if interfaces.is_empty() || !view.ipv6() {
        return Found::good("no IPv6 route depends on router advertisements");
    }
    let lost: Vec<&String> =
        interfaces.iter().filter(|i| view.facts.sysctl.get(&accept_ra(i)).is_none_or(|v| v != "2")).collect();
    match lost.first() {
        None => Found::good(format!("accept_ra is 2 on {}", interfaces.join(", "))),
        Some(first) => Found::bad(problem(
            format!("{} is not 2", accept_ra(first)),
            format!("{first} gets its IPv6 route by advertisements, which a host that forwards does not listen to"),
            format!("run `awg-install install`, or `sysctl -w {}=2`", accept_ra(first)),
        )),
    }
}

/// Who holds the ports that are published.
pub fn ports(view: &View) -> Found {
    if let Err(error) = preflight::ports(view.config, view.facts) {
        return Found::bad(error);
    }
    let (server, network) = (&view.config.server, &view.facts.network);
    let by = |held: Option<&String>| match held.map(String::as_str) {
        None => "free".to_string(),
        Some("") => "the engine's".to_string(),
        Some(name) => name.to_string(),
    };
    let mut seen = vec![format!("udp {}: {}", server.port, by(network.udp.get(&server.port)))];
    let open = match server.web {
        Web::Local => vec![],
        Web::Public => vec![server.web_port],
        Web::Https => vec![server.https.port, server.https.http_port],
    };
    seen.extend(open.iter().map(|port| format!("tcp {port}: {}", by(network.tcp.get(port)))));
    Found::good(seen.join(", "))
}

/// A tunnel's packet fits into one of the link that it leaves by.
pub fn mtu(view: &View) -> Found {
    let (Some((link, outside)), Some(inside)) = (&view.more.uplink, view.more.tunnel_mtu) else {
        return Found::skipped("the MTU of wg0, or of the link that it leaves by, cannot be told");
    };
    let fits = outside.saturating_sub(AROUND);
    if inside <= fits {
        return Found::good(format!("wg0 {inside}, {link} {outside}"));
    }
    Found::warning(problem(
        format!("wg0 {inside}, {link} {outside}: full packets of the tunnel do not fit"),
        "they are cut in two or lost: pages load halfway, and downloads stall",
        format!("set the MTU to {fits} on the admin page, for the interface and for its clients"),
    ))
}

/// Our rules on the host; those in the container are placed at each of its starts, or it does not start.
pub fn filter(view: &View) -> Found {
    let seen = match view.facts.network.rules.as_deref() {
        Some("") => Ok("the rules on this host are in place, before others".to_string()),
        Some(missing) => {
            Err(Error::step(missing).cause("another firewall was loaded since, or somebody took them away"))
        }
        None => Err(Error::step("there is no script with rules for this host")),
    };
    Found::of(seen.map_err(|e| e.remedy("run `awg-install install`")))
}

/// Who else has a say in what is forwarded.
pub fn others(view: &View) -> Found {
    let found = &view.facts.network;
    if let Some(file) = &found.forward_drop {
        return Found::warning(problem(
            format!("{file} drops forwarded packets that it does not name"),
            "nftables drops what iptables accepts: no packet of a client comes through",
            format!("let its forward chain accept `iifname \"{BRIDGE}\"` and `oifname \"{BRIDGE}\"`"),
        ));
    }
    if view.facts.engine.settings.no_iptables {
        return Found::warning(problem(
            "the engine makes no firewall rules (iptables: false in /etc/docker/daemon.json)",
            "clients reach the internet only where rules of your own masquerade the container's network",
            "take the setting out, and restart docker",
        ));
    }
    match found.firewalls.as_slice() {
        [] => Found::good("no other firewall is started at boot"),
        some => Found::good(format!("{} as well: after it was reloaded, see here again", some.join(", "))),
    }
}
