"""How long a plan takes as the catalog grows.

A catalog of each size is served on loopback. The run is an installation in kernel mode for which the catalog has no
module: the program asks for all that it would ask for, checks every signature, and refuses. What it kept is removed
before each run, so that nothing counts as known. A signature is made when it is first asked for, in a run before
those that count.
"""

import json
import shutil
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from labkit import minisign

from . import Problem, Row, measure, prepared, seconds

SIZES = (1_000, 10_000, 100_000)
# As in scripts/catalog: more is not read.
_INDEX = 1000
_KEY = "bench"
_CONFIG = """mode: kernel
fallback: fail
module:
  source: catalog
  catalog: {url: "http://127.0.0.1:PORT/", public_keys: [KEY]}
server: {host: vpn.example.org, username: admin, password_file: /root/password}
"""


def rows(bench):
    key = minisign.key(bench.cache, _KEY)
    with bench.scratch() as place:
        hosts = []
        for size in SIZES:
            site = Site(documents(size), lambda text: signature(bench.cache, key, text))
            config = _CONFIG.replace("PORT", str(site.port)).replace("KEY", key.text)
            hosts.append((prepared.Prepared(place / str(size), bench.binary, config), site))
        runs = [lambda host=host: _refused(host) for host, _ in hosts]
        try:
            for run in runs:
                run()
            for size, (_, site) in zip(SIZES, hosts):
                # The index and at least one release: otherwise nothing of the catalog was measured.
                if len(site.asked) < 4:
                    raise Problem(f"the catalog of {size} entries was asked only for {site.asked}")
            taken = measure.interleaved(3 * bench.times, *runs)
        finally:
            for _, site in hosts:
                site.stop()
    return compared(SIZES, taken)


def compared(sizes, taken):
    """The smallest catalog against each larger one. In linear growth a catalog ten times as large takes ten times as
    long; the ratio says how many times less it was."""
    first = taken[0]
    return [Row(f"plan, catalog of {size:,} entries", seconds(this),
                f"linear growth from {sizes[0]:,} ({seconds(first)}) {seconds(first * size / sizes[0])}",
                first * size / sizes[0] / this, 1.0)
            for size, this in zip(sizes[1:], taken[1:])]


def documents(size):
    """Path -> text: the index and one document for each of `size` releases, newest first in the index."""
    day = 86_400
    head = {"version": 1, "name": "bench", "arch": "x86_64", "serial": 1, "issued": _time(-day), "expires": _time(day)}
    releases = [f"6.12.{number}-0-lts" for number in range(size + 50, 50, -1)]
    # With a kernel each, so that all of them come into question.
    index = {"kind": "index", **head, "releases": [{"release": r, "netlink": [3], "kernel": True} for r in releases[:_INDEX]]}
    found = {f"/v1/x86_64/{r}.json": {"kind": "release", **head, "release": r, "modules": []} for r in releases}
    found["/v1/x86_64/index.json"] = index
    return {path: json.dumps(document).encode() for path, document in found.items()}


class Site:
    """Serves documents on loopback, and what `sign` makes of them beside them."""

    def __init__(self, documents, sign):
        self.asked, self._signed = [], {}

        class Handler(BaseHTTPRequestHandler):
            def do_GET(handler):
                self.asked.append(handler.path)
                body = self._answer(documents, sign, handler.path)
                handler.send_response(404 if body is None else 200)
                handler.send_header("Content-Length", str(len(body or b"")))
                handler.end_headers()
                handler.wfile.write(body or b"")

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def _answer(self, documents, sign, path):
        whole = documents.get(path.removesuffix(".minisig"))
        if whole is None or not path.endswith(".minisig"):
            return whole
        if path not in self._signed:
            self._signed[path] = sign(whole)
        return self._signed[path]

    def stop(self):
        self._server.shutdown()
        self._server.server_close()


def signature(cache, key, text):
    with tempfile.TemporaryDirectory() as place:
        file = Path(place, "document")
        file.write_bytes(text)
        minisign.sign(cache, key, file)
        return Path(f"{file}.minisig").read_bytes()


def _refused(host):
    shutil.rmtree(host.root / "var/lib/awg-install", ignore_errors=True)
    host.run("--unattended", "--config", "/root/awg.yaml", code=4)


def _time(later):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + later))
