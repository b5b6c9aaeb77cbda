"""Debian's minisign, unpacked and run with its own libraries, and keys of the lab's own."""

import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from . import debs

_LIB = "usr/lib/x86_64-linux-gnu"
_PACKAGES = ("minisign", "libsodium23", "libc6")


class Failed(Exception):
    """minisign did not do what was asked; the text is its own."""


@dataclass(frozen=True)
class Key:
    """A key pair without a password; `text` is the public key as configurations hold it."""

    secret: Path
    public: Path

    @property
    def text(self):
        return self.public.read_text().splitlines()[1]


def program(cache):
    """A program `minisign`, alone in its directory."""
    files = debs.fetch(_PACKAGES, cache)
    home = Path(cache) / "minisign" / files["minisign"].stem
    if not home.is_dir():
        home.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(dir=home.parent))
        for name in _PACKAGES:
            debs.unpack(files[name], partial / "root")
        # This machine's C library may be older than the one that the program was built with.
        (partial / "bin").mkdir()
        root = home / "root"
        wrapper = partial / "bin" / "minisign"
        wrapper.write_text(f"#!/bin/sh\nexec {root}/{_LIB}/ld-linux-x86-64.so.2 --library-path {root}/{_LIB} "
                           f"{root}/usr/bin/minisign \"$@\"\n")
        wrapper.chmod(0o755)
        try:
            partial.rename(home)
        except OSError:  # another process was faster
            shutil.rmtree(partial)
    return home / "bin" / "minisign"


def key(cache, name):
    """The lab's key of that name, made at its first use and kept."""
    home = Path(cache) / "minisign" / "keys"
    pair = Key(home / f"{name}.key", home / f"{name}.pub")
    if not pair.secret.is_file():
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home) as scratch:
            made = Key(Path(scratch, "key"), Path(scratch, "pub"))
            _run(cache, "-G", "-W", "-s", made.secret, "-p", made.public)
            made.public.rename(pair.public)
            made.secret.rename(pair.secret)
    return pair


def sign(cache, pair, path):
    """Writes `<path>.minisig`."""
    _run(cache, "-S", "-W", "-s", pair.secret, "-m", path, "-x", f"{path}.minisig")


def _run(cache, *arguments):
    done = subprocess.run([str(word) for word in (program(cache), *arguments)], text=True,
                          stdin=subprocess.DEVNULL, capture_output=True)
    if done.returncode != 0:
        raise Failed(f"minisign {arguments[0]}: {(done.stderr or done.stdout).strip()}")
