"""What every machine of the lab needs beside it: material, repository, registry."""

import fcntl
import os
from pathlib import Path

from . import catalog, debian, disk, material, registry, repository, standin, toolchain
from .machine import CATALOG_ADDRESS, REGISTRY_ADDRESS, REPOSITORY_ADDRESS, Machine


def cache_directory():
    named = os.environ.get("AWG_LAB_CACHE")
    if named:
        return Path(named).resolve()
    parent = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(parent) / "awg-install-lab"


class Bench:
    def __init__(self, cache):
        self.cache = cache
        self.material = material.find(cache)
        self.repository = repository.Repository(cache, self.material)
        self.authority = registry.ca_cert(cache)
        self._registry = None

    def base(self, alpine="3.22.1", size="2G", loader=disk.DEFAULT_LOADER, cmdline=""):
        place = self.cache / "disks"
        place.mkdir(parents=True, exist_ok=True)
        with open(place / "lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            return disk.base(self.cache, self.repository, alpine, size, self.authority, loader, cmdline)

    def disk_of(self, host):
        """What the machine of a scenario starts with, made unless it is there."""
        if host["distribution"] == "alpine":
            return self.base(host["alpine"], host["disk"], host["loader"], host["cmdline"])
        with open(self.cache / "disks" / "lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            return debian.base(self.cache, self.material, self.authority)

    def boot_of(self, distribution):
        """What is booted in place of the disk's own loader, or None."""
        return debian.boot(self.material) if distribution == "debian" else None

    def machine(self, directory, image, hardware, kernels, catalog_server=None, gate=None):
        """A machine that reaches its repository, with these kernels, the registry (through its
        gate, where it has one), and the catalog where it has one."""
        server, ports = self.services(kernels, catalog_server, gate)
        return Machine(directory, image, hardware, ports, server)

    def services(self, kernels, catalog_server=None, gate=None):
        """The repository's server, and where each address that a guest knows leads on loopback."""
        server = repository.Server(self.repository.offer(kernels))
        for name in kernels:
            if name.endswith(toolchain.SUFFIX):
                made = standin.source(name.removesuffix(toolchain.SUFFIX), self.material, self.cache)
                server.share("module-source.tar", made)
        ports = {f"{REPOSITORY_ADDRESS}:80": server.port,
                 f"{REGISTRY_ADDRESS}:443": (gate or self.registry).port}
        if catalog_server:
            ports[f"{CATALOG_ADDRESS}:443"] = catalog_server.port
        return server, ports

    def catalog(self, directory, program=None):
        """A catalog, empty, that serves from `directory` until it is stopped."""
        return catalog.Catalog(self.cache, self.material, self.repository, directory, program)

    def start_registry(self):
        """Starts the registry, unless it runs."""
        if self._registry is None:
            self._registry = registry.start(self.cache, self.material)
        return self._registry

    @property
    def registry(self):
        return self.start_registry()

    def close(self):
        if self._registry is not None:
            self._registry.stop()
            self._registry = None
