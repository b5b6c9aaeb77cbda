//! `/var/log/awg-install.log`: every command with its time and end, nothing that could endanger anybody.

mod support;

use std::collections::BTreeSet;

use serde_json::Value;
use support::{CONFIG_TEXT, PASSWORD, Root};

const LOG: &str = "/var/log/awg-install.log";
const KEY: &str = "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=";

/// What an event may tell, whatever its kind.
const FIELDS: &[&str] = &[
    "address",
    "cause",
    "command",
    "cpu_ms",
    "detached",
    "exit",
    "exit_code",
    "handshake",
    "image",
    "interface",
    "issuer",
    "message",
    "method",
    "ms",
    "name",
    "number",
    "outcome",
    "page",
    "path",
    "peak_memory_kib",
    "plan",
    "port",
    "problem",
    "release",
    "remedy",
    "srcversion",
    "status",
    "step",
    "summary",
    "text",
    "timed_out",
    "total",
    "trusted",
    "ts",
    "type",
    "udp_port",
    "url",
    "v",
    "web_status",
    "what",
];

fn events(root: &Root) -> Vec<Value> {
    let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    root.read(LOG).lines().map(parse).collect()
}

#[test]
fn every_command_is_in_it() {
    let root = Root::fresh();
    root.install().expect(0);
    root.run(&["resume"]).expect(0);
    assert_eq!(root.mode(LOG), 0o600);
    let events = events(&root);
    let of = |kind: &str| events.iter().filter(|e| e["type"] == kind).collect::<Vec<_>>();
    for command in of("command") {
        let complete = command["ts"].is_string() && command["command"].is_string();
        let ended = command["exit"].is_i64() && command["ms"].is_u64() && command["timed_out"].is_boolean();
        assert!(complete && (ended || command["detached"] == true), "{command}");
    }
    let logged: BTreeSet<String> =
        of("command").iter().filter_map(|c| Some(c["command"].as_str()?.split(' ').next()?.to_string())).collect();
    for program in ["apk", "docker", "extlinux", "depmod", "rc-service"] {
        assert!(logged.contains(program), "{program}: {logged:?}");
    }
    let run = root.commands().iter().filter(|c| c.starts_with("apk ")).count();
    let told = of("command").iter().filter(|c| c["command"].as_str().is_some_and(|c| c.starts_with("apk "))).count();
    assert_eq!(run, told, "each one");
    assert_eq!(of("exit").len(), 2);
    assert!(of("exit").iter().all(|e| e["cpu_ms"].is_u64() && e["peak_memory_kib"].as_u64() > Some(0)));
    for event in &events {
        let keys: Vec<&String> = event.as_object().expect("an object").keys().collect();
        assert!(keys.iter().all(|k| FIELDS.contains(&k.as_str())), "{keys:?}");
    }
    assert!(!root.read(LOG).contains(PASSWORD));
}

/// A container that fails is quoted at the terminal, and not in the log.
#[test]
fn peers_are_not_in_it() {
    let mut root = Root::prepared(&[], &format!("{CONFIG_TEXT}mode: userspace\n"));
    root.set("FAKE_LOG", &format!("Anna's phone {KEY} at 203.0.113.77:40123 and 2001:db8:77::5"));
    root.set("FAKE_EXITS", "1");
    root.install().expect(6).says("203.0.113.77").says("Anna's phone");
    let log = root.read(LOG);
    for word in ["Anna", "yAnz5TF", "203.0.113.77", "2001:db8:77"] {
        assert!(!log.contains(word), "{word}: {log}");
    }
    let error = events(&root).into_iter().find(|e| e["type"] == "error").expect("the failure");
    let cause = error["cause"].as_str().unwrap_or_default();
    assert!(
        cause.contains("seen: restarting") && cause.ends_with("last lines of the container: (not kept here)"),
        "{cause}"
    );
}

#[test]
fn credentials_in_addresses_are_not_in_it() {
    let root = Root::fresh();
    let url = "module:\n  source: url\n  url: https://me:ur1-pass@127.0.0.1:9/amneziawg.ko\n  sha256: ";
    let config = CONFIG_TEXT.split("module:").next().unwrap().to_string() + url + &"0".repeat(64) + "\n";
    root.write(support::CONFIG, &config);
    let ran = root.install();
    assert_ne!(ran.code, 0, "{ran:?}");
    assert!(!root.exists(LOG) || !root.read(LOG).contains("ur1-pass"));
}

#[test]
fn it_does_not_grow_for_ever() {
    let root = Root::fresh();
    let line = "{\"type\":\"note\",\"text\":\"old\"}\n";
    root.write(LOG, &line.repeat((1 << 20) / line.len() + 1));
    root.install().expect(0);
    assert!(root.read(&format!("{LOG}.1")).starts_with(line));
    assert!(!root.read(LOG).contains("\"old\""), "a new one was begun");
    assert_eq!(root.mode(LOG), 0o600);
}
