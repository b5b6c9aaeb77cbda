"""The disk of a Debian machine with its own docker, as a provider hands it over.

mmdebstrap installs the packages and runs their scripts; the machine boots the lab's kernel,
which QEMU is given directly: how Debian boots is not what is tried here.
"""

import hashlib
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from . import debs, disk, packages

SUITE = "trixie"
# All of them Debian's; busybox only lends the lab's agent its wget and usleep.
PACKAGES = ("systemd-sysv", "udev", "dbus", "kmod", "procps", "iproute2", "iptables", "ca-certificates", "netbase",
            "docker.io", "docker-cli", "docker-compose", "busybox", "cloud-init")
KERNEL = disk.KERNEL
_SIZE_MIB = 3072
_TIME_LIMIT = 1200

_AGENT = """\
[Unit]
Description=the lab's channel for commands
DefaultDependencies=no
After=systemd-remount-fs.service

[Service]
ExecStart=/usr/libexec/lab-agent loop
ExecStartPre=/bin/mkdir -p /dev/.lab
KillMode=process
Restart=always

[Install]
WantedBy=sysinit.target
"""
_UP = """\
[Unit]
Description=tells the lab that the machine is up
After=multi-user.target

[Service]
Type=oneshot
ExecStart=/usr/libexec/lab-agent up

[Install]
WantedBy=graphical.target
"""
_NETWORK = """\
[Match]
Type=ether
Kind=!*

[Network]
DHCP=ipv4
"""


@dataclass(frozen=True)
class Boot:
    """What QEMU is given directly: the kernel and its command line."""

    kernel: Path
    append: str


def boot(material):
    return Boot(next((material.kernel(KERNEL) / "boot").glob("vmlinuz*")),
                "root=/dev/vda rw rootfstype=ext4 console=ttyS0,115200n8 quiet")


def base(cache, material, authority):
    """The qcow2 image of a fresh machine, built once per set of inputs."""
    guest = disk.GUEST / "base"
    inputs = [Path(__file__), authority, guest / "usr/libexec/lab-agent", guest / "etc/hosts"]
    digest = hashlib.sha256(f"{SUITE} {PACKAGES} {material.kernels}".encode())
    for path in inputs:
        digest.update(path.read_bytes())
    image = Path(cache) / "disks" / f"debian-{digest.hexdigest()[:16]}.qcow2"
    if image.is_file():
        return image
    scratch = image.with_suffix(".build")
    shutil.rmtree(scratch, ignore_errors=True)
    (scratch / "root").mkdir(parents=True)
    tree = scratch / "root"
    _run("tar", "-xf", _packages(cache), "-C", tree, "--numeric-owner")
    _configure(tree, material, authority)
    raw = scratch / "disk.raw"
    _run("mke2fs", "-q", "-t", "ext4", "-b", "4096", "-O", "^metadata_csum,^orphan_file", "-m", "1", "-L", "root",
         "-E", "root_owner=0:0", "-d", tree, raw, str(_SIZE_MIB * 256))
    built = scratch / "disk.qcow2"
    _run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, built)
    built.rename(image)
    shutil.rmtree(scratch)
    return image


def _packages(cache):
    """The packages, installed into a tree of their own: an archive, kept."""
    digest = hashlib.sha256(f"{SUITE} {PACKAGES}".encode()).hexdigest()[:16]
    archive = Path(cache) / "debs" / f"debian-{digest}.tar"
    if not archive.is_file():
        partial = archive.with_suffix(".part.tar")
        _run("mmdebstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, partial, debs.mirror())
        partial.rename(archive)
    return archive


def _configure(tree, material, authority):
    guest = disk.GUEST / "base"
    kernel = material.kernel(KERNEL)
    shutil.copytree(kernel / "lib/modules", tree / "usr/lib/modules", symlinks=True, dirs_exist_ok=True)
    _run("depmod", "-b", tree, KERNEL)
    shutil.copy(guest / "usr/libexec/lab-agent", tree / "usr/libexec/lab-agent")
    shutil.copy(guest / "etc/hosts", tree / "etc/hosts")
    for name in ("usleep", "wget"):
        (tree / "usr/local/bin" / name).symlink_to("/usr/bin/busybox")
    units = tree / "etc/systemd/system"
    packages.write(units / "lab-agent.service", _AGENT)
    packages.write(units / "lab-up.service", _UP)
    packages.write(tree / "etc/systemd/network/80-lab.network", _NETWORK)
    (tree / "etc/hostname").write_text("debian\n")
    (tree / "etc/fstab").write_text("/dev/vda / ext4 errors=remount-ro 0 1\n")
    packages.write(tree / "usr/local/share/ca-certificates/lab.crt", Path(authority).read_text())
    with open(tree / "etc/ssl/certs/ca-certificates.crt", "a") as bundle:
        bundle.write(Path(authority).read_text())
    _run("systemctl", f"--root={tree}", "enable", "lab-agent.service", "lab-up.service", "systemd-networkd.service")
    # Nobody waits for a network that is there at once, and a login on the console is what `lab shell` wants.
    _run("systemctl", f"--root={tree}", "disable", "systemd-networkd-wait-online.service")
    # It runs where a scenario gives it a seed and takes the mark away.
    packages.write(tree / "etc/cloud/cloud-init.disabled", "")
    # What this small system has no tools for is left out.
    packages.write(tree / "etc/cloud/cloud.cfg.d/99-lab.cfg",
                   "datasource_list: [NoCloud]\nnetwork: {config: disabled}\n"
                   "resize_rootfs: false\ngrowpart: {mode: off}\nssh_genkeytypes: []\nssh_deletekeys: false\n")
    shadow = tree / "etc/shadow"
    shadow.write_text(shadow.read_text().replace("root:*:", "root::", 1))


def _run(*command):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=_TIME_LIMIT)
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise RuntimeError(f"{command[0]} failed: {' '.join(said[-3:])}")
