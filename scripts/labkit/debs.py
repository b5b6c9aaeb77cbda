"""Debian packages as a source of programs: downloaded and unpacked, never installed.

apt does the work with a source list, package lists and a cache of its own, so
that signatures are checked and the machine's proxy settings apply, while its
own packages and lists stay as they are.
"""

import fcntl
import io
import json
import os
import re
import shutil
import subprocess
import tarfile
from contextlib import contextmanager
from pathlib import Path

ARCHITECTURE = "amd64"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
DEFAULT_MIRROR = "http://deb.debian.org/debian"

_COMPONENTS = "main"
_TIME_LIMIT = 900


class Unavailable(Exception):
    """A package could not be obtained; the text says which and why."""


def fetch(names, cache, suite="trixie"):
    """Downloads the named packages (not what they depend on); name -> .deb."""
    store = _Store(Path(cache), suite)
    with store.locked():
        found = store.known(names)
        missing = [name for name in names if name not in found]
        if missing:
            store.download(missing)
            found = store.known(names)
    return {name: found[name] for name in names}


def closure(names, cache, suite="trixie", leave_out=()):
    """Names of the packages and of all they depend on, as apt would choose them
    on a machine that has nothing yet."""
    store = _Store(Path(cache), suite)
    with store.locked():
        chosen = store.resolve(names)
    return [name for name in chosen if name not in set(leave_out)]


def version(deb):
    """The package's version."""
    return _run(["dpkg-deb", "-f", str(deb), "Version"]).strip()


def unpack(deb, dest):
    """Unpacks the files of a .deb below `dest`; no maintainer script runs."""
    dest = Path(dest)
    dest.mkdir(parents=True, exist_ok=True)
    _run(["dpkg-deb", "-x", str(deb), str(dest)])


def members(deb):
    """Yields (TarInfo, content) of a .deb's files and links, without unpacking
    it; names carry no leading `./`."""
    plain = _output(["dpkg-deb", "--fsys-tarfile", str(deb)])
    with tarfile.open(fileobj=io.BytesIO(plain)) as archive:
        for member in archive:
            member.name = member.name.removeprefix("./")
            if member.issym():
                yield member, b""
            elif member.isfile():
                yield member, archive.extractfile(member).read()


class _Store:
    """One suite's downloads: `index.json` maps a package name to its file."""

    def __init__(self, cache, suite):
        self.suite = suite
        self.dir = cache / "debs" / suite
        self.index = self.dir / "index.json"
        self.lists = self.dir / "apt" / "lists"
        self.fresh = False

    @contextmanager
    def locked(self):
        self.dir.mkdir(parents=True, exist_ok=True)
        with open(self.dir / "lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def known(self, names):
        index = self._read_index()
        paths = {name: self.dir / index[name] for name in names if name in index}
        return {name: path for name, path in paths.items() if path.is_file()}

    def download(self, names):
        self._update_once()
        incoming = self.dir / "incoming"
        shutil.rmtree(incoming, ignore_errors=True)
        incoming.mkdir()
        try:
            self._apt("apt-get", "download", *names, cwd=incoming)
        except Unavailable:
            # Lists that outlived a point release name files that are gone.
            if self.fresh:
                raise
            self._update()
            self._apt("apt-get", "download", *names, cwd=incoming)
        index = self._read_index()
        for deb in incoming.glob("*.deb"):
            deb.rename(self.dir / deb.name)
            index[deb.name.split("_")[0]] = deb.name
        partial = self.index.with_suffix(".new")
        partial.write_text(json.dumps(index, indent=1, sort_keys=True) + "\n")
        partial.rename(self.index)
        incoming.rmdir()
        absent = [name for name in names if name not in index]
        if absent:
            raise Unavailable(f"Debian {self.suite} did not give {', '.join(absent)}")

    def resolve(self, names):
        self._update_once()
        text = self._apt(
            "apt-get", "install", "--simulate", "--no-install-recommends", *names
        )
        return sorted(set(re.findall(r"^Inst (\S+)", text, re.MULTILINE)))

    def _read_index(self):
        try:
            return json.loads(self.index.read_text())
        except (FileNotFoundError, ValueError):
            return {}

    def _update_once(self):
        if not any(self.lists.glob("*_Packages*")):
            self._update()

    def _update(self):
        self._apt("apt-get", "--error-on=any", "update")
        self.fresh = True

    def _apt(self, program, *args, cwd=None):
        command = [program, "-q", "-c", str(self._configuration()), *args]
        return _run(command, cwd=cwd)

    def _configuration(self):
        apt = self.dir / "apt"
        for part in ("lists/partial", "archives/partial", "empty"):
            (apt / part).mkdir(parents=True, exist_ok=True)
        # An empty status file: nothing counts as installed here.
        (apt / "status").touch()
        signed = f"signed-by={KEYRING}" if KEYRING.is_file() else ""
        options = " ".join(filter(None, [f"arch={ARCHITECTURE}", signed]))
        lines = [
            f"deb [{options}] {url} {suite} {_COMPONENTS}\n"
            for url, suite in _sources(self.suite)
        ]
        (apt / "sources.list").write_text("".join(lines))
        conf = apt / "apt.conf"
        conf.write_text(_APT_CONF.format(apt=apt, architecture=ARCHITECTURE))
        return conf


# `#clear` takes back hooks of the machine that act on its own package lists.
_APT_CONF = """\
Dir::Etc::sourcelist "{apt}/sources.list";
Dir::Etc::sourceparts "{apt}/empty";
Dir::Etc::preferences "{apt}/empty/none";
Dir::Etc::preferencesparts "{apt}/empty";
Dir::State::lists "{apt}/lists";
Dir::State::status "{apt}/status";
Dir::State::extended_states "{apt}/extended_states";
Dir::Cache::archives "{apt}/archives";
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear APT::Architectures;
APT::Architecture "{architecture}";
APT::Architectures {{ "{architecture}"; }};
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Retries "2";
Acquire::http::Timeout "30";
Acquire::https::Timeout "30";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Acquire::IndexTargets::deb::DEP-11-icons-small::DefaultEnabled "false";
Acquire::IndexTargets::deb::DEP-11-icons::DefaultEnabled "false";
"""


def mirror():
    """Where packages come from."""
    return os.environ.get("AWG_LAB_DEBIAN_URL") or _machine_mirror()


def _sources(suite):
    sources = [(mirror(), suite)]
    if suite == "bookworm":
        # Newer kernel sources come to an older release by its security suite.
        security = mirror().rstrip("/").removesuffix("/debian") + "/debian-security"
        sources.append((security, f"{suite}-security"))
    return sources


def _machine_mirror():
    """The Debian mirror this machine uses already, else the public one."""
    places = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
    for place in places:
        if place.is_file() and place.suffix in (".list", ".sources"):
            mirror = _mirror_in(place.read_text(errors="replace"))
            if mirror:
                return mirror
    return DEFAULT_MIRROR


def _mirror_in(sources):
    pattern = r"^(?:URIs:|deb)\s.*?(https?://\S+/debian/?)(?:\s|$)"
    match = re.search(pattern, sources, re.MULTILINE)
    return match.group(1).rstrip("/") if match else None


def _run(command, cwd=None):
    return _output(command, cwd).decode(errors="replace")


def _output(command, cwd=None):
    environment = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(
            command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL,
            capture_output=True, timeout=_TIME_LIMIT,
        )
    except FileNotFoundError:
        raise Unavailable(
            f"{command[0]} not found: the lab gets its programs with apt on Debian or Ubuntu"
        ) from None
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{command[0]} gave no answer within {_TIME_LIMIT} s") from None
    if done.returncode != 0:
        raise Unavailable(_cause(command, done))
    return done.stdout


def _cause(command, done):
    said = (done.stderr + done.stdout).decode(errors="replace")
    lines = [line for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("E:", "Err:"))] or lines[-1:]
    text = f"{command[0]} failed ({done.returncode}): " + "; ".join(errors[:3])
    if "NO_PUBKEY" in said or not KEYRING.is_file():
        text += "; install the package debian-archive-keyring"
    return text
