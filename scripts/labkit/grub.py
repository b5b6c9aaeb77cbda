"""Debian's GRUB arranged as Alpine's: its programs, and the generators changed
where Alpine changes them. What else Debian's patches add stays as it is."""

import shutil

# Left out: what needs libraries of its own and is in packages of its own on Alpine.
_LEFT_OUT = {"grub-mount", "grub-mkfont", "grub-macbless", "grub-mkdevicemap"}
# Debian's theme; Alpine has no such generator.
_NO_GENERATORS = {"05_debian_theme"}

# Alpine's own, see its package: a distributor's name stands alone, and without
# one the entries carry the release's name.
DEFAULTS = """\
GRUB_TIMEOUT=2
GRUB_DISABLE_SUBMENU=y
GRUB_DISABLE_RECOVERY=true
"""

# generator -> (Debian's text, Alpine's behaviour); each must be there exactly once.
_CHANGES = {
    "10_linux": [
        # An entry's title is Alpine's: the release's name, no suffix.
        ("  OS=GNU/Linux\n", '  OS="$(. /etc/os-release && echo "$PRETTY_NAME")"\n'),
        ('      OS="${GRUB_DISTRIBUTOR} GNU/Linux"\n', '      OS="${GRUB_DISTRIBUTOR}"\n'),
        # Where update-extlinux is configured too, its options come first.
        ('. "$pkgdatadir/grub-mkconfig_lib"\n',
         'if [ -f /etc/update-extlinux.conf ]; then\n'
         '  . /etc/update-extlinux.conf\n'
         '  GRUB_CMDLINE_LINUX_DEFAULT='
         '"modules=$modules $default_kernel_opts $GRUB_CMDLINE_LINUX_DEFAULT"\n'
         'fi\n'
         '. "$pkgdatadir/grub-mkconfig_lib"\n'),
        # Alpine names root by UUID without udev's links.
        ('    || ( ! test -e "/dev/disk/by-uuid/${GRUB_DEVICE_UUID}" \\\n'
         '\t&& ! test -e "/dev/disk/by-partuuid/${GRUB_DEVICE_PARTUUID}" ) \\\n', ""),
        # vmlinuz-edge-virt is the flavour edge-virt, not virt.
        ('sed -e "s,^[^0-9]*-,,g"', 'sed -e "s,^[^-]*-,,g"'),
        # What mkinitfs writes.
        ('\t   "initramfs-genkernel-${version}" \\\n',
         '\t   "initramfs-${version}" \\\n\t   "initramfs-genkernel-${version}" \\\n'),
    ],
    "grub-mkconfig": [
        ("    *~) ;;\n", "    *~ | *.apk-new) ;;\n"),
    ],
}


class Changed(Exception):
    """Debian's file is not the one that was known here."""


def alpine(name, text):
    """Debian's script of that name as Alpine has it."""
    for debian, ours in _CHANGES.get(name, ()):
        if text.count(debian) != 1:
            raise Changed(f"Debian's {name} has changed: {debian.strip()!r} "
                          f"is there {text.count(debian)} times")
        text = text.replace(debian, ours)
    return text


def common(unpacked, root):
    """The package grub: programs, generators, fonts."""
    for place in ("usr/bin", "usr/sbin"):
        for program in sorted((unpacked / place).glob("grub-*")):
            if program.name not in _LEFT_OUT:
                _copy(program, root / place / program.name)
    for generator in sorted((unpacked / "etc/grub.d").iterdir()):
        if generator.name not in _NO_GENERATORS:
            _copy(generator, root / "etc/grub.d" / generator.name)
    for name in ("grub-mkconfig_lib", "ascii.pf2", "unicode.pf2"):
        _copy(unpacked / "usr/share/grub" / name, root / "usr/share/grub" / name)
    (root / "etc/default").mkdir()
    (root / "etc/default/grub").write_text(DEFAULTS)
    # grub-install warns where there is none.
    (root / "usr/share/locale").mkdir()


def bios(unpacked, root):
    """The package grub-bios: what runs before the kernel on a machine with a BIOS."""
    modules = root / "usr/lib/grub/i386-pc"
    shutil.copytree(unpacked / "usr/lib/grub/i386-pc", modules)
    _move(modules / "grub-bios-setup", root / "usr/sbin/grub-bios-setup")


def _copy(source, target):
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, target, follow_symlinks=False)
    if source.name in _CHANGES:
        target.write_text(alpine(source.name, target.read_text()))


def _move(source, target):
    target.parent.mkdir(parents=True, exist_ok=True)
    source.rename(target)
