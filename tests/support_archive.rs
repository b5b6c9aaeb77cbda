//! `doctor --support-archive`: what is in it, and what must never be.

mod support;

use std::collections::BTreeMap;
use std::io::Read;

use serde_json::Value;
use support::golden::assert_golden;
use support::{CONFIG_TEXT, PASSWORD, Root};

const ARCHIVE: &str = "/root/support.tar.gz";
const CONTAINER: &str = "/var/lib/docker/containers/wg-easy";

const TOKEN: &str = "registry-token-7f3a";
const PROXY_LOGIN: &str = "proxyuser:pr0xy-pass";
const PRIVATE_KEY: &str = "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=";
const PEER: &str = "Anna's phone";
const PEER_ADDRESS: &str = "203.0.113.77";
const PEER_ADDRESS6: &str = "2001:db8:77::5";
/// None of them may be in it, in whatever notation.
const SECRETS: &[&str] = &[
    PASSWORD,
    "correct horse",
    TOKEN,
    "pr0xy-pass",
    "proxyuser",
    "ur1-pass",
    PRIVATE_KEY,
    "yAnz5TF",
    PEER,
    PEER_ADDRESS,
    PEER_ADDRESS6,
    "vpn.example.org",
];

/// An installed host with every secret wherever it might come to lie.
fn planted() -> Root {
    let mut root = Root::prepared(
        &[],
        &format!("{CONFIG_TEXT}container:\n  registry: {{username: robot, password_file: /root/token}}\n"),
    );
    root.write("/root/token", TOKEN);
    root.install().expect(0);
    root.run(&["resume"]).expect(0);
    root.set("HTTPS_PROXY", &format!("http://{PROXY_LOGIN}@proxy.example:3128"));
    root.set("AWG_CONTAINER_REGISTRY_PASSWORD", TOKEN);
    // One a line: where a key names a secret, the rest of its line goes as well.
    let lines = [
        format!("password {PASSWORD}"),
        format!("token={TOKEN}"),
        format!("proxy http://{PROXY_LOGIN}@proxy.example:3128/ url https://me:ur1-pass@h/x"),
        format!("key {PRIVATE_KEY} PrivateKey={PRIVATE_KEY} host vpn.example.org"),
        format!("peer {PEER} at {PEER_ADDRESS}:40123 [{PEER_ADDRESS6}]:1"),
        format!("said {PASSWORD} {TOKEN} {PROXY_LOGIN}"),
    ];
    let (everything, comments) = (lines.join("\n"), lines.map(|l| format!("# {l}")).join("\n"));
    let append = |path: &str, text: &str| {
        let before = if root.exists(path) { root.read(path) } else { String::new() };
        root.write(path, &format!("{before}{text}\n"));
    };
    append("/opt/wg-easy/data/wg0.conf", &format!("\n# Client: {PEER} (1)\n[Peer]\nPublicKey = {PRIVATE_KEY}"));
    append("/opt/wg-easy/wg-easy.env", &format!("INIT_PASSWORD='{PASSWORD}'"));
    append("/opt/wg-easy/compose.yaml", &comments);
    append("/opt/wg-easy/start.sh", &comments);
    append(
        &format!("{CONTAINER}/env"),
        &format!("INIT_PASSWORD='{PASSWORD}'\nNOTE='{}'", everything.replace('\n', " ")),
    );
    append(&format!("{CONTAINER}/log"), &everything);
    append(
        "/var/log/awg-install.log",
        &serde_json::json!({"type": "note", "text": everything, "password": PASSWORD}).to_string(),
    );
    append("/var/log/awg-install.log", &everything);
    append("/var/log/awg-install.console", &everything);
    append("/proc/cmdline", &format!("root=/dev/vda1 {everything}"));
    append(
        "/.fakeroot/dmesg",
        &format!("[ 1.0] amneziawg: wg0: Receiving handshake from {PEER_ADDRESS}:40123\n[ 1.1] eth0: other"),
    );
    let mut receipt = root.json("/var/lib/awg-install/receipt.json");
    receipt["summary"] = everything.clone().into();
    root.write("/var/lib/awg-install/receipt.json", &receipt.to_string());
    root
}

/// Name, mode and text of every file in it.
fn unpacked(root: &Root) -> BTreeMap<String, (u32, String)> {
    let bytes = root.read_bytes(ARCHIVE);
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(&bytes[..]));
    let one = |entry: std::io::Result<tar::Entry<_>>| {
        let mut entry: tar::Entry<flate2::read::GzDecoder<&[u8]>> = entry.expect("an entry");
        let path = entry.path().expect("a path").display().to_string();
        let mode = entry.header().mode().expect("a mode");
        let mut text = String::new();
        entry.read_to_string(&mut text).expect("text");
        (path, (mode, text))
    };
    archive.entries().expect("an archive").map(one).collect()
}

#[test]
fn no_secret_is_in_it() {
    let root = planted();
    let ran = root.run(&["doctor", "--support-archive", ARCHIVE]);
    assert_eq!(ran.code, 10, "what was planted is drift: {}{}", ran.out, ran.err);
    assert_eq!(root.mode(ARCHIVE), 0o600);
    let files = unpacked(&root);
    for (path, (mode, text)) in &files {
        assert_eq!(*mode, 0o600, "{path}");
        for secret in SECRETS {
            let line = text.lines().find(|l| l.contains(secret)).unwrap_or_default();
            assert!(!text.contains(secret), "{path} holds {secret:?}: {line}");
        }
        let assigned = text.replace("INIT_PASSWORD=[redacted]", "");
        assert!(!assigned.contains("INIT_PASSWORD="), "{path}: only the names of the environment");
    }
    // What was searched is really there.
    let text = |path: &str| &files[path].1;
    assert!(text("container/log.txt").contains("peer PEER at x.x.x.x:40123"), "{}", text("container/log.txt"));
    assert!(text("host/dmesg").contains("Receiving handshake from x.x.x.x") && !text("host/dmesg").contains("eth0"));
    assert!(text("log.jsonl").contains("\"password\":\"[redacted]\""), "{}", text("log.jsonl"));
    assert!(text("log.jsonl").lines().all(|l| serde_json::from_str::<Value>(l).is_ok()));
    assert!(text("container/inspect.json").contains("\"INIT_PASSWORD\""), "{}", text("container/inspect.json"));
    assert!(text("config.yaml").contains("host: SERVER"), "{}", text("config.yaml"));
    assert!(text("container/compose.yaml").contains("max-size"), "{}", text("container/compose.yaml"));
    for path in ["doctor.json", "status.json", "plan.json", "receipt.json", "container/inspect.json", "manifest.json"] {
        serde_json::from_str::<Value>(text(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
    }
}

#[test]
fn what_is_in_it_is_listed_and_so_is_what_is_not() {
    let root = planted();
    let ran = root.run(&["doctor", "--support-archive", ARCHIVE, "--output", "json"]);
    let document: Value = serde_json::from_str(&ran.out).expect("one document");
    let files = unpacked(&root);
    let manifest: Value = serde_json::from_str(&files["manifest.json"].1).expect("JSON");
    assert_eq!(document["support_archive"]["files"], manifest["files"]);
    let listed: Vec<&str> = manifest["files"].as_array().unwrap().iter().filter_map(|f| f["path"].as_str()).collect();
    let mut there: Vec<&str> = files.keys().map(String::as_str).filter(|p| *p != "manifest.json").collect();
    there.sort_by_key(|path| listed.iter().position(|l| l == path));
    assert_eq!(listed, there);
    for file in manifest["files"].as_array().unwrap() {
        let text = &files[file["path"].as_str().unwrap()].1;
        assert_eq!(file["size"], text.len());
        assert_eq!(file["sha256"], awg_install::host::files::sha256(text.as_bytes()));
    }
    let mut contents = listed.iter().map(|path| format!("{path}\n")).collect::<String>();
    for missing in manifest["missing"].as_array().unwrap() {
        let (path, why) = (missing["path"].as_str().unwrap(), missing["why"].as_str().unwrap());
        contents.push_str(&format!("not {path}: {}\n", why.replace(&root.dir().display().to_string(), "")));
    }
    assert_golden("tests/contract/support-archive.txt", &contents);
}

#[test]
fn a_file_that_is_there_is_not_touched() {
    let root = Root::fresh();
    root.write(ARCHIVE, "mine");
    let config = support::CONFIG;
    root.run(&["doctor", "--config", config, "--support-archive", ARCHIVE]).expect(2).says("is there already");
    assert_eq!(root.read(ARCHIVE), "mine");
    root.remove(ARCHIVE);
    std::os::unix::fs::symlink("/nowhere", root.path(ARCHIVE)).unwrap();
    root.run(&["doctor", "--config", config, "--support-archive", ARCHIVE]).expect(2).says("is there already");
    root.remove(ARCHIVE);
    root.run(&["doctor", "--dry-run", "--support-archive", ARCHIVE]).expect(2);
    // A host where nothing was installed has something to tell as well.
    root.run(&["doctor", "--config", config, "--support-archive", ARCHIVE])
        .expect(10)
        .says("nothing was installed here");
    let files = unpacked(&root);
    assert!(files.contains_key("doctor.txt") && files["manifest.json"].1.contains("nothing was installed here"));
    assert!(!root.exists(&format!("{ARCHIVE}.part")));
    root.run(&["doctor", "--config", config, "--support-archive", "/nowhere/a.tar.gz"])
        .expect(2)
        .says("there is no such directory");
    std::fs::set_permissions(root.path("/tmp"), std::os::unix::fs::PermissionsExt::from_mode(0o1777)).unwrap();
    root.run(&["doctor", "--config", config, "--support-archive", "/tmp/a.tar.gz"])
        .expect(4)
        .says("others than root can write there");
}

/// Where the names of peers cannot be known, what may hold them stays out.
#[test]
fn without_the_names_of_peers_there_is_no_log_of_the_container() {
    let root = planted();
    root.remove("/opt/wg-easy/data/wg0.conf");
    let said = "an error: something has failed for somebody\n";
    root.write(&format!("{CONTAINER}/log"), said);
    root.write("/var/log/awg-install.console", said);
    root.run(&["doctor", "--support-archive", ARCHIVE]).says("something has failed for somebody");
    let files = unpacked(&root);
    assert!(!files.contains_key("container/log.txt") && !files.contains_key("console.log"));
    for (path, (_, text)) in &files {
        // The line that the check `log` quotes at a terminal.
        assert!(!text.contains("something has failed for"), "{path}: {text}");
    }
    assert!(files["manifest.json"].1.contains("names of peers may be in it"));
}
