//! Upgrades of a server that works, and the way back: image, module, files and data as one set.

mod support;

use support::tree::LEFT_BY_ROLLBACK;
use support::{CONFIG, CONFIG_TEXT, LTS, Root, module};

const COMPOSE: &str = "/opt/wg-easy/compose.yaml";
const DATABASE: &str = "/opt/wg-easy/data/wg-easy.db";
const RECEIPT: &str = "/var/lib/awg-install/receipt.json";
const UPGRADE: &[&str] = &["upgrade", "--unattended", "--config", CONFIG];
const UNMEANT: &[&str] = &["/.fakeroot", "/var/log", "/run/awg-install.lock", "/var/lib/awg-install", "/proc/4242"];

fn id(version: u8) -> String {
    format!("sha256:15{version:062}")
}

/// A server that works, with a client in its database.
fn installed(more: &str) -> Root {
    let root = Root::installed(more);
    root.write(DATABASE, "SQLite format 3\na client\n");
    root
}

/// The tag moves on in its registry.
fn registry_has(root: &Root, version: u8) {
    let path = "/.fakeroot/registry";
    let text = root.read(path);
    let (start, rest) = text.split_once("sha256:").expect("a digest");
    root.write(path, &format!("{start}{}{}", id(version), &rest[64..]));
}

fn runs(root: &Root) -> String {
    root.read("/var/lib/docker/containers/wg-easy/image").trim().to_string()
}

/// Images that the engine has, by id.
fn images(root: &Root) -> Vec<String> {
    let tree = root.tree();
    let files = tree.0.keys().filter(|p| p.starts_with("/var/lib/docker/image/"));
    let mut ids: Vec<String> = files.map(|p| root.read(p).split(' ').next().unwrap().to_string()).collect();
    ids.sort();
    ids
}

fn without_way_back(root: &Root) {
    assert!(root.json(RECEIPT)["way_back"].is_null());
    for left in ["/var/lib/awg-install/way-back", "/opt/wg-easy/data.way-back"] {
        assert!(!root.exists(left), "{left}");
    }
}

#[test]
fn a_newer_image_takes_over_and_the_last_one_is_kept() {
    let root = installed("");
    registry_has(&root, 8);
    let ran = root.run(UPGRADE).expect(0);
    ran.says("remember the image")
        .says("back up the server's data")
        .says(&format!("+    image: \"ghcr.io/wg-easy/wg-easy@{}", id(8)));
    assert_eq!(runs(&root), id(8));
    assert_eq!(root.read(DATABASE), "SQLite format 3\na client\n");
    without_way_back(&root);
    let backups: Vec<String> =
        root.tree().0.into_keys().filter(|p| p.starts_with("/var/lib/awg-install/backup/")).collect();
    assert_eq!(backups.len(), 1, "{backups:?}");
    assert_eq!(root.mode(&backups[0]), 0o600);
    assert_eq!(images(&root), [id(7), id(8)]);
    root.install().expect(0).says("nothing to do");
    registry_has(&root, 9);
    root.run(UPGRADE).expect(0);
    assert_eq!(images(&root), [id(8), id(9)], "one is kept as a way back, the older one is gone");
    root.run(UPGRADE).expect(0);
    assert_eq!(images(&root), [id(8), id(9)]);
    assert_eq!(root.read(DATABASE), "SQLite format 3\na client\n");
}

#[test]
fn the_new_container_calls_the_peers_of_the_old_one() {
    let root = installed("");
    registry_has(&root, 8);
    let key = format!("{}=", "k".repeat(43));
    let tables = format!("1764000000\n{key}\t1763999990\n{key}\t198.51.100.7:40000\n{key}\toff\n");
    root.write("/.fakeroot/peers", &tables);
    root.forget_commands();
    root.run(UPGRADE).expect(0);
    assert!(root.read("/.fakeroot/called").ends_with(&format!("\ncall {key} 198.51.100.7:40000 0\n")));
    // What can be done before the tunnel is down is not done while it is.
    let commands = root.commands();
    let at = |what: &str| commands.iter().position(|c| c.contains(what)).unwrap_or_else(|| panic!("{what}"));
    let order = ["exec wg-easy", "docker stop", "up --detach", "exec --interactive"].map(at);
    assert!(order.is_sorted() && at("config --quiet") < order[1], "{commands:#?}");
    // Where a peer is stands in nothing that stays.
    assert_eq!(root.files_with("198.51.100.7"), ["/.fakeroot/called", "/.fakeroot/peers"]);
}

#[test]
fn nobody_is_called_where_no_peer_has_a_session() {
    let root = installed("");
    registry_has(&root, 8);
    root.forget_commands();
    root.run(UPGRADE).expect(0);
    assert!(!root.commands().iter().any(|c| c.contains("exec --interactive")));
}

#[test]
fn an_image_that_damages_the_data_is_gone_back_from() {
    let mut root = installed("");
    let before = root.tree().without(UNMEANT);
    registry_has(&root, 8);
    root.set("FAKE_BAD_IMAGES", &id(8));
    let ran = root.run(UPGRADE).expect(6);
    ran.says("restarts again and again").says("going back").says("the server runs as before").says("expires_at");
    assert_eq!(runs(&root), id(7));
    before.assert_same(&root.tree().without(UNMEANT), "as before, to the byte");
    without_way_back(&root);
    assert_eq!(images(&root), [id(7)], "the image that failed takes no room");
    root.run(&["status"]).expect(6).says("healthy, wg0 is amneziawg").says("the server runs as before");
    // Not tried again by itself.
    root.forget_commands();
    root.install().expect(0).says("nothing to do");
    assert!(!root.commands().iter().any(|c| c.contains("pull")));
    // When it is asked for, it is; by then its makers have mended it.
    root.unset("FAKE_BAD_IMAGES");
    root.run(UPGRADE).expect(0);
    assert_eq!(runs(&root), id(8));
    root.run(&["doctor"]).expect(0);
}

#[test]
fn a_registry_that_is_down_leaves_the_server_alone() {
    let mut root = installed("");
    root.set("FAKE_PULL_SAYS", "500 dial tcp: connection refused");
    let before = root.tree().without(UNMEANT);
    root.forget_commands();
    root.run(UPGRADE).expect(6).says("connection refused").says("the server runs as before");
    assert!(!root.commands().iter().any(|c| c.contains("docker stop") || c.contains(" down")), "{:?}", root.commands());
    before.assert_same(&root.tree().without(UNMEANT), "as before");
    without_way_back(&root);
    root.unset("FAKE_PULL_SAYS");
    root.install().expect(0).says("nothing to do");
}

/// Another build of the module and another image: what fails takes both back.
#[test]
fn module_and_image_go_back_together() {
    let mut root = installed("");
    let path = format!("/lib/modules/{LTS}/extra/amneziawg.ko");
    let old = root.read_bytes(&path);
    let mut other = module::good();
    other
        .info
        .iter_mut()
        .filter(|(key, _)| *key == "srcversion")
        .for_each(|(_, v)| *v = "FEDCBA9876543210FEDCBA9".into());
    let other = other.bytes();
    assert_ne!(old, other);
    root.write_bytes(support::MODULE, &other);
    registry_has(&root, 8);
    root.set("FAKE_BAD_IMAGES", &id(8));
    let srcversion = root.read("/sys/module/amneziawg/srcversion");
    root.run(UPGRADE).expect(6).says("the server runs as before");
    assert!(root.read_bytes(&path) == old, "the module file is back");
    assert_eq!(root.read("/sys/module/amneziawg/srcversion"), srcversion, "and loaded");
    assert_eq!(runs(&root), id(7));
    root.run(&["status"]).says("wg0 is amneziawg");
    root.unset("FAKE_BAD_IMAGES");
    root.run(UPGRADE).expect(0);
    assert!(root.read_bytes(&path) == other);
    assert_eq!(runs(&root), id(8));
}

#[test]
fn a_way_back_that_fails_is_gone_to_its_end_by_the_next_run() {
    let mut root = installed("");
    registry_has(&root, 8);
    root.set("FAKE_FAIL", "docker compose*up*");
    root.run(UPGRADE).expect(6).says("the way back failed");
    assert!(root.json(RECEIPT)["way_back"]["failed"].is_string());
    root.unset("FAKE_FAIL");
    root.install().expect(0).says("going back").says("nothing to do");
    assert_eq!(runs(&root), id(7));
    without_way_back(&root);
}

#[test]
fn a_published_port_stays_where_the_database_has_it() {
    let root = installed("");
    let before = root.tree().without(UNMEANT);
    root.write(CONFIG, &CONFIG_TEXT.replace("server:\n", "server:\n  port: 4500\n"));
    let config = root.read(CONFIG);
    for command in ["install", "upgrade"] {
        let ran = root.run(&[command, "--unattended", "--config", CONFIG]).expect(4);
        ran.says("server.port is 4500, and the server listens on 51820").says("on the admin page first");
    }
    root.write(CONFIG, CONFIG_TEXT);
    before.assert_same(&root.tree().without(UNMEANT), "nothing was changed");
    // Changed on the admin page, it is followed.
    root.write(CONFIG, &config);
    root.write("/opt/wg-easy/data/wg0.conf", "[Interface]\nListenPort = 4500\n");
    root.install().expect(0);
    assert!(root.read(COMPOSE).contains("\"4500:4500/udp\""));
    // A file of the container's that leads elsewhere is not read.
    root.remove("/opt/wg-easy/data/wg0.conf");
    root.write("/root/elsewhere", "ListenPort = 1\n");
    std::os::unix::fs::symlink("/root/elsewhere", root.path("/opt/wg-easy/data/wg0.conf")).unwrap();
    root.install().expect(0).says("nothing to do");
}

#[test]
fn what_the_server_took_over_at_its_first_start_is_said_to_be_out_of_reach() {
    let root = installed("");
    root.write(CONFIG, &CONFIG_TEXT.replace("server:\n", "server:\n  dns: [9.9.9.9]\n"));
    root.install().expect(0).says("server.dns: read at the server's first start only");
    root.install().expect(0).says("server.dns: read at the server's first start only");
    root.write(CONFIG, CONFIG_TEXT);
    let said = root.install().expect(0).out;
    assert!(!said.contains("first start only"), "{said}");
}

#[test]
fn a_rollback_after_an_upgrade() {
    let root = Root::fresh();
    let start = root.tree().without(LEFT_BY_ROLLBACK);
    root.install().expect(0);
    root.run(&["resume"]).expect(0);
    root.write(DATABASE, "SQLite format 3\na client\n");
    registry_has(&root, 8);
    root.run(UPGRADE).expect(0);
    registry_has(&root, 7);
    let keeps = root.copy();
    keeps.run(&["rollback"]).expect(0).says("scheduled");
    keeps.run(&["resume"]).expect(0).says("were kept");
    assert_eq!(keeps.read(DATABASE), "SQLite format 3\na client\n");
    root.run(&["rollback", "--purge-data"]).expect(0).says("scheduled");
    root.run(&["resume"]).expect(0).says("rolled back");
    start.assert_same(&root.tree().without(LEFT_BY_ROLLBACK), "rolled back");
}

/// The kernel moves by a trial boot, and then the image turns out to be bad: the new kernel stays, the image and
/// the data go back, to the best mode that is left.
#[test]
fn a_bad_image_after_a_switch_of_the_kernel() {
    const NEWER: &str = "6.12.51-0-lts";
    let mut root = installed("");
    let offered = "/.fakeroot/offered";
    root.write(offered, &root.read(offered).replace("linux-lts 6.12.50-r0", "linux-lts 6.12.51-r0"));
    root.write_bytes(support::MODULE, &module::amneziawg(NEWER).bytes());
    registry_has(&root, 8);
    root.run(UPGRADE).expect(0).says("scheduled");
    assert!(root.json(RECEIPT)["way_back"].is_object(), "it stays across the restart");
    assert_eq!(root.running(), NEWER);
    let good = root.copy();
    good.run(&["resume"]).expect(0).says("kernel mode on 6.12.51-0-lts");
    assert_eq!(runs(&good), id(8));
    without_way_back(&good);
    root.set("FAKE_BAD_IMAGES", &id(8));
    root.run(&["resume"]).expect(6).says("is ruled out").says("the server runs as before");
    assert_eq!(runs(&root), id(7));
    assert_eq!(root.read(DATABASE), "SQLite format 3\na client\n");
    without_way_back(&root);
    root.run(&["status"]).expect(6).says("healthy, wg0 is tun");
    root.reboot();
    root.run(&["guard"]);
    root.run(&["status"]).says("healthy, wg0 is tun");
    assert_eq!(root.read(DATABASE), "SQLite format 3\na client\n");
    // When both are good, the next upgrade gets there.
    root.unset("FAKE_BAD_IMAGES");
    root.run(UPGRADE).expect(0).says("scheduled");
    root.run(&["resume"]).expect(0).says("kernel mode on 6.12.51-0-lts");
    assert_eq!(runs(&root), id(8));
}
