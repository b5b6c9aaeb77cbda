//! Installing a kernel package and its module, and checking what that really left.

use xshell::cmd;

use crate::error::{Error, Result};
use crate::facts::apk::{WORLD, installed, instead, package_name};
use crate::facts::kernel::{EXTRA, installed_module};
use crate::facts::{Facts, PackageFile};
use crate::host::{Host, Limits, files::sha256};
use crate::module::{self, Evidence, Inspection, Machine, Target};
use crate::{bootable, bootloader, packages};

/// apk may have to fetch a hundred megabytes over a slow link.
const APK: u64 = 1800;

/// What is asked of apk.
#[derive(Debug, Clone, Copy)]
pub struct Add<'a> {
    /// Names and pins, as apk's world spells them.
    pub packages: &'a [String],
    /// Package files that no repository has.
    pub files: &'a [PackageFile],
}

/// `apk add`, waiting for another apk to end. After an attempt that was cut off, everything that came since `before`
/// is unpacked once more: apk's database may know files that have lost their content with the power. Nothing else
/// is: a package that is unpacked runs its triggers, and mkinitfs would make the initramfs of every kernel anew,
/// in place, that of the way back as well.
pub fn add_packages(host: &Host, add: &[String], before: Option<&[String]>) -> Result<()> {
    let sh = host.shell();
    let from = &instead(host);
    let mut out = host.ask(cmd!(sh, "apk --wait 300 {from...} add {add...}"), Limits::seconds(APK));
    if let Some(before) = before.filter(|_| out.ok()) {
        let installed = installed(host);
        let since = installed.iter().filter(|package| !before.contains(package)).map(|package| package_name(package));
        let since: Vec<&str> = since.collect();
        if !since.is_empty() {
            out = host.ask(cmd!(sh, "apk --wait 300 {from...} fix --reinstall {since...}"), Limits::seconds(APK));
        }
    }
    if out.ok() {
        return Ok(());
    }
    Err(out
        .error(format!("installing {} failed", add.join(" ")))
        .remedy("see the cause; run this again when it is gone"))
}

/// Adds the kernel and verifies its files, for apk exits 0 when a trigger has failed.
/// `before`: what was installed before an attempt that was cut off.
pub fn install(host: &Host, release: &str, flavour: &str, add: &Add, before: Option<&[String]>) -> Result<()> {
    // Nothing untried may become the default, whoever generates the loader's configuration next.
    bootloader::hold_default(host, flavour)?;
    bootloader::without_trigger(host, || {
        if !add.files.is_empty() {
            // apk checks their signatures with the keys that are installed. It writes a constraint by hash for
            // them, which the pin that follows replaces.
            let mut files = packages::fetch(host, add.files)?;
            if before.is_some() {
                remove_unstarted(host, flavour, add.packages)?;
            }
            files.extend(add.packages.iter().filter(|p| !p.contains('=')).cloned());
            add_packages(host, &files, None)?;
        }
        add_packages(host, add.packages, before)
    })?;
    verify_files(host, release, flavour)
}

/// apk unpacks once more only what a repository has. A kernel from a file goes first, for its file to be unpacked
/// anew; not one of the flavour that runs.
fn remove_unstarted(host: &Host, flavour: &str, packages: &[String]) -> Result<()> {
    if host.release().ends_with(&format!("-{flavour}")) {
        return Ok(());
    }
    let installed = installed(host);
    let (sh, from) = (host.shell(), &instead(host));
    for pin in packages.iter().filter(|p| p.contains('=') && installed.contains(p)) {
        let package = package_name(pin);
        let cmd = cmd!(sh, "apk --wait 300 {from...} del {package}");
        host.run(cmd, Limits::seconds(600), "removing a kernel that was cut off")?;
    }
    Ok(())
}

/// Has apk keep a package as it is (`name=version`), or lets it go on (`name`). Nothing is installed by it:
/// a version that is installed is preferred.
pub fn hold(host: &Host, constraint: &str) -> Result<()> {
    add_packages(host, &[constraint.to_string()], None)?;
    let world = host.read_text(WORLD).unwrap_or_default();
    if world.split_whitespace().any(|w| w == constraint) {
        return Ok(());
    }
    Err(Error::step(format!("{WORLD} does not say {constraint} after `apk add {constraint}`")))
}

/// Removes what is left of a kernel whose package is gone: our module, and the index around it. Files of
/// somebody else's keep the directory.
pub fn clean(host: &Host, release: &str) -> Result<()> {
    let directory = format!("/lib/modules/{release}");
    host.remove_file(format!("{directory}/{EXTRA}"))?;
    host.remove_empty_dir(format!("{directory}/extra"));
    let index = |path: &str| path.starts_with("modules.") && !path.contains('/');
    if host.files_below(&directory).iter().all(|(path, _)| index(path)) {
        return host.remove_tree(&directory);
    }
    let sh = host.shell();
    host.run(cmd!(sh, "depmod {release}"), Limits::seconds(120), "indexing the modules").map(drop)
}

/// MiB without which a resumed run could not even write down how far it got.
const ROOM_TO_GO_ON: u64 = 16;

/// The resumed run will have room for what it writes.
pub fn room_to_go_on(host: &Host) -> Result<()> {
    match host.free_mib("/").filter(|free| *free < ROOM_TO_GO_ON) {
        None => Ok(()),
        Some(free) => {
            Err(Error::step(format!("/ has only {free} MiB free: after the restart nothing could be written"))
                .cause(format!("{ROOM_TO_GO_ON} MiB are needed at least; something has filled the disk meanwhile"))
                .remedy("free some space, then run this again"))
        }
    }
}

/// Everything a boot of `release` needs is there, and the loader has an entry for it.
pub fn verify(host: &Host, release: &str, flavour: &str) -> Result<()> {
    verify_files(host, release, flavour)?;
    let entry = bootloader::entry(host, flavour)?;
    if entry.initrd.is_none() {
        bootloader::regenerate(host)?;
        if bootloader::entry(host, flavour)?.initrd.is_none() {
            return Err(Error::step(format!("the boot entry for {flavour} names no initramfs"))
                .remedy("run update-extlinux and look at /boot/extlinux.conf"));
        }
    }
    Ok(())
}

fn verify_files(host: &Host, release: &str, flavour: &str) -> Result<()> {
    let file = format!("/usr/share/kernel/{flavour}/kernel.release");
    let got = host.read_trimmed(&file).unwrap_or_default();
    if got != release {
        return Err(Error::step(format!("the package for {release} left another kernel"))
            .cause(format!("{file} says {got:?}"))
            .remedy("check which linux-lts the repository really has"));
    }
    for needed in [format!("/boot/vmlinuz-{flavour}"), format!("/lib/modules/{release}/modules.dep")] {
        if !host.exists(&needed) {
            return Err(Error::step(format!("{needed} is missing after the kernel was installed"))
                .remedy("check the free space, run `apk fix`, then run this again"));
        }
    }
    // Every driver that / needs: those that the old kernel has built in may be modules of the new one. An
    // initramfs that is not there, where the trigger is switched off or has failed, is made as well.
    let found = bootable::check(host, release, flavour)?;
    if !found.is_complete() {
        bootable::repair(host, release, flavour, &found)?;
    }
    Ok(())
}

/// Loads an installed kernel into memory, to be started by the one that runs.
pub fn load_for_kexec(host: &Host, flavour: &str) -> Result<()> {
    let sh = host.shell();
    let entry = bootloader::entry(host, flavour)?;
    let linux = format!("/boot/vmlinuz-{flavour}");
    let initrd = format!("/boot/initramfs-{flavour}");
    let append = format!("{} {}", entry.append, bootloader::TRIAL_PARAMETERS);
    let load = cmd!(sh, "kexec -s -l {linux} --initrd={initrd} --command-line={append}");
    host.run(load, Limits::seconds(60), "loading the new kernel").map(drop)
}

/// Removes the kernel that ran before. What its package's scripts leave goes too: a module directory that
/// stays would have the next initramfs made for the wrong release.
pub fn remove_old(host: &Host, package: &str, release: &str) -> Result<()> {
    let sh = host.shell();
    let flavour = package.trim_start_matches("linux-");
    if host.release() == release || bootloader::default(host) == flavour {
        return Err(Error::step(format!("{release} still runs or is still the default"))
            .remedy("boot the new kernel by default, then run this again"));
    }
    host.run(cmd!(sh, "apk --wait 300 del {package}"), Limits::seconds(APK), "removing the old kernel")?;
    if host.exists(format!("/usr/share/kernel/{flavour}/kernel.release")) {
        return Err(Error::step(format!("{package} is still installed after `apk del`"))
            .cause("another package needs it")
            .remedy(format!("see `apk info -r {package}`, or set kernel.keep_old: true")));
    }
    host.remove_tree(format!("/lib/modules/{release}"))?;
    host.remove_file(format!("/boot/initramfs-{flavour}"))?;
    bootloader::regenerate(host)
}

/// Writes the module for `release` and indexes it with kmod's depmod. `bytes` are those that were
/// inspected; without any, the file that is there is indexed.
pub fn install_module(host: &Host, release: &str, bytes: Option<&[u8]>, arch: &str) -> Result<()> {
    let sh = host.shell();
    let path = format!("/lib/modules/{release}/{EXTRA}");
    if let Some(bytes) = bytes {
        let (inspection, plain) = module::open(bytes, &module::Limits::default())?;
        check(host, &inspection, release, arch)?;
        host.make_dirs(format!("/lib/modules/{release}/extra"), 0o755)?;
        host.write(&path, &plain, 0o644)?;
        let back = host.read(&path).map(|b| sha256(&b));
        if back.as_deref() != Some(inspection.uncompressed_sha256.as_str()) {
            return Err(Error::step(format!("{path} does not read back as written")).remedy("check the disk"));
        }
    }
    // BusyBox's depmod writes only text indexes, which modinfo inside the container does not read.
    let version = host.ask(cmd!(sh, "depmod --version"), Limits::seconds(20));
    if !version.stdout.contains("kmod") {
        add_packages(host, &["kmod".to_string()], None)?;
    }
    host.run(cmd!(sh, "depmod {release}"), Limits::seconds(120), "indexing the modules")?;
    match installed_module(host, release) {
        Some(m) if m.indexed => Ok(()),
        Some(m) => {
            Err(Error::step(format!("{} is not in modules.dep.bin", m.path)).cause("depmod ran and did not index it"))
        }
        None => Err(Error::step(format!("no module for {release} is indexed"))),
    }
}

/// Holds a module against the installed kernel: release, flags, symbol CRCs, dependencies, signature.
pub fn check(host: &Host, inspection: &Inspection, release: &str, arch: &str) -> Result<()> {
    let target = target(host, inspection, release, arch);
    let findings = module::check(inspection, &target);
    match module::refusal(inspection, &target, &findings) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// Before anything is changed: a module that was named explicitly fits the kernel that is chosen for it, where
/// that is installed already. Whether its signature will do is for the choice of the mode.
pub fn foresee(host: &Host, facts: &Facts, chosen: Option<&str>) -> Result<()> {
    let candidate = chosen.and_then(|release| facts.candidate_for(release));
    candidate.and_then(|c| misfit(host, &c.inspection, &facts.arch)).map_or(Ok(()), Err)
}

/// Modules that nobody named, and that do not fit the kernel they say they are for, where that is installed:
/// they are passed over.
pub fn drop_misfits(host: &Host, facts: &mut Facts) {
    let arch = facts.arch.clone();
    for offer in &mut facts.offers {
        if offer.source.is_named() {
            continue;
        }
        offer.modules.retain(|candidate| match misfit(host, &candidate.inspection, &arch) {
            None => true,
            Some(error) => {
                let why = error.cause.map(|c| format!(": {c}")).unwrap_or_default();
                offer.problem = Some(format!("{}: {}{why}", candidate.source, error.message));
                false
            }
        });
    }
}

fn misfit(host: &Host, inspection: &Inspection, arch: &str) -> Option<Error> {
    let release = inspection.vermagic.release.as_str();
    if !host.exists(format!("/lib/modules/{release}/modules.dep")) {
        return None;
    }
    let target = target(host, inspection, release, arch);
    let mut findings = module::check(inspection, &target);
    findings.retain(|finding| finding.code != module::Code::Signature);
    module::refusal(inspection, &target, &findings)
}

/// What is known of the kernel `release` that is installed here.
pub fn target(host: &Host, inspection: &Inspection, release: &str, arch: &str) -> Target {
    let machine = Machine::from_uname(arch).unwrap_or(inspection.machine);
    let base = format!("/lib/modules/{release}");
    let dep = host.read_text(format!("{base}/modules.dep")).unwrap_or_default();
    let limits = module::Limits::default();
    let mut seen = Evidence::new(release, machine);
    for path in module::evidence_paths(&dep) {
        if seen.covers(inspection) {
            break;
        }
        if let Some(bytes) = host.read(format!("{base}/{path}")) {
            // A module that cannot be read teaches nothing; the others may.
            let _ = seen.add(&bytes, &limits);
        }
    }
    let mut target = Target::new(release, machine).with_evidence(seen);
    let builtin = host.read_text(format!("{base}/modules.builtin")).unwrap_or_default();
    let mut names = module::names_from_dep(&dep);
    names.extend(module::names_from_builtin(&builtin));
    target.modules = Some(names);
    target.lockdown = module::lockdown_from(&host.read_text("/sys/kernel/security/lockdown").unwrap_or_default());
    target.sig_enforce = host.read_trimmed("/sys/module/module/parameters/sig_enforce").as_deref() == Some("Y");
    let symvers = host.read_text(format!("/usr/src/linux-headers-{release}/Module.symvers"));
    match symvers.map(|text| module::crcs_from_symvers(&text)) {
        Some(Ok(crcs)) => target.with_symvers(crcs),
        _ => target,
    }
}
