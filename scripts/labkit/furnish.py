"""What the lab's measurements install: one release and its module, in kernel mode, from files on the machine."""

from . import standin
from .channel import Silent

RELEASE = "6.12.50-0-lts"
# What a machine begins with, and the release in the build that boots only with a right initramfs.
KERNELS = ["6.12.50-0-virt", f"{RELEASE}.modular"]
IMAGE = "ghcr.io/wg-easy/wg-easy:15"
PASSWORD = "correct horse battery staple"
PROGRAM, CONFIG, MODULE = "/root/awg-install", "/root/config.yaml", "/root/amneziawg.ko"
INSTALL = f"{PROGRAM} --unattended --config {CONFIG}"


def config(image=IMAGE):
    return f"""\
mode: auto
kernel: {{release: {RELEASE}}}
module: {{source: file, path: {MODULE}}}
server: {{host: vpn.example.org, username: admin, password_file: /root/password}}
container: {{image: "{image}"}}
"""


def furnish(machine, bench, binary, image=IMAGE):
    """Puts there what INSTALL needs."""
    machine.put(PROGRAM, binary.read_bytes(), 0o755)
    machine.put(MODULE, standin.module(RELEASE, bench.material, bench.cache).read_bytes())
    machine.put("/root/password", f"{PASSWORD}\n", 0o600)
    machine.put(CONFIG, config(image))


def install(machine, boot, limit):
    """Installs on a machine that came up as `boot`, across the restart, to the end."""
    machine.run(f"{INSTALL} > /root/output 2>&1 < /dev/null &", 30)
    machine.wait_up(limit, not_boot=boot)
    ended = machine.run("awg-install status --wait", limit)
    if ended.code != 0:
        raise Silent(f"the installation ended with {ended.code}: {(ended.out + ended.err).strip()[-500:]}")
