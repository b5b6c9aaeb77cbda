"""Stand-ins for AmneziaWG, made from WireGuard's own programs and module.

`wireguard` and `amneziawg` have nine letters each, so replacing one by the
other keeps every offset of a binary. The result goes by AmneziaWG's names
(module, link kind, netlink family, socket directory) and really moves packets;
it does not speak AmneziaWG's obfuscated protocol and knows none of its
parameters (Jc, S1, H1, ...).
"""

import hashlib
import io
import os
import re
import struct
import subprocess
import tarfile
from pathlib import Path

_SIGNATURE_MARK = b"~Module signature appended~\n"
_SIGNATURE_INFO = 12
_SOURCE = Path(__file__).parent / "module"
_OWN_SYMBOL = b"__this_module"
_WIREGUARD = "kernel/drivers/net/wireguard/wireguard.ko"


class Failed(Exception):
    """The stand-in could not be made from what it was given."""


def renamed(content):
    """The bytes of a program with AmneziaWG's name in place of WireGuard's."""
    if b"wireguard" not in content:
        raise Failed("nothing in it is called wireguard")
    return content.replace(b"wireguard", b"amneziawg")


def module(kernel, material, cache):
    """amneziawg.ko for one kernel of the material (`6.12.50-0-lts`, or a build
    such as `6.12.50-0-lts.modular`)."""
    return _written(cache, kernel, _module_content(kernel, material))


def patched_vermagic(from_release, to_release, material, cache):
    """A module built for one release that claims another.

    Its vermagic is right for `to_release`, the checksums of its symbols are
    those of `from_release`: what a check of the vermagic alone lets through.
    """
    old, new = (f"vermagic={release} ".encode() for release in (from_release, to_release))
    if len(old) != len(new):
        raise Failed(f"{from_release} and {to_release} differ in length; an offset would move")
    content = _module_content(from_release, material)
    if content.count(old) != 1:
        raise Failed(f"the module of {from_release} does not carry its vermagic once")
    return _written(cache, f"{from_release}-as-{to_release}", content.replace(old, new))


def source(kernel, material, cache):
    """A source archive that compiles to amneziawg.ko against the headers of `kernel`: what names it
    is C, what moves packets is WireGuard's object out of that kernel."""
    target = Path(cache) / "standin" / f"source-{kernel}.tar"
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(f".{os.getpid()}")
    partial.write_bytes(_without_own_symbol(_module_content(kernel, material)))
    # What every module gets anew when it is linked.
    sections = (".gnu.linkonce.this_module", "__versions", ".modinfo", ".note*")
    subprocess.run(["objcopy", "--strip-debug", *(f"--remove-section={name}" for name in sections),
                    str(partial)], check=True)
    members = {path.name: path.read_bytes() for path in sorted(_SOURCE.iterdir())}
    members["carrier.o_shipped"] = partial.read_bytes()
    with tarfile.open(partial, "w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(f"amneziawg-lab/src/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    partial.rename(target)
    return target


def without_signature(content):
    """A module without its appended signature.

    A signature that no longer fits is refused by the kernel, a missing one
    only taints it (unless signatures are enforced).
    """
    if not content.endswith(_SIGNATURE_MARK):
        return content
    trailer = len(content) - len(_SIGNATURE_MARK)
    size = int.from_bytes(content[trailer - 4 : trailer], "big")
    end = trailer - _SIGNATURE_INFO - size
    if end <= 0:
        raise Failed("the module's signature is longer than the module")
    return content[:end]


def _module_content(kernel, material):
    modules = material.kernel(kernel) / "lib" / "modules"
    release = re.sub(r"\.[a-z]+$", "", kernel)
    source = modules / release / _WIREGUARD
    if not source.is_file():
        raise Failed(f"kernel {kernel} has no {_WIREGUARD}")
    return renamed(without_signature(source.read_bytes()))


def _without_own_symbol(content):
    """The module with `__this_module` as a symbol that the linker has to find elsewhere."""
    content = bytearray(content)
    table, = struct.unpack_from("<Q", content, 0x28)
    count, = struct.unpack_from("<H", content, 0x3C)
    sections = [struct.unpack_from("<IIQQQQIIQQ", content, table + 64 * n) for n in range(count)]
    for section in (s for s in sections if s[1] == 2):  # SHT_SYMTAB
        start, size, names = section[4], section[5], sections[section[6]][4]
        for symbol in range(start, start + size, 24):
            name = names + struct.unpack_from("<I", content, symbol)[0]
            if content[name:].startswith(_OWN_SYMBOL + b"\0"):
                struct.pack_into("<BBHQQ", content, symbol + 4, 0x10, 0, 0, 0, 0)  # global, undefined
    return bytes(content)


def _written(cache, name, content):
    digest = hashlib.sha256(content).hexdigest()[:12]
    path = Path(cache) / "standin" / f"{name}-{digest}" / "amneziawg.ko"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}")
        partial.write_bytes(content)
        partial.rename(path)
    return path
