//! What a catalog must not get away with.

mod support;

use awg_install::catalog::Trouble;
use awg_install::config;
use awg_install::error::{Error, Kind};
use awg_install::facts::Reach;
use awg_install::host::files::sha256;
use serde_json::{Value, json};
use support::LTS;
use support::site::{Site, day, etag, head, key, object, public, shard, sign};
use support::world::{INDEX, MODULE, NAME, World, paths, says};

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
                let text = |key: &str| document[key].as_str().unwrap().to_string();
                says(&said, &format!("counts from {} to {}", text("issued"), text("expires")));
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
