"""What is done to processes on purpose: a kill or a pause, at a step that the user named or a moment by a seed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from trainer.job.errors import UsageError
from trainer.job.rehearsing import KILL, PAUSE

CHAOS_START_SECS = 20.0  # a process imports, builds and connects within about that time
CHAOS_DELAY_SECS = 4.0


@dataclass(frozen=True)
class Moment:
    """When: `delay_secs` after the job has reached a step, or a part of all its steps, or has started.

    `step` and `part` are None where they do not decide.
    """

    step: int | None = None
    part: float | None = None
    delay_secs: float = 0.0

    def has_come(self, step: int | None, total_steps: int | None) -> bool:
        """Whether the delay begins.

        Args:
          step: the newest step that a process has told; None before the first.
          total_steps: the job's last one, None while nobody has told it.
        """
        if self.step is not None:
            return step is not None and step >= self.step
        if self.part is not None:
            return step is not None and total_steps is not None and step >= self.part * total_steps
        return True

    def __str__(self) -> str:
        when = f"{self.delay_secs:.1f} s after" if self.delay_secs else "at"
        if self.step is not None:
            return f"{when} step {self.step}"
        return f"{when} {'the start' if self.part is None else f'{self.part:.0%} of the steps'}"


@dataclass(frozen=True)
class Fault:
    """A kill, or with `pause_secs` a pause, of one process. `is_chaos` is one that nobody asked for by name."""

    name: str
    moment: Moment
    pause_secs: float | None = None
    is_chaos: bool = False

    @property
    def kind(self) -> Literal["kill", "pause"]:
        """What is done."""
        return "kill" if self.pause_secs is None else "pause"

    def __str__(self) -> str:
        long = "" if self.pause_secs is None else f" for {self.pause_secs:g} s"
        return f"{self.kind} {self.name}{long} {self.moment}"


def read_faults(kills: Sequence[str], pauses: Sequence[str], chaos: int | None, names: Sequence[str]) -> list[Fault]:
    """The faults that flags ask for; `names` are those of all processes. Raises UsageError for any other."""
    found = []
    for each in kills:
        role, index, step = KILL.fullmatch(each).groups()  # type: ignore[union-attr]  # the setting has its check
        found.append(Fault(_name("--kill", each, role, index, names), Moment(step=int(step))))
    for each in pauses:
        role, index, step, secs = PAUSE.fullmatch(each).groups()  # type: ignore[union-attr]
        found.append(Fault(_name("--pause", each, role, index, names), Moment(step=int(step)), float(secs)))
    return [*found, *([] if chaos is None else [draw_fault(chaos, names)])]


def draw_fault(seed: int, names: Sequence[str]) -> Fault:
    """A kill of some process at some moment: the start, the training and the end all get their share."""
    source = random.Random(seed)
    name = source.choice(list(names))
    moments = [
        Moment(delay_secs=source.uniform(0, CHAOS_START_SECS)),
        Moment(part=source.uniform(0, 1), delay_secs=source.uniform(0, CHAOS_DELAY_SECS) / 4),
        Moment(part=source.uniform(0, 1), delay_secs=source.uniform(0, CHAOS_DELAY_SECS) / 4),
        Moment(part=1.0, delay_secs=source.uniform(0, CHAOS_DELAY_SECS)),
    ]
    return Fault(name, source.choice(moments), is_chaos=True)


class Timetable:
    """Which faults are due: each until it is done, so that one can wait for a process that is not running yet."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self._waiting = list(faults)
        self._came_at: dict[Moment, float] = {}

    def due(self, now: float, step: int | None, total_steps: int | None) -> list[Fault]:
        """The faults to be done now, by a clock that only rises; the steps are those of `Moment.has_come`."""
        for fault in self._waiting:
            if fault.moment not in self._came_at and fault.moment.has_come(step, total_steps):
                self._came_at[fault.moment] = now
        return [fault for fault in self._waiting if self._is_due(fault.moment, now)]

    def done(self, fault: Fault) -> None:
        """Take a fault off."""
        self._waiting.remove(fault)

    @property
    def missed(self) -> list[Fault]:
        """Those that have not happened."""
        return list(self._waiting)

    def _is_due(self, moment: Moment, now: float) -> bool:
        return moment in self._came_at and now - self._came_at[moment] >= moment.delay_secs


def _name(flag: str, given: str, role: str, index: str, names: Sequence[str]) -> str:
    name = role if role in ("chief", "evaluator") and int(index or 0) == 0 else f"{role} {int(index or 0)}"
    if name not in names:
        there = ", ".join(each.replace(" ", "") for each in names)
        raise UsageError(f"{flag}={given}: this cluster has no {name}; expected one of {there}.")
    return name
