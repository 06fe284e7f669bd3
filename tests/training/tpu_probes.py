"""Training on a TPU that the CPU plays, and in its rehearsal: the runs that tests compare, and probes of the loops."""

from __future__ import annotations

import dataclasses
import signal
import time
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.training import conversion_data as lab
from tests.training.probe_lab import collector
from tests.training.tpu_machine import played_tpu
from trainer.job.config import Job
from trainer.job.schedule import Schedule
from trainer.training import tpu
from trainer.training.converter import convert, fresh_session, save_first_weights
from trainer.training.hooks import FiniteLossHook, StopHook
from trainer.training.stopping import StopRequest
from trainer.training.tpu_gradients import average_gradients
from trainer.training.tpu_hooks import LoopProgressHook, LoopSaveAndEvaluateHook

keras, layers = tf.keras, tf.keras.layers
PROBES, probe = collector()
STEPS, CORES, LOOP = 10, 8, 4
OPTIMIZERS = {
    "sgd": lambda: keras.optimizers.SGD(0.1),
    "adam": lambda: keras.optimizers.Adam(0.01),
    "adamw": lambda: keras.optimizers.AdamW(0.01, clipnorm=0.5),
}


def statistics_case(optimizer: str) -> lab.Case:
    parts = layers.Dense(5, "tanh"), layers.BatchNormalization(), layers.Dense(1)
    model = lab.sequential(keras.Input((6,), name="row"), *parts, optimizer=OPTIMIZERS[optimizer](), metrics=["mae"])
    return lab.Case(model, {"row": lab.ROWS}, lab.TARGETS)


def recurrent_case(optimizer: str) -> lab.Case:
    parts = layers.Embedding(20, 4, mask_zero=True), layers.LSTM(3), layers.Dense(1)
    model = lab.sequential(keras.Input((7,), name="token"), *parts, optimizer=OPTIMIZERS[optimizer](), metrics=["mae"])
    return lab.Case(model, {"token": lab.TOKENS}, lab.TARGETS)


AT_THE_END = Schedule(STEPS, STEPS, None, 1e9, STEPS, None)


@dataclasses.dataclass
class Run:
    """One way to train a case."""

    folder: str
    host: tf.estimator.Estimator
    trainer: tf.estimator.Estimator
    case: lab.Case
    schedule: Schedule = AT_THE_END
    steps: list[int] = dataclasses.field(default_factory=list)

    def batches(self) -> tf.data.Dataset:
        return lab.batches(self.case, estimator=True).repeat()

    def saver(self, stop: StopRequest | None = None) -> LoopSaveAndEvaluateHook:
        hook = LoopSaveAndEvaluateHook(self.folder, self.schedule, 0, stop or StopRequest())
        hook._listeners.append(Evaluated(self.steps))
        return hook

    def train(self, *hooks: tf.compat.v1.train.SessionRunHook) -> Run:
        self.trainer.train(self.batches, [FiniteLossHook(), *hooks, self.saver()], max_steps=STEPS)
        return self

    @property
    def weights(self) -> dict[str, Any]:
        names = self.host.get_variable_names()
        return {name: self.host.get_variable_value(name) for name in names}


class Evaluated(tf.compat.v1.train.CheckpointSaverListener):
    """Keeps the steps at which an evaluation is due."""

    def __init__(self, steps: list[int]) -> None:
        self.steps = steps

    def after_save(self, session: Any, global_step_value: int) -> None:
        self.steps.append(global_step_value)

    def end(self, session: Any, global_step_value: int) -> None:
        self.steps.append(global_step_value)


def job_of(where: str, **settings: Any) -> Job:
    return Job.of({"strategy": "tpu", "tpu": where, "batch_size": lab.BATCH, "iterations_per_loop": LOOP, **settings})


def run_of(folder: str, build: Any, where: str | None, **more: Any) -> Run:
    """A run from the same first weights; `where` is None without a TPU, `rehearse`, or `local`."""
    fresh_session(3)
    case = build()
    config = tf.estimator.RunConfig(model_dir=folder, tf_random_seed=1)
    host = convert(case.model, folder, config)
    run = Run(folder, host, host, case, **more)
    if where:
        run.trainer = tpu.build_tpu_estimator(host, case.model, job_of(where))
    save_first_weights(host, f"{folder}/model.ckpt", run.batches)
    return run


@probe
def steps_of_loops(folder: str) -> None:
    """Evaluations and checkpoints are at the steps of a plain job, whatever the loops are."""
    build, schedule = lambda: statistics_case("sgd"), Schedule(STEPS, 5, 5, None, 3, None)
    rehearsed = run_of(f"{folder}/rehearsed", build, "rehearse", schedule=schedule).train()
    runs = Runs()
    with played_tpu():
        played = run_of(f"{folder}/played", build, "local", schedule=schedule).train(runs)
    assert rehearsed.steps == played.steps == [0, 5, 10]
    saved = [sorted(tf.io.gfile.glob(f"{run.folder}/model.ckpt-*.index")) for run in (rehearsed, played)]
    assert [path.rpartition("/")[2] for path in saved[0]] == [path.rpartition("/")[2] for path in saved[1]]
    assert {f"model.ckpt-{step}.index" for step in (0, 3, 5, 8, 10)} == {path.rpartition("/")[2] for path in saved[0]}
    assert runs.count == 4  # 3 + 2 + 3 + 2 steps


class Runs(tf.compat.v1.train.SessionRunHook):
    """Counts loops."""

    count = 0

    def after_run(self, run_context: Any, run_values: Any) -> None:
        self.count += 1


@probe
def progress_of_loops(folder: str) -> None:
    with played_tpu():
        run = run_of(folder, lambda: statistics_case("sgd"), "local")
        progress = LoopProgressHook(run.schedule, 0, lab.BATCH, run.saver(), folder)
        started = time.perf_counter()
        run.train(progress)
    assert progress._step == STEPS
    # two loops of 4 and 2 steps came after the first
    assert progress.examples_per_sec
    assert progress.examples_per_sec > 6 * lab.BATCH / (time.perf_counter() - started)


@probe
def stop_between_loops(folder: str) -> None:
    stop = StopRequest()
    stop.signum = signal.SIGTERM
    with played_tpu():
        run = run_of(folder, lambda: statistics_case("sgd"), "local")
        run.trainer.train(run.batches, [run.saver(stop), StopHook(stop)], max_steps=STEPS)
    assert run.host.get_variable_value("global_step") == LOOP
    assert run.steps == [0], "a stop evaluates nothing"


@probe
def weights_that_are_nan(folder: str) -> None:
    build = lambda: dataclasses.replace(statistics_case("sgd"), labels=lab.TARGETS * np.nan)  # noqa: E731
    with played_tpu(), pytest.raises(tf.estimator.NanLossDuringTrainingError):
        run_of(folder, build, "local").train()


@probe
def data_that_fail(folder: str) -> None:
    """What is wrong with the data is said, though it is a thread that reads them."""

    def checked(features: Any, labels: tf.Tensor) -> Any:
        with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(labels < 1.0), ["a bad row"])]):
            return features, tf.identity(labels)

    with played_tpu():
        run = run_of(folder, lambda: statistics_case("sgd"), "local")
        plain = run.batches
        run.batches = lambda: plain().map(checked)  # type: ignore[method-assign]
        with pytest.raises(tf.errors.InvalidArgumentError, match="a bad row"):
            run.train()


@probe
def program_for_eight_cores(folder: str) -> None:
    """In the graph that a TPU would get, each gradient and the loss are summed over the cores."""
    nodes = program_nodes(folder, lambda: recurrent_case("adamw"))
    assert nodes.count("CrossReplicaSum") == len(recurrent_case("adamw").model.trainable_weights) + 1
    assert nodes.count("InfeedEnqueueTuple") == CORES
    assert "Unique" not in nodes


def program_nodes(folder: str, build: Any) -> list[str]:
    """Types of all operations of the program for eight cores; its variables are those of the plain graph."""
    fresh_session(3)
    case = build()
    host = convert(case.model, folder, tf.estimator.RunConfig(model_dir=folder))
    average_gradients(case.model)
    average_gradients(case.model)  # once is enough
    batches = lambda: lab.batches(case).repeat()  # noqa: E731
    graph = tpu.build_program(host, job_of("local"), batches, CORES)
    with tf.Graph().as_default() as plain:
        tf.compat.v1.train.create_global_step()
        features, labels = tf.compat.v1.data.make_one_shot_iterator(batches()).get_next()
        host.model_fn(features, labels, "train", host.config)
    assert variables(graph) == variables(plain)
    return [node.op for function in graph.as_graph_def().library.function for node in function.node_def]


def variables(graph: tf.Graph) -> set[str]:
    return {variable.name for variable in graph.get_collection(tf.compat.v1.GraphKeys.GLOBAL_VARIABLES)}
