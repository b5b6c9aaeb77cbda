//! Backups, on a prepared root with a running server.

mod support;

use std::io::Read;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::process::{Command, Stdio};

use awg_install::host::files::sha256;
use flate2::read::GzDecoder;
use serde_json::{Value, json};
use support::backups::{BACKUPS, DATA, DATABASE, NEW, OLD, backup, each_kill, goes_on, names};
use support::{CONFIG, CONFIG_TEXT, PASSWORD, Root, program};

/// Made by age-keygen.
const IDENTITY: &str = "AGE-SECRET-KEY-197RF39YV5FSGNM4J0Y3KF6MCEE5DN9ZRJX0G2DYNK7WA9NRFFE3Q5KRAUS";
const RECIPIENT: &str = "age19t86x9cy6ygxmfksfkklxarw8xy99cheuj9eaqe5v59t0nvzgukse4vvg6";
const OTHER_IDENTITY: &str = "AGE-SECRET-KEY-1S52LSK2YTS2882XFEA87RSE2QTNR6F8PYAWPK8ZWATDXXDF04D2QQUQMG5";

#[test]
fn what_is_in_a_backup() {
    let root = Root::installed("");
    root.write(&format!("{DATABASE}-wal"), "the log");
    root.write(&format!("{DATABASE}-shm"), "the index");
    root.write("/opt/wg-easy/data/hooks/up.sh", "echo up\n");
    std::fs::set_permissions(root.path("/opt/wg-easy/data/hooks/up.sh"), PermissionsExt::from_mode(0o750)).unwrap();
    root.forget_commands();
    let made = backup(&root, &[]);

    let file = made["file"].as_str().unwrap();
    assert!(file.starts_with(&format!("{BACKUPS}/wg-easy-20")) && file.ends_with(".tar.gz"), "{file}");
    assert_eq!((root.mode(file), root.mode(BACKUPS)), (0o600, 0o700));
    let bytes = root.read_bytes(file);
    assert_eq!((made["size"].as_u64(), made["sha256"].as_str()), (Some(bytes.len() as u64), Some(&*sha256(&bytes))));
    let (list, files) = unpacked(&bytes);
    let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    let wanted = [
        "manifest.json",
        "compose.yaml",
        "wg-easy.env",
        "data/hooks/up.sh",
        "data/wg-easy.db",
        "data/wg-easy.db-wal",
        "data/wg0.conf",
    ];
    assert_eq!(names, wanted);
    for (name, content) in &files[1..] {
        let listed =
            list["files"].as_array().unwrap().iter().find(|f| f["path"] == **name).expect("a file that is listed");
        assert_eq!(
            (listed["size"].as_u64(), listed["sha256"].as_str()),
            (Some(content.len() as u64), Some(&*sha256(content)))
        );
    }
    assert_eq!(
        (&list["schema"], &list["mode"], &list["directory"]),
        (&json!(1), &json!("kernel"), &json!("/opt/wg-easy"))
    );
    assert!(list["image"]["digest"].as_str().unwrap().contains("wg-easy@sha256:"), "{list:#}");
    assert_eq!(
        list["directories"],
        json!([{"path": "data/hooks", "mode": 0o755, "uid": uid(&root), "gid": gid(&root)}])
    );
    assert_eq!(list["files"][2]["mode"], 0o750);
    assert_eq!(list["left_out"], json!([{"path": "data/wg-easy.db-shm", "why": "made anew by SQLite"}]));

    // Frozen for the copy alone, and it goes on.
    let posts: Vec<String> = root.commands().into_iter().filter(|c| c.starts_with("engine-post")).collect();
    assert_eq!(posts, ["engine-post /containers/wg-easy/pause", "engine-post /containers/wg-easy/unpause"]);
    goes_on(&root);
    assert_eq!(root.files_with(PASSWORD), ["/root/password"]);
    root.run(&["backup"]).expect(0).says("the container stood still for").says("private key of every client");
}

#[test]
fn a_password_in_the_environment_is_not_taken_along() {
    let root = Root::installed("");
    let env = root.read("/opt/wg-easy/wg-easy.env");
    root.write("/opt/wg-easy/wg-easy.env", &format!("{env}INIT_PASSWORD='{PASSWORD}'\n"));
    let made = backup(&root, &[]);
    let (_, files) = unpacked(&root.read_bytes(made["file"].as_str().unwrap()));
    let kept = &files.iter().find(|(name, _)| name == "wg-easy.env").unwrap().1;
    assert_eq!(String::from_utf8_lossy(kept), env);
}

/// Whoever is root in the container writes what it likes into the data.
#[test]
fn no_link_is_followed() {
    let root = Root::installed("");
    root.write("/etc/shadow", "root:a secret of the host\n");
    root.write("/etc/secret/key", "another secret of the host\n");
    for (link, target) in [("evil", "/etc/shadow"), ("evil-dir", "/etc/secret"), ("hooks/up", "../../../../etc/shadow")]
    {
        let place = root.path(&format!("{DATA}/{link}"));
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        // As the host would follow it, and as the test's own machine would.
        let target = target.strip_prefix('/').map_or(target.to_string(), |t| root.path(t).display().to_string());
        symlink(target, place).unwrap();
    }
    symlink(root.path("/etc/shadow"), root.path(&format!("{DATA}/wg1.conf"))).unwrap();
    nix::unistd::mkfifo(&root.path(&format!("{DATA}/pipe")), nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(std::fs::metadata(root.path(&format!("{DATA}/pipe"))).unwrap().file_type().is_fifo());
    let socket = std::os::unix::net::UnixListener::bind(root.path(&format!("{DATA}/s"))).unwrap();

    let made = backup(&root, &[]);
    drop(socket);
    let left: Vec<(&str, &str)> = made["left_out"]
        .as_array()
        .unwrap()
        .iter()
        .map(|l| (l["path"].as_str().unwrap(), l["why"].as_str().unwrap()))
        .collect();
    let wanted = [
        ("data/evil", "a link"),
        ("data/evil-dir", "a link"),
        ("data/hooks/up", "a link"),
        ("data/pipe", "a pipe"),
        ("data/s", "a socket"),
        ("data/wg1.conf", "a link"),
    ];
    assert_eq!(left, wanted);
    let (_, files) = unpacked(&root.read_bytes(made["file"].as_str().unwrap()));
    for (name, content) in files {
        assert!(!String::from_utf8_lossy(&content).contains("secret of the host"), "{name}");
    }
}

#[test]
fn the_oldest_go_and_nothing_else() {
    let root = Root::installed("backup: {keep: 2}\n");
    let old =
        ["wg-easy-20200101-000000.tar.gz", "wg-easy-20200101-000000-2.tar.gz.age", "wg-easy-20210101-000000.tar.gz"];
    let others = ["wg-easy.tar.gz", "notes", "wg-easy-20200101-000000.tar.gz.sig", "wg-easy-2020.tar.gz"];
    for name in old.iter().chain(&others) {
        root.write(&format!("{BACKUPS}/{name}"), "x");
    }
    // Left by a run that was cut off.
    root.write(&format!("{BACKUPS}/wg-easy-20200101-000000.tar.gz.part"), "x");
    std::fs::set_permissions(root.path(BACKUPS), PermissionsExt::from_mode(0o700)).unwrap();
    let made = backup(&root, &[]);
    let removed: Vec<String> = old[..2].iter().map(|n| format!("{BACKUPS}/{n}")).collect();
    assert_eq!(made["removed"], json!(removed));
    let own = made["file"].as_str().unwrap().rsplit('/').next().unwrap();
    let mut left: Vec<&str> = others.iter().copied().chain([old[2], own]).collect();
    left.sort_unstable();
    assert_eq!(names(&root, BACKUPS), left);
    // Two in one second have different names; the one just made stays, whatever the clock says.
    root.write(&format!("{BACKUPS}/wg-easy-29990101-000000.tar.gz"), "x");
    root.write(&format!("{BACKUPS}/wg-easy-29990101-000001.tar.gz"), "x");
    let second = backup(&root, &[]);
    assert!(root.exists(second["file"].as_str().unwrap()) && second["file"] != made["file"]);
}

#[test]
fn where_a_backup_may_lie() {
    let root = Root::installed("");
    root.write("/srv/open/x", "");
    std::fs::set_permissions(root.path("/srv/open"), PermissionsExt::from_mode(0o1777)).unwrap();
    root.run(&["backup", "--to", "/srv/open/b.tar.gz"]).expect(4).says("others than root can write there");
    std::fs::set_permissions(root.path("/srv/open"), PermissionsExt::from_mode(0o700)).unwrap();
    let made = backup(&root, &["--to", "/srv/open/b.tar.gz"]);
    assert_eq!((made["file"].as_str(), root.mode("/srv/open/b.tar.gz")), (Some("/srv/open/b.tar.gz"), 0o600));
    root.run(&["backup", "--to", "/srv/open/b.tar.gz"]).expect(2).says("is there already");
    root.run(&["backup", "--to", "/srv/absent/b.tar.gz"]).expect(2).says("no such directory");
    root.write("/.fakeroot/free_mib", "3");
    root.run(&["backup"]).expect(4).says("no room for a backup");
    assert!(!root.exists(BACKUPS) || names(&root, BACKUPS).is_empty());
    goes_on(&root);
    let bare = Root::fresh();
    bare.run(&["backup", "--yes"]).expect(4).says("no server's data to back up");
}

#[test]
fn a_container_that_does_not_run() {
    let root = Root::installed("");
    docker(&root, &["stop"]);
    let made = backup(&root, &[]);
    assert_eq!(made["stood_still_ms"], 0);
    assert!(!root.exists("/var/lib/docker/containers/wg-easy/running"), "it is not started");
    // One that crashes again and again is stopped for the copy.
    let looping = Root::installed("");
    looping.write(DATABASE, "BROKEN\n");
    docker(&looping, &["stop"]);
    docker(&looping, &["start"]);
    looping.forget_commands();
    backup(&looping, &[]);
    let posts: Vec<String> = looping.commands().into_iter().filter(|c| c.starts_with("engine-post")).collect();
    assert_eq!(posts, ["engine-post /containers/wg-easy/stop", "engine-post /containers/wg-easy/start"]);
}

/// The first signal lets the container go on at once.
#[test]
fn stopped_while_the_container_stands_still() {
    let mut root = Root::installed("");
    root.set("FAKE_SLOW", "*/pause");
    let child = Command::new(program())
        .arg("--root")
        .arg(root.dir())
        .arg("backup")
        .env("FAKE_SLOW", "*/pause")
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mark = root.path("/var/lib/awg-install/still");
    while !mark.exists() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let pid = nix::unistd::Pid::from_raw(child.id() as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(6), "{said}");
    assert!(said.contains("stopped by SIGTERM"), "{said}");
    goes_on(&root);
    assert!(names(&root, BACKUPS).is_empty());
}

#[test]
fn encrypted_to_a_recipient() {
    let root = Root::installed(&format!("backup: {{recipients: [{RECIPIENT}]}}\n"));
    root.write(DATABASE, OLD);
    let made = backup(&root, &[]);
    let file = made["file"].as_str().unwrap();
    assert!(file.ends_with(".tar.gz.age") && made["encrypted"] == true, "{made:#}");
    let bytes = root.read_bytes(file);
    assert!(bytes.starts_with(b"age-encryption.org/v1\n-> X25519 "));
    root.write(DATABASE, NEW);
    root.write("/root/key", &format!("# created: today\n{IDENTITY}\n"));
    root.write("/root/other", OTHER_IDENTITY);
    root.write("/root/none", "# no key\n");
    root.run(&["restore", "--yes", file]).expect(2).says("--identity FILE");
    root.run(&["restore", "--yes", file, "--identity", "/root/none"]).expect(2).says("holds no key");
    root.run(&["restore", "--yes", file, "--identity", file]).expect(2).says("is not text");
    root.run(&["restore", "--yes", file, "--identity", "/root/other"])
        .expect(5)
        .says("is not encrypted to this identity");
    assert_eq!(root.read(DATABASE), NEW);
    root.run(&["restore", "--yes", file, "--identity", "/root/key"]).expect(0).says("restored: the server runs");
    assert_eq!(root.read(DATABASE), OLD);
    assert!(root.files_with(IDENTITY) == ["/root/key"], "the key is in no log and no record");
    let wrong = Root::prepared(&[], &format!("{CONFIG_TEXT}backup: {{recipients: [age1abc]}}\n"));
    wrong.run(&["plan", "--config", CONFIG]).expect(3).says("backup.recipients").says("is not an age public key");
}

#[test]
fn a_backup_that_was_killed() {
    let root = Root::installed("");
    root.write(DATABASE, OLD);
    let total = each_kill(&root, &["backup"], 5, |n, root| {
        // Whichever command comes next that changes something.
        let next: &[&str] = if n % 2 == 0 { &["backup"] } else { &["install", "--unattended", "--config", CONFIG] };
        root.run(next).expect(0);
        goes_on(root);
        assert_eq!(root.read(DATABASE), OLD);
        assert!(names(root, BACKUPS).iter().all(|n| n.ends_with(".tar.gz")) || n % 2 == 1);
    });
    assert!(total > 12, "{total}");
}

#[test]
fn rolled_back() {
    let root = Root::installed("");
    root.write(DATABASE, NEW);
    let file = backup(&root, &[])["file"].as_str().unwrap().to_string();
    let kept = root.copy();
    kept.run(&["rollback"]).expect(0);
    kept.run(&["resume"]).expect(0).says("the server's data and its backups were kept");
    assert!(kept.exists(&file) && kept.exists(DATABASE));
    root.run(&["rollback", "--purge-data"]).expect(0);
    root.run(&["resume"]).expect(0);
    assert!(!root.exists("/var/lib/awg-install") && !root.exists("/opt/wg-easy"));
}

fn docker(root: &Root, verb: &[&str]) {
    let done = Command::new(root.path("/.fakeroot/bin/engine-post"))
        .arg(format!("/containers/wg-easy/{}", verb[0]))
        .env("FAKE_ROOT", root.dir())
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(done.success());
}

fn uid(root: &Root) -> u32 {
    std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(root.dir()).unwrap())
}

fn gid(root: &Root) -> u32 {
    std::os::unix::fs::MetadataExt::gid(&std::fs::metadata(root.dir()).unwrap())
}

/// The list of a backup, and its files in their order.
fn unpacked(bytes: &[u8]) -> (Value, Vec<(String, Vec<u8>)>) {
    let mut tar = tar::Archive::new(GzDecoder::new(bytes));
    let mut files = Vec::new();
    for entry in tar.entries().unwrap() {
        let mut entry = entry.unwrap();
        assert_eq!(entry.header().entry_type(), tar::EntryType::Regular);
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        files.push((entry.path().unwrap().display().to_string(), content));
    }
    (serde_json::from_slice(&files[0].1).unwrap(), files)
}
