"""A box for Vagrant with vagrant-libvirt: the lab's fresh Alpine, with what Vagrant asks of a machine.

That is sshd with scp, a user `vagrant` with the key that everybody knows (Vagrant replaces it at the
first start), and doas without a password.
"""

import io
import json
import shutil
import subprocess
import tarfile
from pathlib import Path

from . import disk, sshd
from .channel import Silent
from .network import ADDRESS, NAME

# Vagrant's own; its private half is public as well.
KEY = (
    "ssh-rsa AAAAB3NzaC1yc2EAAAABIwAAAQEA6NF8iallvQVp22WDkTkyrtvp9eWW6A8YVr+kz4TjGYe7gHzIw+niNltGEFHzD8+v1I2YJ6oXev"
    "ct1YeS0o9HZyN1Q9qgCgzUFtdOKLv6IedplqoPkcmF0aYet2PkEDo3MlTBckFXPITAMzF8dJSIFo9D8HfdOV0IAdx4O7PtixWKn5y2hMNG0zQ"
    "PyUecp4pzC6kivAIhyfHilFR61RGL+GPXQ2MWZWFYbAGjyiYJnAmCP3NOTd0jMZEnDkbUvxhMmBYSdETk1rRgm+R4LOzFUGaHqHDLKLX+FIP"
    "KcF96hrucXzcWyLbIbEgE98OHlnVYCzRdK8jlqm8tehUc9c9WhQ== vagrant insecure public key\n")
_SIZE_GIB = 2
_BOOT_LIMIT = 300
_PACKAGES = ["openssh-client", "opendoas", "libpam-modules"]
_WANTED = ("usr/bin/scp", "usr/bin/ssh-keygen", "usr/bin/doas", "usr/lib/x86_64-linux-gnu/security/pam_permit.so")
# Debian's doas asks PAM, as Alpine's does not; who may do what is in doas.conf alone.
_PAM = "auth required pam_permit.so\naccount required pam_permit.so\nsession required pam_permit.so\n"
_DOAS = "permit nopass vagrant\n"
# The password `*` matches none, and does not lock the user out, as the `!` of adduser does.
_USER = """\
tar -xf /tmp/vagrant.tar -C / && rm /tmp/vagrant.tar && chmod 4755 /usr/bin/doas &&
adduser -D -s /bin/sh vagrant && sed -i 's/^vagrant:!/vagrant:*/' /etc/shadow && chown -R vagrant: /home/vagrant
"""
# The lab's hand in the guest goes last: it obeys once more.
_LEAVE = """\
rm -rf /root/.ssh /root/.ash_history /tmp/* /var/lib/misc/* &&
sed -i "/lab-agent/d; /^# The lab's own line/d" /etc/inittab && rm /usr/libexec/lab-agent && : > /var/log/messages
"""
# No host key is ever made here, or its blocks would be in the box: each machine makes its own.
_SERVICE_KEY = f"""\
start_pre() {{
	mkdir -p -m 0755 /run/sshd
	[ -e {sshd.HOST_KEY} ] || ssh-keygen -q -t ed25519 -N "" -f {sshd.HOST_KEY}
}}
"""
_VAGRANTFILE = f"""\
# The box of awg-install's lab reaches nothing but the lab: `scripts/lab services` makes the network.
Vagrant.configure("2") do |config|
  config.vm.provider :libvirt do |libvirt|
    libvirt.management_network_name = "{NAME}"
    libvirt.management_network_address = "{ADDRESS}"
    # The services make it, and end it.
    libvirt.management_network_keep = true
  end
end
"""


def make(bench, out):
    """Makes the box at `out`, anew."""
    scratch = bench.cache / "box" / "making"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    image = disk.overlay(bench.base(size=f"{_SIZE_GIB}G"), scratch / "disk.qcow2")
    machine = bench.machine(scratch, image, None, [disk.KERNEL])
    try:
        machine.start()
        machine.wait_up(_BOOT_LIMIT)
        _furnish(machine, bench.cache)
        machine.shut_down()
    finally:
        machine.cut_power()
        machine.server.stop()
    flat = scratch / "box.img"
    subprocess.run(["qemu-img", "convert", "-c", "-O", "qcow2", str(image), str(flat)], check=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f"{out.name}.part")
    pack(flat, partial)
    partial.rename(out)
    shutil.rmtree(scratch)


def pack(image, out):
    """Packs a flat qcow2 image as vagrant-libvirt wants it."""
    metadata = {"provider": "libvirt", "format": "qcow2", "virtual_size": _SIZE_GIB}
    # The image is compressed already.
    with tarfile.open(out, "w:gz", compresslevel=1) as archive:
        for name, text in (("metadata.json", json.dumps(metadata) + "\n"), ("Vagrantfile", _VAGRANTFILE)):
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
        member = tarfile.TarInfo("box.img")
        member.size = Path(image).stat().st_size
        with open(image, "rb") as content:
            archive.addfile(member, content)


def _furnish(machine, cache):
    sshd.put(machine, cache, None, KEY)
    machine.put("/tmp/vagrant.tar", sshd.programs(cache, _PACKAGES, _WANTED))
    machine.put("/etc/pam.d/doas", _PAM)
    machine.put("/etc/doas.conf", _DOAS, 0o400)
    machine.put("/home/vagrant/.ssh/authorized_keys", KEY, 0o600)
    machine.run("chmod 0700 /home/vagrant/.ssh")
    service = machine.get("/etc/init.d/sshd").decode()
    machine.put("/etc/init.d/sshd", service[:service.index("start_pre")] + _SERVICE_KEY, 0o755)
    for script in (_USER, _LEAVE):
        done = machine.run(script, 120)
        if done.code != 0:
            raise Silent(f"no box can be made of the guest: {(done.out + done.err).strip()}")
