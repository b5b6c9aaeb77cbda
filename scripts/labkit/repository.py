"""The lab's package repositories: built once, served over HTTP on loopback.

A scenario chooses which kernels its repository offers; the packages are shared
and each choice has an index of its own, made by the real `apk index`.
"""

import fcntl
import hashlib
import http.server
import os
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path

from . import apk, packages, toolchain

BRANCHES = ("main", "community")


class Repository:
    def __init__(self, cache, material):
        self.dir = Path(cache) / "repository"
        self.cache = Path(cache)
        self.material = material
        self.key = apk.key(self.dir / "keys")
        self.store = self.dir / "packages" / _inputs_digest(material)

    def build(self):
        """All packages but the kernels; kernels join as they are offered."""
        for recipe in packages.recipes(self.material, self.cache):
            self._package(recipe)

    def offer(self, kernels):
        """A directory to serve, `<branch>/x86_64/...`, that offers these kernels."""
        self.store.mkdir(parents=True, exist_ok=True)
        with open(self.store / "lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            return self._offer(kernels)

    def kernel_package(self, kernel):
        """The .apk of one kernel."""
        self.offer([kernel])
        return self.store / "kernels" / kernel / packages.kernel(self.material, kernel).package.file_name

    def _offer(self, kernels):
        offered = self.store / "offers" / ("+".join(kernels) or "no-kernel")
        if offered.is_dir():
            return offered
        self.build()
        chosen = {branch: [] for branch in BRANCHES}
        for recipe in packages.recipes(self.material, self.cache):
            chosen[recipe.repository].append(self._package(recipe))
        for name in kernels:
            place = self.store / "kernels" / name
            for recipe in self._recipes(name):
                chosen["main"].append(self._package(recipe, place))
        partial = offered.with_name(offered.name + ".part")
        shutil.rmtree(partial, ignore_errors=True)
        for branch in BRANCHES:
            place = partial / branch / apk.ARCHITECTURE
            place.mkdir(parents=True)
            for path in chosen[branch]:
                os.link(path, place / path.name)
            self._index(place)
        partial.rename(offered)
        return offered

    def _recipes(self, name):
        """The package of a kernel, or all that modules for it are compiled with."""
        if name.endswith(toolchain.SUFFIX):
            return toolchain.recipes(self.material, self.cache, name)
        return [packages.kernel(self.material, name)]

    def _package(self, recipe, place=None):
        place = place or self.store / recipe.repository
        path = place / recipe.package.file_name
        if path.is_file():
            return path
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.store) as scratch:
            root = Path(scratch) / "root"
            if recipe.fill:
                root.mkdir()
                recipe.fill(root)
            return apk.write(recipe.package, root if recipe.fill else None, place, self.key)

    def apk(self, root, *arguments, cwd=None):
        """Runs Alpine's own apk, with Alpine's C library, on the tree `root`."""
        tools = self._alpine_tools()
        command = [
            tools / "lib/ld-musl-x86_64.so.1", "--library-path", f"{tools}/lib:{tools}/usr/lib",
            tools / "sbin/apk", "--root", root, "--keys-dir", self.dir / "keys", *arguments,
        ]
        done = subprocess.run([str(word) for word in command], cwd=cwd, text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT)
        if done.returncode != 0:
            raise RuntimeError(f"apk {arguments[0]} failed: {done.stdout.strip()}")
        return done.stdout

    def _index(self, place):
        names = sorted(path.name for path in place.glob("*.apk"))
        self.apk(self._alpine_tools(), "index", "--rewrite-arch", apk.ARCHITECTURE,
                 "--description", "awg-install lab", "-o", "APKINDEX.tar.gz", *names, cwd=place)
        apk.sign_index(place / "APKINDEX.tar.gz", self.key)

    def _alpine_tools(self):
        tools = self.dir / "alpine"
        if not tools.is_dir():
            partial = tools.with_name("alpine.part")
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            subprocess.run(["tar", "-xzf", str(self.material.minirootfs), "-C", str(partial),
                            "--no-same-owner"], check=True)
            partial.rename(tools)
        return tools


class Server:
    """Serves `/alpine/v*/<branch>/...` from what is offered, and files of the lab
    under `/lab/`. Every request is kept in `requests`."""

    def __init__(self, offered):
        self.offered = Path(offered)
        self.files = {}
        self.requests = []
        self.down = False
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                server.answer(self)

            def log_message(self, *_):
                pass

        self._http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.port = self._http.server_address[1]
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    def share(self, name, path):
        """Makes a file available as `/lab/<name>`."""
        self.files[name] = Path(path)

    def stop(self):
        self._http.shutdown()
        self._http.server_close()

    def answer(self, request):
        self.requests.append(request.path)
        path = self._find(request.path)
        if self.down or path is None:
            request.send_error(503 if self.down else 404)
            return
        request.send_response(200)
        request.send_header("Content-Length", str(path.stat().st_size))
        request.send_header("Last-Modified", request.date_time_string(path.stat().st_mtime))
        request.end_headers()
        with open(path, "rb") as stream:
            try:
                shutil.copyfileobj(stream, request.wfile, 1 << 17)
            except (BrokenPipeError, ConnectionResetError):
                request.close_connection = True

    def size(self, path):
        """Bytes of what is served there; 0 where nothing is."""
        found = self._find(path)
        return found.stat().st_size if found else 0

    def _find(self, path):
        parts = path.strip("/").split("/")
        if parts[0] == "lab" and len(parts) == 2:
            return self.files.get(parts[1])
        if len(parts) < 3 or parts[0] != "alpine" or ".." in parts:
            return None
        found = self.offered.joinpath(*parts[2:])
        return found if found.is_file() else None


def _inputs_digest(material):
    """Changes when anything changes that the packages are made of."""
    digest = hashlib.sha256(f"{material.kernels} {material.headers}".encode())
    own = Path(__file__).parent
    recipes = [own / name for name in ("packages.py", "toolchain.py", "grub.py", "apk.py")]
    for path in [*recipes, *sorted((own / "guest").rglob("*"))]:
        if path.is_file() and "base" not in path.relative_to(own).parts[1:2]:
            digest.update(f"{path.relative_to(own)} {path.stat().st_mode:o}".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
