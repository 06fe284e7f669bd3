"""When a metric that gets no better ends training: as Keras' own callback has it, whoever asks and whenever."""

from __future__ import annotations

import contextlib
import json
import math
import pathlib
import socket
import subprocess
import sys
import types
from typing import Any

import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import runner
from trainer.job.config import Job
from trainer.job.errors import UsageError
from trainer.training import early_stopping
from trainer.training.early_stopping import EarlyStopHook, EarlyStopWatch, check_early_stopping, stopped_at
from trainer.training.records import put_evaluation

NAN, INF = math.nan, math.inf
# few different values, so that equal ones come often; None is an evaluation without the metric
VALUES = st.one_of(st.sampled_from([None, NAN, INF, -INF, 0.0, -0.0, 1.0, 2.0]), st.floats(width=32))
SERIES = st.lists(VALUES, max_size=12)
DIRECTIONS = st.sampled_from(["min", "max"])
SMALL = """
    import keras


    def build_model():
        model = keras.Sequential([keras.layers.Dense(1, input_shape=(4,), name="x")])
        model.compile(keras.optimizers.SGD(0.0), "mse")  # never gets better
        return model
"""


def recorded(values: list[float | None], every: int = 10) -> dict[int, dict[str, float]]:
    """Evaluations, the last one first: the order of a mapping says nothing."""
    pairs = [((number + 1) * every, value) for number, value in enumerate(values)]
    return {step: {} if value is None else {"m": value} for step, value in reversed(pairs)}


def stopped_by_keras(values: list[float | None], direction: str, patience: int) -> int | None:
    """The step at which the callback stops a training with these evaluations."""
    callback = tf.keras.callbacks.EarlyStopping("m", patience=patience, mode=direction)
    callback.set_model(types.SimpleNamespace(stop_training=False))
    callback.on_train_begin()
    for number, value in enumerate(values):
        callback.on_epoch_end(number, {} if value is None else {"m": value})
        if callback.model.stop_training:
            return (number + 1) * 10
    return None


@settings(max_examples=400, deadline=None)
@given(SERIES, DIRECTIONS, st.integers(1, 4))
def test_it_stops_where_the_callback_of_keras_does(values: list[float | None], direction: str, patience: int) -> None:
    expected = stopped_by_keras(values, direction, patience)
    assert stopped_at(recorded(values), "m", direction, patience) == expected


@settings(max_examples=200, deadline=None)
@given(SERIES, SERIES, DIRECTIONS, st.integers(1, 4))
def test_a_training_that_is_over_stays_over(
    values: list[float | None], later: list[float | None], direction: str, patience: int
) -> None:
    over = stopped_at(recorded(values), "m", direction, patience)
    assert over is None or stopped_at(recorded(values + later), "m", direction, patience) == over


@pytest.mark.parametrize(
    ("values", "direction", "patience", "expected"),
    [
        pytest.param([], "min", 1, None, id="nothing yet"),
        pytest.param([3, 2, 1, 0], "min", 1, None, id="better each time"),
        pytest.param([3, 2, 2, 1], "min", 1, 30, id="equal is no better"),
        pytest.param([3, 4, 2, 5, 6], "min", 2, 50, id="better in between starts the count anew"),
        pytest.param([3, 4, 5], "min", 2, 30, id="compared with the best, not with the last"),
        pytest.param([5, 4, 6, 6], "max", 2, None, id="more is better"),
        pytest.param([NAN], "min", 1, None, id="the first never ends it"),
        pytest.param([NAN, NAN], "min", 1, 20, id="NaN is never better"),
        pytest.param([NAN, 1], "min", 1, None, id="anything is better than NaN"),
        pytest.param([1, None, 2], "min", 1, 30, id="one without the metric does not count"),
    ],
)
def test_in_words(values: list[float | None], direction: str, patience: int, expected: int | None) -> None:
    assert stopped_at(recorded(values), "m", direction, patience) == expected


@pytest.mark.parametrize(
    ("settings_", "names", "expected"),
    [
        pytest.param({}, ["mae"], None, id="no early stopping"),
        pytest.param({"early_stop_metric": "loss"}, ["mae"], "min", id="the loss is always reported"),
        pytest.param({"early_stop_metric": "accuracy"}, ["accuracy"], "max", id="known by its name"),
        pytest.param({"early_stop_metric": "accuracy"}, None, "max", id="metrics that cannot be told yet"),
        pytest.param(
            {"early_stop_metric": "gain", "best_metric": "gain", "best_mode": "max"}, ["gain"], "max", id="as the best"
        ),
        pytest.param(
            {"early_stop_metric": "mae", "best_metric": "gain", "best_mode": "max"}, ["mae", "gain"], "min", id="not it"
        ),
    ],
)
def test_direction(settings_: dict[str, Any], names: list[str] | None, expected: str | None) -> None:
    assert check_early_stopping(Job.of(settings_), names) == expected


@pytest.mark.parametrize(
    ("settings_", "sentence"),
    [
        pytest.param(
            {"early_stop_metric": "acuracy"},
            "--early-stop-metric=acuracy: the model reports accuracy, gain, loss; name one of these.",
            id="unknown",
        ),
        pytest.param(
            {"early_stop_metric": "gain"},
            "--early-stop-metric=gain: its name does not tell whether less or more of it is better; say so with "
            "--best-metric=gain and --best-mode=min or max.",
            id="which way",
        ),
    ],
)
def test_sentences(settings_: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError) as raised:
        check_early_stopping(Job.of(settings_), ["accuracy", "gain"])
    assert str(raised.value) == sentence


def test_a_watch_reads_when_told_to(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "evaluations.jsonl")
    watch = EarlyStopWatch(path, "m", "min", 1)
    assert not watch.is_over()  # there is no file yet
    for step in (10, 20, 30):
        put_evaluation(path, step, {"m": 1.0})
    assert not watch.is_over()
    watch.look(up_to_step=10)
    assert not watch.is_over()
    watch.look()
    assert (watch.is_over(), watch.stop_step) == (True, 20)


def test_a_watch_reads_now_and_then(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, now, reads = str(tmp_path / "evaluations.jsonl"), [100.0], []

    def read(name: str) -> dict[int, dict[str, float]]:
        reads.append(now[0])
        return {10: {"m": 1.0}, 20: {"m": 1.0}} if now[0] > 107 else {}

    monkeypatch.setattr(early_stopping, "read_evaluations", read)
    monkeypatch.setattr(early_stopping, "time", types.SimpleNamespace(monotonic=lambda: now[0]))
    watch, over = EarlyStopWatch(path, "m", "min", 1, look_every_secs=5.0), list[bool]()
    for _ in range(15):
        over.append(watch.is_over())
        now[0] += 1.0
    assert reads == [100.0, 105.0, 110.0]
    assert over == [False] * 10 + [True] * 5


@pytest.mark.parametrize("ends_after", [1, 4])
def test_the_hook_ends_training_after_the_step(ends_after: int) -> None:
    asked = []

    def is_over() -> bool:
        asked.append(1)
        return len(asked) >= ends_after

    with tf.Graph().as_default():
        step = tf.compat.v1.train.get_or_create_global_step()
        train = step.assign_add(1)
        with tf.compat.v1.train.SingularMonitoredSession([EarlyStopHook(is_over)]) as session:
            while not session.should_stop():
                done = session.run(train)
    assert (int(done), len(asked)) == (ends_after, ends_after)


def test_workers_in_step_end_after_the_same_step() -> None:
    """The worker wants to stop from step 7 on, its chief never: one alone would leave the other waiting."""
    command, ports = [sys.executable, "-m", "tests.training.devices_probes", "agree"], free_ports(2)
    with contextlib.ExitStack() as stack:
        workers = []
        for index in (0, 1):
            worker = subprocess.Popen(
                [*command, str(index), *ports],
                env=runner.environ(),
                cwd=runner.ROOT,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            workers.append(stack.enter_context(worker))
            stack.callback(worker.kill)
        ended = [json.loads(each.communicate(timeout=runner.DEADLINE_SECS)[0].splitlines()[-1]) for each in workers]
    assert [each["step"] for each in ended] == [8, 8]  # they agree after every fourth step


def free_ports(number: int) -> list[str]:
    """Ports of the loopback interface that are free now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [str(each.getsockname()[1]) for each in sockets]


@pytest.mark.slow
def test_a_job_stops_early_and_is_finished_then(tmp_path: pathlib.Path) -> None:
    runner.write_project(tmp_path, SMALL)
    more = ("--early-stop-metric=loss", "--early-stop-patience=2", "--eval-every-steps=5", "--exporters=final")
    argv = runner.flags("--no-report", "--label-column=y", *more, steps=200)
    runner.run(tmp_path, argv).ok()
    result = runner.read_json(tmp_path / "job" / "result.json")
    assert (result["status"], result["global_step"]) == ("finished", 15)
    assert list(runner.read_evaluations(tmp_path / "job")) == [5, 10, 15]
    assert len(runner.exports(tmp_path / "job", "final")) == 1
    before = runner.snapshot(tmp_path / "job")
    assert "already finished" in runner.run(tmp_path, argv).ok().out
    assert runner.snapshot(tmp_path / "job") == before
