"""Builds the lab's kernels from Debian's kernel source.

Only for a machine that does not have them ready-made. Debian's 6.12 source is
built under the release names that the lab needs: `6.12.50-0-lts` is a name
here, the code is that of Debian's version. `6.12.51-0-lts` has one field more
in struct net_device, so that many of its symbol checksums differ, as after a
real update. `6.12.50-0-lts.modular` has the drivers of its root disk as
modules, as Alpine's own lts kernel does.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from . import debs

SOURCE_PACKAGE = "linux-source-6.12"
SOURCE_SUITE = "bookworm"
CONFIG = Path(__file__).resolve().with_name("kernel.config")

# Command that must be there, or file -> Debian package that has it.
_NEEDS = {
    "gcc": "gcc", "make": "make", "flex": "flex", "bison": "bison", "bc": "bc", "xz": "xz-utils",
    "perl": "perl", "openssl": "openssl", "depmod": "kmod", "cpio": "cpio",
    "/usr/include/openssl/ssl.h": "libssl-dev", "/usr/include/gelf.h": "libelf-dev",
}
_FREE_BYTES = 4 << 30


class Failed(Exception):
    """The kernels could not be built; the text says at which point."""


@dataclass
class Kernel:
    name: str
    sublevel: int
    suffix: str
    modular: bool = False
    other_net_device: bool = False


# In this order little is compiled twice: a release name costs seconds, the
# change of struct net_device most of a build.
KERNELS = [
    Kernel("6.12.50-0-lts", 50, "-0-lts"),
    Kernel("6.12.50-0-virt", 50, "-0-virt"),
    Kernel("6.12.50-0-lts.modular", 50, "-0-lts", modular=True),
    Kernel("6.12.51-0-lts", 51, "-0-lts", other_net_device=True),
]
_HEADERS_OF = "6.12.50-0-lts"

_AS_MODULES = ("VIRTIO_BLK", "VIRTIO_NET", "VIRTIO_PCI", "SCSI_VIRTIO", "HW_RANDOM_VIRTIO",
               "SATA_AHCI", "ATA_PIIX", "EXT4_FS")


@dataclass
class Built:
    kernels: Path
    headers: Path | None
    notes: list[str] = field(default_factory=list)


def build(cache, kernels=None):
    """Builds what is missing below `cache` and returns where it is."""
    deb = debs.fetch([SOURCE_PACKAGE], cache, SOURCE_SUITE)[SOURCE_PACKAGE]
    with open(deb, "rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    note = f"kernels built from {SOURCE_PACKAGE} {debs.version(deb)}, SHA-256 {digest}"
    key = hashlib.sha256(digest.encode() + CONFIG.read_bytes() + Path(__file__).read_bytes())
    home = cache / f"kernels-built-{key.hexdigest()[:12]}"
    missing = [kernel for kernel in kernels or KERNELS if not (home / kernel.name).is_dir()]
    if missing:
        _say(f"{note}; this takes a quarter of an hour on two free cores")
        _install_needs()
        _build_all(home, deb, missing)
    headers = home.with_name(f"{home.name}-headers.tar.xz")
    return Built(home, headers if headers.is_file() else None, [note])


def _build_all(home, deb, kernels):
    home.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(home).free < _FREE_BYTES:
        raise Failed(f"less than {_FREE_BYTES >> 30} GiB free at {home}")
    work = home.with_name("kernel-build")
    shutil.rmtree(work, ignore_errors=True)
    debs.unpack(deb, work / "deb")
    _run(["tar", "-xJf", *map(str, (work / "deb/usr/src").glob("linux-source-*.tar.xz"))], work)
    tree = next(work.glob("linux-source-*"))
    shutil.rmtree(work / "deb")
    for kernel in kernels:
        started = time.monotonic()
        _build_one(tree, kernel, home / kernel.name)
        if kernel.name == _HEADERS_OF:
            _pack_headers(tree, work, home.with_name(f"{home.name}-headers.tar.xz"))
        _say(f"{kernel.name} built in {time.monotonic() - started:.0f} s")
    shutil.rmtree(work)


def _build_one(tree, kernel, dest):
    _set_release(tree, kernel)
    _set_net_device(tree, kernel.other_net_device)
    _configure(tree, kernel.modular)
    _make(tree, "bzImage", "modules", jobs=True)
    release = f"6.12.{kernel.sublevel}{kernel.suffix}"
    partial = dest.with_name(f"{dest.name}.part")
    shutil.rmtree(partial, ignore_errors=True)
    (partial / "boot").mkdir(parents=True)
    shutil.copyfile(tree / "arch/x86/boot/bzImage", partial / "boot/vmlinuz")
    shutil.copyfile(tree / ".config", partial / "boot/config")
    shutil.copyfile(tree / "Module.symvers", partial / "Module.symvers")
    _make(tree, "modules_install", f"INSTALL_MOD_PATH={partial}")
    modules = partial / "lib/modules" / release
    if not modules.is_dir():
        raise Failed(f"the build of {kernel.name} calls itself {_release(tree)}")
    (modules / "build").unlink(missing_ok=True)
    partial.rename(dest)


def _set_release(tree, kernel):
    makefile = tree / "Makefile"
    lines = makefile.read_text().splitlines()
    lines = [f"SUBLEVEL = {kernel.sublevel}" if line.startswith("SUBLEVEL =") else line
             for line in lines]
    _write_if_changed(makefile, "\n".join(lines) + "\n")
    for stray in tree.glob("localversion*"):
        if stray.name != "localversion-alpine":
            stray.unlink()
    _write_if_changed(tree / "localversion-alpine", f"{kernel.suffix}\n")


def _set_net_device(tree, other):
    header = tree / "include/linux/netdevice.h"
    marked, field_line = "struct net_device {\n", "\tunsigned long\t\tlab_other_build;\n"
    plain = header.read_text().replace(field_line, "")
    if plain.count(marked) != 1:
        raise Failed("struct net_device was not found where it is changed for 6.12.51")
    _write_if_changed(header, plain.replace(marked, marked + field_line) if other else plain)


def _configure(tree, modular):
    fragment = CONFIG.read_text()
    if modular:
        for option in _AS_MODULES:
            fragment = fragment.replace(f"CONFIG_{option}=y\n", f"CONFIG_{option}=m\n")
    _make(tree, "tinyconfig")
    config = tree / ".config"
    config.write_text(config.read_text() + fragment)
    _make(tree, "olddefconfig")
    have = set(config.read_text().splitlines())
    for needed in ("CONFIG_WIREGUARD=m", "CONFIG_MODVERSIONS=y",
                   f"CONFIG_EXT4_FS={'m' if modular else 'y'}"):
        if needed not in have:
            raise Failed(f"this kernel source does not take {needed}")


def _pack_headers(tree, work, archive):
    """What linux-lts-dev would hold: enough to build a module against."""
    name = f"linux-headers-{_HEADERS_OF}"
    dest = work / "headers" / name
    _make(tree, "run-command",
          f"KBUILD_RUN_COMMAND=+$(srctree)/scripts/package/install-extmod-build {dest}")
    shutil.copyfile(tree / "Module.symvers", dest / "Module.symvers")
    partial = archive.with_name(f"{archive.name}.part")
    _run(["tar", "-cJf", str(partial), "--owner=0", "--group=0", "headers"], work)
    partial.rename(archive)


def _release(tree):
    return _make(tree, "-s", "kernelrelease").strip()


def _make(tree, *targets, jobs=False):
    # Not ARCH=x86_64: tinyconfig would then switch 64-bit options off by name.
    command = ["nice", "make", "ARCH=x86", f"-j{os.cpu_count()}" if jobs else "-j1", *targets]
    fixed = {"KBUILD_BUILD_TIMESTAMP": "Thu Jan 1 00:00:00 UTC 2026", "KBUILD_BUILD_USER": "lab",
             "KBUILD_BUILD_HOST": "lab"}
    return _run(command, tree, fixed)


def _install_needs():
    missing = sorted({package for need, package in _NEEDS.items() if not _has(need)})
    if not missing:
        return
    command = ["apt-get", "install", "-y", "--no-install-recommends", *missing]
    if os.geteuid() != 0:
        raise Failed(f"packages are missing; as root: {' '.join(command)}")
    _say(f"installs {', '.join(missing)}")
    _run(["apt-get", "-q", "update"], "/")
    _run(command, "/", {"DEBIAN_FRONTEND": "noninteractive"})


def _has(need):
    return Path(need).exists() if need.startswith("/") else shutil.which(need) is not None


def _run(command, cwd, more=None):
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, "LC_ALL": "C", **(more or {})},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
    )
    if done.returncode != 0:
        errors = [line for line in done.stderr.splitlines() if "rror" in line or "***" in line]
        last = (errors or done.stderr.strip().splitlines() or ["no message"])[:3]
        raise Failed(f"{' '.join(command[:6])}: {'; '.join(last)}")
    return done.stdout


def _write_if_changed(path, text):
    if not path.is_file() or path.read_text() != text:
        path.write_text(text)


def _say(text):
    print(f"lab: {text}", file=sys.stderr, flush=True)
