"""A TPU's training is the plain one's, in its rehearsal and on a TPU that the CPU plays; probes for probe_lab."""

from __future__ import annotations

import dataclasses
from typing import Any

import tensorflow as tf

from tests.training import conversion_data as lab
from tests.training.probe_lab import assert_same, collector
from tests.training.tpu_machine import played_tpu
from tests.training.tpu_probes import CORES, program_nodes, recurrent_case, run_of, statistics_case

keras = tf.keras
PROBES, probe = collector()


def assert_trains_alike(folder: str, build: Any) -> None:
    """The same weights, optimizer's and all: plain, rehearsed, on a played TPU."""
    plain = run_of(f"{folder}/plain", build, None).train()
    rehearsed = run_of(f"{folder}/rehearsed", build, "rehearse").train()
    with played_tpu(CORES):
        played = run_of(f"{folder}/played", build, "local").train()
    for run in (rehearsed, played):
        assert_same(run.weights, plain.weights)


@probe
def statistics_sgd(folder: str) -> None:
    assert_trains_alike(folder, lambda: statistics_case("sgd"))


@probe
def statistics_adam(folder: str) -> None:
    assert_trains_alike(folder, lambda: statistics_case("adam"))


@probe
def statistics_adamw(folder: str) -> None:
    assert_trains_alike(folder, lambda: statistics_case("adamw"))


@probe
def recurrent_sgd(folder: str) -> None:
    assert_trains_alike(folder, lambda: recurrent_case("sgd"))


@probe
def recurrent_adam(folder: str) -> None:
    assert_trains_alike(folder, lambda: recurrent_case("adam"))


@probe
def recurrent_adamw(folder: str) -> None:
    assert_trains_alike(folder, lambda: recurrent_case("adamw"))


@probe
def weighted_examples(folder: str) -> None:
    build = lambda: dataclasses.replace(statistics_case("adam"), sample_weights=lab.WEIGHTS)  # noqa: E731
    assert_trains_alike(folder, build)


@probe
def low_precision(folder: str) -> None:
    """The loss of a model in bfloat16 is bfloat16, and that of a TPU's loop float32."""
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        assert_trains_alike(folder, lambda: statistics_case("adam"))
    finally:
        keras.mixed_precision.set_global_policy("float32")


@probe
def synchronised_statistics(folder: str) -> None:
    """BatchNorm counts the examples of all cores, in the program for several."""

    nodes = program_nodes(folder, lambda: statistics_case("adam"))
    forward_and_backward = 2 * 2  # the mean, the variance
    assert (
        nodes.count("CrossReplicaSum")
        == len(statistics_case("adam").model.trainable_weights) + 1 + forward_and_backward
    )
