"""The story of a run, as a person wants to read it: on the terminal and in a file."""

import sys
import time

_INDENT = "        | "


class Narrative:
    def __init__(self, path, live=True):
        """With `live` the story is told as it happens, else as a whole when it is over: stories of
        machines that run at the same time would be read by nobody."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._live = path, live
        self._file = open(path, "w")
        self._start = time.monotonic()
        self._at_line_start = True

    @property
    def seconds(self):
        return time.monotonic() - self._start

    def tell(self, text):
        """One event, with the time since the start."""
        self._end_line()
        minutes, seconds = divmod(int(self.seconds), 60)
        self._write(f"{minutes:3}:{seconds:02}  {text}\n")

    def show(self, output):
        """Output of the guest, as it comes."""
        for line in output.replace("\r\n", "\n").splitlines(keepends=True):
            self._write((_INDENT if self._at_line_start else "") + line)
            self._at_line_start = line.endswith("\n")

    def close(self):
        self._end_line()
        self._file.close()
        if not self._live:
            sys.stdout.write(self._path.read_text())
            sys.stdout.flush()

    def plain(self, text):
        self._end_line()
        self._write(text + "\n")

    def _end_line(self):
        if not self._at_line_start:
            self._write("\n")
            self._at_line_start = True

    def _write(self, text):
        if self._live:
            sys.stdout.write(text)
            sys.stdout.flush()
        self._file.write(text)
        self._file.flush()
