//! What is chosen, and what happens, where the kernel module cannot be had or does not work.

mod support;

use support::tree::LEFT_BY_ROLLBACK;
use support::{CONFIG, CONFIG_TEXT, LTS, Root, VIRT, module};

const EXTRA: &str = "/lib/modules/6.12.50-0-lts/extra/amneziawg.ko";
const NO_MODULE: &str = "server:\n  host: vpn.example.org\n  username: admin\n  password_file: /root/password\n";

fn exact(fallback: &str) -> String {
    format!("{CONFIG_TEXT}kernel:\n  release: {LTS}\nfallback: {fallback}\n")
}

#[test]
fn a_repository_without_that_kernel_means_userspace() {
    let root = Root::prepared(&["--offer", "6.12.51-r0"], &exact("userspace"));
    root.install().expect(8).says("linux-lts=6.12.50-r0 cannot be had: the repository offers 6.12.51-r0");
    assert_eq!(root.running(), VIRT);
    assert!(!root.read("/etc/apk/world").contains("linux-lts"));
    for half in ["/boot/vmlinuz-lts", EXTRA, "/etc/update-extlinux.d/awg-install", "/etc/init.d/awg-install"] {
        assert!(!root.exists(half), "{half}");
    }
    assert!(!root.commands().iter().any(|c| c.starts_with("reboot") || c.starts_with("extlinux")));
    root.run(&["status"]).expect(8).says("wg0 is tun");
    root.install().expect(8).says("nothing to do");
}

#[test]
fn with_fallback_fail_nothing_is_touched() {
    let root = Root::prepared(&["--offer", "6.12.51-r0"], &exact("fail"));
    let ignored = ["/.fakeroot/commands", "/run/awg-install.lock", "/var/log/awg-install.log"];
    let before = root.tree().without(&ignored);
    root.install().expect(4).says("fallback is fail").says("the repository offers 6.12.51-r0");
    before.assert_same(&root.tree().without(&ignored), "refused");
}

#[test]
fn a_module_for_another_kernel_is_refused() {
    let ignored = ["/.fakeroot/commands", "/run/awg-install.lock", "/var/log/awg-install.log"];
    let mut foreign = module::good();
    foreign.machine = object::Architecture::Aarch64;
    let mut other = module::good();
    other.name = "wireguard".into();
    for (bytes, said) in [
        (module::amneziawg("6.12.51-0-lts").bytes(), "it was built for 6.12.51-0-lts"),
        (foreign.bytes(), "aarch64"),
        (other.bytes(), "wireguard"),
        (b"not a module at all".to_vec(), "cannot be used"),
    ] {
        let root = Root::prepared(&[], &exact("userspace"));
        root.write_bytes(support::MODULE, &bytes);
        let before = root.tree().without(&ignored);
        root.install().expect(5).says(said);
        before.assert_same(&root.tree().without(&ignored), said);
    }
}

#[test]
fn a_module_with_another_checksum_is_refused() {
    let sha256 = "0".repeat(64);
    let root = Root::prepared(&[], &format!("{CONFIG_TEXT}  sha256: \"{sha256}\"\n"));
    root.install().expect(5).says("module.sha256 is 0000");
    assert!(!root.exists("/var/lib/awg-install"));
}

/// The release text matches and the symbols do not: only the kernel's own modules can tell.
#[test]
fn a_module_with_foreign_symbols_is_not_armed() {
    let root = Root::fresh();
    let mut kernel = module::wireguard(LTS);
    kernel.versions[1].1 ^= 1;
    root.write_bytes("/.fakeroot/kernel/6.12.50-0-lts/drivers/net/wireguard/wireguard.ko", &kernel.bytes());
    root.install().expect(8).says("register_netdevice");
    assert_eq!(root.running(), VIRT);
    assert!(!root.exists(EXTRA), "a module that does not fit is not left behind");
    assert!(!root.commands().iter().any(|c| c.starts_with("reboot")));
    root.run(&["status"]).expect(8);
}

#[test]
fn other_distributions_get_userspace() {
    let root = Root::prepared(&["--debian"], NO_MODULE);
    root.install().expect(0).says("userspace mode").says("is not Alpine");
    assert!(root.read("/opt/wg-easy/compose.yaml").contains("/dev/net/tun:/dev/net/tun"));
    for foreign in ["apk", "rc-service", "rc-update", "reboot", "update-extlinux"] {
        assert!(!root.commands().iter().any(|c| c.split(' ').next() == Some(foreign)), "{foreign}");
    }
    root.run(&["status"]).expect(0).says("wg0 is tun");
    root.install().expect(0).says("nothing to do");
}

#[test]
fn a_kernel_that_does_not_come_up_means_userspace() {
    let mut root = Root::fresh();
    root.set("FAKE_PANICS", "lts");
    root.install().expect(0);
    assert_eq!(root.running(), VIRT, "the trial failed, the old kernel is back");
    root.run(&["resume"]).expect(8).says("6.12.50-0-lts did not come up");
    assert!(!root.exists("/etc/update-extlinux.d/awg-install"), "disarmed");
    assert!(!root.exists("/etc/runlevels/default/awg-install"));
    assert_eq!(root.read("/boot/ldlinux.sys"), "boot-once=\n");
    root.run(&["status"]).expect(8).says("Ruled out: 6.12.50-0-lts");
    // It stays ruled out, and a restart stays on the old kernel.
    root.reboot();
    assert_eq!(root.running(), VIRT);
    root.install().expect(8).says("nothing to do");
}

#[test]
fn with_fallback_fail_a_failed_boot_ends_disarmed() {
    let mut root = Root::prepared(&[], &exact("fail"));
    root.set("FAKE_PANICS", "lts");
    root.install().expect(0);
    root.run(&["resume"]).expect(6).says("fallback is fail");
    root.run(&["status"]).expect(6);
    assert_eq!(root.running(), VIRT);
    assert_eq!(root.read("/boot/ldlinux.sys"), "boot-once=\n");
    assert!(!root.read("/boot/extlinux.conf").contains("awg-trial"), "disarmed");
    assert!(root.read("/etc/apk/world").contains("linux-lts"), "nothing is rolled back");
}

#[test]
fn a_reboot_that_does_not_happen_is_asked_for_three_times() {
    let mut root = Root::fresh();
    root.set("FAKE_NO_REBOOT", "1");
    root.install().expect(0);
    for _ in 0..2 {
        root.run(&["resume"]).expect(0).says("asking for it again");
    }
    root.run(&["resume"]).expect(8).says("none happened");
    let asked = root.commands().iter().filter(|c| c.starts_with("reboot")).count();
    assert_eq!(asked, 3);
    root.unset("FAKE_NO_REBOOT");
    root.reboot();
    assert_eq!(root.running(), VIRT, "disarmed");
}

/// Left by a run that was cut off, or by whoever set the host up: nothing untried may boot by default.
#[test]
fn a_default_that_names_the_new_kernel_already() {
    let mut root = Root::fresh();
    let settings = root.read("/etc/update-extlinux.conf");
    root.write("/etc/update-extlinux.conf", &settings.replace("default=virt", "default=lts"));
    root.set("FAKE_NO_REBOOT", "1");
    root.install().expect(0);
    assert!(
        root.read("/boot/extlinux.conf").contains("LABEL virt\n  MENU DEFAULT"),
        "the old kernel stays the default"
    );
    root.unset("FAKE_NO_REBOOT");
    root.reboot();
    root.run(&["resume"]).expect(0).says("done: AmneziaWG runs in kernel mode");
    assert!(root.read("/boot/extlinux.conf").contains("LABEL lts\n  MENU DEFAULT"));
}

#[test]
fn a_module_that_does_not_load_means_userspace() {
    let mut root = Root::fresh();
    root.set("FAKE_MODPROBE_FAILS", "amneziawg");
    root.install().expect(0);
    root.run(&["resume"]).expect(8).says("the module amneziawg cannot be loaded").says("disagrees about version");
    assert!(!root.exists(EXTRA));
    root.run(&["status"]).expect(8).says("wg0 is tun");
}

#[test]
fn a_container_that_fails_in_kernel_mode_means_userspace() {
    let mut root = Root::fresh();
    root.set("FAKE_UNHEALTHY", "amneziawg");
    root.install().expect(0);
    root.run(&["resume"]).expect(8).says("is ruled out");
    assert!(!root.loaded("amneziawg"), "userspace begins only where the module is gone");
    root.run(&["status"]).expect(8).says("wg0 is tun");
    root.reboot();
    root.run(&["status", "--detailed-exitcode"]).expect(8).says("wg0 is tun");
}

#[test]
fn what_fails_on_the_way_is_resumed_by_another_run() {
    for failing in [
        "apk *add*docker*",
        "apk *add*linux-lts*",
        "rc-service docker start",
        "engine-post /images/create*",
        "depmod 6*",
        "update-extlinux*",
        "extlinux --once*",
    ] {
        let mut root = Root::prepared(&[], &exact("fail"));
        root.set("FAKE_FAIL", failing);
        root.install().expect(6);
        root.run(&["status"]).expect(6);
        root.unset("FAKE_FAIL");
        let again = root.install();
        // A step of the kernel's that failed is ruled out; the operator begins anew after a rollback.
        if again.code == 6 {
            root.run(&["rollback"]).expect(0);
            root.install().expect(0);
        } else {
            again.expect(0);
        }
        root.run(&["resume"]).expect(0).says("done: AmneziaWG runs in kernel mode");
    }
}

#[test]
fn a_trigger_that_fails_is_made_good() {
    let mut root = Root::fresh();
    root.set("FAKE_TRIGGERS_FAIL", "1");
    root.install().expect(0);
    assert!(root.commands().iter().any(|c| c == "mkinitfs -o /boot/initramfs-lts 6.12.50-0-lts"));
    root.run(&["resume"]).expect(0).says("done");
}

#[test]
fn userspace_and_wireguard_when_asked_for_are_no_fallback() {
    let root = Root::prepared(&[], &format!("mode: userspace\n{NO_MODULE}"));
    let before = root.tree().without(LEFT_BY_ROLLBACK);
    root.install().expect(0).says("userspace mode");
    root.run(&["status"]).expect(0);
    root.run(&["rollback", "--purge-data"]).expect(0);
    before.assert_same(&root.tree().without(LEFT_BY_ROLLBACK), "rolled back");

    let root = Root::prepared(&[], &format!("mode: wireguard\n{NO_MODULE}"));
    root.install().expect(0).says("standard WireGuard runs").says("can be recognised");
    assert!(root.read("/opt/wg-easy/wg-easy.env").contains("OVERRIDE_AUTO_AWG='wg'"));
    root.run(&["status"]).expect(0).says("wg0 is wireguard");
}

#[test]
fn mode_kernel_never_goes_below() {
    let root = Root::prepared(&["--offer", "6.12.51-r0"], &format!("mode: kernel\n{CONFIG_TEXT}"));
    root.run(&["--unattended", "--config", CONFIG]).expect(4).says("cannot be had");
    assert!(!root.exists("/var/lib/awg-install"));
}

/// Stopped while the engine was started for the first time, which leaves a store that it refuses.
fn spoilt() -> Root {
    let mut root = Root::fresh();
    root.set("FAKE_FAIL", "rc-service docker start");
    root.install().expect(6).says("starting the service docker failed");
    root.unset("FAKE_FAIL");
    root.write("/var/lib/docker/spoilt", "");
    root
}

#[test]
fn a_new_store_that_the_engine_refuses_is_made_anew() {
    let root = spoilt();
    root.install().expect(0).says("its store is new and empty, and is made anew");
    assert!(!root.exists("/var/lib/docker/spoilt"));
}

#[test]
fn a_store_with_anything_in_it_is_never_made_anew() {
    for (place, foreign) in [("containers/0123", "config.v2.json"), ("volumes/shop", "_data")] {
        let root = spoilt();
        let file = format!("/var/lib/docker/{place}/{foreign}");
        root.write(&file, "somebody's\n");
        root.install().expect(6).says("the container engine does not answer").says("docker.log");
        assert_eq!(root.read(&file), "somebody's\n");
    }
    // The host had docker before: its store is not ours, however empty.
    let root = Root::fresh();
    root.write("/var/lib/docker/spoilt", "");
    root.install().expect(6).says("the container engine does not answer");
    assert!(root.exists("/var/lib/docker/spoilt"));
}

#[test]
fn an_engine_that_keeps_a_port_is_started_anew() {
    let root = Root::prepared(&["--offer", "6.12.51-r0"], &exact("userspace"));
    root.write("/var/lib/docker/stuck-port", "");
    root.install().expect(8).says("container healthy");
    assert!(!root.exists("/var/lib/docker/stuck-port"));
    assert!(root.commands().iter().any(|c| c == "rc-service docker stop"));
}

#[test]
fn an_engine_is_not_stopped_under_somebody_elses_container() {
    let root = Root::prepared(&["--offer", "6.12.51-r0"], &exact("userspace"));
    root.install().expect(8);
    root.write("/var/lib/docker/stuck-port", "");
    root.write("/var/lib/docker/containers/shop/running", "");
    root.write("/opt/wg-easy/compose.yaml", "edited\n");
    let ran = root.run(&["install", "--unattended", "--config", CONFIG, "--replace-edited"]);
    ran.expect(6).says("port is already allocated");
    assert!(!root.commands().iter().any(|c| c == "rc-service docker stop"));
}

#[test]
fn an_engine_that_others_manage_is_left_alone() {
    let root = Root::prepared(
        &["--debian"],
        "server:\n  host: vpn.example.org\n  username: admin\n  password_file: /root/password\n",
    );
    root.write("/var/lib/docker/stuck-port", "");
    root.install().expect(6).says("port is already allocated").says("server.port");
    assert!(!root.commands().iter().any(|c| c.starts_with("rc-service")));
}

/// The image would use the module all the same, which would be found only once the container runs.
#[test]
fn userspace_is_refused_where_the_module_is_loaded() {
    let root = Root::installed("");
    root.forget_commands();
    let ran = root.run(&["--unattended", "--mode", "userspace"]).expect(4);
    assert!(ran.err.contains("the kernel module amneziawg is loaded"), "{}", ran.err);
    assert!(ran.err.contains(&format!("/lib/modules/{LTS}/extra/amneziawg.ko")), "{}", ran.err);
    assert!(
        !root.commands().iter().any(|c| c.contains("up --detach") || c.starts_with("apk add")),
        "nothing was changed"
    );
    root.run(&["status"]).expect(0).says("kernel mode");
}
