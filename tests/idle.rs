//! A run with nothing to do: what it starts, writes and asks.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Command;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use support::{Root, engine, program, repository};

/// One listing for each address family.
const LISTINGS: [&str; 2] = ["iptables-save", "ip6tables-save"];

#[test]
fn a_run_with_nothing_to_do_starts_two_programs() {
    let root = Root::installed("");
    let asked = engine::listen(&root);
    root.forget_commands();
    root.run(&["--unattended"]).expect(0).says("nothing to do");
    assert_eq!(root.commands(), LISTINGS);
    let asked = asked.lock().unwrap().clone();
    assert!(asked.iter().any(|a| a == "GET /containers/wg-easy/json"), "{asked:?}");
    assert!(asked.iter().all(|a| a.starts_with("GET ")), "{asked:?}");
    assert_eq!(asked.iter().collect::<BTreeSet<_>>().len(), asked.len(), "nothing is asked twice: {asked:?}");

    // The check at boot finds the same.
    root.forget_commands();
    root.run(&["guard"]).expect(0);
    assert_eq!(root.commands(), LISTINGS);
}

/// These say what is newer than the kernel that is held: apk is asked for it.
#[test]
fn a_look_asks_apk_once() {
    let root = Root::installed("");
    engine::listen(&root);
    for look in ["plan", "status"] {
        root.forget_commands();
        root.run(&[look]).expect(0);
        let commands = root.commands();
        assert_eq!(commands.len(), 1 + LISTINGS.len(), "{look}: {commands:?}");
        assert!(commands[0].starts_with("apk search --exact --all "), "{look}: {commands:?}");
    }
}

#[test]
fn a_run_with_nothing_to_do_writes_nothing_but_its_log() {
    let root = Root::installed("");
    engine::listen(&root);
    // The first one takes away what is told at the next login.
    root.run(&["status"]).expect(0);
    for args in [&["--unattended"][..], &["guard"], &["plan"], &["status"]] {
        let watch = Watch::new(root.dir());
        root.run(args).expect(0);
        let written = watch.written();
        // The stand-ins write down that they were called.
        let own = |path: &str| path.starts_with("/var/log/") || path == "/.fakeroot/commands";
        assert!(written.contains("/.fakeroot/commands"), "{args:?}: this watch sees nothing");
        assert!(written.iter().all(|path| own(path)), "{args:?}: {written:?}");
    }
    let watch = Watch::new(root.dir());
    root.remove("/opt/wg-easy/start.sh");
    root.run(&["--unattended"]).expect(0);
    assert!(watch.written().contains("/opt/wg-easy/start.sh"), "what is mended shows");
}

#[test]
fn what_is_missing_is_still_found() {
    let root = Root::installed("");
    engine::listen(&root);
    let placed = root.read("/.fakeroot/firewall");
    root.write("/.fakeroot/firewall", &placed.replacen("-A AWG-ISOLATED -m addrtype", "# -m addrtype", 1));
    root.run(&["doctor"]).expect(10).says("iptables: the chain AWG-ISOLATED has ");
    root.forget_commands();
    root.run(&["--unattended"]).expect(0).says("put the rules of /opt/wg-easy/firewall.sh in place");
    assert!(root.commands().iter().any(|c| c.starts_with("apk search ")), "something is to be done: apk has a say");
    assert_eq!(root.read("/.fakeroot/firewall"), placed);
}

/// Without the listings the script is asked, as it can be on every host.
#[test]
fn a_host_without_the_listing_asks_the_script() {
    let root = Root::installed("");
    for program in LISTINGS {
        root.remove(&format!("/.fakeroot/bin/{program}"));
    }
    root.run(&["--unattended"]).expect(0).says("nothing to do");
    assert!(root.commands().iter().any(|c| c.ends_with("/opt/wg-easy/firewall.sh check")));
    root.remove("/.fakeroot/firewall");
    root.run(&["--unattended"]).expect(0).says("put the rules of /opt/wg-easy/firewall.sh in place");
}

/// The same from outside, where strace is installed: no connection leaves the host.
#[test]
fn the_bench_counts_what_the_kernel_sees() {
    let root = Root::installed("");
    let ran = Command::new(repository().join("scripts/bench-idle"))
        .args(["--runs", "1", "--engine", "--binary"])
        .arg(program())
        .arg("--root")
        .arg(root.dir())
        .args(["--", "--unattended"])
        .output()
        .expect("the script");
    let out = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success() && out.contains("\nwall  median "), "{ran:?}");
    if out.contains("strace is not installed") {
        return;
    }
    assert!(out.contains("\nexit  0\nprocesses started: 2\n"), "{out}");
    let (_, connections) = out.split_once("\nconnections: 1\n").unwrap_or_else(|| panic!("{out}"));
    assert_eq!(connections.trim(), format!("1 AF_UNIX {}", root.path(engine::SOCKET).display()));
}

/// Sees every file that is made, removed, changed, or only opened for writing.
struct Watch {
    descriptor: OwnedFd,
    /// The watched directories by number.
    places: Vec<(i32, String)>,
}

impl Watch {
    fn new(root: &Path) -> Watch {
        let descriptor = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).expect("inotify");
        let mut watch = Watch { descriptor, places: Vec::new() };
        watch.add(root, root);
        assert!(watch.places.len() > 50, "{}", watch.places.len());
        watch
    }

    fn add(&mut self, root: &Path, dir: &Path) {
        let events = WatchFlags::ATTRIB
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MODIFY
            | WatchFlags::MOVE;
        let number = inotify::add_watch(&self.descriptor, dir, events).expect("a watch");
        let path = dir.strip_prefix(root).expect("below the root").display();
        self.places.push((number, format!("/{path}")));
        for entry in fs::read_dir(dir).expect("a directory").flatten() {
            if entry.file_type().is_ok_and(|t| t.is_dir()) {
                self.add(root, &entry.path());
            }
        }
    }

    /// The paths of what was written so far.
    fn written(&self) -> BTreeSet<String> {
        let mut buffer = [MaybeUninit::uninit(); 1 << 16];
        let mut events = Reader::new(&self.descriptor, &mut buffer);
        let mut found = BTreeSet::new();
        while let Ok(event) = events.next() {
            assert!(!event.events().contains(ReadFlags::QUEUE_OVERFLOW), "too much was written");
            let place = self.places.iter().find(|(number, _)| *number == event.wd()).map_or("?", |(_, path)| path);
            let name = event.file_name().map(|n| format!("/{}", n.to_string_lossy())).unwrap_or_default();
            found.insert(format!("{}{name}", place.trim_end_matches('/')));
        }
        found
    }
}
