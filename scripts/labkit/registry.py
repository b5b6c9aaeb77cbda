"""A container registry on loopback with TLS, holding the lab's images.

Debian's docker-registry runs from its unpacked package. The images are put
into its storage directly, so that nothing has to be pushed. The certificate
comes from an authority of the lab's own, which the guest is told to trust.
"""

import atexit
import fcntl
import json
import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

from . import debs, images, variants

NAMES = ("ghcr.io", "registry.lab", "modules.lab", "localhost")
ADDRESSES = ("10.0.2.100", "10.0.2.102", "127.0.0.1")
# Who may pull where a login is asked for.
USER, PASSWORD = "reader", "a token of the registry"

_READY_LIMIT = 20
_VALID_DAYS = 800
_RENEW_BEFORE_S = 30 * 86400
_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


class Failed(Exception):
    """The registry could not be started; the text says why."""


def start(cache, material, host="127.0.0.1"):
    """Starts a registry that serves the lab's images; stop() ends it."""
    cache = Path(cache)
    built = images.build(material, cache)
    authority = _authority(cache)
    program = _program(cache)
    home = _made(cache / "registry")
    _sweep(home)
    run = Path(tempfile.mkdtemp(prefix=f"run-{os.getpid()}-", dir=home))
    registry = Registry(run, program, authority, host)
    registry.layouts = built
    try:
        made = variants.made(built[images.UPSTREAM], run / "variants")
        for reference, layout in [*built.items(), *made.items()]:
            registry.publish(reference, layout)
        registry.launch()
    except BaseException:
        registry.stop()
        raise
    return registry


def ca_cert(cache):
    """The certificate of the lab's authority (PEM)."""
    return _authority(Path(cache)) / "ca.crt"


def server_cert(cache):
    """Certificate and key (PEM) of the hosts that the lab stands in for."""
    home = _authority(Path(cache))
    return home / "server.crt", home / "server.key"


class Registry:
    """A running registry; `port` on loopback, `log` for what it says."""

    def __init__(self, run, program, authority, host):
        self.host, self.port = host, None
        self.log = run / "registry.log"
        self.ca = authority / "ca.crt"
        self._run, self._program, self._authority = run, program, authority
        self._process, self._accounts = None, None
        # The same images for whoever logs in.
        self._guarded, self._lock = None, threading.Lock()
        self.layouts = {}  # reference -> OCI layout, as at the start

    def point(self, tag, image):
        """Has a tag lead to what the lab has made for another reference; to its own again with `image` None."""
        known = {reference.rpartition("/")[2]: layout for reference, layout in self.layouts.items()}
        known |= self.layouts
        wanted = image or tag
        if wanted not in known:
            raise Failed(f"no image {wanted}; there are {', '.join(sorted(self.layouts))}")
        return self.publish(tag, known[wanted])

    def publish(self, reference, layout):
        """Makes an image (OCI layout) available as `repository:tag`."""
        repository, _, tag = reference.rpartition(":")
        storage = self._run / "storage" / "docker" / "registry" / "v2"
        home = storage / "repositories" / repository
        for blob in (layout / "blobs" / "sha256").iterdir():
            data = storage / "blobs" / "sha256" / blob.name[:2] / blob.name / "data"
            if not data.exists():
                data.parent.mkdir(parents=True, exist_ok=True)
                _link_or_copy(blob, data)
            kind = "_manifests/revisions" if _is_manifest(blob) else "_layers"
            _write_link(home / kind / "sha256" / blob.name, blob.name)
        top = json.loads((layout / "index.json").read_text())["manifests"][0]["digest"]
        digest = top.removeprefix("sha256:")
        _write_link(home / "_manifests" / "tags" / tag / "current", digest)
        _write_link(home / "_manifests" / "tags" / tag / "index" / "sha256" / digest, digest)
        return top

    def launch(self):
        """Starts the program (again, after stop_serving) and waits until it answers."""
        self.port = self.port or _free_port(self.host)
        config = self._run / f"{self.log.stem}.yml"
        config.write_text(json.dumps(self._configuration(), indent=1))
        with open(self.log, "ab") as log:
            # Ends with the thread that started it, even where that is killed.
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", str(self._program), "serve", str(config)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={"PATH": os.environ["PATH"], "OTEL_TRACES_EXPORTER": "none"},
            )
        atexit.register(self.stop)
        self._wait_until_ready()

    def with_login(self):
        """Port of a registry that has the same images and asks for a login."""
        with self._lock:
            if self._guarded is None:
                guarded = Registry(self._run, self._program, self._authority, self.host)
                guarded.log = self._run / "guarded.log"
                guarded._accounts = self._run / "accounts"
                guarded._accounts.write_text(f"{USER}:{_bcrypt(PASSWORD)}\n")
                guarded.launch()
                self._guarded = guarded
        return self._guarded.port

    def stop_serving(self):
        """Ends the program and keeps port and images: a registry that is down."""
        if self._process and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process = None

    def stop(self):
        """Ends the registry and removes what it stored."""
        self.stop_serving()
        if self._guarded is not None:
            self._guarded.stop_serving()
        atexit.unregister(self.stop)
        shutil.rmtree(self._run, ignore_errors=True)

    def _configuration(self):
        guard = {"htpasswd": {"realm": "lab", "path": str(self._accounts)}}
        return {
            **({"auth": guard} if self._accounts else {}),
            "version": "0.1",
            "log": {"level": "info", "accesslog": {"disabled": False}},
            "storage": {
                "filesystem": {"rootdirectory": str(self._run / "storage")},
                "maintenance": {"uploadpurging": {"enabled": False}},
            },
            "http": {
                "addr": f"{self.host}:{self.port}",
                "tls": {
                    "certificate": str(self._authority / "server.crt"),
                    "key": str(self._authority / "server.key"),
                },
            },
        }

    def _wait_until_ready(self):
        trust = ssl.create_default_context(cafile=str(self.ca))
        end = time.monotonic() + _READY_LIMIT
        while True:
            if self._process.poll() is not None:
                raise Failed(f"docker-registry ended at once: {_last_line(self.log)}")
            try:
                with urllib.request.urlopen(
                    f"https://{self.host}:{self.port}/v2/", timeout=5, context=trust
                ):
                    return
            except urllib.error.HTTPError as refused:
                refused.close()
                if refused.code == 401 and self._accounts:
                    return
                raise Failed(f"docker-registry answers with {refused.code}") from None
            except (urllib.error.URLError, OSError) as error:
                if time.monotonic() > end:
                    raise Failed(
                        f"docker-registry gave no answer within {_READY_LIMIT} s: {error}"
                    ) from None
            time.sleep(0.1)


def _bcrypt(password):
    """As docker-registry wants it. Perl is on every Debian, and Python has lost its crypt module."""
    done = subprocess.run(["perl", "-e", "print crypt($ARGV[0], $ARGV[1])", password, "$2y$05$" + "lab." * 5 + "lO"],
                          capture_output=True, text=True)
    if done.returncode != 0 or not done.stdout.startswith("$2y$05$"):
        raise Failed("perl makes no bcrypt hash here")
    return done.stdout


def _sweep(home):
    """Removes what a killed lab has left."""
    for run in home.glob("run-*-*"):
        if not Path("/proc", run.name.split("-")[1]).exists():
            shutil.rmtree(run, ignore_errors=True)


def _program(cache):
    deb = debs.fetch(["docker-registry"], cache)["docker-registry"]
    home = cache / "registry" / deb.stem
    if not home.is_dir():
        partial = Path(tempfile.mkdtemp(prefix="unpack-", dir=_made(cache / "registry")))
        debs.unpack(deb, partial)
        try:
            partial.rename(home)
        except OSError:  # another process was faster
            shutil.rmtree(partial)
    return home / "usr" / "bin" / "docker-registry"


def _authority(cache):
    """Directory with ca.crt, server.crt and server.key, renewed in time."""
    home = _made(cache / "authority")
    with open(home / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (_still_valid(home / "ca.crt") and _still_valid(home / "server.crt")):
            _issue_authority(home)
            _issue_server(home)
        elif not _named(home / "server.crt"):
            _issue_server(home)
    return home


def _issue_authority(home):
    _openssl(home, "req", "-x509", *_KEY, "-days", str(_VALID_DAYS), "-keyout", "ca.key", "-out", "ca.crt",
             "-subj", "/CN=lab authority", "-addext", "keyUsage=critical,keyCertSign")


def _issue_server(home):
    names = [f"DNS:{name}" for name in NAMES] + [f"IP:{address}" for address in ADDRESSES]
    (home / "server.ext").write_text(
        f"subjectAltName={','.join(names)}\nbasicConstraints=critical,CA:FALSE\n"
        "keyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth\n"
    )
    _openssl(home, "req", *_KEY, "-keyout", "server.key.new", "-out", "server.csr",
             "-subj", "/CN=registry.lab")
    _openssl(home, "x509", "-req", "-in", "server.csr", "-CA", "ca.crt", "-CAkey", "ca.key",
             "-CAcreateserial", "-days", str(_VALID_DAYS), "-extfile", "server.ext", "-out", "server.crt.new")
    for name in ("server.key", "server.crt"):
        (home / f"{name}.new").rename(home / name)


def _still_valid(certificate):
    if not certificate.is_file():
        return False
    check = ["openssl", "x509", "-noout", "-checkend", str(_RENEW_BEFORE_S), "-in", certificate]
    return subprocess.run(check, capture_output=True).returncode == 0


def _named(certificate):
    """Whether it holds for every name: an authority of an earlier lab has signed for fewer."""
    check = ["openssl", "x509", "-noout", "-ext", "subjectAltName", "-in", certificate]
    said = subprocess.run(check, capture_output=True, text=True).stdout
    held = set(said.replace(",", " ").split())
    return {f"DNS:{name}" for name in NAMES} | {f"Address:{address}" for address in ADDRESSES} <= held


def _openssl(home, *args):
    done = subprocess.run(["openssl", *args], cwd=home, capture_output=True, text=True)
    if done.returncode != 0:
        raise Failed(f"openssl {args[0]} failed: {done.stderr.strip().splitlines()[-1]}")


def _is_manifest(blob):
    """Manifests and indexes are short JSON with a schemaVersion; layers and
    image configurations are not."""
    if blob.stat().st_size > 1 << 16:
        return False
    content = blob.read_bytes()
    return content.startswith(b"{") and "schemaVersion" in json.loads(content)


def _write_link(directory, digest):
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "link").write_text(f"sha256:{digest}")


def _link_or_copy(source, dest):
    try:
        os.link(source, dest)
    except OSError:
        shutil.copyfile(source, dest)


def _free_port(host):
    with socket.socket() as probe:
        probe.bind((host, 0))
        return probe.getsockname()[1]


def _last_line(path):
    lines = path.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def _made(path):
    path.mkdir(parents=True, exist_ok=True)
    return path
