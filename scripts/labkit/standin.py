"""Stand-ins for AmneziaWG, made from WireGuard's own programs and module.

`wireguard` and `amneziawg` have nine letters each, so replacing one by the
other keeps every offset of a binary. The result goes by AmneziaWG's names
(module, link kind, netlink family, socket directory) and really moves packets;
it does not speak AmneziaWG's obfuscated protocol and knows none of its
parameters (Jc, S1, H1, ...).
"""

import hashlib
import os
import re
from pathlib import Path

_SIGNATURE_MARK = b"~Module signature appended~\n"
_SIGNATURE_INFO = 12
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


def _written(cache, name, content):
    digest = hashlib.sha256(content).hexdigest()[:12]
    path = Path(cache) / "standin" / f"{name}-{digest}" / "amneziawg.ko"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}")
        partial.write_bytes(content)
        partial.rename(path)
    return path
