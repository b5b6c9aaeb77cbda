//! Bad input: one clear error each, with the right exit code, the key, and a host left alone.

mod support;

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use support::{CONFIG, CONFIG_TEXT, PASSWORD_FILE, Root};

/// Runs an installation that must be refused and must leave no trace but the log and the lock.
#[track_caller]
fn refused(root: &Root, args: &[&str], code: i32, said: &[&str]) {
    let ignored = ["/.fakeroot/commands", "/run/awg-install.lock", "/var/log/awg-install.log"];
    let before = root.tree().without(&ignored);
    let mut ran = root.run(&[&["--unattended", "--config", CONFIG], args].concat()).expect(code);
    for text in said {
        ran = ran.says(text);
    }
    assert!(ran.err.lines().filter(|l| l.starts_with("error:")).count() == 1, "one error: {}", ran.err);
    assert!(!ran.err.contains("panicked"), "{}", ran.err);
    before.assert_same(&root.tree().without(&ignored), "a refused run");
}

#[test]
fn wrong_values_name_the_key() {
    let server = |line: &str| CONFIG_TEXT.replace("module:", &format!("  {line}\nmodule:"));
    for (config, said) in [
        (format!("{CONFIG_TEXT}servr:\n  port: 1\n"), vec!["servr", "server"]),
        (server("prot: 51820"), vec!["server.prot", "server.port"]),
        (server("port: 0"), vec!["server.port"]),
        (server("port: 70000"), vec!["server.port", "70000"]),
        (server("web_port: -1"), vec!["server.web_port"]),
        (server("port: many"), vec!["server.port"]),
        (server("ipv4_cidr: 10.8.0.0/33\n  ipv6_cidr: fd00::/64"), vec!["server.ipv4_cidr"]),
        (server("ipv4_cidr: 10.8.0.0/24"), vec!["server.ipv6_cidr"]),
        (server("dns: [1.1.1.1.1]"), vec!["server.dns"]),
        (format!("mode: turbo\n{CONFIG_TEXT}"), vec!["mode", "turbo"]),
        (format!("fallback: wireguard\n{CONFIG_TEXT}"), vec!["fallback", "accept_plain_wireguard"]),
        (format!("kernel:\n  release: 6.12\n{CONFIG_TEXT}"), vec!["kernel.release"]),
        ("- a\n- list\n".into(), vec!["mapping"]),
        ("server: [unclosed\n".into(), vec!["awg.yaml"]),
    ] {
        let root = Root::bare(&[]);
        root.write(PASSWORD_FILE, "long enough to pass\n");
        root.write(CONFIG, &config);
        refused(&root, &[], 3, &said);
    }
}

#[test]
fn passwords_that_are_missing_or_bad() {
    let config = CONFIG_TEXT.replace("  password_file: /root/password\n", "");
    let root = Root::prepared(&[], &config);
    refused(&root, &[], 3, &["server.password", "server.password_file"]);

    let root = Root::fresh();
    root.write(PASSWORD_FILE, "short\n");
    refused(&root, &[], 3, &["password", "at least 12"]);
    root.write(PASSWORD_FILE, "two lines of\na password\n");
    refused(&root, &[], 3, &["password", "control character"]);
    root.remove(PASSWORD_FILE);
    refused(&root, &[], 3, &["server.password_file", PASSWORD_FILE]);

    let ran = root.run(&["--unattended", "--server-password", "visible to everybody"]).expect(2);
    assert!(!ran.err.contains("visible to everybody"));
}

#[test]
fn files_that_cannot_be_read() {
    let root = Root::fresh();
    root.remove(support::MODULE);
    refused(&root, &[], 3, &["module.path", support::MODULE]);
    root.remove(CONFIG);
    refused(&root, &[], 3, &["--config", CONFIG, "No such file"]);
    let missing = std::env::temp_dir().join("no-such-root");
    let ran = Command::new(support::program()).arg("--root").arg(&missing).arg("plan").output().unwrap();
    assert_eq!(ran.status.code(), Some(2));
}

#[test]
fn ports_that_are_taken() {
    let root = Root::fresh();
    let row = "00000000:00000000 00:00000000 00000000     0        0 21034 2 0000000000000000 0";
    let table = root.read("/proc/net/udp");
    root.write("/proc/net/udp", &format!("{table}  1: 00000000:CA6C 00000000:0000 07 {row}\n"));
    refused(&root, &[], 4, &["server.port 51820 is taken", "free port"]);
    root.run(&["plan", "--config", CONFIG, "--server-port", "51999"]).expect(0);

    let root = Root::fresh();
    let table = root.read("/proc/net/tcp");
    root.write("/proc/net/tcp", &format!("{table}  1: 00000000:CA6D 00000000:0000 0A {row}\n"));
    // Nothing is published by default.
    root.run(&["plan", "--config", CONFIG]).expect(0);
    refused(&root, &["--server-web", "public"], 4, &["server.web_port 51821 is taken"]);
}

#[test]
fn hosts_that_cannot_do_it() {
    let root = Root::prepared(&["--debian"], CONFIG_TEXT);
    root.remove("/.fakeroot/bin/docker");
    root.remove("/.fakeroot/bin/engine-get");
    refused(&root, &[], 4, &["no container engine", "install docker"]);

    let root = Root::fresh();
    root.write("/proc/sys/kernel/arch", "riscv64\n");
    root.write(
        CONFIG,
        &CONFIG_TEXT.replace("module:\n  source: file\n  path: /root/amneziawg.ko\n", "mode: userspace\n"),
    );
    refused(&root, &[], 4, &["riscv64"]);

    // `apk upgrade` replaced the running kernel's package, and nobody restarted.
    let root = Root::fresh();
    root.write("/usr/share/kernel/virt/kernel.release", "6.12.51-0-virt\n");
    refused(&root, &[], 4, &["its modules are gone", "6.12.51-0-virt", "restart the host"]);

    let root = Root::fresh();
    root.write("/.fakeroot/free_mib", "300\n");
    refused(&root, &[], 4, &["300 MiB free"]);

    let root = Root::fresh();
    root.write("/proc/1/environ", "container=lxc\0");
    root.remove("/dev/net/tun");
    refused(&root, &[], 4, &["/dev/net/tun"]);

    let mut root = Root::fresh();
    root.set("FAKE_NO_MIRROR", "1");
    root.write("/.fakeroot/offered", "");
    refused(&root, &[], 4, &["docker", "/etc/apk/repositories"]);
}

#[test]
fn another_run_holds_the_lock() {
    use nix::fcntl::{Flock, FlockArg};
    let root = Root::fresh();
    root.write("/run/awg-install.lock", "");
    let file = std::fs::File::open(root.path("/run/awg-install.lock")).unwrap();
    let held = Flock::lock(file, FlockArg::LockExclusive).expect("the lock");
    refused(&root, &[], 9, &["another run"]);
    root.run(&["resume"]).expect(9);
    root.run(&["rollback"]).expect(9);
    root.run(&["plan", "--config", CONFIG]).expect(0);
    drop(held);
    root.install().expect(0);
}

#[test]
fn questions_need_a_terminal() {
    let root = Root::fresh();
    root.run(&["install", "--config", CONFIG]).expect(2).says("--unattended");
    root.run(&["install", "--nonsense"]).expect(2);
    root.run(&["status", "--server-port", "1"]).expect(2);
    assert!(!root.exists("/var/lib/awg-install"));
}

/// On the machine itself: refused before anything is looked at.
#[test]
fn only_root_may_install() {
    let place = std::env::temp_dir().join(format!("awg-install-nobody-{}", std::process::id()));
    std::fs::copy(support::program(), &place).unwrap();
    std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o755)).unwrap();
    for args in [vec!["--unattended"], vec!["resume"], vec!["rollback"]] {
        let mut command = Command::new(&place);
        command.args(&args).env_clear().current_dir("/");
        if nix::unistd::geteuid().is_root() {
            command.uid(65534).gid(65534);
        }
        let ran = command.output().unwrap();
        let err = String::from_utf8_lossy(&ran.stderr);
        assert_eq!(ran.status.code(), Some(4), "{args:?}: {err}");
        assert!(err.contains("must run as root"), "{err}");
    }
    std::fs::remove_file(place).unwrap();
}
