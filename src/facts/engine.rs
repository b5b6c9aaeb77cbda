//! The container engine, the configured image, and our container.

use serde_json::Value;

use super::{Container, Engine, Image};
use crate::config::Config;
use crate::host::{Host, Reply};

/// Label that says which rendering a container was made from.
pub const REVISION_LABEL: &str = "io.awg-install.revision";

/// Where docker looks for plugins of its command line (docker/cli, cli-plugins/manager), and where
/// Alpine and Debian put compose.
const PLUGINS: &[&str] = &[
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
    "/root/.docker/cli-plugins",
];

/// Where the engine keeps what it has: Alpine's docker package runs a containerd of its own below
/// /var/lib/docker; Debian's uses the one of the system.
pub const STORES: &[&str] = &["/var/lib/docker", "/var/lib/containerd"];

pub fn probe(host: &Host, config: &Config) -> Engine {
    if host.which("docker").is_none() {
        return Engine::default();
    }
    let (version, problem) = match host.engine_get("/version") {
        Reply::Absent => (None, None),
        Reply::Silent(why) => (None, Some(why)),
        Reply::Answer(_, v) => (parse_version(&v), None),
    };
    let answers = version.is_some();
    let image = if answers { image(host, &config.container.image.to_string()) } else { None };
    Engine { installed: true, answers, problem, version: version.unwrap_or_default(), compose: compose(host), image }
}

/// What images call the architecture that the kernel names so.
pub fn platform(arch: &str) -> &'static str {
    if arch == "aarch64" { "arm64" } else { "amd64" }
}

/// The way to call compose: the engine's plugin, or the program of its own.
pub fn compose(host: &Host) -> String {
    if PLUGINS.iter().any(|dir| host.exists(format!("{dir}/docker-compose"))) {
        "docker compose".into()
    } else if host.which("docker-compose").is_some() {
        "docker-compose".into()
    } else {
        String::new()
    }
}

pub fn image(host: &Host, reference: &str) -> Option<Image> {
    let image = parse_image(&host.engine_get(&format!("/images/{reference}/json")).found()?)?;
    let Some(contents) = super::image::contents(host, &image.id) else { return Some(image) };
    let generation = contents.tools.as_deref().and_then(super::image::generation);
    Some(Image { programs: Some(contents.programs), generation, ..image })
}

pub fn container(host: &Host, name: &str) -> Option<Container> {
    let mut container = parse_container(&host.engine_get(&format!("/containers/{name}/json")).found()?)?;
    if container.running {
        container.interface = interface(host, container.pid);
    }
    Some(container)
}

/// No container but `name` runs, as far as the engine says.
pub fn runs_only(host: &Host, name: &str) -> bool {
    let Some(Value::Array(running)) = host.engine_get("/containers/json").found() else { return false };
    let ours = format!("/{name}");
    let called = |c: &Value| c["Names"].as_array().is_some_and(|names| names.iter().any(|n| *n == *ours));
    running.iter().all(called)
}

/// The kind of wg0 in the network namespace of a process, as the driver itself names it. A container's
/// /sys is mounted in its own namespace, so that a file tells; no program has to run inside.
fn interface(host: &Host, pid: u32) -> Option<String> {
    let place = format!("/proc/{pid}/root/sys/class/net/wg0");
    let kind = parse_device_type(&host.read_text(format!("{place}/uevent"))?);
    kind.or_else(|| host.exists(format!("{place}/tun_flags")).then(|| "tun".to_string()))
}

/// The answer to `/version`.
pub fn parse_version(v: &Value) -> Option<String> {
    Some(v["Version"].as_str()?.to_string())
}

/// `DEVTYPE` of a network device's uevent file: `wireguard`, `amneziawg`; a tun device has none.
pub fn parse_device_type(uevent: &str) -> Option<String> {
    uevent.lines().find_map(|l| l.strip_prefix("DEVTYPE=")).map(str::to_string)
}

/// The answer to `/images/NAME/json`.
pub fn parse_image(image: &Value) -> Option<Image> {
    Some(Image {
        id: image["Id"].as_str()?.to_string(),
        digest: image["RepoDigests"][0].as_str().map(str::to_string),
        architecture: image["Architecture"].as_str().unwrap_or_default().to_string(),
        programs: None,
        command: ["Entrypoint", "Cmd"]
            .iter()
            .flat_map(|key| image["Config"][*key].as_array().into_iter().flatten())
            .filter_map(|word| word.as_str().map(str::to_string))
            .collect(),
        generation: None,
    })
}

/// The answer to `/containers/NAME/json`.
pub fn parse_container(c: &Value) -> Option<Container> {
    let state = c.get("State")?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn device_types() {
        // Linux 6.12: drivers/net/wireguard sets its name as the type, tun sets none.
        assert_eq!(parse_device_type("DEVTYPE=amneziawg\nINTERFACE=wg0\nIFINDEX=3\n").as_deref(), Some("amneziawg"));
        assert_eq!(parse_device_type("INTERFACE=wg0\nIFINDEX=3\n"), None);
    }

    #[test]
    fn container_answers() {
        let c = json!({"RestartCount":2,"State":{"Running":true,"Restarting":false,"Pid":812,"Health":{"Status":"healthy"}},
            "Config":{"Labels":{"io.awg-install.revision":"abc"}},
            "NetworkSettings":{"Networks":{"wg-easy_wg":{"IPAddress":"10.42.42.2"}}}});
        let c = parse_container(&c).unwrap();
        assert!(c.running && c.health == "healthy" && c.pid == 812 && c.restarts == 2);
        assert_eq!((c.revision.as_str(), c.address.as_str()), ("abc", "10.42.42.2"));
        assert_eq!(parse_container(&json!({"message": "No such container: x"})), None);
        assert_eq!(parse_container(&Value::Null), None);
    }

    #[test]
    fn what_an_image_starts() {
        // In the form of the engine's answer; an image that is built on node's has an entrypoint as well.
        let image = json!({"Id": "sha256:1", "RepoDigests": ["x@sha256:2"], "Architecture": "amd64",
            "Config": {"Entrypoint": ["docker-entrypoint.sh"], "Cmd": ["/usr/bin/dumb-init", "node", "server/index.mjs"]}});
        let command = parse_image(&image).unwrap().command;
        assert_eq!(command, ["docker-entrypoint.sh", "/usr/bin/dumb-init", "node", "server/index.mjs"]);
        let bare = json!({"Id": "sha256:1", "Config": {"Entrypoint": null, "Cmd": ["/app"]}});
        assert_eq!(parse_image(&bare).unwrap().command, ["/app"]);
    }

    #[test]
    fn engine_versions() {
        assert_eq!(parse_version(&json!({"Version": "26.1.5", "ApiVersion": "1.45"})).as_deref(), Some("26.1.5"));
        assert_eq!(parse_version(&Value::Null), None);
    }
}
