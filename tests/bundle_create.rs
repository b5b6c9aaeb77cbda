//! Making a bundle on a prepared host, and what an installation finds in it.

mod support;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use awg_install::bundle::{self, Manifest, Order, Trust};
use awg_install::config::{self, Sources};
use awg_install::host::Host;
use minisign::KeyPair;
use serde_json::Value;
use support::{LTS, MODULE, Ran, Root, module};

const FILE: &str = "/root/awg.bundle";
const STATE: &str = "/var/lib/awg-install";

/// A host with the engine running, that otherwise is as it was.
fn connected() -> Root {
    let root = Root::fresh();
    for name in ["docker", "engine-get", "engine-post"] {
        std::fs::copy(root.path("/.fakeroot/later/docker"), root.path(&format!("/.fakeroot/bin/{name}"))).unwrap();
    }
    root.write("/run/docker.sock", "");
    root.write("/etc/apk/keys/mirror.rsa.pub", "a key");
    root
}

fn create(root: &Root, more: &[&str]) -> Ran {
    root.run(&[&["bundle", "create", FILE, "--module-source", "file", "--module-path", MODULE], more].concat())
}

fn manifest(root: &Root) -> Manifest {
    let sum = awg_install::host::files::sha256(&std::fs::read(root.path(FILE)).unwrap());
    let trust = Trust { keys: Vec::new(), sha256: Some(sum.parse().unwrap()) };
    let host = Host::new(Some(root.dir()), BTreeMap::new()).unwrap();
    bundle::verify(&host, Path::new(FILE), &trust, &mut |_, _| {}).unwrap().manifest
}

#[test]
fn what_is_made_can_be_opened_on_a_host_without_a_network() {
    let root = connected();
    let before = root.tree().without(&["/.fakeroot", "/run", FILE, "/var/lib/docker", "/var/log"]);
    let made = create(&root, &["--output", "json"]).expect(0);
    // The document after the events.
    let made: Value = serde_json::from_str(made.out.lines().last().unwrap()).unwrap();
    let after = root.tree().without(&["/.fakeroot", "/run", FILE, "/var/lib/docker", "/var/log"]);
    assert!(after == before, "nothing but the bundle is left behind");
    assert!(!root.commands().iter().any(|c| c.contains(" add ")), "{:?}", root.commands());

    let sum = made["sha256"].as_str().unwrap();
    assert_eq!(made["size"], std::fs::metadata(root.path(FILE)).unwrap().len());
    root.run(&["bundle", "verify", FILE, "--sha256", sum]).expect(0).says("Alpine v3.22, x86_64").says(LTS);

    let far = Root::fresh();
    far.write_bytes(FILE, &std::fs::read(root.path(FILE)).unwrap());
    let host = Host::new(Some(far.dir()), BTreeMap::new()).unwrap();
    let trust = Trust { keys: Vec::new(), sha256: Some(sum.parse().unwrap()) };
    let opened = bundle::open(&host, Path::new(FILE), &trust, &mut |_, _| {}).unwrap();
    assert_eq!(opened.kernels(), [LTS]);
    assert_eq!(std::fs::read(far.path(&opened.module(LTS).unwrap())).unwrap(), module::good().bytes());
    assert!(far.read(&opened.image_file().unwrap()).contains("layers of ghcr.io/wg-easy/wg-easy:15"));
    let image = opened.manifest.image.as_ref().unwrap();
    assert!(image.id.starts_with("sha256:15000") && image.digest.as_deref().unwrap().starts_with("sha256:15000"));
    let mut packages = Vec::new();
    for repository in far.read(&opened.repositories_file()).lines() {
        let names = host.names(format!("{repository}/x86_64"));
        assert!(names.contains(&"APKINDEX.tar.gz".to_string()) && names.len() > 1, "{names:?}");
        packages.extend(names.into_iter().filter(|n| n.ends_with(".apk")));
    }
    packages.sort();
    let expected = [
        "alpine-base-1.0-r0.apk",
        "docker-28.3.3-r1.apk",
        "docker-cli-compose-2.36.2-r1.apk",
        "iptables-1.8.11-r1.apk",
        "kmod-34.2-r0.apk",
        "linux-firmware-none-20250509-r0.apk",
        "linux-lts-6.12.50-r0.apk",
        "mkinitfs-3.12.0-r0.apk",
    ];
    assert_eq!(packages, expected);
}

#[test]
fn the_same_makes_the_same() {
    let root = connected();
    let host = Host::new(Some(root.dir()), BTreeMap::new()).unwrap();
    let text = format!("module: {{source: file, path: {MODULE}}}");
    let config = config::load(&Sources { file: Some(("c".into(), text)), ..Sources::default() }).unwrap().config;
    let make = |file: &str, created: &str| {
        let order = Order { file: Path::new(file), sign: None, image: true, created };
        bundle::create(&host, &config, &order, &mut |_| {}).unwrap();
        std::fs::read(root.path(file)).unwrap()
    };
    let first = make("/root/first", "2026-01-02T03:04:05Z");
    assert!(first == make("/root/second", "2026-01-02T03:04:05Z"));
    let later = make("/root/third", "2026-01-02T03:04:06Z");
    let differing = first.iter().zip(&later).filter(|(a, b)| a != b).count();
    assert!(first.len() == later.len() && differing == 1, "{differing} bytes");
}

#[test]
fn the_kernel_follows_the_module_or_the_request() {
    let root = Root::prepared(&["--offer", "6.12.50-r0 6.12.51-r0"], "");
    // Without a module that is named, the newest kernel and what is installed for it.
    root.run(&["bundle", "create", FILE, "--no-image"]).expect(4).says("there is no module for 6.12.51-0-lts");
    root.write_bytes("/lib/modules/6.12.51-0-lts/extra/amneziawg.ko", &module::amneziawg("6.12.51-0-lts").bytes());
    root.run(&["bundle", "create", FILE, "--no-image"]).expect(0).says("6.12.51-0-lts");
    assert_eq!((manifest(&root).kernels, manifest(&root).image), (vec!["6.12.51-0-lts".to_string()], None));
    create(&root, &["--no-image"]).expect(0).says("kernel 6.12.50-0-lts");
    create(&root, &["--no-image", "--kernel-release", LTS]).expect(0);
    create(&root, &["--no-image", "--kernel-release", "6.12.51-0-lts"])
        .expect(5)
        .says("it was built for 6.12.50-0-lts");
    // Modes that run on any kernel need neither.
    root.run(&["bundle", "create", FILE, "--no-image", "--mode", "userspace"]).expect(0).says("kernels     none");
    let found = manifest(&root);
    assert!(found.modules.is_empty() && !found.members.iter().any(|m| m.path.contains("linux-lts")), "{found:?}");
}

#[test]
fn what_cannot_be_made_leaves_nothing() {
    let fails = |root: &Root, more: &[&str], code: i32, said: &str| {
        create(root, more).expect(code).says(said);
        for left in [FILE, "/root/awg.bundle.part", STATE] {
            assert!(!root.exists(left), "{said}: {left}");
        }
    };
    let root = Root::fresh();
    fails(&root, &[], 4, "docker is not installed");
    fails(&root, &["--no-image", "--sign", "/root/key"], 4, "minisign is not installed");
    fails(&root, &["--no-image", "--kernel-release", "6.12.49-0-lts"], 5, "it was built for 6.12.50-0-lts");
    root.write_bytes(MODULE, &module::amneziawg("6.12.49-0-lts").bytes());
    fails(&root, &["--no-image"], 4, "linux-lts=6.12.49-r0");
    root.write_bytes(MODULE, &module::wireguard(LTS).bytes());
    fails(&root, &["--no-image"], 5, "it is a module called wireguard");
    root.write_bytes(MODULE, &module::good().bytes());
    let sum = "0".repeat(64);
    fails(&root, &["--no-image", "--module-sha256", &sum], 5, "module.sha256 is 000");
    fails(
        &root,
        &["--no-image", "--kernel-release", LTS, "--kernel-package", "/root/linux-lts.apk"],
        3,
        "takes its kernel from a repository",
    );
    let with = |name: &str, value: &str, code: i32, said: &str| {
        let mut root = Root::fresh();
        root.set(name, value);
        fails(&root, &["--no-image"], code, said);
    };
    with("FAKE_NO_MIRROR", "1", 4, "the mirrors cannot be asked");
    with("FAKE_CUT_PACKAGE", "kmod-34.2-r0.apk", 5, "kmod-34.2-r0.apk: is not the package that was asked for");
    with("FAKE_CUT_PACKAGE", "evil-1-r0.apk", 5, "no index of an enabled repository lists it");
    let mut root = connected();
    root.set("FAKE_PULL_SAYS", "500 manifest unknown");
    fails(&root, &[], 6, "pulling ghcr.io/wg-easy/wg-easy:15 failed");
    root.unset("FAKE_PULL_SAYS");
    root.set("FAKE_FAIL", "docker save*");
    fails(&root, &[], 6, "saving the image failed");
    let root = connected();
    root.remove("/run/docker.sock");
    fails(&root, &[], 4, "the container engine does not answer");
    let debian = Root::prepared(&["--debian"], "");
    fails(&debian, &[], 4, "a bundle can only be made on Alpine");
}

/// Plays minisign for the next test: this test program, called through a script of that name.
#[test]
#[ignore = "a part of `a_signed_bundle_needs_no_checksum`, not a test"]
fn signs_as_minisign_does() {
    let text = |name: &str| std::fs::read_to_string(std::env::var(name).unwrap()).unwrap();
    let keys = minisign::SecretKey::from_bytes(&hex(&text("SIGN_KEY"))).unwrap();
    let signature = minisign::sign(None, &keys, text("SIGN_FILE").as_bytes(), Some("a test"), None).unwrap();
    std::fs::write(std::env::var("SIGN_OUT").unwrap(), signature.into_string()).unwrap();
}

fn hex(text: &str) -> Vec<u8> {
    let pairs = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

#[test]
fn a_signed_bundle_needs_no_checksum() {
    let root = Root::fresh();
    let keys = KeyPair::generate_unencrypted_keypair().unwrap();
    root.write("/root/key", &awg_install::host::files::hex(&keys.sk.to_bytes()));
    let script = format!(
        "#!/bin/sh\n. \"${{0%/*}}/../lib.sh\"\n[ \"$1 $2 $4 $6 $8 $9\" = '-S -s -m -x -t awg-install bundle' ] || exit 2\n\
         SIGN_KEY=$root$3 SIGN_FILE=$root$5 SIGN_OUT=$root$7 exec {} --exact signs_as_minisign_does --ignored\n",
        std::env::current_exe().unwrap().display()
    );
    root.write("/.fakeroot/bin/minisign", &script);
    let place = root.path("/.fakeroot/bin/minisign");
    std::fs::set_permissions(place, std::fs::Permissions::from_mode(0o755)).unwrap();
    create(&root, &["--no-image", "--sign", "/root/key"]).expect(0).says("It is signed");
    let key = keys.pk.to_base64();
    root.run(&["bundle", "verify", FILE, "--public-key", &key]).expect(0).says(&key);
    // The configured key is what an installation would trust: a bundle that it would refuse is not made.
    let other = KeyPair::generate_unencrypted_keypair().unwrap().pk.to_base64();
    root.remove(FILE);
    let configured = ["--no-image", "--sign", "/root/key", "--bundle", FILE, "--bundle-public-keys", &other];
    create(&root, &configured).expect(5).says("an installation would not trust this key");
    assert!(!root.exists(FILE));
    root.write("/root/key", "no key");
    create(&root, &["--no-image", "--sign", "/root/key"]).expect(6).says("use a key without a password");
}
