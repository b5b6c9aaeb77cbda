"""The lab's raw material: Alpine's minirootfs, the test kernels, their headers.

It comes from the folder that AWG_LAB_MATERIAL names (default `../shared/lab`
beside the repository), checked against that folder's SHA256SUMS. Where there
is no such folder, the minirootfs comes from Alpine's download site and the
kernels are built from Debian's kernel source.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from . import debs

MINIROOTFS = "alpine-minirootfs-3.20.3-x86_64.tar.gz"
MINIROOTFS_SHA256 = "d4e6fd67dcf75e40c451560ac7265166c2b72a0f38ddc9aae756a7de3d1efa0c"
ALPINE_URL = "https://dl-cdn.alpinelinux.org/alpine/v3.20/releases/x86_64"

_KERNELS = "kernels.tar.xz"
_HEADERS = "headers-6.12.50-0-lts.tar.xz"
_CONNECT_LIMIT = 20
_TOTAL_LIMIT = 600
_LARGEST = 64 << 20


class Unavailable(Exception):
    """The material can be had neither from the folder nor from its sources."""


@dataclass
class Material:
    minirootfs: Path
    kernels: Path
    headers: Path | None = None
    notes: list[str] = field(default_factory=list)

    def kernel(self, name):
        """The directory of one kernel: `boot/` and `lib/modules/<release>/`."""
        path = self.kernels / name
        if not path.is_dir():
            have = ", ".join(sorted(entry.name for entry in self.kernels.iterdir()))
            raise Unavailable(f"no kernel {name} in the lab material; it has {have}")
        return path


def find(cache):
    """The material, from the folder or else from its public sources."""
    cache = Path(cache) / "material"
    cache.mkdir(parents=True, exist_ok=True)
    folder = _folder()
    with _locked(cache):
        if folder.is_dir():
            return _from_folder(folder, cache)
        return _from_sources(cache, f"no lab material at {folder}")


def minirootfs(cache):
    """Alpine's minirootfs alone, its checksum right."""
    folder = _folder()
    if not folder.is_dir():
        cache = Path(cache) / "material"
        cache.mkdir(parents=True, exist_ok=True)
        with _locked(cache):
            return _fetched(cache, f"no lab material at {folder}")[0]
    path = folder / MINIROOTFS
    if not path.is_file() or sha256_of(path) != MINIROOTFS_SHA256:
        raise Unavailable(f"{path}: missing, or its SHA-256 is not {MINIROOTFS_SHA256}")
    return path


def download(url, dest, sha256, limit=_CONNECT_LIMIT):
    """Fetches one file and gives it its name only once its checksum is right."""
    partial = dest.with_name(dest.name + ".part")
    digest = hashlib.sha256()
    end = time.monotonic() + _TOTAL_LIMIT
    try:
        with urllib.request.urlopen(url, timeout=limit) as answer, open(partial, "wb") as out:
            while block := answer.read(1 << 16):
                out.write(block)
                digest.update(block)
                if out.tell() > _LARGEST:
                    raise Unavailable(f"{url} is larger than {_LARGEST >> 20} MiB; not taken")
                if time.monotonic() > end:
                    raise Unavailable(f"{url} did not come within {_TOTAL_LIMIT} s; given up")
    except OSError as error:  # HTTP and TLS errors are OSErrors too
        partial.unlink(missing_ok=True)
        raise Unavailable(f"cannot fetch {url}: {_cause(error)}") from None
    except Unavailable:
        partial.unlink(missing_ok=True)
        raise
    if digest.hexdigest() != sha256:
        partial.unlink()
        raise Unavailable(f"{url} has SHA-256 {digest.hexdigest()}, expected {sha256}; not taken")
    partial.rename(dest)


def sha256_of(path):
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _cause(error):
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP {error.code} {error.reason}"
    return getattr(error, "reason", error)


def _folder():
    named = os.environ.get("AWG_LAB_MATERIAL")
    if named:
        return Path(named)
    return Path(__file__).resolve().parents[3] / "shared" / "lab"


def _from_folder(folder, cache):
    try:
        lines = (folder / "SHA256SUMS").read_text().splitlines()
    except OSError as error:
        raise Unavailable(f"{folder}/SHA256SUMS: {error.strerror}") from None
    sums = {name.lstrip("*"): digest for digest, name in (line.split() for line in lines if line)}
    for name in (MINIROOTFS, _KERNELS, _HEADERS):
        if name == _HEADERS and not (folder / name).is_file():
            continue
        if not (folder / name).is_file() or name not in sums:
            raise Unavailable(f"{folder}/{name}: missing, or not listed in SHA256SUMS")
        if sha256_of(folder / name) != sums[name]:
            raise Unavailable(f"{folder}/{name}: its SHA-256 is not the one in SHA256SUMS")
    kernels = _unpacked(folder / _KERNELS, cache / f"kernels-{sums[_KERNELS][:12]}")
    headers = folder / _HEADERS
    return Material(
        minirootfs=folder / MINIROOTFS,
        kernels=kernels / "kernels",
        headers=headers if headers.is_file() else None,
        notes=[f"material from {folder}, checksums right"],
    )


def _fetched(cache, reason):
    """The minirootfs from Alpine's site, and where that is."""
    url = os.environ.get("AWG_LAB_ALPINE_URL", ALPINE_URL).rstrip("/")
    path = cache / MINIROOTFS
    if not (path.is_file() and sha256_of(path) == MINIROOTFS_SHA256):
        print(f"lab: {reason}; fetching {url}/{MINIROOTFS}", file=sys.stderr)
        try:
            download(f"{url}/{MINIROOTFS}", path, MINIROOTFS_SHA256)
        except Unavailable as error:
            raise Unavailable(f"{reason}, and {error}") from None
    return path, url


def _from_sources(cache, reason):
    path, url = _fetched(cache, reason)
    notes = [reason, f"minirootfs from {url}, SHA-256 right"]
    from . import kernel_build  # needs a compiler: only on this path

    try:
        built = kernel_build.build(cache)
    except (debs.Unavailable, kernel_build.Failed) as error:
        raise Unavailable(f"{reason}, and the kernels could not be built: {error}") from None
    return Material(path, built.kernels, built.headers, notes + built.notes)


def _unpacked(archive, dest):
    """Unpacks once: the directory has its name only when it is complete."""
    if not dest.is_dir():
        partial = dest.with_name(dest.name + ".part")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        subprocess.run(
            ["tar", "--no-same-owner", "-xJf", str(archive), "-C", str(partial)], check=True
        )
        partial.rename(dest)
    return dest


@contextmanager
def _locked(cache):
    with open(cache / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
