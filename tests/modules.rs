//! Where the module comes from, how it is proven, and what becomes of it when the kernel goes on.

mod support;

use support::{CONFIG, CONFIG_TEXT, LTS, Root, VIRT, module};

const SERVER: &str = "server:\n  host: vpn.example.org\n  username: admin\n  password_file: /root/password\n";
const IMAGE: &str = "/.fakeroot/image-files/ghcr.io%wg-easy%wg-easy:15";
const NEWER: &str = "6.12.51-0-lts";
const OFFERED: &str = "/.fakeroot/offered";

fn extra(release: &str) -> String {
    format!("/lib/modules/{release}/extra/amneziawg.ko")
}

fn with(more: &str) -> Root {
    Root::prepared(&[], &format!("{SERVER}{more}"))
}

/// The mirror moves on, as Alpine's do.
fn mirror_moves_on(root: &Root) {
    root.write(OFFERED, &root.read(OFFERED).replace("linux-lts 6.12.50-r0", "linux-lts 6.12.51-r0"));
}

/// What the operator does by hand.
fn apk_upgrade(root: &Root) {
    let apk = root.path("/.fakeroot/bin/apk");
    let status = std::process::Command::new(apk).arg("upgrade").env("FAKE_ROOT", root.dir()).status().expect("apk");
    assert!(status.success());
}

#[test]
fn a_module_in_the_image_is_used() {
    let root = with("module: {source: image}\n");
    root.write_bytes(&format!("{IMAGE}/lib/modules/amneziawg.ko"), &module::good().bytes());
    root.write(&format!("{IMAGE}/etc/amneziawg-kernel-version.txt"), "6.12.50\n");
    root.install().expect(0).says("the container image is looked into first");
    root.run(&["resume"]).expect(0).says("kernel mode on 6.12.50-0-lts");
    assert_eq!(root.read_bytes(&extra(LTS)), module::good().bytes());
    // It was opened once for that, without its own program; and closed again.
    let opened: Vec<String> = root.commands().into_iter().filter(|c| c.contains("docker run")).collect();
    assert!(opened[0].contains("--name awg-install-look") && opened[0].contains("--entrypoint /bin/sh"), "{opened:?}");
    assert_eq!(opened.iter().filter(|c| c.contains("awg-install-look")).count(), 1, "{opened:?}");
    assert!(!root.exists("/var/lib/docker/made"), "the container that was made for it is gone");
}

#[test]
fn auto_takes_it_from_the_image_as_well() {
    let root = with("");
    root.write_bytes(&format!("{IMAGE}/lib/modules/x/amneziawg.ko"), &module::good().bytes());
    root.install().expect(0);
    root.run(&["resume"]).expect(0).says("kernel mode on 6.12.50-0-lts");
}

#[test]
fn an_image_without_a_module_is_passed_over_and_that_is_said() {
    let root = with("module: {source: image}\n");
    root.install().expect(8).says("the container image: ghcr.io/wg-easy/wg-easy:15 holds no amneziawg.ko");
    assert_eq!(root.running(), VIRT);
}

#[test]
fn a_link_in_the_image_leads_nowhere() {
    let root = with("module: {source: image}\n");
    root.write_bytes("/root/outside.ko", &module::good().bytes());
    let place = root.path(&format!("{IMAGE}/lib/modules/amneziawg.ko"));
    std::fs::create_dir_all(place.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink(root.path("/root/outside.ko"), place).unwrap();
    root.install().expect(8).says("holds no amneziawg.ko");
}

#[test]
fn a_module_of_another_machine_or_name_in_the_image_is_passed_over() {
    let mut foreign = module::good();
    foreign.machine = object::Architecture::Aarch64;
    let mut other = module::good();
    other.name = "wireguard".into();
    for (bytes, said) in [
        (foreign.bytes(), "is for aarch64"),
        (other.bytes(), "is a module called wireguard"),
        (b"<html>".to_vec(), "/lib/modules/amneziawg.ko in ghcr.io/wg-easy/wg-easy:15: "),
    ] {
        let root = with("module: {source: image}\n");
        root.write_bytes(&format!("{IMAGE}/lib/modules/amneziawg.ko"), &bytes);
        root.install().expect(8).says(said);
        assert!(!root.exists(&extra(LTS)));
    }
}

#[test]
fn a_version_file_that_contradicts_is_told() {
    let root = with("module: {source: image}\n");
    root.write_bytes(&format!("{IMAGE}/lib/modules/amneziawg.ko"), &module::amneziawg(NEWER).bytes());
    root.write(&format!("{IMAGE}/etc/amneziawg-kernel-version.txt"), "6.12.50\n");
    root.install().expect(8).says("linux-lts=6.12.51-r0 cannot be had").says("the version file");
}

#[test]
fn a_generation_mismatch_is_found_before_the_container_meets_it() {
    for (knob, said) in [
        ("generation", "are not of one generation"),
        ("kind", "makes no interface of the kind amneziawg"),
        ("packets", "no packet comes through"),
    ] {
        let mut root = Root::fresh();
        root.set("FAKE_PROOF", knob);
        root.install().expect(0);
        root.run(&["resume"]).expect(8).says(said).says("userspace");
        assert!(!root.loaded("amneziawg"), "{knob}: the module is unloaded");
        assert!(!root.exists(&extra(LTS)), "{knob}: and gone");
        root.run(&["status"]).expect(8).says(said).says("wg0 is tun");
    }
}

#[test]
fn with_fallback_fail_a_failed_proof_ends_there() {
    let mut root = Root::prepared(&[], &format!("{CONFIG_TEXT}fallback: fail\n"));
    root.set("FAKE_PROOF", "packets");
    root.install().expect(0);
    root.run(&["resume"]).expect(6).says("no packet comes through");
    assert!(!root.loaded("amneziawg") && !root.exists(&extra(LTS)));
}

#[test]
fn the_proof_is_made_once_and_again_when_something_is_new() {
    let root = Root::installed("");
    let proofs = || root.commands().iter().filter(|c| c.contains("--name awg-install-proof ")).count();
    assert_eq!(proofs(), 1);
    root.install().expect(0).says("nothing to do");
    assert_eq!(proofs(), 1);
    let mut receipt = root.json("/var/lib/awg-install/receipt.json");
    receipt["proven"]["image"] = "sha256:another".into();
    root.write("/var/lib/awg-install/receipt.json", &receipt.to_string());
    root.install().expect(0).says("handshake and ping");
    assert_eq!(proofs(), 2);
}

#[test]
fn a_denied_build_is_not_used() {
    let denied = "  denied_srcversions: [0123456789ABCDEF0123456]\n";
    let root = Root::prepared(&[], &format!("{CONFIG_TEXT}{denied}"));
    root.install().expect(5).says("denied_srcversions");
    assert!(!root.exists("/var/lib/awg-install"));
}

#[test]
fn a_held_kernel_stays_and_that_is_told() {
    let root = Root::installed("");
    mirror_moves_on(&root);
    apk_upgrade(&root);
    root.reboot();
    assert_eq!(root.running(), LTS);
    root.run(&["guard"]).expect(0);
    root.run(&["status"]).expect(0).says("linux-lts=6.12.50-r0 is held since 20").says("the repository has 6.12.51-r0");
}

#[test]
fn what_is_not_held_goes_on_and_ends_in_userspace() {
    let root = Root::installed("kernel: {hold: false}\n");
    assert!(root.read("/etc/apk/world").lines().any(|l| l == "linux-lts"), "{}", root.read("/etc/apk/world"));
    mirror_moves_on(&root);
    apk_upgrade(&root);
    root.reboot();
    assert_eq!(root.running(), NEWER);
    root.run(&["guard"]).expect(8).says("no module for it is installed").says("awg-install upgrade");
    root.run(&["status"]).expect(8).says("wg0 is tun");
    assert!(!root.exists(&format!("/lib/modules/{LTS}")), "what only our module kept alive is gone");
    // Nothing is touched at the next boot.
    root.reboot();
    let before = root.tree();
    root.run(&["guard"]).expect(8);
    before
        .without(&["/.fakeroot/commands", "/var/log/awg-install.log"])
        .assert_same(&root.tree().without(&["/.fakeroot/commands", "/var/log/awg-install.log"]), "a second guard");
}

#[test]
fn an_upgrade_gets_the_module_for_the_new_kernel() {
    let root = Root::installed("kernel: {hold: false}\n");
    mirror_moves_on(&root);
    apk_upgrade(&root);
    root.reboot();
    root.run(&["guard"]).expect(8);
    root.write_bytes(support::MODULE, &module::amneziawg(NEWER).bytes());
    root.run(&["upgrade", "--yes", "--config", CONFIG]).expect(0).says("kernel mode on 6.12.51-0-lts");
    assert!(root.loaded("amneziawg"));
    root.run(&["status"]).expect(0).says("wg0 is amneziawg");
}

/// Kernel, module and image as one set, from a host whose kernel is held.
#[test]
fn an_upgrade_goes_on_to_a_newer_pair_by_a_trial_boot() {
    let root = Root::installed("");
    mirror_moves_on(&root);
    root.write_bytes(support::MODULE, &module::amneziawg(NEWER).bytes());
    root.run(&["upgrade", "--yes", "--config", CONFIG]).expect(0).says("scheduled; the rest follows by itself");
    // The kernel that ran is gone with its package: the way back is the one from before.
    assert_eq!(root.running(), NEWER);
    root.run(&["resume"]).expect(0).says("kernel mode on 6.12.51-0-lts");
    assert!(root.read("/etc/apk/world").contains("linux-lts=6.12.51-r0"));
    root.reboot();
    assert_eq!(root.running(), NEWER);
    root.run(&["guard"]).expect(0);
}

#[test]
fn an_upgrade_that_does_not_come_up_ends_on_the_kernel_from_before() {
    let mut root = Root::installed("");
    mirror_moves_on(&root);
    root.write_bytes(support::MODULE, &module::amneziawg(NEWER).bytes());
    root.set("FAKE_PANICS", "lts");
    root.run(&["upgrade", "--yes", "--config", CONFIG]).expect(0).says("scheduled; the rest follows by itself");
    assert_eq!(root.running(), VIRT);
    root.run(&["resume"]).expect(8).says("userspace");
}

#[test]
fn without_a_second_kernel_an_upgrade_does_not_replace_the_only_one() {
    let root = Root::installed("kernel: {keep_old: false}\n");
    assert!(!root.exists("/boot/vmlinuz-virt"));
    mirror_moves_on(&root);
    root.write_bytes(support::MODULE, &module::amneziawg(NEWER).bytes());
    let ran = root.run(&["upgrade", "--yes", "--config", CONFIG]);
    assert!(format!("{}{}", ran.out, ran.err).contains("there would be no way back"), "{ran:?}");
    assert_eq!(root.running(), LTS);
    assert!(root.loaded("amneziawg"));
}

#[test]
fn a_container_that_keeps_crashing_is_stopped_by_the_guard() {
    let mut root = Root::installed("");
    // The image insists on a table that this kernel has not got any more.
    root.set("FAKE_MODPROBE_FAILS", "iptable_nat");
    root.reboot();
    root.run(&["guard"]).expect(6).says("iptable_nat").says("it is stopped now");
    assert!(root.commands().iter().any(|c| c == "docker stop wg-easy"), "{:?}", root.commands());
    root.run(&["status"]).expect(6);
}

#[test]
fn the_guard_keeps_out_of_an_installation_under_way() {
    let root = Root::fresh();
    root.run(&["guard"]).expect(0);
    root.install().expect(0);
    root.run(&["guard"]).expect(0).says("under way");
    root.run(&["resume"]).expect(0);
}

/// The hook as apk calls it, on a tree of its own.
#[test]
fn the_hook_says_what_an_upgrade_left_behind() {
    let root = Root::installed("kernel: {hold: false}\n");
    let said = |event: &str| {
        let text = root.read("/etc/apk/commit_hooks.d/awg-install");
        let base = root.dir().display().to_string();
        let text = text.replace("/lib/modules/", &format!("{base}/lib/modules/"));
        let text = text.replace("/usr/share/kernel/", &format!("{base}/usr/share/kernel/"));
        let out = std::process::Command::new("sh").args(["-c", &text, "hook", event]).output().expect("a shell");
        assert!(out.status.success() && out.stderr.is_empty(), "{out:?}");
        String::from_utf8(out.stdout).unwrap()
    };
    assert_eq!(root.mode("/etc/apk/commit_hooks.d/awg-install"), 0o755);
    assert_eq!(said("post-commit"), "");
    mirror_moves_on(&root);
    apk_upgrade(&root);
    assert_eq!(said("pre-commit"), "");
    let warned = said("post-commit");
    for part in ["6.12.51-0-lts", "awg-install upgrade", "userspace"] {
        assert!(warned.contains(part), "{warned}");
    }
}

#[test]
fn the_doctor_finds_what_is_wrong() {
    let mut root = Root::installed("");
    root.run(&["doctor"]).expect(0).says("ok   module").says("ok   tunnel").says("ok   container").says("ok   drift");
    root.set("FAKE_PROOF", "packets");
    root.run(&["doctor"]).expect(10).says("FAIL tunnel").says("ok   module");
    root.unset("FAKE_PROOF");
    root.write("/sys/module/amneziawg/srcversion", "ANOTHER\n");
    root.run(&["doctor"]).expect(10).says("FAIL module").says("another build of the module is loaded");
    let root = Root::installed("");
    root.write("/etc/modules-load.d/awg-install.conf", "");
    root.run(&["doctor"]).expect(10).says("FAIL drift");
    let ran = root.run(&["doctor", "--output", "json"]).expect(10);
    let document: serde_json::Value = serde_json::from_str(&ran.out).expect("one document");
    assert!(document["checks"].as_array().is_some_and(|c| c.len() >= 5), "{document:#}");
    Root::fresh().run(&["doctor", "--config", CONFIG]).expect(10).says("nothing was installed here");
}

/// An engine can keep the port of a container that went with the power; nobody is there after such a boot.
#[test]
fn the_guard_frees_a_port_that_a_power_cut_left_taken() {
    let root = Root::installed("");
    root.reboot();
    root.remove("/var/lib/docker/containers/wg-easy/running");
    root.write("/var/lib/docker/stuck-port", "");
    root.run(&["guard"]).expect(0);
    assert!(root.commands().iter().any(|c| c == "rc-service docker start"));
    root.run(&["doctor"]).expect(0);
}

/// The host goes down while the check at boot is at it: the next one makes up for it, wherever it was.
#[test]
fn the_guard_goes_on_with_a_check_that_was_cut_off() {
    let broken = Root::installed("");
    broken.reboot();
    std::fs::remove_dir_all(broken.path("/var/lib/docker/containers/wg-easy")).unwrap();
    let healthy = |root: &Root| {
        root.run(&["guard"]).expect(0);
        root.run(&["status"]).expect(0).says("healthy, wg0 is amneziawg");
    };
    let mut cut = 0;
    for n in 1.. {
        let root = broken.copy();
        if root.run_with(&["guard"], &[("AWG_TEST_KILL_AT", &n.to_string())], "").code != -1 {
            break;
        }
        cut += 1;
        root.reboot();
        healthy(&root);
    }
    assert!(cut > 5, "{cut}");
    // Asked to end, it says that it has failed.
    let mut root = broken.copy();
    root.set("FAKE_FAIL", "docker compose*");
    root.run(&["guard"]).expect(6);
    root.unset("FAKE_FAIL");
    root.reboot();
    healthy(&root);
}

#[test]
fn the_guard_does_not_go_on_with_what_never_ran() {
    let mut root = Root::fresh();
    root.set("FAKE_FAIL", "engine-post*");
    root.install().expect(6);
    root.forget_commands();
    root.run(&["guard"]).expect(0).says("nothing to look after");
    assert!(!root.commands().iter().any(|c| c.starts_with("docker") || c.starts_with("apk add")));
}

#[test]
fn an_upgrade_tries_a_kernel_again_whose_module_did_not_do() {
    let mut root = Root::fresh();
    root.set("FAKE_PROOF", "generation");
    root.install().expect(0);
    root.run(&["resume"]).expect(8);
    root.unset("FAKE_PROOF");
    root.run(&["install", "--yes", "--config", CONFIG]).expect(8).says("it was tried and failed");
    root.run(&["upgrade", "--yes", "--config", CONFIG]).expect(0);
    if root.running() != LTS {
        root.reboot();
    }
    root.run(&["resume"]).expect(0);
    root.run(&["status"]).expect(0).says("wg0 is amneziawg");
}
