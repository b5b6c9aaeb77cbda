"""A bare disk over which files of any size go into a guest and out of it, without a network.

No file system: one file at a time lies at its start. The host sees what the guest has
written once the guest has closed the disk, and the other way round, since the last one
to close a disk leaves nothing of it in the guest's memory.
"""

import hashlib
from pathlib import Path

SERIAL = "lab-transfer"
# The file is sparse: it takes what is written to it.
_SIZE = 1 << 30
_BLOCK = 1 << 20

# Sets `disk` to the device, whatever letter it has.
_FIND = f"""\
disk=
for place in /sys/block/vd*; do
	[ "$(cat "$place/serial" 2>/dev/null)" = {SERIAL} ] && disk=/dev/${{place##*/}}
done
[ -n "$disk" ] || {{ echo 'this machine has no disk for transfers' >&2; exit 1; }}
"""


class Failed(Exception):
    """A file did not come through; the text says why."""


def create(path):
    """The disk, empty."""
    with open(path, "wb") as disk:
        disk.truncate(_SIZE)
    return path


def put(machine, disk, content, target, limit=120):
    """Writes `content` to the file `target` (quoted for a shell) of the guest."""
    if len(content) > _SIZE:
        raise Failed(f"{len(content)} bytes are more than a transfer holds")
    with open(disk, "r+b") as stream:
        stream.write(content)
    # Whole blocks are quick to copy; what is too much is cut off again.
    blocks = -(-len(content) // _BLOCK)
    script = (f"{_FIND}dd if=$disk of={target} bs={_BLOCK} count={blocks} 2>/dev/null && "
              f"truncate -s {len(content)} {target} && sha256sum < {target}")
    _expect(machine.run(script, limit), hashlib.sha256(content).hexdigest(), "into the guest")


def get(machine, disk, source, dest, limit=300):
    """Copies the file `source` (quoted for a shell) of the guest to `dest`."""
    script = (f"{_FIND}[ -f {source} ] || {{ echo 'no such file' >&2; exit 1; }}\n"
              f"dd if={source} of=$disk bs={_BLOCK} 2>/dev/null && "
              f"stat -L -c %s {source} && sha256sum < {source}")
    result = machine.run(script, limit)
    if result.code != 0:
        raise Failed(f"cannot get {source} out of the guest: {result.err.strip() or 'it did not fit'}")
    size, _, digest = result.out.partition("\n")
    partial = Path(dest).with_name(f"{Path(dest).name}.part")
    copied = hashlib.sha256()
    with open(disk, "rb") as stream, open(partial, "wb") as out:
        left = int(size)
        while left:
            block = stream.read(min(left, _BLOCK))
            copied.update(block)
            out.write(block)
            left -= len(block)
    if copied.hexdigest() != digest.split()[0]:
        partial.unlink()
        raise Failed(f"{source} changed on its way out of the guest")
    partial.rename(dest)


def _expect(result, digest, where):
    if result.code != 0:
        raise Failed(f"a file did not come {where}: {result.err.strip()}")
    if result.out.split()[:1] != [digest]:
        raise Failed(f"a file changed on its way {where}")
