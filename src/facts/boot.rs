//! The boot loader: which one it is, what it would start, and why it may not be touched.

use super::grub::{self, CUSTOM_CFG, DEFAULT_GRUB, GRUB_CFG, GRUBENV};
use super::mounts::mount_of;
use super::{Boot, BootEntry, Os};
use crate::host::Host;

pub const EXTLINUX_CONF: &str = "/boot/extlinux.conf";
pub const UPDATE_EXTLINUX_CONF: &str = "/etc/update-extlinux.conf";
/// Appended by update-extlinux to what it generates.
pub const UPDATE_EXTLINUX_DIR: &str = "/etc/update-extlinux.d";

/// The label of an entry that is made for one boot.
pub const TRIAL_LABEL: &str = "awg-trial";

/// A loader whose default this program can change, and start something else once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loader {
    Extlinux,
    Grub,
}

impl Loader {
    pub fn as_str(self) -> &'static str {
        match self {
            Loader::Extlinux => "extlinux",
            Loader::Grub => "GRUB",
        }
    }
}

/// Which of the supported loaders starts this host. Where files of both lie about, UEFI means GRUB; on
/// BIOS the first sector of the disk tells (GRUB's carries its name).
pub fn loader(host: &Host) -> Option<Loader> {
    let extlinux = host.exists(EXTLINUX_CONF) && host.exists(UPDATE_EXTLINUX_CONF);
    let grub = host.exists(GRUB_CFG) && host.exists(DEFAULT_GRUB);
    match (extlinux, grub) {
        (true, true) if host.exists("/sys/firmware/efi") || boot_sector_of_grub(host) => Some(Loader::Grub),
        (true, _) => Some(Loader::Extlinux),
        (false, true) => Some(Loader::Grub),
        (false, false) => None,
    }
}

pub fn probe(host: &Host, os: &Os) -> Boot {
    let refuse = |loader: &str, why: String| Boot { loader: loader.into(), unsupported: Some(why), ..Boot::default() };
    if let Some(kind) = &os.container {
        return refuse("", format!("this is a {kind} container: its kernel belongs to the machine below"));
    }
    if os.diskless {
        return refuse(
            "",
            "the root file system lives in memory (diskless mode): a kernel installed here is gone after a reboot"
                .into(),
        );
    }
    match loader(host) {
        Some(Loader::Extlinux) => return extlinux(host),
        Some(Loader::Grub) if os.id == "alpine" => return grub(host),
        _ => {}
    }
    for (mark, name) in [
        ("/boot/grub/grub.cfg", "GRUB without /etc/default/grub"),
        ("/boot/limine/limine.conf", "limine"),
        ("/boot/limine.conf", "limine"),
        ("/boot/extlinux/extlinux.conf", "U-Boot with extlinux.conf"),
        ("/boot/startup.nsh", "UEFI startup.nsh"),
        ("/boot/efi/startup.nsh", "UEFI startup.nsh"),
        ("/boot/efi/EFI/Linux", "a unified kernel image"),
        ("/boot/EFI/Linux", "a unified kernel image"),
    ] {
        if host.exists(mark) {
            let remedy =
                "start the lts kernel by its own means, then run this again: a kernel that runs is used as it is";
            return refuse(name, format!("kernels cannot be switched under {name} ({mark}); {remedy}"));
        }
    }
    refuse(
        "",
        "no boot loader that this program knows was found: where the provider supplies the kernel, choose linux-lts \
         (or booting from the disk) in the provider's settings"
            .into(),
    )
}

fn grub(host: &Host) -> Boot {
    let text = host.read_text(GRUB_CFG).unwrap_or_default();
    let grub = grub::parse(&text);
    let environment = grub::parse_environment(&host.read_text(GRUBENV).unwrap_or_default());
    let default = grub.default_entry(&environment).map(|e| e.flavour().to_string()).unwrap_or_default();
    let unsupported = if !grub.one_shot {
        Some(format!("{GRUB_CFG} does not know next_entry, so that nothing can be started just once; run update-grub"))
    } else if !grub.custom {
        Some(format!("{GRUB_CFG} does not read custom.cfg (/etc/grub.d/41_custom), where a trial entry would stand"))
    } else if let Some(why) = environment_not_writable(host) {
        Some(format!("GRUB cannot write its environment at boot on {why}: what is meant for one boot would stay"))
    } else {
        ["update-grub", "grub-reboot", "grub-editenv"]
            .into_iter()
            .find(|program| host.which(program).is_none())
            .map(|program| format!("the program {program} is missing: install the package grub"))
    };
    Boot {
        loader: Loader::Grub.as_str().into(),
        unsupported,
        configured_default: default.clone(),
        default,
        entries: grub.boot_entries(),
        trial_pending: environment.get("next_entry").is_some_and(|e| e == TRIAL_LABEL)
            || host.read_text(CUSTOM_CFG).is_some_and(|text| text.contains(&format!("--id {TRIAL_LABEL}"))),
    }
}

/// GRUB writes its environment block in place, without the file system's help: not where blocks move or
/// are mirrored (GRUB manual, "The GRUB environment block").
fn environment_not_writable(host: &Host) -> Option<String> {
    let mount = mount_of(&host.read_text("/proc/self/mountinfo")?, "/boot/grub")?;
    if matches!(mount.fs.as_str(), "btrfs" | "zfs") {
        return Some(mount.fs);
    }
    let (major, minor) = mount.device;
    let slaves = host.names(format!("/sys/dev/block/{major}:{minor}/slaves"));
    (!slaves.is_empty()).then(|| format!("{} (made of {})", mount.source, slaves.join(", ")))
}

fn boot_sector_of_grub(host: &Host) -> bool {
    let Some(mount) = host.read_text("/proc/self/mountinfo").and_then(|text| mount_of(&text, "/boot")) else {
        return false;
    };
    // The disk of the partition: sysfs shows a partition inside its disk.
    let disk = host
        .link(format!("/sys/dev/block/{}:{}", mount.device.0, mount.device.1))
        .and_then(|target| target.rsplit('/').nth(1).map(str::to_string));
    disk.and_then(|disk| host.read_start(format!("/dev/{disk}"), 512))
        .is_some_and(|sector| sector.windows(4).any(|w| w == b"GRUB"))
}

fn extlinux(host: &Host) -> Boot {
    let entries = parse_extlinux(&host.read_text(EXTLINUX_CONF).unwrap_or_default());
    let settings = host.read_text(UPDATE_EXTLINUX_CONF).unwrap_or_default();
    Boot {
        loader: Loader::Extlinux.as_str().into(),
        unsupported: None,
        configured_default: shell_value(&settings, "default").unwrap_or_default(),
        default: entries.default,
        trial_pending: host.exists(format!("{UPDATE_EXTLINUX_DIR}/awg-install")),
        entries: entries.entries,
    }
}

/// What an extlinux.conf boots, and what it offers.
#[derive(Debug, Default, PartialEq)]
pub struct Extlinux {
    pub default: String,
    pub entries: Vec<BootEntry>,
}

/// Reads the subset of the SYSLINUX configuration language that Alpine's generator writes. With a menu
/// the entry marked MENU DEFAULT boots, or else the first; without one the label that DEFAULT names.
pub fn parse_extlinux(text: &str) -> Extlinux {
    let mut entries: Vec<BootEntry> = Vec::new();
    let (mut named, mut marked) = (String::new(), None);
    for line in text.lines() {
        let line = line.trim();
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let rest = rest.trim();
        match (word.to_ascii_uppercase().as_str(), entries.last_mut()) {
            ("DEFAULT", _) => named = rest.to_string(),
            ("LABEL", _) => entries.push(BootEntry { label: rest.to_string(), ..BootEntry::default() }),
            ("MENU", Some(entry)) if rest.eq_ignore_ascii_case("default") => marked = Some(entry.label.clone()),
            ("LINUX" | "KERNEL", Some(entry)) => entry.linux = rest.to_string(),
            ("INITRD", Some(entry)) => entry.initrd = Some(rest.to_string()),
            ("APPEND", Some(entry)) => entry.append = rest.to_string(),
            _ => {}
        }
    }
    let first = || entries.first().map(|e| e.label.clone()).unwrap_or_default();
    let default = if named.ends_with(".c32") || named.is_empty() { marked.unwrap_or_else(first) } else { named };
    Extlinux { default, entries }
}

/// The value that a shell would give `name` after sourcing plain assignments.
pub fn shell_value(text: &str, name: &str) -> Option<String> {
    text.lines()
        .filter_map(|l| l.trim().strip_prefix(name)?.strip_prefix('='))
        .next_back()
        .map(|v| v.split(" #").next().unwrap_or(v).trim().trim_matches(|c| c == '"' || c == '\'').to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Alpine's update-extlinux 6.04 writes on a cloud image with both flavours.
    pub const BOTH: &str = "# Generated by update-extlinux 6.04_pre1-r16\nDEFAULT menu.c32\nPROMPT 0\n\
        MENU TITLE Alpine/Linux Boot Menu\nMENU HIDDEN\nMENU AUTOBOOT Alpine will be booted automatically in # seconds.\n\
        TIMEOUT 10\nLABEL virt\n  MENU DEFAULT\n  MENU LABEL Linux virt\n  LINUX vmlinuz-virt\n  INITRD initramfs-virt\n\
        \x20 APPEND root=UUID=b5a9 modules=sd-mod,ext4 console=ttyS0,115200n8\n\nLABEL lts\n  MENU LABEL Linux lts\n\
        \x20 LINUX vmlinuz-lts\n  INITRD initramfs-lts\n  APPEND root=UUID=b5a9 modules=sd-mod,ext4 console=ttyS0,115200n8\n\n\
        MENU SEPARATOR\n";

    #[test]
    fn generated_configuration() {
        let conf = parse_extlinux(BOTH);
        assert_eq!(conf.default, "virt");
        assert_eq!(conf.entries.len(), 2);
        assert_eq!(conf.entries[1].label, "lts");
        assert_eq!(conf.entries[1].initrd.as_deref(), Some("initramfs-lts"));
        assert!(conf.entries[1].append.starts_with("root=UUID=b5a9 "));
    }

    #[test]
    fn default_without_mark_is_the_first() {
        assert_eq!(parse_extlinux(&BOTH.replace("  MENU DEFAULT\n", "")).default, "virt");
        assert_eq!(parse_extlinux("DEFAULT lts\nLABEL virt\nLABEL lts\n").default, "lts");
        assert_eq!(parse_extlinux("").default, "");
    }

    #[test]
    fn shell_assignments() {
        let text = "# comment\ndefault=lts\noverwrite=1\n default=virt # last wins\nroot=\"UUID=x\"\n";
        assert_eq!(shell_value(text, "default").as_deref(), Some("virt"));
        assert_eq!(shell_value(text, "root").as_deref(), Some("UUID=x"));
        assert_eq!(shell_value(text, "serial_port"), None);
    }
}
