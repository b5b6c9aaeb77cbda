"""Running commands, and what they cost."""

import os
import shutil
import statistics
import subprocess
import tempfile
import time

from . import Problem

# What a command may take before something is wrong with it.
_LIMIT = 900


def run(*command, code=0, cwd=None, env=None):
    """Runs to its end; its output. Another exit code than the one that is wanted ends the measurement."""
    words = [str(word) for word in command]
    # A file, not a pipe: nobody has to read while the time is taken.
    with tempfile.TemporaryFile() as out:
        done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, check=False, cwd=cwd,
                              env=env, timeout=_LIMIT)
        out.seek(0)
        said = out.read().decode(errors="replace")
    if done.returncode != code:
        raise Problem(f"{' '.join(words)} ended with {done.returncode}, not {code}:\n{said[-2000:]}")
    return said


def interleaved(times, *runs):
    """Each of the runs in turn, `times` over; the median of the seconds of each. What else the machine does meets
    all of them alike."""
    taken = [[] for _ in runs]
    for _ in range(times):
        for one, seconds in zip(runs, taken):
            begin = time.perf_counter()
            one()
            seconds.append(time.perf_counter() - begin)
    return [statistics.median(seconds) for seconds in taken]


def peak(*command, code=0, env=None):
    """Largest resident size in bytes, of the command or one that it has started. By time(1): a process that Python
    starts is charged with Python's own size."""
    program = shutil.which("time")
    if not program:
        raise Problem("time(1) is not there: install the package time")
    with tempfile.NamedTemporaryFile("r") as figures:
        run(program, "--quiet", "-f", "%M", "-o", figures.name, *command, code=code, env=env)
        return int(figures.read().split()[-1]) << 10


def described(commit):
    """The machine, for the head of the table."""
    with open("/proc/cpuinfo") as file:
        model = next((line.partition(":")[2].strip() for line in file if line.startswith("model name")), "unknown")
    with open("/proc/meminfo") as file:
        memory = int(file.readline().split()[1]) >> 10
    system, load = os.uname(), os.getloadavg()[0]
    return (f"{model}, {os.cpu_count()} cores, {memory} MiB, {system.sysname} {system.release} {system.machine}; "
            f"load {load:.1f} at the start; {time.strftime('%Y-%m-%d %H:%M', time.gmtime())} UTC; commit {commit}")
