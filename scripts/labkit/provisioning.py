"""A whole installation by this program and by a plain script, on the same machines over the same link.

Both begin on a fresh disk as a command is given, and end as wg0 of the module's own kind is up in the container; for
this program that includes its proof and its last word. Figures are of software emulation: only their ratio says something.
"""

import hashlib
import json
import random
import re
import shutil
import statistics
import time

from . import disk, images, variants
from .channel import Rebooted, Silent
from .furnish import INSTALL, KERNELS, MODULE, RELEASE, furnish
from .machine import Hardware
from .shape import shaped

_LARGE = "lab/wg-easy-large:15"
_IMAGE = f"ghcr.io/{_LARGE}"
# As of a VPS of the smaller kind.
RATE, DELAY, IMAGE_SIZE = 50_000_000, 0.030, 150_000_000
GOAL = 0.6
_LIMIT = 1800
_PEER = f"/root/bench-peer.sh {RELEASE} {MODULE} {_IMAGE}"
_DONE = {
    "awg-install": "grep -q '\"outcome\": \"done\"' /var/lib/awg-install/receipt.json",
    "script": "[ -e /root/peer-done ]",
}


def run(bench, binary, top, place, rounds, processors):
    """Plays each round shaped and unshaped, ours and the peer's by turns; prints a table."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    layout = large(bench, images.UPSTREAM, 1)
    bench.registry.publish(_LARGE, layout)
    print(f"image: {images.size(layout) / 1e6:.0f} MB, compressed; {processors} processor(s)", flush=True)
    took = {}
    for number in range(rounds):
        for over_link in (True, False):
            for who in ("awg-install", "script"):
                name = f"{who}-{'shaped' if over_link else 'unshaped'}-{number + 1}"
                seconds, parts = _play(bench, binary, top, place / name, who, over_link, processors)
                took.setdefault((over_link, who), []).append(seconds)
                print(f"{name}: {seconds:.0f} s", flush=True)
                for part, ms in parts:
                    print(f"    {ms / 1000:6.1f} s  {part}", flush=True)
    print("\n| link | awg-install | script | ratio | goal |\n|---|---|---|---|---|")
    missed = False
    for over_link in (True, False):
        ours, peer = (statistics.median(took[over_link, who]) for who in ("awg-install", "script"))
        link = f"{RATE // 1_000_000} Mbit/s, {DELAY * 1000:.0f} ms" if over_link else "unshaped"
        goal = f"at most {GOAL}: {'met' if ours / peer <= GOAL else 'missed'}" if over_link else "for scale"
        missed |= over_link and ours / peer > GOAL
        print(f"| {link} | {ours:.0f} s | {peer:.0f} s | {ours / peer:.2f} | {goal} |")
    return 1 if missed else 0


def _play(bench, binary, top, place, who, over_link, processors):
    """Seconds of one installation, and its longest steps where they are known."""
    image = disk.overlay(bench.base(size="3G"), place / "disk.qcow2")
    machine = bench.machine(place, image, Hardware(processors=processors), KERNELS)
    links = shaped(machine.ports, RATE, DELAY) if over_link else []
    try:
        machine.start()
        boot = machine.wait_up(300).boot
        _prepare(machine, bench, binary, top)
        began = time.monotonic()
        machine.run(f"{INSTALL if who == 'awg-install' else _PEER} > /root/output 2>&1 < /dev/null &", 30)
        try:
            machine.wait_up(_LIMIT, not_boot=boot)
        except Silent as error:
            raise Silent(f"{error}: {_tail(machine, '/root/output')}") from None
        while machine.run(_DONE[who], 60).code != 0:
            if time.monotonic() - began > _LIMIT:
                raise Silent(f"{who} did not end: {_tail(machine, '/root/output')} {_tail(machine, '/root/peer.log')}")
            time.sleep(0.5)
        seconds = time.monotonic() - began
        kind = machine.run("docker exec wg-easy ip -d link show wg0", 120).out
        if "amneziawg" not in kind or machine.run("uname -r", 30).out.strip() != RELEASE:
            raise Silent(f"{who} ended with something else: {kind}")
        if who != "awg-install":
            return seconds, _parts(machine)
        events = _log(machine)
        used = sum(event["cpu_ms"] for event in events if event.get("type") == "exit")
        own = f"of all, processor time of the program itself: {used / seconds / 10:.1f} %"
        return seconds, [*_longest(events), (own, used)]
    finally:
        machine.cut_power()
        machine.server.stop()
        for link in links:
            link.stop()
        (place / "disk.qcow2").unlink(missing_ok=True)


def _prepare(machine, bench, binary, top):
    furnish(machine, bench, binary, _IMAGE)
    machine.put("/root/bench-peer.sh", (top / "scripts/bench-peer.sh").read_bytes(), 0o755)


def _log(machine):
    """What the program has written down, once the run after the restart has ended: the receipt says so before it does."""
    for _ in range(30):
        events = [json.loads(line) for line in machine.run("cat /var/log/awg-install.log", 60).out.splitlines()]
        if events and events[-1].get("type") == "exit" and any(e.get("outcome") == "done" for e in events):
            return events
        time.sleep(1)
    raise Silent("the run that has finished the installation does not end")


def _longest(events, count=10):
    done = [event for event in events if event.get("type") == "step-done"]
    return sorted(((event["step"], event["ms"]) for event in done), key=lambda part: -part[1])[:count]


def _parts(machine):
    """What the script says of itself: before its restart, then after it."""
    found = []
    for path in ("/root/output", "/root/peer.log"):
        said = machine.run(f"cat {path}", 60).out
        found += parts(said)
    return sorted(found, key=lambda part: -part[1])


def parts(said):
    """The milliseconds of each part whose begin, and that of the next, the script has told."""
    begins = [(words[1], float(words[0])) for words in (line.split(" ", 1) for line in said.splitlines())
              if len(words) == 2 and re.fullmatch(r"\d+\.\d\d", words[0])]
    return [(name, (end - begin) * 1000) for (name, begin), (_, end) in zip(begins, begins[1:])]


def _tail(machine, path):
    try:
        return machine.run(f"tail -n 5 {path}", 30).out.strip()
    except (Rebooted, Silent):
        return ""


def large(bench, reference, seed):
    """An image of the lab with a layer that no compression makes smaller, up to the size that a real one has."""
    plain = bench.registry.layouts[reference]
    name = f"{plain.parent.name} {plain.name} {seed} {IMAGE_SIZE}"
    home = bench.cache / "images" / f"large-{hashlib.sha256(name.encode()).hexdigest()[:16]}"
    if not home.is_dir():
        partial = home.with_suffix(".part")
        shutil.rmtree(partial, ignore_errors=True)
        variants.enlarged(plain, partial, random.Random(seed).randbytes(IMAGE_SIZE - images.size(plain)))
        partial.rename(home)
    return home
