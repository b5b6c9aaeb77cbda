"""A catalog of modules for guests, https://modules.lab/, in good and bad states.

`scripts/catalog` makes and signs it from stand-in modules; a bad state is that catalog,
changed and (except where tampering is the point) signed again. Guests reach it with the
authority in /etc/ssl/certs/lab-ca.pem, so that they name it in SSL_CERT_FILE.
"""

import json
import re
import shutil
import subprocess
from datetime import datetime, timedelta, timezone
from pathlib import Path

from . import minisign, registry, standin, tls

ARCHITECTURE = "x86_64"

# As the tools in the images say of themselves: a version before v3.0.
_NETLINK = 2
_MAKER = Path(__file__).resolve().parents[1] / "catalog"
_STORIES = {
    "good": "as it should be",
    "tampered": "changed after it was signed",
    "tampered-module": "whole, but its modules are changed",
    "expired": "past its time",
    "wrong-key": "signed with another key",
    "rolled-back": "older than before",
}


class Failed(Exception):
    """The catalog could not be made; the text says why."""


class Catalog:
    """Serves on `port`; empty until `change` is called. `program` is the awg-install that reads
    the modules; without one, scripts/catalog finds or builds it."""

    def __init__(self, cache, material, repository, directory, program=None):
        self._program = program
        self._cache, self._material, self._repository = Path(cache), material, repository
        self._home = Path(directory) / "catalog"
        shutil.rmtree(self._home, ignore_errors=True)
        self._home.mkdir(parents=True)
        self._key = minisign.key(cache, "catalog")
        self._wanted = {"modules": (), "kernels": ()}
        self._state = "good"
        (self._home / "served").mkdir()
        self._server = tls.Server(self._home / "served", *registry.server_cert(cache))

    @property
    def port(self):
        return self._server.port

    @property
    def requests(self):
        return self._server.requests

    def size(self, path):
        """Bytes of what is served there; 0 where nothing is."""
        return self._server.size(path)

    @property
    def public_key(self):
        return self._key.text

    @property
    def story(self):
        """What it holds and is like, for a person."""
        held = [f"modules for {', '.join(self._wanted['modules']) or 'no kernel'}"]
        if self._wanted["kernels"]:
            held.append(f"kernels {', '.join(self._wanted['kernels'])}")
        return f"{_STORIES[self._state]}: {' and '.join(held)}"

    def change(self, modules=None, kernels=None, state="good"):
        """Adds these modules and kernels to what is there, and serves it in this state."""
        for name, value in (("modules", modules), ("kernels", kernels)):
            self._wanted[name] += tuple(kernel for kernel in value or () if kernel not in self._wanted[name])
        self._state = state
        self._make()
        changed = self._home / "changed"
        shutil.copytree(self._home / "good", changed)
        spoil(changed, state, lambda path: minisign.sign(self._cache, self._signer(), path))
        tls.exchange(changed, self._home / "served")

    def stop(self):
        self._server.stop()
        shutil.rmtree(self._home, ignore_errors=True)

    def _signer(self):
        return minisign.key(self._cache, "other") if self._state == "wrong-key" else self._key

    def _make(self):
        source = self._home / "source"
        shutil.rmtree(source, ignore_errors=True)
        source.mkdir()
        for kernel in self._wanted["modules"]:
            place = source / release_of(kernel)
            place.mkdir(exist_ok=True)
            shutil.copy(standin.module(kernel, self._material, self._cache), place / "amneziawg.ko")
        for kernel in self._wanted["kernels"]:
            place = source / release_of(kernel)
            place.mkdir(exist_ok=True)
            shutil.copy(self._repository.kernel_package(kernel), place)
        good = self._home / "good"
        good.mkdir(exist_ok=True)
        if any(source.iterdir()):
            _run_maker("--out", good, "--key", self._key.secret, "--name", "lab", "--netlink", _NETLINK,
                       "--minisign", minisign.program(self._cache),
                       *(("--program", self._program) if self._program else ()), source)


def release_of(kernel):
    """The release of one of the lab's kernels: `6.12.50-0-lts` for `6.12.50-0-lts.modular`."""
    return re.sub(r"\.[a-z]+$", "", kernel)


def spoil(tree, state, sign, now=None):
    """Brings a good catalog into a state; `sign` signs one document anew."""
    now = now or datetime.now(timezone.utc)
    documents = sorted((tree / "v1" / ARCHITECTURE).glob("*.json"))
    if state == "tampered":
        for path in documents:
            _edit(path, lambda document: document.update(note="added after it was signed"))
    elif state == "tampered-module":
        for path in (path for path in (tree / "objects").rglob("*") if path.is_file()):
            content = bytearray(path.read_bytes())
            content[len(content) // 2] ^= 1
            path.write_bytes(content)
    elif state != "good":
        for path in documents:
            _edit(path, lambda document: _turn(document, state, now))
            sign(path)


def _turn(document, state, now):
    if state == "expired":
        document["issued"] = _time(now - timedelta(days=400))
        document["expires"] = _time(now - timedelta(days=10))
    elif state == "rolled-back":
        document["serial"] = max(document["serial"] - 1, 0)


def _edit(path, change):
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document, indent=1) + "\n")


def _time(moment):
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _run_maker(*arguments):
    if not _MAKER.is_file():
        raise Failed(f"there is no {_MAKER}")
    done = subprocess.run([str(word) for word in (_MAKER, *arguments)], text=True,
                          stdin=subprocess.DEVNULL, capture_output=True)
    if done.returncode != 0:
        raise Failed(f"scripts/catalog: {(done.stderr or done.stdout).strip()}")
