"""A machine with a finished installation in kernel mode, to be measured."""

import time

from . import disk, standin
from .channel import Silent
from .machine import Hardware

RELEASE = "6.12.50-0-lts"
KERNELS = ["6.12.50-0-virt", f"{RELEASE}.modular"]
PASSWORD = "correct horse battery staple"
CONFIG = "/root/config.yaml"
AGAIN = f"awg-install --unattended --config {CONFIG}"
_CONFIG = f"""\
kernel: {{release: {RELEASE}}}
module: {{source: file, path: /root/amneziawg.ko}}
server: {{host: vpn.example.org, username: admin, password_file: /root/password}}
container: {{image: "ghcr.io/wg-easy/wg-easy:15"}}
"""
_LIMIT = 900


def start(bench, binary, place, hardware=None):
    """Boots a fresh machine and installs; it is up, on the new kernel, and has nothing to do."""
    image = disk.overlay(bench.base(), place / "disk.qcow2")
    machine = bench.machine(place, image, hardware or Hardware(), KERNELS)
    machine.start()
    try:
        boot = machine.wait_up(300).boot
        machine.put("/root/awg-install", binary.read_bytes(), 0o755)
        machine.put("/root/amneziawg.ko", standin.module(RELEASE, bench.material, bench.cache).read_bytes())
        machine.put("/root/password", f"{PASSWORD}\n", 0o600)
        machine.put(CONFIG, _CONFIG)
        machine.run(f"/root/{AGAIN} > /root/output 2>&1 < /dev/null &", 30)
        machine.wait_up(_LIMIT, not_boot=boot)
        done = machine.run("awg-install status --wait", _LIMIT)
        if done.code != 0:
            raise Silent(f"the installation ended with {done.code}: {(done.out + done.err).strip()[-500:]}")
        healthy(machine)
        again = machine.run(AGAIN, 300)
        if again.code != 0 or "nothing to do" not in again.out:
            raise Silent(f"a further run ended with {again.code}: {(again.out + again.err).strip()[-500:]}")
    except BaseException:
        stop(machine)
        raise
    return machine


def healthy(machine, limit=300):
    deadline = time.monotonic() + limit
    while machine.run("docker inspect --format '{{.State.Health.Status}}' wg-easy", 60).out.strip() != "healthy":
        if time.monotonic() > deadline:
            raise Silent("the container is not healthy")
        time.sleep(2)


def stop(machine):
    machine.cut_power()
    machine.server.stop()
    for leftover in [*machine.dir.glob("put-*"), machine.dir / "disk.qcow2"]:
        leftover.unlink(missing_ok=True)
