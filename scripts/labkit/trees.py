"""Every file of a guest: kind, mode, owner, link target, content. Times do not count."""

LEFT_OUT = (
    "/proc", "/sys", "/dev", "/run", "/tmp", "/var/tmp", "/var/log", "/var/cache/apk",
    "/lost+found", "/root/.ash_history", "/etc/mtab", "/etc/resolv.conf",
    "/usr/lib/rc/cache",
)

_SCRIPT = """\
cd /
list() {{ find / -xdev \\( {left_out} \\) -prune -o "$@" -print0; }}
list | xargs -0 stat -c '%A %u:%g %N'
echo ---
list -type f | xargs -0 sha256sum
"""

# Two images of the same files are never the same to the byte: they hold the time of their making.
_IMAGES = """\
set -e -o pipefail
for image in {boot}/initramfs-*; do
    place=$(mktemp -d /tmp/initramfs.XXXXXX)
    cd "$place"
    {{ zcat "$image" 2> /dev/null || zstdcat "$image"; }} | cpio -idm --quiet
    held=$({{ find . -print0 | sort -z | xargs -0 stat -c '%A %N'
             find . -type f -print0 | sort -z | xargs -0 sha256sum; }} | sha256sum)
    cd /
    rm -rf "$place"
    echo "$image ${{held%% *}}"
done
"""


def record(machine):
    """path -> what it is, as one comparable text."""
    left_out = " -o ".join(f"-path '{path}'" for path in LEFT_OUT)
    result = machine.run(_SCRIPT.format(left_out=left_out), 300)
    if result.code != 0:
        raise RuntimeError(f"cannot list the guest's files: {result.err.strip()[:300]}")
    kinds, _, sums = result.out.partition("---\n")
    tree = {}
    for line in kinds.splitlines():
        mode, owner, name = line.split(" ", 2)
        path, _, target = name.partition(" -> ")
        tree[_bare(path)] = f"{mode} {owner}" + (f" -> {_bare(target)}" if target else "")
    for line in sums.splitlines():
        digest, path = line.split("  ", 1)
        tree[path] = f"{tree.get(path, '')} {digest[:16]}"
    return tree


def images(machine, boot="/boot"):
    """The path of each initramfs -> a digest of the files it holds."""
    result = machine.run(_IMAGES.format(boot=boot), 300)
    if result.code != 0:
        raise RuntimeError(f"cannot look into an initramfs: {result.err.strip()[:300]}")
    return dict(line.split(" ") for line in result.out.splitlines())


def differences(before, after, left_out=()):
    """One line for each path that is new, gone or different."""
    changes = []
    for path in sorted({*before, *after}):
        if any(path == place or path.startswith(place.rstrip("/") + "/") for place in left_out):
            continue
        old, new = before.get(path), after.get(path)
        if old is None:
            changes.append(f"new      {path} ({new})")
        elif new is None:
            changes.append(f"gone     {path}")
        elif old != new:
            changes.append(f"changed  {path}: {old} -> {new}")
    return changes


def _bare(name):
    quoted = len(name) > 1 and name[0] == name[-1] and name[0] in "'\""
    return name[1:-1] if quoted else name
