"""The logs of processes, read while they are written."""

from __future__ import annotations

import os
import re

TAIL_BYTES = 20_000


class Tail:
    """What is added to a file from now on. It stays open until its end is read, so that the file may be moved."""

    def __init__(self, path: str) -> None:
        self._file = open(path, "rb")  # noqa: SIM115 - see `lines`
        self.start = self._file.seek(0, os.SEEK_END)
        self._rest = b""

    def lines(self, whole: bool = True) -> list[str]:
        """The lines that are new and say something; `whole` ones only, or all that will ever be there."""
        if self._file.closed:
            return []
        *found, self._rest = (self._rest + self._file.read()).split(b"\n")
        if not whole:
            found.append(self._rest)
            self._file.close()
        return [line for line in (shown(each.decode(errors="replace")) for each in found) if line]


def last_lines(path: str, count: int = 10, start: int = 0) -> list[str]:
    """The last lines of a log, from a place in it on, that say something."""
    try:
        with open(path, "rb") as file:
            file.seek(max(start, os.path.getsize(path) - TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:  # moved aside
        return []
    return [line for line in map(shown, text.split("\n")) if line][-count:]


def shown(line: str) -> str:
    """What a terminal shows of a line at last: of a progress bar its last state."""
    return re.split(r"\r", line.rstrip("\r"))[-1].rstrip()
