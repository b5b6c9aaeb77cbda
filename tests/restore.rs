//! Restores, on a prepared root with a running server.

mod support;

use std::io::Write;
use std::os::unix::fs::PermissionsExt;

use awg_install::backup::aside;
use awg_install::host::Host;
use awg_install::host::files::sha256;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use support::backups::{BACKUPS, DATA, DATABASE, NEW, OLD, backup, each_kill, goes_on, names, tidy};
use support::tree::Tree;
use support::{CONFIG, Root};

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

/// The host, but for what every run leaves.
fn state_of(root: &Root) -> Tree {
    root.tree().without(&["/.fakeroot/commands", "/root/bad", "/var/log/awg-install.log", "/run/awg-install.lock"])
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
