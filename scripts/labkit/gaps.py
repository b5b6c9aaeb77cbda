"""When a client of the tunnel had no answer, read from what it has written down."""

import json
from dataclasses import dataclass

# Five answers a second come; a machine under emulation that has much to do may be late by more than one of them.
LEAST = 2.0


@dataclass(frozen=True)
class Gap:
    """Between the last answer before a silence and the first one after it, in seconds of one clock."""

    last: float
    first: float

    @property
    def seconds(self):
        return self.first - self.last


@dataclass(frozen=True)
class Part:
    """Something that was done, and for how long."""

    what: str
    began: float
    ended: float


def stamped(text):
    """(uptime, line) of lines that begin with the uptime at which they came; a line that was cut off is none."""
    for line in text.splitlines():
        stamp, _, rest = line.partition(" ")
        try:
            yield float(stamp), rest
        except ValueError:
            continue


def answers(pings):
    """Uptimes at which ping had an answer."""
    return [at for at, line in stamped(pings) if " bytes from " in line and "seq=" in line]


def silences(times, least=LEAST):
    """The gaps between moments of answers, those of `least` seconds and more."""
    times = sorted(times)
    return [Gap(last, first) for last, first in zip(times, times[1:]) if first - last >= least]


def first_after(times, moment):
    """The first of the moments after another one, or None."""
    return min((at for at in times if at > moment), default=None)


def steps(output):
    """The steps in stamped output: of awg-install with `--output json`, or of a script that says `step: NAME`."""
    began, done = {}, []
    for at, line in stamped(output):
        if line.startswith("step: "):
            done += [Part(name, start, at) for name, start in began.items()]
            began = {} if line == "step: end" else {line.removeprefix("step: "): at}
        elif line.startswith("{"):
            try:
                event = json.loads(line)
            except json.JSONDecodeError:
                continue
            if event.get("type") == "step-done":
                done.append(Part(event["step"], at - event["ms"] / 1000, at))
    return done


def longest(parts, gap, count=8):
    """The longest parts that were under way in a gap, in the order in which they were begun."""
    within = [part for part in parts if part.began < gap.first and part.ended > gap.last]
    return sorted(sorted(within, key=lambda part: part.began - part.ended)[:count], key=lambda part: part.began)
