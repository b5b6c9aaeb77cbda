"""Machines that stay up after the command that started them, and how to reach them.

`lab up` leaves a process behind that holds the machine, its repository and its
registry; it takes requests on a socket, one JSON line each.
"""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import termios
import time
import tty
from pathlib import Path

from . import disk
from .bench import Bench
from .channel import Rebooted, Silent, TimedOut
from .machine import Hardware

LAB = Path(__file__).resolve().parents[1] / "lab"
_BOOT_LIMIT = 600


def directory(cache, name):
    return cache / "up" / name


def start(cache, name, options):
    """Starts a keeper and waits until its guest is up."""
    place = directory(cache, name)
    if pid_of(cache, name):
        raise Silent(f"a machine {name} is up already; see `lab list`")
    place.mkdir(parents=True, exist_ok=True)
    for stale in ("control.sock", "console.log"):
        (place / stale).unlink(missing_ok=True)
    (place / "options.json").write_text(json.dumps(options))
    with open(place / "keeper.log", "wb") as log:
        keeper = subprocess.Popen(
            [sys.executable, str(LAB), "keep", name], stdin=subprocess.DEVNULL, stdout=log,
            stderr=log, start_new_session=True)
    while keeper.poll() is None:
        if (place / "control.sock").exists():
            return
        time.sleep(0.2)
    raise Silent(f"the machine did not come up: {(place / 'keeper.log').read_text().strip()}")


def keep(cache, name):
    """The keeper itself; ends with its machine."""
    place = directory(cache, name)
    options = json.loads((place / "options.json").read_text())
    (place / "keeper.pid").write_text(str(os.getpid()))
    bench, machine = Bench(cache), None
    try:
        image = options.get("disk")
        if not image:
            base = options.get("from") or bench.disk_of(
                {**options, "disk": "2G", "cmdline": ""})
            image = disk.overlay(Path(base), place / "disk.qcow2")
        hardware = Hardware(options["memory"], options["processors"],
                            boot=bench.boot_of(options["distribution"]))
        machine = bench.machine(place, image, hardware, options["kernels"])
        machine.start()
        machine.wait_up(_BOOT_LIMIT)
        for source, target, mode in options.get("files", ()):
            machine.put(target, Path(source).read_bytes(), mode)
        _serve(machine, place / "control.sock")
    finally:
        if machine:
            machine.cut_power()
        bench.close()
        (place / "keeper.pid").unlink(missing_ok=True)
        (place / "control.sock").unlink(missing_ok=True)


def request(cache, name, **question):
    """Asks a kept machine; answers of a script in progress are printed as they come."""
    link = socket.socket(socket.AF_UNIX)
    try:
        link.connect(str(directory(cache, name) / "control.sock"))
    except OSError:
        raise Silent(f"no machine {name} is up; start one with `lab up {name}`") from None
    link.sendall(json.dumps(question).encode() + b"\n")
    for line in link.makefile("r"):
        answer = json.loads(line)
        sys.stdout.write(answer.get("out", ""))
        sys.stderr.write(answer.get("err", ""))
        sys.stdout.flush()
        if "error" in answer:
            raise Silent(answer["error"])
        if "code" in answer:
            return answer["code"]
    raise Silent(f"the machine {name} went off")


def console(cache, name):
    """Joins the terminal to the guest's console until Ctrl-]."""
    link = socket.socket(socket.AF_UNIX)
    link.connect(str(directory(cache, name) / "console.sock"))
    print("console of the guest; log in as root without a password, leave with Ctrl-]")
    before = termios.tcgetattr(0)
    try:
        tty.setraw(0)
        link.sendall(b"\n")
        while True:
            ready, _, _ = select.select([0, link], [], [])
            if link in ready:
                block = link.recv(4096)
                if not block:
                    return
                os.write(1, block)
            if 0 in ready:
                keys = os.read(0, 1024)
                if b"\x1d" in keys:
                    return
                link.sendall(keys)
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)


def stop(cache, name):
    pid = pid_of(cache, name)
    if pid:
        os.kill(pid, signal.SIGTERM)
        for _ in range(100):
            if not pid_of(cache, name):
                return
            time.sleep(0.1)


def pid_of(cache, name):
    """The keeper's process id, when it runs."""
    try:
        pid = int((directory(cache, name) / "keeper.pid").read_text())
        os.kill(pid, 0)
        return pid
    except (OSError, ValueError):
        return None


def names(cache):
    place = cache / "up"
    return sorted(entry.name for entry in place.iterdir()) if place.is_dir() else []


def _serve(machine, path):
    door = socket.socket(socket.AF_UNIX)
    door.bind(str(path))
    door.listen()
    door.settimeout(1)
    while machine.running:
        try:
            link, _ = door.accept()
        except TimeoutError:
            continue
        with link:
            link.setblocking(True)
            try:
                question = json.loads(link.makefile("r").readline() or "{}")
                _answer(machine, question, link)
            except (BrokenPipeError, ConnectionResetError, ValueError):
                continue


def _answer(machine, question, link):
    def tell(**answer):
        link.sendall(json.dumps(answer).encode() + b"\n")

    try:
        if "run" in question:
            result = machine.run(
                question["run"], question.get("limit", 600),
                lambda out, err: tell(out=out.decode(errors="replace"),
                                      err=err.decode(errors="replace")))
            tell(code=result.code)
        elif "put" in question:
            content = Path(question["put"]).read_bytes()
            machine.put(question["path"], content, question.get("mode", 0o644))
            tell(code=0)
        elif "cycle" in question:
            machine.cut_power()
            machine.start()
            machine.wait_up(_BOOT_LIMIT)
            tell(code=0)
        elif "wait" in question:
            boot = machine.channel.boot if question["wait"] == "reboot" else None
            machine.wait_up(question.get("limit", _BOOT_LIMIT), not_boot=boot)
            tell(code=0)
    except Rebooted:
        tell(error="the guest rebooted")
    except (Silent, TimedOut) as error:
        tell(error=str(error))
