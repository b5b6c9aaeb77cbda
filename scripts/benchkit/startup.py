"""Start, processor time, memory and size of the program.

The peer is ansible-core, the lab's: what a host needs for the same job.
"""

from pathlib import Path

from labkit import ansible

from . import Row, measure, mebibytes, prepared, seconds

_LARGEST = 6 << 20
# Seconds of processor time, for an installation with its restart.
_MOST_CPU = 0.150


def rows(bench):
    programs = ansible.programs(bench.cache)
    start = lambda: measure.run(bench.binary, "--version")
    peer = lambda: measure.run(programs / "ansible-playbook", "--version")
    (ours,), (theirs,) = measure.interleaved(4 * bench.times, start), measure.interleaved(bench.times, peer)
    ours, floor = measure.interleaved(4 * bench.times, start, lambda: measure.run("true"))
    size, installed = bench.binary.stat().st_size, _size(programs.parent)
    with bench.scratch() as place:
        host = prepared.Prepared(place / "host", bench.binary)
        host.install()
        used = host.cpu()
        memory = host.peak("--unattended", "--config", "/root/awg.yaml")
    other = measure.peak(programs / "ansible-playbook", "--version")
    return [
        Row("start (--version)", seconds(ours), f"ansible-playbook {seconds(theirs)}", theirs / ours),
        Row("start (--version)", seconds(ours), f"true(1) {seconds(floor)}", floor / ours),
        Row("own processor time of an installation", seconds(used), f"limit {seconds(_MOST_CPU)}", _MOST_CPU / used, 1.0),
        Row("peak memory, run without changes", mebibytes(memory), f"ansible-playbook --version {mebibytes(other)}",
            other / memory),
        Row("size of the program", f"{size:,} B", f"limit {_LARGEST:,} B", _LARGEST / size, 1.0),
        Row("size of the program", mebibytes(size), f"ansible-core and what it needs, without Python {mebibytes(installed)}",
            installed / size),
    ]


def _size(place):
    return sum(path.lstat().st_size for path in Path(place).rglob("*") if path.is_file() and not path.is_symlink())
