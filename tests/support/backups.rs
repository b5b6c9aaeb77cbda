//! What tests of backups and of restores share.

use serde_json::Value;

use super::Root;

pub const DATA: &str = "/opt/wg-easy/data";
pub const DATABASE: &str = "/opt/wg-easy/data/wg-easy.db";
pub const BACKUPS: &str = "/var/lib/awg-install/backup";
pub const OLD: &str = "SQLite format 3, with alice and bob\n";
pub const NEW: &str = "SQLite format 3, with alice only\n";

/// Makes one; what `backup --output json` says of it.
pub fn backup(root: &Root, args: &[&str]) -> Value {
    let ran = root.run(&[&["backup", "--output", "json"], args].concat()).expect(0);
    serde_json::from_str(&ran.out).unwrap_or_else(|e| panic!("{e}: {}", ran.out))
}

#[track_caller]
pub fn goes_on(root: &Root) {
    assert!(!root.exists("/var/lib/docker/containers/wg-easy/paused"), "the container is frozen");
    assert!(root.exists("/var/lib/docker/containers/wg-easy/running"), "the container does not run");
    assert!(!root.exists("/var/lib/awg-install/still"));
}

#[track_caller]
pub fn tidy(root: &Root) {
    goes_on(root);
    let beside: Vec<String> = names(root, "/opt/wg-easy").into_iter().filter(|n| n.starts_with("data")).collect();
    assert_eq!(beside, ["data"]);
    assert!(!root.exists("/var/lib/awg-install/restore.json"));
}

pub fn names(root: &Root, dir: &str) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(root.path(dir)) else { return Vec::new() };
    let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Kills the command at every `step`th boundary, on copies of the host; returns how many there are, about.
/// AWG_TEST_EVERY_BOUNDARY=1 tries all.
pub fn each_kill(root: &Root, args: &[&str], step: usize, check: impl Fn(u32, &Root)) -> u32 {
    let step = if std::env::var_os("AWG_TEST_EVERY_BOUNDARY").is_some() { 1 } else { step };
    for n in (1..).step_by(step) {
        let copy = root.copy();
        let ran = copy.run_with(args, &[("AWG_TEST_KILL_AT", &n.to_string())], "");
        if ran.code >= 0 {
            return n - 1;
        }
        check(n, &copy);
    }
    unreachable!()
}
