"""The lab's repository and registry for machines that others run: on a network of libvirt.

A guest of the lab knows them by addresses that QEMU forwards. Here the host has these addresses itself,
on a bridge of its own, and nothing else can be reached from it.
"""

import os
import subprocess
from pathlib import Path

from . import standin
from .channel import Silent
from .furnish import KERNELS, RELEASE
from .machine import REGISTRY_ADDRESS, REPOSITORY_ADDRESS
from .meter import Meter

NAME = "awg-lab"
ADDRESS = "10.0.2.0/24"
_BRIDGE = Path("/sys/class/net") / NAME
_MASK = "255.255.255.0"
_URI = "qemu:///system"
# The first address is the host's for Vagrant; without <forward>, the bridge leads nowhere.
_XML = f"""\
<network>
  <name>{NAME}</name>
  <bridge name='{NAME}'/>
  <dns enable='no'/>
  <ip address='10.0.2.1' netmask='{_MASK}'><dhcp><range start='10.0.2.10' end='10.0.2.99'/></dhcp></ip>
""" + "".join(f"  <ip address='{address}' netmask='{_MASK}'/>\n"
              for address in (REGISTRY_ADDRESS, REPOSITORY_ADDRESS)) + "</network>\n"


class Services:
    """What a machine on the network reaches, until `close`."""

    def __init__(self, bench):
        self._relays = {}
        self._server, ports = bench.services(KERNELS)
        self.module = standin.module(RELEASE, bench.material, bench.cache)
        if not _BRIDGE.exists():
            _virsh("net-create", "/dev/stdin", text=_XML)
        try:
            for place, target in ports.items():
                address, port = place.split(":")
                self._relays[place] = Meter(target, (address, int(port)))
        except OSError as error:
            self.close()
            raise Silent(f"{place} cannot be served: {error}") from None

    def run(self, command, box):
        """Runs a command for which box and module are named; its exit code."""
        environment = {"AWG_BOX": str(box), "AWG_MODULE": str(self.module), **os.environ}
        return subprocess.run(command, env=environment).returncode

    @property
    def story(self):
        """What came from each address."""
        return "; ".join(f"{place}: {relay.count.connections} connections, {relay.count.received:,} bytes"
                         for place, relay in self._relays.items())

    def close(self):
        for relay in self._relays.values():
            relay.stop()
        self._server.stop()
        # A machine that is on it would lose its address, and Vagrant the machine.
        if not any(_BRIDGE.glob("brif/vnet*")):
            _virsh("net-destroy", NAME, check=False)


def _virsh(*words, text=None, check=True):
    try:
        done = subprocess.run(["virsh", "-q", "-c", _URI, *words], input=text, capture_output=True, text=True)
    except FileNotFoundError:
        raise Silent("virsh not found: install libvirt-daemon-system, libvirt-clients, vagrant-libvirt") from None
    if check and done.returncode != 0:
        raise Silent(f"virsh {words[0]}: {done.stderr.strip()}")
