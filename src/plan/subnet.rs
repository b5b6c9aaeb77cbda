//! Which ranges the container's network gets: the first that nothing on this host uses.

use ipnet::IpNet;

use crate::error::{Error, Result};
use crate::facts::{EngineNetwork, Facts, engine::PROJECT};
use crate::owned::{SUBNETS, Subnet};

/// What is in use stays, so that a finished host is not changed; else the first that is free.
pub fn choose(facts: &Facts) -> Result<&'static Subnet> {
    let own_name = format!("{PROJECT}_wg");
    let own = |n: &&EngineNetwork| n.name == own_name && facts.engine.other_project.is_none();
    let mine = facts.engine.networks.iter().find(own);
    let has = |subnets: &[IpNet], subnet: &Subnet| subnets.iter().any(|net| net.to_string() == subnet.range);
    if let Some(there) = mine.and_then(|n| SUBNETS.iter().find(|s| has(&n.subnets, s))) {
        return Ok(there);
    }
    let others = || facts.engine.networks.iter().filter(|n| !own(n));
    let user = |subnet: &Subnet| others().find(|n| n.subnets.iter().any(|net| touches(net, subnet)));
    let free: Vec<&Subnet> = SUBNETS.iter().filter(|s| user(s).is_none()).collect();
    let written = facts.network.container.map(|net| net.to_string());
    if let Some(there) = free.iter().find(|s| written.as_deref() == Some(s.range)) {
        return Ok(there);
    }
    let routed = |subnet: &Subnet| {
        let routes = facts.network.routes.iter().filter(|(_, device)| mine.is_none_or(|n| n.device != *device));
        routes.into_iter().any(|(net, _)| touches(net, subnet))
    };
    // Where the host has routes to all of them, such as one to 10.0.0.0/8, the narrower one of the container counts.
    free.iter().find(|s| !routed(s)).or(free.first()).copied().ok_or_else(|| {
        let used = SUBNETS.iter().filter_map(|s| Some(format!("{} is in the network {}", s.range, user(s)?.name)));
        Error::host("no range of addresses is free for the container's network")
            .cause(used.collect::<Vec<String>>().join("\n"))
            .remedy("remove a network that nothing needs (`docker network ls`, `docker network rm`)")
    })
}

fn touches(net: &IpNet, subnet: &Subnet) -> bool {
    let overlap = |range: &str| {
        let range: IpNet = range.parse().expect("a range of ours");
        net.contains(&range) || range.contains(net)
    };
    overlap(subnet.range) || overlap(subnet.range6)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(name: &str, subnet: &str) -> EngineNetwork {
        EngineNetwork { name: name.into(), device: format!("br-{name}"), subnets: vec![subnet.parse().unwrap()] }
    }

    fn chosen(networks: &[(&str, &str)], routes: &[(&str, &str)], written: Option<&str>) -> Option<&'static str> {
        let mut facts = Facts::default();
        facts.engine.networks = networks.iter().map(|(name, subnet)| network(name, subnet)).collect();
        facts.network.routes = routes.iter().map(|(net, dev)| (net.parse().unwrap(), dev.to_string())).collect();
        facts.network.container = written.map(|net| net.parse().unwrap());
        choose(&facts).ok().map(|s| s.range)
    }

    #[test]
    fn the_first_that_is_free() {
        assert_eq!(chosen(&[], &[], None), Some("10.42.42.0/24"));
        assert_eq!(chosen(&[("shop", "10.42.0.0/16")], &[], None), Some("10.43.43.0/24"));
        assert_eq!(chosen(&[("shop", "fdcc:ad94:bacf:61a3::/64")], &[], None), Some("10.43.43.0/24"));
        assert_eq!(chosen(&[], &[("10.42.42.0/24", "eth1")], None), Some("10.43.43.0/24"));
        assert_eq!(chosen(&[], &[("10.0.0.0/8", "eth1")], None), Some("172.30.242.0/24"));
        let everywhere = [("10.0.0.0/8", "a"), ("172.16.0.0/12", "a"), ("192.168.0.0/16", "a")];
        assert_eq!(chosen(&[], &everywhere, None), Some("10.42.42.0/24"), "the container's is the narrower one");
        assert_eq!(chosen(&everywhere.map(|(net, dev)| (dev, net)), &[], None), None);
    }

    #[test]
    fn what_is_in_use_stays() {
        let ours = [("wg-easy_wg", "10.43.43.0/24")];
        assert_eq!(chosen(&ours, &[("10.43.43.0/24", "br-wg-easy_wg")], None), Some("10.43.43.0/24"));
        // The engine does not answer, and its bridge is still there.
        assert_eq!(chosen(&[], &[("10.43.43.0/24", "br-0")], Some("10.43.43.0/24")), Some("10.43.43.0/24"));
        assert_eq!(chosen(&[("shop", "10.42.42.0/24")], &[], Some("10.42.42.0/24")), Some("10.43.43.0/24"));
    }
}
