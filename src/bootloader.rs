//! extlinux: a trial entry that is started once, and a default that changes only afterwards.

use xshell::cmd;

use crate::error::{Error, Result};
use crate::facts::boot::{EXTLINUX_CONF, Extlinux, UPDATE_EXTLINUX_CONF, parse_extlinux, shell_value};
use crate::host::{Host, Limits};
use crate::owned::{TRIAL_ENTRY, trial_entry};
use crate::step::TRIAL;

/// Generates the loader's configuration anew from its own settings.
pub fn regenerate(host: &Host) -> Result<()> {
    let sh = host.shell();
    if host.which("update-extlinux").is_none() || !host.exists(UPDATE_EXTLINUX_CONF) {
        return Ok(());
    }
    host.run(cmd!(sh, "update-extlinux"), Limits::seconds(120), "generating the loader's configuration").map(drop)
}

/// The generated entry of a kernel flavour; generates the configuration when it lacks one.
pub fn entry(host: &Host, flavour: &str) -> Result<crate::facts::BootEntry> {
    for attempt in 0..2 {
        if let Some(entry) = configured(host).entries.into_iter().find(|e| e.label == flavour) {
            return Ok(entry);
        }
        if attempt == 0 {
            // Its trigger may be switched off, and apk does not say when one has failed.
            regenerate(host)?;
        }
    }
    Err(Error::step(format!("{EXTLINUX_CONF} has no entry for the {flavour} kernel"))
        .cause("update-extlinux ran and did not write one")
        .remedy(format!("check overwrite=1 in {UPDATE_EXTLINUX_CONF}, run update-extlinux, then run this again")))
}

/// Keeps what boots now the default while another kernel is installed and tried. The settings may name
/// that kernel already: as the host was set up, or by a run that was cut off before it generated anew.
pub fn hold_default(host: &Host) -> Result<()> {
    match other_default(host) {
        Some(boots) => write_default(host, &boots),
        None => Ok(()),
    }
}

/// The label that boots now, where the settings name another one as the default.
pub fn other_default(host: &Host) -> Option<String> {
    let boots = configured(host).default;
    let named = shell_value(&host.read_text(UPDATE_EXTLINUX_CONF)?, "default");
    (!boots.is_empty() && named.as_ref() != Some(&boots)).then_some(boots)
}

/// Makes the trial entry and tells the loader to start it once.
pub fn arm(host: &Host, flavour: &str) -> Result<()> {
    let sh = host.shell();
    hold_default(host)?;
    let old = configured(host).default;
    if old.is_empty() || old == flavour {
        return Err(Error::step(format!("the loader's default is {old:?} already: there would be no way back"))
            .remedy("boot the kernel that runs now by default, then run this again"));
    }
    let like = entry(host, flavour)?;
    let text = trial_entry(&like.linux, like.initrd.as_deref(), &like.append, &old)?;
    if let Some(dir) = std::path::Path::new(TRIAL_ENTRY).parent() {
        host.make_dirs(dir, 0o755)?;
    }
    host.write(TRIAL_ENTRY, text.as_bytes(), 0o644)?;
    regenerate(host)?;
    let conf = configured(host);
    let written = conf.entries.iter().find(|e| e.label == TRIAL);
    if !written.is_some_and(|e| e.linux == like.linux && e.initrd == like.initrd) || conf.default != old {
        return Err(Error::step(format!("{EXTLINUX_CONF} does not hold the trial entry as written"))
            .remedy(format!("check overwrite=1 in {UPDATE_EXTLINUX_CONF}")));
    }
    host.sync();
    host.run(cmd!(sh, "extlinux --once {TRIAL} /boot"), Limits::seconds(60), "arming the new kernel for one boot")?;
    host.sync();
    Ok(())
}

/// Takes the trial entry away and makes `flavour` the default; reads back what was written.
pub fn make_default(host: &Host, flavour: &str) -> Result<()> {
    write_default(host, flavour)?;
    host.remove_file(TRIAL_ENTRY)?;
    regenerate(host)?;
    host.sync();
    let conf = configured(host);
    if conf.default != flavour || conf.entries.iter().any(|e| e.label == TRIAL) {
        return Err(Error::step(format!("{EXTLINUX_CONF} still starts {:?} by default", conf.default))
            .cause(format!("default={flavour} was written to {UPDATE_EXTLINUX_CONF}"))
            .remedy("check overwrite=1 there, run update-extlinux, then run this again"));
    }
    Ok(())
}

fn write_default(host: &Host, label: &str) -> Result<()> {
    let text = host.read_text(UPDATE_EXTLINUX_CONF).unwrap_or_default();
    let mode = host.owner(UPDATE_EXTLINUX_CONF).map_or(0o644, |o| o.mode);
    host.write(UPDATE_EXTLINUX_CONF, set_shell_value(&text, "default", label).as_bytes(), mode)
}

fn configured(host: &Host) -> Extlinux {
    parse_extlinux(&host.read_text(EXTLINUX_CONF).unwrap_or_default())
}

/// Changes one plain assignment and leaves every other byte alone.
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
    fn one_assignment_changes() {
        let text = "# default kernel\noverwrite=1\ndefault=virt\ndefault_kernel_opts=\"quiet\"\n";
        assert_eq!(set_shell_value(text, "default", "lts"), text.replace("default=virt", "default=lts"));
        assert_eq!(set_shell_value("a=1", "default", "lts"), "a=1\ndefault=lts\n");
        assert_eq!(set_shell_value("", "default", "lts"), "default=lts\n");
    }
}
