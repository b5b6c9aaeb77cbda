//! The module: there, indexed, made for this kernel, and the build that is loaded.

use super::check::{Found, View, problem};
use crate::error::Error;
use crate::facts::InstalledModule;
use crate::module::NAME;
use crate::owned::Rung;

const REMEDY: &str = "run `awg-install install`, or `awg-install upgrade` after a kernel update";

/// The file that kmod would load for the kernel that runs.
pub fn file(view: &View) -> Found {
    match look(view) {
        Err(skipped) => skipped,
        Ok(None) => Found::bad(
            Error::step(format!("no amneziawg.ko is there for {}", view.facts.kernel.running))
                .cause("it was removed, or the kernel was upgraded without it")
                .remedy(REMEDY),
        ),
        Ok(Some(m)) => Found::good(m.path.clone()),
    }
}

/// `modinfo` inside a container and modprobe go by kmod's own index.
pub fn index(view: &View) -> Found {
    match look(view) {
        Err(skipped) => skipped,
        Ok(Some(m)) if m.indexed => Found::good("modules.dep.bin names it"),
        Ok(_) => {
            let release = &view.facts.kernel.running;
            let cause = match view.more.binary_index {
                true => "depmod did not run after the file was put there, or ran for another release",
                false => {
                    "there is no modules.dep.bin: the text index was made by BusyBox's depmod, which makes no other"
                }
            };
            Found::bad(problem(
                "modules.dep.bin does not name it",
                cause,
                format!("`apk add kmod`, then `depmod {release}`; or run `awg-install install`"),
            ))
        }
    }
}

/// Made for this kernel: release and flags in its vermagic, and every symbol's CRC.
pub fn fits(view: &View) -> Found {
    let running = &view.facts.kernel.running;
    match look(view) {
        Err(skipped) => skipped,
        Ok(Some(m)) if m.vermagic_release != *running => Found::bad(problem(
            format!("{} is for {}, and {running} runs", m.path, m.vermagic_release),
            "the kernel refuses it (`Exec format error`)",
            REMEDY,
        )),
        Ok(_) => match &view.more.misfit {
            Some((message, cause)) => Found::bad(problem(message, cause, REMEDY)),
            None => Found::good(format!("made for {running}: vermagic and symbols agree")),
        },
    }
}

/// What the image says of the module that it brings along.
pub fn version_file(view: &View) -> Found {
    let Some(contents) = &view.more.image else { return Found::skipped("the image was not looked into") };
    let running = &view.facts.kernel.running;
    match &contents.version {
        None => Found::skipped("the image has no /etc/amneziawg-kernel-version.txt"),
        Some(version) if running.starts_with(&format!("{version}-")) => {
            Found::good(format!("the image's module is for {version}, and {running} runs"))
        }
        Some(version) => Found::warning(problem(
            format!("the image's module is for {version}, and {running} runs"),
            "the image was made for another kernel; the module on this host comes from elsewhere",
            format!("run `awg-install upgrade`, or name an image for {running} (container.image)"),
        )),
    }
}

/// Loaded, and the build that lies on the disk.
pub fn loaded(view: &View) -> Found {
    if view.rung != Rung::Kernel {
        return not_needed(view);
    }
    let modules = &view.facts.modules;
    if !modules.loaded.contains(NAME) {
        let kernel = &view.facts.kernel;
        let cause = match view.more.refusals.last() {
            Some(line) => line.clone(),
            None if kernel.sig_enforce => "the kernel takes only modules with a signature that it knows".into(),
            None if kernel.lockdown != "none" && !kernel.lockdown.is_empty() => {
                format!("the kernel is locked down ({}): it may refuse modules without a signature", kernel.lockdown)
            }
            None => "somebody has unloaded it, or the service that loads it at boot does not run".into(),
        };
        return Found::bad(problem(
            format!("{NAME} is not loaded"),
            cause,
            format!("`modprobe {NAME}`, and `dmesg | tail` where that fails"),
        ));
    }
    let place = match look(view) {
        Ok(Some(m)) => m,
        // Another distribution's own business.
        _ => return Found::good("loaded by somebody else"),
    };
    if place.srcversion.is_some() && place.srcversion != modules.loaded_srcversion {
        let name = |v: &Option<String>| v.clone().unwrap_or_else(|| "unknown".into());
        return Found::bad(problem(
            "another build of the module is loaded than the one in place",
            format!("in place {}, loaded {}", name(&place.srcversion), name(&modules.loaded_srcversion)),
            "restart the host, or stop the container and load it anew (`modprobe -r amneziawg; modprobe amneziawg`)",
        ));
    }
    Found::good(format!("{}, {}, loaded", place.path, place.srcversion.as_deref().unwrap_or("no srcversion")))
}

/// The file for the kernel that runs; or why nobody has to look.
fn look<'a>(view: &'a View) -> Result<Option<&'a InstalledModule>, Found> {
    if view.rung != Rung::Kernel {
        return Err(not_needed(view));
    }
    if view.facts.os.id != "alpine" {
        return Err(Found::skipped("another distribution: the module was loaded by somebody else"));
    }
    Ok(view.facts.modules.amneziawg.get(&view.facts.kernel.running))
}

fn not_needed(view: &View) -> Found {
    Found::skipped(format!("the {} mode needs no module", view.rung.as_str()))
}
