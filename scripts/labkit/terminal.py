"""A person at the guest's serial console: waits for what it says, types, and keeps a recording."""

import json
import socket
import time

# Serial lines know no size; a person says it with stty, as `Terminal.login` does.
_COLUMNS, _ROWS = 80, 40
_PAUSE = 0.2


class Unsaid(Exception):
    """The console did not say what was waited for, or showed what it must not."""


class Terminal:
    """The console, from now on. `recording` becomes an asciicast (version 2)."""

    def __init__(self, path, recording, show):
        self._link = socket.socket(socket.AF_UNIX)
        self._link.connect(str(path))
        self._link.settimeout(_PAUSE)
        self._show, self._began, self._text = show, time.monotonic(), ""
        self._all, self._hidden = "", []
        self._recording = open(recording, "w")
        self._recording.write(json.dumps({"version": 2, "width": _COLUMNS, "height": _ROWS}) + "\n")

    def login(self, limit):
        """As root, without a password, at a terminal of a known size."""
        self.type("")
        self.wait("login:", limit)
        self.type("root")
        self.wait("# ", limit)
        self.type(f"stty cols {_COLUMNS} rows {_ROWS}; export TERM=vt102")
        self.wait("# ", limit)

    def wait(self, text, limit):
        """Until the console has said it since what was waited for last."""
        deadline = time.monotonic() + limit
        while text not in self._text:
            if time.monotonic() > deadline:
                last = self._text.strip().splitlines()[-3:]
                raise Unsaid(f"the console did not say {text!r} within {limit:.0f} s; its last lines: {last}")
            self._take()
        self._text = self._text.split(text, 1)[1]

    def type(self, line):
        self._link.sendall(f"{line}\r".encode())

    def type_hidden(self, line):
        """What the console must not show, neither now nor later."""
        self._hidden.append(line)
        self.type(line)

    def check_hidden(self):
        for line in self._hidden:
            if line in self._all:
                raise Unsaid(f"the console shows {line!r}, which was typed unseen")

    def close(self):
        self._link.close()
        self._recording.close()

    def _take(self):
        try:
            text = self._link.recv(65536).decode(errors="replace")
        except TimeoutError:
            return
        if not text:
            raise Unsaid("the console was closed")
        self._recording.write(json.dumps([round(time.monotonic() - self._began, 3), "o", text]) + "\n")
        self._text += text
        self._all += text
        self._show(text)
