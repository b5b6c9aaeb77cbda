"""What every machine of the lab needs beside it: material, repository, registry."""

import fcntl
import os
from pathlib import Path

from . import disk, material, registry, repository, standin, toolchain
from .machine import REGISTRY_ADDRESS, REPOSITORY_ADDRESS, Machine


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

    def base(self, alpine="3.22.1", size="2G", loader=disk.DEFAULT_LOADER):
        place = self.cache / "disks"
        place.mkdir(parents=True, exist_ok=True)
        with open(place / "lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            return disk.base(self.cache, self.repository, alpine, size, self.authority, loader)

    def machine(self, directory, image, hardware, kernels):
        """A machine that reaches its repository, with these kernels, and the registry."""
        server = repository.Server(self.repository.offer(kernels))
        for name in kernels:
            if name.endswith(toolchain.SUFFIX):
                made = standin.source(name.removesuffix(toolchain.SUFFIX), self.material, self.cache)
                server.share("module-source.tar", made)
        ports = {f"{REPOSITORY_ADDRESS}:80": server.port,
                 f"{REGISTRY_ADDRESS}:443": self.registry.port}
        return Machine(directory, image, hardware, ports, server)

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
