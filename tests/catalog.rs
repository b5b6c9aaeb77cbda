//! The signed catalog, against a site on loopback that serves it well, badly, and with bad intent.

mod support;

use std::time::Duration;

use awg_install::catalog::{Catalog, Shard, Trouble};
use awg_install::config;
use awg_install::error::{Error, Kind};
use awg_install::facts::Reach;
use awg_install::fetch::Pace;
use awg_install::host::{Host, files::sha256};
use minisign::KeyPair;
use serde_json::{Value, json};
use support::site::{Answer, Seen, Site, day, etag, head, key, object, public, shard, sign};
use support::{LTS, Root};

const MODULE: &[u8] = b"stands for a module: the catalog does not look inside";
const NAME: &str = "v1/x86_64/6.12.50-0-lts.json";
const INDEX: &str = "v1/x86_64/index.json";

/// A host with a catalog.
struct World {
    root: Root,
    site: Site,
    key: KeyPair,
    config: config::Catalog,
}

impl World {
    fn with(site: Site, key: KeyPair) -> World {
        let root = Root::empty();
        root.write("/.fakeroot/bin/none", "");
        root.write("/proc/sys/kernel/arch", "x86_64\n");
        let config = config::Catalog { url: Some(site.base.clone()), public_keys: vec![public(&key)] };
        World { root, site, key, config }
    }

    /// With one release in it, whose document is as published.
    fn good() -> World {
        let world = World::with(Site::new(), key());
        world.publish(&shard(LTS, 7, MODULE));
        world.site.put_file(&object(&sha256(MODULE), ""), MODULE);
        world
    }

    fn publish(&self, document: &Value) {
        self.site.publish(NAME, document, &self.key);
    }

    fn ask<T>(&self, reach: Reach, ask: impl Fn(&Catalog) -> T) -> T {
        let host = Host::new(Some(self.root.dir()), Default::default()).unwrap();
        let mut catalog = Catalog::of(&host, &self.config, reach).unwrap();
        let milliseconds = Duration::from_millis;
        catalog.pace = Pace { stall: milliseconds(2000), window: milliseconds(2000), floor: 1, pause: milliseconds(5) };
        ask(&catalog)
    }

    fn release(&self) -> Result<Option<Shard>, Trouble> {
        self.ask(Reach::Network, |c| c.release(LTS))
    }

    fn shard(&self) -> Shard {
        self.release().unwrap().unwrap()
    }

    /// The error of an artifact that is not taken.
    #[track_caller]
    fn refused(&self) -> String {
        match self.release() {
            Err(Trouble::Refused(error)) => {
                assert_eq!(error.kind, Kind::Artifact);
                assert!(error.cause.is_some() && error.remedy.is_some(), "{error}");
                error.to_string()
            }
            other => panic!("not refused: {other:?}"),
        }
    }

    /// The documents that are kept.
    fn kept(&self) -> Vec<String> {
        self.root.files_with("\"signature\"")
    }
}

fn paths(seen: &[Seen]) -> Vec<(&str, u16)> {
    seen.iter().map(|s| (s.path.as_str(), s.status)).collect()
}

#[track_caller]
fn says(text: &str, wanted: &str) {
    assert!(text.contains(wanted), "not said: {wanted:?}\n{text}");
}

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
        c.package_file(&shard.kernel[0], &mut |_, _| {}).unwrap()
    });
    assert!(path.ends_with(".apk"), "{path}");
    assert_eq!(world.root.read(&path).as_bytes(), package);
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
fn a_document_that_was_tampered_with() {
    let world = World::good();
    let text = shard(LTS, 7, MODULE).to_string();
    let changed = text.replace("\"netlink\":3", "\"netlink\":2");
    assert_ne!(text, changed);
    for bad in [changed.as_bytes(), &text.as_bytes()[..text.len() / 2], b"", b"<html>log in</html>"] {
        world.site.put_file(NAME, bad);
        let said = world.refused();
        says(&said, "the catalog's signature is not right");
        says(&said, "it was changed or cut");
        assert_eq!(world.kept(), [""; 0]);
    }
    // Twice asked: the site may have been between the two files of a change.
    world.site.seen();
    world.refused();
    assert_eq!(world.site.seen().len(), 4);
}

#[test]
fn a_signature_that_was_tampered_with() {
    let world = World::good();
    let beside = format!("{NAME}.minisig");
    let text = shard(LTS, 7, MODULE).to_string();
    let good = sign(text.as_bytes(), &world.key);
    world.site.put_file(NAME, text.as_bytes());
    let line = |number: usize, change: &dyn Fn(&str) -> String| {
        let changed = good.lines().enumerate().map(|(n, l)| if n == number { change(l) } else { l.to_string() });
        changed.map(|l| l + "\n").collect::<String>()
    };
    let swapped = |l: &str| {
        let (at, other) = (l.len() / 2, if l.as_bytes()[l.len() / 2] == b'A' { "B" } else { "A" });
        format!("{}{other}{}", &l[..at], &l[at + 1..])
    };
    for (bad, why) in [
        (line(1, &swapped), "it was changed or cut"),
        (line(2, &|l| format!("{l}, and more")), "it was changed or cut"),
        (line(3, &swapped), "it was changed or cut"),
        (line(1, &|l| l.replacen("RU", "RW", 1)), "minisign's old form"),
        (String::new(), "no minisign signature"),
        (good.lines().take(2).collect(), "no minisign signature"),
        ("\u{0}".repeat(300), "no minisign signature"),
    ] {
        world.site.put_file(&beside, bad.as_bytes());
        says(&world.refused(), why);
    }
    world.site.remove(&beside);
    says(&world.refused(), "there is no signature (.minisig) beside it");
    world.site.put_file(&beside, good.as_bytes());
    world.shard();
}

#[test]
fn a_change_of_the_site_between_two_requests_does_no_harm() {
    // The signature is the new document's already; the second look finds both.
    let key = key();
    let (old, new) = (shard(LTS, 7, MODULE).to_string(), shard(LTS, 8, MODULE).to_string());
    let signature = sign(new.as_bytes(), &key);
    let asked = std::sync::atomic::AtomicU32::new(0);
    let site = Site::with(move |path| match path.ends_with(".minisig") {
        true => Some(signature.clone().into_bytes()),
        false if asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0 => Some(old.clone().into_bytes()),
        false => Some(new.clone().into_bytes()),
    });
    assert_eq!(World::with(site, key).shard().head.serial, 8);
}

#[test]
fn a_key_that_is_not_known_and_one_that_takes_its_place() {
    let mut world = World::good();
    let new = key();
    world.site.publish(NAME, &shard(LTS, 8, MODULE), &new);
    says(&world.refused(), "a key that is not among module.catalog.public_keys (1)");
    // While a key is replaced, both count.
    world.config.public_keys.push(public(&new));
    assert_eq!(world.shard().head.serial, 8);
    world.publish(&shard(LTS, 9, MODULE));
    assert_eq!(world.shard().head.serial, 9);
    // And in the end only the new one.
    world.config.public_keys.remove(0);
    says(&world.refused(), "a key that is not among module.catalog.public_keys (1)");
}

#[test]
fn what_has_expired_counts_no_more_and_points_at_the_clock() {
    let world = World::good();
    let expired = |issued: i64, expires: i64| {
        let mut document = shard(LTS, 8, MODULE);
        document["issued"] = json!(day(issued));
        document["expires"] = json!(day(expires));
        world.publish(&document);
        match world.release() {
            Err(Trouble::Expired(error)) => {
                assert_eq!(error.kind, Kind::Host);
                let said = error.to_string();
                says(&said, &format!("counts from {} to {}", document["issued"].as_str().unwrap(), day(expires)));
                says(&said, "this host's clock says 20");
                says(&said, "check the clock (date -u)");
                said
            }
            other => panic!("{other:?}"),
        }
    };
    says(&expired(-60, -1), "this catalog has expired");
    says(&expired(3, 30), "this catalog comes from the future");
    assert_eq!(world.kept(), [""; 0]);
    // Clocks may differ a little.
    let mut document = shard(LTS, 8, MODULE);
    document["issued"] = json!(day(0));
    world.publish(&document);
    world.shard();
}

#[test]
fn what_is_kept_expires_as_well() {
    let world = World::good();
    world.shard();
    // As it lies there after two months, on a site that has nothing newer.
    let mut document = shard(LTS, 7, MODULE);
    document["issued"] = json!(day(-60));
    document["expires"] = json!(day(-1));
    world.publish(&document);
    let text = document.to_string();
    let kept = json!({"version": {"etag": etag(text.as_bytes()), "modified": null},
        "signature": sign(text.as_bytes(), &world.key), "document": text});
    world.root.write(&world.kept()[0], &kept.to_string());
    for reach in [Reach::Network, Reach::Local] {
        match world.ask(reach, |c| c.release(LTS)) {
            Err(Trouble::Expired(error)) => says(&error.to_string(), "this catalog has expired"),
            other => panic!("{reach:?}: {other:?}"),
        }
    }
    assert!(paths(&world.site.seen()).ends_with(&[(NAME, 304)]));
    // Its serial is remembered all the same.
    world.publish(&shard(LTS, 6, MODULE));
    says(&world.refused(), "older than one that was seen before");
}

#[test]
fn an_older_one_is_not_taken_after_a_newer_one() {
    let world = World::good();
    world.publish(&shard(LTS, 9, MODULE));
    world.shard();
    world.publish(&shard(LTS, 7, MODULE));
    let said = world.refused();
    says(&said, "this catalog is older than one that was seen before");
    says(&said, "its serial is 7, and 9 has been seen");
    // What was seen before still is what counts without the network.
    assert_eq!(world.ask(Reach::Local, |c| c.release(LTS)).unwrap().unwrap().head.serial, 9);
    // Another catalog has serials of its own.
    let other = World::good();
    other.publish(&shard(LTS, 1, MODULE));
    let config = config::Catalog { url: Some(other.site.base.clone()), public_keys: vec![public(&other.key)] };
    assert_eq!(World { config, ..world }.shard().head.serial, 1);
}

#[test]
fn a_valid_signature_of_another_document() {
    let world = World::good();
    let mut index = head("index", "x86_64", 9);
    index["releases"] = json!([]);
    let mut arm = shard(LTS, 9, MODULE);
    arm["arch"] = json!("aarch64");
    for (document, why) in [
        (shard("6.12.51-0-lts", 9, MODULE), "it is about release \"6.12.51-0-lts\", not 6.12.50-0-lts"),
        (arm, "it is for \"aarch64\", not x86_64"),
        (index, "its kind is \"index\", not release"),
    ] {
        world.publish(&document);
        let said = world.refused();
        says(&said, "another document lies in its place");
        says(&said, why);
    }
    world.site.publish(INDEX, &shard(LTS, 9, MODULE), &world.key);
    match world.ask(Reach::Network, |c| c.index()) {
        Err(Trouble::Refused(error)) => says(&error.to_string(), "its kind is \"release\", not index"),
        other => panic!("{other:?}"),
    }
    assert_eq!(world.kept(), [""; 0]);
}

#[test]
fn a_later_format_asks_for_a_later_program() {
    let world = World::good();
    world.publish(&json!({"kind": "release", "version": 2, "all else": "may be different"}));
    says(&world.refused(), "this catalog needs a newer awg-install");
}

#[test]
fn signed_and_wrong() {
    let world = World::good();
    let refused = |change: &dyn Fn(&mut Value), why: &str| {
        let mut document = shard(LTS, 7, MODULE);
        change(&mut document);
        world.publish(&document);
        let said = world.refused();
        says(&said, "this is no catalog as it should be");
        says(&said, why);
    };
    let sum = sha256(MODULE);
    let url = |text: &'static str| move |d: &mut Value| d["modules"][0]["url"] = json!(text);
    for key in ["kind", "version", "name", "arch", "serial", "issued", "expires", "release", "modules"] {
        let missing = |d: &mut Value| _ = d.as_object_mut().unwrap().remove(key);
        refused(&missing, &format!("missing field `{key}`"));
    }
    for key in ["sha256", "size", "url", "srcversion", "netlink"] {
        let missing = |d: &mut Value| _ = d["modules"][0].as_object_mut().unwrap().remove(key);
        refused(&missing, &format!("missing field `{key}`"));
    }
    refused(&|d| d["serial"] = json!(-1), "invalid value: integer `-1`");
    refused(&|d| d["issued"] = json!("yesterday"), "issued is \"yesterday\"");
    refused(&|d| d["expires"] = json!("2030-01-01T00:00:00+02:00"), "expires is \"2030-01-01T00:00:00+02:00\"");
    refused(&|d| d["expires"] = json!(day(-2)), "it expires before it was issued");
    refused(&|d| d["name"] = json!("a\u{1b}[31m"), "name cannot be");
    refused(&|d| d["modules"][0]["sha256"] = json!(sum.to_uppercase()), "capital letters");
    refused(&|d| d["modules"][0]["sha256"] = json!("../../../etc/passwd"), "64 hexadecimal digits");
    refused(&|d| d["modules"][0]["size"] = json!(0), "size cannot be \"0\"");
    refused(&|d| d["modules"][0]["size"] = json!((16 << 20) + 1), "size cannot be \"16777217\"");
    refused(&|d| d["modules"][0]["netlink"] = json!(0), "netlink cannot be \"0\"");
    refused(&|d| d["modules"][0]["note"] = json!("x".repeat(501)), "note cannot be");
    refused(&|d| d["modules"] = json!(vec![d["modules"][0].clone(); 33]), "modules has 33 entries");
    refused(
        &|d| d["kernel"] = json!([{"package": "../x", "version": "1", "sha256": sum, "size": 1, "url": "x"}]),
        "package cannot be \"../x\"",
    );
    for leads in ["http://example.org/m", "file:///etc/passwd", "ftp://example.org/m", "//example.org/m", "https://"] {
        refused(&url(leads), "which does not lead to https");
    }
    // Nothing below a directory is left by going up, and other sites may be named.
    for (reference, place) in [
        ("../../../../../../m", format!("http://{}/m", world.site.base.split('/').nth(2).unwrap())),
        ("https://example.org/m", "https://example.org/m".to_string()),
    ] {
        let mut document = shard(LTS, 7, MODULE);
        document["modules"][0]["url"] = json!(reference);
        world.publish(&document);
        assert_eq!(world.shard().modules[0].file.url.to_string(), place);
    }
}

#[test]
fn a_document_has_its_limit() {
    let world = World::good();
    world.site.put_file(NAME, &vec![b' '; (1 << 20) + 1]);
    match world.release() {
        Err(Trouble::Unreachable(error)) => says(&error.to_string(), "larger than the 1048576 bytes"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_module_that_is_not_the_listed_one() {
    let world = World::good();
    let shard = world.shard();
    let fetch = || world.ask(Reach::Network, |c| c.module(&shard.modules[0], &mut |_, _| {})).unwrap_err();
    let path = object(&sha256(MODULE), "");
    let mut other = MODULE.to_vec();
    other[0] ^= 1;
    world.site.put_file(&path, &other);
    match fetch() {
        Trouble::Refused(error) => says(&error.to_string(), "is not the file that was asked for"),
        other => panic!("{other:?}"),
    }
    world.site.put_file(&path, &[MODULE, b"more"].concat());
    match fetch() {
        Trouble::Unreachable(error) => says(&error.to_string(), "it is larger than"),
        other => panic!("{other:?}"),
    }
    world.site.remove(&path);
    let error: Error = fetch().into();
    says(&error.to_string(), "404 Not Found");
    assert!(!world.root.exists(&format!("/var/lib/awg-install/cache/objects/{}", sha256(MODULE))));
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
