"""Runs scenarios, each on a machine of its own, and says pass or fail."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from . import catalog, debs, disk, gate, material, products, registry, standin, steps, transfer
from .bench import Bench
from .channel import Rebooted, Silent, TimedOut
from .machine import Hardware
from .narrative import Narrative

_BOOT_LIMIT = 300
_BINARY = "/root/awg-install"
# In texts of a scenario: the key that its catalog is signed with.
_CATALOG_KEY = "${CATALOG_KEY}"
# What a scenario plays the tunnel's peer with.
_PEER = Path(__file__).with_name("peer.sh")
_VAGRANT = Path(__file__).resolve().parents[2] / "vagrant"


@dataclass
class Options:
    keep: bool
    binary: str | None
    log: Path
    # How many machines run at the same time.
    jobs: int = 1
    # Without a machine: an error, not a first look at the job on a fake root.
    strict: bool = False


def run(scenarios, names, cache, top, options):
    """Runs the named scenarios, and before them those that make their snapshots."""
    try:
        bench = make_bench(cache)
    except (material.Unavailable, debs.Unavailable) as error:
        if options.strict:
            raise Silent(f"no machine can be made here: {error}") from None
        first_look(top, error)
    try:
        binary = _binary(scenarios, names, top, options)
        results = _run_all(scenarios, names, bench, binary, options)
    finally:
        bench.close()
    for name, (problem, seconds) in results.items():
        print(f"FAIL {name}: {problem}" if problem else f"pass {name} {seconds:.0f} s")
    failed = sum(1 for problem, _ in results.values() if problem)
    print(f"{len(results) - failed} passed, {failed} failed")
    return 1 if failed else 0


def first_look(top, reason):
    """No machine to be had: shows the whole job on a fake root instead."""
    print(f"lab: no virtual machine here ({reason}); shows the job on a fake root instead")
    sys.stdout.flush()
    os.execv(top / "scripts/first-look", ["first-look"])


def make_bench(cache):
    """What machines need, made ready; says what it does."""
    bench = Bench(cache)
    for note in bench.material.notes:
        print(f"lab: {note}")
    print("lab: prepares disk, packages and images (minutes the first time, then kept)", flush=True)
    try:
        bench.base()
        bench.start_registry()
    except BaseException:
        bench.close()
        raise
    return bench


def _run_all(scenarios, names, bench, binary, options):
    """Each on its own, or several at the same time; one that starts where another ends comes after it."""
    results, lock = {}, threading.Lock()
    running = {}

    def run_one(name):
        scenario, fault = scenarios[name], None
        for product in products.needed(bench, scenarios, scenario):
            maker = product.maker
            with lock:
                needed = maker.name in running or not products.fresh(bench, scenarios, product, binary)
            if needed:
                print(f"{name} needs `{product.name}`, which {maker.name} makes; that runs first", flush=True)
                if once(maker.name)[0]:
                    fault = f"{maker.name}, which makes `{product.name}` for it, failed"
        start = time.monotonic()
        problem = fault or _run_scenario(scenario, scenarios, bench, binary, options)
        return problem, time.monotonic() - start

    def once(name):
        with lock:
            begun = name in running
            if not begun:
                running[name] = Future()
        if not begun:
            try:
                running[name].set_result(run_one(name))
            except BaseException as error:
                running[name].set_exception(error)
        return running[name].result()

    # Asked to end, it ends at once: machines and registry never outlive their lab, and a pool would
    # wait for all that it has begun.
    if options.jobs > 1:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda number, _: os._exit(128 + number))
    with ThreadPoolExecutor(options.jobs) as pool:
        for name, result in zip(names, pool.map(once, names)):
            results[name] = result
    return results


def _run_scenario(scenario, scenarios, bench, binary, options):
    """The problem in one line, or None."""
    place = options.log / scenario.name
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    host = scenario.host
    # Made outside the story and its time limit; kept for the next run.
    bench.repository.offer(host["kernels_offered"])
    if not host["from"]:
        bench.disk_of(host)
    narrative = Narrative(place / "narrative.txt", live=options.jobs == 1)
    narrative.plain(f"== {scenario.name}: {scenario.about}")
    stage = _Stage(scenario, scenarios, bench, binary, place, narrative)
    number = 0
    try:
        stage.set_up()
        for number, step in enumerate(scenario.steps, 1):
            if stage.left <= 0:
                raise steps.Failed(f"the time limit of {scenario.time_limit} s is over")
            steps.perform(step, stage)
        problem = None
    except (steps.Failed, Silent, TimedOut, transfer.Failed, catalog.Failed) as error:
        problem = f"step {number}: {error}" if number else str(error)
    except Rebooted:
        problem = f"step {number}: the guest rebooted unexpectedly"
    finally:
        stage.close(options.keep)
    narrative.tell(f"FAIL {problem}; console: {stage.console}" if problem else "pass")
    narrative.close()
    return problem


class _Stage:
    """What the steps of one scenario act on."""

    def __init__(self, scenario, scenarios, bench, binary, place, narrative):
        self.scenario, self.scenarios, self.bench, self.binary = scenario, scenarios, bench, binary
        self.place, self.narrative = place, narrative
        self.trees, self.machine, self.catalog, self.gate, self.boot = {}, None, None, None, None
        self.moved_tags = set()  # of the registry, which other scenarios use as well
        self.tell, self.console = narrative.tell, place / "console.log"

    @property
    def left(self):
        return self.scenario.time_limit - self.narrative.seconds

    def show(self, out, err=b""):
        for part in (out, err):
            self.narrative.show(part if isinstance(part, str) else part.decode(errors="replace"))

    def set_up(self):
        host = self.scenario.host
        if host["from"]:
            base = products.snapshot_path(self.bench, host["from"])
            self.trees = json.loads(base.with_suffix(".trees.json").read_text())
            story = f"boots the machine that was kept as `{host['from']}`"
        else:
            base = self.bench.disk_of(host)
            story = (f"boots a fresh Alpine {host['alpine']} on linux-virt by {host['loader']}"
                     if host["distribution"] == "alpine" else "boots a fresh Debian with its own docker")
            story += f", kernel options {host['cmdline']}" if host["cmdline"] else ""
        image = disk.overlay(base, self.place / "disk.qcow2")
        if self.scenario.catalog:
            self.catalog = self.bench.catalog(self.place, self.binary)
            self.catalog.change(**(host["catalog"] or {}))
        if self.scenario.gated:
            self.gate = gate.Gate(self.bench.registry)
            self.gate.set(host["registry"])
        self.machine = self.bench.machine(
            self.place, image, self._hardware(), host["kernels_offered"], self.catalog, self.gate)
        story += "" if host["network"] == "user" else ", without a network"
        self.tell(f"{story} ({host['memory']} MiB, {host['disk']} disk, {host['cache']} cache)")
        self.machine.start()
        self.came_up(self.machine.wait_up(min(_BOOT_LIMIT, self.left)))
        if self.binary and host["binary"] and not host["from"]:
            self.machine.put(_BINARY, self.binary.read_bytes(), 0o755)
        for path, content in self.scenario.files.items():
            self._write(path, content)

    def _hardware(self):
        host = self.scenario.host
        hardware = Hardware(host["memory"], host["processors"], host["cache"], host["network"] != "none",
                            self.bench.boot_of(host["distribution"]))
        if host["media"]:
            files = {name: products.kept_path(self.bench, name) for name in host["media"]}
            hardware.media = disk.media(files, self.place / "media.img")
        if self.scenario.kept or not hardware.network:
            hardware.transfer = transfer.create(self.place / "transfer.img")
        return hardware

    def filled(self, text):
        """A text of the scenario with what only the lab knows."""
        return text.replace(_CATALOG_KEY, self.catalog.public_key) if self.catalog else text

    def came_up(self, hello):
        self.boot = hello.boot
        self.tell(f"up, running {hello.release}")

    def lab_file(self, name):
        """Files that the lab has or makes: `module/KERNEL`, `patched/FROM/TO`, `authority/FILE`, `vagrant/FILE` and `peer.sh`."""
        kind, _, rest = name.partition("/")
        material_, cache = self.bench.material, self.bench.cache
        if kind == "module":
            return standin.module(rest, material_, cache).read_bytes()
        if kind == "patched":
            return standin.patched_vermagic(*rest.split("/"), material_, cache).read_bytes()
        if kind == "authority" and rest in ("ca.crt", "ca.key"):
            return registry.ca_cert(cache).with_name(rest).read_bytes()
        if name == _PEER.name:
            return _PEER.read_bytes()
        if kind == "vagrant" and rest in (path.name for path in _VAGRANT.iterdir()):
            return (_VAGRANT / rest).read_bytes()
        raise steps.Failed(f"no file {name} in the lab; there are module/KERNEL, patched/FROM/TO, "
                           f"authority/ca.crt, authority/ca.key, vagrant/FILE, {_PEER.name}")

    def save_snapshot(self, name):
        target = products.snapshot_path(self.bench, name)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(self.place / "disk.qcow2", target)
        # What was recorded here can be compared with in scenarios that start from this disk.
        target.with_suffix(".trees.json").write_text(json.dumps(self.trees))
        products.record(self.bench, self.scenarios, self.scenario, self.binary, target)

    def keep_file(self, path, name, limit):
        """Copies a file out of the guest, for machines of other scenarios; its size in bytes."""
        target = products.kept_path(self.bench, name)
        target.parent.mkdir(parents=True, exist_ok=True)
        self.machine.keep(path, target, limit)
        products.record(self.bench, self.scenarios, self.scenario, self.binary, target)
        return target.stat().st_size

    def close(self, keep):
        for tag in self.moved_tags:
            self.bench.registry.point(tag, None)
        if self.machine:
            self.machine.cut_power()
            self.machine.server.stop()
        if self.catalog:
            self.catalog.stop()
        if self.gate:
            self.gate.stop()
        for pattern in ("put-*", "*.img"):
            for leftover in self.place.glob(pattern):
                leftover.unlink()
        image = self.place / "disk.qcow2"
        if keep and image.exists():
            self.tell(f"disk kept: lab up NAME --disk {image}")
        else:
            image.unlink(missing_ok=True)

    def _write(self, path, content):
        mode = 0o644
        if isinstance(content, dict):
            mode = content.get("mode", mode)
            content = content["text"] if "text" in content else self.lab_file(content["lab"])
        self.machine.put(path, self.filled(content) if isinstance(content, str) else content, mode)


def _binary(scenarios, names, top, options):
    if options.binary:
        return Path(options.binary).resolve()
    if not any(scenarios[name].host["binary"] for name in names):
        return None
    return build(top)


def build(top):
    """The static program."""
    print("lab: builds the program (scripts/build-static)")
    done = subprocess.run([top / "scripts/build-static"], stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise Silent("the program could not be built; see above, or give --binary PATH")
    return Path(done.stdout.strip().splitlines()[-1])
