//! Primitive changes: what has to be remembered before a step acts, and how each is taken back.

use xshell::cmd;

use crate::error::{Error, Result};
use crate::facts::{apk, engine, kernel::EXTRA, network};
use crate::host::{Host, Limits};
use crate::owned::{CONFIG, Owned, Rung, SELF, SERVICE, WATCHDOG};
use crate::receipt::{COPIES, Change, Receipt, Was, copies, timestamp};
use crate::step::{FIREWALL_SERVICE, GUARD_SERVICE, RESUME, Step, WATCHDOG_SERVICE};
use crate::{bootable, bootloader};

/// What `step` would change, and what is there now. Copies of files it would replace are made here,
/// before anything is recorded or done.
fn before(host: &Host, step: &Step, directory: &str, receipt: &Receipt) -> Result<Vec<Change>> {
    let mut changes = Vec::new();
    let id = step.id();
    let file = |changes: &mut Vec<Change>, path: &str| -> Result<()> {
        // What an earlier attempt found is what counts; a copy made now would be one of our own file.
        if receipt.remembers(&id, path) {
            return Ok(());
        }
        changes.extend(missing_directories(host, path));
        // Every copy has a number of its own: a file may be copied again by a later step.
        let number = receipt.copies() + copies(changes.iter());
        changes.push(Change::File { path: path.into(), was: keep(host, path, number)? });
        Ok(())
    };
    match step {
        Step::Write { file: owned, path } => {
            // From the next boot on these files have an effect of their own.
            match owned {
                Owned::ModulesLoad => changes.extend(unloaded(host, Rung::all_modules())),
                Owned::Sysctl => {
                    let values = network::sysctl(host).into_iter();
                    changes.extend(values.map(|(name, was)| Change::Sysctl { name, was }));
                }
                // Certificates and keys: whoever keeps the server's data keeps these.
                Owned::Caddyfile if !host.exists(format!("{directory}/caddy")) => {
                    changes.push(Change::Data { path: format!("{directory}/caddy") });
                }
                _ => {}
            }
            file(&mut changes, path)?;
            if *owned == Owned::Firewall {
                // Undone first, as long as the script is there.
                changes.push(Change::Rules { script: path.clone() });
            }
        }
        Step::KeepEdited { path } => {
            // As RFC 3339 without its marks: 20260102T030405Z.
            let now: String = timestamp().chars().filter(char::is_ascii_alphanumeric).collect();
            changes.push(Change::Data { path: format!("{path}.edited-{now}") });
        }
        Step::InstallSelf => file(&mut changes, SELF)?,
        Step::Repository { .. } => file(&mut changes, apk::REPOSITORIES)?,
        Step::Packages { add, .. } => {
            for path in engine::STORES.iter().filter(|p| !host.exists(p)) {
                changes.push(Change::Data { path: path.to_string() });
            }
            // containerd makes it at its first start, empty.
            if !host.exists("/opt/containerd") {
                changes.push(Change::Leftover { path: "/opt/containerd".into() });
            }
            changes.push(Change::Installed { packages: apk::installed(host) });
            changes.extend(world(host, add));
        }
        Step::Kernel { release, flavour, add, .. } => {
            changes.push(Change::Loader);
            // Made by triggers and depmod, and left when the package goes.
            for path in [format!("/lib/modules/{release}"), format!("/boot/initramfs-{flavour}")] {
                if !host.exists(&path) {
                    changes.push(Change::Leftover { path });
                }
            }
            // mkinitfs's settings are edited where its initramfs lacks a driver.
            for path in bootloader::settings(host).iter().chain(&[bootable::CONF]) {
                file(&mut changes, path)?;
            }
            changes.push(Change::Installed { packages: apk::installed(host) });
            changes.extend(world(host, add));
        }
        Step::Hold { constraint } => changes.extend(world(host, std::slice::from_ref(constraint))),
        Step::Module { release, .. } => {
            changes.push(Change::Depmod { release: release.clone() });
            file(&mut changes, &format!("/lib/modules/{release}/{EXTRA}"))?;
        }
        Step::Enable { service, runlevel } => {
            changes.push(Change::Runlevel { service: service.clone(), runlevel: runlevel.clone() });
            if service == FIREWALL_SERVICE {
                // At the next boot it is started.
                changes.push(Change::Started { service: service.clone() });
            }
        }
        Step::Start { service } => {
            if !host.exists(format!("/run/openrc/started/{service}")) {
                changes.push(Change::Started { service: service.clone() });
            }
        }
        Step::Pull { image } => changes.push(Change::Image { reference: image.clone() }),
        Step::Arm { .. } => {
            changes.push(Change::Loader);
            changes.push(Change::Armed);
            let settings = bootloader::settings(host).iter().chain(bootloader::trial_files(host));
            for path in settings.chain(&[bootable::CONF]) {
                file(&mut changes, path)?;
            }
        }
        Step::Default { .. } => {
            changes.push(Change::Loader);
            for path in bootloader::settings(host) {
                file(&mut changes, path)?;
            }
        }
        Step::Load { modules } => changes.extend(unloaded(host, modules.iter().map(String::as_str))),
        Step::Sysctl { values } => changes.extend(sysctl_values(host, values.iter().map(|(name, _)| name.as_str()))),
        Step::Firewall { script } => changes.push(Change::Rules { script: script.clone() }),
        Step::Compose => {
            if !host.exists(format!("{directory}/data")) {
                changes.push(Change::Data { path: format!("{directory}/data") });
            }
            changes.push(Change::Project { directory: directory.into() });
        }
        Step::RemoveOld { package, .. } => {
            changes.push(Change::Loader);
            changes.extend(world(host, std::slice::from_ref(package)));
        }
        // What is cleaned was made by an earlier step, which undoes it. The cache goes at the very end of a
        // rollback, which may need what lies in it.
        Step::WayBack
        | Step::Backup
        | Step::Clean { .. }
        | Step::Prove { .. }
        | Step::Extract { .. }
        | Step::Build { .. } => {}
        Step::FirstStart | Step::Ready { .. } | Step::Https { .. } | Step::Reboot { .. } | Step::Finish => {}
    }
    Ok(changes)
}

/// Writes ahead what `step` is about to change.
pub fn record(host: &Host, step: &Step, directory: &str, receipt: &mut Receipt) -> Result<()> {
    let prior = before(host, step, directory, receipt)?;
    receipt.begin(&step.id(), prior);
    receipt.save(host)
}

/// Takes one change back. Doing it twice does no harm.
pub fn undo(host: &Host, change: &Change, purge_data: bool) -> Result<()> {
    let sh = host.shell();
    match change {
        Change::File { path, was } => match was {
            Was::Absent => host.remove_file(path),
            Was::Same => Ok(()),
            Was::Different { copy, owner } => match host.read(copy) {
                Some(bytes) => host.restore(path, &bytes, *owner),
                None => Err(Error::step(format!("{copy}: the copy of {path} is gone"))
                    .remedy(format!("restore {path} by hand"))),
            },
        },
        Change::Directory { path } => {
            // What somebody else put there stays.
            host.remove_empty_dir(path);
            Ok(())
        }
        Change::Installed { .. } => Ok(()),
        Change::World { package, was } => undo_world(host, package, was.as_deref()),
        Change::Runlevel { service, runlevel } if runlevel.ends_with(".target") => {
            host.ask(cmd!(sh, "systemctl disable {service}"), Limits::seconds(60));
            Ok(())
        }
        Change::Runlevel { service, runlevel } => {
            if host.exists(format!("/etc/runlevels/{runlevel}/{service}")) {
                host.run(
                    cmd!(sh, "rc-update del {service} {runlevel}"),
                    Limits::seconds(60),
                    "taking the service out of the runlevel",
                )?;
            }
            if service == GUARD_SERVICE {
                // Its script goes too: nothing could stop it by then, and it has long ended.
                host.remove_file(format!("/run/openrc/started/{service}"))?;
            }
            Ok(())
        }
        Change::Started { service } => {
            // The resume service is this program itself.
            if service != RESUME && host.exists(format!("/etc/init.d/{service}")) {
                host.run(
                    cmd!(sh, "rc-service --ifstarted {service} stop"),
                    Limits::seconds(120),
                    "stopping the service",
                )?;
            }
            Ok(())
        }
        Change::Loaded { module } => {
            // A module that something else uses by now stays loaded: that is not an error.
            host.ask(cmd!(sh, "modprobe -r {module}"), Limits::seconds(60));
            Ok(())
        }
        Change::Sysctl { name, was } => {
            host.ask(cmd!(sh, "sysctl -w {name}={was}"), Limits::seconds(10));
            Ok(())
        }
        Change::Image { reference } => {
            if host.which("docker").is_some() {
                host.ask(cmd!(sh, "docker image rm {reference}"), Limits::seconds(120));
            }
            Ok(())
        }
        Change::Rules { script } => {
            if host.exists(script) {
                let path = host.path(script);
                host.run(cmd!(sh, "sh {path} stop"), Limits::seconds(60), "taking the packet filter's rules away")?;
            }
            Ok(())
        }
        Change::Project { directory } => undo_project(host, directory),
        Change::Depmod { release } => {
            if host.exists(format!("/lib/modules/{release}/modules.dep")) {
                host.run(cmd!(sh, "depmod {release}"), Limits::seconds(120), "indexing the modules")?;
            }
            Ok(())
        }
        Change::Loader => bootloader::regenerate(host),
        Change::Armed => bootloader::disarm(host),
        Change::Leftover { path } => host.remove_tree(path),
        Change::Data { path } => {
            if purge_data {
                host.remove_tree(path)
            } else {
                Ok(())
            }
        }
    }
}

/// Has a service start in a runlevel from now on.
pub fn enable(host: &Host, service: &str, runlevel: &str) -> Result<()> {
    let sh = host.shell();
    let cmd = match runlevel.ends_with(".target") {
        true => cmd!(sh, "systemctl enable {service}"),
        false => cmd!(sh, "rc-update add {service} {runlevel}"),
    };
    host.run(cmd, Limits::seconds(60), "enabling the service").map(drop)
}

/// Puts the rules of our script in place, each before others in its parent.
pub fn place_rules(host: &Host, script: &str) -> Result<()> {
    let (sh, path) = (host.shell(), host.path(script));
    host.run(cmd!(sh, "sh {path} start"), Limits::seconds(60), "putting the packet filter's rules in place")
        .map(drop)
        .map_err(|e| e.remedy("docker needs `iptables` as well: check that it is installed and works (`iptables -S`)"))
}

/// Takes away the services that a reboot needed; one of them may be what runs this.
pub fn remove_services(host: &Host) -> Result<()> {
    let sh = host.shell();
    for (service, runlevel, file) in [(RESUME, "default", SERVICE), (WATCHDOG_SERVICE, "sysinit", WATCHDOG)] {
        if host.exists(format!("/etc/runlevels/{runlevel}/{service}")) {
            let cmd = cmd!(sh, "rc-update del {service} {runlevel}");
            host.run(cmd, Limits::seconds(60), "removing a service")?;
        }
        host.remove_file(format!("/run/openrc/started/{service}"))?;
        host.remove_file(file)?;
    }
    Ok(())
}

fn world(host: &Host, add: &[String]) -> Vec<Change> {
    let world = host.read_text(apk::WORLD).unwrap_or_default();
    add.iter()
        .map(|constraint| {
            let package = apk::package_name(constraint).to_string();
            let was = world.split_whitespace().find(|w| apk::package_name(w) == package).map(String::from);
            Change::World { package, was }
        })
        .collect()
}

fn undo_world(host: &Host, package: &str, was: Option<&str>) -> Result<()> {
    let sh = host.shell();
    let world = host.read_text(apk::WORLD).unwrap_or_default();
    let now = world.split_whitespace().find(|w| apk::package_name(w) == package);
    if now == was {
        return Ok(());
    }
    let from = &apk::instead(host);
    let (cmd, doing) = match was {
        None => (cmd!(sh, "apk --wait 300 {from...} del {package}"), "removing the package"),
        Some(constraint) => (cmd!(sh, "apk --wait 300 {from...} add {constraint}"), "restoring the package"),
    };
    host.run(cmd, Limits::seconds(900), doing).map(drop)
}

fn undo_project(host: &Host, directory: &str) -> Result<()> {
    let file = format!("{directory}/compose.yaml");
    if !host.exists(&file) || host.which("docker").is_none() {
        return Ok(());
    }
    let compose = engine::compose(host);
    if compose.is_empty() {
        return Ok(());
    }
    let cmd = crate::container::compose_command(host, &compose, directory).arg("down");
    host.run(cmd, Limits::seconds(180), "taking the container down").map(drop)
}

fn unloaded<'a>(host: &Host, modules: impl Iterator<Item = &'a str>) -> Vec<Change> {
    let loaded = crate::facts::kernel::modules(host).loaded;
    modules.filter(|m| !loaded.contains(*m)).map(|m| Change::Loaded { module: m.into() }).collect()
}

fn sysctl_values<'a>(host: &Host, names: impl Iterator<Item = &'a str>) -> Vec<Change> {
    names
        .filter_map(|name| {
            Some(Change::Sysctl { name: name.into(), was: host.read_trimmed(network::sysctl_path(name))? })
        })
        .collect()
}

/// Remembers a file before it is replaced.
fn keep(host: &Host, path: &str, number: usize) -> Result<Was> {
    let (Some(bytes), Some(owner)) = (host.read(path), host.owner(path)) else { return Ok(Was::Absent) };
    host.make_dirs(COPIES, 0o700)?;
    let name = path.trim_start_matches('/').replace('/', "%");
    let copy = format!("{COPIES}/{number:03}-{name}");
    let bytes = if path == CONFIG { without_password(bytes) } else { bytes };
    host.write(&copy, &bytes, 0o600)?;
    Ok(Was::Different { copy, owner })
}

/// A configuration that was there before may hold the password, which must not stay behind in a copy.
fn without_password(bytes: Vec<u8>) -> Vec<u8> {
    let parsed = std::str::from_utf8(&bytes).ok().and_then(|text| crate::yaml::parse(text).ok());
    match parsed {
        Some(mut value) if value["server"]["password"].is_string() => {
            value["server"].as_object_mut().map(|server| server.remove("password"));
            crate::yaml::to_string(&value).into_bytes()
        }
        _ => bytes,
    }
}

/// Directories that writing `path` would make, topmost first.
fn missing_directories(host: &Host, path: &str) -> Vec<Change> {
    let mut missing: Vec<Change> = std::path::Path::new(path)
        .ancestors()
        .skip(1)
        .take_while(|dir| !host.exists(dir))
        .map(|dir| Change::Directory { path: dir.to_string_lossy().into_owned() })
        .collect();
    missing.reverse();
    missing
}
