"""The program in an Alpine root: whether it starts, and whether the line of the README fetches it there."""

import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

from labkit import bench, material

from . import Problem


class Skipped(Exception):
    """Why this machine cannot try it."""


@contextmanager
def root():
    """A throw-away Alpine root, from the lab's material; BusyBox and musl are Alpine's."""
    if os.geteuid() != 0:
        raise Skipped("a root needs chroot, which only root may call")
    cache = bench.cache_directory()
    cache.mkdir(parents=True, exist_ok=True)
    try:
        archive = material.minirootfs(cache)
    except material.Unavailable as why:
        raise Skipped(f"no Alpine minirootfs: {why}") from why
    with tempfile.TemporaryDirectory(prefix="awg-alpine-") as place:
        subprocess.run(["tar", "-xzf", archive, "-C", place], check=True)
        yield Path(place)


def run(place, script, limit=60):
    """A shell line in the root, by its own BusyBox, with nothing of this machine's environment."""
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}
    return subprocess.run(["chroot", place, "/bin/sh", "-c", f"cd /root && {script}"], env=environment, timeout=limit,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)


def starts(binary, version):
    """What the program says of itself in the root, where nothing but Alpine's files are."""
    with root() as place:
        shutil.copy(binary, place / "root/awg-install")
        done = run(place, "./awg-install --version && ./awg-install render example > /dev/null")
        if done.returncode != 0 or version not in done.stdout:
            raise Problem(f"{binary.name} does not start on Alpine: {done.stdout}{done.stderr}")
        return f"{(place / 'etc/alpine-release').read_text().strip()}: {done.stdout.strip()}"
