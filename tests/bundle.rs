//! The offline bundle: good ones, interruptions, other hosts, memory.

#[path = "support/bundle.rs"]
mod making;
mod support;

use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use awg_install::bundle::{self, Trust};
use awg_install::error::Kind;
use awg_install::host::{Host, files::sha256};
use making::{Bundle, CACHE, FILE, by_key, by_sum, header, host, open, paths, verify, with};
use serde_json::{Value, json};
use support::LTS;
use support::module;

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
