//! GRUB: a trial entry stands in custom.cfg, which grub.cfg reads at boot, and `grub-reboot` starts it
//! one time. Defaults are named by full ids (`parent>child`), for positions move when a kernel comes.

use std::collections::BTreeMap;

use xshell::cmd;

use super::{TRIAL_PARAMETERS, set_shell_value};
use crate::error::{Error, Result};
use crate::facts::BootEntry;
use crate::facts::grub::{self, CUSTOM_CFG, DEFAULT_GRUB, GRUB_CFG, GRUBENV, Grub};
use crate::host::{Host, Limits};
use crate::owned::grub_trial;
use crate::step::TRIAL;

pub const SETTINGS: &[&str] = &[DEFAULT_GRUB, TRIGGER_SETTINGS];
/// Of the package's trigger alone; often not there.
pub const TRIGGER_SETTINGS: &str = "/etc/update-grub.conf";
pub const TRIAL_FILES: &[&str] = &[CUSTOM_CFG, SUMS];
/// SHA-256 of what the trial entry loads; GRUB checks it before it loads anything.
const SUMS: &str = "/boot/grub/awg-trial.sha256";
/// Lines around what is ours in custom.cfg, which may hold entries of the operator's.
const BEGIN: &str = "# >>> awg-install";
const END: &str = "# <<< awg-install";

pub(super) fn regenerate(host: &Host) -> Result<()> {
    let sh = host.shell();
    if host.which("update-grub").is_none() {
        return Ok(());
    }
    host.run(cmd!(sh, "update-grub"), Limits::seconds(120), "generating the loader's configuration").map(drop)
}

pub fn entry(host: &Host, flavour: &str) -> Option<BootEntry> {
    let entry = configured(host).of_flavour(flavour)?.clone();
    Some(BootEntry { label: entry.id(), linux: entry.linux, initrd: entry.initrd, append: entry.append })
}

pub fn default(host: &Host) -> String {
    configured(host).default_entry(&environment(host)).map(|e| e.flavour().to_string()).unwrap_or_default()
}

/// Names the entry that starts now instead of a position: a kernel that is added may come to stand there.
pub fn hold_default(host: &Host) -> Result<()> {
    let flavour = default(host);
    if flavour.is_empty() { Ok(()) } else { name_default(host, &flavour) }
}

pub fn arm(host: &Host, flavour: &str, old: &str) -> Result<()> {
    let sh = host.shell();
    super::entry(host, flavour)?;
    let conf = configured(host);
    let (Some(like), Some(back)) = (conf.of_flavour(flavour), conf.of_flavour(old)) else {
        return Err(Error::step(format!("{GRUB_CFG} lacks the entry for {flavour} or {old}")));
    };
    let files: Vec<&str> =
        [like.linux.as_str()].into_iter().chain(like.initrd.iter().flat_map(|i| i.split(' '))).collect();
    host.write(SUMS, sums(host, &files)?.as_bytes(), 0o644)?;
    let name = SUMS.rsplit('/').next().unwrap_or_default();
    let directory = like.linux.rsplit_once('/').map(|(dir, _)| dir).filter(|d| !d.is_empty()).unwrap_or("/");
    let text = grub_trial(&like.body, TRIAL_PARAMETERS, &back.body, name, directory)?;
    let kept = without_ours(&host.read_text(CUSTOM_CFG).unwrap_or_default());
    host.edit(CUSTOM_CFG, &format!("{kept}{BEGIN}\n{text}{END}\n"))?;
    if default(host) != old {
        return Err(Error::step(format!("{GRUB_CFG} does not start {old} by default any more")));
    }
    host.sync();
    host.run(cmd!(sh, "grub-reboot {TRIAL}"), Limits::seconds(60), "arming the new kernel for one boot")?;
    if environment(host).get("next_entry").map(String::as_str) != Some(TRIAL) {
        return Err(Error::step(format!("{GRUBENV} does not name the trial entry after grub-reboot")));
    }
    host.sync();
    Ok(())
}

pub fn disarm(host: &Host) -> Result<()> {
    let sh = host.shell();
    if host.which("grub-editenv").is_some() && host.exists(GRUBENV) {
        let cmd = cmd!(sh, "grub-editenv {GRUBENV} unset next_entry");
        host.run(cmd, Limits::seconds(60), "disarming the loader")?;
    }
    Ok(())
}

pub fn make_default(host: &Host, flavour: &str) -> Result<()> {
    name_default(host, flavour)?;
    super::regenerate(host)?;
    drop_trial(host)?;
    host.sync();
    let boots = default(host);
    if boots != flavour {
        return Err(Error::step(format!("{GRUB_CFG} still starts {boots:?} by default"))
            .cause(format!("GRUB_DEFAULT was written to {DEFAULT_GRUB}"))
            .remedy("run update-grub and see what it says, then run this again"));
    }
    Ok(())
}

/// Lines for GRUB's hashsum, with names only: where they are differs between GRUB and Linux when /boot is a
/// file system of its own.
fn sums(host: &Host, files: &[&str]) -> Result<String> {
    let mut text = String::new();
    for file in files {
        let name = file.rsplit('/').next().unwrap_or_default();
        let sum = host
            .sha256_of(format!("/boot/{name}"))
            .ok_or_else(|| Error::step(format!("/boot/{name} cannot be read, and GRUB is to load it")))?;
        text.push_str(&format!("{sum}  {name}\n"));
    }
    Ok(text)
}

fn drop_trial(host: &Host) -> Result<()> {
    host.remove_file(SUMS)?;
    let Some(text) = host.read_text(CUSTOM_CFG) else { return Ok(()) };
    let kept = without_ours(&text);
    if kept.is_empty() {
        return host.remove_file(CUSTOM_CFG);
    }
    host.edit(CUSTOM_CFG, &kept)
}

fn name_default(host: &Host, flavour: &str) -> Result<()> {
    let Some(id) = configured(host).of_flavour(flavour).map(|e| e.id()) else {
        return Err(Error::step(format!("{GRUB_CFG} has no entry for the {flavour} kernel")).remedy("run update-grub"));
    };
    let text = host.read_text(DEFAULT_GRUB).unwrap_or_default();
    let new = set_shell_value(&text, "GRUB_DEFAULT", &format!("\"{id}\""));
    if new == text { Ok(()) } else { host.edit(DEFAULT_GRUB, &new) }
}

fn without_ours(text: &str) -> String {
    let mut ours = false;
    text.split_inclusive('\n')
        .filter(|line| {
            ours |= line.trim_end() == BEGIN;
            let keep = !ours;
            ours &= line.trim_end() != END;
            keep
        })
        .collect()
}

fn configured(host: &Host) -> Grub {
    grub::parse(&host.read_text(GRUB_CFG).unwrap_or_default())
}

fn environment(host: &Host) -> BTreeMap<String, String> {
    grub::parse_environment(&host.read_text(GRUBENV).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_the_operator_stay() {
        let theirs = "menuentry 'memtest' {\n}\n";
        let both = format!("{theirs}{BEGIN}\nmenuentry 'x' {{\n}}\n{END}\n");
        assert_eq!(without_ours(&both), theirs);
        assert_eq!(without_ours(theirs), theirs);
        assert_eq!(without_ours(""), "");
    }
}
