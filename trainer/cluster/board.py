"""The board, JOB_DIR/cluster/*.json, by which the processes of a job know of each other: read, never written here."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Run:
    """What the chief says of the job, in run.json.

    Attributes:
      attempt: tells the runs of one job directory apart: a chief that starts again makes another.
      state: running, trained (the last step is saved), finished (all is evaluated and exported), stopped or failed.
      total_steps: the last step; `early` says that the job stops before it, `why` says for what reason.
      evaluated_by: chief or evaluator.
      start_step: the step that the chief's process began at, None where it does not tell.
      train_examples: how many an epoch has, None where it does not tell.
    """

    attempt: str = ""
    state: str = ""
    step: int = 0
    total_steps: int | None = None
    strategy: str = ""
    evaluated_by: str = ""
    early: bool = False
    why: str = ""
    start_step: int | None = None
    train_examples: int | None = None


@dataclass(frozen=True)
class Entry:
    """What a process says of itself; what it does not say is None, or empty.

    Attributes:
      attempt: of the run that it takes part in.
      step: the global step, of an evaluator the one it evaluated last.
      examples: those that it trained on since its start.
      share: its position among those that train, and how many they are.
      is_done: whether it has done its part, and only has to end.
    """

    attempt: str = ""
    beat: int = 0
    step: int | None = None
    doing: str = ""
    examples: int | None = None
    share: tuple[int, int] | None = None
    is_done: bool = False


class Page:
    """One file of the board; what it held when its process was started is of an earlier one and does not count."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._stale = self._now = _bytes(path)

    def turn(self) -> None:
        """Its process is started now."""
        self._stale = self._now = _bytes(self.path)

    def look(self) -> bool:
        """Read it; whether something new stands there."""
        before, self._now = self._now, _bytes(self.path)
        return self._now != before and self._now != self._stale

    @property
    def content(self) -> dict[str, Any] | None:
        """What its process has written; None where it has not, or where it is no JSON object."""
        if self._now == self._stale:
            return None
        try:
            found = json.loads(self._now)
        except ValueError:
            return None
        return found if isinstance(found, dict) else None

    @property
    def run(self) -> Run | None:
        """The content of run.json."""
        found = self.content
        if found is None:
            return None
        return Run(
            attempt=_text(found, "attempt"),
            state=_text(found, "state"),
            step=_whole(found, "step") or 0,
            total_steps=_whole(found, "total_steps"),
            strategy=_text(found, "strategy"),
            evaluated_by=_text(found, "evaluated_by"),
            early=found.get("early") is True,
            why=_text(found, "why"),
            start_step=_whole(found, "start_step"),
            train_examples=_whole(found, "train_examples"),
        )

    @property
    def entry(self) -> Entry | None:
        """The content of a process's own file."""
        found = self.content
        if found is None:
            return None
        return Entry(
            attempt=_text(found, "attempt"),
            beat=_whole(found, "beat") or 0,
            step=_whole(found, "step"),
            doing=_text(found, "doing"),
            examples=_whole(found, "examples"),
            share=_share(found.get("share")),
            is_done=found.get("done") is True,
        )


def _bytes(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:  # not there yet, or just being moved aside
        return b""


def _whole(found: dict[str, Any], key: str) -> int | None:
    value = found.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _text(found: dict[str, Any], key: str) -> str:
    value = found.get(key)
    return value if isinstance(value, str) else ""


def _share(value: Any) -> tuple[int, int] | None:
    is_pair = isinstance(value, list) and len(value) == 2 and all(isinstance(each, int) for each in value)
    return (value[0], value[1]) if is_pair else None
