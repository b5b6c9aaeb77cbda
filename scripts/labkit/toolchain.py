"""What a module is compiled with, as packages: `6.12.50-0-lts.dev` in a list of
kernels has a repository offer them.

The compiler is Debian's, on glibc; the base of a root of its own comes out of
Alpine's minirootfs, file by file.
"""

import shutil
import subprocess
import tarfile

from . import debs
from .apk import Package
from .packages import GLIBC, Recipe, write

SUFFIX = ".dev"
_GCC = "14"
_TRIPLET = "x86_64-linux-gnu"
_DEBIAN = "x86-64-linux-gnu"
_COMPILER = [f"gcc-{_GCC}-{_DEBIAN}", f"cpp-{_GCC}-{_DEBIAN}", "libgmp10", "libmpfr6", "libmpc3", "libisl23"]
_BINUTILS = [f"binutils-{_DEBIAN}", "libbinutils", "libctf-nobfd0", "libctf0", "libjansson4", "libsframe1"]
_BASE = {"musl": [], "busybox": ["musl"], "busybox-binsh": ["busybox"], "alpine-baselayout-data": [],
         "alpine-baselayout": ["alpine-baselayout-data"], "alpine-keys": [], "zlib": ["musl"],
         "libcrypto3": ["musl"], "libssl3": ["libcrypto3"], "ca-certificates-bundle": [],
         "apk-tools": ["ca-certificates-bundle", "libssl3", "musl", "zlib"]}


def recipes(material, cache, name):
    """The packages of `name`, such as `6.12.50-0-lts.dev`."""
    release = name.removesuffix(SUFFIX)
    version, build, flavour = release.split("-")

    def unpacked(names, arrange):
        def run(root):
            files = debs.fetch(names, cache)
            scratch = root.with_name(root.name + ".debs")
            for deb in names:
                debs.unpack(files[deb], scratch)
            arrange(scratch, root)
            shutil.rmtree(scratch)
        return run

    return [
        *_base(material),
        Recipe("main", Package(f"linux-{flavour}-dev", f"{version}-r{build}",
                               f"Headers and script for third party modules for {flavour} kernel",
                               depends=["bash", GLIBC], origin="linux-lts"),
               lambda root: _headers(material, root, release)),
        Recipe("main", Package("binutils", "2.44-r0", "Tools necessary to build programs", depends=[GLIBC]),
               unpacked(_BINUTILS, _binutils)),
        Recipe("main", Package("gcc", f"{_GCC}.2.0-r0", "The GNU Compiler Collection",
                               depends=["binutils", GLIBC]),
               unpacked(_COMPILER, _compiler)),
        Recipe("main", Package("make", "4.4.1-r0", "GNU make utility to maintain groups of programs",
                               depends=[GLIBC]),
               unpacked(["make"], lambda d, r: _programs(d, r, {"make": "make"}))),
        Recipe("main", Package("bash", "5.2.37-r0", "The GNU Bourne Again shell", depends=[GLIBC]),
               unpacked(["bash", "libtinfo6"], _bash)),
        Recipe("main", Package("musl-dev", "1.2.5-r0", "the musl c library (development files)"), _no_headers),
    ]


def _headers(material, root, release):
    if material.headers is None:
        raise debs.Unavailable("the lab material has no headers")
    place = root / "usr/src"
    place.mkdir(parents=True)
    subprocess.run(["tar", "--no-same-owner", "-xJf", str(material.headers), "-C", str(place),
                    "--strip-components=1"], check=True)
    headers = place / f"linux-headers-{release}"
    if not (headers / "Module.symvers").is_file():
        raise debs.Unavailable(f"{material.headers} holds no headers of {release}")
    link = root / "lib/modules" / release / "build"
    link.parent.mkdir(parents=True)
    link.symlink_to(f"/usr/src/linux-headers-{release}")


def _programs(unpacked, root, names):
    place = root / "usr/bin"
    place.mkdir(parents=True, exist_ok=True)
    for source, name in names.items():
        shutil.copy(unpacked / "usr/bin" / source, place / name)
    _libraries(unpacked, root)


def _libraries(unpacked, root):
    place = root / "usr/lib" / _TRIPLET
    for entry in sorted((unpacked / "usr/lib" / _TRIPLET).glob("lib*.so*")):
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy2(entry, place / entry.name, follow_symlinks=False)


def _binutils(unpacked, root):
    tools = {"ar": "ar", "as": "as", "ld.bfd": "ld", "nm": "nm", "objcopy": "objcopy", "objdump": "objdump",
             "readelf": "readelf", "strip": "strip"}
    _programs(unpacked, root, {f"{_TRIPLET}-{name}": tool for name, tool in tools.items()})


def _compiler(unpacked, root):
    _programs(unpacked, root, {f"{_TRIPLET}-gcc-{_GCC}": "gcc"})
    place = root / "usr/libexec/gcc" / _TRIPLET / _GCC
    place.mkdir(parents=True)
    shutil.copy(unpacked / "usr/libexec/gcc" / _TRIPLET / _GCC / "cc1", place)


def _no_headers(root):
    """Only modules are compiled, which use none but the one that the compiler always wants."""
    write(root / "usr/include/stdc-predef.h", "/* empty */\n")


def _bash(unpacked, root):
    _programs(unpacked, root, {"bash": "bash"})
    link = root / "bin/bash"
    link.parent.mkdir(parents=True)
    link.symlink_to("/usr/bin/bash")


def _base(material):
    """Packages of the minirootfs, by its own record of what belongs to which."""
    with tarfile.open(material.minirootfs) as archive:
        record = archive.extractfile("./lib/apk/db/installed").read().decode()
    for entry in record.split("\n\n"):
        fields = dict(line.split(":", 1) for line in entry.splitlines() if line[:2] in ("P:", "V:"))
        name = fields.get("P")
        if name in _BASE:
            provides = {"busybox-binsh": ["/bin/sh"]}.get(name, [])
            package = Package(name, fields["V"], f"{name}, out of Alpine's minirootfs",
                              depends=_BASE[name], provides=provides)
            yield Recipe("main", package, lambda root, entry=entry: _from_minirootfs(material, entry, root))


def _from_minirootfs(material, entry, root):
    folder = ""
    with tarfile.open(material.minirootfs) as archive:
        for line in entry.splitlines():
            if line.startswith("F:"):
                folder = line[2:]
                (root / folder).mkdir(parents=True, exist_ok=True)
            elif line.startswith("R:"):
                member = archive.getmember(f"./{folder}/{line[2:]}")
                path = root / folder / line[2:]
                if member.issym():
                    path.symlink_to(member.linkname)
                else:
                    path.write_bytes(archive.extractfile(member).read())
                    path.chmod(member.mode)
