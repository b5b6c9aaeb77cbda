"""The packages of the lab's repositories and the files that make them up.

Names, dependencies, triggers and paths are Alpine's. Programs that Alpine
builds against musl come from Debian and run on glibc, which the package
`lab-glibc` puts beside musl.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

from . import debs, grub
from .apk import Package

GUEST = Path(__file__).parent / "guest"

GLIBC = "lab-glibc"
GRUB_VERSION = "2.12-r8"
_LIBRARIES = [
    "libc6", "libgcc-s1", "zlib1g", "libzstd1", "liblzma5", "libbz2-1.0", "libssl3t64", "libkmod2",
    "libcap2", "libelf1t64", "libbpf1", "libmnl0", "libxtables12", "libnftnl11", "libip4tc2",
    "libip6tc2", "libnfnetlink0", "libnetfilter-conntrack3", "libseccomp2", "libsystemd0",
    "liblz4-1", "libpcre2-8-0", "libselinux1", "libtirpc3t64", "libgssapi-krb5-2", "libkrb5-3",
    "libk5crypto3", "libkrb5support0", "libkeyutils1", "libcom-err2", "libpam0g", "libaudit1",
    "libcap-ng0", "libeinfo1", "librc1t64", "libcrypt1", "libdevmapper1.02.1", "libudev1",
    "libefivar1t64", "libefiboot1t64",
]
# Debian's kexec is linked with them; Alpine's is not.
_XEN = ["libxenmisc4.20", "libxencall1", "libxendevicemodel1", "libxenevtchn1", "libxenforeignmemory1",
        "libxengnttab1", "libxenhypfs1", "libxenstore4", "libxentoolcore1", "libxentoollog1"]
_FIRMWARE_FILES = 160


@dataclass
class Recipe:
    repository: str
    package: Package
    fill: Callable[[Path], None] | None = None


def recipes(material, cache):
    """Every package but the kernels."""
    source = _Debs(cache)
    return [*_base(source), *_docker(source)]


def kernel(material, name):
    """The package of one kernel of the material, for example `6.12.50-0-lts` or
    `6.12.50-0-lts.modular`."""
    release = name.removesuffix(".modular")
    version, build, flavour = release.split("-")
    package = Package(
        f"linux-{flavour}", f"{version}-r{build}", f"Linux {flavour} kernel",
        depends=["initramfs-generator"], origin="linux-lts",
    )
    if flavour == "lts":
        package.depends.append("linux-firmware-any")
    return Recipe("main", package, lambda root: _fill_kernel(root, material.kernel(name), release))


def _fill_kernel(root, source, release):
    flavour = release.rsplit("-", 1)[1]
    boot = root / "boot"
    boot.mkdir(parents=True)
    shutil.copy(source / "boot/vmlinuz", boot / f"vmlinuz-{flavour}")
    shutil.copy(source / "boot/config", boot / f"config-{flavour}")
    shutil.copytree(source / "lib/modules" / release, root / "lib/modules" / release, symlinks=True)
    write(root / f"usr/share/kernel/{flavour}/kernel.release", release + "\n")


def _base(source):
    return [
        Recipe("main", Package(GLIBC, "2.41-r0", "Debian's C library and others, beside musl"),
               source.fill(_LIBRARIES, _libraries)),
        Recipe("main", Package("kmod", "34-r0", "Linux kernel module management utilities",
                               depends=[GLIBC]), source.fill(["kmod"], _kmod)),
        Recipe("main", Package(
            "mkinitfs", "3.12.0-r0", "Tool to generate initramfs images for Alpine",
            depends=["busybox", "apk-tools", "kmod"],
            provides=["initramfs-generator=3.12.0-r0"], provider_priority=900,
            triggers=["/lib/modules/*"], scripts={".trigger": _MKINITFS_TRIGGER},
        ), _tree("mkinitfs")),
        Recipe("main", Package(
            "syslinux", "6.04_pre1-r16", "Boot loader for the Linux operating system",
            depends=["busybox", GLIBC],
            triggers=["/boot"], scripts={".trigger": _SYSLINUX_TRIGGER},
        ), source.fill(["extlinux", "syslinux-common"], _syslinux)),
        # Its dependency makes its trigger run after that of mkinitfs, as on Alpine.
        Recipe("main", Package(
            "grub", GRUB_VERSION, "Bootloader with support for Linux, Multiboot and more",
            depends=["mkinitfs", GLIBC], triggers=["/boot"], scripts={".trigger": _GRUB_TRIGGER},
        ), source.fill(["grub-common", "grub2-common"], _grub)),
        Recipe("main", Package("grub-bios", GRUB_VERSION,
                               "Bootloader with support for Linux and more (BIOS version)",
                               depends=["grub"], origin="grub"),
               source.fill(["grub-pc-bin"], grub.bios)),
        Recipe("main", Package("openrc", "0.56-r0", "OpenRC manages the services of a host",
                               depends=[GLIBC]), source.fill(["openrc"], _openrc)),
        Recipe("main", Package("alpine-base", "3.22.1-r0", "Meta package for minimal alpine base",
                               depends=["alpine-baselayout", "alpine-keys", "apk-tools",
                                        "busybox", "openrc"])),
        Recipe("main", Package("iproute2", "6.15.0-r0", "IP routing utilities", depends=[GLIBC]),
               source.fill(["iproute2"], _iproute2)),
        Recipe("main", Package("iptables", "1.8.11-r1", "Linux kernel firewall and NAT control",
                               depends=[GLIBC], provides=["ip6tables=1.8.11-r1"]),
               source.fill(["iptables"], _iptables)),
        Recipe("main", Package("ca-certificates", "20250619-r0", "Common CA certificates",
                               depends=["ca-certificates-bundle"])),
        Recipe("main", Package("linux-firmware-none", "20250627-r0",
                               "Kernel firmware (empty package)",
                               provides=["linux-firmware-any"], provider_priority=1)),
        Recipe("main", Package("linux-firmware", "20250627-r0", "Firmware files for Linux",
                               provides=["linux-firmware-any"], provider_priority=100),
               _fill_firmware),
    ]


def _docker(source):
    version = "26.1.5-r0"
    return [
        Recipe("community", Package("docker", version, "Pack, ship and run any application",
                                    depends=["docker-engine", "docker-cli"])),
        Recipe("community", Package(
            "docker-engine", version, "Docker Engine (dockerd)",
            depends=["ca-certificates", "containerd", "iptables", GLIBC],
            scripts={".pre-install": _DOCKER_GROUP}, origin="docker",
        ), source.fill(["docker.io", "tini"], _dockerd)),
        Recipe("community", Package(
            "docker-openrc", version, "OpenRC init scripts for Docker",
            install_if=["openrc", f"docker-engine={version}"], origin="docker",
        ), _tree("docker-openrc")),
        Recipe("community", Package("docker-cli", version, "Docker CLI",
                                    depends=["ca-certificates", GLIBC], origin="docker"),
               source.fill(["docker-cli"], lambda d, r: _take(d, r, {"usr/bin/docker": "usr/bin/docker"}))),
        Recipe("community", Package("docker-cli-compose", "2.26.1-r0", "A Docker CLI plugin",
                                    depends=["docker-cli"]),
               source.fill(["docker-compose"], lambda d, r: _take(d, r, {
                   "usr/libexec/docker/cli-plugins/docker-compose":
                       "usr/libexec/docker/cli-plugins/docker-compose"}))),
        Recipe("community", Package("kexec-tools", "2.0.31-r0", "Load and start one kernel from another",
                                    depends=[GLIBC]),
               source.fill(["kexec-tools", *_XEN], _kexec)),
        Recipe("community", Package("containerd", "1.7.24-r0", "An open container runtime",
                                    depends=["runc", GLIBC]),
               source.fill(["containerd"], lambda d, r: _take(d, r, {
                   f"usr/bin/{name}": f"usr/bin/{name}"
                   for name in ("containerd", "containerd-shim-runc-v2")}))),
        Recipe("community", Package("runc", "1.1.15-r0", "CLI tool for running containers",
                                    depends=[GLIBC]),
               source.fill(["runc"], lambda d, r: _take(d, r, {"usr/sbin/runc": "usr/bin/runc"}))),
    ]


class _Debs:
    """Fills package trees from unpacked .deb files."""

    def __init__(self, cache):
        self.cache = cache

    def fill(self, names, arrange):
        def run(root):
            files = debs.fetch(names, self.cache)
            scratch = root.with_name(root.name + ".debs")
            for name in names:
                debs.unpack(files[name], scratch)
            root.mkdir(parents=True, exist_ok=True)
            arrange(scratch, root)
            shutil.rmtree(scratch)
        return run


def _tree(name):
    return lambda root: copy_guest(name, root)


def copy_guest(name, root):
    """Copies the lab's own files of that name over the tree."""
    shutil.copytree(GUEST / name, root, symlinks=True, dirs_exist_ok=True)


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _take(unpacked, root, files):
    for source, dest in files.items():
        target = root / dest
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(unpacked / source, target, follow_symlinks=False)


def _link(root, target, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(target)


def _libraries(unpacked, root):
    libraries = root / "usr/lib/x86_64-linux-gnu"
    libraries.mkdir(parents=True)
    for place in ("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"):
        for entry in sorted((unpacked / place).glob("*.so*")) if (unpacked / place).is_dir() else ():
            target = libraries / entry.name
            if not os.path.lexists(target):
                shutil.copy2(entry, target, follow_symlinks=False)
    # The loader's place is fixed in every program.
    _link(root, "/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", "lib64/ld-linux-x86-64.so.2")
    _link(root, "/usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu")


def _kexec(unpacked, root):
    _take(unpacked, root, {"usr/sbin/kexec": "usr/sbin/kexec"})
    libraries = unpacked / "usr/lib/x86_64-linux-gnu"
    _take(unpacked, root, {
        f"usr/lib/x86_64-linux-gnu/{entry.name}": f"usr/lib/x86_64-linux-gnu/{entry.name}"
        for entry in libraries.glob("libxen*.so*")})


def _kmod(unpacked, root):
    _take(unpacked, root, {"usr/bin/kmod": "bin/kmod"})
    _link(root, "kmod", "bin/lsmod")
    _link(root, "../bin/kmod", *(f"sbin/{name}" for name in (
        "depmod", "insmod", "lsmod", "modinfo", "modprobe", "rmmod")))


def _syslinux(unpacked, root):
    _take(unpacked, root, {
        "usr/bin/extlinux": "sbin/extlinux",
        "usr/lib/EXTLINUX/mbr.bin": "usr/share/syslinux/mbr.bin",
    })
    for module in sorted((unpacked / "usr/lib/syslinux/modules/bios").glob("*.c32")):
        shutil.copy2(module, root / "usr/share/syslinux")
    copy_guest("syslinux", root)


def _grub(unpacked, root):
    grub.common(unpacked, root)
    copy_guest("grub", root)


def _openrc(unpacked, root):
    for program in sorted((unpacked / "usr/sbin").iterdir()):
        if program.name != "openrc-init":
            _take(unpacked, root, {f"usr/sbin/{program.name}": f"sbin/{program.name}"})
    _take(unpacked, root, {
        "usr/bin/rc-status": "bin/rc-status", "etc/rc.conf": "etc/rc.conf",
        "etc/init.d/savecache": "etc/init.d/savecache",
    })
    _link(root, "/sbin/openrc-run", "usr/sbin/openrc-run")
    shutil.copytree(unpacked / "usr/lib/rc", root / "usr/lib/rc", symlinks=True)
    for level in ("sysinit", "boot", "default", "nonetwork", "shutdown"):
        (root / "etc/runlevels" / level).mkdir(parents=True)
    # Reading LSB headers is Debian's addition; Alpine's OpenRC starts no program for it.
    for name in ("gendepends.sh", "openrc-run.sh"):
        script = root / "usr/lib/rc/sh" / name
        text = script.read_text()
        changed = text.replace('lsbh=$(lsb2rcconf "$RC_SERVICE")', "lsbh=")
        if changed == text:
            raise ValueError(f"Debian's OpenRC has changed: no LSB call in {name}")
        script.write_text(changed)
    (root / "usr/lib/x86_64-linux-gnu/rc/plugins").mkdir(parents=True)
    _link(root, "openrc-run", "sbin/runscript")
    copy_guest("openrc", root)


def _iproute2(unpacked, root):
    _take(unpacked, root, {
        "usr/bin/ip": "sbin/ip", "usr/bin/ss": "sbin/ss",
        "usr/sbin/bridge": "sbin/bridge", "usr/sbin/tc": "sbin/tc",
    })
    shutil.copytree(unpacked / "usr/share/iproute2", root / "usr/share/iproute2")


def _iptables(unpacked, root):
    _take(unpacked, root, {f"usr/sbin/{name}": f"usr/sbin/{name}" for name in (
        "xtables-legacy-multi", "xtables-nft-multi")})
    shutil.copytree(unpacked / "usr/lib/x86_64-linux-gnu/xtables",
                    root / "usr/lib/x86_64-linux-gnu/xtables", symlinks=True)
    # nft is the default on Alpine since 3.19; the legacy programs keep their own names.
    for family in ("iptables", "ip6tables"):
        for action in ("", "-save", "-restore"):
            _link(root, "xtables-nft-multi",
                  f"usr/sbin/{family}{action}", f"usr/sbin/{family}-nft{action}")
            _link(root, "xtables-legacy-multi", f"usr/sbin/{family}-legacy{action}")


def _dockerd(unpacked, root):
    _take(unpacked, root, {
        "usr/sbin/dockerd": "usr/bin/dockerd", "usr/sbin/docker-proxy": "usr/bin/docker-proxy",
        "usr/bin/tini-static": "usr/bin/docker-init",
    })


def _fill_firmware(root):
    """160 MB on the disk of whoever pulls it in; zeros, so it is quickly fetched."""
    place = root / "lib/firmware/lab"
    place.mkdir(parents=True)
    for number in range(_FIRMWARE_FILES):
        (place / f"device-{number:03}.bin").write_bytes(b"lab firmware\n" + bytes(1 << 20))


_MKINITFS_TRIGGER = """\
#!/bin/sh
# Stand-in for Alpine's trigger: an initramfs for every module directory touched.
case "$(. /etc/mkinitfs/mkinitfs.conf > /dev/null 2>&1; printf %s "$disable_trigger")" in
yes | YES | true | TRUE | 1) exit 0 ;;
esac
for directory in "$@"; do
	release="${directory##*/}"
	flavour="${release##*-}"
	if ! [ -d "$directory" ]; then
		ls -d /lib/modules/*-"$flavour" > /dev/null 2>&1 ||
			rm -f "/boot/initramfs-$flavour"
		continue
	fi
	mkinitfs -o "/boot/initramfs-$flavour" "$release" || {
		echo "  mkinitfs failed!" >&2
		echo "  your system may not be bootable" >&2
		exit 1
	}
done
[ -e /boot/boot ] || ln -sf . /boot/boot
sync
"""

_SYSLINUX_TRIGGER = """\
#!/bin/sh
# Stand-in for Alpine's trigger.
[ "$(. /etc/update-extlinux.conf > /dev/null 2>&1; printf %s "$disable_trigger")" = 1 ] && exit 0
update-extlinux
"""

_GRUB_TRIGGER = """\
#!/bin/sh
# Stand-in for Alpine's trigger.
grep -q '^disable_trigger=1' /etc/update-grub.conf 2>/dev/null && exit 0
exec /usr/sbin/update-grub
"""

_DOCKER_GROUP = """\
#!/bin/sh
addgroup -S docker 2>/dev/null
exit 0
"""
