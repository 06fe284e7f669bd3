"""Who evaluates a job of several processes, and which examples each of them has seen."""

from __future__ import annotations

import types
from typing import Any

import pytest

from trainer.job.cluster import Cluster
from trainer.job.config import Job
from trainer.job.errors import UsageError
from trainer.job.paths import JobPaths
from trainer.training.crew import Crew, evaluated_by, examples_seen
from trainer.training.replicas import Parts
from trainer.training.strategies import ALONE, Spread

PAIR = Cluster("a:1", ("b:1",))
WATCHED = Cluster("a:1", ("b:1",), has_evaluator=True)
LONE = Cluster("a:1")
LONE_WATCHED = Cluster("a:1", has_evaluator=True)


@pytest.mark.parametrize(
    ("said", "cluster", "by", "tells"),
    [
        ("auto", None, "chief", False),
        ("auto", PAIR, "chief", True),
        ("auto", WATCHED, "evaluator", True),
        ("auto", LONE, "chief", False),
        ("auto", LONE_WATCHED, "evaluator", True),
        ("chief", WATCHED, "chief", True),
        ("chief", LONE_WATCHED, "chief", False),
        ("evaluator", PAIR, "evaluator", True),  # one that TF_CONFIG does not tell of
        ("evaluator", LONE, "evaluator", True),
        ("chief", None, "chief", False),
    ],
)
def test_who_evaluates(said: str, cluster: Cluster | None, by: str, tells: bool) -> None:
    job = Job.of({"evaluated_by": said})
    assert evaluated_by(job, cluster) == by
    crew = Crew.of(job, cluster, JobPaths("x"), ALONE)
    assert crew.evaluates is (by == "chief")
    assert (crew._board is not None) is tells, "a board is for those who have somebody to tell"


def test_an_evaluator_that_nobody_told_of_is_refused_where_there_is_no_cluster() -> None:
    with pytest.raises(UsageError, match="--evaluated-by=evaluator: TF_CONFIG names no cluster"):
        evaluated_by(Job.of({"evaluated_by": "evaluator"}), None)


def plan_of(spread: Spread, rows: int | None, start_step: int = 0) -> Any:
    """What `examples_seen` looks at."""
    parts = Parts(rows, 8, spread) if rows else None
    inputs = types.SimpleNamespace(parts=lambda asked: parts)
    return types.SimpleNamespace(spread=spread, inputs=inputs, start=types.SimpleNamespace(step=start_step))


@pytest.mark.parametrize("rows", [27, 24, 25])
@pytest.mark.parametrize("start_step", [0, 3])
def test_in_step_all_examples_are_seen_once_an_epoch(rows: int, start_step: int) -> None:
    steps_per_epoch = -(-rows // 8)
    seen = []
    for position in range(2):
        spread = Spread("multi_worker_mirrored", "", 1, 2, position, 2)
        told = examples_seen(plan_of(spread, rows, start_step), 3 * steps_per_epoch)
        assert told["share"] == [position, 2]
        seen.append(told["examples"])
    assert sum(seen) == 3 * rows


@pytest.mark.parametrize("rows", [27, 24, 25])
def test_by_itself_each_sees_its_own_share_once_an_epoch(rows: int) -> None:
    for position in range(3):
        spread = Spread("parameter_server", "", trainers=3, position=position)
        own = len(range(position, rows, 3))
        told = examples_seen(plan_of(spread, rows), 2 * -(-own // 8))
        assert told == {"share": [position, 3], "examples": 2 * own}


def test_data_without_an_end_have_no_count() -> None:
    assert examples_seen(plan_of(ALONE, None), 5) == {"share": [0, 1]}
