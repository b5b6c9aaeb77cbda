"""What the lab needs on a Debian or Ubuntu machine, installed with apt when missing."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

# package -> how to see that it is there
_NEEDED = {
    "qemu-system-x86": ("program", "qemu-system-x86_64"),
    "qemu-utils": ("program", "qemu-img"),
    "seabios": ("file", "/usr/share/seabios/bios-256k.bin"),
    "e2fsprogs": ("program", "mke2fs"),
    "python3-yaml": ("module", "yaml"),
    "openssl": ("program", "openssl"),
    "kmod": ("program", "depmod"),
    "binutils": ("program", "strip"),
    "xz-utils": ("program", "xz"),
    "cpio": ("program", "cpio"),
}


def ensure(say=None):
    """Installs what is missing and says what; ends the program where it cannot."""
    missing = [package for package, test in _NEEDED.items() if not _present(*test)]
    if not missing:
        if say:
            say("everything the lab needs is installed: " + ", ".join(_NEEDED))
        return
    if not shutil.which("apt-get"):
        sys.exit(f"lab: missing {', '.join(missing)}, and no apt-get here to install them; "
                 "the lab runs on Debian and Ubuntu")
    prefix = [] if os.geteuid() == 0 else ["sudo"]
    if prefix and not shutil.which("sudo"):
        sys.exit(f"lab: install {' '.join(missing)} as root, then run this again")
    print(f"lab: installs with apt: {' '.join(missing)}", file=sys.stderr)
    for command in (["apt-get", "-qq", "update"],
                    ["apt-get", "-qq", "install", "-y", "--no-install-recommends", *missing]):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        done = subprocess.run([*prefix, *command], env=environment, stdout=subprocess.DEVNULL)
        if done.returncode != 0:
            sys.exit(f"lab: `{' '.join(command)}` failed; see its message above")
    importlib.invalidate_caches()
    still = [package for package in missing if not _present(*_NEEDED[package])]
    if still:
        sys.exit(f"lab: installed, yet not found: {', '.join(still)}")


def _present(kind, name):
    if kind == "program":
        path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
        return shutil.which(name, path=path) is not None
    if kind == "file":
        return Path(name).exists()
    return importlib.util.find_spec(name) is not None
