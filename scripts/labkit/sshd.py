"""An ssh server in a guest: OpenSSH from Debian on glibc, its service a stand-in with Alpine's name and order."""

import io
import subprocess
import tarfile
from pathlib import Path

from . import debs
from .channel import Silent

PORT = 22
# What lab-glibc does not hold of what OpenSSH is linked with.
_PACKAGES = ["openssh-server", "libwtmpdb0", "libsqlite3-0", "libwrap0", "libnsl2"]
_WANTED = ("usr/sbin/sshd", "usr/lib/openssh/", "usr/lib/x86_64-linux-gnu/")
HOST_KEY = "/etc/ssh/ssh_host_ed25519_key"
_CONFIGURATION = f"""\
Port {PORT}
HostKey {HOST_KEY}
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
# The lab's connections come and go fast, all from one address.
MaxStartups 100
PerSourcePenalties no
"""
_SERVICE = """\
#!/sbin/openrc-run
description="OpenBSD Secure Shell server"
command=/usr/sbin/sshd
pidfile=/run/sshd.pid
depend() { need net; after firewall; }
start_pre() { mkdir -p -m 0755 /run/sshd; }
"""
_INSTALL = """\
tar -xf /tmp/sshd.tar -C / && rm /tmp/sshd.tar &&
{ id sshd > /dev/null 2>&1 || adduser -S -D -H -h /var/empty -s /sbin/nologin -g sshd sshd; } &&
rc-update add sshd default"""


def make_key(path):
    """A key pair without a passphrase; the public half's text."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", str(path)], check=True)
    return Path(f"{path}.pub").read_text()


def put(machine, cache, host_key, authorized):
    """Puts it into a running guest, for whoever has one of the authorized keys, and starts it with this host
    key. None: it is not started."""
    machine.put("/tmp/sshd.tar", programs(cache, _PACKAGES, _WANTED))
    machine.put("/etc/ssh/sshd_config", _CONFIGURATION)
    if host_key:
        machine.put(HOST_KEY, Path(host_key).read_text(), 0o600)
    machine.put("/etc/init.d/sshd", _SERVICE, 0o755)
    machine.run("mkdir -p -m 0700 /root/.ssh")
    machine.put("/root/.ssh/authorized_keys", authorized, 0o600)
    done = machine.run(f"{_INSTALL} && rc-service sshd start" if host_key else _INSTALL, 120)
    if done.code != 0:
        raise Silent(f"no ssh server in the guest: {(done.out + done.err).strip()}")


def programs(cache, packages, wanted):
    """An archive of the packages' files whose names begin with one of the wanted."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for deb in debs.fetch(packages, cache).values():
            for member, content in debs.members(deb):
                if member.name.startswith(wanted):
                    archive.addfile(member, io.BytesIO(content) if member.isfile() else None)
    return made.getvalue()
