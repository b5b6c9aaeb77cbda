//! What is mounted where, from /proc/self/mountinfo.

/// A mounted file system.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Mount {
    /// Major and minor number; major 0 where the file system has no device of its own.
    pub device: (u32, u32),
    pub fs: String,
    pub source: String,
}

/// The mount that holds `path`: the longest mount point above it; of several the last, which hides the others.
pub fn mount_of(mountinfo: &str, path: &str) -> Option<Mount> {
    mountinfo
        .lines()
        .filter_map(|line| {
            let (before, after) = line.split_once(" - ")?;
            let mut before = before.split(' ').skip(2);
            let (major, minor) = before.next()?.split_once(':')?;
            let point = unescape(before.nth(1)?);
            let above = point == "/" || path == point || path.starts_with(&format!("{point}/"));
            above.then_some(())?;
            let mut after = after.split(' ');
            let mount = Mount {
                device: (major.parse().ok()?, minor.parse().ok()?),
                fs: after.next()?.to_string(),
                source: unescape(after.next()?),
            };
            Some((point.len(), mount))
        })
        .max_by_key(|(length, _)| *length)
        .map(|(_, mount)| mount)
}

/// Spaces and their like are written as `\040` there.
fn unescape(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut out = parts.next().unwrap_or_default().to_string();
    for part in parts {
        match part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => out.extend([char::from(byte)].into_iter().chain(part[3..].chars())),
            None => out.extend(["\\", part]),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_mount_point_counts() {
        let text = "24 1 252:1 / / rw,relatime - ext4 /dev/root rw\n\
            31 24 0:27 / /boot/efi rw - vfat /dev/vda1 rw\n36 24 253:0 / /boot rw - ext4 /dev/mapper/vg-boot rw\n";
        let mount = mount_of(text, "/boot/grub").unwrap();
        assert_eq!((mount.device, mount.source.as_str()), ((253, 0), "/dev/mapper/vg-boot"));
        assert_eq!(mount_of(text, "/bootstrap").unwrap().device, (252, 1));
    }

    #[test]
    fn the_last_mount_at_root_counts() {
        let text = "1 1 0:2 / / rw - rootfs rootfs rw\n22 26 0:21 / /proc rw,relatime - proc proc rw\n\
            26 1 254:2 / / rw,relatime shared:1 master:3 - ext4 /dev/root rw\n30 26 254:1 / /boot rw - ext4 /dev/vda1 rw\n";
        let mount = mount_of(text, "/").expect("a root");
        assert_eq!(mount, Mount { device: (254, 2), fs: "ext4".into(), source: "/dev/root".into() });
        assert_eq!(mount_of("30 26 254:1 / /boot rw - ext4 /dev/vda1 rw\n", "/"), None);
        assert_eq!(mount_of("nonsense\n1 2 3 - 4\n\n - \n", "/"), None);
    }

    #[test]
    fn escapes_of_mountinfo() {
        assert_eq!(unescape("/dev/disk\\040one\\134"), "/dev/disk one\\");
        assert_eq!(unescape("\\9x"), "\\9x");
    }
}
