//! The container engine, the configured image, and our container.

use std::collections::BTreeSet;

use ipnet::IpNet;
use serde_json::Value;
use xshell::cmd;

use super::{Container, Engine, EngineNetwork, EngineSettings, Image};
use crate::config::{Config, KNOWN_MAJOR, same_repository, unknown_major};
use crate::error::Error;
use crate::host::{Host, Limits, Reply};

/// Label that says which rendering a container was made from.
pub const REVISION_LABEL: &str = "io.awg-install.revision";

/// The name of our compose project, as the template has it.
pub const PROJECT: &str = "wg-easy";

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
        // Debian 13 has the engine and its command line in two packages.
        let problem = host.which("dockerd").map(|_| "the engine is here, and its program `docker` is not".to_string());
        return Engine { problem, ..Engine::default() };
    }
    let (version, emulated_by, problem) = match host.engine_get("/version") {
        Reply::Absent => (None, None, None),
        Reply::Silent(why) => (None, None, Some(format!("it does not answer: {why}"))),
        Reply::Answer(_, v) => (parse_version(&v), parse_emulation(&v), None),
    };
    let answers = version.is_some();
    let ask = |path: &str| if answers { host.engine_get(path).found().unwrap_or_default() } else { Value::Null };
    let settings = EngineSettings {
        no_iptables: daemon_json(host)["iptables"] == false,
        ..parse_security(&ask("/info"), &daemon_json(host))
    };
    let compose = compose(host);
    let compose_version = if compose == "docker-compose" { own_compose_version(host) } else { String::new() };
    Engine {
        installed: true,
        answers,
        problem,
        version: version.unwrap_or_default(),
        compose,
        compose_version,
        emulated_by,
        settings,
        networks: parse_networks(&ask("/networks")),
        other_project: other_project(&ask("/containers/json?all=true"), &config.container.directory.to_string()),
        image: if answers { image(host, &config.container.image.to_string()) } else { None },
    }
}

/// What the operator has set for the engine. One that the engine does not understand keeps it from starting.
fn daemon_json(host: &Host) -> Value {
    let text = host.read_text("/etc/docker/daemon.json").unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

fn own_compose_version(host: &Host) -> String {
    let sh = host.shell();
    let out = host.ask(cmd!(sh, "docker-compose version --short"), Limits::seconds(60));
    out.stdout.trim().trim_start_matches('v').to_string()
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
    image_by_id(host, reference, reference)
}

/// The image with that id, known by the digest that the repository of `reference` gives it.
pub fn image_by_id(host: &Host, id: &str, reference: &str) -> Option<Image> {
    let image = parse_image(&host.engine_get(&format!("/images/{id}/json")).found()?, reference)?;
    let Some(contents) = super::image::contents(host, &image.id) else { return Some(image) };
    let generation = contents.tools.as_deref().and_then(super::image::generation);
    Some(Image { programs: Some(contents.programs), generation, ..image })
}

pub fn container(host: &Host, name: &str) -> Option<Container> {
    observe(host, name).map(|(container, _)| container)
}

/// A container, and how it ended last, of one and the same moment.
pub fn observe(host: &Host, name: &str) -> Option<(Container, LastState)> {
    let answer = host.engine_get(&format!("/containers/{name}/json")).found()?;
    let mut container = parse_container(&answer)?;
    if container.running {
        container.interface = interface(host, container.pid);
    }
    Some((container, parse_last_state(&answer)))
}

/// How a container ended last, and what its health check said: read where something has failed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LastState {
    pub exit_code: i64,
    /// The kernel ended it for want of memory.
    pub oom_killed: bool,
    /// Why the engine could not start it.
    pub error: String,
    pub health_output: String,
}

/// The name of the container in front of the admin page.
pub fn caddy_name(config: &Config) -> String {
    format!("{}-caddy", config.container.name)
}

/// No container but ours runs, as far as the engine says.
pub fn runs_only_ours(host: &Host, config: &Config) -> bool {
    let Some(Value::Array(running)) = host.engine_get("/containers/json").found() else { return false };
    let ours = [format!("/{}", config.container.name), format!("/{}", caddy_name(config))];
    let called =
        |c: &Value| c["Names"].as_array().is_some_and(|names| names.iter().any(|n| ours.iter().any(|o| n == o)));
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

/// Another engine behind docker's interface, from the answer to `/version`.
pub fn parse_emulation(v: &Value) -> Option<String> {
    let names = v["Components"].as_array()?.iter().filter_map(|c| c["Name"].as_str());
    names.into_iter().find(|name| name.contains("Podman")).map(str::to_string)
}

/// The answer to `/info`, and `daemon.json` for an engine that does not answer yet.
pub fn parse_security(info: &Value, daemon: &Value) -> EngineSettings {
    let options = info["SecurityOptions"].as_array();
    let says = |name: &str| {
        options.is_some_and(|all| all.iter().any(|o| o.as_str().is_some_and(|o| o.split(',').next() == Some(name))))
    };
    let remapped = daemon["userns-remap"].as_str().is_some_and(|user| !user.is_empty());
    EngineSettings {
        user_namespace: says("name=userns") || remapped,
        rootless: says("name=rootless"),
        no_iptables: false,
    }
}

/// The answer to `/networks`.
pub fn parse_networks(networks: &Value) -> Vec<EngineNetwork> {
    let one = |n: &Value| {
        let text = |v: &Value| v.as_str().unwrap_or_default().to_string();
        let ranges = n["IPAM"]["Config"].as_array().into_iter().flatten();
        let subnets: Vec<IpNet> = ranges.filter_map(|c| c["Subnet"].as_str()?.parse().ok()).collect();
        let named = text(&n["Options"]["com.docker.network.bridge.name"]);
        let id: String = text(&n["Id"]).chars().take(12).collect();
        let device = if named.is_empty() { format!("br-{id}") } else { named };
        (!subnets.is_empty()).then(|| EngineNetwork { name: text(&n["Name"]), device, subnets })
    };
    let mut found: Vec<EngineNetwork> = networks.as_array().into_iter().flatten().filter_map(one).collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

/// Compose knows a container by the names of its project and service: one of ours with another directory would
/// be taken for ours, and made anew. From the answer to `/containers/json`.
pub fn other_project(containers: &Value, directory: &str) -> Option<String> {
    let labels = containers.as_array()?.iter().map(|c| &c["Labels"]);
    let mut ours = labels.filter(|l| l["com.docker.compose.project"] == PROJECT);
    ours.find_map(|l| {
        let place = l["com.docker.compose.project.working_dir"].as_str().unwrap_or_default();
        (place.trim_end_matches('/') != directory.trim_end_matches('/')).then(|| place.to_string())
    })
}

/// `DEVTYPE` of a network device's uevent file: `wireguard`, `amneziawg`; a tun device has none.
pub fn parse_device_type(uevent: &str) -> Option<String> {
    uevent.lines().find_map(|l| l.strip_prefix("DEVTYPE=")).map(str::to_string)
}

impl Image {
    /// Why it cannot be used here: it is for another architecture, or a version of wg-easy that this release does
    /// not know.
    pub fn misfit(&self, reference: &str, arch: &str) -> Option<Error> {
        let wanted = platform(arch);
        if !self.architecture.is_empty() && self.architecture != wanted {
            let message = format!("{reference} is for {}, this machine needs {wanted}", self.architecture);
            return Some(Error::host(message).remedy("name an image for this architecture (container.image)"));
        }
        let version = self.version.as_deref().filter(|v| unknown_major(v).is_some())?;
        let message = format!("{reference} is wg-easy {version}; this release knows only version {KNOWN_MAJOR}");
        let error = Error::host(message).cause("its label org.opencontainers.image.version says so");
        Some(error.remedy(format!("name an image of wg-easy {KNOWN_MAJOR} (container.image), or take a newer release")))
    }
}

/// The answer to `/images/NAME/json` for that name.
pub fn parse_image(image: &Value, reference: &str) -> Option<Image> {
    Some(Image {
        id: image["Id"].as_str()?.to_string(),
        digest: digest(image, reference),
        version: version(&image["Config"]["Labels"], reference),
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

/// The digest that the repository of the reference knows the image by: an image may have come from several.
fn digest(image: &Value, reference: &str) -> Option<String> {
    let all = || image["RepoDigests"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let asked = reference.split_once('@').map(|(_, digest)| digest);
    let known = || all().filter(|d| same_repository(d, reference));
    let exact = known().find(|d| asked.is_some_and(|asked| d.ends_with(asked)));
    exact.or_else(|| known().next()).map(str::to_string)
}

/// The version in an image's labels, where they are wg-easy's own: a base image leaves its labels to all that is
/// built on it.
fn version(labels: &Value, reference: &str) -> Option<String> {
    let label = |name: &str| labels[format!("org.opencontainers.image.{name}")].as_str();
    let mut names = ["title", "source", "ref.name"].into_iter().filter_map(label).peekable();
    let last = |name: &str| name.rsplit('/').next().unwrap_or_default().to_string();
    let own = match names.peek() {
        Some(_) => names.any(|name| last(name.trim_end_matches(".git")) == "wg-easy"),
        None => last(reference).split([':', '@']).next() == Some("wg-easy"),
    };
    label("version").filter(|_| own).map(str::to_string)
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
        image: c["Image"].as_str().unwrap_or_default().to_string(),
        privileged: c["HostConfig"]["Privileged"].as_bool().unwrap_or(false),
        capabilities: capabilities(&c["HostConfig"]["CapAdd"]),
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

/// The state in the answer to `/containers/NAME/json`.
pub fn parse_last_state(c: &Value) -> LastState {
    let state = &c["State"];
    let text = |v: &Value| v.as_str().unwrap_or_default().trim().to_string();
    let health = state["Health"]["Log"].as_array().and_then(|log| log.last()).map(|l| text(&l["Output"]));
    LastState {
        exit_code: state["ExitCode"].as_i64().unwrap_or(0),
        oom_killed: state["OOMKilled"].as_bool().unwrap_or(false),
        error: text(&state["Error"]),
        health_output: health.unwrap_or_default(),
    }
}

/// A list of capabilities, as the engine or a compose file writes it: with or without `CAP_`.
pub fn capabilities(list: &Value) -> BTreeSet<String> {
    let names = list.as_array().into_iter().flatten().filter_map(Value::as_str);
    names.map(|name| name.to_uppercase().trim_start_matches("CAP_").to_string()).collect()
}

/// The port in the configuration that the server writes for its interface at every start. The file belongs to
/// the container: nothing but a plain file is read, and not much of it.
pub fn listen_port(host: &Host, directory: &str) -> Option<u16> {
    parse_listen_port(&host.read_plain(format!("{directory}/data/wg0.conf"), 1 << 16)?)
}

/// `ListenPort` of an interface's configuration.
pub fn parse_listen_port(text: &str) -> Option<u16> {
    let value = |line: &str| line.split_once('=').filter(|(key, _)| key.trim() == "ListenPort")?.1.trim().parse().ok();
    text.lines().find_map(value)
}

#[cfg(test)]
mod tests;
