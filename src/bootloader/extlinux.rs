//! extlinux: entries are generated; a trial entry is appended from a directory of additions, and
//! `extlinux --once` starts it one time.

use xshell::cmd;

use super::{TRIAL_PARAMETERS, set_shell_value};
use crate::error::{Error, Result};
use crate::facts::BootEntry;
use crate::facts::boot::{EXTLINUX_CONF, Extlinux, UPDATE_EXTLINUX_CONF, parse_extlinux, shell_value};
use crate::host::{Host, Limits};
use crate::owned::{TRIAL_ENTRY, extlinux_trial};
use crate::step::TRIAL;

pub const SETTINGS: &[&str] = &[UPDATE_EXTLINUX_CONF];
pub const TRIAL_FILES: &[&str] = &[TRIAL_ENTRY];
pub const TRIGGER_SETTINGS: &str = UPDATE_EXTLINUX_CONF;

pub(super) fn regenerate(host: &Host) -> Result<()> {
    let sh = host.shell();
    if host.which("update-extlinux").is_none() {
        return Ok(());
    }
    host.run(cmd!(sh, "update-extlinux"), Limits::seconds(120), "generating the loader's configuration").map(drop)
}

pub fn entry(host: &Host, flavour: &str) -> Option<BootEntry> {
    configured(host).entries.into_iter().find(|e| e.label == flavour)
}

pub fn default(host: &Host) -> String {
    configured(host).default
}

pub fn hold_default(host: &Host) -> Result<()> {
    let boots = configured(host).default;
    let named = shell_value(&host.read_text(UPDATE_EXTLINUX_CONF).unwrap_or_default(), "default");
    if boots.is_empty() || named.as_ref() == Some(&boots) { Ok(()) } else { write_default(host, &boots) }
}

pub fn arm(host: &Host, flavour: &str, old: &str) -> Result<()> {
    let sh = host.shell();
    let like = super::entry(host, flavour)?;
    let text = extlinux_trial(&like.linux, like.initrd.as_deref(), &like.append, TRIAL_PARAMETERS, old)?;
    if let Some(dir) = std::path::Path::new(TRIAL_ENTRY).parent() {
        host.make_dirs(dir, 0o755)?;
    }
    host.write(TRIAL_ENTRY, text.as_bytes(), 0o644)?;
    super::regenerate(host)?;
    let conf = configured(host);
    let written = conf.entries.iter().find(|e| e.label == TRIAL);
    if !written.is_some_and(|e| e.linux == like.linux && e.initrd == like.initrd) || conf.default != old {
        return Err(Error::step(format!("{EXTLINUX_CONF} does not hold the trial entry as written"))
            .remedy(format!("check overwrite=1 in {UPDATE_EXTLINUX_CONF}")));
    }
    host.run(cmd!(sh, "extlinux --once {TRIAL} /boot"), Limits::seconds(60), "arming the new kernel for one boot")?;
    host.sync();
    Ok(())
}

pub fn disarm(host: &Host) -> Result<()> {
    let sh = host.shell();
    if host.which("extlinux").is_some() {
        host.run(cmd!(sh, "extlinux --clear-once /boot"), Limits::seconds(60), "disarming the loader")?;
    }
    Ok(())
}

pub fn make_default(host: &Host, flavour: &str) -> Result<()> {
    write_default(host, flavour)?;
    host.remove_file(TRIAL_ENTRY)?;
    super::regenerate(host)?;
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
    host.edit(UPDATE_EXTLINUX_CONF, &set_shell_value(&text, "default", label))
}

fn configured(host: &Host) -> Extlinux {
    parse_extlinux(&host.read_text(EXTLINUX_CONF).unwrap_or_default())
}
