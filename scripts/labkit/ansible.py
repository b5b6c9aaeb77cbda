"""Ansible, as it comes from PyPI, in an environment of its own; and what a playbook has said."""

import os
import re
import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

from .channel import Silent

_PACKAGE = "ansible-core"
_RECAP = re.compile(r"^(\S+)\s+: ok=(\d+)\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)", re.MULTILINE)


@dataclass(frozen=True)
class Recap:
    ok: int
    changed: int
    unreachable: int
    failed: int


@dataclass
class Said:
    code: int
    text: str

    @property
    def recap(self):
        """Host -> counts, for the hosts that the run came to."""
        return {name: Recap(*map(int, counts)) for name, *counts in _RECAP.findall(self.text)}


def programs(cache):
    """Directory with ansible-playbook and its companions: the machine's own, or made once."""
    own = shutil.which("ansible-playbook")
    if own:
        return Path(own).parent
    place = Path(cache) / "ansible"
    if not (place / "bin/ansible-playbook").is_file():
        print(f"lab: installs {_PACKAGE} from PyPI in {place}", file=sys.stderr)
        shutil.rmtree(place, ignore_errors=True)
        try:
            venv.create(place, with_pip=True)
        except subprocess.CalledProcessError:
            raise Silent("python3-venv is missing; install it, or put ansible-playbook into PATH") from None
        done = subprocess.run([place / "bin/pip", "install", "-q", _PACKAGE], text=True, capture_output=True)
        if done.returncode != 0:
            raise Silent(f"{_PACKAGE} cannot be had: {done.stderr.strip()[-300:]}")
    return place / "bin"


class Playbook:
    """Runs one playbook of the project as its users do, from its own directory."""

    def __init__(self, cache, directory, playbook, inventory, home):
        self._bin = programs(cache)
        self._directory, self._playbook, self._inventory, self._home = directory, playbook, inventory, home

    def version(self):
        done = subprocess.run([self._bin / "ansible", "--version"], text=True, capture_output=True, env=self._environment())
        return done.stdout.partition("\n")[0]

    def encrypt(self, path, secret_file):
        """Makes a file of variables a vault."""
        done = subprocess.run([self._bin / "ansible-vault", "encrypt", "--vault-password-file", secret_file, path],
                              text=True, capture_output=True, env=self._environment())
        if done.returncode != 0:
            raise Silent(f"ansible-vault: {done.stderr.strip()}")

    def run(self, log, limit, *words):
        command = [self._bin / "ansible-playbook", "-i", self._inventory, self._playbook, *words]
        with open(log, "w") as out:
            try:
                done = subprocess.run([str(word) for word in command], cwd=self._directory, stdin=subprocess.DEVNULL,
                                      stdout=out, stderr=subprocess.STDOUT, env=self._environment(), timeout=limit)
            except subprocess.TimeoutExpired:
                raise Silent(f"ansible-playbook did not end within {limit} s; see {log}") from None
        return Said(done.returncode, Path(log).read_text(errors="replace"))

    def _environment(self):
        # What a user has configured for ansible does not count here, and nothing is written into their home.
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
        return {**kept, "ANSIBLE_HOME": str(self._home), "ANSIBLE_NOCOLOR": "1", "PYTHONDONTWRITEBYTECODE": "1"}
