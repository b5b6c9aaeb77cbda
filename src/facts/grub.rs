//! GRUB's configuration as grub-mkconfig writes it: what it starts by default, and what it offers.

use std::collections::BTreeMap;

use super::BootEntry;

pub const GRUB_CFG: &str = "/boot/grub/grub.cfg";
/// Sourced by grub.cfg at boot (41_custom), never generated.
pub const CUSTOM_CFG: &str = "/boot/grub/custom.cfg";
pub const GRUBENV: &str = "/boot/grub/grubenv";
pub const DEFAULT_GRUB: &str = "/etc/default/grub";

/// What a grub.cfg starts and offers.
#[derive(Debug, Default, PartialEq)]
pub struct Grub {
    /// The value of `set default=` unless a one-shot entry is set, as written.
    pub default: String,
    /// The configuration honours `next_entry`, which grub-reboot sets.
    pub one_shot: bool,
    /// `custom.cfg` is sourced.
    pub custom: bool,
    pub entries: Vec<Entry>,
}

/// One menuentry.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Entry {
    /// Ids (or titles where there is no id) from the outermost menu to the entry itself.
    pub path: Vec<String>,
    /// The same by position, counted from 0 in each menu.
    positions: Vec<usize>,
    titles: Vec<String>,
    pub linux: String,
    pub initrd: Option<String>,
    pub append: String,
    /// The lines between the braces.
    pub body: Vec<String>,
}

impl Entry {
    /// The way GRUB_DEFAULT and grub-reboot name it: `parent>child`.
    pub fn id(&self) -> String {
        self.path.join(">")
    }

    /// `lts` of `/boot/vmlinuz-lts`; empty for what is not one of Alpine's kernels.
    pub fn flavour(&self) -> &str {
        let file = self.linux.rsplit('/').next().unwrap_or_default();
        file.strip_prefix("vmlinuz-").unwrap_or_default()
    }
}

impl Grub {
    /// The entry that starts unless something else is asked for.
    pub fn default_entry(&self, environment: &BTreeMap<String, String>) -> Option<&Entry> {
        let named = match self.default.as_str() {
            "${saved_entry}" | "$saved_entry" => environment.get("saved_entry").map_or("0", String::as_str),
            other => other,
        };
        let parts: Vec<&str> = if named.is_empty() { vec!["0"] } else { named.split('>').collect() };
        let fits = |entry: &Entry| {
            parts.len() <= entry.path.len()
                && parts.iter().enumerate().all(|(depth, part)| {
                    *part == entry.path[depth]
                        || *part == entry.titles[depth]
                        || part.parse() == Ok(entry.positions[depth])
                })
                // A menu that is named without an entry starts its first one.
                && entry.positions[parts.len()..].iter().all(|p| *p == 0)
        };
        // GRUB starts the first entry when the named one is not there.
        self.entries.iter().find(|e| fits(e)).or(self.entries.first())
    }

    /// The entry of a kernel flavour. Of several the last: the first may be the one that stands for "newest".
    pub fn of_flavour(&self, flavour: &str) -> Option<&Entry> {
        self.entries.iter().rev().find(|e| e.flavour() == flavour)
    }

    pub fn boot_entries(&self) -> Vec<BootEntry> {
        let one = |e: &Entry| BootEntry {
            label: e.id(),
            linux: e.linux.clone(),
            initrd: e.initrd.clone(),
            append: e.append.clone(),
        };
        self.entries.iter().map(one).collect()
    }
}

/// Reads what grub-mkconfig writes; scripts that somebody else added are passed over.
pub fn parse(text: &str) -> Grub {
    let mut grub = Grub::default();
    // Each open menu: id, title, position, and how many it holds so far.
    let mut menus: Vec<(String, String, usize, usize)> = vec![(String::new(), String::new(), 0, 0)];
    let mut entry: Option<Entry> = None;
    for line in text.lines() {
        let bare = line.trim();
        if let Some(open) = &mut entry {
            if bare == "}" {
                grub.entries.extend(entry.take());
                continue;
            }
            open.body.push(bare.to_string());
            let mut words = bare.splitn(3, char::is_whitespace);
            match words.next() {
                Some("linux" | "linux16" | "linuxefi") => {
                    open.linux = words.next().unwrap_or_default().to_string();
                    open.append = words.next().unwrap_or_default().trim().to_string();
                }
                Some("initrd" | "initrd16" | "initrdefi") => {
                    open.initrd = Some(bare.split_once(char::is_whitespace).map_or("", |(_, f)| f.trim()).to_string());
                }
                _ => {}
            }
        } else if bare.starts_with("menuentry ") || bare.starts_with("submenu ") {
            let (id, title) = names(bare);
            let position = menus.last_mut().map_or(0, |menu| {
                menu.3 += 1;
                menu.3 - 1
            });
            if bare.starts_with("submenu ") {
                menus.push((id, title, position, 0));
            } else {
                let mut new = Entry::default();
                for (id, title, position, _) in menus.iter().skip(1).chain([&(id, title, position, 0)]) {
                    new.path.push(id.clone());
                    new.titles.push(title.clone());
                    new.positions.push(*position);
                }
                entry = Some(new);
            }
        } else if bare == "}" && menus.len() > 1 {
            menus.pop();
        } else if let Some(value) = bare.strip_prefix("set default=") {
            let value = value.trim_matches('"');
            if value.contains("next_entry") {
                grub.one_shot = true;
            } else {
                grub.default = value.to_string();
            }
        } else if bare.starts_with("source ") && bare.contains("custom.cfg") {
            grub.custom = true;
        }
    }
    grub
}

/// Variables of GRUB's environment block.
pub fn parse_environment(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .filter(|l| !l.starts_with('#'))
        .filter_map(|l| l.split_once('='))
        .map(|(k, v)| (k.to_string(), v.to_string()))
        .collect()
}

/// Id and title of a `menuentry` or `submenu` line.
fn names(line: &str) -> (String, String) {
    let quoted = |text: &str| {
        let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
        text[1..].split_once(quote).map(|(inside, _)| inside.to_string())
    };
    let title = line.split_once(' ').and_then(|(_, rest)| quoted(rest.trim_start())).unwrap_or_default();
    let id = ["$menuentry_id_option ", "${menuentry_id_option} ", "--id ", "--id="]
        .iter()
        .find_map(|mark| line.split_once(mark))
        .map(|(_, rest)| rest.trim_start())
        .map(|rest| quoted(rest).unwrap_or_else(|| rest.split([' ', '{']).next().unwrap_or_default().to_string()));
    (id.filter(|i| !i.is_empty()).unwrap_or_else(|| title.clone()), title)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The shape that grub-mkconfig 2.12 writes, with and without the submenu.
    const HEADER: &str = "if [ \"${next_entry}\" ] ; then\n   set default=\"${next_entry}\"\n   set next_entry=\n   save_env next_entry\n   set boot_once=true\nelse\n   set default=\"0\"\nfi\n";
    const VIRT: &str = "menuentry 'Alpine Linux v3.22, with Linux virt' --class alpine $menuentry_id_option 'gnulinux-virt-advanced-b5a9' {\n\tload_video\n\tinsmod ext2\n\tlinux\t/boot/vmlinuz-virt root=UUID=b5a9 ro  console=ttyS0\n\tinitrd\t/boot/initramfs-virt\n}\n";
    const CUSTOM: &str =
        "if [ -f  ${config_directory}/custom.cfg ]; then\n  source ${config_directory}/custom.cfg\nfi\n";

    fn flat() -> String {
        format!("{HEADER}{VIRT}{}{CUSTOM}", VIRT.replace("virt", "lts"))
    }

    fn nested() -> String {
        format!(
            "{HEADER}{}submenu 'Advanced options for Alpine' $menuentry_id_option 'gnulinux-advanced-b5a9' {{\n{VIRT}{}}}\n",
            VIRT.replace("gnulinux-virt-advanced", "gnulinux-simple").replace(", with Linux virt", ""),
            VIRT.replace("virt", "lts")
        )
    }

    #[test]
    fn flat_configuration() {
        let grub = parse(&flat());
        assert!(grub.one_shot && grub.custom);
        assert_eq!(grub.entries.len(), 2);
        assert_eq!(grub.default_entry(&BTreeMap::new()).unwrap().flavour(), "virt");
        let lts = grub.of_flavour("lts").unwrap();
        assert_eq!(lts.id(), "gnulinux-lts-advanced-b5a9");
        assert_eq!(lts.initrd.as_deref(), Some("/boot/initramfs-lts"));
        assert_eq!(lts.append, "root=UUID=b5a9 ro  console=ttyS0");
    }

    #[test]
    fn nested_configuration() {
        let grub = parse(&nested());
        assert_eq!(grub.of_flavour("lts").unwrap().id(), "gnulinux-advanced-b5a9>gnulinux-lts-advanced-b5a9");
        assert_eq!(grub.default_entry(&BTreeMap::new()).unwrap().id(), "gnulinux-simple-b5a9");
        for (default, flavour) in [
            ("1>1", "lts"),
            ("1", "virt"),
            ("gnulinux-advanced-b5a9>gnulinux-lts-advanced-b5a9", "lts"),
            ("Advanced options for Alpine>Alpine Linux v3.22, with Linux lts", "lts"),
            ("no such entry", "virt"),
        ] {
            let grub = parse(&nested().replace("set default=\"0\"", &format!("set default=\"{default}\"")));
            assert_eq!(grub.default_entry(&BTreeMap::new()).unwrap().flavour(), flavour, "{default}");
        }
    }

    #[test]
    fn saved_entry() {
        let grub = parse(&flat().replace("set default=\"0\"", "set default=\"${saved_entry}\""));
        let environment = parse_environment("# GRUB Environment Block\nsaved_entry=1\n#####");
        assert_eq!(grub.default_entry(&environment).unwrap().flavour(), "lts");
        assert_eq!(grub.default_entry(&BTreeMap::new()).unwrap().flavour(), "virt");
    }

    #[test]
    fn nothing_and_nonsense() {
        assert_eq!(parse("").default_entry(&BTreeMap::new()), None);
        let grub = parse("}\n}\nmenuentry\nmenuentry 'x' {\nlinux\n");
        assert!(grub.entries.is_empty());
    }
}
