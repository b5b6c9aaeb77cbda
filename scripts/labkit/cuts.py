"""Power cuts at random moments of an installation, and what comes of them.

Every cut has a number; number and seed decide the moment. The machine starts from a
disk that is ready for the installation, or from one on which the new kernel is armed;
QEMU is killed with SIGKILL, so that the guest's memory with all it had not written is
gone. Then the power comes back, and the operator does what the README says: looks,
and runs the same command again. In the end everything must be as after an undisturbed
installation. Results are kept, one JSON line each: a second call goes on where the
first was stopped.
"""

import json
import os
import random
import shutil
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from . import disk, trees
from .channel import Rebooted, Silent, TimedOut
from .furnish import CONFIG, INSTALL, KERNELS, PROGRAM, RELEASE, furnish
from .machine import Hardware

# Differ from run to run without meaning anything, or are made anew at every start.
# The new kernel's initramfs holds the time of its making: the files in it are compared instead.
_INCIDENTAL = [
    "/var/lib/docker", "/var/lib/containerd", "/var/lib/awg-install", "/opt/wg-easy/data", "/boot/ldlinux.sys",
    "/boot/extlinux.conf.old", "/boot/initramfs-lts", "/lib/apk/db", "/etc/docker", "/var/lib/seedrng",
    "/root/output",
]
# Goes up when the record of an undisturbed end says more.
_RECORD = b"2"
_lock = threading.Lock()


class Broken(Exception):
    """What a machine was like after a cut, and should not have been."""


def run(bench, binary, cache, numbers, seed, jobs):
    """Makes the cuts with these numbers; 1 when one did not end well."""
    place = cache / "cuts"
    place.mkdir(parents=True, exist_ok=True)
    stage = _Stage(bench, binary, place)
    results = place / f"{seed}-{stage.digest}.jsonl"
    done = {}
    if results.exists():
        done = {entry["number"]: entry for entry in map(json.loads, results.read_text().splitlines())}
    left = [number for number in numbers if number not in done]
    if left:
        stage.prepare()

    def one(number):
        entry = _one(stage, number, seed)
        with _lock:
            with open(results, "a") as file:
                file.write(json.dumps(entry) + "\n")
            done[number] = entry
            _tell(entry)

    # Asked to end, it ends at once; its machines go with it.
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_number, lambda number, _: os._exit(128 + number))
    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(one, left))
    chosen = [done[number] for number in numbers]
    failed = [entry for entry in chosen if entry["problem"]]
    fallbacks = sum(1 for entry in chosen if entry.get("fell_back"))
    print(f"{len(chosen)} cuts, seed {seed}: {len(chosen) - len(failed)} ended as an undisturbed installation does "
          f"({fallbacks} of them after the trial boot had counted as failed); results in {results}")
    for entry in failed:
        _tell(entry)
    print(f"{len(chosen) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


def _tell(entry):
    what = f"cut {entry['number']:3} {entry['phase']} +{entry['after']:.1f} s, {entry['took']:.0f} s in all: "
    print(what + (f"FAIL {entry['problem']}" if entry["problem"] else entry["end"]), flush=True)


def _one(stage, number, seed):
    chance = random.Random(f"{seed}-{number}")
    moment = chance.uniform(0, stage.times["install"] + stage.times["resume"])
    phase = "install" if moment < stage.times["install"] else "resume"
    after = moment if phase == "install" else moment - stage.times["install"]
    entry = {"number": number, "seed": seed, "phase": phase, "after": after, "problem": None}
    begun = time.monotonic()
    try:
        entry.update(_cut(stage, number, phase, after))
    except (Broken, Silent, TimedOut, Rebooted) as error:
        entry["problem"] = str(error) or type(error).__name__
    entry["took"] = time.monotonic() - begun
    return entry


def _cut(stage, number, phase, after):
    machine = stage.machine(f"cut-{number}", "ready" if phase == "install" else "armed")
    try:
        machine.start()
        if phase == "install":
            machine.wait_up(300)
            machine.run(f"{INSTALL} > /root/output 2>&1 < /dev/null &", 30)
        time.sleep(after)
        machine.cut_power()
        machine.start()
        # Whatever was interrupted: it boots.
        hello = machine.wait_up(400)
        kernel_after = hello.release
        fell_back = _finish(machine)
        _check(machine, stage)
        # The disk of a cut that ended badly is kept: it is all there is to learn from.
        (machine.dir / "disk.qcow2").unlink(missing_ok=True)
        return {"end": f"came up on {kernel_after}, ended well", "fell_back": fell_back}
    finally:
        machine.cut_power()
        machine.server.stop()


def _finish(machine):
    """What the operator does. True when the trial boot that was cut off had counted as failed."""
    fell_back = False
    for _ in range(4):
        code = _status(machine)
        if code == 8:
            # A power cut during the trial boot cannot be told from a kernel that died.
            said = machine.run(f"{PROGRAM} status", 120).out
            if "came back on" not in said:
                raise Broken(f"ended in another rung: {said.strip()[-300:]}")
            fell_back = True
        if code == 0 and machine.run("uname -r", 30).out.strip() == RELEASE:
            return fell_back
        retry = " --retry-kernel" if code == 8 else ""
        command = f"{PROGRAM} install --unattended{retry} --config {CONFIG}"
        result = _run(machine, command)
        if result and result.code not in (0, 8):
            raise Broken(f"running again: exit {result.code}: {(result.out + result.err).strip()[-400:]}")
        if result and "scheduled" in result.out:
            boot = machine.channel.boot
            machine.wait_up(400, not_boot=boot)
    raise Broken("is not finished after running again four times")


def _status(machine):
    result = _run(machine, f"{PROGRAM} status --wait")
    if result is None:
        machine.wait_up(400)
        return _status(machine)
    return result.code


def _run(machine, command):
    """The result, or None when the guest restarted meanwhile."""
    try:
        return machine.run(command, 900)
    except Rebooted:
        return None


def _check(machine, stage):
    def expect(command, wanted):
        got = machine.run(command, 300).out.strip()
        if got != wanted:
            raise Broken(f"`{command}` says {got[-200:]!r}, not {wanted!r}")

    expect("uname -r", RELEASE)
    again = machine.run(INSTALL, 300)
    if again.code != 0 or "nothing to do" not in again.out:
        raise Broken(f"a further run: exit {again.code}: {(again.out + again.err).strip()[-300:]}")
    expect("docker inspect --format '{{.State.Health.Status}}' wg-easy", "healthy")
    expect("docker exec wg-easy ip -d link show wg0 | grep -c amneziawg", "1")
    images = trees.images(machine)
    if stage.finished is None:
        stage.finished, stage.images = trees.record(machine), images
        return
    changes = trees.differences(stage.finished, trees.record(machine), _INCIDENTAL)
    changes += trees.differences(stage.images, images)
    if changes:
        raise Broken(f"{len(changes)} files differ from an undisturbed installation, first: {changes[:3]}")


class _Stage:
    """The disks that cuts start from, and how long an undisturbed installation takes."""

    def __init__(self, bench, binary, place):
        self.bench, self.binary, self.place = bench, binary, place
        self.base = bench.base()
        self.digest = _digest(binary.read_bytes(), self.base.name.encode(), _RECORD)
        self.times, self.finished, self.images = {}, None, None

    def machine(self, name, source):
        directory = self.place / name
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        image = disk.overlay(self._disk(source), directory / "disk.qcow2")
        return self.bench.machine(directory, image, Hardware(), KERNELS)

    def prepare(self):
        """Makes both disks and the record of an undisturbed end, unless they are there."""
        record = self.place / f"record-{self.digest}.json"
        if record.exists():
            known = json.loads(record.read_text())
            self.times, self.finished, self.images = (known[key] for key in ("times", "finished", "images"))
            return
        print("cuts: installs once undisturbed", flush=True)
        machine = self.bench.machine(
            self._fresh("ready"), disk.overlay(self.base, self._disk("ready", True)), Hardware(), KERNELS)
        machine.start()
        machine.wait_up(300)
        furnish(machine, self.bench, self.binary)
        machine.shut_down(120)
        machine.server.stop()
        self._undisturbed()
        record.write_text(json.dumps(
            {"times": self.times, "finished": self.finished, "images": self.images}))

    def _undisturbed(self):
        machine = self.machine("armed-making", "ready")
        machine.start()
        machine.wait_up(300)
        begun = time.monotonic()
        result = machine.run(INSTALL + " --no-reboot", 900)
        self.times["install"] = time.monotonic() - begun
        if result.code != 7:
            raise Silent(f"the undisturbed installation failed: {result.out}{result.err}")
        machine.shut_down(120)
        machine.server.stop()
        shutil.copy(machine.dir / "disk.qcow2", self._disk("armed", True))
        machine = self.machine("reference", "armed")
        machine.start()
        begun = time.monotonic()
        machine.wait_up(300)
        code = machine.run(f"{PROGRAM} status --wait", 900).code
        self.times["resume"] = time.monotonic() - begun
        if code != 0:
            raise Silent(f"the undisturbed resumption ended with {code}")
        _check(machine, self)
        machine.cut_power()
        machine.server.stop()

    def _disk(self, name, new=False):
        path = self.place / f"{name}-{self.digest}.qcow2"
        if new:
            path.unlink(missing_ok=True)
        return path

    def _fresh(self, name):
        directory = self.place / f"{name}-making"
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        return directory


def _digest(*parts):
    import hashlib

    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()[:12]
