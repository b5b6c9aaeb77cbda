//! Pulling the image on a prepared host: logins, failures, and what is left after each.

mod support;

use support::tree::Tree;
use support::{CONFIG, CONFIG_TEXT, PASSWORD_FILE, Ran, Root};

const IMAGE: &str = "ghcr.io/wg-easy/wg-easy";
const TOKEN: &str = "ghp_0123/4567+89=ÿ";
const TOKEN_FILE: &str = "/root/registry.password";
const PULL: &str = "engine-post /images/create?fromImage=";
const COMPOSE: &str = "/opt/wg-easy/compose.yaml";

/// A Debian host, which has an engine and needs no restart.
fn host(more: &str) -> Root {
    let config = CONFIG_TEXT.replace("module:\n  source: file\n  path: /root/amneziawg.ko\n", more);
    let root = Root::prepared(&["--debian"], &config);
    root.forget_commands();
    root
}

fn registry(more: &str) -> String {
    format!("container:\n  registry: {{username: robot, {more}}}\n")
}

fn asking(root: &mut Root) {
    root.set("FAKE_REGISTRY_LOGIN", &format!("robot:{TOKEN}"));
}

fn pulls(root: &Root) -> Vec<String> {
    root.commands().into_iter().filter(|c| c.starts_with("engine-post ") || c.contains("docker load")).collect()
}

/// Everything but what any run leaves behind.
fn changed(root: &Root) -> Tree {
    root.tree().without(&["/.fakeroot", "/var/log", "/var/lib/awg-install", "/run"])
}

fn upgrade(root: &Root) -> Ran {
    root.run(&["upgrade", "--yes", "--config", CONFIG])
}

/// Another image by the same tag: what the registry has next.
fn publish(root: &Root, digit: u8, arch: &str) {
    let line = format!("{IMAGE}:15 {} {arch} awg awg-quick amneziawg-go wg wg-quick\n", digest(digit));
    root.write("/.fakeroot/registry", &line);
}

fn digest(digit: u8) -> String {
    format!("sha256:{}", digit.to_string().repeat(64))
}

#[test]
fn by_tag_the_digest_is_recorded() {
    let root = host("");
    publish(&root, 3, "amd64");
    root.install().expect(0).says("pull image ghcr.io/wg-easy/wg-easy:15");
    assert_eq!(pulls(&root), [format!("{PULL}{IMAGE}&tag=15&platform=linux/amd64")]);
    assert!(root.read(COMPOSE).contains(&format!("image: \"{IMAGE}@{}\"", digest(3))));
    // Whatever else the image goes by.
    let mut root = host("");
    root.set("FAKE_MORE_DIGESTS", &format!("\"elsewhere.example/wg-easy@{}\"", digest(4)));
    publish(&root, 3, "amd64");
    root.install().expect(0);
    assert!(root.read(COMPOSE).contains(&format!("image: \"{IMAGE}@{}\"", digest(3))));
}

#[test]
fn by_digest_with_and_without_a_tag() {
    for reference in [format!("{IMAGE}@{}", digest(3)), format!("{IMAGE}:15@{}", digest(3))] {
        let root = host(&format!("container: {{image: \"{reference}\"}}\n"));
        publish(&root, 3, "amd64");
        root.install().expect(0);
        assert_eq!(pulls(&root), [format!("{PULL}{IMAGE}&tag={}&platform=linux/amd64", digest(3))]);
        assert!(root.read(COMPOSE).contains(&format!("image: \"{IMAGE}@{}\"", digest(3))));
        root.install().expect(0).says("nothing to do");
        // The registry has something else by now: that is not what was asked for.
        let root = host(&format!("container: {{image: \"{reference}\"}}\n"));
        publish(&root, 4, "amd64");
        root.install().expect(6).says(&format!("no image of the digest {}", digest(3)));
    }
}

#[test]
fn an_image_that_is_there_needs_no_registry() {
    let root = host("");
    root.install().expect(0);
    root.run(&["rollback"]).expect(0);
    publish(&root, 3, "amd64");
    let mut root = host("");
    // As `docker load` leaves it.
    let place = format!("/var/lib/docker/image/{}", format!("{IMAGE}:15").replace('/', "%"));
    root.write(&place, &format!("sha256:1 {IMAGE}@{} amd64 awg awg-quick amneziawg-go\n", digest(3)));
    root.set("FAKE_PULL_SAYS", "500 no network here");
    asking(&mut root);
    root.install().expect(0);
    assert!(pulls(&root).is_empty(), "{:?}", root.commands());
}

/// The remedy for a registry that cannot be reached: what was brought by hand is not thrown away.
#[test]
fn an_image_that_is_loaded_after_a_failure_is_taken() {
    let mut root = host("");
    root.set(
        "FAKE_PULL_SAYS",
        "500 Get \\\"https://ghcr.io/v2/\\\": dial tcp 10.0.2.100:443: connect: connection refused",
    );
    root.install().expect(6).says("the registry ghcr.io is down or cannot be reached").says("docker load");
    let place = format!("/var/lib/docker/image/{}", format!("{IMAGE}:15").replace('/', "%"));
    root.write(&place, &format!("sha256:1 {IMAGE}@{} amd64 awg awg-quick amneziawg-go\n", digest(3)));
    root.forget_commands();
    root.install().expect(0);
    assert!(!root.commands().iter().any(|c| c.starts_with("docker image rm") || c.starts_with("engine-post")));
}

#[test]
fn a_login_from_a_file_the_environment_the_configuration_or_standard_input() {
    for way in ["file", "environment", "inline", "input"] {
        let more = match way {
            "file" => registry(&format!("password_file: {TOKEN_FILE}")),
            "inline" => registry(&format!("password: \"{TOKEN}\"")),
            "environment" => "container:\n  registry: {username: robot}\n".into(),
            _ => registry("password_file: \"-\""),
        };
        let mut root = host(&more);
        asking(&mut root);
        if way == "file" {
            root.write(TOKEN_FILE, &format!("{TOKEN}\n"));
        }
        let env: &[_] = if way == "environment" { &[("AWG_CONTAINER_REGISTRY_PASSWORD", TOKEN)] } else { &[] };
        let install = |root: &Root| root.run_with(&["--unattended", "--config", CONFIG, "-vv"], env, TOKEN);
        let ran = install(&root).expect(0);
        assert!(!ran.out.contains("ghp_") && !ran.err.contains("ghp_"), "{way}: {}", ran.out);
        let encoded = root.files_with("eyJ1c2Vybm");
        assert!(encoded.is_empty(), "{way}: the header is in {encoded:?}");
        let mut left = root.files_with("ghp_");
        left.retain(|f| f != CONFIG && f != TOKEN_FILE);
        assert!(left.is_empty(), "{way}: {left:?}");
        let kept = root.read("/etc/awg-install/config.yaml");
        assert!(kept.contains("username: robot"), "{way}: {kept}");
        assert_eq!(kept.contains(TOKEN_FILE), way == "file", "{way}: {kept}");
        // What is kept is a configuration: nothing but a pull needs the password.
        root.run(&["status"]).expect(0);
        root.run(&["install", "--unattended"]).expect(0).says("nothing to do");
        publish(&root, 5, "amd64");
        let upgraded = root.run(&["upgrade", "--yes"]);
        match way {
            "file" => upgraded.expect(0),
            _ => {
                upgraded.expect(3).says("container.registry.password: missing").says("AWG_CONTAINER_REGISTRY_PASSWORD")
            }
        };
        assert_eq!(root.read(COMPOSE).contains(&digest(5)), way == "file", "{way}");
    }
}

#[test]
fn a_password_that_is_missing_is_told_before_anything_is_changed() {
    for (more, said) in [
        ("container:\n  registry: {username: robot}\n".to_string(), "container.registry.password: missing"),
        (registry("password_file: /root/nothing"), "container.registry.password_file /root/nothing: cannot be read"),
        (registry(&format!("password_file: {CONFIG}.empty")), "is empty"),
    ] {
        let root = host(&more);
        root.write(&format!("{CONFIG}.empty"), "\n");
        let before = changed(&root);
        root.install().expect(3).says(said).says("container.registry.password_file");
        before.assert_same(&changed(&root), said);
        assert!(pulls(&root).is_empty() && !root.exists("/var/lib/awg-install/receipt.json"));
    }
}

#[test]
fn a_login_that_is_asked_for_or_refused() {
    let mut root = host("");
    asking(&mut root);
    root.install().expect(6).says("ghcr.io asks for a login").says("container.registry.password_file");
    assert!(!root.exists(COMPOSE), "nothing is begun that needs the image");

    let mut root = host(&registry("password_file: /root/password"));
    asking(&mut root);
    let ran = root.install().expect(6).says("ghcr.io refuses the login").says("container.registry.username");
    let secret = root.read(PASSWORD_FILE);
    assert!(!ran.err.contains(secret.trim()), "{}", ran.err);
    assert_eq!(root.files_with(secret.trim()), ["/etc/awg-install/config.yaml", PASSWORD_FILE]);
    // The right one, and it goes on.
    root.write(PASSWORD_FILE, TOKEN);
    root.install().expect(0);
}

#[test]
fn what_docker_login_has_left_is_used() {
    let mut root = host("");
    asking(&mut root);
    let auths = |auth: &str| format!("{{\"auths\": {{\"ghcr.io\": {{{auth}}}}}, \"credsStore\": \"pass\"}}");
    root.write("/root/.docker/config.json", &auths(""));
    root.install()
        .expect(6)
        .says("asks for a login")
        .says("The credential helper in /root/.docker/config.json is not run");
    // robot:wrong
    root.write("/root/.docker/config.json", &auths("\"auth\": \"cm9ib3Q6d3Jvbmc=\""));
    root.install().expect(6).says("refuses the login in /root/.docker/config.json");
    root.set("FAKE_REGISTRY_LOGIN", "robot:wrong");
    root.install().expect(0);
    // A configured login comes before it.
    let mut root = host(&registry("password: other"));
    root.write("/root/.docker/config.json", &auths("\"auth\": \"cm9ib3Q6d3Jvbmc=\""));
    root.set("FAKE_REGISTRY_LOGIN", "robot:other");
    root.install().expect(0);
}

#[test]
fn a_registry_that_says_nothing_is_given_up() {
    let mut root = host("");
    root.set("FAKE_PULL_STALLS", "1");
    root.set("FAKE_PATIENCE", "1");
    let began = std::time::Instant::now();
    root.install().expect(6).says("too slow or does not answer").says("nothing new has come for 1 s");
    assert!(began.elapsed().as_secs() < 40, "{:?}", began.elapsed());
    root.unset("FAKE_PULL_STALLS");
    root.install().expect(0);
}

/// What each failure of a pull leaves of an installation that works: all of it.
#[test]
fn a_failed_upgrade_changes_nothing() {
    let mut root = host("");
    root.install().expect(0);
    let compose = root.read(COMPOSE);
    let before = changed(&root);
    let fails = |root: &mut Root, set: &[(&str, &str)], said: &str| {
        set.iter().for_each(|(name, value)| root.set(name, value));
        upgrade(root).expect(6).says(said);
        before.assert_same(&changed(root), said);
        set.iter().for_each(|(name, _)| root.unset(name));
        root.run(&["status"]).says("healthy");
    };
    publish(&root, 6, "amd64");
    for (says, said) in [
        (
            "500 Get \\\"https://ghcr.io/v2/\\\": dial tcp 10.0.2.100:443: connect: connection refused",
            "is down or cannot",
        ),
        ("500 Get \\\"https://ghcr.io/v2/\\\": dial tcp: lookup ghcr.io: no such host", "cannot be looked up"),
        ("500 toomanyrequests: You have reached your unauthenticated pull rate limit.", "no more images for now"),
        ("500 tls: failed to verify certificate: x509: certificate signed by unknown authority", "is not trusted"),
        ("500 manifest unknown", "has no such image, or none of the tag 15"),
        ("failed to register layer: write /usr/lib/node: no space left on device", "the disk is full"),
        (
            "no matching manifest for linux/amd64 in the manifest list entries",
            "no image for this machine (linux/amd64)",
        ),
        ("unexpected EOF", "was broken off"),
    ] {
        fails(&mut root, &[("FAKE_PULL_SAYS", says)], said);
    }
    fails(&mut root, &[("FAKE_PULL_STALLS", "1"), ("FAKE_PATIENCE", "1")], "too slow");
    fails(&mut root, &[("FAKE_FAIL", "engine-post*")], "pulling ghcr.io/wg-easy/wg-easy:15 failed");
    // It came, and is not what can run here: the name is given back to the image that it had.
    publish(&root, 7, "arm64");
    fails(&mut root, &[], "no image for this machine (linux/amd64)");
    publish(&root, 6, "amd64");
    upgrade(&root).expect(0);
    assert_ne!(root.read(COMPOSE), compose);
    assert!(root.read(COMPOSE).contains(&digest(6)));
}

#[test]
fn an_image_of_another_machine_or_version_is_refused_and_goes_again() {
    let root = host("");
    publish(&root, 7, "arm64");
    root.install().expect(6).says("no image for this machine (linux/amd64)");
    assert!(!root.exists("/var/lib/docker/image"), "it is gone again");
    let mut root = host("");
    root.set("FAKE_IMAGE_VERSION", "16.0.1");
    root.install().expect(6).says("is wg-easy 16.0.1; this release knows only version 15");
    assert!(!root.exists("/var/lib/docker/image"), "it is gone again");
    root.set("FAKE_IMAGE_VERSION", "15.1.0");
    root.install().expect(0);
    // One that lies there already is found before anything is changed.
    for (arch, version, said) in
        [("arm64", "", "is for arm64, this machine needs amd64"), ("amd64", "14", "is wg-easy 14")]
    {
        let mut root = host("");
        root.set("FAKE_IMAGE_VERSION", version);
        let place = format!("/var/lib/docker/image/{}", format!("{IMAGE}:15").replace('/', "%"));
        root.write(&place, &format!("sha256:1 {IMAGE}@{} {arch} awg awg-quick amneziawg-go\n", digest(3)));
        let before = changed(&root);
        root.install().expect(4).says(said);
        before.assert_same(&changed(&root), said);
    }
}

#[test]
fn a_proxy_that_only_this_program_knows_is_named() {
    let refused = "500 Get \\\"https://ghcr.io/v2/\\\": dial tcp 10.0.2.100:443: connect: connection refused";
    let said = |name: &str, engine: &str| {
        let mut root = host("");
        root.set("FAKE_PULL_SAYS", refused);
        root.set("FAKE_ENGINE_PROXY", engine);
        root.run_with(&["--unattended", "--config", CONFIG], &[(name, "http://user:hidden@proxy:3128")], "").expect(6)
    };
    let ran = said("https_proxy", "").says("https_proxy is set").says("/etc/docker/daemon.json");
    assert!(!ran.err.contains("hidden"), "{}", ran.err);
    assert!(!said("HTTPS_PROXY", "http://proxy:3128").err.contains("daemon.json"), "the engine has one");
    assert!(!said("HTTP_PROXY", "").err.contains("daemon.json"), "a registry is asked by https");
}

#[test]
fn a_bundle_is_made_of_a_private_image() {
    let mut root = Root::prepared(&[], &registry("password_file: \"-\""));
    for name in ["docker", "engine-get", "engine-post"] {
        std::fs::copy(root.path("/.fakeroot/later/docker"), root.path(&format!("/.fakeroot/bin/{name}"))).unwrap();
    }
    root.write("/run/docker.sock", "");
    root.write("/etc/apk/keys/mirror.rsa.pub", "a key");
    asking(&mut root);
    let args = ["bundle", "create", "/root/awg.bundle", "--mode", "userspace", "--config", CONFIG];
    root.run_with(&args, &[], "wrong").expect(6).says("refuses the login");
    root.run_with(&args, &[], TOKEN).expect(0);
    assert!(root.files_with("ghp_").is_empty());
}
