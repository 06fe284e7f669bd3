"""Steps, epochs and seconds become steps in one place."""

from __future__ import annotations

from typing import Any

import pytest

from trainer.job.config import Job
from trainer.job.errors import DataError
from trainer.job.schedule import Schedule, plan_schedule

# id: settings, examples -> total, per epoch, eval steps, eval secs, save steps, save secs
CASES: dict[str, tuple[dict[str, Any], int, tuple[Any, ...]]] = {
    "default": ({}, 1024, (16, 4, 4, None, None, 300.0)),
    "a last smaller batch counts": ({}, 1025, (20, 5, 5, None, None, 300.0)),
    "one example": ({"epochs": 2}, 1, (2, 1, 1, None, None, 300.0)),
    "epochs": ({"epochs": 3, "batch_size": 10}, 95, (30, 10, 10, None, None, 300.0)),
    "steps": ({"train_steps": 7, "batch_size": 50}, 100, (7, 2, 2, None, None, 300.0)),
    "fewer steps than an epoch": ({"train_steps": 3}, 2560, (3, 10, 3, None, None, 300.0)),
    "evaluate by steps": ({"eval_every_steps": 5}, 1024, (16, 4, 5, None, None, 300.0)),
    "evaluate by time": ({"eval_every_secs": 9.5}, 1024, (16, 4, None, 9.5, None, 300.0)),
    "save by steps": ({"save_checkpoints_steps": 2}, 1024, (16, 4, 4, None, 2, None)),
    "save by time": ({"save_checkpoints_secs": 60.0}, 1024, (16, 4, 4, None, None, 60.0)),
}


@pytest.mark.parametrize(("values", "examples", "expected"), CASES.values(), ids=CASES)
def test_plan(values: dict[str, Any], examples: int, expected: tuple[Any, ...]) -> None:
    assert plan_schedule(Job.of(values), examples) == Schedule(*expected)


def test_nothing_to_train_on() -> None:
    with pytest.raises(DataError, match="no example"):
        plan_schedule(Job(), 0)
