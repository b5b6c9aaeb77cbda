//! The boot loader: a kernel is tried once, by an entry of its own, before it becomes the default.
//!
//! Each loader has the same few actions. What is written is read back: a loader's own generator does not
//! always say when it has left something out.

mod extlinux;
mod grub;

use crate::error::{Error, Result};
use crate::facts::BootEntry;
use crate::facts::boot::{self, Loader};
use crate::host::Host;

/// The way back from a trial boot, in the words of the kernel's own parameters: a panic, an oops or a
/// processor that is stuck for long restarts the machine after 15 seconds.
pub const TRIAL_PARAMETERS: &str = "panic=15 oops=panic softlockup_panic=1 awg.trial=1";

/// Files of the loader's settings that holding, arming or changing the default may edit.
pub fn settings(host: &Host) -> &'static [&'static str] {
    match boot::loader(host) {
        Some(Loader::Extlinux) => extlinux::SETTINGS,
        Some(Loader::Grub) => grub::SETTINGS,
        None => &[],
    }
}

/// The files that make the trial entry.
pub fn trial_files(host: &Host) -> &'static [&'static str] {
    match boot::loader(host) {
        Some(Loader::Extlinux) => extlinux::TRIAL_FILES,
        Some(Loader::Grub) => grub::TRIAL_FILES,
        None => &[],
    }
}

/// Generates the loader's configuration anew from its own settings.
///
/// A loader reads the disk without the file system's journal. What is not there yet while the generator replaces its
/// files is put there first, so that little can come between the blocks of what it has replaced.
pub fn regenerate(host: &Host) -> Result<()> {
    host.sync();
    let generated = match boot::loader(host) {
        Some(Loader::Extlinux) => extlinux::regenerate(host),
        Some(Loader::Grub) => grub::regenerate(host),
        None => Ok(()),
    };
    host.sync();
    generated
}

/// In the loader's settings, while a kernel is installed: its trigger (`disable_trigger`, in Alpine's syslinux and
/// grub) leaves alone what boots now.
const HELD: &str = "disable_trigger=1 # awg-install: until the new kernel is armed";

/// Installs a kernel by `add` without having the loader's configuration generated: apk's trigger would, beside whatever
/// else is written then, and a power cut half-way leaves a loader that finds nothing. `arm` does that later.
pub fn without_trigger<T>(host: &Host, add: impl FnOnce() -> Result<T>) -> Result<T> {
    let Some(path) = trigger_settings(host) else { return add() };
    // One that a run which was cut off has left goes as well.
    let text = without_held(&host.read_text(path).unwrap_or_default());
    host.edit(path, &format!("{text}{HELD}\n"))?;
    let added = add();
    if text.is_empty() {
        host.remove_file(path)?
    } else {
        host.edit(path, &text)?
    }
    added
}

fn trigger_settings(host: &Host) -> Option<&'static str> {
    Some(match boot::loader(host)? {
        Loader::Extlinux => extlinux::TRIGGER_SETTINGS,
        Loader::Grub => grub::TRIGGER_SETTINGS,
    })
}

/// The settings without our line, and with an end to their last one.
fn without_held(text: &str) -> String {
    text.lines().filter(|line| *line != HELD).map(|line| format!("{line}\n")).collect()
}

/// The generated entry of a kernel flavour; generates the configuration when it lacks one.
pub fn entry(host: &Host, flavour: &str) -> Result<BootEntry> {
    for attempt in 0..2 {
        let found = match known(host)? {
            Loader::Extlinux => extlinux::entry(host, flavour),
            Loader::Grub => grub::entry(host, flavour),
        };
        if let Some(entry) = found {
            return Ok(entry);
        }
        if attempt == 0 {
            // Its trigger may be switched off, and apk does not say when one has failed.
            regenerate(host)?;
        }
    }
    let name = known(host)?.as_str();
    Err(Error::step(format!("{name} has no boot entry for the {flavour} kernel"))
        .cause("its configuration was generated anew and still lacks one")
        .remedy("generate it by hand (update-extlinux, update-grub), see what it says, then run this again"))
}

/// The flavour that starts by default.
pub fn default(host: &Host) -> String {
    match boot::loader(host) {
        Some(Loader::Extlinux) => extlinux::default(host),
        Some(Loader::Grub) => grub::default(host),
        None => String::new(),
    }
}

/// Keeps what boots now the default while another kernel is installed and tried. The settings may name
/// that kernel already: as the host was set up, or by a run that was cut off before it generated anew.
/// Where the one that boots is about to be replaced (`incoming`), another installed one takes its place.
pub fn hold_default(host: &Host, incoming: &str) -> Result<()> {
    let loader = known(host)?;
    if default(host) == incoming {
        let here = |f: &String| f != incoming && host.exists(format!("/boot/vmlinuz-{f}"));
        let Some(other) = host.names("/usr/share/kernel").into_iter().find(here) else {
            return Err(Error::step(format!(
                "only a kernel of the flavour {incoming} is installed: there would be no way back"
            ))
            .remedy("install another one first (apk add linux-virt), then run this again"));
        };
        return make_default(host, &other);
    }
    match loader {
        Loader::Extlinux => extlinux::hold_default(host),
        Loader::Grub => grub::hold_default(host),
    }
}

/// Makes the trial entry and tells the loader to start it once.
pub fn arm(host: &Host, flavour: &str) -> Result<()> {
    hold_default(host, flavour)?;
    let old = default(host);
    if old.is_empty() || old == flavour {
        return Err(Error::step(format!("the loader's default is {old:?} already: there would be no way back"))
            .remedy("boot the kernel that runs now by default, then run this again"));
    }
    match known(host)? {
        Loader::Extlinux => extlinux::arm(host, flavour, &old),
        Loader::Grub => grub::arm(host, flavour, &old),
    }
}

/// Takes back that something is started once. Harmless when nothing is.
pub fn disarm(host: &Host) -> Result<()> {
    match boot::loader(host) {
        Some(Loader::Extlinux) => extlinux::disarm(host),
        Some(Loader::Grub) => grub::disarm(host),
        None => Ok(()),
    }
}

/// Takes the trial entry away and makes `flavour` the default; reads back what was written.
pub fn make_default(host: &Host, flavour: &str) -> Result<()> {
    match known(host)? {
        Loader::Extlinux => extlinux::make_default(host, flavour),
        Loader::Grub => grub::make_default(host, flavour),
    }
}

/// Everything a loader is told to start must be on the disk before it is told.
fn known(host: &Host) -> Result<Loader> {
    boot::loader(host).ok_or_else(|| {
        Error::step("the boot loader's configuration is gone")
            .cause("it was there when the plan was made")
            .remedy("restore it (update-extlinux or update-grub), then run this again")
    })
}

/// Changes one plain assignment of a file that is sourced as shell, and leaves every other byte alone.
fn set_shell_value(text: &str, name: &str, value: &str) -> String {
    let mut found = false;
    let mut out: String = text
        .split_inclusive('\n')
        .map(|line| {
            if line.trim_start().strip_prefix(name).is_some_and(|rest| rest.starts_with('=')) {
                found = true;
                format!("{name}={value}\n")
            } else {
                line.to_string()
            }
        })
        .collect();
    if !found {
        if !out.is_empty() && !out.ends_with('\n') {
            out.push('\n');
        }
        out.push_str(&format!("{name}={value}\n"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_line_goes() {
        let text = "default=virt\ndisable_trigger=1\n";
        assert_eq!(without_held(&format!("{text}{HELD}\n")), text);
        assert_eq!(without_held("a=1"), "a=1\n");
        assert_eq!(without_held(&format!("{HELD}\n")), "");
    }

    #[test]
    fn one_assignment_changes() {
        let text = "# default kernel\noverwrite=1\ndefault=virt\ndefault_kernel_opts=\"quiet\"\n";
        assert_eq!(set_shell_value(text, "default", "lts"), text.replace("default=virt", "default=lts"));
        assert_eq!(set_shell_value("a=1", "default", "lts"), "a=1\ndefault=lts\n");
        assert_eq!(set_shell_value("", "default", "lts"), "default=lts\n");
    }
}
