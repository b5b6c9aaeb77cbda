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
    let c = json!({"Image":"sha256:1","HostConfig":{"Privileged":false,"CapAdd":["CAP_NET_RAW","NET_ADMIN"]},
        "RestartCount":2,"State":{"Running":true,"Restarting":false,"Pid":812,"Health":{"Status":"healthy"}},
        "Config":{"Labels":{"io.awg-install.revision":"abc"}},
        "NetworkSettings":{"Networks":{"wg-easy_wg":{"IPAddress":"10.42.42.2"}}}});
    let c = parse_container(&c).unwrap();
    assert!(c.running && c.health == "healthy" && c.pid == 812 && c.restarts == 2);
    assert_eq!((c.revision.as_str(), c.address.as_str()), ("abc", "10.42.42.2"));
    assert_eq!((c.image.as_str(), c.privileged), ("sha256:1", false));
    assert_eq!(c.capabilities.iter().collect::<Vec<_>>(), ["NET_ADMIN", "NET_RAW"]);
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
    // In the form of the engine's answer; an image that is built on node's has an entrypoint as well.
    let image = json!({"Id": "sha256:1", "RepoDigests": ["x@sha256:2"], "Architecture": "amd64",
        "Config": {"Entrypoint": ["docker-entrypoint.sh"], "Cmd": ["/usr/bin/dumb-init", "node", "server/index.mjs"]}});
    let command = parse_image(&image, "x").unwrap().command;
    assert_eq!(command, ["docker-entrypoint.sh", "/usr/bin/dumb-init", "node", "server/index.mjs"]);
    let bare = json!({"Id": "sha256:1", "Config": {"Entrypoint": null, "Cmd": ["/app"]}});
    assert_eq!(parse_image(&bare, "x").unwrap().command, ["/app"]);
}

#[test]
fn how_a_container_ended() {
    let c = json!({"State":{"ExitCode":137,"OOMKilled":true,"Error":"","Health":{"Status":"unhealthy","Log":[
        {"Output":"older"},{"ExitCode":1,"Output":"Unable to access interface: No such device\n"}]}}});
    let wanted = LastState {
        exit_code: 137,
        oom_killed: true,
        error: String::new(),
        health_output: "Unable to access interface: No such device".into(),
    };
    assert_eq!(parse_last_state(&c), wanted);
    assert_eq!(parse_last_state(&Value::Null), LastState::default());
}

#[test]
fn what_the_operator_has_set() {
    let info = json!({"SecurityOptions": ["name=seccomp,profile=builtin", "name=userns", "name=cgroupns"]});
    assert!(parse_security(&info, &Value::Null).user_namespace);
    assert!(parse_security(&json!({"SecurityOptions": ["name=rootless"]}), &Value::Null).rootless);
    assert!(parse_security(&Value::Null, &json!({"userns-remap": "default"})).user_namespace);
    let usual = json!({"SecurityOptions": ["name=seccomp,profile=builtin", "name=cgroupns"]});
    assert_eq!(parse_security(&usual, &json!({"live-restore": true})), EngineSettings::default());
}

#[test]
fn another_engine_in_its_place() {
    // podman 4.9, its service for docker's clients.
    let podman = json!({"Version": "4.9.3", "Components": [{"Name": "Podman Engine", "Version": "4.9.3"},
        {"Name": "Conmon"}]});
    assert_eq!(parse_emulation(&podman).as_deref(), Some("Podman Engine"));
    assert_eq!(parse_emulation(&json!({"Components": [{"Name": "Engine"}, {"Name": "containerd"}]})), None);
}

#[test]
fn networks_and_projects() {
    let networks = json!([
        {"Name": "shop_net", "Id": "5f2c1c9f7d0f6b8a3fd90d7cf0c3", "Options": {},
         "IPAM": {"Config": [{"Subnet": "10.42.42.0/24", "Gateway": "10.42.42.1"}]}},
        {"Name": "bridge", "Id": "aa", "Options": {"com.docker.network.bridge.name": "docker0"},
         "IPAM": {"Config": [{"Subnet": "172.17.0.0/16"}]}},
        {"Name": "host", "Id": "bb", "IPAM": {"Config": null}}]);
    let found = parse_networks(&networks);
    let seen: Vec<(&str, &str)> = found.iter().map(|n| (n.name.as_str(), n.device.as_str())).collect();
    assert_eq!(seen, [("bridge", "docker0"), ("shop_net", "br-5f2c1c9f7d0f")]);
    let containers = |place: &str| {
        json!([{"Labels": {}}, {"Labels": {"com.docker.compose.project": "wg-easy",
        "com.docker.compose.project.working_dir": place}}])
    };
    assert_eq!(other_project(&containers("/opt/wg-easy"), "/opt/wg-easy"), None);
    assert_eq!(other_project(&containers("/root/wg-easy"), "/opt/wg-easy").as_deref(), Some("/root/wg-easy"));
    assert_eq!(other_project(&Value::Null, "/opt/wg-easy"), None);
}

#[test]
fn listen_ports() {
    assert_eq!(parse_listen_port("[Interface]\nPrivateKey = x=\nListenPort = 51820\n"), Some(51820));
    assert_eq!(parse_listen_port("[Interface]\nListenPort = many\n"), None);
}

#[test]
fn engine_versions() {
    assert_eq!(parse_version(&json!({"Version": "26.1.5", "ApiVersion": "1.45"})).as_deref(), Some("26.1.5"));
    assert_eq!(parse_version(&Value::Null), None);
}

#[test]
fn engines_that_check_more_often_at_first() {
    let knows = |version: &str, emulated_by: Option<&str>| {
        let emulated_by = emulated_by.map(String::from);
        Engine { version: version.into(), emulated_by, ..Engine::default() }.knows_start_interval()
    };
    for (version, wanted) in [("28.3.3", true), ("25.0.0-rc.1", true), ("24.0.9", false), ("20.10.24+dfsg1", false)] {
        assert_eq!(knows(version, None), wanted, "{version}");
    }
    // Podman counts its own versions; what is not installed yet will be a recent one.
    assert!(!knows("26.0.0", Some("Podman Engine")) && !knows("dev", None) && knows("", None));
}
