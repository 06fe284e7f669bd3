"""Which checkpoints an evaluator takes; that it evaluates, exports and ends is in tests/test_task_cluster.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainer.job.errors import JobDirError
from trainer.job.paths import JobPaths
from trainer.job.schedule import Schedule
from trainer.training.evaluator import held_by_evaluator, is_due, saved_steps

BY_STEPS = Schedule(50, 10, 20, None, 10, None)
BY_SECS = Schedule(50, 10, None, 30.0, 10, None)


def test_whole_checkpoints_in_their_order(tmp_path: Path) -> None:
    assert saved_steps(str(tmp_path / "none")) == []
    names = ["model.ckpt-20.index", "model.ckpt-3.index", "model.ckpt-100.index", "checkpoint", "graph.pbtxt"]
    unfinished = ["model.ckpt-40.data-00000-of-00001", "model.ckpt-40.index.tmp12", "model.ckpt-x.index"]
    for name in (*names, *unfinished):
        (tmp_path / name).touch()
    assert saved_steps(str(tmp_path)) == [3, 20, 100]


@pytest.mark.parametrize(
    ("step", "by_steps", "by_secs"),
    [(0, False, False), (10, False, True), (20, True, True), (40, True, True), (50, True, True), (52, True, True)],
)
def test_what_is_due(step: int, by_steps: bool, by_secs: bool) -> None:
    assert (is_due(step, BY_STEPS), is_due(step, BY_SECS)) == (by_steps, by_secs)


def test_one_evaluator_at_a_time(tmp_path: Path) -> None:
    paths = JobPaths(str(tmp_path))
    Path(paths.cluster).mkdir()
    refused = pytest.raises(JobDirError, match="another evaluator is at work")
    with held_by_evaluator(paths), refused, held_by_evaluator(paths):
        pass
    with held_by_evaluator(paths):
        pass
