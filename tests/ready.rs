//! A container that is not what was asked for: what was seen, the likely cause, what to do, in words of its own.

mod support;

use support::{PASSWORD, Ran, Root};

const USERSPACE: &str =
    "mode: userspace\nserver:\n  host: vpn.example.org\n  username: admin\n  password_file: /root/password\n";

/// Installs in userspace mode with these knobs; the installation must fail.
#[track_caller]
fn failed(knobs: &[(&str, &str)]) -> (Root, Ran) {
    let mut root = Root::prepared(&[], USERSPACE);
    for (name, value) in knobs {
        root.set(name, value);
    }
    let ran = root.install().expect(6);
    assert!(!ran.err.contains(PASSWORD) && !ran.out.contains(PASSWORD), "{}", ran.err);
    (root, ran)
}

#[test]
fn each_part_that_is_missing_has_words_of_its_own() {
    for (knobs, said) in [
        (
            [("FAKE_NO_INTERFACE", "1"), ("FAKE_HEALTH_SAYS", "Unable to access interface: No such device")],
            ["has no interface wg0", "the health check says: Unable to access interface", "wg0 absent; UDP port bound"],
        ),
        (
            [("FAKE_KIND", "amneziawg"), ("", "")],
            ["wg0 is amneziawg, and tun was wanted", "modprobe -r amneziawg", "health healthy; wg0 amneziawg"],
        ),
        (
            [("FAKE_KIND", "wireguard"), ("", "")],
            ["wg0 is wireguard, and tun was wanted", "OVERRIDE_AUTO_AWG has another value", "wg0 wireguard"],
        ),
        (
            [("FAKE_NO_UDP", "1"), ("", "")],
            [
                "nothing in the container listens on UDP port 51820",
                "INIT_PORT counts at the first start",
                "UDP port not bound",
            ],
        ),
        (
            [("FAKE_UNHEALTHY", "tun"), ("", "")],
            ["the container's health check fails (unhealthy)", "does not see wg0", "health unhealthy"],
        ),
    ] {
        let (_, ran) = failed(&knobs);
        said.iter()
            .fold(ran, |ran, text| ran.says(text))
            .says("last lines of the container:\n            $ awg-quick up wg0");
    }
}

#[test]
fn a_page_that_does_not_answer_ends_the_first_start() {
    let (root, ran) = failed(&[("FAKE_NO_WEB", "1")]);
    ran.says("the web page does not answer on port 51821").says("web page: no answer");
    root.run(&["status"]).expect(6);
    // The settings of the first start are still needed.
    assert!(root.read("/opt/wg-easy/wg-easy.env").contains("INIT_PASSWORD"));
}

#[test]
fn a_restart_loop_is_called_one_and_ended() {
    let (root, ran) = failed(&[("FAKE_EXITS", "1"), ("FAKE_LOG", "Error: ENOSPC: no space left on device, write")]);
    ran.says("the container restarts again and again (5 times)")
        .says("likely: the disk is full")
        .says("its last exit: code 1")
        .says("wg-easy is stopped now");
    assert!(root.commands().iter().any(|c| c == "docker stop wg-easy"));
    // It is started again by the next run, which goes on.
    let mut root = root;
    root.unset("FAKE_EXITS");
    root.unset("FAKE_LOG");
    root.install().expect(0).says("wg0 is tun");
}

#[test]
fn exit_codes_that_tell() {
    for (exits, said) in [
        ("137 oom", "likely: it is killed for want of memory"),
        ("137", "likely: it is killed from outside (SIGKILL)"),
        ("139", "likely: it crashes (segmentation fault)"),
        ("127", "likely: its program is missing"),
    ] {
        failed(&[("FAKE_EXITS", exits)]).1.says("again and again").says(said);
    }
    failed(&[("FAKE_EXITS", "255"), ("FAKE_LOG", "exec /usr/bin/dumb-init: exec format error")])
        .1
        .says("made for another architecture");
}

#[test]
fn a_container_that_cannot_start() {
    for (says, cause, remedy) in [
        (
            "driver failed programming external connectivity on endpoint wg-easy (7a): failed to bind host port for \
             0.0.0.0:51820:10.42.42.42:51820/udp: address already in use",
            "likely: another program on the host has the port",
            "set server.port",
        ),
        (
            "error gathering device information while adding custom device \"/dev/net/tun\": no such file or directory",
            "likely: the host has no /dev/net/tun",
            "modprobe tun",
        ),
        ("something nobody has seen", "something nobody has seen", "names the cause"),
    ] {
        failed(&[("FAKE_NOT_STARTED", says)]).1.says("creating the container failed").says(cause).says(remedy);
    }
}

#[test]
fn the_tables_that_the_image_needs() {
    let mut root = Root::prepared(&[], USERSPACE);
    root.set("FAKE_LOG", "iptables v1.8.10 (legacy): can't initialize iptables table `nat': Table does not exist");
    root.set("FAKE_EXITS", "1");
    root.install()
        .expect(6)
        .says("likely: the host lacks the iptables-legacy tables")
        .says("modprobe -a ip_tables iptable_nat");
}

#[test]
fn a_line_with_the_password_is_left_out() {
    let (root, ran) =
        failed(&[("FAKE_EXITS", "1"), ("FAKE_LOG", "INIT_PASSWORD is correct horse battery 42, said a debug line")]);
    ran.says("(a line with the password is left out)");
    assert!(!root.read("/var/log/awg-install.log").contains(PASSWORD));
}

#[test]
fn a_log_that_cannot_be_read_is_said() {
    failed(&[("FAKE_EXITS", "1"), ("FAKE_FAIL", "docker logs*")])
        .1
        .says("what the container has said cannot be read: docker: failed because FAKE_FAIL asks for it")
        .says("its last exit: code 1");
}

#[test]
fn looking_changes_nothing() {
    let mut root = Root::prepared(&[], USERSPACE);
    root.install().expect(0);
    root.set("FAKE_EXITS", "1");
    root.reboot();
    root.forget_commands();
    let ran = root.run(&["doctor"]);
    ran.says("the container restarts again and again");
    assert!(!root.commands().iter().any(|c| c.starts_with("docker stop")), "{:?}", root.commands());
}
