//! Every kind of bad bundle, each with its reason, and what nobody vouches for.

#[path = "support/bundle.rs"]
mod making;
mod support;

use std::io::Write;

use awg_install::bundle::{self, Trust};
use awg_install::error::Kind;
use awg_install::host::files::sha256;
use making::{Bundle, CACHE, FILE, by_key, by_sum, header, host, open, paths, tar_of, verify, with};
use minisign::KeyPair;
use serde_json::json;
use support::module;
use support::{LTS, Root};
use tar::EntryType;

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
