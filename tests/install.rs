//! The whole program on a prepared root: from a fresh host through its reboot to a running server.

mod support;

use support::{LTS, Root, repository};

#[test]
fn fresh_host_to_running_server() {
    let root = Root::fresh();
    root.install().expect(0).says("reboot into 6.12.50-0-lts scheduled");
    assert_eq!(root.running(), LTS, "the loader was armed for one boot of it");
    assert!(root.read("/boot/extlinux.conf").contains("LABEL virt\n  MENU DEFAULT"), "the default stays");
    assert!(root.exists("/etc/runlevels/default/awg-install"), "it goes on by itself");

    root.run(&["resume"]).expect(0).says("done: AmneziaWG runs in kernel mode on 6.12.50-0-lts");
    root.run(&["status"]).expect(0).says("Drift:     none");
}

#[test]
fn committed_module_is_the_one_that_is_built_here() {
    use std::process::Command;
    let path = repository().join("scripts/fakeroot/amneziawg.ko.base64");
    let wanted = support::module::good().bytes();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let plain = path.with_extension("");
        std::fs::write(&plain, &wanted).unwrap();
        let text = Command::new("base64").arg(&plain).output().unwrap().stdout;
        std::fs::write(&path, text).unwrap();
        std::fs::remove_file(plain).unwrap();
    }
    let decoded = Command::new("base64").arg("-d").arg(&path).output().unwrap().stdout;
    assert!(decoded == wanted, "run the tests with UPDATE_GOLDEN=1 to write it anew");
}
