"""Which strategy is chosen and why, and that each one learns what `fit` learns from the global batch."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import types
from collections.abc import Sequence
from typing import Any, get_args, get_type_hints

import pytest
import tensorflow as tf

from tests import parity
from trainer.job.cluster import Cluster
from trainer.job.config import Distribution, Job
from trainer.job.errors import UsageError
from trainer.training.strategies import (
    ALONE,
    STRATEGIES,
    Spread,
    choose,
    describe,
    in_cluster,
    per_replica_batch_size,
)

PAIR = Cluster("a:1", ("b:1",))
SECOND = Cluster("a:1", ("b:1", "c:1"), role="worker", index=1)
SERVED = Cluster("a:1", ("b:1", "c:1"), ("d:1",), role="worker", index=0)
LONE = Cluster("a:1", has_evaluator=True)

# strategy, cluster, GPUs, logical CPUs -> name, why, replicas, workers, position, trainers
CHOICES: dict[str, tuple[tuple[str, Cluster | None, int, int], tuple[str, str, int, int, int, int]]] = {
    "auto, a CPU": (("auto", None, 0, 1), ("none", "there is one CPU device", 1, 1, 0, 1)),
    "auto, a GPU": (("auto", None, 1, 1), ("none", "there is one GPU", 1, 1, 0, 1)),
    "auto, a GPU and two CPUs": (("auto", None, 1, 2), ("none", "there is one GPU", 1, 1, 0, 1)),
    "auto, two CPUs": (("auto", None, 0, 2), ("mirrored", "there are 2 logical CPUs", 2, 1, 0, 1)),
    "auto, four GPUs": (("auto", None, 4, 1), ("mirrored", "there are 4 GPUs", 4, 1, 0, 1)),
    "auto, a lone chief": (("auto", LONE, 0, 1), ("none", "there is one CPU device", 1, 1, 0, 1)),
    "auto, a lone chief with GPUs": (("auto", LONE, 2, 1), ("mirrored", "there are 2 GPUs", 2, 1, 0, 1)),
    "auto, the chief of two": (
        ("auto", PAIR, 0, 1),
        ("multi_worker_mirrored", "2 machines train, without parameter servers", 1, 2, 0, 2),
    ),
    "auto, the last of three": (
        ("auto", SECOND, 0, 1),
        ("multi_worker_mirrored", "3 machines train, without parameter servers", 1, 3, 2, 3),
    ),
    "auto, a cluster of GPUs": (
        ("auto", SECOND, 2, 1),
        ("multi_worker_mirrored", "3 machines train, without parameter servers", 2, 3, 2, 3),
    ),
    "a cluster of logical CPUs has one of each machine": (
        ("multi_worker_mirrored", PAIR, 0, 4),
        ("multi_worker_mirrored", "as asked for", 1, 2, 0, 2),
    ),
    "auto, parameter servers": (
        ("auto", SERVED, 2, 1),
        ("parameter_server", "the cluster has parameter servers", 1, 1, 1, 3),
    ),
    "none, in spite of two GPUs": (("none", None, 2, 1), ("none", "as asked for", 1, 1, 0, 1)),
    "one_device of two": (("one_device", None, 2, 1), ("one_device", "as asked for", 1, 1, 0, 1)),
    "mirrored, one CPU": (("mirrored", None, 0, 1), ("mirrored", "as asked for", 1, 1, 0, 1)),
    "mirrored, GPUs beside CPUs": (("mirrored", None, 3, 2), ("mirrored", "as asked for", 3, 1, 0, 1)),
    "central_storage": (("central_storage", None, 0, 3), ("central_storage", "as asked for", 3, 1, 0, 1)),
    "mirrored, a lone chief": (("mirrored", LONE, 0, 2), ("mirrored", "as asked for", 2, 1, 0, 1)),
}


@pytest.mark.parametrize(("given", "expected"), CHOICES.values(), ids=CHOICES)
def test_choose(given: tuple[str, Cluster | None, int, int], expected: tuple[Any, ...], monkeypatch: Any) -> None:
    strategy, cluster, gpus, cpus = given
    show_devices(monkeypatch, GPU=gpus, CPU=cpus)
    assert choose(Distribution(strategy=strategy), cluster) == Spread(*expected)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("strategy", "cluster"), [("mirrored", PAIR), ("multi_worker_mirrored", LONE), ("parameter_server", PAIR)]
)
def test_what_does_not_fit_is_refused(strategy: Any, cluster: Cluster, monkeypatch: Any) -> None:
    show_devices(monkeypatch, GPU=0, CPU=2)
    with pytest.raises(UsageError, match=f"--strategy={strategy}"):
        choose(Distribution(strategy=strategy), cluster)


def show_devices(monkeypatch: pytest.MonkeyPatch, **counts: int) -> None:
    """Let TensorFlow tell of so many devices; real ones belong to the whole process."""

    def listed(kind: str) -> list[Any]:
        return [types.SimpleNamespace(name=f"/device:{kind}:{number}") for number in range(counts[kind])]

    monkeypatch.setattr(tf.config, "list_logical_devices", listed)


def test_each_strategy_can_be_built() -> None:
    names = get_args(get_type_hints(Distribution)["strategy"])
    assert sorted([*STRATEGIES, "auto"]) == sorted(names)


BATCHES = [(8, 1, 1, 8), (8, 2, 1, 4), (12, 2, 3, 2), (6, 2, 3, 1)]


@pytest.mark.parametrize(("batch_size", "replicas", "workers", "each"), BATCHES)
def test_the_batch_of_a_replica(batch_size: int, replicas: int, workers: int, each: int) -> None:
    assert per_replica_batch_size(Spread("any", "", replicas, workers), batch_size) == each


UNEVEN = [
    (7, 2, "--batch-size=7 is that of all 2 replicas together and does not divide by 2: say --batch-size=6 or 8."),
    (1, 2, "--batch-size=1 is that of all 2 replicas together and does not divide by 2: say --batch-size=2."),
    (
        100,
        8,
        "--batch-size=100 is that of all 8 replicas together and does not divide by 8: say --batch-size=96 or 104.",
    ),
]


@pytest.mark.parametrize(("batch_size", "replicas", "sentence"), UNEVEN)
def test_a_batch_that_does_not_divide_is_refused(batch_size: int, replicas: int, sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        per_replica_batch_size(Spread("any", "", replicas), batch_size)
    assert str(caught.value) == sentence


def test_asynchronous_workers_have_the_whole_batch_each() -> None:
    assert per_replica_batch_size(Spread("parameter_server", "", trainers=3), 7) == 7


@pytest.mark.parametrize("ends", ["well", "with an error"])
def test_the_cluster_is_seen_within_its_context_only(ends: str) -> None:
    outside, is_bad = tf.compat.v1.get_default_graph(), ends == "with an error"
    with pytest.raises(KeyError) if is_bad else contextlib.nullcontext(), in_cluster(SECOND):
        told = json.loads(os.environ["TF_CONFIG"])
        assert tf.compat.v1.get_default_graph() is not outside
        if is_bad:
            raise KeyError
    assert told["cluster"] == {"chief": ["a:1"], "worker": ["b:1", "c:1"]}
    assert told["task"] == {"type": "worker", "index": 1}
    assert "TF_CONFIG" not in os.environ


@pytest.mark.parametrize("cluster", [None, LONE])
def test_a_machine_alone_sees_no_cluster(cluster: Cluster | None) -> None:
    with in_cluster(cluster):
        assert "TF_CONFIG" not in os.environ
        assert tf.executing_eagerly()


def test_what_the_manifest_says() -> None:
    spread = Spread("multi_worker_mirrored", "", replicas=2, workers=2, position=1, trainers=2)
    said = {"strategy": "multi_worker_mirrored", "replicas": 4, "workers": 2, "per_replica_batch_size": 16}
    assert describe(spread, Job.of({"batch_size": 64})) == said
    assert describe(ALONE, Job.of({"batch_size": 7}))["per_replica_batch_size"] == 7


# ---------------------------------------------------------------- parity with fit; `python -m tests.parity` does all

PLAIN = ["adam-dense", "global_clip-dense", "rmsprop-dense", "decaying-dense"]
LAYERS = ["adam-batch_norm", "sgd-nested_norm", "adam-convolutions", "clipnorm-lstm", "adamw-regularized"]
LOSSES = ["momentum-weighted", "sgd-summed", "sgd-masked", "adam-two_heads"]
CELLS = [
    ("none", LAYERS[:2]),
    ("one_device", [*LAYERS, "global_clip-dense"]),
    ("mirrored", PLAIN),
    ("mirrored", [*LAYERS, *LOSSES]),
    ("central_storage", [*PLAIN, *LAYERS[:2]]),
    ("multi_worker_mirrored", ["adam-batch_norm", "sgd-norm_rest", "global_clip-lstm", "rmsprop-dense", "sgd-summed"]),
]


class Fitted:
    """What `fit` makes of a cell, measured once for all strategies."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self._known: set[str] = set()

    def prepare(self, cells: Sequence[str]) -> None:
        """See that the weights are there."""
        missing = [cell for cell in cells if cell not in self._known]
        found = parity.measure(self.folder, "fit", missing) if missing else {}
        assert {cell: value for cell, value in found.items() if value != 0.0} == {}
        self._known.update(missing)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    return Fitted(tmp_path_factory.mktemp("parity"))


@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("strategy", "cells"), CELLS, ids=[f"{name}, {cells[-1]}" for name, cells in CELLS])
def test_a_strategy_learns_what_fit_learns(fitted: Fitted, strategy: str, cells: list[str]) -> None:
    fitted.prepare(cells)
    found = parity.measure(fitted.folder, strategy, cells)
    assert {cell: value for cell, value in found.items() if not parity.is_equal(value)} == {}


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("strategy", parity.STRATEGIES)
def test_the_whole_table(fitted: Fitted, strategy: str) -> None:
    fitted.prepare(parity.all_cells())
    found = parity.measure(fitted.folder, strategy, parity.all_cells())
    assert {cell: value for cell, value in found.items() if not parity.is_equal(value)} == {}


def test_the_table_tells_what_is_wrong() -> None:
    found = {"none": {"sgd-dense": 2e-7, "adam-dense": 3e-5}, "mirrored": {"sgd-dense": "Traceback"}}
    first, _, none, mirrored, _ = parity.table(found)
    assert first.startswith("dense: ")
    assert none.split() == ["none", "2.0e-07", "3.0e-05"]
    assert mirrored.split() == ["mirrored", "failed"]
    assert [parity.is_equal(value) for value in (2e-7, 1e-5, float("nan"), "Traceback", None)] == [True, *[False] * 4]
