//! The signed catalog, against a site on loopback: what is asked, what is kept, and what it costs.

mod support;

use awg_install::catalog::Trouble;
use awg_install::facts::{PackageFile, Reach};
use awg_install::host::Host;
use awg_install::host::files::sha256;
use awg_install::packages;
use minisign::KeyPair;
use serde_json::{Value, json};
use support::site::{Answer, Site, head, key, object, public, shard, sign};
use support::tree::Node;
use support::world::{INDEX, MODULE, NAME, World, paths, says};
use support::{LTS, Root, repository};

#[test]
fn a_module_comes_out_of_a_catalog() {
    let world = World::good();
    let sum = sha256(MODULE);
    let (shard, bytes) = world.ask(Reach::Network, |c| {
        let shard = c.release(LTS).unwrap().unwrap();
        let bytes = c.module(&shard.modules[0], &mut |_, _| {}).unwrap();
        (shard, bytes)
    });
    assert_eq!(bytes, MODULE);
    let module = &shard.modules[0];
    assert_eq!((&*module.srcversion, module.netlink), ("0123456789ABCDEF0123456", 3));
    assert_eq!(module.file.url.to_string(), format!("{}{}", world.site.base, object(&sum, "")));
    assert_eq!((shard.head.serial, shard.head.name.as_str(), shard.unasked), (7, "a test's", None));
    let expected = [(NAME.to_string(), 200), (format!("{NAME}.minisig"), 200), (object(&sum, ""), 200)];
    assert_eq!(world.site.seen().into_iter().map(|s| (s.path, s.status)).collect::<Vec<_>>(), expected);
    // Nobody but root has business there.
    assert_eq!(world.root.mode("/var/lib/awg-install/cache/objects"), 0o700);
    assert_eq!(world.root.mode(&format!("/var/lib/awg-install/cache/objects/{sum}")), 0o600);
}

#[test]
fn a_kernel_package_comes_as_a_file_that_apk_takes() {
    let world = World::good();
    let mut document = shard(LTS, 7, MODULE);
    let package = b"stands for a package";
    document["kernel"] = json!([{"package": "linux-lts", "version": "6.12.50-r0", "sha256": sha256(package),
        "size": package.len(), "url": object(&sha256(package), "../../")}]);
    world.publish(&document);
    world.site.put_file(&object(&sha256(package), ""), package);
    let path = world.ask(Reach::Network, |c| {
        let shard = c.release(LTS).unwrap().unwrap();
        assert_eq!((shard.kernel[0].package.as_str(), shard.kernel[0].version.as_str()), ("linux-lts", "6.12.50-r0"));
        let host = Host::new(Some(world.root.dir()), Default::default()).unwrap();
        packages::fetch(&host, &[PackageFile::from(&shard.kernel[0])]).unwrap().remove(0)
    });
    assert!(path.ends_with(".apk"), "{path}");
    assert_eq!(std::fs::read(&path).unwrap(), package);
}

#[test]
fn the_index_lists_releases() {
    let world = World::good();
    let mut index = head("index", "x86_64", 3);
    index["releases"] = json!([{"release": "6.12.51-0-lts", "netlink": [2, 3], "kernel": true}, {"release": LTS}]);
    index["something of a later release"] = json!({"unknown": true});
    world.site.publish(INDEX, &index, &world.key);
    let index = world.ask(Reach::Network, |c| c.index()).unwrap();
    let listed: Vec<_> = index.releases.iter().map(|r| (r.release.as_str(), r.netlink.as_slice(), r.kernel)).collect();
    assert_eq!(listed, [("6.12.51-0-lts", &[2, 3][..], true), (LTS, &[][..], false)]);

    world.site.remove(INDEX);
    match world.ask(Reach::Network, |c| c.index()) {
        Err(Trouble::Unreachable(error)) => says(&error.to_string(), "there is no catalog for x86_64"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_has_not_changed_is_not_sent_again() {
    let world = World::good();
    world.shard();
    world.site.seen();
    assert_eq!(world.shard().head.serial, 7);
    let seen = world.site.seen();
    assert_eq!((paths(&seen), seen[0].bytes), (vec![(NAME, 304)], 0));
    // What has changed is.
    world.publish(&shard(LTS, 8, MODULE));
    assert_eq!(world.shard().head.serial, 8);
    assert_eq!(paths(&world.site.seen()), [(NAME, 200), (&format!("{NAME}.minisig"), 200)]);
}

#[test]
fn a_module_is_fetched_once() {
    let world = World::good();
    let shard = world.shard();
    let module = |reach| world.ask(reach, |c| c.module(&shard.modules[0], &mut |_, _| {}));
    let place = format!("/var/lib/awg-install/cache/objects/{}", sha256(MODULE));
    assert!(matches!(module(Reach::Local), Err(Trouble::Unreachable(_))));
    module(Reach::Network).unwrap();
    world.site.seen();
    assert_eq!(module(Reach::Network).unwrap(), MODULE);
    assert_eq!(module(Reach::Local).unwrap(), MODULE);
    assert_eq!(world.site.seen(), []);
    // What lies there and is something else does not count.
    world.root.write(&place, "something else");
    assert!(matches!(module(Reach::Local), Err(Trouble::Unreachable(_))));
    assert_eq!(module(Reach::Network).unwrap(), MODULE);
    assert_eq!(world.site.seen().len(), 1);
}

#[test]
fn without_the_network_what_is_kept_counts() {
    let world = World::good();
    match world.ask(Reach::Local, |c| c.release(LTS)) {
        Err(Trouble::Unreachable(error)) => says(&error.to_string(), "does not use the network"),
        other => panic!("{other:?}"),
    }
    let asked = world.shard();
    world.site.seen();
    assert_eq!(world.ask(Reach::Local, |c| c.release(LTS)).unwrap().unwrap(), asked);
    assert_eq!(world.site.seen(), []);
}

#[test]
fn what_is_kept_stands_in_for_a_site_that_is_down_and_says_so() {
    let world = World::good();
    world.site.put(NAME, Answer::Status("503 Service Unavailable"));
    match world.release() {
        Err(Trouble::Unreachable(error)) => says(&error.to_string(), "503 Service Unavailable"),
        other => panic!("{other:?}"),
    }
    world.publish(&shard(LTS, 7, MODULE));
    world.shard();
    for (answer, why) in [
        (Answer::Status("503 Service Unavailable"), "503 Service Unavailable"),
        (Answer::WebPage, "a web page came instead of the file"),
        (Answer::Broken(shard(LTS, 8, MODULE).to_string().into_bytes(), 50), "the transfer broke after 50 of"),
    ] {
        world.site.put(NAME, answer);
        let shard = world.shard();
        assert_eq!(shard.head.serial, 7);
        says(&shard.unasked.unwrap(), why);
    }
}

#[test]
fn what_is_kept_is_verified_again() {
    let world = World::good();
    world.shard();
    let kept = world.kept();
    assert_eq!(kept.len(), 1, "{kept:?}");
    let text = world.root.read(&kept[0]);
    world.root.write(&kept[0], &text.replace("0123456789ABCDEF0123456", "FFFFFFFFFFFFFFFFFFFFFFF"));
    assert_ne!(world.root.read(&kept[0]), text);
    assert!(matches!(world.ask(Reach::Local, |c| c.release(LTS)), Err(Trouble::Unreachable(_))));
    // It is fetched anew, whatever the site thinks is known here.
    world.site.seen();
    assert_eq!(&*world.shard().modules[0].srcversion, "0123456789ABCDEF0123456");
    assert_eq!(world.site.seen()[0].status, 200);
    // What an old key vouched for goes with the key.
    let mut other = World::good();
    other.shard();
    other.config.public_keys = vec![public(&key())];
    assert!(matches!(other.ask(Reach::Local, |c| c.release(LTS)), Err(Trouble::Unreachable(_))));
}

#[test]
fn a_release_that_is_not_there() {
    let world = World::good();
    let ask = |release: &str| world.ask(Reach::Network, |c| c.release(release));
    assert_eq!(ask("6.12.99-0-lts").unwrap(), None);
    assert_eq!(paths(&world.site.seen()), [("v1/x86_64/6.12.99-0-lts.json", 404)]);
    // Names that would lead elsewhere are not even asked for.
    for release in ["", "../index", "6.12/50", "6.12.50-0-lts?x", "..", "a b"] {
        assert_eq!(ask(release).unwrap(), None, "{release}");
    }
    assert_eq!(world.site.seen(), []);
    // One that was there and was withdrawn is gone.
    world.shard();
    world.site.remove(NAME);
    assert_eq!(world.release().unwrap(), None);
}

#[test]
fn a_hundred_thousand_releases_cost_one() {
    // Whichever of them is asked for is signed at that moment.
    let (signer, verifier) = {
        let key = key();
        (KeyPair { pk: key.pk.clone(), sk: key.sk.clone() }, key)
    };
    let names: std::collections::BTreeSet<String> =
        (0..100_000).map(|n| format!("6.{}.{}-0-lts", n / 250, n % 250)).collect();
    assert_eq!(names.len(), 100_000);
    let mut index = head("index", "x86_64", 100_000);
    index["releases"] = names.iter().take(200).map(|r| json!({"release": r, "netlink": [3], "kernel": true})).collect();
    let dated = shard("", 100_000, MODULE);
    let site = Site::with(move |path| {
        let (plain, signed) = match path.strip_suffix(".minisig") {
            Some(plain) => (plain, true),
            None => (path, false),
        };
        let release = plain.strip_prefix("v1/x86_64/")?.strip_suffix(".json")?;
        let document = match names.contains(release) {
            true => Value::Object(
                dated.as_object()?.clone().into_iter().chain([("release".into(), json!(release))]).collect(),
            ),
            false if release == "index" => index.clone(),
            false => return None,
        };
        let bytes = document.to_string().into_bytes();
        Some(if signed { sign(&bytes, &signer).into_bytes() } else { bytes })
    });
    let world = World::with(site, verifier);
    let release = "6.399.249-0-lts";
    let shard = world.ask(Reach::Network, |c| c.release(release)).unwrap().unwrap();
    assert_eq!(shard.release, release);
    let place = format!("v1/x86_64/{release}.json");
    let seen = world.site.seen();
    assert_eq!(paths(&seen), [(place.as_str(), 200), (&format!("{place}.minisig"), 200)]);
    assert!(seen.iter().map(|s| s.bytes).sum::<usize>() < 2048, "{seen:?}");
    // The index too, for those who do not know which release they want.
    let index = world.ask(Reach::Network, |c| c.index()).unwrap();
    assert_eq!(index.releases.len(), 200);
    assert!(world.site.seen().iter().map(|s| s.bytes).sum::<usize>() < 32 << 10);
}

#[test]
fn what_the_script_makes_is_taken() {
    let built = Root::empty();
    built.write_bytes("/built/6.12.50-0-lts/amneziawg.ko", &support::module::good().bytes());
    built.write("/built/6.12.50-0-lts/netlink", "3\n");
    // Only the signatures are not its own: the program minisign may not be here.
    built.write(
        "/sign",
        "#!/bin/sh\nwhile [ \"$1\" != -m ]; do shift; done\nshift\nfor f; do : >\"$f.minisig\"; done\n",
    );
    std::fs::set_permissions(built.path("/sign"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let script = std::process::Command::new(repository().join("scripts/catalog"))
        .current_dir(built.dir())
        .args(["--out", "site", "--key", "none", "--name", "a test's", "--minisign", "./sign", "--program"])
        .args([support::program(), "built".as_ref()])
        .output();
    let script = match script {
        Ok(done) => done,
        Err(e) => return eprintln!("left out: scripts/catalog needs /usr/bin/python3: {e}"),
    };
    assert!(script.status.success(), "{}", String::from_utf8_lossy(&script.stderr));
    let world = World::with(Site::new(), key());
    for (path, node) in built.tree().0 {
        let (Some(path), Node::File(_, text)) = (path.strip_prefix("/site/"), node) else { continue };
        match path.ends_with(".json") {
            true => world.site.publish(path, &serde_json::from_slice(&text).unwrap(), &world.key),
            false if path.ends_with(".minisig") => {}
            false => world.site.put_file(path, &text),
        }
    }
    let (index, shard) = world.ask(Reach::Network, |c| (c.index().unwrap(), c.release(LTS).unwrap().unwrap()));
    assert_eq!((index.releases[0].release.as_str(), &index.releases[0].netlink[..]), (LTS, &[3][..]));
    assert_eq!((shard.head.serial, shard.head.name.as_str()), (1, "a test's"));
    let bytes = world.ask(Reach::Network, |c| c.module(&shard.modules[0], &mut |_, _| {})).unwrap();
    let inspection = awg_install::module::inspect(&bytes, &Default::default()).unwrap();
    assert_eq!(inspection.srcversion.as_deref(), Some(&*shard.modules[0].srcversion));
    assert_eq!(inspection.vermagic.release, LTS);
}
