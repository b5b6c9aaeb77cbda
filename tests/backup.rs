//! Backups and restores, on a prepared root with a running server.

mod support;

use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::process::{Command, Stdio};

use awg_install::backup::aside;
use awg_install::host::Host;
use awg_install::host::files::sha256;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use support::tree::Tree;
use support::{CONFIG, CONFIG_TEXT, PASSWORD, Root, program};

const DATA: &str = "/opt/wg-easy/data";
const DATABASE: &str = "/opt/wg-easy/data/wg-easy.db";
const BACKUPS: &str = "/var/lib/awg-install/backup";
const OLD: &str = "SQLite format 3, with alice and bob\n";
const NEW: &str = "SQLite format 3, with alice only\n";

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
fn restored() {
    let root = Root::installed("");
    root.write(DATABASE, OLD);
    root.write(&format!("{DATA}/hooks/up.sh"), "echo up\n");
    std::fs::set_permissions(root.path(&format!("{DATA}/hooks/up.sh")), PermissionsExt::from_mode(0o4750)).unwrap();
    let file = backup(&root, &[])["file"].as_str().unwrap().to_string();
    std::fs::remove_dir_all(root.path(&format!("{DATA}/hooks"))).unwrap();
    root.write(DATABASE, NEW);
    root.write(&format!("{DATA}/later"), "x");

    root.run(&["restore", &file]).expect(2).says("no terminal to ask on");
    assert_eq!(root.read(DATABASE), NEW);
    root.run(&["restore", "--yes", &file])
        .expect(0)
        .says("restored: the server runs with its data of")
        .says("the data from before: /var/lib/awg-install/backup/wg-easy-")
        .says("wg0 is amneziawg");
    assert_eq!(root.read(DATABASE), OLD);
    assert!(!root.exists(&format!("{DATA}/later")));
    // Nobody gains rights by a file of the container's.
    assert_eq!((root.mode(&format!("{DATA}/hooks/up.sh")), root.mode(DATA)), (0o750, 0o700));
    tidy(&root);
    // What was replaced is in the other one, and comes back from there.
    let other = names(&root, BACKUPS).into_iter().map(|n| format!("{BACKUPS}/{n}")).find(|f| *f != file).unwrap();
    root.run(&["restore", "--yes", &other]).expect(0);
    assert_eq!((root.read(DATABASE), root.exists(&format!("{DATA}/later"))), (NEW.into(), true));
}

/// With one backup kept, the one that is being restored must not be the one that goes.
#[test]
fn the_restored_backup_is_not_removed_for_the_next() {
    let root = Root::installed("backup: {keep: 1}\n");
    let file = backup(&root, &[])["file"].as_str().unwrap().to_string();
    root.run(&["restore", "--yes", &file]).expect(0);
    assert!(root.exists(&file));
}

#[test]
fn lost_data_comes_back() {
    let root = Root::installed("");
    root.write(DATABASE, OLD);
    let file = backup(&root, &["--to", "/root/b.tar.gz"])["file"].as_str().unwrap().to_string();
    std::fs::remove_dir_all(root.path(DATA)).unwrap();
    root.run(&["restore", "--yes", &file]).expect(0);
    assert_eq!(root.read(DATABASE), OLD);
    tidy(&root);
}

#[test]
fn a_server_that_does_not_come_up_gets_its_data_back() {
    let root = Root::installed("");
    root.write(DATABASE, "BROKEN\n");
    let file = backup(&root, &["--to", "/root/b.tar.gz"])["file"].as_str().unwrap().to_string();
    root.write(DATABASE, NEW);
    root.run(&["restore", "--yes", &file])
        .expect(6)
        .says("Failed to connect to Database")
        .says("the data from before is in place again, and the server runs with it");
    assert_eq!(root.read(DATABASE), NEW);
    tidy(&root);
    root.run(&["status"]).expect(0).says("Drift:     none");
}

#[test]
fn a_backup_of_a_newer_image() {
    let mut root = Root::installed("");
    root.set("FAKE_IMAGE_CREATED", "2026-06-01T00:00:00Z");
    let file = backup(&root, &[])["file"].as_str().unwrap().to_string();
    root.set("FAKE_IMAGE_CREATED", "2026-05-01T00:00:00Z");
    root.run(&["restore", "--yes", &file]).expect(0).says("from a newer image than the one that runs");
}

#[test]
fn where_nothing_is_installed() {
    let root = Root::installed("");
    let file = backup(&root, &["--to", "/root/b.tar.gz"])["file"].as_str().unwrap().to_string();
    let bare = Root::fresh();
    bare.write_bytes(&file, &root.read_bytes(&file));
    bare.run(&["restore", "--yes", &file]).expect(4).says("no server is installed here");
    bare.install().expect(0);
    bare.run(&["restore", "--yes", &file]).expect(4).says("is under way here");
}

/// Nothing is changed by a file that is not a backup as it was made.
#[test]
fn archives_that_are_refused() {
    let root = Root::installed("");
    root.write(DATABASE, NEW);
    let whole = root.read_bytes(backup(&root, &[])["file"].as_str().unwrap());
    let db = || Entry::file("data/wg-easy.db", OLD.as_bytes());
    let with = |entry: Entry| archive(&list(&[db(), entry.clone()]), &[db(), entry]);
    let link = |path: &str, kind| Entry { kind, link: "/etc/shadow", ..Entry::file(path, b"") };
    let mut changed = db();
    changed.content = NEW.as_bytes()[..OLD.len().min(NEW.len())].to_vec();
    changed.content.resize(OLD.len(), b'x');
    let mut unknown = list(&[db()]);
    unknown["schema"] = json!(2);
    let mut huge = list(&[db()]);
    huge["files"][0]["size"] = json!(u64::MAX / 2);
    let mut bomb = list(&[db()]);
    bomb["files"][0]["size"] = json!(3u64 << 30);
    let mut padded = plain_tar(&list(&[db()]), &[db()]);
    padded.resize(padded.len() + (8 << 20), 0);
    let trailing = [whole.clone(), b"more".to_vec()].concat();
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("a link", with(link("data/evil", b'2')), "where the plain file \"data/evil\" belongs"),
        ("a hard link", with(link("data/evil", b'1')), "where the plain file \"data/evil\" belongs"),
        ("a device", with(link("data/evil", b'3')), "where the plain file \"data/evil\" belongs"),
        ("a long name first", archive(&list(&[db()]), &[Entry { kind: b'L', ..db() }, db()]), "belongs"),
        ("..", with(Entry::file("data/../../../etc/cron", b"x")), "which is no path below data"),
        ("an absolute path", with(Entry::file("/etc/cron", b"x")), "which is no path below data"),
        ("beside", with(Entry::file("evil", b"x")), "which is no path below data"),
        ("no directory", with(Entry::file("data/a/b", b"x")), "not the directory that holds it"),
        ("twice", archive(&list(&[db(), db()]), &[db(), db()]), "twice"),
        ("another content", archive(&list(&[db()]), &[changed]), "is not what its list says"),
        ("another size", archive(&list(&[db()]), &[Entry::file("data/wg-easy.db", b"short")]), "another size"),
        ("one more", archive(&list(&[db()]), &[db(), Entry::file("data/x", b"x")]), "it holds more than its list says"),
        ("one less", archive(&list(&[db(), Entry::file("data/x", b"x")]), &[db()]), "it ends before"),
        ("no list", gzipped(&plain_tar_of(&[db()])), "where the plain file \"manifest.json\" belongs"),
        ("another list", archive(&json!({"schema": 1}), &[db()]), "its list cannot be understood"),
        ("a later schema", archive(&unknown, &[db()]), "this release knows 1"),
        ("a size that overflows", archive(&huge, &[db()]), "bytes, more than"),
        ("a size that is not there", archive(&bomb, &[db()]), "another size"),
        ("zeros without an end", gzipped(&padded), "something follows its end"),
        (
            "no database",
            archive(&list(&[Entry::file("data/x", b"x")]), &[Entry::file("data/x", b"x")]),
            "holds no database",
        ),
        ("cut off", whole[..whole.len() - 9].to_vec(), "is not a backup as it was made"),
        ("cut in half", whole[..whole.len() / 2].to_vec(), "is not a backup as it was made"),
        ("something after it", trailing, "something follows its end"),
        ("empty", Vec::new(), "is no backup"),
        ("a text", b"not a backup at all".to_vec(), "is no backup"),
    ];
    let before = state_of(&root);
    for (what, bytes, why) in cases {
        root.write_bytes("/root/bad", &bytes);
        let ran = root.run(&["restore", "--yes", "/root/bad"]);
        assert!(ran.code == 5 && ran.err.contains(why), "{what}: exit {}\n{}\n{}", ran.code, ran.out, ran.err);
        let difference = before.difference(&state_of(&root));
        assert!(difference.is_empty(), "{what}: {difference}");
    }
    // The same, made well, is taken.
    root.write_bytes("/root/good", &archive(&list(&[db()]), &[db()]));
    root.run(&["restore", "--yes", "/root/good"]).expect(0);
    assert_eq!(root.read(DATABASE), OLD);
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
fn a_restore_that_was_killed() {
    let root = Root::installed("");
    root.write(DATABASE, OLD);
    root.write(&format!("{DATA}/hooks/up.sh"), "echo up\n");
    let file = backup(&root, &["--to", "/root/b.tar.gz"])["file"].as_str().unwrap().to_string();
    let old_files = ["hooks", "wg-easy.db", "wg0.conf"];
    std::fs::remove_dir_all(root.path(&format!("{DATA}/hooks"))).unwrap();
    root.write(DATABASE, NEW);
    root.write(&format!("{DATA}/later"), "x");
    let new_files = ["later", "wg-easy.db", "wg0.conf"];
    let whole = |root: &Root| match root.read(DATABASE).as_str() {
        OLD => assert_eq!(names(root, DATA), old_files),
        NEW => assert_eq!(names(root, DATA), new_files),
        other => panic!("{other}"),
    };
    let total = each_kill(&root, &["restore", "--yes", &file], 5, |n, root| {
        whole(root);
        match n % 4 {
            0 => root.run(&["restore", "--yes", &file]).expect(0),
            1 => root.run(&["install", "--unattended", "--config", CONFIG]).expect(0),
            2 => root.run(&["guard"]).expect(0),
            _ => {
                root.reboot();
                root.run(&["guard"]).expect(0)
            }
        };
        whole(root);
        if n % 4 == 0 {
            assert_eq!(root.read(DATABASE), OLD, "restored at last");
        }
        if n % 4 < 2 {
            tidy(root);
        }
        root.run(&["status"]).expect(0).says("Drift:     none");
        goes_on(root);
    });
    assert!(total > 25, "{total}");
}

#[test]
fn a_way_back_that_was_killed() {
    let root = Root::installed("");
    root.write(DATABASE, "BROKEN\n");
    let file = backup(&root, &["--to", "/root/b.tar.gz"])["file"].as_str().unwrap().to_string();
    root.write(DATABASE, NEW);
    each_kill(&root, &["restore", "--yes", &file], 8, |n, root| {
        let ran = root.run(&["install", "--unattended", "--config", CONFIG]).expect(0);
        assert_eq!(root.read(DATABASE), NEW, "killed at {n}\n{}\n{}", ran.out, ran.err);
        tidy(root);
    });
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

/// In the middle of a restore: the data from before counts, and nothing lies about.
#[test]
fn rolled_back_after_a_restore_that_was_killed() {
    let root = Root::installed("");
    root.write(DATABASE, OLD);
    let file = backup(&root, &["--to", "/root/b.tar.gz"])["file"].as_str().unwrap().to_string();
    root.write(DATABASE, NEW);
    each_kill(&root, &["restore", "--yes", &file], 11, |n, root| {
        let record = "/var/lib/awg-install/restore.json";
        let under_way = root.exists(record) && root.json(record)["phase"] != "done";
        root.run(&["rollback"]).expect(0);
        root.run(&["resume"]).expect(0);
        assert!(!under_way || root.read(DATABASE) == NEW);
        let left: Vec<String> = names(root, "/opt/wg-easy").into_iter().filter(|n| n != "data").collect();
        assert!(left.is_empty(), "{left:?}");
        let left = names(root, "/var/lib/awg-install");
        assert!(left.iter().all(|n| n == "backup"), "killed at {n}: {left:?}");
    });
}

/// Where directories cannot be exchanged at one blow, two renames are made up for.
#[test]
fn an_exchange_that_was_cut_off() {
    let root = Root::empty();
    root.write("/.fakeroot/bin/none", "");
    let host = Host::new(Some(root.dir()), Default::default()).unwrap();
    root.write("/d/data.between/old", "");
    root.write("/d/other/new", "");
    aside::mend(&host, "/d", "other").unwrap();
    assert_eq!((names(&root, "/d/data"), names(&root, "/d/other")), (vec!["old".into()], vec!["new".into()]));
    aside::exchange(&host, "/d", "other").unwrap();
    assert_eq!((names(&root, "/d/data"), names(&root, "/d/other")), (vec!["new".into()], vec!["old".into()]));
    std::fs::rename(root.path("/d/other"), root.path("/d/data.between")).unwrap();
    aside::mend(&host, "/d", "other").unwrap();
    assert_eq!((names(&root, "/d/data"), names(&root, "/d/other")), (vec!["new".into()], vec!["old".into()]));
    aside::copy(&host, "/d", "copy").unwrap();
    assert_eq!(names(&root, "/d/copy"), ["new"]);
}

fn backup(root: &Root, args: &[&str]) -> Value {
    let ran = root.run(&[&["backup", "--output", "json"], args].concat()).expect(0);
    serde_json::from_str(&ran.out).unwrap_or_else(|e| panic!("{e}: {}", ran.out))
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

#[track_caller]
fn goes_on(root: &Root) {
    assert!(!root.exists("/var/lib/docker/containers/wg-easy/paused"), "the container is frozen");
    assert!(root.exists("/var/lib/docker/containers/wg-easy/running"), "the container does not run");
    assert!(!root.exists("/var/lib/awg-install/still"));
}

#[track_caller]
fn tidy(root: &Root) {
    goes_on(root);
    let beside: Vec<String> = names(root, "/opt/wg-easy").into_iter().filter(|n| n.starts_with("data")).collect();
    assert_eq!(beside, ["data"]);
    assert!(!root.exists("/var/lib/awg-install/restore.json"));
}

fn names(root: &Root, dir: &str) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(root.path(dir)) else { return Vec::new() };
    let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn uid(root: &Root) -> u32 {
    std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(root.dir()).unwrap())
}

fn gid(root: &Root) -> u32 {
    std::os::unix::fs::MetadataExt::gid(&std::fs::metadata(root.dir()).unwrap())
}

/// The host, but for what every run leaves.
fn state_of(root: &Root) -> Tree {
    root.tree().without(&["/.fakeroot/commands", "/root/bad", "/var/log/awg-install.log", "/run/awg-install.lock"])
}

/// Kills the command at every `step`th boundary, on copies of the host; returns how many there are, about.
/// AWG_TEST_EVERY_BOUNDARY=1 tries all.
fn each_kill(root: &Root, args: &[&str], step: usize, check: impl Fn(u32, &Root)) -> u32 {
    let step = if std::env::var_os("AWG_TEST_EVERY_BOUNDARY").is_some() { 1 } else { step };
    for n in (1..).step_by(step) {
        let copy = root.copy();
        let ran = copy.run_with(args, &[("AWG_TEST_KILL_AT", &n.to_string())], "");
        if ran.code >= 0 {
            return n - 1;
        }
        check(n, &copy);
    }
    unreachable!()
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

/// An entry of a made-up archive.
#[derive(Clone)]
struct Entry {
    path: String,
    kind: u8,
    link: &'static str,
    content: Vec<u8>,
}

impl Entry {
    fn file(path: &str, content: &[u8]) -> Entry {
        Entry { path: path.into(), kind: b'0', link: "", content: content.to_vec() }
    }
}

fn list(entries: &[Entry]) -> Value {
    let file = |e: &Entry| json!({"path": e.path, "sha256": sha256(&e.content), "size": e.content.len(), "mode": 0o600, "uid": 0, "gid": 0});
    json!({"schema": 1, "created": "2026-01-01T00:00:00Z", "version": "0", "mode": "kernel", "image": {}, "container": "wg-easy",
        "directory": "/opt/wg-easy", "files": entries.iter().map(file).collect::<Vec<_>>(), "directories": [], "left_out": []})
}

fn archive(list: &Value, entries: &[Entry]) -> Vec<u8> {
    gzipped(&plain_tar(list, entries))
}

fn plain_tar(list: &Value, entries: &[Entry]) -> Vec<u8> {
    let first = Entry::file("manifest.json", list.to_string().as_bytes());
    plain_tar_of(&[&[first], entries].concat())
}

fn plain_tar_of(entries: &[Entry]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for entry in entries {
        let mut header = tar::Header::new_ustar();
        // By hand: the library would refuse paths that lead elsewhere.
        header.as_old_mut().name[..entry.path.len()].copy_from_slice(entry.path.as_bytes());
        header.as_old_mut().linkname[..entry.link.len()].copy_from_slice(entry.link.as_bytes());
        header.set_entry_type(tar::EntryType::new(entry.kind));
        header.set_size(entry.content.len() as u64);
        header.set_mode(0o600);
        header.set_cksum();
        builder.append(&header, &entry.content[..]).unwrap();
    }
    builder.into_inner().unwrap()
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
