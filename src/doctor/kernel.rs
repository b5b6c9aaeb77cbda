//! The kernel: which one runs, whether its modules are there, and what the next restart starts.

use super::check::{Found, View, problem};
use crate::config::Release;
use crate::facts::apk::package_name;
use crate::module;
use crate::owned::Rung;

/// The release that runs is the one that the mode was proven on.
pub fn release(view: &View) -> Found {
    let running = &view.facts.kernel.running;
    let proven = view.receipt.and_then(|r| r.proven.as_ref()).map(|p| p.release.as_str());
    let asked = view.config.kernel.release.exact().map(ToString::to_string);
    if view.rung != Rung::Kernel {
        return Found::good(format!("{running} runs; the {} mode needs no particular kernel", view.rung.as_str()));
    }
    match asked.as_deref().or(proven) {
        Some(wanted) if wanted != running => Found::bad(problem(
            format!("{running} runs, and {wanted} was expected"),
            "another kernel was started than the one that the module belongs to",
            "restart the host; where the kernel was upgraded: `awg-install upgrade`",
        )),
        Some(_) => Found::good(format!("{running} runs, as expected")),
        None => Found::good(format!("{running} runs; none was asked for")),
    }
}

/// What is not loaded yet can still be loaded.
pub fn modules(view: &View) -> Found {
    let running = &view.facts.kernel.running;
    if let Some(kind) = &view.facts.os.container {
        return Found::skipped(format!("this is a {kind} container: its kernel belongs to the machine below"));
    }
    if view.more.text_index {
        return Found::good(format!("/lib/modules/{running} has an index"));
    }
    let seen = format!("/lib/modules/{running} has no index of modules");
    let flavour = view.facts.kernel.installed.iter().find(|k| running.ends_with(&format!("-{}", k.flavour)));
    match flavour.filter(|k| k.release != *running) {
        Some(newer) => Found::bad(problem(
            seen,
            format!("{} was installed since the last boot", newer.release),
            "restart the host; nothing that is not loaded yet can be loaded before",
        )),
        // What is needed may be built in.
        None => Found::warning(problem(
            seen,
            "the kernel's package was removed, or the provider supplies a kernel without its modules",
            "nothing that is not loaded yet can be loaded: boot a kernel that is installed here",
        )),
    }
}

/// The kernel that runs is the one that the loader starts.
pub fn next(view: &View) -> Found {
    let (boot, kernel) = (&view.facts.boot, &view.facts.kernel);
    if let Some(why) = &boot.unsupported {
        return Found::skipped(why.clone());
    }
    if boot.loader.is_empty() {
        return Found::skipped("no boot loader is known here");
    }
    if boot.trial_pending && view.settled() {
        return Found::warning(problem(
            "an entry for one trial boot is still there",
            "a run was cut off before it could take it away",
            "run `awg-install install`",
        ));
    }
    let starts = kernel.installed.iter().find(|k| k.flavour == boot.default);
    let seen = match starts {
        None => format!("{} starts `{}`, and no kernel of that name is installed", boot.loader, boot.default),
        Some(k) if !(k.vmlinuz && k.initramfs) => {
            format!("{} starts {}, whose files in /boot are not complete", boot.loader, k.release)
        }
        Some(k) if k.release == kernel.running => {
            return Found::good(format!("{} starts {} by default", boot.loader, k.release));
        }
        Some(k) => format!("{} starts {} by default, and {} runs", boot.loader, k.release, kernel.running),
    };
    let remedy = "run `awg-install install`, which makes the right one the default, before the host restarts";
    let error = problem(seen, "the loader's configuration was changed, or a kernel was added or removed", remedy);
    // Where no module depends on it, another kernel does as well, as long as it starts.
    if view.rung != Rung::Kernel && starts.is_some_and(|k| k.vmlinuz && k.initramfs) {
        return Found::warning(error);
    }
    Found::bad(error)
}

/// apk leaves the kernel alone that the module belongs to; what that costs is told.
pub fn hold(view: &View) -> Found {
    let (facts, config) = (view.facts, view.config);
    let Some(apk) = facts.apk.as_ref().filter(|_| view.rung == Rung::Kernel) else {
        return Found::skipped("no kernel is held here");
    };
    let Ok(release) = facts.kernel.running.parse::<Release>() else {
        return Found::skipped(format!("{} is not of a package that can be held", facts.kernel.running));
    };
    if !config.kernel.hold {
        return Found::good("kernel.hold is false: apk upgrade may leave the module behind, and says so");
    }
    let pin = release.pin();
    if !apk.world.iter().any(|w| package_name(w) == release.package()) {
        return Found::good(format!("apk was not asked for {}: nothing is held", release.package()));
    }
    if !apk.world.contains(&pin) {
        return Found::bad(problem(
            format!("{pin} is not in /etc/apk/world"),
            "apk was told to let it go on: the next upgrade leaves the module behind",
            "run `awg-install install`, or set kernel.hold: false",
        ));
    }
    let since = view.receipt.and_then(|r| r.held_since(&release.package(), &facts.kernel.running));
    let since = since.map_or(String::new(), |s| format!(" since {}", s.split('T').next().unwrap_or_default()));
    match apk.kernels(release.flavour()).into_iter().next().filter(|newest| *newest > release) {
        Some(newest) => Found::warning(problem(
            format!("{pin} is held{since}, and the repository has {}", newest.package_version()),
            "a kernel that is held gets no security fixes",
            "`awg-install upgrade` goes on to the newest kernel that there is a module for",
        )),
        None => Found::good(format!("{pin} is held{since}; nothing newer is known")),
    }
}

/// What only an unfinished installation needs.
pub fn leftovers(view: &View) -> Found {
    let left: Vec<&str> = ["awg-install", "awg-watchdog"]
        .into_iter()
        .filter(|name| view.facts.services.get(*name).is_some_and(|s| s.installed || !s.runlevels.is_empty()))
        .collect();
    match (view.settled(), left.is_empty()) {
        (_, true) => Found::good("neither the service that resumes nor the watchdog is left"),
        (false, false) => Found::skipped("an installation is under way, and needs them"),
        (true, false) => Found::warning(problem(
            format!("still there: {}", left.iter().map(|n| format!("/etc/init.d/{n}")).collect::<Vec<_>>().join(", ")),
            "a run was cut off at its very end",
            "run `awg-install install`",
        )),
    }
}

/// What the kernel has said of the module.
pub fn log(view: &View) -> Found {
    let lines = &view.more.refusals;
    if lines.is_empty() {
        return Found::good(format!("nothing against {}", module::NAME));
    }
    let last = lines[lines.len().saturating_sub(3)..].join("\n");
    let error = problem(
        format!("{} lines tell of a module that was refused", lines.len()),
        last,
        "a module that fits this very kernel is needed: `awg-install upgrade`",
    );
    // It may tell of an earlier attempt.
    if view.rung == Rung::Kernel && !view.facts.modules.loaded.contains(module::NAME) {
        return Found::bad(error);
    }
    Found::warning(error)
}

/// What the container's packet filter and the tunnel's device need of the host.
pub fn tables(view: &View) -> Found {
    let running = &view.facts.kernel.running;
    let legacy = view.facts.legacy_tables(running);
    let backend = if legacy { crate::owned::Backend::Legacy } else { crate::owned::Backend::Nft };
    let wanted = view.rung.modules(backend, view.ipv6());
    let wanted: Vec<&str> = wanted.into_iter().filter(|m| *m != module::NAME && *m != "tun").collect();
    let missing: Vec<&str> = wanted.iter().copied().filter(|m| !view.facts.modules.loaded.contains(*m)).collect();
    if missing.is_empty() {
        return Found::good(format!("loaded: {}", wanted.join(", ")));
    }
    Found::bad(problem(
        format!("not loaded: {}", missing.join(", ")),
        "the container cannot load modules itself, and restarts again and again without these",
        format!(
            "modprobe -a {}; /etc/modules-load.d/awg-install.conf has them loaded at boot (`awg-install install` \
             writes it anew)",
            missing.join(" ")
        ),
    ))
}

pub fn tun(view: &View) -> Found {
    match (view.facts.os.tun, view.rung) {
        (true, _) => Found::good("/dev/net/tun can be used"),
        (false, Rung::Wireguard) => Found::skipped("the wireguard mode does not need it"),
        (false, Rung::Userspace) => Found::bad(problem(
            "there is no /dev/net/tun",
            "the userspace mode makes its interface with it",
            "modprobe tun; on a rented container let the provider switch on TUN/TAP",
        )),
        (false, Rung::Kernel) => Found::warning(problem(
            "there is no /dev/net/tun",
            "without it there is no other way on the day when the module cannot be loaded",
            "modprobe tun",
        )),
    }
}
