//! How a kernel is switched: the loaders, kexec, first-boot tools, signals, and the way back.

mod support;

use support::tree::LEFT_BY_ROLLBACK;
use support::{CONFIG, CONFIG_TEXT, LTS, Root, VIRT};

const PURGE: &[&str] = &["rollback", "--purge-data"];
const GRUB_CFG: &str = "/boot/grub/grub.cfg";

fn grub() -> Root {
    Root::prepared(&["--grub"], CONFIG_TEXT)
}

fn with(extra: &str) -> Root {
    Root::prepared(&[], &format!("{extra}\n{CONFIG_TEXT}"))
}

fn rolled_back(root: &Root, before: &support::tree::Tree) {
    let ran = root.run(PURGE).expect(0);
    if ran.out.contains("scheduled") {
        root.run(&["resume"]).expect(0).says("rolled back");
    }
    before.assert_same(&root.tree().without(LEFT_BY_ROLLBACK), "rolled back");
}

#[test]
fn grub_starts_the_new_kernel_once_then_by_default() {
    let root = grub();
    let before = root.tree().without(LEFT_BY_ROLLBACK);
    root.run(&["--unattended", "--config", CONFIG, "--no-reboot"]).expect(7);
    let custom = root.read("/boot/grub/custom.cfg");
    assert!(
        custom.contains("--id awg-trial") && custom.contains("    linux\t/boot/vmlinuz-lts root=UUID=b5a9"),
        "{custom}"
    );
    assert!(custom.contains("panic=15 oops=panic softlockup_panic=1 awg.trial=1"), "{custom}");
    assert!(custom.contains("--check $prefix/awg-trial.sha256 --prefix /boot; then"), "{custom}");
    // The default is named, and it is still the old kernel.
    assert!(root.read("/etc/default/grub").contains("GRUB_DEFAULT=\"gnulinux-virt-advanced-b5a9\""));
    assert_eq!(root.read("/boot/grub/grubenv").lines().nth(1), Some("next_entry=awg-trial"));
    root.reboot();
    assert_eq!(root.running(), LTS);
    root.run(&["resume"]).expect(0).says("done: AmneziaWG runs in kernel mode");
    assert!(root.read(GRUB_CFG).contains("set default=\"gnulinux-lts-advanced-b5a9\""));
    assert!(!root.exists("/boot/grub/custom.cfg") && !root.exists("/boot/grub/awg-trial.sha256"));
    root.install().expect(0).says("nothing to do");
    root.reboot();
    assert_eq!(root.running(), LTS);
    rolled_back(&root, &before);
    assert_eq!(root.running(), VIRT);
}

#[test]
fn grub_comes_back_from_a_kernel_that_panics_or_is_not_there() {
    for missing in [false, true] {
        let mut root = grub();
        root.write("/boot/grub/custom.cfg", "menuentry 'mine' {\n}\n");
        let before = root.tree().without(LEFT_BY_ROLLBACK);
        root.run(&["--unattended", "--config", CONFIG, "--no-reboot"]).expect(7);
        if missing {
            root.remove("/boot/vmlinuz-lts");
        } else {
            root.set("FAKE_PANICS", "lts");
        }
        root.reboot();
        assert_eq!(root.running(), VIRT);
        root.run(&["resume"]).expect(8).says("did not come up").says("userspace");
        assert_eq!(root.read("/boot/grub/custom.cfg"), "menuentry 'mine' {\n}\n");
        rolled_back(&root, &before);
    }
}

#[test]
fn grub_where_its_environment_cannot_be_written_is_left_alone() {
    let root = grub();
    root.write("/proc/self/mountinfo", "24 1 253:0 / / rw - ext4 /dev/mapper/vg-root rw\n");
    root.write("/sys/dev/block/253:0/slaves/vda2", "");
    root.install().expect(0).says("userspace");
    assert!(!root.exists("/boot/vmlinuz-lts"));
    let root = grub();
    root.write("/proc/self/mountinfo", "24 1 0:31 / / rw - btrfs /dev/vda2 rw\n");
    root.run(&["plan", "--config", CONFIG]).expect(0).says("cannot write its environment at boot on btrfs");
}

#[test]
fn kexec_starts_it_without_the_loader() {
    let root = with("kernel: {reboot: kexec}");
    let before = root.tree().without(LEFT_BY_ROLLBACK);
    root.install().expect(0).says("by kexec");
    assert_eq!(root.running(), LTS);
    assert!(!root.commands().iter().any(|c| c.starts_with("extlinux --once")), "the loader was not armed");
    assert!(root.read("/.fakeroot/console").contains("boot: kexec: 6.12.50-0-lts"));
    root.run(&["resume"]).expect(0).says("done: AmneziaWG runs in kernel mode");
    root.reboot();
    assert_eq!(root.running(), LTS, "it is the default by now");
    rolled_back(&root, &before);
}

#[test]
fn where_kexec_cannot_the_loader_does() {
    let mut root = with("kernel: {reboot: kexec}");
    root.set("FAKE_NO_KEXEC", "1");
    root.install().expect(0).says("the boot loader starts the new kernel");
    assert_eq!(root.running(), LTS);
    root.run(&["resume"]).expect(0).says("done");

    // It was loaded and did not come up: the loader tries, and only then it counts as failed.
    let mut root = with("kernel: {reboot: kexec}");
    root.set("FAKE_PANICS", "lts");
    root.install().expect(0);
    assert_eq!(root.running(), VIRT);
    root.run(&["resume"]).expect(0).says("did not come up by kexec").says("scheduled");
    assert_eq!(root.running(), VIRT);
    root.run(&["resume"]).expect(8).says("did not come up").says("userspace");
    // Asked to try once more, now that the kernel works.
    root.unset("FAKE_PANICS");
    root.install().expect(8).says("nothing to do");
    root.run(&["install", "--unattended", "--config", CONFIG, "--retry-kernel"]).expect(0).says("scheduled");
    root.run(&["resume"]).expect(0).says("done: AmneziaWG runs in kernel mode");
}

#[test]
fn the_old_kernel_goes_last_and_comes_back() {
    let root = with("kernel: {keep_old: false}");
    let before = root.tree().without(LEFT_BY_ROLLBACK);
    root.install().expect(0);
    assert!(root.exists("/boot/vmlinuz-virt"), "it is the way back");
    root.run(&["resume"]).expect(0).says("remove the old kernel 6.12.50-0-virt");
    for gone in ["/boot/vmlinuz-virt", "/boot/initramfs-virt", "/lib/modules/6.12.50-0-virt"] {
        assert!(!root.exists(gone), "{gone}");
    }
    assert!(!root.read("/boot/extlinux.conf").contains("LABEL virt"));
    root.install().expect(0).says("nothing to do");
    root.reboot();
    assert_eq!(root.running(), LTS);
    rolled_back(&root, &before);
    assert_eq!(root.running(), VIRT);
}

#[test]
fn first_boot_tools_end_before_the_restart() {
    let root = Root::fresh();
    // tiny-cloud is in its final phase, which runs this.
    root.write("/etc/runlevels/default/tiny-cloud-final", "");
    root.install().expect(0).says("waits for tiny-cloud to end first");
    let commands = root.commands();
    assert!(commands.iter().any(|c| c == "awg-install reboot-when-ready"), "{commands:?}");
    assert!(!commands.iter().any(|c| c.starts_with("reboot")), "{commands:?}");
    root.run(&["resume"]).expect(0).says("done");

    let root = Root::fresh();
    root.write("/run/cloud-init/status.json", "{}");
    root.run(&["--unattended", "--config", CONFIG]).expect(0).says("waits for cloud-init to end first");

    let root = Root::fresh();
    root.write("/run/cloud-init/status.json", "{}");
    root.write("/run/cloud-init/result.json", "{}");
    root.install().expect(0);
    assert!(root.commands().iter().any(|c| c == "reboot -d 3"));
}

#[test]
fn a_signal_stops_between_steps_and_the_next_run_goes_on() {
    use nix::sys::signal::{Signal, kill};
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let root = Root::fresh();
        // The pull takes a while; meanwhile the operator changes their mind.
        root.write("/.fakeroot/knobs", "FAKE_SLOW='engine-post /images/create*'\n");
        let child = std::process::Command::new(support::program())
            .args(["--root", root.dir().to_str().unwrap(), "--unattended", "--config", CONFIG])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let pulling = || root.read("/.fakeroot/commands").contains("engine-post /images/create");
        for _ in 0..600 {
            if pulling() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        assert!(pulling());
        kill(nix::unistd::Pid::from_raw(child.id() as i32), Signal::SIGHUP).unwrap();
        kill(nix::unistd::Pid::from_raw(child.id() as i32), signal).unwrap();
        let done = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(6), "{said}");
        assert!(
            said.contains(&format!("stopped by {signal}")) && said.contains("run the same command again"),
            "{said}"
        );
        let receipt = root.json("/var/lib/awg-install/receipt.json");
        let begun = |kind: &str| receipt["steps"].to_string().contains(&format!("\"id\":\"{kind}:"));
        assert!(begun("pull"), "{receipt:#}");
        assert!(!begun("extract") && !begun("arm"), "what waits for the pull was begun: {receipt:#}");
        assert_eq!(receipt["outcome"], "running");
        root.write("/.fakeroot/knobs", "");
        root.install().expect(0).says("scheduled");
        root.run(&["resume"]).expect(0).says("done");
    }
}

#[test]
fn the_watchdog_of_a_trial_boot_is_stopped_by_the_resumed_run() {
    let root = Root::fresh();
    root.install().expect(0);
    let guard = root.read("/etc/init.d/awg-watchdog");
    assert!(guard.contains("soft_margin=300") && guard.contains("awg.trial=1"), "{guard}");
    root.write("/run/awg-watchdog.device", "watchdog1\n");
    root.write("/dev/watchdog1", "");
    root.run(&["resume"]).expect(0).says("done");
    assert_eq!(root.read("/dev/watchdog1"), "V");
    assert!(!root.exists("/run/awg-watchdog.device") && !root.exists("/etc/init.d/awg-watchdog"));
}

#[test]
fn a_crash_record_says_why() {
    let mut root = Root::fresh();
    root.set("FAKE_PANICS", "lts");
    root.install().expect(0);
    root.write(
        "/sys/fs/pstore/dmesg-ramoops-0",
        "Panic#1 Part1\n<0>[    2.0] Kernel panic - not syncing: No init found.\n",
    );
    root.run(&["resume"]).expect(8).says("Kernel panic - not syncing: No init found.");
    root.run(&["status"]).expect(8).says("No init found");
}

/// Only what this program made is undone.
#[test]
fn a_host_with_things_of_its_own_gets_them_all_back() {
    let root = Root::fresh();
    // Docker, in use, from a repository that the operator has enabled.
    let repositories = root.read("/etc/apk/repositories").replace("#http", "http");
    root.write("/etc/apk/repositories", &repositories);
    for command in ["apk add docker docker-cli-compose", "rc-update add docker default", "rc-service docker start"] {
        let mut words = command.split(' ');
        let program = root.path(&format!("/.fakeroot/bin/{}", words.next().unwrap()));
        let done = std::process::Command::new(program).args(words).env("FAKE_ROOT", root.dir()).output().unwrap();
        assert!(done.status.success(), "{command}: {}", String::from_utf8_lossy(&done.stderr));
    }
    root.write("/etc/docker/daemon.json", "{\"log-driver\": \"local\"}\n");
    // Settings, modules and files where ours go.
    root.write("/etc/sysctl.d/60-awg-install.conf", "vm.swappiness = 10\n");
    root.write("/etc/modules-load.d/awg-install.conf", "loop\n");
    root.write("/etc/modules", "tun\n");
    root.write("/opt/wg-easy/compose.yaml", "services: {}\n");
    root.write("/opt/wg-easy/notes.txt", "mine\n");
    root.write("/etc/update-extlinux.d/mine", "LABEL mine\n  LINUX vmlinuz-virt\n");
    root.write("/var/lib/docker/volumes/theirs/data", "precious\n");
    // Of an image with all it brings.
    root.reboot();
    let update = std::process::Command::new(root.path("/.fakeroot/bin/update-extlinux"));
    let mut update = update;
    assert!(update.env("FAKE_ROOT", root.dir()).status().unwrap().success());
    let before = root.tree().without(LEFT_BY_ROLLBACK);
    root.install().expect(0);
    root.run(&["resume"]).expect(0).says("done: AmneziaWG runs in kernel mode");
    assert_ne!(root.read("/opt/wg-easy/compose.yaml"), "services: {}\n");
    rolled_back(&root, &before);
    assert!(root.loaded("tun"), "it was loaded before");
}

/// What a tool calls installed may have lost its content when the power went.
#[test]
fn what_was_cut_off_is_done_once_more_from_the_start() {
    let root = Root::fresh();
    root.run(&["--unattended", "--config", CONFIG, "--no-reboot"]).expect(7);
    let path = "/var/lib/awg-install/receipt.json";
    let mut receipt = root.json(path);
    let steps = receipt["steps"].as_array_mut().unwrap();
    for step in steps {
        let id = step["id"].as_str().unwrap();
        if ["packages:", "pull:", "kernel:", "module:"].iter().any(|begin| id.starts_with(begin)) {
            step["state"] = "started".into();
        }
    }
    root.write(path, &receipt.to_string());
    root.forget_commands();
    root.install().expect(0).says("scheduled");
    let commands = root.commands();
    for wanted in [
        "apk --wait 300 fix --reinstall docker docker-cli-compose",
        "apk --wait 300 fix --reinstall linux-firmware-none linux-lts",
        "docker image rm ghcr.io/wg-easy/wg-easy:15",
        "engine-post /images/create?fromImage=ghcr.io/wg-easy/wg-easy&tag=15&platform=linux/amd64",
        "depmod 6.12.50-0-lts",
    ] {
        assert!(commands.iter().any(|c| c.starts_with(wanted)), "{wanted} in {commands:#?}");
    }
    // What was there before would have the initramfs of the way back made anew.
    let others = |c: &&String| c.contains(" fix ") && (c.contains("mkinitfs") || c.contains("--depends"));
    assert_eq!(commands.iter().find(others), None);
    root.run(&["resume"]).expect(0).says("done: AmneziaWG runs in kernel mode");
}

/// The database is there, its administrator is not: the power went during the server's first start.
#[test]
fn half_a_first_start_is_begun_anew() {
    let root = Root::fresh();
    root.install().expect(0);
    root.run(&["resume"]).expect(0);
    let path = "/var/lib/awg-install/receipt.json";
    let mut receipt = root.json(path);
    let steps = receipt["steps"].as_array_mut().unwrap();
    steps.retain(|s| !["first-start", "ready"].contains(&s["id"].as_str().unwrap()));
    root.write(path, &receipt.to_string());
    let env = root.read("/opt/wg-easy/wg-easy.env");
    root.forget_commands();
    root.install().expect(0).says("wait for the server's first start").says("done");
    assert_eq!(root.read("/opt/wg-easy/wg-easy.env"), env, "and the password is gone again");
    assert!(root.files_with(support::PASSWORD).iter().all(|f| f == support::PASSWORD_FILE));
}
