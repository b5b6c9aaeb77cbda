//! Each check of `doctor`, and what makes it fail.

mod support;

use std::os::unix::fs::PermissionsExt;

use serde_json::Value;
use support::{CONFIG, CONFIG_TEXT, Ran, Root, VIRT, module};

const RECEIPT: &str = "/var/lib/awg-install/receipt.json";
const CONTAINER: &str = "/var/lib/docker/containers/wg-easy";
const ENVIRONMENT: &str = "/var/lib/docker/containers/wg-easy/env";
const MADE_FROM: &str = "/var/lib/docker/containers/wg-easy/compose";
const MODULE_DIR: &str = "/lib/modules/6.12.50-0-lts";
const ADVERTISED: &str = "00000000000000000000000000000000 00 00000000000000000000000000000000 00 \
    fe80000000000000e46b73fffea19561 00000400 00000001 00000000 00450003     eth0\n";

/// What `doctor --output json` says of one check.
fn check(root: &Root, name: &str) -> Value {
    find(&document(root.run(&["doctor", "--output", "json"])), name)
}

fn find(document: &Value, name: &str) -> Value {
    let checks = document["checks"].as_array().expect("a list");
    checks.iter().find(|c| c["name"] == name).unwrap_or_else(|| panic!("{name}: {document:#}")).clone()
}

fn document(ran: Ran) -> Value {
    serde_json::from_str(&ran.out).unwrap_or_else(|e| panic!("{e}: {ran:?}"))
}

fn edit(root: &Root, path: &str, from: &str, to: &str) {
    let text = root.read(path);
    assert!(text.contains(from), "{path} has no {from:?}: {text}");
    root.write(path, &text.replace(from, to));
}

fn edit_receipt(root: &Root, change: impl Fn(&mut Value)) {
    let mut receipt = root.json(RECEIPT);
    change(&mut receipt);
    root.write(RECEIPT, &receipt.to_string());
}

fn unload(root: &Root, module: &str) {
    let left: String = root
        .read("/proc/modules")
        .lines()
        .filter(|l| !l.starts_with(&format!("{module} ")))
        .fold(String::new(), |text, line| text + line + "\n");
    root.write("/proc/modules", &left);
    std::fs::remove_dir_all(root.path(&format!("/sys/module/{module}"))).expect("loaded");
}

/// A check, how it ends, what it says, and what has happened to the host.
type Case = (&'static str, &'static str, &'static str, fn(&Root));

const CASES: &[Case] = &[
    ("installation", "fail", "interrupted", |r| {
        edit_receipt(r, |v| {
            v["exit_code"] = 6.into();
            v["summary"] = "interrupted".into();
        })
    }),
    ("clock", "fail", "the last run was at 2099", |r| {
        edit_receipt(r, |v| v["updated"] = "2099-01-01T00:00:00Z".into())
    }),
    ("disk", "fail", "is full", |r| r.write("/.fakeroot/free_mib", "12\n")),
    ("disk", "warn", "/ is nearly full", |r| r.write("/.fakeroot/free_mib", "120\n")),
    ("inodes", "fail", "12 more files", |r| r.write("/.fakeroot/free_inodes", "12\n")),
    ("memory", "warn", "may be killed under load", |r| r.write("/proc/meminfo", "MemTotal: 200000 kB\n")),
    ("logins", "fail", "nothing listens on tcp 22", |r| r.write("/proc/net/tcp", "header\n")),
    ("logins", "fail", "nothing listens on tcp 2222", |r| r.write("/etc/ssh/sshd_config", "Port 2222\n")),
    ("kernel", "fail", "6.12.50-0-virt runs, and 6.12.50-0-lts was expected", |r| {
        r.write("/proc/sys/kernel/osrelease", &format!("{VIRT}\n"))
    }),
    ("kernel modules", "warn", "has no index of modules", |r| r.remove(&format!("{MODULE_DIR}/modules.dep"))),
    ("kernel modules", "fail", "6.12.51-0-lts was installed since the last boot", |r| {
        r.remove(&format!("{MODULE_DIR}/modules.dep"));
        r.write("/usr/share/kernel/lts/kernel.release", "6.12.51-0-lts\n");
    }),
    ("next boot", "fail", "extlinux starts 6.12.50-0-virt by default, and 6.12.50-0-lts runs", |r| {
        edit(r, "/boot/extlinux.conf", "  MENU DEFAULT\n", "");
        edit(r, "/boot/extlinux.conf", "LABEL virt\n", "LABEL virt\n  MENU DEFAULT\n");
    }),
    ("next boot", "fail", "are not complete", |r| r.remove("/boot/initramfs-lts")),
    ("next boot", "warn", "an entry for one trial boot", |r| r.write("/etc/update-extlinux.d/awg-install", "x\n")),
    ("kernel held", "fail", "linux-lts=6.12.50-r0 is not in /etc/apk/world", |r| {
        edit(r, "/etc/apk/world", "linux-lts=6.12.50-r0", "linux-lts")
    }),
    ("kernel held", "warn", "the repository has 6.12.51-r0", |r| {
        edit(r, "/.fakeroot/offered", "linux-lts 6.12.50-r0", "linux-lts 6.12.51-r0")
    }),
    ("leftovers", "warn", "/etc/init.d/awg-install", |r| r.write("/etc/init.d/awg-install", "#!/sbin/openrc-run\n")),
    ("module file", "fail", "no amneziawg.ko is there for", |r| r.remove(&format!("{MODULE_DIR}/extra/amneziawg.ko"))),
    ("module index", "fail", "made by BusyBox's depmod", |r| r.remove(&format!("{MODULE_DIR}/modules.dep.bin"))),
    ("module index", "fail", "depmod did not run", |r| r.write(&format!("{MODULE_DIR}/modules.dep.bin"), "others\n")),
    ("module fits", "fail", "is for 6.12.51-0-lts, and 6.12.50-0-lts runs", |r| {
        r.write_bytes(&format!("{MODULE_DIR}/extra/amneziawg.ko"), &module::amneziawg("6.12.51-0-lts").bytes())
    }),
    ("module", "fail", "amneziawg is not loaded", |r| unload(r, "amneziawg")),
    ("module", "fail", "disagrees about version of symbol", |r| {
        unload(r, "amneziawg");
        r.write("/.fakeroot/dmesg", "[ 3.1] amneziawg: disagrees about version of symbol module_layout\n");
    }),
    ("module", "fail", "another build of the module is loaded", |r| {
        r.write("/sys/module/amneziawg/srcversion", "ANOTHER\n")
    }),
    ("kernel log", "warn", "a module that was refused", |r| {
        r.write("/.fakeroot/dmesg", "[ 3.1] amneziawg: version magic '6.1' should be '6.12'\n")
    }),
    ("tun device", "warn", "there is no /dev/net/tun", |r| {
        r.remove("/dev/net/tun");
        unload(r, "tun");
        edit(r, &format!("{MODULE_DIR}/modules.dep"), "tun.ko", "other.ko");
    }),
    ("iptables tables", "fail", "not loaded: iptable_nat", |r| unload(r, "iptable_nat")),
    ("forwarding", "fail", "net.ipv4.ip_forward is 0", |r| r.write("/proc/sys/net/ipv4/ip_forward", "0\n")),
    ("forwarding", "fail", "net.ipv6.conf.all.forwarding is 0", |r| {
        r.write("/proc/sys/net/ipv6/conf/all/forwarding", "0\n")
    }),
    ("IPv6 route", "fail", "net.ipv6.conf.eth0.accept_ra is not 2", |r| {
        r.write("/proc/net/ipv6_route", ADVERTISED);
        r.write("/proc/sys/net/ipv6/conf/eth0/accept_ra", "1\n");
    }),
    ("ports", "fail", "server.port 51820 is taken", |r| {
        std::fs::remove_dir_all(r.path(CONTAINER)).expect("a container");
    }),
    ("packet filter", "fail", "AWG-PUBLISHED has 0 of", |r| r.remove("/.fakeroot/firewall")),
    ("other firewalls", "warn", "drops forwarded packets", |r| {
        r.write("/etc/runlevels/default/nftables", "");
        r.write(
            "/etc/nftables.nft",
            "table inet f { chain forward { type filter hook forward priority 0; policy drop; } }\n",
        );
    }),
    ("engine", "fail", "the container engine does not answer", |r| r.write("/var/lib/docker/spoilt", "")),
    ("image", "fail", "is not here", |r| {
        let images = std::fs::read_dir(r.path("/var/lib/docker/image")).expect("images");
        images.flatten().for_each(|image| std::fs::remove_file(image.path()).expect("a file"));
    }),
    ("container", "fail", "the container has stopped", |r| {
        r.remove(&format!("{CONTAINER}/running"));
        r.write(&format!("{CONTAINER}/stopped"), "");
    }),
    ("container", "fail", "the container's wg0 is tun, and amneziawg was wanted", |r| {
        let place = "/proc/4242/root/sys/class/net/wg0";
        r.write(&format!("{place}/uevent"), "INTERFACE=wg0\n");
        r.write(&format!("{place}/tun_flags"), "");
    }),
    ("rights", "fail", "privileged; wanted: capabilities NET_ADMIN, NET_RAW, not privileged", |r| {
        edit(r, MADE_FROM, "cap_drop: [ALL]", "privileged: true")
    }),
    ("rights", "fail", "capabilities NET_ADMIN, SYS_MODULE", |r| {
        edit(r, MADE_FROM, "cap_add: [NET_ADMIN, NET_RAW]", "cap_add: [NET_ADMIN, SYS_MODULE]")
    }),
    ("health check", "fail", "not `awg show`", |r| edit(r, MADE_FROM, "awg show wg0", "wg show")),
    ("health check", "fail", "it has none of its own", |r| edit(r, MADE_FROM, "      test: [", "      other: [")),
    ("mode", "fail", "OVERRIDE_AUTO_AWG is wg", |r| {
        edit(r, ENVIRONMENT, "OVERRIDE_AUTO_AWG='awg'", "OVERRIDE_AUTO_AWG='wg'")
    }),
    ("password", "fail", "still holds the administrator's password", |r| {
        r.write(ENVIRONMENT, &format!("{}INIT_PASSWORD='x'\n", r.read(ENVIRONMENT)))
    }),
    ("restarts", "warn", "2 times since the container was made", |r| r.write(&format!("{CONTAINER}/restarts"), "2\n")),
    ("log", "warn", "the host lacks the iptables-legacy tables", |r| {
        r.write(&format!("{CONTAINER}/log"), "can't initialize iptables table `nat': Table does not exist\n")
    }),
    ("log", "warn", "TypeError: x is undefined", |r| {
        r.write(&format!("{CONTAINER}/log"), "listening\nTypeError: x is undefined\n")
    }),
    ("MTU", "warn", "set the MTU to 1370", |r| r.write("/sys/class/net/eth0/mtu", "1450\n")),
    ("drift", "fail", "1 things differ", |r| r.write("/etc/modules-load.d/awg-install.conf", "")),
];

#[test]
fn a_host_that_is_well() {
    let root = Root::installed("");
    let ran = root.run(&["doctor"]).expect(0);
    assert!(!ran.out.contains("WARN") && !ran.out.contains("FAIL"), "{}", ran.out);
    let last = ran.out.lines().last().unwrap_or_default();
    assert!(last.contains(" checks: ") && last.contains(" 0 to look at, 0 failed, "), "{last}");
    assert_eq!(ran.out.lines().count(), 39, "one line each, and the count: {}", ran.out);
    let quiet = root.run(&["doctor", "--quiet"]).expect(0);
    assert_eq!(quiet.out.trim_end(), last);
}

#[test]
fn each_check_finds_what_it_is_for() {
    let well = Root::installed("");
    let mut wrong = Vec::new();
    for (name, state, says, happens) in CASES {
        let root = well.copy();
        happens(&root);
        let ran = root.run(&["doctor", "--output", "json"]);
        let code = ran.code;
        let check = find(&document(ran), name);
        let told = check["state"] == *state && check.to_string().contains(says);
        let explained = check["remedy"].is_string() && (check["cause"].is_string() || *name == "installation");
        if !told || !explained || check["ok"] != (*state != "fail") || (*state == "fail" && code != 10) {
            wrong.push(format!("{name}: {state}, {says:?}, code {code}: {check}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn what_needs_another_setting_or_another_program() {
    let root = Root::installed("network: {ipv6: on}\n");
    assert_eq!(check(&root, "IPv6")["state"], "warn", "no route to the internet");
    root.write("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1\n");
    assert_eq!(check(&root, "IPv6")["state"], "fail");

    let mut root = Root::installed("");
    for (proof, says) in
        [("generation", "are not of one generation"), ("packets", "no packet comes"), ("kind", "of the kind amneziawg")]
    {
        root.set("FAKE_PROOF", proof);
        root.run(&["doctor"]).expect(10).says("FAIL tunnel").says(says).says("ok   module:");
    }

    let root = Root::prepared(&[], &CONFIG_TEXT.replace("source: file\n  path: /root/amneziawg.ko", "source: image"));
    let image = "/.fakeroot/image-files/ghcr.io%wg-easy%wg-easy:15";
    root.write_bytes(&format!("{image}/lib/modules/amneziawg.ko"), &module::good().bytes());
    root.write(&format!("{image}/etc/amneziawg-kernel-version.txt"), "6.12.50\n");
    root.install().expect(0);
    root.run(&["resume"]).expect(0);
    root.run(&["doctor"]).expect(0).says("ok   version file: the image's module is for 6.12.50");
    let all = root.files_with("6.12.50");
    let kept = all.iter().find(|p| p.ends_with("contents.json")).expect("what was found in the image");
    edit(&root, kept, "\"6.12.50\"", "\"6.12.51\"");
    root.run(&["doctor"]).says("WARN version file").says("the image was made for another kernel");
}

/// One cause is told once: what follows from it is skipped, and says of what.
#[test]
fn what_follows_from_a_failure_is_skipped() {
    let root = Root::installed("");
    root.write("/var/lib/docker/spoilt", "");
    let document = document(root.run(&["doctor", "--output", "json"]).expect(10));
    for name in ["image", "container", "rights", "health check", "tunnel"] {
        let check = find(&document, name);
        assert_eq!((&check["state"], &check["evidence"]), (&"skipped".into(), &"because of `engine`".into()));
    }
    assert_eq!(document["exit_code"], 10);

    let root = Root::fresh();
    let ran = root.run(&["doctor", "--config", CONFIG]).expect(10).says("nothing was installed here");
    assert_eq!(ran.out.matches("FAIL").count(), 1, "{}", ran.out);
    assert!(ran.out.contains("ok   disk") && ran.out.contains("skip container"), "{}", ran.out);
}

#[test]
fn userspace_needs_no_module() {
    let root = Root::prepared(&[], &format!("{CONFIG_TEXT}mode: userspace\n"));
    root.install().expect(0);
    let ran = root.run(&["doctor"]).expect(0);
    assert!(ran.out.contains("skip module file: the userspace mode needs no module"), "{}", ran.out);
    root.remove("/dev/net/tun");
    unload(&root, "tun");
    let dep = format!("/lib/modules/{VIRT}/modules.dep");
    edit(&root, &dep, "tun.ko", "other.ko");
    root.run(&["doctor"]).expect(10).says("FAIL tun device").says("the userspace mode makes its interface with it");
}

/// Looking changes nothing but what the stand-ins keep of being asked.
#[test]
fn a_doctor_does_no_harm() {
    let root = Root::installed("");
    let before = root.tree();
    root.run(&["doctor"]).expect(0);
    before.without(&["/.fakeroot/commands"]).assert_same(&root.tree().without(&["/.fakeroot/commands"]), "looked at");
    let mode = std::fs::metadata(root.path(RECEIPT)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
}
