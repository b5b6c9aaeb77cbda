"""A machine with a finished installation in kernel mode, to be measured."""

import fcntl
import hashlib
import shutil
import time

from . import disk
from .channel import Silent
from .furnish import CONFIG, KERNELS, config, furnish, install
from .machine import Hardware

AGAIN = f"awg-install --unattended --config {CONFIG}"
_LIMIT = 900


def start(bench, binary, place, hardware=None):
    """Boots a machine with nothing to do. Its disk is made once for each program, and kept."""
    machine = _machine(bench, _disk(bench, binary, place), place, hardware)
    try:
        machine.wait_up(300)
        healthy(machine)
        again = machine.run(AGAIN, 300)
        if again.code != 0 or "nothing to do" not in again.out:
            raise Silent(f"a further run ended with {again.code}: {(again.out + again.err).strip()[-500:]}")
    except BaseException:
        stop(machine)
        raise
    return machine


def _disk(bench, binary, place):
    base = bench.base()
    digest = hashlib.sha256(b"\0".join([binary.read_bytes(), base.name.encode(), config().encode()])).hexdigest()[:16]
    kept = bench.cache / "installed"
    kept.mkdir(parents=True, exist_ok=True)
    disk_of = kept / f"{digest}.qcow2"
    with open(kept / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not disk_of.is_file():
            for older in kept.glob("*.qcow2"):
                older.unlink()
            _install(bench, binary, base, place).rename(disk_of)
    return disk_of


def _install(bench, binary, base, place):
    """A disk on which a whole installation has ended, and the machine was shut down."""
    machine = _machine(bench, base, place)
    try:
        boot = machine.wait_up(300).boot
        furnish(machine, bench, binary)
        install(machine, boot, _LIMIT)
        machine.shut_down(180)
        finished = bench.cache / "installed" / "new"
        shutil.copy(machine.disk, finished)
        return finished
    finally:
        stop(machine)


def _machine(bench, below, place, hardware=None):
    machine = bench.machine(place, disk.overlay(below, place / "disk.qcow2"), hardware or Hardware(), KERNELS)
    machine.start()
    return machine


def healthy(machine, limit=300):
    deadline = time.monotonic() + limit
    while machine.run("docker inspect --format '{{.State.Health.Status}}' wg-easy", limit).out.strip() != "healthy":
        if time.monotonic() > deadline:
            raise Silent("the container is not healthy")
        time.sleep(2)


def stop(machine):
    machine.cut_power()
    machine.server.stop()
    for leftover in [*machine.dir.glob("put-*"), machine.dir / "disk.qcow2"]:
        leftover.unlink(missing_ok=True)
