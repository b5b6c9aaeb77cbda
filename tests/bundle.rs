//! The offline bundle: good ones, every kind of bad one, interruptions, memory, and making one.

#[path = "support/bundle.rs"]
mod making;
mod support;

use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use awg_install::bundle::{self, Opened, Trust};
use awg_install::error::{Error, Kind};
use awg_install::host::{Host, files::sha256};
use making::{Bundle, header, tar_of};
use minisign::KeyPair;
use serde_json::{Value, json};
use support::module;
use support::{LTS, Root};
use tar::EntryType;

const FILE: &str = "/root/awg.bundle";
const CACHE: &str = "/var/lib/awg-install/cache/bundle";

fn host(root: &Root) -> Host {
    Host::new(Some(root.dir()), std::collections::BTreeMap::new()).unwrap()
}

fn by_key(key: &str) -> Trust {
    Trust { keys: vec![key.parse().unwrap()], sha256: None }
}

fn by_sum(bytes: &[u8]) -> Trust {
    Trust { keys: Vec::new(), sha256: Some(sha256(bytes).parse().unwrap()) }
}

fn open(root: &Root, trust: &Trust) -> Result<Opened, Error> {
    bundle::open(&host(root), Path::new(FILE), trust, &mut |_, _| {})
}

fn verify(root: &Root, trust: &Trust) -> Result<bundle::Verified, Error> {
    bundle::verify(&host(root), Path::new(FILE), trust, &mut |_, _| {})
}

/// A prepared host with this file in place of a bundle.
fn with(bytes: &[u8]) -> Root {
    let root = Root::fresh();
    root.write_bytes(FILE, bytes);
    root
}

#[test]
fn a_signed_bundle_is_unpacked_and_found_again() {
    let bundle = Bundle::good();
    let root = with(&bundle.bytes());
    let verified = verify(&root, &by_key(&bundle.key())).unwrap();
    assert!(!root.exists("/var/lib/awg-install"), "verify writes nothing");
    assert_eq!(verified.voucher, bundle::Voucher::Key(bundle.key()));
    assert_eq!(bundle::opened(&host(&root)), None);

    let mut last = (0, None);
    let opened = bundle::open(&host(&root), Path::new(FILE), &by_key(&bundle.key()), &mut |n, of| last = (n, of));
    let opened = opened.unwrap();
    assert_eq!((last.0, last.1), (opened.manifest.size(), Some(opened.manifest.size())));
    assert_eq!(opened.dir, format!("{CACHE}/{}", sha256(&bundle.text())));
    for (header, bytes) in &bundle.entries {
        let place = format!("{}/{}", opened.dir, String::from_utf8_lossy(&header.path_bytes()));
        assert_eq!(std::fs::read(root.path(&place)).unwrap(), *bytes, "{place}");
    }
    assert_eq!(opened.kernels(), [LTS]);
    assert_eq!(root.read(&opened.repositories_file()), format!("{}/apk/main\n", opened.dir));
    assert!(root.exists(&opened.image_file().unwrap()));
    assert!(root.exists(&opened.module(LTS).unwrap()) && opened.module("6.12.51-0-lts").is_none());
    assert_eq!(verified.manifest, opened.manifest);

    // After the reboot, when the file may be gone; and not once something is missing.
    root.remove(FILE);
    assert_eq!(bundle::opened(&host(&root)), Some(opened.clone()));
    root.remove(&opened.module(LTS).unwrap());
    assert_eq!(bundle::opened(&host(&root)), None);
}

#[test]
fn a_checksum_vouches_for_the_whole_file() {
    let mut bundle = Bundle::good();
    bundle.signed = false;
    let bytes = bundle.bytes();
    let root = with(&bytes);
    let sum = sha256(&bytes);
    assert_eq!(verify(&root, &by_sum(&bytes)).unwrap().voucher, bundle::Voucher::Sha256(sum.clone()));
    open(&root, &by_sum(&bytes)).unwrap();
    root.run(&["bundle", "verify", FILE, "--sha256", &sum]).expect(0).says("6.12.50-0-lts").says("1 in apk/main");
    let shown = root.run(&["bundle", "verify", FILE, "--sha256", &sum, "--output", "json"]).expect(0);
    let shown: Value = serde_json::from_str(&shown.out).unwrap();
    assert_eq!((&shown["manifest"], &shown["voucher"]["sha256"]), (&bundle.manifest, &json!(sum)));
    // A signature that is trusted does not outweigh a checksum that is wrong.
    let bundle = Bundle::good();
    let root = with(&bundle.bytes());
    let both = Trust { sha256: Some(sum.parse().unwrap()), ..by_key(&bundle.key()) };
    let error = verify(&root, &both).unwrap_err();
    assert!(error.to_string().contains("is not the file that was meant"), "{error}");
}

#[test]
fn the_next_bundle_takes_the_place_of_the_last() {
    let first = Bundle::good();
    let root = with(&first.bytes());
    let before = open(&root, &by_key(&first.key())).unwrap();
    let mut second = Bundle::good();
    second.add_module("6.12.51-0-lts", &module::amneziawg("6.12.51-0-lts"));
    root.write_bytes(FILE, &second.bytes());
    let after = open(&root, &by_key(&second.key())).unwrap();
    assert!(!root.exists(&before.dir) && root.exists(&after.dir));
    assert_eq!(bundle::opened(&host(&root)), Some(after));
}

/// What is wrong, how it is made, what is said of it.
type Bad = (&'static str, fn(&mut Bundle), &'static str);

const MODULE_MEMBER: &str = "modules/6.12.50-0-lts/amneziawg.ko";

const BAD: &[Bad] = &[
    ("unsigned", |b| b.signed = false, "it is not signed, and no sha256 was given"),
    ("tampered manifest", |b| b.tampered = true, "its manifest does not belong to its signature"),
    ("member changed", |b| b.entry("image.tar").1[5] ^= 1, "the member image.tar is not what the manifest lists"),
    ("missing member", |b| _ = b.entries.remove(2), "the member image.tar is missing"),
    (
        "extra member",
        |b| b.entries.push((header("apk/main/x86_64/evil-1-r0.apk", 3), b"bad".to_vec())),
        "the member apk/main/x86_64/evil-1-r0.apk is not in the manifest",
    ),
    ("duplicate", |b| b.entries.push(b.entries[2].clone()), "the member image.tar is there twice"),
    (
        "climbing path",
        |b| b.entries.insert(0, (header("apk/main/x86_64/../../../../evil", 3), b"bad".to_vec())),
        "leads out of its directory",
    ),
    ("absolute path", |b| b.entries.insert(0, (header("/etc/passwd", 3), b"bad".to_vec())), "has an absolute path"),
    (
        "climbing path in the manifest",
        |b| b.add("apk/main/x86_64/../../../../evil.apk", b"bad"),
        "where no member may be",
    ),
    ("hidden name", |b| b.add("apk/main/x86_64/.evil.apk", b"bad"), "where no member may be"),
    ("strange place", |b| b.add("etc/cron.d/evil", b"bad"), "where no member may be"),
    ("package for another architecture", |b| b.add("apk/main/aarch64/a-1-r0.apk", b"bad"), "where no member may be"),
    ("symbolic link", |b| link(b, EntryType::Symlink), "is a symbolic link"),
    ("hard link", |b| link(b, EntryType::Link), "is a hard link"),
    ("device", |b| link(b, EntryType::Block), "is a device"),
    ("pipe", |b| link(b, EntryType::Fifo), "is a pipe"),
    ("directory", |b| link(b, EntryType::Directory), "is a directory"),
    ("long name of GNU tar", |b| link(b, EntryType::GNULongName), "is an extension of the tar format"),
    ("pax header", |b| link(b, EntryType::XHeader), "is an extension of the tar format"),
    ("sparse member", |b| link(b, EntryType::GNUSparse), "is an extension of the tar format"),
    (
        "size lie in the archive",
        |b| b.entry("image.tar").0 = header("image.tar", 199_000),
        "the member image.tar has 199000 bytes, the manifest lists 200000",
    ),
    (
        "size lie in the manifest",
        |b| b.manifest["members"][2]["size"] = json!(9u64 << 30),
        "lists 9663676416 bytes for image.tar, the limit is",
    ),
    (
        "more than all limits together",
        |b| {
            for n in 0..9 {
                b.list(&format!("apk/main/x86_64/p{n}-1-r0.apk"), b"");
                *b.manifest["members"].as_array_mut().unwrap().last_mut().unwrap().get_mut("size").unwrap() =
                    json!(2u64 << 30);
            }
        },
        "bytes in all, the limit is",
    ),
    ("listed twice", |b| b.list("image.tar", b"other"), "lists image.tar twice"),
    ("oversized manifest", |b| b.manifest["created"] = json!("9".repeat(2 << 20)), "manifest.json has 2098"),
    ("newer format", |b| b.manifest["version"] = json!(2), "is of version 2; this release reads version 1"),
    ("no manifest at all", |b| b.manifest = json!([1, "v3.22"]), "has no version"),
    ("unknown key", |b| b.manifest["run"] = json!("rm -rf /"), "unknown field `run`"),
    ("wrong arch", |b| b.manifest["arch"] = json!("riscv64"), "which is no architecture"),
    (
        "module for another kernel",
        |b| {
            b.entries.retain(|(h, _)| *h.path_bytes() != *MODULE_MEMBER.as_bytes());
            b.manifest["members"].as_array_mut().unwrap().pop();
            b.manifest["modules"] = json!([]);
            b.add_module(LTS, &module::amneziawg("6.12.51-0-lts"));
        },
        "it was built for 6.12.51-0-lts, its place says 6.12.50-0-lts",
    ),
    (
        "another module",
        |b| b.add_module("6.12.51-0-lts", &module::wireguard("6.12.51-0-lts")),
        "it is a module called wireguard",
    ),
    (
        "module that is none",
        |b| {
            b.manifest["modules"].as_array_mut().unwrap().push(json!({"release": "6.12.51-0-lts",
                "sha256": sha256(b"<html>"), "member": "modules/6.12.51-0-lts/amneziawg.ko"}));
            b.add("modules/6.12.51-0-lts/amneziawg.ko", b"<html>");
        },
        "the file is an HTML page, not a kernel module",
    ),
    ("module that is not described", |b| b.manifest["modules"] = json!([]), "lists modules that are not those"),
    ("kernel without its package", |b| b.manifest["kernels"] = json!(["6.12.51-0-lts"]), "without its package"),
    ("repository without index", |b| b.manifest["repositories"] = json!(["apk/main", "apk/x"]), "which has no index"),
    ("repository not listed", |b| b.manifest["repositories"] = json!([]), "does not list as a repository"),
    ("image not described", |b| b.manifest["image"] = json!(null), "does not say what it is"),
];

/// A member of another kind in the place of a listed one.
fn link(bundle: &mut Bundle, kind: EntryType) {
    let (header, bytes) = bundle.entry("image.tar");
    header.set_link_name("/etc/passwd").unwrap();
    header.set_entry_type(kind);
    header.set_size(0);
    header.set_cksum();
    bytes.clear();
}

#[test]
fn bad_bundles_are_refused_each_with_its_reason() {
    let root = Root::fresh();
    for (what, spoil, said) in BAD {
        let mut bundle = Bundle::good();
        spoil(&mut bundle);
        let bytes = bundle.bytes();
        root.write_bytes(FILE, &bytes);
        refuses(&root, what, &by_key(&bundle.key()), said);
        if bundle.signed && !bundle.tampered {
            // Vouched for or not: what is wrong inside is wrong.
            refuses(&root, what, &by_sum(&bytes), said);
        }
    }
}

/// Every path of a root.
fn paths(root: &Root) -> Vec<String> {
    root.tree().0.into_keys().collect()
}

/// Neither way to read it takes it, and what `open` may leave is in the cache, without mark and member.
#[track_caller]
fn refuses(root: &Root, what: &str, trust: &Trust, said: &str) {
    let before = paths(root);
    let error = verify(root, trust).unwrap_err();
    assert!(error.kind == Kind::Artifact && error.to_string().contains(said), "{what}: {error}");
    assert!(error.to_string().contains(FILE) && error.remedy.is_some(), "{what}: {error}");
    assert_eq!(paths(root), before, "{what}");
    assert!(open(root, trust).unwrap_err().to_string().contains(said), "{what}");
    assert_eq!(bundle::opened(&host(root)), None, "{what}");
    let left: Vec<String> = paths(root).into_iter().filter(|p| !before.contains(p)).collect();
    assert!(left.iter().all(|p| CACHE.starts_with(p) || p.starts_with(CACHE)), "{what}: {left:?}");
    assert!(!left.iter().any(|p| p.ends_with(".part") || p.contains("evil")), "{what}: {left:?}");
    let _ = std::fs::remove_dir_all(root.path("/var/lib/awg-install"));
}

#[test]
fn files_that_are_no_bundle() {
    let good = Bundle::good();
    let (bytes, trust) = (good.bytes(), by_key(&good.key()));
    let root = Root::fresh();
    let refused = |what: &str, bytes: &[u8], said: &str| {
        root.write_bytes(FILE, bytes);
        refuses(&root, what, &trust, said);
    };
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&bytes).unwrap();
    refused("gzip", &gzip.finish().unwrap(), "is compressed (gzip)");
    refused("web page", b"\n<!DOCTYPE html><title>Log in</title>", "is a web page");
    refused("empty", b"", "is an empty file");
    refused("text", b"not a bundle at all", "does not begin as a tar file does");
    refused("only a header", &bytes[..512], "is cut off after 0 of");
    refused("cut in a member", &bytes[..bytes.len() - 200_000], "is not what the manifest lists");
    refused("cut before the last", &bytes[..150_000], "is not what the manifest lists");
    let mut damaged = bytes.clone();
    damaged[0] = b'n';
    refused("damaged header", &damaged, "is cut off or damaged");
    let mut longer = bytes.clone();
    longer.extend_from_slice(b"and something after its end");
    refused("something appended", &longer, "has something after its last member");
    let late = tar_of(&[good.entries[0].clone(), (header("manifest.json", 2), b"{}".to_vec())]);
    refused("manifest not first", &late, "manifest.json does not stand first");
    let mut linked = header("manifest.json", 0);
    linked.set_entry_type(EntryType::Symlink);
    linked.set_link_name("/etc/passwd").unwrap();
    linked.set_cksum();
    refused("manifest is a link", &tar_of(&[(linked, Vec::new())]), "manifest.json does not stand first");
    let big = tar_of(&[
        (header("manifest.json", 2), b"{}".to_vec()),
        (header("manifest.json.minisig", 9000), vec![b'x'; 9000]),
    ]);
    refused("oversized signature", &big, "manifest.json.minisig has 9000 bytes");
}

#[test]
fn nothing_is_trusted_that_nobody_vouches_for() {
    let bundle = Bundle::good();
    let root = with(&bundle.bytes());
    let error = verify(&root, &Trust::default()).unwrap_err();
    assert!(error.to_string().contains("nothing vouches for it"), "{error}");
    let other = KeyPair::generate_unencrypted_keypair().unwrap().pk.to_base64();
    let error = open(&root, &by_key(&other)).unwrap_err();
    assert!(error.to_string().contains("it was signed with another key"), "{error}");
    // Of several keys any will do: that is how one is replaced.
    let both = Trust { keys: vec![other.parse().unwrap(), bundle.key().parse().unwrap()], sha256: None };
    open(&root, &both).unwrap();
    let sum = "0".repeat(64);
    root.run(&["bundle", "verify", FILE]).expect(5).says("nothing vouches for it");
    root.run(&["bundle", "verify", FILE, "--sha256", &sum]).expect(5).says("is not the file that was meant");
    root.run(&["bundle", "verify", FILE, "--public-key", &other]).expect(5).says("signed with another key");
    root.run(&["bundle", "verify", FILE, "--public-key", &bundle.key()]).expect(0).says("is good");
    root.run(&["bundle", "verify", "/root/gone", "--sha256", &sum]).expect(5).says("/root/gone");
    root.run(&["bundle", "verify", "/root", "--sha256", &sum]).expect(5).says("it is not a plain file");
}

#[test]
fn a_bundle_for_another_host_is_refused_here_and_good_elsewhere() {
    let mut arm = Bundle::good();
    arm.manifest["arch"] = json!("aarch64");
    arm.manifest["modules"] = json!([]);
    arm.manifest["members"] = json!([]);
    arm.manifest["kernels"] = json!([]);
    arm.entries.clear();
    arm.add("apk/main/aarch64/APKINDEX.tar.gz", b"an index");
    arm.add("image.tar", b"layers");
    let root = with(&arm.bytes());
    verify(&root, &by_key(&arm.key())).unwrap();
    let error = open(&root, &by_key(&arm.key())).unwrap_err();
    assert!(error.to_string().contains("is for aarch64, this machine is x86_64"), "{error}");

    let mut older = Bundle::good();
    older.manifest["alpine"] = json!("v3.21");
    root.write_bytes(FILE, &older.bytes());
    let error = open(&root, &by_key(&older.key())).unwrap_err();
    assert!(error.to_string().contains("is for Alpine v3.21, this host has v3.22"), "{error}");
    assert!(!root.exists("/var/lib/awg-install"));
}

#[test]
fn a_full_disk_is_foreseen() {
    let bundle = Bundle::good();
    let root = with(&bundle.bytes());
    root.write("/.fakeroot/free_mib", "15\n");
    let error = open(&root, &by_key(&bundle.key())).unwrap_err();
    assert!(error.kind == Kind::Host && error.to_string().contains("15 MiB free"), "{error}");
    assert!(!root.exists("/var/lib/awg-install"));
}

/// The process that opens a bundle and is killed on the way: this test program, called by the next test.
#[test]
#[ignore = "a part of `an_interrupted_extraction_goes_on`, not a test"]
fn opens_and_is_killed() {
    let env: std::collections::BTreeMap<String, String> = std::env::vars().collect();
    let host = Host::new(Some(Path::new(&env["AWG_TEST_ROOT"])), env.clone()).unwrap();
    bundle::open(&host, Path::new(FILE), &by_key(&env["AWG_TEST_KEY"]), &mut |_, _| {}).unwrap();
}

#[test]
fn an_interrupted_extraction_goes_on() {
    let bundle = Bundle::good();
    let root = with(&bundle.bytes());
    let mut kept = 0;
    for point in 1.. {
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "opens_and_is_killed", "--ignored"])
            .env("AWG_TEST_ROOT", root.dir())
            .env("AWG_TEST_KEY", bundle.key())
            .env("AWG_TEST_KILL_AT", point.to_string())
            .stdout(std::process::Stdio::null())
            .status()
            .unwrap();
        if status.success() {
            assert!(point > 8, "{point}: two boundaries a member, and the marks");
            break;
        }
        let member = |path: &str| format!("{CACHE}/{}/{path}", sha256(&bundle.text()));
        let written = |path: &str| std::fs::metadata(root.path(&member(path))).ok()?.modified().ok();
        let first = "apk/main/x86_64/APKINDEX.tar.gz";
        let before = written(first);
        if bundle::opened(&host(&root)).is_none() && point < 8 {
            assert!(!root.exists(&format!("{CACHE}/complete")));
        }
        if before.is_some() && point < 8 {
            // What was whole is not written again.
            open(&root, &by_key(&bundle.key())).unwrap();
            assert_eq!(written(first), before, "{point}");
            kept += 1;
        }
        let opened = open(&root, &by_key(&bundle.key())).unwrap();
        assert_eq!(bundle::opened(&host(&root)).as_ref(), Some(&opened));
        let left = paths(&root);
        assert!(!left.iter().any(|p| p.ends_with(".part") || p.ends_with(".awg-new")), "{left:?}");
        std::fs::remove_dir_all(root.path("/var/lib/awg-install")).unwrap();
    }
    assert!(kept > 2);
}

#[test]
fn a_member_that_rotted_in_the_cache_is_written_anew() {
    let bundle = Bundle::good();
    let root = with(&bundle.bytes());
    let opened = open(&root, &by_key(&bundle.key())).unwrap();
    let image = opened.image_file().unwrap();
    root.write_bytes(&image, &vec![4; 200_000]);
    // Left by a run that was cut off, and by somebody who hopes that it is followed.
    root.write_bytes(&format!("{image}.part"), b"half");
    std::os::unix::fs::symlink("/etc/passwd", root.path(&format!("{}.part", opened.module(LTS).unwrap()))).unwrap();
    root.remove(&opened.module(LTS).unwrap());
    assert_eq!(open(&root, &by_key(&bundle.key())).unwrap(), opened);
    assert_eq!(std::fs::read(root.path(&image)).unwrap(), vec![3; 200_000]);
    assert_eq!(std::fs::read(root.path(&opened.module(LTS).unwrap())).unwrap(), module::good().bytes());
}

/// Far more than memory may hold, most of it a hole that costs no disk.
#[test]
fn memory_does_not_grow_with_the_bundle() {
    const SIZE: u64 = 200 << 20;
    let zeros = zeros_sha256(SIZE);
    let mut bundle = Bundle::good();
    let image = bundle.entries.iter().position(|(h, _)| *h.path_bytes() == *b"image.tar").unwrap();
    bundle.entries.remove(image);
    bundle.manifest["members"][2] = json!({"path": "image.tar", "size": SIZE, "sha256": zeros});
    let mut bytes = bundle.bytes();
    bytes.truncate(bytes.len() - 1024);
    let mut last = header("image.tar", 0);
    last.set_size(SIZE);
    last.set_cksum();
    bytes.extend_from_slice(last.as_bytes());
    let root = with(&bytes);
    let mut file = std::fs::OpenOptions::new().write(true).open(root.path(FILE)).unwrap();
    file.seek(SeekFrom::End(0)).unwrap();
    file.set_len(bytes.len() as u64 + SIZE + 1024).unwrap();
    let small = Bundle::good();
    root.write_bytes("/root/small", &small.bytes());

    let peak = |file: &str, key: &str| {
        let log = root.path("/peak.log");
        let _ = std::fs::remove_file(&log);
        let mut command = Command::new(support::program());
        command.arg("--root").arg(root.dir()).args(["bundle", "verify", file, "--public-key", key]);
        // The program's own peak would be that of this one otherwise, before it is replaced.
        command.env_clear().arg0("awg-install").stdout(std::process::Stdio::piped());
        let mut child = command.spawn().unwrap();
        let status = format!("/proc/{}/status", child.id());
        let mut most = 0;
        while child.try_wait().unwrap().is_none() {
            let text = std::fs::read_to_string(&status).unwrap_or_default();
            let exe = std::fs::read_link(format!("/proc/{}/exe", child.id())).unwrap_or_default();
            let line = text.lines().find_map(|l| l.strip_prefix("VmHWM:"));
            if exe == support::program()
                && let Some(kib) = line
            {
                most = most.max(kib.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap());
            }
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        assert!(child.wait().unwrap().success());
        most
    };
    let large = peak(FILE, &bundle.key());
    assert!(large > 0 && large < (24 << 10), "peak {large} KiB");
}

fn zeros_sha256(size: u64) -> String {
    use sha2::Digest;
    let mut hasher = sha2::Sha256::new();
    std::io::copy(&mut std::io::repeat(0).take(size), &mut hasher).unwrap();
    hasher.finalize().iter().map(|b| format!("{b:02x}")).collect()
}
