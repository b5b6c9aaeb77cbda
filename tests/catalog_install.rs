//! The whole program with a signed catalog on loopback, on a prepared root.

mod support;

use awg_install::host::files::sha256;
use serde_json::{Value, json};
use support::site::{Site, day, head, key, object, public, shard};
use support::world::{INDEX, NAME};
use support::{CONFIG, LTS, Root, VIRT, module};

const IGNORED: &[&str] = &["/.fakeroot/commands", "/run/awg-install.lock", "/var/log/awg-install.log"];

struct Published {
    site: Site,
    key: minisign::KeyPair,
    module: Vec<u8>,
}

impl Published {
    fn new() -> Published {
        let published = Published { site: Site::new(), key: key(), module: module::good().bytes() };
        published.publish(|_| {});
        let sum = sha256(&published.module);
        published.site.put_file(&object(&sum, ""), &published.module);
        published
    }

    /// Index and shard, signed after `change` was made to both.
    fn publish(&self, change: impl Fn(&mut Value)) {
        let mut index = head("index", "x86_64", 7);
        index["releases"] = json!([{"release": LTS, "netlink": [3]}]);
        change(&mut index);
        self.site.publish(INDEX, &index, &self.key);
        let mut shard = shard(LTS, 7, &self.module);
        change(&mut shard);
        self.site.publish(NAME, &shard, &self.key);
    }

    fn host(&self, source: &str) -> Root {
        let config = format!(
            "server: {{host: vpn.example.org, username: admin, password_file: /root/password}}\nmodule:\n  source: {source}\n  catalog: {{url: \"{}\", public_keys: [{}]}}\n",
            self.site.base,
            &*public(&self.key)
        );
        Root::prepared(&[], &config)
    }

    #[track_caller]
    fn refuses(&self, code: i32, said: &[&str]) {
        for source in ["catalog", "auto"] {
            let root = self.host(source);
            let before = root.tree().without(IGNORED);
            let mut ran = root.install().expect(code);
            for part in said {
                ran = ran.says(part);
            }
            before.assert_same(&root.tree().without(IGNORED), source);
        }
    }
}

#[test]
fn kernel_mode_with_a_module_out_of_the_catalog() {
    let published = Published::new();
    for source in ["catalog", "auto"] {
        let root = published.host(source);
        root.install().expect(0);
        root.run(&["resume"]).expect(0).says("kernel mode on 6.12.50-0-lts");
        assert_eq!(root.read_bytes("/lib/modules/6.12.50-0-lts/extra/amneziawg.ko"), published.module);
        assert!(!published.site.seen().is_empty());
        root.install().expect(0).says("nothing to do");
        assert_eq!(published.site.seen().len(), 0, "a host that needs nothing asks nothing");
    }
}

#[test]
fn a_catalog_that_is_not_what_it_should_be_changes_nothing() {
    let published = Published::new();
    let other = key();
    published.site.publish(INDEX, &head("index", "x86_64", 7), &other);
    published.refuses(5, &["signed"]);
    published.publish(|_| {});
    published.site.put_file(INDEX, b"{\"kind\": \"index\"}");
    published.refuses(5, &["sign"]);
    published.publish(|_| {});
    let sum = sha256(&published.module);
    let mut changed = published.module.clone();
    changed[100] ^= 1;
    published.site.put_file(&object(&sum, ""), &changed);
    published.refuses(5, &["SHA-256"]);
}

#[test]
fn one_past_its_time_stops_the_new_and_leaves_the_old_alone() {
    let published = Published::new();
    let root = published.host("auto");
    root.install().expect(0);
    root.run(&["resume"]).expect(0);
    published.publish(|document| {
        document["issued"] = day(-40).into();
        document["expires"] = day(-10).into();
    });
    published.refuses(4, &["clock"]);
    root.install().expect(0).says("nothing to do");
    let ran = root.run(&["upgrade", "--yes", "--config", CONFIG]);
    assert!(root.loaded("amneziawg"), "{ran:?}");
}

#[test]
fn a_module_of_another_generation_than_the_images_tools_is_passed_over() {
    let published = Published::new();
    let mut root = published.host("catalog");
    root.set("FAKE_TOOLS", "amneziawg-tools v1.0.20250903 - https://git.example/");
    root.install().expect(8).says("of generation 3, and the image's `awg` of generation 2");
    assert_eq!(root.running(), VIRT);
}
