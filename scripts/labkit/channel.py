"""The host's end of the command channel; the guest's end is `lab-agent`.

Every request may be repeated: a script runs once per id, and output is asked
for by offset. So lines that a reboot swallows do no harm.
"""

import base64
import itertools
import os
import select
import time
from dataclasses import dataclass

_PIECE = 2400
_numbers = itertools.count(1)


class Silent(Exception):
    """The guest gave no answer in time."""


class Rebooted(Exception):
    """The guest has restarted while a script of the boot before was running."""


class TimedOut(Exception):
    """A script took longer than its limit."""

    def __init__(self, limit, out, err):
        super().__init__(f"no end within {limit} s")
        self.out, self.err = out, err


@dataclass
class Hello:
    boot: str
    release: str
    up: bool


class Channel:
    def __init__(self, link):
        self._link = link
        self._buffer = b""
        self._prefix = f"{os.getpid()}x{time.monotonic_ns() % 1000000007}"
        self.boot = None

    def close(self):
        self._link.close()

    def hello(self, limit):
        """Who is there: the first that is up, else the last heard of within the limit.

        The guest speaks up by itself, so one question is enough."""
        self._send("hello")
        deadline, heard = time.monotonic() + limit, None
        while not (heard and heard.up) and (line := self._line(deadline)) is not None:
            words = line.split()
            if words[0] == "@hello" and len(words) == 4:
                self.boot = words[1]
                heard = Hello(words[1], words[2], words[3] == "up")
        return heard

    def run(self, script, limit, on_output=None):
        """(exit code, output, error output) of a shell script in the guest."""
        if self.boot is None and not self.hello(10):
            raise Silent("the guest's agent does not answer")
        boot, deadline = self.boot, time.monotonic() + limit
        job = f"{self._prefix}-{next(_numbers)}"
        encoded = base64.b64encode(script.encode()).decode()
        if len(encoded) > _PIECE:
            # Each piece is decoded by itself: four letters are three bytes.
            for number, start in enumerate(range(0, len(encoded), _PIECE)):
                piece = encoded[start:start + _PIECE]
                self._ask(f"part {job} {number} {piece}", f"@part {job} {number}", boot, deadline)
            encoded = ""
        self._ask(f"run {job} {encoded}", f"@run {job}", boot, deadline)
        out, err, code = b"", b"", None
        while code is None or more:
            if time.monotonic() > deadline:
                self._stop(job)
                raise TimedOut(limit, out, err)
            poll = f"poll {job} {len(out)} {len(err)}"
            words = self._ask(poll, f"@{poll} ", boot, deadline + 15).split()
            new_out, new_err = (base64.b64decode(word[1:]) for word in words[5:7])
            out, err = out + new_out, err + new_err
            more = bool(new_out or new_err)
            code = None if words[4] == "-" else int(words[4])
            if on_output and more:
                on_output(new_out, new_err)
        self._send(f"drop {job}")
        return code, out, err

    def _stop(self, job):
        stopper = base64.b64encode(
            f"pkill -KILL -f /dev/.lab/{job}.sh; true".encode()).decode()
        self._send(f"run {job}-stop {stopper}")

    def _ask(self, request, answer, boot, deadline):
        while time.monotonic() < deadline:
            self._send(request)
            again = min(deadline, time.monotonic() + 8)
            while (line := self._line(again)) is not None:
                if line.startswith(answer):
                    return line
                words = line.split()
                if words[0] == "@hello" and len(words) == 4 and words[1] != boot:
                    self.boot = words[1]
                    raise Rebooted()
        raise Silent("the guest's agent does not answer")

    def _send(self, line):
        try:
            self._link.sendall(line.encode() + b"\n")
        except OSError as error:
            raise Silent(f"the machine is gone: {error}") from None

    def _line(self, deadline):
        """The next whole line that starts with @, or None at the deadline."""
        while True:
            line, end, rest = self._buffer.partition(b"\n")
            if end:
                self._buffer = rest
                start = line.rfind(b"@")
                if start >= 0:
                    return line[start:].decode(errors="replace").rstrip("\r")
                continue
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._link], [], [], left)[0]:
                return None
            try:
                block = self._link.recv(1 << 16)
            except ConnectionResetError:
                block = b""
            if not block:
                raise Silent("the machine went off")
            self._buffer += block
