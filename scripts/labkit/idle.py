"""A run with nothing to do on a finished machine with a real engine, beside an Ansible playbook for the same state.

The run is measured in the guest, by scripts/bench-idle; the playbook, with the modules of ansible-core, comes over ssh
from this host, with pipelining, a connection that is kept, and without gathering facts: the least that Ansible does.
Its own program runs at this host's full speed, its modules under emulation as ours does.
"""

import json
import re
import shutil
import statistics
import subprocess
import time
from dataclasses import dataclass, field

from . import ansible, installed, same_state, sshd, trees
from .channel import Silent
from .machine import Hardware, free_port

_LOG = "/var/log/awg-install.log"
_PYTHON = "/usr/bin/python3.13"
# What lab-glibc does not hold of what they are linked with.
_PYTHON_PACKAGES = ["python3.13-minimal", "libpython3.13-minimal", "libpython3.13-stdlib", "libexpat1", "libffi8"]
_STRACE_PACKAGES = ["strace", "libunwind8"]
_WANTED = ("usr/bin/python3.13", "usr/bin/strace", "usr/lib/python3.13/", "usr/lib/x86_64-linux-gnu/")
_ENGINE = re.compile(r"AF_UNIX (/var)?/run/docker\.sock")
_LIMIT = 900
# What the engine and the server write by themselves; system calls tell whether we do.
_OTHERS = ["/var/lib/docker", "/var/lib/containerd", "/opt/wg-easy/data"]
# Seconds, processes, times faster.
WALL_GOAL, PROCESSES_GOAL, RATIO_GOAL = 0.050, 10, 100


def run(bench, binary, top, place, rounds):
    """Measures by turns and prints two tables; 1 where a goal is missed."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    play = _Play(bench, binary, top, place)
    try:
        play.prepare()
        return play.measure(rounds)
    finally:
        play.close()


@dataclass
class Figures:
    """What scripts/bench-idle has printed: seconds, and what was started, written and connected to."""

    wall: float
    cpu: float
    processes: int | None = None
    lists: dict = field(default_factory=dict)

    @classmethod
    def read(cls, text):
        numbers = {name: float(ms) / 1000 for name, ms in re.findall(r"^(wall|cpu) +median ([\d.]+) ms", text, re.MULTILINE)}
        found, current = cls(numbers["wall"], numbers["cpu"]), None
        for line in text.splitlines():
            if head := re.fullmatch(r"(programs started|opened for writing|made, renamed or removed|connections): \d+", line):
                current = found.lists.setdefault(head[1], [])
            elif line.startswith("processes started: "):
                found.processes = int(line.split()[-1])
            elif line.startswith("  ") and current is not None:
                count, what = line.split(maxsplit=1)
                current += [what] * int(count)
        return found

    @property
    def written(self):
        """Files written, made, renamed or removed outside /var/log."""
        touched = self.lists["opened for writing"] + self.lists["made, renamed or removed"]
        return sorted({path for path in touched if not path.startswith("/var/log/")})

    @property
    def connections(self):
        """Those that went elsewhere than to the engine's socket."""
        return [where for where in self.lists["connections"] if not _ENGINE.fullmatch(where)]


class _Play:
    def __init__(self, bench, binary, top, place):
        self._bench, self._binary, self._top, self._place = bench, binary, top, place
        self._machine = self._ssh = self._playbook = None
        self._tasks = []

    def prepare(self):
        print("idle: installs", flush=True)
        port = free_port()
        self._machine = installed.start(self._bench, self._binary, self._place, Hardware(inbound={sshd.PORT: port}))
        host_key, key = self._place / "host-key", self._place / "operator"
        public = sshd.make_key(host_key)
        sshd.put(self._machine, self._bench.cache, host_key, sshd.make_key(key))
        self._unpack("python", _PYTHON_PACKAGES)
        self._machine.put("/root/bench-idle", (self._top / "scripts/bench-idle").read_bytes(), 0o755)
        known = self._place / "known_hosts"
        known.write_text(f"[127.0.0.1]:{port} {public}")
        options = ["-o", f"UserKnownHostsFile={known}", "-o", "StrictHostKeyChecking=yes"]
        self._ssh = ["ssh", "-i", str(key), "-p", str(port), *options, "root@127.0.0.1"]
        inventory = self._place / "hosts.yml"
        inventory.write_text(json.dumps({"all": {"hosts": {"guest": {
            "ansible_host": "127.0.0.1", "ansible_port": port, "ansible_user": "root",
            "ansible_ssh_private_key_file": str(key), "ansible_ssh_common_args": " ".join(options),
            "ansible_python_interpreter": _PYTHON, "ansible_pipelining": True}}}}))
        self._tasks = self._same_state()
        # One task of each module first: Python compiles what it imports for the first time.
        first = {next(key for key in task if "." in key): task for task in reversed(self._tasks)}
        self._warm, self._playbook = (self._written(name, tasks, inventory) for name, tasks in (
            ("warm", list(first.values())), ("same", self._tasks)))

    def measure(self, rounds):
        print(f"idle: {self._playbook.version()}, {len(self._tasks)} tasks", flush=True)
        self._ours()
        self._over_ssh()
        self._play(self._warm, "warm")
        ours, over_ssh, theirs, cpu = [], [], [], []
        for number in range(1, rounds + 1):
            seen = self._ours()
            taken = [seen.wall, self._over_ssh(), self._theirs(number)]
            print(f"idle: round {number}: in the guest {taken[0]:.3f} s, over ssh {taken[1]:.2f} s, "
                  f"the playbook {taken[2]:.1f} s", flush=True)
            for kept, seconds in zip((ours, over_ssh, theirs, cpu), (*taken, seen.cpu)):
                kept.append(seconds)
        before = trees.record(self._machine)
        questions = self._questions()
        changes = trees.differences(before, trees.record(self._machine), _OTHERS)
        self._unpack("strace", _STRACE_PACKAGES)
        traced = self._ours()
        if traced.processes is None:
            raise Silent("strace does not run in the guest")
        native, emulated = self._starts()
        median = statistics.median
        print("\nthe engine was asked, with the milliseconds until its answer was read:")
        for path, ms in questions:
            print(f"    {ms:4} {path}")
        print(f"programs started: {', '.join(traced.lists['programs started'])}")
        for change in [*changes, *traced.written, *traced.connections]:
            print(f"not to be: {change}")
        rows, missed = compared(median(ours), median(over_ssh), median(theirs), len(self._tasks))
        print("\n" + "\n".join(rows))
        alone, missed_alone = by_itself(median(ours), median(cpu), native, emulated, traced, changes)
        print("\n" + "\n".join(alone))
        return 1 if missed or missed_alone else 0

    def close(self):
        if self._machine:
            installed.stop(self._machine)

    def _written(self, name, tasks, inventory):
        # JSON is YAML.
        (self._place / f"{name}.yml").write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": tasks}]))
        return ansible.Playbook(self._bench.cache, self._place, f"{name}.yml", inventory, self._place / "ansible-home")

    def _ours(self):
        said = self._in_guest(f"{_PYTHON} /root/bench-idle --runs 1 --binary awg-install -- "
                              f"{installed.AGAIN.removeprefix('awg-install ')}")
        return Figures.read(said)

    def _over_ssh(self):
        began = time.monotonic()
        done = subprocess.run([*self._ssh, "/usr/local/sbin/" + installed.AGAIN], stdin=subprocess.DEVNULL, text=True,
                              capture_output=True, timeout=_LIMIT)
        taken = time.monotonic() - began
        if done.returncode != 0 or "nothing to do" not in done.stdout:
            raise Silent(f"over ssh it ended with {done.returncode}: {(done.stdout + done.stderr).strip()[-500:]}")
        return taken

    def _theirs(self, number):
        began = time.monotonic()
        said = self._play(self._playbook, f"playbook-{number}")
        taken = time.monotonic() - began
        recap = said.recap["guest"]
        if (recap.ok, recap.changed) != (len(self._tasks), 0):
            raise Silent(f"the playbook was to find {len(self._tasks)} tasks done:\n{said.text[-1500:]}")
        return taken

    def _play(self, playbook, name):
        said = playbook.run(self._place / f"{name}.log", _LIMIT)
        if said.code != 0 or "guest" not in said.recap:
            raise Silent(f"the playbook ended with {said.code}:\n{said.text[-1500:]}")
        return said

    def _questions(self):
        """What one run asks the engine, in order, as (path, ms)."""
        size = int(self._in_guest(f"wc -c < {_LOG}"))
        self._in_guest(installed.AGAIN)
        events = map(json.loads, self._in_guest(f"tail -c +{size + 1} {_LOG}").splitlines())
        return [(event["path"], event["ms"]) for event in events if event.get("type") == "engine"]

    def _starts(self, runs=20):
        """Seconds for `awg-install --version`, here and in the guest."""
        words = f"--runs {runs} --binary {{}} -- --version"
        here = subprocess.run([self._top / "scripts/bench-idle", *words.format(self._binary).split()], text=True,
                              capture_output=True, check=True, timeout=_LIMIT).stdout
        there = self._in_guest(f"{_PYTHON} /root/bench-idle {words.format('awg-install')}")
        return Figures.read(here).wall, Figures.read(there).wall

    def _same_state(self):
        """The playbook's tasks, with the files' contents fetched from the guest."""
        receipt = json.loads(self._in_guest("cat /var/lib/awg-install/receipt.json"))
        kept = self._place / "files"
        kept.mkdir()
        tasks = []
        for path in same_state.files(receipt):
            mode = self._machine.run(f"[ -f '{path}' ] && stat -c %a '{path}'", 60)
            if mode.code != 0:
                continue
            source = kept / path.strip("/").replace("/", "-")
            source.write_bytes(self._binary.read_bytes() if path == same_state.SELF else self._machine.get(path))
            tasks.append(same_state.copy(path, source, path, int(mode.out, 8)))
        return tasks + same_state.asks(receipt, self._in_guest("ls /etc/init.d").split())

    def _unpack(self, name, packages):
        self._machine.put(f"/tmp/{name}.tar", sshd.programs(self._bench.cache, packages, _WANTED))
        self._in_guest(f"tar -xf /tmp/{name}.tar -C / && rm /tmp/{name}.tar")

    def _in_guest(self, command):
        done = self._machine.run(command, _LIMIT)
        if done.code != 0:
            raise Silent(f"`{command}` ended with {done.code}: {(done.out + done.err).strip()[-800:]}")
        return done.out


def compared(ours, over_ssh, theirs, tasks):
    """The table beside the playbook's, as lines, and whether a goal is missed."""
    ratio = theirs / ours
    verdict = "met" if ratio >= RATIO_GOAL else "missed"
    return [
        f"| a run with nothing to do | awg-install | ansible-playbook, {tasks} tasks | ratio | goal | |",
        "|---|---|---|---|---|---|",
        f"| on the host | {ours * 1000:.0f} ms | {theirs:.1f} s | {ratio:.0f} | {RATIO_GOAL} | {verdict} |",
        f"| both over ssh | {over_ssh:.2f} s | {theirs:.1f} s | {theirs / over_ssh:.0f} | | for scale |",
    ], verdict == "missed"


def by_itself(wall, cpu, native, emulated, traced, changes):
    """The table of what the run costs, as lines, and whether a goal is missed."""
    factor = emulated / native
    goals = [
        (f"wall, divided by {factor:.1f}", f"{wall / factor * 1000:.0f} ms", f"{WALL_GOAL * 1000:.0f} ms", wall / factor < WALL_GOAL),
        ("processes started", f"{traced.processes}", f"fewer than {PROCESSES_GOAL}", traced.processes < PROCESSES_GOAL),
        ("files written outside /var/log (system calls)", f"{len(traced.written)}", "0", not traced.written),
        ("files changed outside /var/log (every file before and after)", f"{len(changes)}", "0", not changes),
        ("connections but to the engine's socket", f"{len(traced.connections)}", "0", not traced.connections),
    ]
    return [
        "| a run with nothing to do | | goal | |",
        "|---|---|---|---|",
        f"| wall, in the guest | {wall * 1000:.0f} ms | | |",
        f"| CPU, in the guest, with all that was started | {cpu * 1000:.0f} ms | | |",
        f"| `awg-install --version`: here, in the guest | {native * 1000:.1f} ms, {emulated * 1000:.1f} ms | | factor {factor:.1f} |",
        *(f"| {what} | {value} | {goal} | {'met' if met else 'missed'} |" for what, value, goal, met in goals),
    ], not all(met for *_, met in goals)
