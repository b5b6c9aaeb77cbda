//! Compiles the module on the host: in a throw-away Alpine root that holds compiler, headers and source, and of
//! which nothing is left afterwards. Nothing is installed on the host itself.

mod source;

use xshell::cmd;

use crate::config::{Config, Release};
use crate::error::{Error, Result};
use crate::fetch::{self, Pace, Wanted};
use crate::host::{Host, Limits};
use crate::recipe;

/// The throw-away root.
pub const ROOT: &str = "/var/lib/awg-install/cache/build";
use crate::facts::image::CACHE;
/// Run inside it.
const SCRIPT: &str = include_str!("../templates/module-build");
/// Which packages can be had, and whose signature counts: there as here.
const APK_SETTINGS: &[&str] = &["/etc/apk", "/etc/apk/keys", "/lib/apk/keys", "/etc/apk/repositories.d"];
/// Seconds: some hundred megabytes may come over a slow link; a small machine compiles slowly.
const APK_TIME: u64 = 1800;
const COMPILE_TIME: u64 = 1800;
/// Bytes of a module at most; a real one has less than a hundredth.
const LARGEST: u64 = 64 << 20;

/// The module for `release`, freshly compiled. `report` is told of each phase as it begins. Whatever happens,
/// nothing is left behind; what a run that was cut off has left goes at the next start.
pub fn build(host: &Host, config: &Config, release: &str, report: &dyn Fn(&str)) -> Result<Vec<u8>> {
    let release: Release = release
        .parse()
        .map_err(|e| Error::step(format!("no module can be compiled for {release}")).cause(format!("it {e}")))?;
    sweep(host)?;
    let built = compile(host, config, &release, report);
    let swept = sweep(host);
    let module = built?;
    swept?;
    Ok(module)
}

/// Removes what a run that was cut off has left.
pub fn sweep(host: &Host) -> Result<()> {
    host.remove_scratch(ROOT)?;
    // Kept where anything else is in it.
    host.remove_empty_dir(CACHE);
    Ok(())
}

/// Removes all that can be fetched or made anew, and first what a compiler that was killed has left mounted there.
pub fn remove_cache(host: &Host) -> Result<()> {
    sweep(host)?;
    host.remove_tree(CACHE)
}

fn compile(host: &Host, config: &Config, release: &Release, report: &dyn Fn(&str)) -> Result<Vec<u8>> {
    let source = recipe::source(config);
    report(&format!("fetching the source of the module: {}", source.what));
    host.make_scratch(ROOT)?;
    let fetched = fetch::to_memory(host, &wanted(&source), Pace::default(), &mut |_, _| {})?;
    let tar = source::verified(fetched, &source)?;
    for file in source::files(&tar, &source)? {
        host.scratch_file(&format!("{ROOT}/build/source/{}", file.path), &file.bytes, 0o644)?;
    }
    drop(tar);
    host.go_on()?;
    report(&format!("fetching the compiler and {}, some hundred megabytes for a while", recipe::headers(release)));
    toolchain(host, release)?;
    host.go_on()?;
    report(&format!("compiling the module for {release}, which takes some minutes on a small machine"));
    run_compiler(host, release)
}

/// Over https, or from this machine, the tar in the archive may be what the checksum is of.
fn wanted(source: &recipe::Source) -> Wanted<'_> {
    let safe = source.url.is_https() || source.url.is_loopback();
    Wanted { url: &source.url, sha256: (!safe).then_some(&source.sha256), limit: source::LARGEST }
}

fn toolchain(host: &Host, release: &Release) -> Result<()> {
    let sh = host.shell();
    let names = APK_SETTINGS.iter().flat_map(|dir| host.names(dir).into_iter().map(move |n| format!("{dir}/{n}")));
    for path in names.filter(|p| !matches!(p.as_str(), "/etc/apk/world" | "/etc/apk/cache") && !host.is_dir(p)) {
        if let Some(bytes) = host.read(&path) {
            host.scratch_file(&format!("{ROOT}{path}"), &bytes, 0o644)?;
        }
    }
    host.null_device(&format!("{ROOT}/dev/null"))?;
    let (root, packages) = (host.path(ROOT), recipe::packages(release));
    let added =
        host.ask(cmd!(sh, "apk --root {root} --initdb --no-scripts add {packages...}"), Limits::seconds(APK_TIME));
    if !added.ok() {
        return Err(added
            .error("the compiler for the module cannot be had")
            .remedy("see the cause; or give a module that is ready (module.source), or set module.build: false"));
    }
    let headers = format!("/usr/src/linux-headers-{release}");
    if host.is_dir(format!("{ROOT}{headers}")) {
        return Ok(());
    }
    Err(Error::step(format!("{} has left no {headers}", recipe::headers(release)))
        .remedy("check what the repository really has under that name"))
}

fn run_compiler(host: &Host, release: &Release) -> Result<Vec<u8>> {
    let sh = host.shell();
    host.scratch_file(&format!("{ROOT}/build/run"), SCRIPT.as_bytes(), 0o755)?;
    for dir in ["/tmp", "/root"] {
        host.make_dirs(format!("{ROOT}{dir}"), 0o700)?;
    }
    let processors = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let jobs = recipe::jobs(processors, available_mib(host)).to_string();
    let (root, release) = (host.path(ROOT), release.to_string());
    let compiled =
        host.ask(cmd!(sh, "chroot {root} /bin/sh /build/run {release} {jobs}"), Limits::seconds(COMPILE_TIME));
    if !compiled.ok() {
        return Err(compiled
            .error(format!("the module cannot be compiled for {release}"))
            .remedy("see the cause; or give a module that is ready (module.source), or set module.build: false"));
    }
    let made = format!("{ROOT}/build/amneziawg.ko");
    match host.read(&made).filter(|m| !m.is_empty()) {
        Some(module) if host.size(&made) <= LARGEST => Ok(module),
        _ => Err(Error::step(format!("the compiler has left no usable module for {release}"))
            .cause("build/amneziawg.ko is absent, empty or far too large")
            .remedy("check module.source_url: its Kbuild file must make amneziawg.ko")),
    }
}

fn available_mib(host: &Host) -> u64 {
    let table = host.read_text("/proc/meminfo").unwrap_or_default();
    let line = table.lines().find_map(|l| l.strip_prefix("MemAvailable:"));
    line.and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) / 1024
}
