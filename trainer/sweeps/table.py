"""What a sweep shows while it runs: on a terminal a table that is drawn anew, in a log a line for each change."""

from __future__ import annotations

import logging
import math
import shutil
import sys
from collections.abc import Sequence
from typing import IO

from trainer.cloud.study_parameters import Value
from trainer.sweeps.ledger import Record
from trainer.sweeps.plan import SweepPlan

LOG = logging.getLogger("trainer")
LEAST_ROWS = 5


class Table:
    """Shows the records; `quiet` shows nothing."""

    def __init__(self, plan: SweepPlan, quiet: bool = False, stream: IO[str] | None = None) -> None:
        self._plan, self._quiet = plan, quiet
        self._stream = sys.stderr if stream is None else stream
        self._drawn: list[str] = []
        self._known: dict[int, Record] = {}

    def show(self, records: Sequence[Record]) -> None:
        """Show what has changed."""
        if self._quiet:
            return
        if self._stream.isatty():
            self._draw(records)
        for record in records:
            for line in [] if self._stream.isatty() else self._changes(record):
                LOG.info("trial %d: %s", record.number, line)
            self._known[record.number] = record

    @property
    def is_whole(self) -> bool:
        """Whether all rows stand on the terminal that the end's words go to."""
        return len(self._drawn) == len(self._known) + 1 and sys.stdout.isatty()

    def _draw(self, records: Sequence[Record]) -> None:
        columns, height = shutil.get_terminal_size()
        lines = [line[: columns - 1] for line in rows(self._plan, records)]
        room = max(LEAST_ROWS, height - 3)
        if len(lines) > room:
            lines = [lines[0], f"({len(lines) - room} earlier ones)", *lines[1 - room :]]
        if lines != self._drawn:
            back = f"\x1b[{len(self._drawn)}A" if self._drawn else ""  # up, and clear to the end of the screen
            self._stream.write(f"{back}\r\x1b[J" + "".join(line + "\n" for line in lines))
            self._stream.flush()
            self._drawn = lines

    def _changes(self, record: Record) -> list[str]:
        old, metric = self._known.get(record.number), self._plan.study.metric
        lines = []
        if old is None and record.state == "running":
            lines.append(f"{'goes on' if record.measurements else 'starts'}: {in_words(record.values)}")
        known = {each.step for each in old.measurements} if old else set()
        if old is not None:
            lines += [
                f"step {each.step}: {metric} {shown(each.value)} after {each.secs:.0f} s"
                for each in record.measurements
                if each.step not in known
            ]
        if record.state != "running" and (old is None or old.state == "running"):
            lines.append(ended(record, metric))
        return lines


def ended(record: Record, metric: str) -> str:
    """How a trial has ended, in words."""
    if record.state == "completed":
        return f"completed: {metric} {shown(record.value)} after {record.secs:.0f} s"
    return f"{record.state}: {record.why}"


def rows(plan: SweepPlan, records: Sequence[Record]) -> list[str]:
    """The table: a line of names, and a line for each trial."""
    best = best_of(records, plan.study.sign)
    heads = ("trial", "state", "step", plan.study.metric, "secs", "parameters")
    cells = [heads]
    for each in records:
        last = each.measurements[-1] if each.measurements else None
        value = each.value if each.value is not None else last.value if last else None
        mark = "*" if best and each.number == best.number else ""
        step = str(last.step) if last else ""
        known = (f"{mark}{each.number}", each.state, step, shown(value), f"{each.secs:.0f}", in_words(each.values))
        cells.append(known)
    widths = [max(len(row[place]) for row in cells) for place in range(len(heads) - 1)]
    return [
        f"{row[0]:>{widths[0]}}  {row[1]:{widths[1]}}  {row[2]:>{widths[2]}}  {row[3]:>{widths[3]}}  "
        f"{row[4]:>{widths[4]}}  {row[5]}"
        for row in cells
    ]


def best_of(records: Sequence[Record], sign: int) -> Record | None:
    """The best completed trial, the earliest of equal ones; None where none has a finite value."""
    found = [each for each in records if each.state == "completed" and math.isfinite(each.value or 0.0)]
    return max(found, key=lambda each: sign * (each.value or 0.0), default=None)


def in_words(values: dict[str, Value]) -> str:
    """A trial's values, in short."""
    return " ".join(f"{name}={value if isinstance(value, str) else f'{value:.4g}'}" for name, value in values.items())


def shown(value: float | None) -> str:
    """A metric's value, in short."""
    return "" if value is None else f"{value:.5g}"
