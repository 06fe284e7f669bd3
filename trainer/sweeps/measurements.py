"""What a trial has measured, as its file of reports has it and as it is judged."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

FLOAT32_MAX = 3.4028234663852886e38  # how the trainer reports what is no number
KEYS = {"global_step", "trial", "timestamp", "checkpoint_path"}  # of every report, beside its metric


@dataclass(frozen=True)
class Measurement:
    """The metric at a global step, `secs` after the trial's start (of all its runs, where it was resumed)."""

    step: int
    value: float
    secs: float


@dataclass(frozen=True)
class Report:
    """One line of the file; `at_secs` is a time of the clock, since 1970."""

    metric: str
    step: int
    value: float
    at_secs: float


def read_reports(path: str) -> list[Report]:
    """The reports in a file as cloudml-hypertune writes it: JSON lines with numbers as text, the file anew each time.

    Who reads while it is written may see a part: a line without its end is none, and a file that changed meanwhile is
    left for the next time. [] where there is no file yet.
    """
    try:
        before = os.stat(path)
        with open(path, "rb") as file:
            data = file.read()
        after = os.stat(path)
    except FileNotFoundError:
        return []
    if (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size) or len(data) != after.st_size:
        return []
    return [report for line in data.split(b"\n")[:-1] for report in _reports(line)]


def _reports(line: bytes) -> Iterator[Report]:
    try:
        found: Any = json.loads(line)
        for name in found.keys() - KEYS:
            yield Report(name, int(found["global_step"]), float(found[name]), float(found["timestamp"]))
    except (ValueError, KeyError, TypeError, AttributeError):
        return  # no report: a trial that makes none fails, and its log says what it did


def merged(
    known: Sequence[Measurement], reports: Sequence[Report], started_at: float, earlier_secs: float, sign: int
) -> tuple[Measurement, ...]:
    """All measurements by rising step: the file forgets after a restart, and keeps the last hundred lines at most.

    A step measured again has its new value, but the time of the first.

    Args:
      reports: those of the study's metric.
      started_at: when this run of the trial began, a time of the clock since 1970.
      earlier_secs: what earlier runs took.
      sign: 1 where more is better, else -1.
    """
    steps = {each.step: each for each in known}
    for each in reports:
        secs = earlier_secs + max(0.0, each.at_secs - started_at)
        first = steps.get(each.step)
        steps[each.step] = Measurement(each.step, judged(each.value, sign), first.secs if first else secs)
    return tuple(steps[step] for step in sorted(steps))


def judged(value: float, sign: int) -> float:
    """The value; the worst there is where it is no finite number (or the largest float32, which stands for that)."""
    return value if math.isfinite(value) and abs(value) < FLOAT32_MAX else -sign * math.inf


def final_value(measurements: Sequence[Measurement], selection: Literal["last", "best"], sign: int) -> float:
    """The one value that stands for a trial with at least one measurement."""
    if selection == "last":
        return measurements[-1].value
    return max((each.value for each in measurements), key=lambda value: sign * value)
