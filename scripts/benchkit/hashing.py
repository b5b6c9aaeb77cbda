"""Hashing and bundles against sha256sum and tar, on the same file of random bytes.

`bundle create` has more to do than its peer: it takes the sum of the bundle as well, syncs it to the disk and reads
it back against its list. So has `bundle verify --sha256`: it holds the whole file against its sum before it looks at
the members. The peers do only what is in the table.
"""

import hashlib
import os
import shutil

from . import Row, measure, mebibytes, prepared, seconds

_LIMIT = 24 << 20
_BLOCK = 16 << 20


def rows(bench):
    with bench.scratch() as place:
        data, bundle = place / "data", "/root/awg.bundle"
        _fill(data, bench.size)
        host = prepared.Prepared(place / "host", bench.binary)
        host.start_engine(data)
        create = ("bundle", "create", bundle, "--module-source", "file", "--module-path", "/root/amneziawg.ko")
        memory = {"create": host.peak(*create)}
        # Every bundle names the time at which it was made: the first one is kept.
        made = host.root / "root/kept.bundle"
        (host.root / bundle.lstrip("/")).rename(made)
        digest = _digest(made)
        verify = ("bundle", "verify", "/root/kept.bundle", "--sha256", digest)
        memory["verify"] = host.peak(*verify)
        peers = _Peers(place, data, made)
        # A sum that is not the file's: all of it is hashed, and nothing more is done.
        other = ("bundle", "verify", "/root/kept.bundle", "--sha256", digest[::-1])
        found = []
        size = mebibytes(bench.size)

        runs = [lambda: host.run(*other, code=5), lambda: measure.run("sha256sum", made)]
        if openssl := shutil.which("openssl"):
            runs.append(lambda: measure.run(openssl, "dgst", "-sha256", made))
        ours, *theirs = measure.interleaved(bench.times, *runs)
        for name, goal, taken in zip(("sha256sum", "openssl dgst"), (1.0, None), theirs):
            found.append(Row(f"SHA-256 of {size}", seconds(ours), f"{name} {seconds(taken)}", taken / ours, goal))

        ours, both, tar = measure.interleaved(bench.times, lambda: host.run(*create), peers.create, peers.pack)
        found.append(Row(f"bundle create, {size}", seconds(ours), f"sha256sum, tar -c {seconds(both)}", both / ours, 1.0))
        found.append(Row(f"bundle create, {size}", seconds(ours), f"tar -c alone {seconds(tar)}", tar / ours))

        ours, both, tar = measure.interleaved(bench.times, lambda: host.run(*verify), peers.verify, peers.unpack)
        found.append(Row(f"bundle verify, {size}", seconds(ours), f"sha256sum -c, tar -x {seconds(both)}", both / ours, 1.0))
        found.append(Row(f"bundle verify, {size}", seconds(ours), f"tar -x alone {seconds(tar)}", tar / ours))
        for name, bytes in memory.items():
            found.append(Row(f"bundle {name}, peak memory", mebibytes(bytes), f"limit {mebibytes(_LIMIT)}",
                             _LIMIT / bytes, 1.0))
        return found


class _Peers:
    """What a person would do with sha256sum and tar."""

    def __init__(self, place, data, bundle):
        self._place, self._data, self._bundle = place, data, bundle
        self._list, self._tar = place / "SHA256SUMS", place / "peer.tar"
        self.create()

    def create(self):
        self._list.write_text(measure.run("sha256sum", self._data))
        self.pack()

    def pack(self):
        measure.run("tar", "-cf", self._tar, "-C", self._place, self._data.name, self._list.name)

    def verify(self):
        measure.run("sha256sum", "-c", self._list)
        self.unpack()

    def unpack(self):
        measure.run("sh", "-c", 'tar -xOf "$0" > /dev/null', self._bundle)


def _fill(path, size):
    with open(path, "wb") as file:
        for begin in range(0, size, _BLOCK):
            file.write(os.urandom(min(_BLOCK, size - begin)))


def _digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
