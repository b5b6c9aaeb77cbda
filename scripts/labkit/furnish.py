"""What the lab's measurements install: one release and its module, in kernel mode, from files on the machine."""

from . import standin

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
