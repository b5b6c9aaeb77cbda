//! Tells the program its own commit and target, for `--version`.

use std::process::Command;

fn main() {
    // A release build is told; any other asks git, and says "unknown" outside a checkout.
    let commit = std::env::var("AWG_COMMIT").ok().or_else(|| {
        let out = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output().ok()?;
        out.status.success().then(|| String::from_utf8_lossy(&out.stdout).trim().to_string())
    });
    println!("cargo:rustc-env=AWG_COMMIT={}", commit.as_deref().unwrap_or("unknown"));
    println!("cargo:rustc-env=AWG_TARGET={}", std::env::var("TARGET").unwrap_or_default());
    let is = |name: &str, value: &str| std::env::var(name).is_ok_and(|v| v == value);
    if is("PROFILE", "release") && is("CARGO_CFG_TARGET_ENV", "gnu") {
        // Nothing unwinds where a panic aborts: without the tables that tell how, and their index. And the
        // addresses that a position-independent program corrects at its start are packed (glibc 2.36 and later).
        // That is 1 MB less in all.
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/no-unwind.ld");
        for argument in ["--no-eh-frame-hdr", &format!("-T,{script}"), "-z,pack-relative-relocs"] {
            println!("cargo:rustc-link-arg-bins=-Wl,{argument}");
        }
        println!("cargo:rerun-if-changed={script}");
    }
    println!("cargo:rerun-if-env-changed=AWG_COMMIT");
    println!("cargo:rerun-if-changed=.git/HEAD");
    println!("cargo:rerun-if-changed=build.rs");
}
