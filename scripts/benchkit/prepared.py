"""Prepared hosts: directories that play one (scripts/fakeroot), with the configuration that they are installed from."""

import base64
import json
import os
import shutil
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

from . import measure

FAKEROOT = Path(__file__).resolve().parents[1] / "fakeroot"
_IDLE = FAKEROOT.with_name("bench-idle")
CONFIG = """kernel:
  release: 6.12.50-0-lts
module:
  source: file
  path: /root/amneziawg.ko
server:
  host: vpn.example.org
  username: admin
  password_file: /root/password
"""


class Prepared:
    """A fresh host below `place`; `binary` acts on it."""

    def __init__(self, place, binary, config=CONFIG):
        self.root, self.binary = Path(place), binary
        measure.run(FAKEROOT / "make", self.root)
        (self.root / "root/amneziawg.ko").write_bytes(base64.b64decode((FAKEROOT / "amneziawg.ko.base64").read_text()))
        (self.root / "root/awg.yaml").write_text(config)
        (self.root / "root/password").write_text("only to be measured\n")
        self.environment = {"PATH": os.environ["PATH"]}

    def command(self, *words):
        return [self.binary, "--root", self.root, *words]

    def run(self, *words, code=0):
        return measure.run(*self.command(*words), code=code, env=self.environment)

    def peak(self, *words, code=0):
        return measure.peak(*self.command(*words), code=code, env=self.environment)

    def install(self):
        """The whole installation with its restart; after it nothing is left to do."""
        self.run("--unattended", "--config", "/root/awg.yaml")
        self.run("resume")

    def cpu(self):
        """Seconds of processor time that all runs so far have used themselves, as their log says."""
        log = (self.root / "var/log/awg-install.log").read_text()
        return sum(event["cpu_ms"] for event in map(json.loads, log.splitlines()) if event["type"] == "exit") / 1000

    def serve_engine(self):
        """From now on the engine answers over its socket, as a real one does, and not by a program of its own."""
        loader = SourceFileLoader("bench_idle", str(_IDLE))
        served = module_from_spec(spec_from_loader("bench_idle", loader))
        loader.exec_module(served)
        served.listen(str(self.root))

    def start_engine(self, image):
        """The engine is there and runs; what it saves as an image is this file, which costs it nothing."""
        bin = self.root / ".fakeroot/bin"
        for name in ("docker-played", "engine-get", "engine-post"):
            shutil.copy(self.root / ".fakeroot/later/docker", bin / name)
        docker = bin / "docker"
        docker.write_text('#!/bin/sh\n'
                          f'[ "$1 $2" != "save -o" ] || exec ln "{image}" "$FAKE_ROOT$3"\n'
                          'exec "${0%/*}/docker-played" "$@"\n')
        docker.chmod(0o755)
        (self.root / "run/docker.sock").touch()
        keys = self.root / "etc/apk/keys"
        keys.mkdir(parents=True, exist_ok=True)
        (keys / "mirror.rsa.pub").write_text("a key\n")
