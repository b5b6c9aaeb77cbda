"""The parts of scripts/bench. Each has a `rows(bench)` that measures and returns rows of the table."""

from dataclasses import dataclass


class Problem(Exception):
    """Why there is nothing to measure, in words."""


@dataclass(frozen=True)
class Row:
    """Ours beside a peer. The ratio says how many times better ours is; `goal` is the least that is wanted of it,
    and a row without one is there for scale."""

    what: str
    ours: str
    peer: str
    ratio: float
    goal: float | None = None

    @property
    def verdict(self):
        if self.goal is None:
            return "for scale"
        return "met" if self.ratio >= self.goal else "missed"


def table(rows):
    """The rows as Markdown."""
    lines = ["| what | ours | peer | ratio | goal | |", "|---|---|---|---|---|---|"]
    for row in rows:
        goal = "" if row.goal is None else f"{row.goal:g}"
        lines.append(f"| {row.what} | {row.ours} | {row.peer} | {row.ratio:,.2f} | {goal} | {row.verdict} |")
    return "\n".join(lines)


def seconds(value):
    return f"{value * 1000:.3g} ms" if value < 1 else f"{value:.2f} s"


def mebibytes(value):
    return f"{value / (1 << 20):.1f} MiB"
