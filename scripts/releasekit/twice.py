"""The same release again, from a clone elsewhere, with another cargo home, time zone, language and umask."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from . import Problem

# What the second one must not be told again.
_OWN = ("--twice", "--out")


def compare(top, commit, arguments, first, place):
    """Says that every file is the same, or which one is not. What was built stays in `place`."""
    source, cargo, second = place / "source", place / "cargo", place / "files"
    place.mkdir(parents=True, exist_ok=True)
    if not source.exists():
        _run(["git", "clone", "--quiet", "--no-checkout", top, source])
    _run(["git", "-C", source, "fetch", "--quiet", top, commit])
    _run(["git", "-C", source, "checkout", "--quiet", "--force", commit])
    if not cargo.exists():
        # The downloads, not what was unpacked from them: cargo checks and unpacks those again.
        home = Path(os.environ.get("CARGO_HOME") or Path.home() / ".cargo")
        for part in ("registry/cache", "registry/index"):
            shutil.copytree(home / part, cargo / part)
    shutil.rmtree(second, ignore_errors=True)
    environment = os.environ | {"CARGO_HOME": str(cargo), "CARGO_TARGET_DIR": str(place / "target"),
                                "TZ": "Asia/Kathmandu", "LANG": "C", "RUSTFLAGS": "-Cdebuginfo=2"}
    environment.setdefault("RUSTUP_HOME", str(Path.home() / ".rustup"))
    _run([sys.executable, source / "scripts/release", *told_again(arguments), "--out", second], env=environment, umask=0o077,
         stdout=subprocess.DEVNULL)
    names = sorted(path.name for path in first.iterdir())
    if names != sorted(path.name for path in second.iterdir()):
        raise Problem(f"{first} and {second} do not hold the same files")
    different = [name for name in names if not same(first / name, second / name)]
    if different:
        raise Problem(f"not the same in {first} and {second}: {', '.join(different)}")
    return f"made twice, in {top} and in {source}: {len(names)} files, all the same"


def told_again(arguments):
    """The options of the first run, without those that say where it puts things."""
    kept, words = [], iter(arguments)
    for word in words:
        if word in _OWN:
            next(words, None)
        elif word.partition("=")[0] not in _OWN:
            kept.append(word)
    return kept


def same(one, other):
    return one.read_bytes() == other.read_bytes() and one.stat().st_mode == other.stat().st_mode


def _run(command, **how):
    done = subprocess.run([str(word) for word in command], check=False, **how)
    if done.returncode != 0:
        raise Problem(f"{' '.join(str(word) for word in command)} ended with {done.returncode}")
