"""The tunnel in kernel mode beside userspace mode: one machine, one kernel, by turns.

A peer and what it loads from are namespaces of the same guest (peer.sh), and the peer is the kernel's WireGuard both
times: what is counted is the whole guest, the peer's half included, so that the modes differ by more than is seen here.
Under software emulation, and with stand-ins for AmneziaWG, which obfuscate nothing: only the ratio says something, and
real hardware has the last word (scripts/tunnel-speed).
"""

import re
import shutil
import statistics
from dataclasses import dataclass

from . import installed
from .channel import Silent
from .furnish import PASSWORD
from .machine import Hardware

_KINDS = {"kernel": "amneziawg", "userspace": "tun"}
# awg-quick takes the kernel's own kind where it can be had, loaded by its alias when it is asked for.
_BARRED = "/etc/modprobe.d/lab-throughput.conf"
_BEFORE = {
    "kernel": f"rm -f {_BARRED}",
    "userspace": f"mkdir -p /etc/modprobe.d && echo 'install amneziawg /bin/false' > {_BARRED} && "
                 "docker stop wg-easy && modprobe -r amneziawg",
}
_DIRECTIONS = {"pull": "to the peer", "push": "from the peer"}
_WARM = 1 << 20
# Of the processor time, by which kernel mode is said to need less.
CLAIM = (10, 30)
_LIMIT = 600


@dataclass(frozen=True)
class Speed:
    """What scripts/tunnel-speed has printed of one transfer: MB a second, milliseconds of all processors per MB, share
    of them that was busy. An MB is what passed the server's interface, both ways."""

    rate: float
    cost: float
    busy: float

    @classmethod
    def read(cls, text):
        rates = [float(rate) for rate in re.findall(r"^(?:received|sent) [\d.]+ MB, ([\d.]+) MB/s$", text, re.MULTILINE)]
        processors = re.search(r"^processors [\d.]+ s, (\d+) % of \d+, ([\d.]+) ms/MB$", text, re.MULTILINE)
        return cls(sum(rates), float(processors[2]), float(processors[1]))


def run(bench, binary, top, place, rounds, size, processors):
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    print("throughput: installs", flush=True)
    machine = installed.start(bench, binary, place, Hardware(processors=processors))
    try:
        machine.put("/root/peer.sh", (top / "scripts/labkit/peer.sh").read_bytes(), 0o755)
        machine.put("/root/tunnel-speed", (top / "scripts/tunnel-speed").read_bytes(), 0o755)
        _done(machine, f"/root/peer.sh place && /root/peer.sh connect '{PASSWORD}'")
        print(f"throughput: the peer's tunnel is {_kind(machine, 'ip -n peer -d link show tunnel')}", flush=True)
        seen = {}
        for number in range(rounds):
            for mode in _KINDS:
                _go_over(machine, mode)
                for way in _DIRECTIONS:
                    speed = Speed.read(_done(machine, f"/root/tunnel-speed /root/peer.sh {way} {size}"))
                    seen.setdefault((mode, way), []).append(speed)
                    print(f"throughput: round {number + 1}, {mode}, {_DIRECTIONS[way]}: {speed.rate:.2f} MB/s, "
                          f"{speed.cost:.0f} ms/MB, {speed.busy:.0f} % busy", flush=True)
        print(f"\n{size / (1 << 20):.0f} MiB each way, medians of {rounds}; {processors} processor(s), emulated\n")
        print("\n".join(table(seen)))
        return 0
    finally:
        installed.stop(machine)


def _go_over(machine, mode):
    """The server in that mode, and the peer connected to it."""
    _done(machine, _BEFORE[mode])
    _done(machine, f"{installed.AGAIN} --mode {mode}")
    installed.healthy(machine)
    kind = _kind(machine, "docker exec wg-easy ip -d link show wg0")
    if kind != _KINDS[mode]:
        raise Silent(f"in {mode} mode wg0 is {kind}")
    _done(machine, f"/root/peer.sh again && /root/peer.sh pull {_WARM} && /root/peer.sh push {_WARM}")


def _kind(machine, command):
    said = _done(machine, command)
    return next((kind for kind in ("amneziawg", "wireguard", "tun") if re.search(rf"^\s+{kind}\b", said, re.MULTILINE)), said)


def _done(machine, command):
    done = machine.run(command, _LIMIT)
    if done.code != 0:
        raise Silent(f"`{command}` ended with {done.code}: {(done.out + done.err).strip()[-800:]}")
    return done.out


def table(seen):
    """(mode, way) -> speeds, as Markdown: medians, and how much less processor time kernel mode took."""
    def median(mode, way, what):
        return statistics.median(getattr(speed, what) for speed in seen[mode, way])

    lines = ["| through the tunnel | kernel mode | userspace mode | kernel mode has | claimed |", "|---|---|---|---|---|"]
    for way, name in _DIRECTIONS.items():
        ours, other = median("kernel", way, "rate"), median("userspace", way, "rate")
        lines.append(f"| {name} | {ours:.2f} MB/s | {other:.2f} MB/s | {ours / other:.2f} times the rate | |")
        ours, other = median("kernel", way, "cost"), median("userspace", way, "cost")
        least, most = CLAIM
        lines.append(f"| the same, CPU of the whole guest per MB | {ours:.0f} ms | {other:.0f} ms | "
                     f"{100 * (1 - ours / other):.0f} % less | {least} to {most} % less |")
    return lines
