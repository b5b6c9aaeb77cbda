//! The container engine, the configured image, and our container.

use serde_json::Value;
use xshell::cmd;

use super::{Container, Engine, Image};
use crate::config::Config;
use crate::host::{Host, Limits};

/// Label that says which rendering a container was made from.
pub const REVISION_LABEL: &str = "io.awg-install.revision";

/// A loaded host answers late; an answer that is cut off would read as "absent".
fn patient() -> Limits {
    Limits::seconds(60)
}

pub fn probe(host: &Host, config: &Config) -> Engine {
    if host.which("docker").is_none() {
        return Engine::default();
    }
    let sh = host.shell();
    let version = host.ask(cmd!(sh, "docker version --format json"), patient());
    let server = parse_server_version(&version.stdout);
    let answers = version.ok() && server.is_some();
    let image = if answers { image(host, &config.container.image.to_string()) } else { None };
    Engine { installed: true, answers, version: server.unwrap_or_default(), compose: compose(host), image }
}

/// The way to call compose: the engine's plugin, or the program of its own.
pub fn compose(host: &Host) -> String {
    let sh = host.shell();
    if host.ask(cmd!(sh, "docker compose version --short"), patient()).ok() {
        "docker compose".into()
    } else if host.which("docker-compose").is_some() {
        "docker-compose".into()
    } else {
        String::new()
    }
}

pub fn image(host: &Host, reference: &str) -> Option<Image> {
    let sh = host.shell();
    let out = host.ask(cmd!(sh, "docker image inspect {reference}"), patient());
    if out.ok() { parse_image(&out.stdout) } else { None }
}

pub fn container(host: &Host, name: &str) -> Option<Container> {
    let sh = host.shell();
    let out = host.ask(cmd!(sh, "docker container inspect {name}"), patient());
    let mut container = if out.ok() { parse_container(&out.stdout)? } else { return None };
    if container.running {
        let link = host.ask(cmd!(sh, "docker exec {name} ip -d link show wg0"), patient());
        container.interface = if link.ok() { parse_link_kind(&link.stdout) } else { None };
    }
    Some(container)
}

pub fn parse_server_version(json: &str) -> Option<String> {
    let v: Value = serde_json::from_str(json).ok()?;
    Some(v["Server"]["Version"].as_str()?.to_string())
}

pub fn parse_image(json: &str) -> Option<Image> {
    let v: Value = serde_json::from_str(json).ok()?;
    let image = v.get(0)?;
    Some(Image {
        id: image["Id"].as_str()?.to_string(),
        digest: image["RepoDigests"][0].as_str().map(str::to_string),
        architecture: image["Architecture"].as_str().unwrap_or_default().to_string(),
    })
}

pub fn parse_container(json: &str) -> Option<Container> {
    let v: Value = serde_json::from_str(json).ok()?;
    let c = v.get(0)?;
    let state = &c["State"];
    let environment = c["Config"]["Env"].as_array();
    let networks = c["NetworkSettings"]["Networks"].as_object();
    Some(Container {
        running: state["Running"].as_bool().unwrap_or(false) && !state["Restarting"].as_bool().unwrap_or(false),
        restarting: state["Restarting"].as_bool().unwrap_or(false),
        restarts: c["RestartCount"].as_u64().unwrap_or(0),
        health: state["Health"]["Status"].as_str().unwrap_or_default().to_string(),
        revision: c["Config"]["Labels"][REVISION_LABEL].as_str().unwrap_or_default().to_string(),
        first_start: environment
            .is_some_and(|env| env.iter().any(|e| e.as_str().is_some_and(|e| e.starts_with("INIT_PASSWORD=")))),
        pid: state["Pid"].as_u64().unwrap_or(0) as u32,
        address: networks
            .and_then(|n| n.values().find_map(|n| n["IPAddress"].as_str().filter(|a| !a.is_empty())))
            .unwrap_or_default()
            .to_string(),
        interface: None,
    })
}

/// The kind of a link in `ip -d link show`: the first word of the indented detail line that is one.
pub fn parse_link_kind(text: &str) -> Option<String> {
    text.lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().next())
        .find(|word| matches!(*word, "amneziawg" | "wireguard" | "tun"))
        .map(str::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_kinds() {
        // iproute2 6.15 on the lab's kernels.
        let awg = "3: wg0: <POINTOPOINT,NOARP,UP,LOWER_UP> mtu 1420 qdisc noqueue state UNKNOWN mode DEFAULT group default qlen 1000\n    link/none  promiscuity 0 allmulti 0 minmtu 0 maxmtu 2147483552 \n    amneziawg addrgenmode none numtxqueues 1 numrxqueues 1 gso_max_size 65536\n";
        assert_eq!(parse_link_kind(awg).as_deref(), Some("amneziawg"));
        let tun = "4: wg0: <POINTOPOINT,MULTICAST,NOARP,UP> mtu 1420\n    link/none  promiscuity 0\n    tun type tun pi off vnet_hdr on persist off addrgenmode random\n";
        assert_eq!(parse_link_kind(tun).as_deref(), Some("tun"));
        assert_eq!(parse_link_kind("2: eth0@if5: <UP>\n    link/ether 02:42\n    veth addrgenmode eui64\n"), None);
    }

    #[test]
    fn inspect_output() {
        let json = r#"[{"RestartCount":2,"State":{"Running":true,"Restarting":false,"Pid":812,"Health":{"Status":"healthy"}},
            "Config":{"Labels":{"io.awg-install.revision":"abc"}},
            "NetworkSettings":{"Networks":{"wg-easy_wg":{"IPAddress":"10.42.42.2"}}}}]"#;
        let c = parse_container(json).unwrap();
        assert!(c.running && c.health == "healthy" && c.pid == 812 && c.restarts == 2);
        assert_eq!((c.revision.as_str(), c.address.as_str()), ("abc", "10.42.42.2"));
        assert_eq!(parse_container("[]"), None);
        assert_eq!(parse_container("not json"), None);
    }

    #[test]
    fn engine_versions() {
        assert_eq!(parse_server_version(r#"{"Client":{},"Server":{"Version":"26.1.5"}}"#).as_deref(), Some("26.1.5"));
        assert_eq!(parse_server_version(r#"{"Client":{"Version":"26.1.5"}}"#), None);
    }
}
