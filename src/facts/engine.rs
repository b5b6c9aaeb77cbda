//! The container engine, the configured image, and our container.

use serde_json::Value;

use super::{Container, Engine, Image};
use crate::config::{Config, KNOWN_MAJOR, same_repository, unknown_major};
use crate::error::Error;
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
    let image = parse_image(&host.engine_get(&format!("/images/{reference}/json")).found()?, reference)?;
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
    fn digests_of_the_repository_that_was_asked() {
        let of = |digests: &[&str], reference: &str| {
            parse_image(&json!({"Id": "sha256:1", "RepoDigests": digests}), reference).unwrap().digest
        };
        let all = ["ghcr.io/wg-easy/wg-easy@sha256:aa", "me/wg-easy@sha256:bb", "me/wg-easy@sha256:cc"];
        assert_eq!(of(&all, "docker.io/me/wg-easy:15").as_deref(), Some("me/wg-easy@sha256:bb"));
        assert_eq!(of(&all, "me/wg-easy:15@sha256:cc").as_deref(), Some("me/wg-easy@sha256:cc"));
        assert_eq!(of(&all, "ghcr.io/wg-easy/wg-easy:15").as_deref(), Some("ghcr.io/wg-easy/wg-easy@sha256:aa"));
        assert_eq!(of(&all, "other.example/wg-easy:15"), None, "it would be asked of another registry");
        assert_eq!(of(&[], "me/wg-easy:15"), None, "one that was loaded from a file");
    }

    #[test]
    fn images_that_cannot_be_used() {
        let said = |architecture: &str, labels: Value, reference: &str| {
            let image = json!({"Id": "sha256:1", "Architecture": architecture, "Config": {"Labels": labels}});
            parse_image(&image, reference).unwrap().misfit(reference, "x86_64").map(|e| e.message)
        };
        let label = |name: &str| format!("org.opencontainers.image.{name}");
        let versioned = |version: &str| json!({label("version"): version});
        let ours = "ghcr.io/wg-easy/wg-easy:edge";
        assert_eq!(said("amd64", Value::Null, ours), None);
        assert_eq!(said("amd64", versioned("15.1.0"), ours), None);
        assert_eq!(said("amd64", versioned("edge"), ours), None);
        let wrong = said("arm64", Value::Null, ours).unwrap();
        assert_eq!(wrong, format!("{ours} is for arm64, this machine needs amd64"));
        let newer = format!("{ours} is wg-easy 16.0.1; this release knows only version 15");
        assert_eq!(said("amd64", versioned("16.0.1"), ours), Some(newer));
        // The label of what it was built on, and that of a program with versions of its own.
        let ubuntu = json!({label("version"): "24.04", label("ref.name"): "ubuntu"});
        assert_eq!(said("amd64", ubuntu, "me/wg-easy:15"), None);
        let other = json!({label("version"): "2.1", label("title"): "awg-easy"});
        assert_eq!(said("amd64", other, "me/wg-easy:15"), None);
        assert_eq!(said("amd64", versioned("3.20"), "me/vpn:15"), None);
        let source = json!({label("version"): "14", label("source"): "https://github.com/wg-easy/wg-easy.git"});
        assert!(said("amd64", source, "me/vpn:15").is_some());
    }

    #[test]
    fn what_an_image_starts() {
        // The parts of a captured answer that are read.
        let image = json!({"Id": "sha256:1", "RepoDigests": ["x@sha256:2"], "Architecture": "amd64",
            "Config": {"Entrypoint": ["docker-entrypoint.sh"], "Cmd": ["/usr/bin/dumb-init", "node", "server/index.mjs"]}});
        let command = parse_image(&image, "x").unwrap().command;
        assert_eq!(command, ["docker-entrypoint.sh", "/usr/bin/dumb-init", "node", "server/index.mjs"]);
        let bare = json!({"Id": "sha256:1", "Config": {"Entrypoint": null, "Cmd": ["/app"]}});
        assert_eq!(parse_image(&bare, "x").unwrap().command, ["/app"]);
    }

    #[test]
    fn engine_versions() {
        assert_eq!(parse_version(&json!({"Version": "26.1.5", "ApiVersion": "1.45"})).as_deref(), Some("26.1.5"));
        assert_eq!(parse_version(&Value::Null), None);
    }
}
