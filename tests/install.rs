//! The whole program on a prepared root: from a fresh host through its reboot to a running server.

mod support;

use std::process::Command;

use support::tree::LEFT_BY_ROLLBACK;
use support::{CONFIG, CONFIG_TEXT, LTS, MODULE, PASSWORD, PASSWORD_FILE, Root, VIRT, repository};

const MODULE_TEXT: &str = "module:\n  source: file\n  path: /root/amneziawg.ko\n";
const DATABASE: &str = "/opt/wg-easy/data/wg-easy.db";

#[test]
fn fresh_host_to_running_server() {
    let root = Root::fresh();
    root.install().expect(0).says("reboot into 6.12.50-0-lts scheduled; the rest follows by itself");
    assert_eq!(root.running(), LTS, "the loader was armed for one boot of it");
    assert!(root.read("/boot/extlinux.conf").contains("LABEL virt\n  MENU DEFAULT"), "the default stays");
    assert!(root.read("/boot/extlinux.conf").contains("ONERROR virt"), "a file that cannot be loaded is no dead end");
    assert!(root.exists("/etc/runlevels/default/awg-install"), "it goes on by itself");
    assert_eq!(root.json("/var/lib/awg-install/receipt.json")["outcome"], "reboot-scheduled");
    for secret in ["/etc/awg-install/config.yaml", "/opt/wg-easy/wg-easy.env"] {
        assert_eq!(root.mode(secret), 0o600, "{secret} holds the password until the server has started");
    }
    root.run(&["status"]).expect(0).says("reboot into 6.12.50-0-lts scheduled");

    root.run(&["resume"]).expect(0).says("done: AmneziaWG runs in kernel mode on 6.12.50-0-lts");
    assert!(root.read("/boot/extlinux.conf").contains("LABEL lts\n  MENU DEFAULT"), "now it is the default");
    assert!(!root.read("/boot/extlinux.conf").contains("awg-trial"), "the trial entry is gone");
    assert!(root.read("/etc/update-extlinux.conf").contains("\ndefault=lts\n"));
    assert_eq!(root.read("/boot/ldlinux.sys"), "boot-once=\n", "nothing is armed");
    for gone in ["/etc/init.d/awg-install", "/etc/runlevels/default/awg-install", "/etc/update-extlinux.d/awg-install"]
    {
        assert!(!root.exists(gone), "{gone}");
    }
    let world = root.read("/etc/apk/world");
    for package in ["docker", "docker-cli-compose", "linux-firmware-none", "linux-lts=6.12.50-r0", "linux-virt"] {
        assert!(world.lines().any(|l| l == package), "{package} in {world}");
    }
    assert!(!root.read("/lib/apk/db/installed").contains("P:linux-firmware\n"), "no firmware by accident");
    for module in ["amneziawg", "ip_tables", "ip6table_nat", "udp_tunnel"] {
        assert!(root.loaded(module), "{module}");
    }
    assert_eq!(root.read("/proc/sys/net/ipv4/ip_forward"), "1\n");
    for (path, mode) in [
        ("/etc/awg-install/config.yaml", 0o600),
        ("/etc/modules-load.d/awg-install.conf", 0o644),
        ("/etc/sysctl.d/60-awg-install.conf", 0o644),
        ("/lib/modules/6.12.50-0-lts/extra/amneziawg.ko", 0o644),
        ("/opt/wg-easy/compose.yaml", 0o644),
        ("/opt/wg-easy/wg-easy.env", 0o600),
        ("/opt/wg-easy/data", 0o700),
        ("/usr/local/sbin/awg-install", 0o755),
        ("/var/lib/awg-install", 0o700),
        ("/var/lib/awg-install/receipt.json", 0o600),
        ("/var/log/awg-install.log", 0o600),
    ] {
        assert_eq!(root.mode(path), mode, "{path}");
    }
    let receipt = root.json("/var/lib/awg-install/receipt.json");
    assert_eq!(
        (&receipt["outcome"], &receipt["exit_code"], &receipt["mode"]),
        (&"done".into(), &0.into(), &"kernel".into())
    );
    assert!(receipt["steps"].as_array().unwrap().iter().all(|s| s["state"] == "done"), "{receipt:#}");
    assert!(root.read("/opt/wg-easy/wg-easy.env").contains("OVERRIDE_AUTO_AWG='awg'"));
    root.run(&["status"]).expect(0).says("Drift:     none").says("wg0 is amneziawg");
}

#[test]
fn the_password_stays_nowhere() {
    let root = Root::fresh();
    root.install().expect(0);
    let known = root.files_with(PASSWORD);
    assert_eq!(known, ["/etc/awg-install/config.yaml", "/opt/wg-easy/wg-easy.env", PASSWORD_FILE]);
    root.run(&["resume"]).expect(0);
    assert_eq!(root.files_with(PASSWORD), [PASSWORD_FILE], "only where the operator put it");
}

/// It is taken out where the server has taken it over, and not before: a database alone says nothing.
#[test]
fn the_password_stays_until_the_server_has_it() {
    let mut root = Root::prepared(&[], &format!("mode: userspace\n{CONFIG_TEXT}").replace(MODULE_TEXT, ""));
    root.set("FAKE_NOT_SET_UP", "1");
    assert!(root.install().expect(6).err.contains("leads to the setup"));
    assert!(root.exists(DATABASE));
    let known = root.files_with(PASSWORD);
    for file in ["/etc/awg-install/config.yaml", "/opt/wg-easy/wg-easy.env", PASSWORD_FILE] {
        assert!(known.iter().any(|k| k == file), "{file}: {known:?}");
    }
    root.unset("FAKE_NOT_SET_UP");
    root.reboot();
    root.install().expect(0);
    assert_eq!(root.files_with(PASSWORD), [PASSWORD_FILE]);
}

/// What is hostile to a reader on the way reaches the engine whole.
#[test]
fn a_hostile_password() {
    const HOSTILE: &str = r#"it's "5\" `$HOME` ${X} \' #\"#;
    let root = Root::prepared(&[], &format!("mode: userspace\n{CONFIG_TEXT}").replace(MODULE_TEXT, ""));
    root.write(PASSWORD_FILE, &format!("{HOSTILE}\n"));
    root.install().expect(0);
    assert_eq!(root.files_with("${X}"), [PASSWORD_FILE]);
}

#[test]
fn a_password_from_the_environment_or_standard_input() {
    let config = CONFIG_TEXT.replace("  password_file: /root/password\n", "");
    let root = Root::prepared(&[], &config);
    root.remove(PASSWORD_FILE);
    let given = [("AWG_SERVER_PASSWORD", PASSWORD)];
    root.run_with(&["--unattended", "--config", CONFIG], &given, "").expect(0);
    root.run(&["resume"]).expect(0);
    assert!(root.files_with(PASSWORD).is_empty());

    let root = Root::prepared(&[], &config);
    let args = ["--unattended", "--config", CONFIG, "--server-password-file", "-"];
    root.run_with(&args, &[], "it's 'quoted' #1\n").expect(0);
    assert!(root.read("/opt/wg-easy/wg-easy.env").contains("INIT_PASSWORD=\"it's 'quoted' #1\""));
    root.run(&["resume"]).expect(0);
    assert!(root.files_with("'quoted' #1").is_empty());
}

#[test]
fn a_second_run_changes_nothing() {
    let root = Root::fresh();
    root.install().expect(0);
    root.run(&["resume"]).expect(0);
    let ignored = ["/.fakeroot/commands", "/var/log/awg-install.log"];
    let before = root.tree().without(&ignored);
    root.install().expect(0).says("nothing to do");
    root.run(&["install", "--unattended"]).expect(0).says("nothing to do");
    root.run(&["resume"]).expect(0).says("nothing to resume");
    before.assert_same(&root.tree().without(&ignored), "a finished host");
    // The module's file may be tidied away: what is installed counts.
    root.remove(MODULE);
    root.install().expect(0).says("nothing to do");
}

#[test]
fn a_power_cycle_comes_back_whole() {
    let root = Root::fresh();
    root.install().expect(0);
    root.run(&["resume"]).expect(0);
    root.reboot();
    assert_eq!(root.running(), LTS);
    assert!(root.loaded("amneziawg"));
    root.run(&["status", "--detailed-exitcode"]).expect(0).says("healthy, wg0 is amneziawg").says("Drift:     none");
    root.install().expect(0).says("nothing to do");
}

#[test]
fn the_plan_changes_nothing() {
    let root = Root::fresh();
    let before = root.tree().without(&["/.fakeroot/commands"]);
    root.run(&["plan", "--config", CONFIG]).expect(0).says("reboot into 6.12.50-0-lts");
    root.run(&["--dry-run", "--config", CONFIG]).expect(0);
    root.run(&["plan", "--config", CONFIG, "--detailed-exitcode"]).expect(10);
    let json = root.run(&["plan", "--config", CONFIG, "--output", "json"]).expect(0);
    let plan: serde_json::Value = serde_json::from_str(&json.out).expect("one JSON document");
    assert_eq!(plan["rung"], "kernel");
    before.assert_same(&root.tree().without(&["/.fakeroot/commands"]), "a plan");
    let harmless = ["apk ", "dmesg", "engine-get "];
    for command in root.commands() {
        assert!(harmless.iter().any(|h| command.starts_with(h)), "{command}");
        assert!(!command.contains(" add ") && !command.contains(" pull "), "{command}");
    }
}

#[test]
fn json_is_one_object_per_line() {
    let root = Root::fresh();
    let mut types = Vec::new();
    for args in [vec!["--unattended", "--config", CONFIG, "--output", "json"], vec!["resume", "--output", "json"]] {
        let ran = root.run(&args).expect(0);
        for line in ran.out.lines() {
            let event: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
            assert_eq!(event["v"], 1, "{line}");
            assert!(event["ts"].is_string(), "{line}");
            types.push(event["type"].as_str().expect("a type").to_string());
        }
        assert_eq!(types.last().map(String::as_str), Some("end"), "the last word");
    }
    for wanted in ["plan", "step-started", "step-done", "proof", "end"] {
        assert!(types.iter().any(|t| t == wanted), "{wanted} in {types:?}");
    }
    let status = root.run(&["status", "--output", "json"]).expect(0);
    let status: serde_json::Value = serde_json::from_str(&status.out).expect("one JSON document");
    assert_eq!(status["outcome"], "done");
    for line in root.read("/var/log/awg-install.log").lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    }
}

#[test]
fn a_reboot_left_to_the_operator() {
    let root = Root::fresh();
    root.run(&["--unattended", "--config", CONFIG, "--no-reboot"]).expect(7).says("reboot needed");
    assert_eq!(root.running(), VIRT);
    assert!(!root.commands().iter().any(|c| c.starts_with("reboot")));
    root.run(&["status"]).expect(7);
    root.run(&["status", "--wait"]).expect(7);
    root.reboot();
    root.run(&["resume"]).expect(0).says("done");
    root.run(&["status", "--wait"]).expect(0);
}

/// apk's trigger would tell it while the image comes: a power cut in between leaves a loader that finds nothing.
#[test]
fn the_loader_hears_of_the_kernel_last() {
    for (loader, options, settings) in [
        ("update-extlinux", &[][..], "/etc/update-extlinux.conf"),
        ("update-grub", &["--grub"][..], "/etc/update-grub.conf"),
    ] {
        let root = Root::prepared(options, CONFIG_TEXT);
        let before = root.exists(settings).then(|| root.read(settings));
        root.install().expect(0).says("scheduled");
        let commands = root.commands();
        let generated = commands.iter().position(|c| c == loader).expect("it is told");
        let prepared = commands.iter().rposition(|c| c.starts_with("rc-update add")).unwrap();
        assert!(generated > prepared, "{loader}: {commands:#?}");
        let without_default = |text: &str| text.replace("default=virt", "default=lts");
        let after = root.exists(settings).then(|| root.read(settings));
        assert_eq!(after.as_deref().map(without_default), before.as_deref().map(without_default), "{settings}");
    }
}

#[test]
fn waiting_ends_with_the_installation() {
    let root = Root::fresh();
    root.run(&["status", "--wait"]).expect(6).says("not installed");
    root.install().expect(0);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| root.run(&["status", "--wait"]));
        std::thread::sleep(std::time::Duration::from_millis(300));
        assert!(!waiting.is_finished(), "the installation is pending");
        root.run(&["resume"]).expect(0);
        waiting.join().expect("no panic").expect(0).says("done: AmneziaWG runs in kernel mode");
    });
}

#[test]
fn rollback_takes_everything_back() {
    let root = Root::fresh();
    let before = root.tree().without(LEFT_BY_ROLLBACK);
    root.install().expect(0);
    root.run(&["resume"]).expect(0);
    let finished = root.tree();
    root.run(&["rollback", "--purge-data"]).expect(0).says("reboot into 6.12.50-0-virt scheduled");
    root.install().expect(4).says("rollback was begun");
    assert_eq!(root.running(), VIRT);
    assert!(root.exists("/boot/vmlinuz-lts"), "nothing is taken away before the old kernel was seen to start");
    let module = "/lib/modules/6.12.50-0-lts/extra/amneziawg.ko";
    assert!(finished.0.contains_key(module) && root.exists(module));
    root.run(&["resume"]).expect(0).says("runs 6.12.50-0-virt again").says("rolled back");
    before.assert_same(&root.tree().without(LEFT_BY_ROLLBACK), "rolled back");
    root.run(&["rollback"]).expect(0).says("nothing to roll back");
    // And from there the whole way again.
    root.install().expect(0);
    root.run(&["resume"]).expect(0).says("done");
}

#[test]
fn rollback_stops_where_the_old_kernel_does_not_start() {
    let mut root = Root::fresh();
    root.install().expect(0);
    root.run(&["resume"]).expect(0);
    root.set("FAKE_PANICS", "virt");
    root.run(&["rollback", "--purge-data"]).expect(0).says("scheduled");
    assert_eq!(root.running(), LTS, "any restart is back on the kernel that worked");
    root.run(&["resume"]).expect(6).says("does not start").says("nothing was taken away");
    assert!(!root.exists("/etc/init.d/awg-install") && !root.exists("/etc/update-extlinux.d/awg-install"));
    root.install().expect(0).says("nothing to do");
    root.unset("FAKE_PANICS");
    root.run(&["rollback", "--purge-data", "--no-reboot"]).expect(7).says("next: `reboot`");
    root.reboot();
    root.run(&["resume"]).expect(0).says("rolled back");
    assert_eq!(root.running(), VIRT);
}

#[test]
fn rollback_keeps_the_data() {
    let root = Root::prepared(
        &["--debian"],
        &CONFIG_TEXT.replace("module:\n  source: file\n  path: /root/amneziawg.ko\n", ""),
    );
    let before = root.tree();
    root.install().expect(0);
    root.run(&["rollback"]).expect(0).says("data was kept");
    let kept = ["/opt/wg-easy", "/var/lib/docker"];
    assert!(root.exists(DATABASE));
    let without = |tree: support::tree::Tree| tree.without(LEFT_BY_ROLLBACK).without(&kept);
    without(before).assert_same(&without(root.tree()), "all but the data");
}

#[test]
fn a_rollback_before_the_reboot() {
    let root = Root::fresh();
    let before = root.tree().without(LEFT_BY_ROLLBACK);
    root.run(&["--unattended", "--config", CONFIG, "--no-reboot"]).expect(7);
    root.run(&["rollback", "--purge-data"]).expect(0);
    before.assert_same(&root.tree().without(LEFT_BY_ROLLBACK), "rolled back");
    root.reboot();
    assert_eq!(root.running(), VIRT, "nothing is armed any more");
}

#[test]
fn committed_module_is_the_one_that_is_built_here() {
    let path = repository().join("scripts/fakeroot/amneziawg.ko.base64");
    let wanted = support::module::good().bytes();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let plain = path.with_extension("");
        std::fs::write(&plain, &wanted).unwrap();
        let text = Command::new("base64").arg(&plain).output().unwrap().stdout;
        std::fs::write(&path, text).unwrap();
        std::fs::remove_file(plain).unwrap();
    }
    let decoded = Command::new("base64").arg("-d").arg(&path).output().unwrap().stdout;
    assert!(decoded == wanted, "run the tests with UPDATE_GOLDEN=1 to write it anew");
}
