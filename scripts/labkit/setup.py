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
    "mmdebstrap": ("program", "mmdebstrap"),
}


def names():
    return ", ".join(_NEEDED)


def ensure():
    """Installs what is missing and says what; the problem in one line, or None."""
    missing = [package for package, test in _NEEDED.items() if not _present(*test)]
    if not missing:
        return None
    if not shutil.which("apt-get"):
        return f"{', '.join(missing)} missing, and no apt-get to install them"
    prefix = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if prefix and not shutil.which("sudo"):
        return f"{', '.join(missing)} missing; install them as root"
    print(f"lab: installs with apt: {' '.join(missing)}", file=sys.stderr)
    problem = _apt(prefix, "update")
    # All are named, so that apt chooses versions that go together.
    problem = problem or _apt(prefix, "install", "-y", "--no-install-recommends", *_NEEDED)
    if problem:
        # A newer qemu-utils from elsewhere (backports, say) keeps the archive's qemu-system out: both from there.
        version = _candidate("qemu-system-x86")
        pinned = [f"{name}={version}" if name == "qemu-utils" and version else name for name in _NEEDED]
        problem = _apt(prefix, "install", "-y", "--no-install-recommends", "--allow-downgrades", *pinned)
    if problem:
        return problem
    importlib.invalidate_caches()
    # All of them: installing one may have taken another away.
    still = [package for package, test in _NEEDED.items() if not _present(*test)]
    return f"{', '.join(still)} installed, yet not found" if still else None


def _apt(prefix, *words):
    """Runs apt-get; the problem in one line, or None."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run([*prefix, "apt-get", "-qq", *words], env=environment, text=True,
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    if done.returncode == 0:
        return None
    last = (done.stderr.strip().splitlines() or ["no message"])[-1]
    return f"`apt-get {' '.join(words)}` failed: {last}"


def _candidate(package):
    """The version that the archive would give."""
    said = subprocess.run(["apt-cache", "policy", package], capture_output=True, text=True).stdout
    lines = [line.split() for line in said.splitlines()]
    return next((words[1] for words in lines if words[:1] == ["Candidate:"]), None)


def _present(kind, name):
    if kind == "program":
        path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
        return shutil.which(name, path=path) is not None
    if kind == "file":
        return Path(name).exists()
    return importlib.util.find_spec(name) is not None
