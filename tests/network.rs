//! The packet filter, forwarding and IPv6 on a prepared root.

mod support;

use support::tree::LEFT_BY_ROLLBACK;
use support::{CONFIG, Root};

const SERVER: &str =
    "server: {host: vpn.example.org, username: admin, password_file: /root/password}\nmode: userspace\n";
const SCRIPT: &str = "/opt/wg-easy/firewall.sh";
/// What the stand-in shell has placed.
const PLACED: &str = "/.fakeroot/firewall";
/// In the form of a route that was captured on a host whose router advertises itself.
const ADVERTISED: &str = "00000000000000000000000000000000 00 00000000000000000000000000000000 00 \
    fe80000000000000e46b73fffea19561 00000400 00000001 00000000 00450003     eth0.100\n";

#[test]
fn rules_are_recorded_placed_at_every_boot_and_taken_away() {
    let root = Root::prepared(&[], SERVER);
    let before = root.tree().without(LEFT_BY_ROLLBACK);
    root.install().expect(0);
    assert_eq!(root.read(PLACED), root.read(SCRIPT));
    let placed = root.commands().iter().position(|c| c.ends_with("firewall.sh start"));
    let made = root.commands().iter().position(|c| c.starts_with("docker compose") && c.contains(" up "));
    assert!(placed < made && placed.is_some(), "no container without them: {:?}", root.commands());
    root.reboot();
    assert_eq!(root.read(PLACED), root.read(SCRIPT), "the service has placed them");

    // Flushed by somebody.
    root.remove(PLACED);
    root.run(&["status", "--detailed-exitcode"]).expect(10).says("put the rules of /opt/wg-easy/firewall.sh in place");
    root.run(&["doctor"]).expect(10).says("AWG-PUBLISHED has 0 of");
    root.run(&["guard"]).expect(0);
    assert!(root.exists(PLACED), "the guard places them again");
    root.install().expect(0).says("nothing to do");

    root.run(&["rollback", "--purge-data"]).expect(0);
    assert!(!root.exists(PLACED), "nothing of ours is left in the filter");
    before.assert_same(&root.tree().without(LEFT_BY_ROLLBACK), "rolled back");
}

#[test]
fn a_service_that_placed_them_is_undone_although_no_step_did() {
    let root = Root::fresh();
    root.install().expect(0);
    // The restart came in between: the service was there before the resumed run.
    assert!(root.exists(PLACED));
    root.run(&["resume"]).expect(0);
    root.run(&["rollback", "--purge-data", "--no-reboot"]).expect(7);
    root.reboot();
    root.run(&["resume"]).expect(0).says("rolled back");
    assert!(!root.exists(PLACED) && !root.exists(SCRIPT) && !root.exists("/etc/init.d/awg-firewall"));
}

#[test]
fn systemd_hosts_place_them_at_boot_too() {
    let root = Root::prepared(&["--debian"], SERVER);
    root.install().expect(0);
    assert!(root.read("/etc/systemd/system/awg-firewall.service").contains("Before=docker.service"));
    assert!(root.path("/etc/systemd/system/multi-user.target.wants/awg-firewall.service").is_symlink());
    root.install().expect(0).says("nothing to do");
    root.run(&["rollback"]).expect(0);
    assert!(!root.path("/etc/systemd/system/multi-user.target.wants/awg-firewall.service").is_symlink());
    assert!(!root.exists(PLACED));
}

#[test]
fn an_advertised_route_is_kept_before_the_host_forwards() {
    let root = Root::prepared(&[], SERVER);
    root.write("/proc/net/ipv6_route", ADVERTISED);
    let listens = "/proc/sys/net/ipv6/conf/eth0.100/accept_ra";
    root.write(listens, "1\n");
    root.write("/proc/sys/net/ipv6/conf/eth1/accept_ra", "1\n");
    root.install().expect(0);
    assert_eq!(root.read(listens), "2\n");
    assert_eq!(root.read("/proc/sys/net/ipv6/conf/eth1/accept_ra"), "1\n", "no route hangs on that one");
    let commands = root.commands();
    let at =
        |wanted: &str| commands.iter().position(|c| c == wanted).unwrap_or_else(|| panic!("{wanted}: {commands:?}"));
    let keeps = at("sysctl -w net/ipv6/conf/eth0.100/accept_ra=2");
    assert!(keeps < at("sysctl -w net.ipv6.conf.all.forwarding=1"), "afterwards it would be too late");
    let file = root.read("/etc/sysctl.d/60-awg-install.conf");
    let line = |wanted: &str| file.find(wanted).unwrap_or_else(|| panic!("{wanted}: {file}"));
    assert!(line("net/ipv6/conf/eth0.100/accept_ra = 2") < line("net.ipv6.conf.all.forwarding = 1"));
    root.install().expect(0).says("nothing to do");
    root.run(&["rollback"]).expect(0);
    assert_eq!(root.read(listens), "1\n");
}

#[test]
fn without_ipv6_nothing_speaks_of_it() {
    for mode in ["userspace", "wireguard"] {
        let root = Root::prepared(&[], &SERVER.replace("userspace", mode));
        // As with `ipv6.disable=1`: the settings do not exist.
        std::fs::remove_dir_all(root.path("/proc/sys/net/ipv6")).unwrap();
        std::fs::remove_dir_all(root.path("/.fakeroot/proc-sys/net/ipv6")).unwrap();
        root.install().expect(0);
        assert!(!root.loaded("ip6_tables") && root.loaded("ip_tables"), "{mode}");
        for path in [SCRIPT, "/opt/wg-easy/start.sh", "/etc/modules-load.d/awg-install.conf"] {
            let text = root.read(path);
            assert!(!text.contains("\nip6tables") && !text.contains("ip6_tables"), "{mode}: {path}: {text}");
        }
        assert!(!root.read("/etc/sysctl.d/60-awg-install.conf").contains("ipv6"));
        assert!(!root.read("/opt/wg-easy/compose.yaml").contains("ipv6"));
        assert!(root.read("/opt/wg-easy/wg-easy.env").contains("DISABLE_IPV6='true'"));
        root.reboot();
        root.install().expect(0).says("nothing to do");
    }
}

#[test]
fn a_kernel_without_ip_tables_is_served_through_nf_tables() {
    let root = Root::prepared(&["--alpine", "3.23.0"], SERVER);
    root.install().expect(0).says("has no ip_tables: the container's iptables goes through nf_tables");
    assert!(root.loaded("nft_compat") && !root.loaded("ip_tables"));
    assert!(root.read("/opt/wg-easy/start.sh").contains("ln -sf \"$program\" \"/usr/local/sbin/$family$suffix\""));
    root.reboot();
    root.install().expect(0).says("nothing to do");

    let legacy = Root::prepared(&["--alpine", "3.23.0"], SERVER);
    let registry = legacy.read("/.fakeroot/registry").replace(" iptables-nft", "");
    legacy.write("/.fakeroot/registry", &registry);
    let refused = legacy.run(&["--unattended", "--config", CONFIG]).expect(6).says("iptables-nft");
    assert!(!legacy.loaded("nft_compat"), "{refused:?}");
    // Known by now: refused before anything else is tried.
    legacy.run(&["plan", "--config", CONFIG]).expect(4).says("brings iptables-legacy only");
}

/// What a start of the container would do, tried with programs that only say how they were called.
#[test]
fn the_container_starts_nothing_when_a_rule_is_refused() {
    let root = Root::prepared(&[], SERVER);
    root.install().expect(0);
    for (refuses, ends_well) in [("nothing", true), ("10.0.0.0/8", false), ("AWG-FORWARD", false), ("-I INPUT", false)]
    {
        let bin = root.path("/stand-in");
        let _ = std::fs::remove_dir_all(&bin);
        for program in ["iptables", "ip6tables", "iptables-restore", "ip6tables-restore"] {
            let text = format!("#!/bin/sh\ncase \"$0 $(cat)\" in *'{refuses}'*) exit 1 ;; esac\n");
            root.write(&format!("/stand-in/{program}"), &text);
            let mut mode = std::fs::metadata(bin.join(program)).unwrap().permissions();
            std::os::unix::fs::PermissionsExt::set_mode(&mut mode, 0o755);
            std::fs::set_permissions(bin.join(program), mode).unwrap();
        }
        let path = format!("{}:/usr/bin:/bin", bin.display());
        let out = std::process::Command::new("/bin/sh")
            .arg(root.path("/opt/wg-easy/start.sh"))
            .args(["echo", "the image's own program"])
            .env("PATH", path)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&out.stdout).into_owned();
        assert_eq!((out.status.success(), said.contains("own program")), (ends_well, ends_well), "{refuses}: {out:?}");
        let why = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!(why.lines().filter(|l| l.starts_with("awg-install: ")).count(), usize::from(!ends_well), "{why}");
    }
}
