"""How long a client's tunnel is dead while its server is changed.

The client is a machine of its own, wired to the server's. It pings the server through its tunnel five times a second;
a second peer of the same server plays a client that is switched on again and again, and tells when a new session could
be had. Seconds are of the host's clock. They are of software emulation: what is compared is whose gap holds what.
"""

import base64
import hashlib
import json
import shutil
import socket
import statistics
import time
from pathlib import Path

from . import debs, disk, gaps, images, installed, provisioning, standin
from .channel import Silent
from .furnish import KERNELS, PASSWORD, PROGRAM, RELEASE, install
from .machine import Hardware
from .shape import shaped

_NEXT = "6.12.51-0-lts"
_TAG = "lab/wg-easy-large:15"
_IMAGE = f"ghcr.io/{_TAG}"
_SERVER, _CLIENT = "192.0.2.1", "192.0.2.2"
_INNER = "10.8.0.1"
_MEMORY = 400
_PROGRAM = "/usr/local/sbin/awg-install"
_TRUST = "SSL_CERT_FILE=/etc/ssl/certs/lab-ca.pem"
_LIMIT = 900
# A silence that lasts when all is done is over after this; a client that has lost its session needs some of it.
_BACK = 180
# Before something is done and after it is over.
_CALM = 5
_GUEST = Path(__file__).with_name("client.sh")
CONTAINER_CASES = ("another setting", "a newer image")
RESTART_CASE = "another kernel"


def config(release=RELEASE, memory=None, reboot=None):
    """A configuration; what is not named is as at the beginning."""
    kernel = f"release: {release}" + (f", reboot: {reboot}" if reboot else "")
    container = f'image: "{_IMAGE}"' + (f", memory: {memory}" if memory else "")
    return (f"mode: auto\nkernel: {{{kernel}}}\n"
            f"module: {{source: file, path: /root/{release}.ko}}\n"
            "server: {host: 192.0.2.1, username: admin, password_file: /root/password}\n"
            f"container: {{{container}}}\n")


def run(bench, binary, top, place, rounds):
    """Plays every case with every way to do it, `rounds` times; prints the gaps and a table."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    stage = _Stage(bench, binary, top, place)
    stage.prepare()
    took = {}
    try:
        stage.client.start()
        for number in range(rounds):
            for who in ("awg-install", "script"):
                for case, found in _container(stage, who, place / f"{who}-{number + 1}"):
                    _tell(f"{case}, {who}", found)
                    took.setdefault((case, who), []).append(found)
            for how in ("kexec", "auto"):
                found = _restart(stage, how, place / f"restart-{how}-{number + 1}")
                _tell(f"{RESTART_CASE}, {'by kexec' if how == 'kexec' else 'full restart'}", found)
                took.setdefault((RESTART_CASE, how), []).append(found)
    finally:
        stage.close()
    print("\n".join(["", *table(took, CONTAINER_CASES, ("awg-install", "script"), ("awg-install", "stop, pull, start")),
                     "", *table(took, (RESTART_CASE,), ("kexec", "auto"), ("kexec", "full restart"))]))
    return 0


def table(took, cases, ways, names):
    """Medians of two ways, for a client that goes on and for one that is switched on meanwhile."""
    lines = [f"| case | {names[0]} | {names[1]} | ratio |", "|---|---|---|---|"]
    for case in cases:
        for key, whose in (("client", "a client that goes on"), ("anew", "a client that connects anew")):
            ours, peer = (statistics.median(found[key] for found in took[case, way]) for way in ways)
            ratio = f"{ours / peer:.2f}" if peer else ""
            lines.append(f"| {case}, {whose} | {ours:.1f} s | {peer:.1f} s | {ratio} |")
    return lines


def _tell(name, found):
    print(f"{name}: no answer for {found['client']:.1f} s; a new session could not be had for {found['anew']:.1f} s",
          flush=True)
    for line in found["parts"]:
        print(f"    {line}", flush=True)


def _container(stage, who, place):
    """Both changes of the container, one after the other on one machine."""
    server = stage.boot(place, KERNELS)
    try:
        stage.client.join(server)
        for case in CONTAINER_CASES:
            if case == "another setting":
                ours = f"{_PROGRAM} --unattended --config /root/setting.yaml --output json"
            else:
                stage.bench.registry.publish(_TAG, stage.newer)
                ours = f"{_TRUST} {_PROGRAM} upgrade --unattended --output json"
            before = _container_id(server)
            command = ours if who == "awg-install" else f"/root/downtime-peer.sh {_IMAGE} {_MEMORY}"
            found = _measured(stage.client, server, command)
            if _container_id(server) == before:
                raise Silent(f"{case}: the container is the same as before")
            yield case, found
    finally:
        stage.bench.registry.publish(_TAG, stage.image)
        stage.switch_off(server)


def _container_id(server):
    return server.run("docker inspect --format '{{.Id}} {{.Image}}' wg-easy", 60).out.strip()


def _measured(client, server, command):
    """What the client had of a command on the server."""
    client.calm()
    began = time.monotonic()
    server.run(
        "rm -f /root/measured; docker events --filter container=wg-easy --format '{{.Action}}' "
        "| /root/client.sh stamp > /root/events &", 60)
    server.run(f"{{ {command} 2>&1; echo $? > /root/measured; }} < /dev/null | /root/client.sh stamp > /root/steps &", 60)
    while (code := server.run("cat /root/measured", 60).out.strip()) == "":
        if time.monotonic() - began > _LIMIT:
            raise Silent(f"`{command}` did not end")
        time.sleep(1)
    output = server.run("cat /root/steps", 120).out
    if code != "0":
        raise Silent(f"`{command}` ended with {code}:\n{output[-2000:]}")
    pings, knocks = client.recovered()
    ahead = server.clock.offset()
    parts = [gaps.Part(part.what, part.began + ahead, part.ended + ahead) for part in gaps.steps(output)]
    events = [(at + ahead, line) for at, line in gaps.stamped(server.run("cat /root/events", 60).out)]
    server.run("pkill -f 'docker events'; true", 30)
    return _found(began, pings, knocks, parts, events)


def _found(began, pings, knocks, parts, events):
    quiet = gaps.silences(at for at in pings if at > began - _CALM)
    closed = gaps.silences(at for at in knocks if at > began - _CALM)
    lines = []
    for gap in quiet:
        lines.append(f"silence of {gap.seconds:.1f} s; in it, counted from its begin:")
        lines += [f"{part.began - gap.last:+7.1f} s  {part.what}, {part.ended - part.began:.1f} s"
                  for part in gaps.longest(parts, gap)]
        seen = [(at, line) for at, line in events if gap.last - 1 < at < gap.first + 1]
        seen += [(gap_.first, "a new session can be had") for gap_ in closed if gap_.first < gap.first + 1]
        lines += [f"{at - gap.last:+7.1f} s  ({line})" for at, line in sorted(seen)
                  if not line.startswith("exec")]
    return {"client": sum(gap.seconds for gap in quiet), "anew": sum(gap.seconds for gap in closed), "parts": lines}


def _restart(stage, how, place):
    """Into another kernel, by awg-install."""
    server = stage.boot(place, [KERNELS[0], _NEXT])
    try:
        stage.client.join(server)
        stage.client.calm()
        began, boot = time.monotonic(), server.channel.boot
        server.run(f"{_PROGRAM} --unattended --config /root/kernel-{how}.yaml --output json 2>&1 < /dev/null "
                   "| /root/client.sh stamp > /root/steps &", 60)
        ahead = server.clock.offset()
        hello = server.wait_up(_LIMIT, not_boot=boot)
        if hello.release != _NEXT:
            raise Silent(f"{hello.release} runs, not {_NEXT}: {server.run('tail -n 5 /root/steps', 60).out}")
        ended = server.run(f"{_PROGRAM} status --wait", _LIMIT)
        if ended.code != 0:
            raise Silent(f"awg-install ended with {ended.code}: {ended.out}{ended.err}")
        if (how == "kexec") == ("BOOT_IMAGE" in server.run("cat /proc/cmdline", 60).out):
            raise Silent(f"the kernel was not started as it should have been ({how})")
        pings, knocks = stage.client.recovered()
        output = server.run("cat /root/steps", 120).out
        parts = [gaps.Part(part.what, part.began + ahead, part.ended + ahead) for part in gaps.steps(output)]
        kernel = server.clock.offset()
        started = server.run(
            "date -u +%s; cut -d' ' -f1 /proc/uptime; "
            "date -u -d \"$(docker inspect --format '{{.State.StartedAt}}' wg-easy | cut -c1-19 | tr T ' ')\" +%s", 60)
        now, uptime, container = map(float, started.out.split())
        asked = max(at for at, _ in gaps.stamped(output)) + ahead
        events = [(asked, "awg-install has asked for the restart"), (kernel, "the new kernel begins"),
                  (kernel + uptime + container - now, "the container is started")]
        return _found(began, pings, knocks, parts, events)
    finally:
        stage.switch_off(server)


class _Clock:
    """Where a guest's uptime lies on the host's clock."""

    def __init__(self, machine):
        self._machine = machine

    def offset(self):
        """What is to be added to an uptime, from some questions; each says between which moments it was answered."""
        least, most = float("-inf"), float("inf")
        for _ in range(5):
            asked = time.monotonic()
            uptime = float(self._machine.run("cut -d' ' -f1 /proc/uptime", 60).out)
            least, most = max(least, asked - uptime), min(most, time.monotonic() - uptime)
        return (least + most) / 2


class _Client:
    """The machine of the client, with two peers of the server: one that goes on, one that begins again and again."""

    def __init__(self, bench, place, wire):
        self._bench = bench
        self._machine = bench.machine(place, disk.overlay(bench.base(), place / "disk.qcow2"),
                                      Hardware(memory=512, wire=wire), KERNELS[:1])
        self._machine.clock = _Clock(self._machine)

    def start(self):
        machine = self._machine
        machine.start()
        machine.wait_up(300)
        deb = debs.fetch(["wireguard-tools"], self._bench.cache)["wireguard-tools"]
        program = next(content for member, content in debs.members(deb) if member.name == "usr/bin/wg")
        machine.put("/usr/bin/wg", program, 0o755)
        machine.put("/root/client.sh", _GUEST.read_bytes(), 0o755)
        # For the C library that wg needs, and for an ip that knows WireGuard.
        self._do(f"apk add --quiet iproute2 && ip address add {_CLIENT}/24 dev eth1 && ip link set eth1 up")

    def join(self, server):
        """Both peers begin; returns when both are answered."""
        asked = server.run(
            "docker exec wg-easy sqlite3 -separator ' ' /etc/wireguard/wg-easy.db 'SELECT c.name, c.ipv4_address, "
            "c.private_key, c.pre_shared_key, i.public_key FROM clients_table c, interfaces_table i'", 60)
        peers = {line.split()[0]: line.split()[1:] for line in asked.out.splitlines()}
        for name, (_, key, shared, _) in peers.items():
            self._machine.put(f"/root/{name}.key", f"{key}\n", 0o600)
            self._machine.put(f"/root/{name}.shared", f"{shared}\n", 0o600)
        address, _, _, theirs = peers["onward"]
        endpoint = f"{_SERVER}:51820"
        self._machine.run("kill $(cat /root/pids); rm -f /root/pids /root/pings /root/knocks; killall ping; true", 30)
        self._do(f"/root/client.sh connect onward {address} {theirs} {endpoint}")
        for words in (f"ping {_INNER}", f"knock anew {theirs} {endpoint}"):
            self._do(f"setsid /root/client.sh {words} > /dev/null 2>&1 < /dev/null & echo $! >> /root/pids")
        deadline = time.monotonic() + _BACK
        while not self._both_since(0):
            if time.monotonic() > deadline:
                raise Silent("the client has no answer through the tunnel")
            time.sleep(1)

    def calm(self):
        """Some seconds in which nothing happens."""
        time.sleep(_CALM)

    def recovered(self):
        """When both are answered again: the moments of all answers."""
        done = time.monotonic()
        while not self._both_since(done):
            if time.monotonic() - done > _BACK:
                raise Silent(f"the client has no answer {_BACK} s after all was done")
            time.sleep(1)
        time.sleep(_CALM)
        return self._answers()

    def _both_since(self, moment):
        return all(gaps.first_after(times, moment) is not None for times in self._answers())

    def _answers(self):
        ahead = self._machine.clock.offset()
        pings = self._machine.run("cat /root/pings", 120).out
        knocks = self._machine.run("cat /root/knocks", 120).out
        return ([at + ahead for at in gaps.answers(pings)], [at + ahead for at, _ in gaps.stamped(knocks)])

    def _do(self, script):
        done = self._machine.run(script, 120)
        if done.code != 0:
            raise Silent(f"the client: {done.out}{done.err}")

    def close(self):
        self._machine.cut_power()
        self._machine.server.stop()


class _Stage:
    """What all cases share: images, the disk of an installed server, the client."""

    def __init__(self, bench, binary, top, place):
        self.bench, self.binary, self.top = bench, binary, top
        self.image = provisioning.large(bench, images.UPSTREAM, 1)
        self.newer = provisioning.large(bench, images.NEWER, 2)
        bench.registry.publish(_TAG, self.image)
        here, there = _free_ports()
        self._wire = (here, there)
        self.client = _Client(bench, place / "client", (there, here))
        digest = hashlib.sha256(binary.read_bytes() + bench.base(size="3G").name.encode() + Path(__file__).read_bytes())
        self._ready = bench.cache / "downtime" / f"ready-{digest.hexdigest()[:12]}.qcow2"
        self._place = place

    def prepare(self):
        """Installs once; every case starts from that disk."""
        if self._ready.exists():
            return
        print("downtime: installs once", flush=True)
        self._ready.parent.mkdir(parents=True, exist_ok=True)
        place = self._place / "ready"
        machine = self.bench.machine(
            place, disk.overlay(self.bench.base(size="3G"), place / "disk.qcow2"), Hardware(wire=self._wire),
            KERNELS)
        try:
            machine.start()
            boot = machine.wait_up(300).boot
            self._furnish(machine)
            install(machine, boot, _LIMIT)
            for name in ("onward", "anew"):
                self._add_client(machine, name)
            machine.shut_down(120)
            machine.disk.rename(self._ready)
        finally:
            machine.cut_power()
            machine.server.stop()

    def _furnish(self, machine):
        machine.put(PROGRAM, self.binary.read_bytes(), 0o755)
        machine.put("/root/downtime-peer.sh", (self.top / "scripts/downtime-peer.sh").read_bytes(), 0o755)
        machine.put("/root/client.sh", _GUEST.read_bytes(), 0o755)
        machine.put("/root/password", f"{PASSWORD}\n", 0o600)
        for release in (RELEASE, _NEXT):
            module = standin.module(release, self.bench.material, self.bench.cache)
            machine.put(f"/root/{release}.ko", module.read_bytes())
        for name, text in (("config", config()), ("setting", config(memory=_MEMORY)),
                           ("kernel-auto", config(_NEXT)), ("kernel-kexec", config(_NEXT, reboot="kexec"))):
            machine.put(f"/root/{name}.yaml", text)
        wired = machine.run(
            f"printf '\\nauto eth1\\niface eth1 inet static\\n\\taddress {_SERVER}\\n\\tnetmask 255.255.255.0\\n' >> /etc/network/interfaces "
            "&& ifup eth1", 60)
        if wired.code != 0:
            raise Silent(f"the wire to the client: {wired.out}{wired.err}")

    def _add_client(self, machine, name):
        login = base64.b64encode(f"admin:{PASSWORD}".encode()).decode()
        body = json.dumps({"name": name, "expiresAt": None})
        made = machine.run(
            "address=$(docker inspect --format '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' wg-easy); "
            f"wget -q -O - --header 'Authorization: Basic {login}' --header 'Content-Type: application/json' "
            f"--post-data '{body}' http://$address:51821/api/client", 60)
        if made.code != 0:
            raise Silent(f"the client {name} could not be made: {made.out}{made.err}")

    def boot(self, place, kernels):
        """The installed server over a link, with a container that is healthy."""
        machine = self.bench.machine(
            place, disk.overlay(self._ready, place / "disk.qcow2"), Hardware(wire=self._wire), kernels)
        machine.clock = _Clock(machine)
        machine.links = shaped(machine.ports, provisioning.RATE, provisioning.DELAY)
        machine.start()
        machine.wait_up(300)
        installed.healthy(machine)
        # The check at boot has the lock until then.
        machine.run(f"{_PROGRAM} status --wait", 300)
        return machine

    def switch_off(self, machine):
        machine.cut_power()
        machine.server.stop()
        for link in machine.links:
            link.stop()
        machine.disk.unlink(missing_ok=True)

    def close(self):
        self.client.close()


def _free_ports():
    """Two UDP ports on loopback that nobody has."""
    with socket.socket(type=socket.SOCK_DGRAM) as one, socket.socket(type=socket.SOCK_DGRAM) as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]
