//! Power cuts: the program is killed at a boundary between two durable states, then run again, and the
//! host must end where an undisturbed run ends; or it is rolled back, and the host must be as before.
//!
//! By default a sample of boundaries is tried, evenly spread; AWG_TEST_EVERY_BOUNDARY=1 tries all.

mod support;

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use support::tree::{LEFT_BY_ROLLBACK, Tree};
use support::{CONFIG, Ran, Root};

const INSTALL: &[&str] = &["--unattended", "--config", CONFIG];
const RESUME: &[&str] = &["resume"];
const ROLLBACK: &[&str] = &["rollback", "--purge-data"];

/// Differs from run to run without meaning anything.
const INCIDENTAL: &[&str] = &[
    "/.fakeroot/boots",
    "/.fakeroot/commands",
    "/.fakeroot/console",
    "/boot/extlinux.conf.old",
    "/proc/sys/kernel/random/boot_id",
    "/run/awg-install.lock",
    "/var/lib/awg-install/copies",
    "/var/log/awg-install.log",
];

#[test]
fn killed_while_installing() {
    let fresh = Root::fresh();
    let end = finished();
    let total = boundaries(&fresh, INSTALL);
    sweep("install, then run again", total, 6, |n| {
        let root = killed(&fresh, INSTALL, n);
        run_again(&root, 0)?;
        same(&end, &end_of(&root))
    });
    let start = fresh.tree().without(LEFT_BY_ROLLBACK);
    sweep("install, then roll back", total, 5, |n| {
        let root = killed(&fresh, INSTALL, n);
        roll_back(&root)?;
        same(&start, &root.tree().without(LEFT_BY_ROLLBACK))
    });
}

#[test]
fn killed_while_resuming() {
    let fresh = Root::fresh();
    let start = fresh.tree().without(LEFT_BY_ROLLBACK);
    let end = finished();
    fresh.install().expect(0);
    let total = boundaries(&fresh, RESUME);
    sweep("resume, then run again", total, 4, |n| {
        let root = killed(&fresh, RESUME, n);
        run_again(&root, 0)?;
        same(&end, &end_of(&root))
    });
    sweep("resume, then a power cycle", total, 4, |n| {
        let root = killed(&fresh, RESUME, n);
        // Until it is on the disk that the new kernel came up, a power cut looks like a kernel that died.
        let unproven = !root.json("/var/lib/awg-install/receipt.json")["reboot"].is_null();
        root.reboot();
        if unproven {
            return run_again(&root, 8);
        }
        run_again(&root, 0)?;
        same(&end, &end_of(&root))
    });
    sweep("resume, then roll back", total, 3, |n| {
        let root = killed(&fresh, RESUME, n);
        roll_back(&root)?;
        same(&start, &root.tree().without(LEFT_BY_ROLLBACK))
    });
}

#[test]
fn killed_while_falling_back() {
    let mut fresh = Root::fresh();
    let start = fresh.tree().without(LEFT_BY_ROLLBACK);
    fresh.set("FAKE_PANICS", "lts");
    fresh.install().expect(0);
    let undisturbed = fresh.copy();
    undisturbed.run(RESUME).expect(8);
    let end = end_of(&undisturbed);
    let total = boundaries(&fresh, RESUME);
    let trial = |n| {
        let root = killed(&fresh, RESUME, n);
        run_again(&root, 8)?;
        same(&end, &end_of(&root))
    };
    // The first ones are where the failed boot is recorded and disarmed.
    sweep("fallback, the beginning, then run again", 6, 6, trial);
    sweep("fallback, then run again", total, 3, trial);
    sweep("fallback, then roll back", total, 2, |n| {
        let root = killed(&fresh, RESUME, n);
        roll_back(&root)?;
        // What was loaded and set at boot by files that are gone now holds until the next one.
        root.reboot();
        same(&start, &root.tree().without(LEFT_BY_ROLLBACK))
    });
}

/// The kernel came up, and the container does not work on it.
#[test]
fn killed_while_ruling_out() {
    let mut fresh = Root::fresh();
    fresh.set("FAKE_UNHEALTHY", "amneziawg");
    fresh.install().expect(0);
    let undisturbed = fresh.copy();
    undisturbed.run(RESUME).expect(8);
    let end = end_of(&undisturbed);
    let total = boundaries(&fresh, RESUME);
    sweep("another rung, then run again", total, 6, |n| {
        let root = killed(&fresh, RESUME, n);
        run_again(&root, 8)?;
        same(&end, &end_of(&root))
    });
}

#[test]
fn killed_while_rolling_back() {
    let start = Root::fresh().tree().without(LEFT_BY_ROLLBACK);
    let host = Root::installed("");
    let total = boundaries(&host, ROLLBACK);
    sweep("rollback, then roll back again", total, 4, |n| {
        let root = killed(&host, ROLLBACK, n);
        roll_back(&root)?;
        same(&start, &root.tree().without(LEFT_BY_ROLLBACK))
    });
    // The second half, on the old kernel.
    host.run(ROLLBACK).expect(0).says("scheduled");
    let total = boundaries(&host, RESUME);
    sweep("the rest of a rollback, then roll back again", total, 5, |n| {
        let root = killed(&host, RESUME, n);
        roll_back(&root)?;
        same(&start, &root.tree().without(LEFT_BY_ROLLBACK))
    });
}

/// An upgrade whose image is good, and one whose image damages the data: whatever the moment, the next run or the
/// check at the next boot ends with a server that works, on the data from before.
#[test]
fn killed_while_upgrading() {
    const UPGRADE: &[&str] = &["upgrade", "--unattended", "--config", CONFIG];
    const DATABASE: &str = "/opt/wg-easy/data/wg-easy.db";
    const DATA: &str = "SQLite format 3\na client\n";
    let mut host = Root::installed("");
    host.write(DATABASE, DATA);
    let registry = host.read("/.fakeroot/registry").replace("0000007 ", "0000008 ");
    host.write("/.fakeroot/registry", &registry);
    let works = |root: &Root| {
        let status = root.run(&["status"]);
        let way_back = &root.json("/var/lib/awg-install/receipt.json")["way_back"];
        if !status.out.contains("healthy, wg0 is amneziawg") || !way_back.is_null() {
            return Err(format!("{}{}\nway back: {way_back:#}", status.out, status.err));
        }
        let data = root.read(DATABASE);
        if data == DATA { Ok(()) } else { Err(format!("the data: {data}")) }
    };
    let tidied = |root: &Root| {
        let left = |path: &&str| root.exists(path);
        match ["/opt/wg-easy/data.way-back", "/var/lib/awg-install/way-back"].into_iter().find(left) {
            Some(path) => Err(format!("{path} is left")),
            None => Ok(()),
        }
    };
    let ended = |ran: Ran, codes: &[i32]| {
        let said = || format!("exit {}\n{}\n{}", ran.code, ran.out, ran.err);
        if codes.contains(&ran.code) { Ok(()) } else { Err(said()) }
    };
    for (image, codes, sample) in [("good", &[0][..], 4), ("bad", &[0, 6], 6)] {
        if image == "bad" {
            host.set("FAKE_BAD_IMAGES", &format!("sha256:15{:062}", 8));
        }
        let total = boundaries(&host, UPGRADE);
        sweep(&format!("upgrade to a {image} image, then install"), total, sample, |n| {
            let root = killed(&host, UPGRADE, n);
            ended(root.run(INSTALL), codes)?;
            works(&root)?;
            tidied(&root)
        });
        sweep(&format!("upgrade to a {image} image, then a power cycle"), total, sample, |n| {
            let root = killed(&host, UPGRADE, n);
            root.reboot();
            ended(root.run(&["guard"]), &[0, 6])?;
            works(&root)?;
            ended(root.run(INSTALL), &[0])?;
            works(&root)?;
            tidied(&root)
        });
    }
}

/// Boundaries that a run passes.
fn boundaries(host: &Root, args: &[&str]) -> usize {
    let copy = host.copy();
    let count = copy.dir().with_extension("boundaries");
    let ran = copy.run_with(args, &[("AWG_TEST_BOUNDARIES_IN", &count.display().to_string())], "");
    assert!(ran.code >= 0, "{ran:?}");
    let total = std::fs::read_to_string(&count).expect("a count").parse().expect("a number");
    std::fs::remove_file(&count).expect("it is there");
    total
}

/// Tries boundaries 1 to `total`, or an even sample of them, on all processors.
fn sweep(what: &str, total: usize, sample: usize, trial: impl Fn(usize) -> Result<(), String> + Sync) {
    let every = std::env::var_os("AWG_TEST_EVERY_BOUNDARY").is_some();
    let points: BTreeSet<usize> = if every {
        (1..=total).collect()
    } else {
        (1..=sample).map(|i| 1 + (i * total - 1) / sample).map(|n| n.min(total)).collect()
    };
    let points: Vec<usize> = points.into_iter().collect();
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                while let Some(n) = points.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(why) = trial(*n) {
                        failures.lock().expect("no panic").push((*n, why));
                    }
                }
            });
        }
    });
    println!("{what}: {} of {total} boundaries", points.len());
    let mut failures = failures.into_inner().expect("no panic");
    failures.sort();
    let text: Vec<String> = failures.iter().map(|(n, why)| format!("boundary {n}: {why}")).collect();
    assert!(text.is_empty(), "{what}: {} of {} failed\n{}", text.len(), points.len(), text.join("\n"));
}

/// A copy of `host` on which the command was killed at the n-th boundary.
fn killed(host: &Root, args: &[&str], n: usize) -> Root {
    let root = host.copy();
    let ran = root.run_with(args, &[("AWG_TEST_KILL_AT", &n.to_string())], "");
    assert_eq!(ran.code, -1, "killed at {n}\n{}\n{}", ran.out, ran.err);
    root
}

/// What the operator does: the same command once more; the boot service does the rest.
fn run_again(root: &Root, code: i32) -> Result<(), String> {
    let ran = root.run(INSTALL);
    if ran.code != code {
        return Err(format!("run again: exit {}\n{}\n{}", ran.code, ran.out, ran.err));
    }
    let ran = root.run(RESUME);
    if ran.code != 0 {
        return Err(format!("resume: exit {}\n{}\n{}", ran.code, ran.out, ran.err));
    }
    Ok(())
}

/// What the operator does to undo; where that restarts the host, the boot service does the rest.
fn roll_back(root: &Root) -> Result<(), String> {
    let failed = |what: &str, ran: Ran| Err(format!("{what}: exit {}\n{}\n{}", ran.code, ran.out, ran.err));
    let ran = root.run(ROLLBACK);
    if ran.code != 0 {
        return failed("rollback", ran);
    }
    if ran.out.contains("scheduled") {
        let ran = root.run(RESUME);
        if ran.code != 0 {
            return failed("the rest of the rollback", ran);
        }
    }
    if root.exists("/var/lib/awg-install") { Err("the rollback has not come to its end".into()) } else { Ok(()) }
}

/// The end of an undisturbed run.
fn finished() -> Tree {
    end_of(&Root::installed(""))
}

/// The host as it ended, without what differs by chance.
fn end_of(root: &Root) -> Tree {
    let own = root.dir().display().to_string();
    root.tree()
        .without(INCIDENTAL)
        .normal("/var/lib/awg-install/receipt.json", |text| {
            let receipt: serde_json::Value = serde_json::from_str(&text).expect("a receipt");
            format!("{} {} {}", receipt["outcome"], receipt["exit_code"], receipt["mode"])
        })
        .normal("/var/lib/docker/containers/wg-easy/project", |text| text.replace(&own, ""))
}

fn same(wanted: &Tree, got: &Tree) -> Result<(), String> {
    let difference = wanted.difference(got);
    if difference.is_empty() { Ok(()) } else { Err(difference) }
}
