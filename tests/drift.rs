//! Edits by hand and containers that were altered: noticed, shown, and never overwritten without consent.

mod support;

use support::{CONFIG, Root};

const COMPOSE: &str = "/opt/wg-easy/compose.yaml";
const ENVIRONMENT: &str = "/opt/wg-easy/wg-easy.env";
const RECEIPT: &str = "/var/lib/awg-install/receipt.json";
const REPLACE: &[&str] = &["install", "--unattended", "--config", CONFIG, "--replace-edited"];

fn edit(root: &Root, path: &str, from: &str, to: &str) -> String {
    let text = root.read(path);
    assert!(text.contains(from), "{from:?} in {text}");
    let edited = text.replace(from, to);
    root.write(path, &edited);
    edited
}

/// The copies beside a file.
fn kept(root: &Root, path: &str) -> Vec<String> {
    let start = format!("{path}.edited-");
    root.tree().0.keys().filter(|p| p.starts_with(&start)).cloned().collect()
}

#[test]
fn an_edited_compose_file_is_shown_and_replaced_only_with_consent() {
    let root = Root::installed("");
    let receipt = root.json(RECEIPT);
    let edited = edit(&root, COMPOSE, "max-size: 10m", "max-size: 99m");
    let ran = root.run(&["status", "--detailed-exitcode"]).expect(10);
    ran.says("-      options: {max-size: 99m")
        .says("+      options: {max-size: 10m")
        .says("write /opt/wg-easy/compose.yaml");
    let json = root.run(&["status", "--output", "json"]).expect(0);
    let json: serde_json::Value = serde_json::from_str(&json.out).expect("one document");
    assert_eq!((&json["diffs"][0]["path"], &json["diffs"][0]["edited"]), (&COMPOSE.into(), &true.into()), "{json:#}");
    root.run(&["doctor"]).expect(10).says("FAIL drift: ").says("compose.yaml was edited by hand").says("max-size: 99m");
    root.run(&["plan"]).expect(0).says("was edited by hand").says("-      options: {max-size: 99m");

    for command in ["install", "upgrade"] {
        let ran = root.run(&[command, "--unattended", "--config", CONFIG]).expect(4);
        ran.says("edited by hand since it was written").says("--replace-edited").says("-      options: {max-size: 99m");
        assert_eq!(root.read(COMPOSE), edited, "{command}");
        assert!(kept(&root, COMPOSE).is_empty());
        assert_eq!(root.json(RECEIPT)["outcome"], receipt["outcome"], "nothing was begun");
    }

    root.run(REPLACE).expect(0);
    let copies = kept(&root, COMPOSE);
    assert_eq!(copies.len(), 1, "{copies:?}");
    assert_eq!((root.read(&copies[0]), root.mode(&copies[0])), (edited, 0o600));
    assert!(root.read(COMPOSE).contains("max-size: 10m"));
    root.run(&["status", "--detailed-exitcode"]).expect(0).says("Drift:     none");
    root.install().expect(0).says("nothing to do");
}

#[test]
fn no_secret_is_in_what_is_shown() {
    let root = Root::installed("");
    edit(&root, ENVIRONMENT, "PORT='51821'", "PORT='51821'\nINIT_PASSWORD='hunter2 hunter2'\nMY_TOKEN=hunter2");
    for args in [&["status"][..], &["status", "--output", "json"], &["doctor"], &["plan"], &["install", "--unattended"]]
    {
        let ran = root.run(args);
        let said = format!("{}{}", ran.out, ran.err);
        assert!(said.contains("INIT_PASSWORD=[redacted]") && !said.contains("hunter2"), "{args:?}: {said}");
    }
    root.run(REPLACE).expect(0);
    assert_eq!(root.files_with("hunter2"), kept(&root, ENVIRONMENT), "only where the operator's own text is kept");
}

/// The same rule for every file of text that this program writes, and a file that is gone is simply written again.
#[test]
fn files_of_the_host_are_guarded_as_well() {
    let root = Root::installed("");
    for path in ["/etc/modules-load.d/awg-install.conf", "/etc/sysctl.d/60-awg-install.conf", "/etc/init.d/awg-guard"] {
        root.write(path, &format!("{}# mine\n", root.read(path)));
        root.install().expect(4).says("-# mine").says(path);
        root.run(REPLACE).expect(0);
        assert_eq!(kept(&root, path).len(), 1, "{path}");
        assert!(!root.read(path).contains("# mine"));
    }
    root.remove("/etc/sysctl.d/60-awg-install.conf");
    root.install().expect(0);
    assert!(root.exists("/etc/sysctl.d/60-awg-install.conf"));
}

#[test]
fn at_boot_what_was_edited_is_left_alone() {
    let root = Root::installed("kernel: {hold: false}\n");
    let edited = edit(&root, COMPOSE, "max-size: 10m", "max-size: 99m");
    root.reboot();
    root.run(&["guard"]).expect(0).says("compose.yaml was edited by hand and is left as it is");
    // And where there would be something to do: another kernel, without a module.
    let offered = "/.fakeroot/offered";
    root.write(offered, &root.read(offered).replace("linux-lts 6.12.50-r0", "linux-lts 6.12.51-r0"));
    let apk = std::process::Command::new(root.path("/.fakeroot/bin/apk"));
    assert!({ apk }.arg("upgrade").env("FAKE_ROOT", root.dir()).status().expect("apk").success());
    root.reboot();
    assert_eq!(root.running(), "6.12.51-0-lts");
    root.forget_commands();
    root.run(&["guard"]).expect(8).says("is left as it is");
    assert_eq!(root.read(COMPOSE), edited);
    let commands = root.commands();
    assert!(!commands.iter().any(|c| c.contains(" up ") || c.contains("docker stop")), "{commands:?}");
    root.run(&["status"]).says("wg0 is tun").says("max-size: 99m");
}

#[test]
fn a_container_with_other_rights_is_drift() {
    let root = Root::installed("");
    let made = "/var/lib/docker/containers/wg-easy/compose";
    root.write(made, &root.read(made).replace("    cap_drop: [ALL]\n", "    privileged: true\n"));
    root.run(&["status", "--detailed-exitcode"]).expect(10).says("it runs with privileged: true, not false");
    root.write(made, &root.read(made).replace("    privileged: true\n", "").replace("NET_ADMIN, ", "SYS_ADMIN, "));
    root.run(&["status"]).expect(0).says("it runs with the capabilities NET_RAW, SYS_ADMIN, not NET_ADMIN, NET_RAW");
    root.write("/var/lib/docker/containers/wg-easy/hash", "altered\n");
    root.install().expect(0);
    root.run(&["status"]).expect(0).says("Drift:     none");
}

/// The configuration is there to be edited; what follows from it is shown before it is done.
#[test]
fn the_configuration_is_taken_over_and_its_effect_shown() {
    let root = Root::installed("");
    edit(&root, "/etc/awg-install/config.yaml", "web: local", "web: public # as the document has it");
    let ran = root.run(&["install", "--unattended"]).expect(0);
    ran.says("+      - \"51821:51821/tcp\"").says("Diff:  --- /etc/awg-install/config.yaml (present)");
    root.run(&["install", "--unattended"]).expect(0).says("nothing to do");
    let json = root.run(&["status", "--output", "json"]).expect(0).out;
    assert!(json.contains("\"diffs\":[]"), "{json}");
}
