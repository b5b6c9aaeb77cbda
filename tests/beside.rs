//! The image is fetched while the kernel is installed, and whatever becomes of either, the other's record is right.

mod support;

use std::time::{Duration, Instant};

use serde_json::Value;
use support::{CONFIG, CONFIG_TEXT, LTS, PASSWORD_FILE, Root};

const IMAGE: &str = "ghcr.io/wg-easy/wg-easy:15";
const PULL: &str = "engine-post /images/create*";
const RECEIPT: &str = "/var/lib/awg-install/receipt.json";

/// How the receipt has a step.
fn state(receipt: &Value, id: &str) -> String {
    let steps = receipt["steps"].as_array().expect("steps");
    let entry = steps.iter().rfind(|e| e["id"] == *id);
    entry.map_or("absent", |e| e["state"].as_str().expect("a word")).to_string()
}

fn pull() -> String {
    format!("pull:{IMAGE}")
}

#[test]
fn the_kernel_is_installed_while_the_image_comes() {
    let mut root = Root::fresh();
    // One after the other, the pull would wait for ever.
    root.set("FAKE_AWAITS", &format!("/boot/vmlinuz-lts {PULL}"));
    let ran = root.run(&["--unattended", "--config", CONFIG, "--output", "json"]).expect(0);
    let at = |kind: &str, step: &str| {
        let told = |line: &str| {
            let event: Value = serde_json::from_str(line).expect("JSON");
            event["type"] == *kind && event["step"].as_str().is_some_and(|s| s.starts_with(step))
        };
        ran.out.lines().position(told).unwrap_or_else(|| panic!("no {kind} of {step}: {}", ran.out))
    };
    assert!(at("step-started", "pull:") < at("step-started", "kernel:"));
    assert!(at("step-done", "kernel:") < at("step-done", "pull:"));
    // What needs the image comes after it, and so does the restart.
    for later in ["extract:", "write:/opt/wg-easy/compose.yaml", "arm:"] {
        assert!(at("step-done", "pull:") < at("step-started", later), "{later}");
    }
    let receipt = root.json(RECEIPT);
    assert_eq!(state(&receipt, &pull()), "done");
    root.unset("FAKE_AWAITS");
    root.run(&["resume"]).expect(0).says("done");
    root.install().expect(0).says("nothing to do");
}

#[test]
fn the_plan_says_what_goes_on_beside() {
    let root = Root::fresh();
    root.run(&["plan", "--config", CONFIG])
        .expect(0)
        .says(&format!("pull image {IMAGE} (goes on beside the next steps)"))
        .says(&critical_path(&root));
    // Where the image decides, there is nothing yet to go on with.
    let config = CONFIG_TEXT.replace("  source: file\n  path: /root/amneziawg.ko\n", "  source: image\n");
    let root = Root::prepared(&[], &config);
    let ran = root.run(&["plan", "--config", CONFIG]).expect(0).says(&format!("pull image {IMAGE}"));
    assert!(!ran.out.contains("beside"), "{}", ran.out);
}

/// As the plan's own document has the steps.
fn critical_path(root: &Root) -> String {
    let told = root.run(&["plan", "--config", CONFIG, "--output", "json"]).expect(0).out;
    let plan: Value = serde_json::from_str(&told).expect("JSON");
    let steps = plan["steps"].as_array().expect("steps");
    let number = |wanted: &str| 1 + steps.iter().position(|s| s["do"] == *wanted).unwrap_or_else(|| panic!("{wanted}"));
    let (pull, kernel, look) = (number("pull"), number("kernel"), number("extract"));
    assert_eq!((steps[pull - 1]["beside"].as_bool(), kernel), (Some(true), pull + 1));
    let (before, last, end) = (pull - 1, look - 1, steps.len());
    format!("Path:  1 to {before}, the longest of {pull} and {kernel} to {last}, then {look} to {end}: the others")
}

#[test]
fn a_pull_that_fails_leaves_the_kernel_unarmed() {
    let mut root = Root::fresh();
    root.set("FAKE_FAIL", PULL);
    root.set("FAKE_AWAITS", &format!("/boot/vmlinuz-lts {PULL}"));
    let ran = root.install().expect(6);
    assert!(ran.err.contains("wg-easy"), "{}", ran.err);
    let receipt = root.json(RECEIPT);
    assert_eq!(state(&receipt, &pull()), "undone");
    assert_eq!(state(&receipt, &format!("arm:{LTS}")), "absent");
    assert_eq!(receipt["outcome"], "failed");
    root.unset("FAKE_FAIL");
    root.unset("FAKE_AWAITS");
    root.install().expect(0).says("scheduled");
    root.run(&["resume"]).expect(0).says("done");
}

#[test]
fn a_kernel_that_cannot_be_installed_ends_the_pull() {
    let config = format!("fallback: fail\n{CONFIG_TEXT}");
    let mut root = Root::prepared(&[], &config);
    root.set("FAKE_FAIL", "apk *add linux-lts=*");
    root.set("FAKE_AWAITS", &format!("/never {PULL}"));
    let began = Instant::now();
    root.install().expect(6);
    assert!(began.elapsed() < Duration::from_secs(30), "the pull, which takes a minute, was waited for");
    let receipt = root.json(RECEIPT);
    assert_eq!(state(&receipt, &pull()), "undone");
    assert!(!receipt["summary"].to_string().contains("pull"), "the kernel is to blame: {}", receipt["summary"]);
    root.unset("FAKE_FAIL");
    root.unset("FAKE_AWAITS");
    root.run(&["install", "--unattended", "--retry-kernel", "--config", CONFIG]).expect(0).says("scheduled");
    assert!(root.exists(PASSWORD_FILE));
}
