//! The container engine: an operator's own, with other containers, networks and settings, is used or refused,
//! and left as it is.

mod support;

use support::{Ran, Root};

const SERVER: &str = "server:\n  host: vpn.example.org\n  username: admin\n  password_file: /root/password\n";
const COMPOSE: &str = "/opt/wg-easy/compose.yaml";

/// A Debian host whose engine answers this.
fn debian(answers: &[(&str, &str)]) -> Root {
    let root = Root::prepared(&["--debian"], SERVER);
    for (of, json) in answers {
        root.write(&format!("/.fakeroot/engine/{of}"), json);
    }
    root
}

/// Refused before anything is changed.
#[track_caller]
fn refused(root: &Root, said: &[&str]) {
    let ignored = ["/.fakeroot/commands", "/run/awg-install.lock", "/var/log/awg-install.log"];
    let before = root.tree().without(&ignored);
    let ran = root.install().expect(4);
    said.iter().fold(ran, |ran: Ran, text| ran.says(text)).says("remedy:");
    before.assert_same(&root.tree().without(&ignored), "refused");
}

#[test]
fn engines_that_cannot_be_used() {
    let podman = r#"{"Version":"4.9.3","Components":[{"Name":"Podman Engine","Version":"4.9.3"}]}"#;
    refused(&debian(&[("version", podman)]), &["Podman Engine answers in docker's place", "podman-docker"]);
    refused(
        &debian(&[("info", r#"{"SecurityOptions":["name=seccomp,profile=builtin","name=rootless"]}"#)]),
        &["without root's rights"],
    );
    refused(&debian(&[("info", r#"{"SecurityOptions":["name=userns"]}"#)]), &["userns-remap", "daemon.json"]);
    let root = debian(&[]);
    root.write("/etc/docker/daemon.json", r#"{"userns-remap": "default"}"#);
    refused(&root, &["userns-remap"]);
}

#[test]
fn the_first_generation_of_compose() {
    let root = debian(&[]);
    root.remove("/usr/libexec/docker/cli-plugins/docker-compose");
    refused(&root, &["compose is missing", "docker-compose-plugin from download.docker.com"]);
    for (version, refuse) in [("1.29.2", true), ("v2.32.4", false)] {
        let root = debian(&[]);
        root.remove("/usr/libexec/docker/cli-plugins/docker-compose");
        // The plugin under its other name, which says what it is.
        root.write(
            "/.fakeroot/bin/docker-compose",
            &format!("#!/bin/sh\n[ \"$1\" != version ] || {{ echo {version}; exit 0; }}\nexec \"${{0%/*}}/docker\" compose \"$@\"\n"),
        );
        use std::os::unix::fs::PermissionsExt;
        let program = root.path("/.fakeroot/bin/docker-compose");
        std::fs::set_permissions(program, std::fs::Permissions::from_mode(0o755)).unwrap();
        if refuse {
            refused(&root, &["docker-compose is version 1.29.2", "docker-compose-v2"]);
        } else {
            root.install().expect(0).says("userspace mode");
        }
    }
}

#[test]
fn an_engine_that_is_not_there_or_does_not_run() {
    let root = debian(&[]);
    root.remove("/run/docker.sock");
    refused(&root, &["its engine does not run", "systemctl enable --now docker"]);
    // Debian 13: two packages.
    let root = debian(&[]);
    std::fs::rename(root.path("/.fakeroot/bin/docker"), root.path("/.fakeroot/bin/dockerd")).unwrap();
    root.write("/etc/os-release", "PRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\nID=debian\nVERSION_ID=\"13\"\n");
    refused(&root, &["its program `docker` is not", "apt-get install docker.io docker-cli docker-compose"]);
}

#[test]
fn a_compose_project_of_the_same_name_is_not_taken_over() {
    let elsewhere = r#"[{"Names":["/wg-easy-wg-easy-1"],"Labels":{"com.docker.compose.project":"wg-easy",
        "com.docker.compose.service":"wg-easy","com.docker.compose.project.working_dir":"/srv/wg-easy"}}]"#;
    refused(&debian(&[("containers", elsewhere)]), &["a compose project named wg-easy exists", "/srv/wg-easy"]);
    let ours = elsewhere.replace("/srv/wg-easy", "/opt/wg-easy");
    debian(&[("containers", &ours)]).install().expect(0);
}

#[test]
fn another_range_where_ours_is_in_use() {
    let shop = r#"[{"Name":"shop_default","Id":"5f2c1c9f7d0f6b8a","IPAM":{"Config":[{"Subnet":"10.42.42.0/24"}]}}]"#;
    let root = debian(&[("networks", shop)]);
    root.install().expect(0).says("10.43.43.42");
    for part in ["subnet: 10.43.43.0/24", "ipv4_address: 10.43.43.42"] {
        assert!(root.read(COMPOSE).contains(part), "{part}");
    }
    root.install().expect(0).says("nothing to do");
    // The other network goes: what works is left alone.
    root.write("/.fakeroot/engine/networks", "[]");
    root.install().expect(0).says("nothing to do");
    root.run(&["status", "--detailed-exitcode"]).expect(0);

    let all: Vec<String> = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"]
        .iter()
        .map(|net| format!(r#"{{"Name":"n","Id":"1","IPAM":{{"Config":[{{"Subnet":"{net}"}}]}}}}"#))
        .collect();
    refused(
        &debian(&[("networks", &format!("[{}]", all.join(",")))]),
        &["no range of addresses is free", "docker network rm"],
    );
}

#[test]
fn what_the_plan_says_of_an_engines_settings() {
    let root = debian(&[]);
    root.write("/etc/docker/daemon.json", r#"{"iptables": false, "live-restore": true, "icc": false}"#);
    root.write("/usr/lib/systemd/system/docker.service", "[Unit]\n");
    root.run(&["plan", "--config", support::CONFIG]).expect(0).says("iptables: false").says("systemctl enable docker");
    root.write("/etc/systemd/system/multi-user.target.wants/docker.service", "[Unit]\n");
    let ran = root.run(&["plan", "--config", support::CONFIG]).expect(0);
    assert!(!ran.out.contains("systemctl enable docker"), "{}", ran.out);
}

/// docker was there before: it is not installed, not stopped, not removed.
#[test]
fn an_alpine_that_has_docker_keeps_it() {
    let root = Root::prepared(&["--offer", "6.12.51-r0"], &format!("mode: userspace\n{SERVER}"));
    let repositories = root.read("/etc/apk/repositories");
    // Installed by a first run, which a rollback takes back; then by the operator.
    root.install().expect(0);
    assert!(root.read("/etc/apk/repositories").contains("/community\nhttp"), "community was not enabled");
    root.run(&["rollback", "--purge-data"]).expect(0);
    assert_eq!(root.read("/etc/apk/repositories"), repositories, "community is not enabled any more");
    assert!(!root.read("/etc/apk/world").contains("docker"));

    let root = Root::prepared(&["--offer", "6.12.51-r0"], &format!("mode: userspace\n{SERVER}"));
    let all = repositories.replace("#http", "http");
    root.write("/etc/apk/repositories", &all);
    for command in ["apk add docker docker-cli-compose", "rc-update add docker default", "rc-service docker start"] {
        let mut words = command.split(' ');
        let program = root.path(&format!("/.fakeroot/bin/{}", words.next().unwrap()));
        let mut run = std::process::Command::new(program);
        run.args(words).env("FAKE_ROOT", root.dir()).current_dir(root.dir());
        assert!(run.status().unwrap().success(), "{command}");
    }
    root.write("/var/lib/docker/containers/shop/running", "");
    root.forget_commands();
    root.install().expect(0);
    root.run(&["rollback", "--purge-data"]).expect(0);
    let meddled = |c: &String| {
        c.starts_with("apk") && (c.contains(" add") || c.contains(" del"))
            || c.starts_with("rc-service docker")
            || c.starts_with("rc-update") && c.contains("docker")
    };
    assert!(!root.commands().iter().any(meddled), "{:#?}", root.commands());
    assert_eq!(root.read("/etc/apk/repositories"), all);
    assert!(root.exists("/run/openrc/started/docker") && root.exists("/var/lib/docker/containers/shop/running"));
}
