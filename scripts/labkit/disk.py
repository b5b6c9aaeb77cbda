"""The base disk: a fresh Alpine VPS as a provider hands it over.

Packages are installed by the real apk into a tree, the tree becomes an ext4
partition without any mount, and a first boot with the kernel given directly
lets the guest write its own boot loader.
"""

import hashlib
import os
import re
import shutil
import stat
import struct
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from . import material, packages
from .channel import Silent
from .machine import Machine

GUEST = Path(__file__).parent / "guest"
MIRROR = "http://dl-cdn.alpinelinux.org/alpine"
KERNEL = "6.12.50-0-virt"
_PARTITION_START = 1 << 20

_WORLD = ["alpine-base", "linux-virt", "mkinitfs"]
_RUNLEVELS = {
    "sysinit": ["devfs", "sysfs", "cgroups"],
    "boot": ["bootmisc", "hostname", "modules", "networking", "sysctl", "syslog"],
    "default": ["local"],
    "shutdown": ["killprocs", "mount-ro", "savecache"],
}


@dataclass(frozen=True)
class _Loader:
    """How one boot loader comes onto a disk."""

    packages: tuple
    # Run in the guest at its first boot.
    install: str
    # Boot code for the disk's first sector, from the tree; None: `install` writes it.
    code: str | None = None
    # Appended to files of its package, as whoever installs the machine does.
    settings: dict = field(default_factory=dict)
    # Where the words of every kernel's command line stand: a file and its assignment.
    options: tuple = ()


DEFAULT_LOADER = "extlinux"
LOADERS = {
    "extlinux": _Loader(
        ("syslinux",), code="usr/share/syslinux/mbr.bin",
        options=("etc/update-extlinux.conf", "default_kernel_opts"),
        install="extlinux --install /boot && update-extlinux && cat /boot/extlinux.conf && "
                "rm -f /boot/extlinux.conf.old"),
    # The core image goes between the first sector and the partition.
    "grub": _Loader(
        ("grub", "grub-bios"), options=("etc/default/grub", "GRUB_CMDLINE_LINUX_DEFAULT"),
        install="grub-install --target=i386-pc /dev/vda && test -s /boot/grub/grubenv && "
                "update-grub && grep initramfs-virt /boot/grub/grub.cfg",
        settings={"etc/default/grub":
                  'GRUB_CMDLINE_LINUX_DEFAULT='
                  '"modules=sd-mod,usb-storage,ext4 console=ttyS0,115200n8 rootfstype=ext4"\n'
                  'GRUB_TERMINAL="serial console"\n'
                  'GRUB_SERIAL_COMMAND="serial --speed=115200 --unit=0 --word=8 --parity=no '
                  '--stop=1"\n'}),
}


def base(cache, repository, alpine="3.22.1", size="2G", authority=None, loader=DEFAULT_LOADER, cmdline=""):
    """The qcow2 image of a fresh machine, built once per set of inputs."""
    digest = _digest(repository, alpine, size, authority, loader, cmdline)
    image = Path(cache) / "disks" / f"base-{digest}.qcow2"
    if image.is_file():
        return image
    image.parent.mkdir(parents=True, exist_ok=True)
    scratch = image.with_suffix(".build")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    tree = scratch / "root"
    chosen = LOADERS[loader]
    _install(tree, repository, chosen)
    _configure(tree, repository, alpine, authority, chosen)
    if cmdline:
        add_kernel_options(tree, chosen, cmdline)
    raw = scratch / "disk.raw"
    _make_disk(tree, raw, size, chosen)
    built = scratch / "disk.qcow2"
    _run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, built)
    _install_boot_loader(scratch, built, tree, chosen)
    built.rename(image)
    shutil.rmtree(scratch)
    return image


def add_kernel_options(tree, loader, words):
    """Adds words to every kernel's command line, where the loader's configuration has them."""
    path, name = loader.options
    text = (tree / path).read_text()
    changed, count = re.subn(rf'(?m)^({name}=".*)"$', lambda match: f'{match[1]} {words}"', text)
    if count != 1:
        raise RuntimeError(f"{path} sets {name} {count} times, not once")
    (tree / path).write_text(changed)


def media(files, path):
    """A disk whose ext4 file system holds these files, name -> file, and their checksums."""
    scratch = path.with_suffix(".tree")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    for name, source in files.items():
        shutil.copy(source, scratch / name)
        packages.write(scratch / f"{name}.sha256", f"{material.sha256_of(source)}  {name}\n")
    # A tenth and some for what the file system itself needs.
    blocks = sum(source.stat().st_size for source in files.values()) * 11 // 10 // 4096 + 2048
    path.unlink(missing_ok=True)
    _run("mke2fs", "-q", "-t", "ext4", "-b", "4096", "-O", "^has_journal,^64bit,^metadata_csum,^orphan_file",
         "-m", "0", "-L", "media", "-E", "root_owner=0:0", "-d", scratch, path, str(blocks))
    shutil.rmtree(scratch)
    return path


def overlay(base_image, path):
    """A disk that starts as `base_image` and keeps its changes to itself."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    _run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", base_image, path)
    return path


def _digest(repository, alpine, size, authority, loader, cmdline):
    digest = hashlib.sha256(f"{repository.store} {alpine} {size} {loader} {cmdline}".encode())
    files = [Path(__file__), *sorted(path for path in (GUEST / "base").rglob("*") if path.is_file())]
    for path in [*files, *([authority] if authority else [])]:
        digest.update(f"{path.name} {path.stat().st_mode:o}".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _install(tree, repository, loader):
    tree.mkdir()
    _run("tar", "-xzf", repository.material.minirootfs, "-C", tree, "--numeric-owner")
    shutil.copy(repository.key.public, tree / "etc/apk/keys" / repository.key.guest_name)
    # Scripts of packages run inside the tree and expect the usual devices.
    for name, minor in (("null", 3), ("zero", 5), ("urandom", 9)):
        os.mknod(tree / "dev" / name, 0o666 | stat.S_IFCHR, os.makedev(1, minor))
    offered = repository.offer([KERNEL])
    (tree / "etc/apk/repositories").write_text(f"{offered}/main\n")
    output = repository.apk(tree, "add", "--no-progress", *_WORLD)
    # A loader's trigger needs the disk that the tree will become; apk would remember the failure.
    output += repository.apk(tree, "add", "--no-progress", "--no-scripts", *loader.packages)
    (tree.parent / "apk.log").write_text(output)
    for name in ("null", "zero", "urandom"):
        (tree / "dev" / name).unlink()
    if not (tree / "boot/initramfs-virt").is_file():
        raise RuntimeError(f"the base tree has no initramfs; apk said:\n{output}")
    for leftover in ("boot/extlinux.conf", "boot/extlinux.conf.new"):
        (tree / leftover).unlink(missing_ok=True)
    shutil.rmtree(tree / "var/cache/apk", ignore_errors=True)
    (tree / "var/cache/apk").mkdir(parents=True)


def _configure(tree, repository, alpine, authority, loader):
    packages.copy_guest("base", tree)
    branch = alpine.rsplit(".", 1)[0]
    (tree / "etc/alpine-release").write_text(f"{alpine}\n")
    (tree / "etc/os-release").write_text(
        'NAME="Alpine Linux"\nID=alpine\n'
        f'VERSION_ID={alpine}\nPRETTY_NAME="Alpine Linux v{branch}"\n'
        'HOME_URL="https://alpinelinux.org/"\n'
        'BUG_REPORT_URL="https://gitlab.alpinelinux.org/alpine/aports/-/issues"\n')
    (tree / "etc/apk/repositories").write_text(
        f"{MIRROR}/v{branch}/main\n#{MIRROR}/v{branch}/community\n")
    for level, services in _RUNLEVELS.items():
        for service in services:
            (tree / "etc/runlevels" / level / service).symlink_to(f"/etc/init.d/{service}")
    shadow = tree / "etc/shadow"
    shadow.write_text(shadow.read_text().replace("root:*:", "root::", 1))
    for path, lines in loader.settings.items():
        with open(tree / path, "a") as settings:
            settings.write(lines)
    if authority:
        certificate = Path(authority).read_text()
        packages.write(tree / "usr/local/share/ca-certificates/lab.crt", certificate)
        # Alone, as an operator who trusts one more authority has it in a file.
        packages.write(tree / "etc/ssl/certs/lab-ca.pem", certificate)
        with open(tree / "etc/ssl/certs/ca-certificates.crt", "a") as bundle:
            bundle.write(certificate)


def _make_disk(tree, raw, size, loader):
    bytes_total = _bytes(size)
    with open(raw, "wb") as disk:
        disk.truncate(bytes_total)
    blocks = (bytes_total - _PARTITION_START) // 4096
    _run("mke2fs", "-q", "-t", "ext4", "-b", "4096", "-O", "^64bit,^metadata_csum,^orphan_file",
         "-m", "1", "-L", "root", "-E", f"offset={_PARTITION_START},root_owner=0:0",
         "-d", tree, raw, str(blocks))
    code = (tree / loader.code).read_bytes() if loader.code else b""
    sectors = blocks * 8
    entry = struct.pack("<B3sB3sII", 0x80, b"\xfe\xff\xff", 0x83, b"\xfe\xff\xff",
                        _PARTITION_START // 512, sectors)
    with open(raw, "r+b") as disk:
        disk.write(code[:440].ljust(440, b"\0"))
        disk.seek(440)
        disk.write(struct.pack("<IH", 0x1AB1AB01, 0) + entry + bytes(48) + b"\x55\xaa")


def _install_boot_loader(scratch, image, tree, loader):
    machine = Machine(scratch / "first-boot", image)
    machine.start(kernel=tree / "boot/vmlinuz-virt",
                  append="root=/dev/vda1 rw rootfstype=ext4 console=ttyS0 quiet")
    try:
        machine.wait_up(120)
        result = machine.run(
            f"{loader.install} && : > /var/log/messages && rm -f /root/.ash_history", 120)
        if result.code != 0:
            raise Silent(f"the boot loader could not be written: {result.out}{result.err}")
        machine.shut_down()
    finally:
        machine.cut_power()


def _bytes(size):
    units = {"M": 1 << 20, "G": 1 << 30}
    return int(size[:-1]) * units[size[-1]]


def _run(*command):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} failed: {(done.stderr or done.stdout).strip()}")
    return done.stdout
