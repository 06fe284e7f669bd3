"""What a rehearsal shows: what each process says, with its name before it, and where each of them stands.

On a terminal the standings are drawn anew below the log; in a log a line tells each change, and steps now and then.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO

OWN = "rehearsal"
LINE_SECS = 10.0
COLORS = (36, 32, 33, 35, 34, 96, 92, 93, 95, 94)  # of terminals; red is for what went wrong
HEADS = ("", "state", "step", "examples", "restarts")


@dataclass(frozen=True)
class Standing:
    """Where one process stands, by its own words on the board; None where it says nothing."""

    name: str
    state: str
    step: int | None = None
    examples: int | None = None
    restarts: int = 0

    def __str__(self) -> str:
        told = [
            self.state,
            None if self.step is None else f"step {self.step}",
            None if self.examples is None else f"{self.examples:,} examples",
            f"started again {_times(self.restarts)}" if self.restarts else None,
        ]
        return f"{self.name}: {', '.join(filter(None, told))}"

    @property
    def cells(self) -> tuple[str, ...]:
        """A row of the table."""
        numbers = ("" if each is None else f"{each:,}" for each in (self.step, self.examples))
        return (self.name, self.state, *numbers, str(self.restarts or ""))


class Screen:
    """Prints to stderr; `quiet` prints nothing but what is an error."""

    def __init__(
        self,
        names: Sequence[str],
        quiet: bool = False,
        stream: IO[str] | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._quiet, self._is_terminal = quiet, self._stream.isatty()
        self._width = max(map(len, [*names, OWN]))
        colored = self._is_terminal and not environ.get("NO_COLOR")
        self._colors = {name: COLORS[place % len(COLORS)] for place, name in enumerate(names)} if colored else {}
        self._drawn: list[str] = []
        self._told: dict[str, Standing] = {}
        self._told_at: dict[str, float] = {}

    def say(self, name: str, lines: Sequence[str], is_error: bool = False) -> None:
        """Lines of a process, or of the rehearsal itself."""
        if not lines or (self._quiet and not is_error):
            return
        self._write("".join(f"{self._prefix(name)}{line}\n" for line in lines))

    def own(self, line: str, is_error: bool = False) -> None:
        """A line of the rehearsal itself."""
        self.say(OWN, [line], is_error)

    def show(self, standings: Sequence[Standing]) -> None:
        """Where all stand now."""
        if self._quiet:
            return
        if self._is_terminal:
            self._draw(table([HEADS, *(each.cells for each in standings)]))
            return
        for each in standings:
            if self._is_due(each):
                self._told[each.name], self._told_at[each.name] = each, time.monotonic()
                self.own(str(each))

    def clear(self) -> None:
        """Take the standings off the terminal: what follows is the end."""
        self._draw([])

    def _is_due(self, new: Standing) -> bool:
        old = self._told.get(new.name)
        if old is None or (old.state, old.restarts) != (new.state, new.restarts):
            return True
        return old != new and time.monotonic() - self._told_at[new.name] >= LINE_SECS

    def _draw(self, rows: Sequence[str]) -> None:
        columns = shutil.get_terminal_size().columns
        lines = [row[: columns - 1] for row in rows]
        if lines != self._drawn:
            self._write("", lines)

    def _write(self, text: str, drawn: list[str] | None = None) -> None:
        """Text above the standings."""
        back = f"\x1b[{len(self._drawn)}A\r\x1b[J" if self._drawn else ""  # up, and clear to the end of the screen
        self._drawn = self._drawn if drawn is None else drawn
        self._stream.write(back + text + "".join(line + "\n" for line in self._drawn))
        self._stream.flush()

    def _prefix(self, name: str) -> str:
        prefix = f"{name:>{self._width}} | "
        return f"\x1b[{self._colors[name]}m{prefix}\x1b[0m" if name in self._colors else prefix


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows with their cells below each other, the first two to the left."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if place < 2 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
