"""Container images for the lab, made without a container engine.

`upstream` is like ghcr.io/wg-easy/wg-easy:15: awg, awg-quick and userspace
programs, no module. `module` is like an image that brings its module along:
/lib/modules/amneziawg.ko and a version file, no userspace program. `older` is
`upstream` with an awg of another generation than the module, `broken` is
`upstream` with a server that ends at once. `newer` is the next version of
`upstream`, which works; `damaging` another, whose server damages the
database at its start and ends. `caddy` is like docker.io/library/caddy:2. Programs
come from Debian's packages, the server from `images/app`; see its header for
what it does and does not do.
"""

import gzip
import hashlib
import io
import json
import re
import shutil
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

from . import debs, standin

SERVER = Path(__file__).resolve().parent / "images" / "app"
MODULE_KERNEL = "6.12.50-0-lts"
UPSTREAM = "wg-easy/wg-easy:15"
OLDER = "lab/wg-easy-older:15"
CADDY = "library/caddy:2"
NEWER = "lab/wg-easy-newer:15"
DAMAGING = "lab/wg-easy-damaging:15"
BROKEN = "lab/wg-easy-broken:15"
WITH_MODULE = ("wg-easy:latest", "lab/wg-easy-module:15")

_LIB = "usr/lib/x86_64-linux-gnu"

# Package -> patterns of the files that go into the base layer.
_PROGRAMS = {
    "libc6": [f"{_LIB}/ld-linux-x86-64.so.2", f"{_LIB}/libc.so.6", f"{_LIB}/libm.so.6",
              f"{_LIB}/libresolv.so.2"],
    "bash": ["usr/bin/bash"],
    "libtinfo6": [f"{_LIB}/libtinfo.so.6*"],
    # Not busybox-static: its shell puts its own applets (ip, modinfo) first.
    "busybox": ["usr/bin/busybox"],
    "dumb-init": ["usr/bin/dumb-init"],
    "kmod": ["usr/bin/kmod"],
    "libssl3t64": [f"{_LIB}/libcrypto.so.3"],
    "zlib1g": [f"{_LIB}/libz.so.1*"],
    "libzstd1": [f"{_LIB}/libzstd.so.1*"],
    "iproute2": ["usr/bin/ip"],
    "libbpf1": [f"{_LIB}/libbpf.so.1*"],
    "libelf1t64": [f"{_LIB}/libelf*.so*"],
    "libmnl0": [f"{_LIB}/libmnl.so.0*"],
    "libcap2": [f"{_LIB}/libcap.so.2*"],
    "libselinux1": [f"{_LIB}/libselinux.so.1"],
    "libpcre2-8-0": [f"{_LIB}/libpcre2-8.so.0*"],
    "iptables": [
        "usr/sbin/xtables-*-multi", "usr/sbin/ip*tables-legacy*", "usr/sbin/ip*tables-nft*",
        f"{_LIB}/xtables/libxt_*.so", f"{_LIB}/xtables/libip*t_*.so",
    ],
    "libip4tc2": [f"{_LIB}/libip4tc.so.2*"],
    "libip6tc2": [f"{_LIB}/libip6tc.so.2*"],
    "libxtables12": [f"{_LIB}/libxtables.so.12*"],
    "libnftnl11": [f"{_LIB}/libnftnl.so.11*"],
    "sqlite3": ["usr/bin/sqlite3"],
    "libsqlite3-0": [f"{_LIB}/libsqlite3.so.0*"],
    "libreadline8t64": [f"{_LIB}/libreadline.so.8*"],
    "wireguard-tools": ["usr/bin/wg", "usr/bin/wg-quick"],
}
_CADDY = {
    "libc6": _PROGRAMS["libc6"],
    "libzstd1": _PROGRAMS["libzstd1"],
    "caddy": ["usr/bin/caddy"],
}
_USERSPACE = {"wireguard-go": ["usr/bin/wireguard-go"]}

_APPLETS = """
ash awk base64 basename cat chmod chown cp cut date dd df dirname dmesg du env expr false find
free grep head hexdump hostname id kill killall ln ls mkdir mkpasswd mktemp mount mv nc netstat
nproc od ping printf ps pwd readlink realpath rm rmdir sed seq sh sha256sum sleep sort stat su
sync sysctl tail tar tee test timeout top touch tr true umount uname uniq vi wc wget which xargs
""".split()

_AWG = "usr/libexec/awg"

# The renamed wg knows none of AmneziaWG's own settings: `awg set` drops those words.
_WITHOUT_OBFUSCATION = b"""#!/bin/sh
[ "$1" = set ] || exec /usr/libexec/awg "$@"
left=$#
while [ "$left" -gt 0 ]; do
	word=$1
	shift
	left=$((left - 1))
	case $word in
		jc | jmin | jmax | s[1-4] | h[1-4] | i[1-5]) shift; left=$((left - 1)) ;;
		*) set -- "$@" "$word" ;;
	esac
done
exec /usr/libexec/awg "$@"
"""

# As wg-easy ends with a database that it cannot read.
_BROKEN_SERVER = b"""#!/bin/sh
echo 'Migrating database...'
echo 'Failed to connect to Database: LibsqlError: SQLITE_CORRUPT: database disk image is malformed' >&2
exit 1
"""

_KMOD_NAMES = ("depmod", "insmod", "lsmod", "modinfo", "modprobe", "rmmod")

_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "DEBUG": "Server,WireGuard,Database,CMD,Firewall",
    "PORT": "51821",
    "HOST": "0.0.0.0",
    "INSECURE": "false",
    "INIT_ENABLED": "false",
    "DISABLE_IPV6": "false",
}

# As in the image that the Caddy project publishes.
_CADDY_CONFIG = {
    "Env": [
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "CADDY_VERSION=v2.6.2", "XDG_CONFIG_HOME=/config", "XDG_DATA_HOME=/data",
    ],
    "Cmd": ["caddy", "run", "--config", "/etc/caddy/Caddyfile", "--adapter", "caddyfile"],
    "WorkingDir": "/srv",
    "ExposedPorts": {"80/tcp": {}, "443/tcp": {}, "443/udp": {}, "2019/tcp": {}},
    "Labels": {"org.opencontainers.image.title": "stand-in for the image of Caddy"},
}

# As in the real image: it asks `wg`, so it never succeeds in AmneziaWG mode.
_HEALTH_CHECK = {
    "Test": [
        "CMD-SHELL",
        '/usr/bin/timeout 5s /bin/sh -c "/usr/bin/wg show | /bin/grep -q interface || exit 1"',
    ],
    "Interval": 60_000_000_000,
    "Timeout": 5_000_000_000,
    "Retries": 3,
}

_SERVER_CONFIG = {
    "Env": [f"{name}={value}" for name, value in _ENVIRONMENT.items()],
    "Cmd": ["/usr/bin/dumb-init", "/app/server"],
    "WorkingDir": "/app",
    "Healthcheck": _HEALTH_CHECK,
    "Labels": {"org.opencontainers.image.title": "stand-in for wg-easy"},
}

_CREATED = "2026-01-01T00:00:00Z"
_OCI = "application/vnd.oci.image"


def build(material, cache):
    """Builds the images; reference -> OCI layout directory."""
    cache = Path(cache)
    packages = debs.fetch([*_PROGRAMS, *_USERSPACE, *_CADDY], cache)
    module = standin.module(MODULE_KERNEL, material, cache)
    key = _inputs_digest([*packages.values(), module, *SERVER.iterdir(), Path(__file__),
                          Path(standin.__file__)])
    home = cache / "images" / key
    if not home.is_dir():
        partial = home.with_name(f"{key}.part")
        shutil.rmtree(partial, ignore_errors=True)
        base, server = _base_layer(packages), _server_layer()
        userspace = _userspace_layer(packages)
        _write_layout(partial / "upstream", [base, userspace, server])
        _write_layout(partial / "older", [base, userspace, _older_layer(base), server])
        _write_layout(partial / "broken", [base, userspace, server, _broken_layer()])
        _write_layout(partial / "module", [base, _module_layer(module), server])
        _write_layout(partial / "newer", [base, userspace, server, _release_layer()])
        _write_layout(partial / "damaging", [base, userspace, server, _damaging_layer()])
        _write_layout(partial / "caddy", [_caddy_layer(packages)], _CADDY_CONFIG)
        partial.rename(home)
    single = {UPSTREAM: "upstream", OLDER: "older", BROKEN: "broken", NEWER: "newer", DAMAGING: "damaging", CADDY: "caddy"}
    return {ref: home / name for ref, name in (single | dict.fromkeys(WITH_MODULE, "module")).items()}


def size(layout):
    """Compressed bytes of an image."""
    return sum(blob.stat().st_size for blob in (layout / "blobs" / "sha256").iterdir())


def patched_quick(script):
    """awg-quick from wg-quick: besides the name, it must call `awg`."""
    commands = rb"\bwg (?=(setconf|addconf|set|show|showconf)\b)"
    return re.sub(commands, b"awg ", standin.renamed(script))


def other_generation(program):
    """awg that asks the kernel for another netlink family than the module answers on.

    The name stands by itself in the program, for the family and for the kind of link; the
    directory of the userspace sockets is a text of its own and stays.
    """
    name, other = b"\0amneziawg\0", b"\0amneziaw1\0"
    if program.count(name) != 1:
        raise standin.Failed(f"awg has its family's name {program.count(name)} times, not once")
    return program.replace(name, other)


def _base_layer(packages):
    layer = _Layer()
    for directory in ("bin", "sbin", "lib/modules", "lib64", "etc/alternatives", "etc/wireguard",
                      "etc/amnezia", "root", "run", "usr/bin", "usr/sbin", _LIB, "var"):
        layer.directory(directory)
    for directory in ("tmp", "dev", "proc", "sys"):
        layer.directory(directory, 0o1777 if directory == "tmp" else 0o755)
    for name, patterns in _PROGRAMS.items():
        layer.package(packages[name], patterns)
    layer.directory("usr/libexec")
    layer.file(_AWG, standin.renamed(layer.content("usr/bin/wg")), 0o755)
    layer.file("usr/bin/awg", _WITHOUT_OBFUSCATION, 0o755)
    layer.file("usr/bin/awg-quick", patched_quick(layer.content("usr/bin/wg-quick")), 0o755)
    # /bin, /sbin and /lib are directories of their own here, as in Alpine.
    for name in ("bash", "busybox"):
        layer.link(f"bin/{name}", f"/usr/bin/{name}")
    for applet in _APPLETS:
        layer.link(f"usr/bin/{applet}", "busybox")
        layer.link(f"bin/{applet}", "/usr/bin/busybox")
    layer.link("lib64/ld-linux-x86-64.so.2", f"/{_LIB}/ld-linux-x86-64.so.2")
    for name in _KMOD_NAMES:
        layer.link(f"sbin/{name}", "/usr/bin/kmod")
    layer.link("sbin/ip", "/usr/bin/ip")
    for program in ("iptables", "ip6tables"):
        for suffix in ("", "-save", "-restore"):
            layer.link(f"usr/sbin/{program}{suffix}", f"/etc/alternatives/{program}{suffix}")
            layer.link(
                f"etc/alternatives/{program}{suffix}", f"/usr/sbin/{program}-legacy{suffix}"
            )
    # AmneziaWG's tools look in /etc/amnezia/amneziawg, the renamed ones here in
    # /etc/amneziawg.
    layer.link("etc/amnezia/amneziawg", "/etc/wireguard")
    layer.link("etc/amneziawg", "/etc/wireguard")
    layer.link("var/run", "/run")
    layer.file("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n", 0o644)
    layer.file("etc/group", b"root:x:0:\n", 0o644)
    layer.file("etc/os-release", b'ID=lab\nPRETTY_NAME="wg-easy stand-in"\n', 0o644)
    return layer


def _userspace_layer(packages):
    layer = _Layer()
    layer.package(packages["wireguard-go"], _USERSPACE["wireguard-go"])
    program = layer.content("usr/bin/wireguard-go")
    layer.file("usr/bin/amneziawg-go", standin.renamed(program), 0o755)
    return layer


def _caddy_layer(packages):
    layer = _Layer()
    for directory in ("config", "data", "etc/caddy", "lib64", "srv", "usr/bin", _LIB):
        layer.directory(directory)
    for directory in ("tmp", "dev", "proc", "sys"):
        layer.directory(directory, 0o1777 if directory == "tmp" else 0o755)
    for name, patterns in _CADDY.items():
        layer.package(packages[name], patterns)
    layer.link("lib64/ld-linux-x86-64.so.2", f"/{_LIB}/ld-linux-x86-64.so.2")
    layer.file("etc/passwd", b"root:x:0:0:root:/root:/sbin/nologin\n", 0o644)
    layer.file("etc/group", b"root:x:0:\n", 0o644)
    return layer


def _older_layer(base):
    layer = _Layer()
    layer.file(_AWG, other_generation(base.content(_AWG)), 0o755)
    return layer


def _broken_layer():
    layer = _Layer()
    layer.file("app/server", _BROKEN_SERVER, 0o755)
    return layer


def _module_layer(module):
    layer = _Layer()
    version = f"{MODULE_KERNEL.split('-')[0]}\n".encode()
    layer.file("lib/modules/amneziawg.ko", module.read_bytes(), 0o644)
    layer.file("etc/amneziawg-kernel-version.txt", version, 0o644)
    return layer


def _release_layer():
    layer = _Layer()
    layer.directory("etc")
    layer.file("etc/wg-easy-release", b"the version after the one in upstream\n", 0o644)
    return layer


def damaging(server):
    """The server with a migration that goes wrong: it has changed the database when it ends."""
    opened = "  open_database\n"
    if server.count(opened) != 1:
        raise standin.Failed(f"the server opens its database {server.count(opened)} times, not once")
    return server.replace(opened, opened + (
        "  sql <<< 'DELETE FROM clients_table; CREATE TABLE half_migrated (id INTEGER);'\n"
        "  echo 'SqliteError: no such column: expires_at' >&2\n"
        "  exit 1\n"))


def _damaging_layer():
    layer = _Layer()
    layer.directory("app")
    layer.file("app/server", damaging((SERVER / "server").read_text()).encode(), 0o755)
    return layer


def _server_layer():
    layer = _Layer()
    layer.directory("app")
    for path in sorted(SERVER.iterdir()):
        mode = 0o755 if path.suffix == "" else 0o644
        layer.file(f"app/{path.name}", path.read_bytes(), mode)
    return layer


@dataclass
class _Layer:
    """Files of one layer; written in a fixed order with fixed times, so that
    the same inputs have the same digest."""

    entries: dict = field(default_factory=dict)

    def directory(self, path, mode=0o755):
        self._add(path, tarfile.DIRTYPE, mode)

    def file(self, path, content, mode):
        self._add(path, tarfile.REGTYPE, mode, content=content)

    def link(self, path, target):
        self._add(path, tarfile.SYMTYPE, 0o777, target=target)

    def package(self, deb, patterns):
        for member, content in debs.members(deb):
            if not any(_matches(member.name, pattern) for pattern in patterns):
                continue
            if member.issym():
                self.link(member.name, member.linkname)
            else:
                self.file(member.name, content, member.mode & 0o755)

    def content(self, path):
        return self.entries[path][1]

    def packed(self):
        plain = io.BytesIO()
        with tarfile.open(fileobj=plain, mode="w", format=tarfile.USTAR_FORMAT) as archive:
            for path in sorted(self.entries):
                info, content = self.entries[path]
                archive.addfile(info, io.BytesIO(content))
        return plain.getvalue()

    def _add(self, path, kind, mode, content=b"", target=""):
        info = tarfile.TarInfo(path)
        info.type, info.mode, info.linkname, info.size = kind, mode, target, len(content)
        self.entries[path] = (info, content)


def _matches(name, pattern):
    return Path(name).match(pattern) and name.count("/") == pattern.count("/")


def _write_layout(home, layers, runs=None):
    """`runs` is what a container of it runs and with which environment."""
    blobs = home / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def blob(kind, content, **more):
        digest = hashlib.sha256(content).hexdigest()
        (blobs / digest).write_bytes(content)
        return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(content), **more}

    plain = [layer.packed() for layer in layers]
    packed = [blob(f"{_OCI}.layer.v1.tar+gzip", gzip.compress(data, 6, mtime=0)) for data in plain]
    config = {
        "created": _CREATED, "architecture": "amd64", "os": "linux",
        "config": runs or _SERVER_CONFIG,
        "rootfs": {
            "type": "layers",
            "diff_ids": [f"sha256:{hashlib.sha256(data).hexdigest()}" for data in plain],
        },
        "history": [{"created": _CREATED, "created_by": "lab"} for _ in layers],
    }
    manifest = blob(
        f"{_OCI}.manifest.v1+json",
        _json({
            "schemaVersion": 2,
            "mediaType": f"{_OCI}.manifest.v1+json",
            "config": blob(f"{_OCI}.config.v1+json", _json(config)),
            "layers": packed,
        }),
        platform={"architecture": "amd64", "os": "linux"},
    )
    # An index of platforms, as a multi-architecture image has: the digest that
    # an engine records after a pull by tag is the index's.
    index = blob(f"{_OCI}.index.v1+json", _json({
        "schemaVersion": 2, "mediaType": f"{_OCI}.index.v1+json", "manifests": [manifest],
    }))
    (home / "oci-layout").write_bytes(_json({"imageLayoutVersion": "1.0.0"}))
    (home / "index.json").write_bytes(_json({
        "schemaVersion": 2, "mediaType": f"{_OCI}.index.v1+json", "manifests": [index],
    }))


def _json(value):
    return json.dumps(value, separators=(",", ":")).encode()


def _inputs_digest(paths):
    digest = hashlib.sha256()
    for path in sorted(paths, key=lambda path: path.name):
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]
