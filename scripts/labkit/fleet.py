"""Several machines at once, installed by the project's own Ansible playbook over ssh.

What is shown: check mode changes nothing; one host that fails stops the rollout before the next
batch; a rollout in batches installs every host across its restart; a second one changes nothing.
What each host asked of registry, mirror and catalog is counted, and written down for scripts/fleet-cost.
"""

import json
import os
import re
import shutil
import signal
import time
from concurrent.futures import ThreadPoolExecutor

from . import ansible, disk, sshd, trees
from .channel import Rebooted, Silent, TimedOut
from .furnish import KERNELS, PASSWORD, RELEASE
from .machine import CATALOG_ADDRESS, REGISTRY_ADDRESS, REPOSITORY_ADDRESS, Hardware, free_port
from .meter import Meter
from .narrative import Narrative

_TUNNEL_PORT = 51820
_SERVICES = {"mirror": f"{REPOSITORY_ADDRESS}:80", "registry": f"{REGISTRY_ADDRESS}:443",
             "catalog": f"{CATALOG_ADDRESS}:443"}
_BOOT_LIMIT = 900
_LIMIT = 3000
# Made anew at every start, or a lock that whoever looks takes as well.
_INCIDENTAL = ["/var/lib/docker", "/var/lib/containerd", "/var/lib/awg-install/lock", "/opt/wg-easy/data"]
# An answer in the registry's log: the port it went to, what was asked for, the bytes of the body.
_ANSWER = re.compile(r'msg="response completed.*http\.request\.remoteaddr="127\.0\.0\.1:(\d+)" '
                     r'http\.request\.uri="?(\S+?)"? .*http\.response\.written=(\d+)')


class Failed(Exception):
    """What was to be shown, and did not hold."""


def run(bench, binary, top, place, count):
    """Plays it with `count` machines; 1 where something did not hold."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    # Asked to end, it ends at once; its machines go with it.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: os._exit(128 + number))
    narrative = Narrative(place / "narrative.txt")
    narrative.plain(f"== fleet: {count} machines, installed by the Ansible playbook")
    fleet = _Fleet(bench, binary, top, place, count, narrative)
    problem = None
    try:
        fleet.boot()
        fleet.check_mode()
        fleet.one_fails()
        fleet.roll_out()
        fleet.again()
    except (Failed, Silent, TimedOut) as error:
        problem = str(error)
    except Rebooted:
        problem = "a guest rebooted unexpectedly"
    finally:
        fleet.close()
    narrative.tell(f"FAIL {problem}; logs: {place}" if problem else "pass")
    narrative.close()
    return 1 if problem else 0


class _Fleet:
    def __init__(self, bench, binary, top, place, count, narrative):
        self._bench, self._binary, self._place, self._tell = bench, binary, place, narrative.tell
        self._seconds = lambda: narrative.seconds
        self._show = narrative.show
        self._hosts = [_Host(bench, binary, place / f"fleet-{number}") for number in range(1, count + 1)]
        self._playbook = ansible.Playbook(
            bench.cache, top / "scripts/ansible", "rollout.yml", place / "inventory", place / "ansible-home")
        # One host first, then all others at the same time.
        self._batches = [1, count - 1]
        self._traffic = {}

    def boot(self):
        self._tell(f"boots {len(self._hosts)} fresh machines; {self._playbook.version()}")
        base = self._bench.base()
        key = self._place / "operator"
        public = sshd.make_key(key)
        # Here and not in a pool: a machine ends with the thread that has started it.
        for host in self._hosts:
            host.start(base)
        self._each(lambda host: host.arrive(public))
        self._tell("all up, with sshd and without Python")
        self._write_inventory(key)

    def check_mode(self):
        self._tell("check mode: what would change")
        before = self._each(lambda host: host.tree())
        said = self._play("check", "--check", "--diff")
        self._expect(said, 0, changed=1)
        self._unchanged(before)
        self._tell("each host would change; no file of any host has changed")

    def one_fails(self):
        self._tell("a rollout, host by host, in which the first has another program on the tunnel's port")
        first, *others = self._hosts
        taker = first.machine.run(f"nc -l -u -p {_TUNNEL_PORT} > /dev/null 2>&1 < /dev/null & echo $!", 30).out.strip()
        before = self._each(lambda host: host.tree())
        said = self._play("one-fails", "-e", json.dumps({"awg_install_batches": [1]}))
        recap = said.recap
        if said.code == 0 or recap[first.name].failed != 1 or recap[first.name].changed:
            raise Failed(f"the first host should have failed, and nothing else: {recap}")
        reached = [host.name for host in others if host.name in recap]
        if reached:
            raise Failed(f"the rollout went on to {', '.join(reached)}")
        shown = [line for line in said.text.splitlines() if f"{_TUNNEL_PORT} is taken" in line and '"msg"' in line]
        if not shown:
            raise Failed("the reason is not in what ansible shows")
        self._show(shown[-1].strip() + "\n")
        self._unchanged(before)
        first.machine.run(f"kill {taker}", 30)
        self._tell("it stopped after the first host; no file of any host has changed")

    def roll_out(self):
        self._tell(f"the rollout, in batches of {self._batches}")
        self._each(lambda host: host.reset())
        began = self._seconds()
        said = self._play("install", "-vvvv", "-e", json.dumps({"awg_install_batches": self._batches}))
        self._expect(said, 0, changed=1)
        self._tell(f"all installed after {self._seconds() - began:.0f} s")
        if PASSWORD in said.text:
            raise Failed("the password is in the output of ansible-playbook -vvvv")
        self._keep("install")
        # Every machine has restarted since the lab last spoke with it.
        self._each(lambda host: host.machine.wait_up(_BOOT_LIMIT))
        self._each(_proven)
        self._tell(f"each host: {RELEASE} runs, status is done with 0, the container is healthy, the password is in "
                   "no file and not in the output of -vvvv")

    def again(self):
        self._tell("the same rollout once more")
        self._each(lambda host: host.reset())
        before = self._each(lambda host: host.tree())
        began = self._seconds()
        said = self._play("again", "-e", json.dumps({"awg_install_batches": self._batches}))
        self._expect(said, 0, changed=0)
        self._tell(f"no host reports a change, after {self._seconds() - began:.0f} s")
        self._keep("again")
        self._unchanged(before)
        said = self._play("check-again", "--check")
        self._expect(said, 0, changed=0)
        self._unchanged(before)
        self._tell("nor does check mode; no file of any host has changed")
        self._tell(f"what each host asked for: scripts/fleet-cost {self._place / 'traffic.json'}")

    def _keep(self, phase):
        """Writes down what each host has asked for since the last reset."""
        self._traffic[phase] = self._counts()
        text = json.dumps({"hosts": len(self._hosts), **self._traffic}, indent=1)
        (self._place / "traffic.json").write_text(text + "\n")
        for host in self._traffic[phase]:
            self._show(f"{phase:8} {host}\n")

    def close(self):
        for host in self._hosts:
            host.close()

    def _each(self, action):
        with ThreadPoolExecutor(len(self._hosts)) as pool:
            return list(pool.map(action, self._hosts))

    def _unchanged(self, before):
        for host, old, new in zip(self._hosts, before, self._each(lambda host: host.tree())):
            changes = trees.differences(old, new, _INCIDENTAL)
            if changes:
                raise Failed(f"{host.name}: {len(changes)} files differ, first: {changes[:3]}")
            left = host.machine.run("ls -d /tmp/awg-install.* 2> /dev/null", 60).out.strip()
            if left:
                raise Failed(f"{host.name}: left behind: {left}")

    def _play(self, name, *words):
        return self._playbook.run(self._place / f"{name}.log", _LIMIT, "--vault-password-file", self._place / "vault-key",
                                  *words)

    def _expect(self, said, code, changed):
        names = {host.name for host in self._hosts}
        wrong = {name: recap for name, recap in said.recap.items()
                 if recap.failed or recap.unreachable or recap.changed != changed}
        if said.code != code or wrong or set(said.recap) != names:
            raise Failed(f"ansible-playbook ended with {said.code}; {wrong or said.recap}")

    def _counts(self):
        log = self._bench.registry.log.read_text(errors="replace")
        answers = [(int(port), uri, int(size)) for port, uri, size in _ANSWER.findall(log)]
        return [host.counts(answers) for host in self._hosts]

    def _write_inventory(self, key):
        known = self._place / "known_hosts"
        known.write_text("".join(f"[127.0.0.1]:{host.ssh_port} {host.public}" for host in self._hosts))
        secret = self._place / "vault-key"
        secret.write_text("the lab's key to the vault\n")
        settings = {
            "ansible_host": "127.0.0.1", "ansible_user": "root", "ansible_ssh_private_key_file": str(key),
            "ansible_ssh_common_args": f"-o UserKnownHostsFile={known} -o StrictHostKeyChecking=yes",
            "awg_install_binary": str(self._binary),
            "awg_install_environment": {"SSL_CERT_FILE": "/etc/ssl/certs/lab-ca.pem"},
            "awg_install_config": self._config(),
            "awg_install_password": "{{ vault_awg_install_password }}",
        }
        place = self._place / "inventory"
        (place / "group_vars/vpn").mkdir(parents=True)
        # JSON is YAML.
        hosts = {host.name: {"ansible_port": host.ssh_port} for host in self._hosts}
        (place / "hosts.yml").write_text(json.dumps({"vpn": {"hosts": hosts}}))
        (place / "group_vars/vpn/main.yml").write_text(json.dumps(settings))
        vault = place / "group_vars/vpn/vault.yml"
        vault.write_text(json.dumps({"vault_awg_install_password": PASSWORD}))
        self._playbook.encrypt(vault, secret)

    def _config(self):
        catalog = {"url": "https://modules.lab/", "public_keys": [self._hosts[0].catalog.public_key]}
        return {
            "kernel": {"release": RELEASE},
            "module": {"source": "catalog", "catalog": catalog},
            "server": {"host": "vpn.example.org", "username": "admin", "port": _TUNNEL_PORT},
            "container": {"image": "ghcr.io/wg-easy/wg-easy:15"},
        }


class _Host:
    """One machine, what it can reach, and what it has asked for."""

    def __init__(self, bench, binary, place):
        self._bench, self._binary, self._place, self.name = bench, binary, place, place.name
        self.machine = self.catalog = self._ssh = None
        self._meters = {}

    def start(self, base):
        self._place.mkdir(parents=True)
        self.catalog = self._bench.catalog(self._place, self._binary)
        self.catalog.change(modules=[RELEASE])
        inbound = free_port()
        image = disk.overlay(base, self._place / "disk.qcow2")
        self.machine = self._bench.machine(
            self._place, image, Hardware(inbound={sshd.PORT: inbound}), KERNELS, self.catalog)
        for service, address in _SERVICES.items():
            self._meters[service] = Meter(self.machine.ports[address])
            self.machine.ports[address] = self._meters[service].port
        # Ansible comes this way; the host is the server here.
        self._ssh = Meter(inbound)
        self.ssh_port = self._ssh.port
        self.machine.start()

    def arrive(self, authorized):
        """Waits for the boot, and opens the way for ssh."""
        self.machine.wait_up(_BOOT_LIMIT)
        host_key = self._place / "host-key"
        self.public = sshd.make_key(host_key)
        sshd.put(self.machine, self._bench.cache, host_key, authorized)
        if self.machine.run("command -v python3 || command -v python", 60).code == 0:
            raise Failed("the guest has Python, and should have none")

    def tree(self):
        return trees.record(self.machine)

    def reset(self):
        """Counts anew from here."""
        for meter in [*self._meters.values(), self._ssh]:
            meter.reset()
        self._asked = {"mirror": len(self.machine.server.requests), "catalog": len(self.catalog.requests)}

    def counts(self, registry_answers):
        """What passed since the last reset. The payload is what the lab's stand-ins weigh: packages and their
        indexes, layers, modules."""
        asked = {service: source.requests[self._asked[service]:]
                 for service, source in (("mirror", self.machine.server), ("catalog", self.catalog))}
        answers = [answer for answer in registry_answers if answer[0] in self._meters["registry"].sources]
        payload = {"mirror": sum(self.machine.server.size(path) for path in asked["mirror"]),
                   "catalog": sum(self.catalog.size(path) for path, status in asked["catalog"] if status == 200),
                   "registry": sum(size for _, uri, size in answers if "/blobs/" in uri)}
        requests = {**{service: len(paths) for service, paths in asked.items()}, "registry": len(answers)}
        found = {service: {"requests": requests[service], "payload": payload[service], **vars(meter.count)}
                 for service, meter in self._meters.items()}
        ssh = self._ssh.count
        found["ssh"] = {"requests": ssh.connections, "payload": 0, "connections": ssh.connections,
                        "sent": ssh.received, "received": ssh.sent}
        return found

    def close(self):
        if self.machine:
            self.machine.cut_power()
            self.machine.server.stop()
        if self.catalog:
            self.catalog.stop()
        for meter in [*self._meters.values(), *([self._ssh] if self._ssh else [])]:
            meter.stop()
        for leftover in [*self._place.glob("put-*"), *self._place.glob("*.qcow2")]:
            leftover.unlink()


def _proven(host):
    """Every claim of the rollout, held against the host itself and not against what Ansible says."""
    def expect(command, wanted):
        got = host.machine.run(command, 300).out.strip()
        if got != wanted:
            raise Failed(f"{host.name}: `{command}` says {got[-200:]!r}, not {wanted!r}")

    expect("uname -r", RELEASE)
    done = host.machine.run("/usr/local/sbin/awg-install status --output json", 120)
    status = json.loads(done.out.strip().splitlines()[-1])
    if done.code != 0 or (status["outcome"], status["mode"]) != ("done", "kernel"):
        raise Failed(f"{host.name}: status ended with {done.code}: {status}")
    deadline = time.monotonic() + 300
    while host.machine.run("docker inspect --format '{{.State.Health.Status}}' wg-easy", 60).out.strip() != "healthy":
        if time.monotonic() > deadline:
            raise Failed(f"{host.name}: the container is not healthy")
        time.sleep(5)
    # The pattern comes on standard input, or the search would find itself.
    search = f"echo '{PASSWORD}' | grep -rlFf - /etc /opt /root /tmp /var/lib/awg-install /var/log"
    found = host.machine.run(search, 300)
    if found.code != 1:
        raise Failed(f"{host.name}: the password is in {found.out.strip() or found.err.strip()}")
