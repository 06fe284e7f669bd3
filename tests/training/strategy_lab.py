"""Train small models for ten steps under `fit`, or with a strategy as a job does; tests start it as a process.

    python -m tests.training.strategy_lab FOLDER fit CELL...          writes FOLDER/CELL.npz, the weights
    python -m tests.training.strategy_lab FOLDER STRATEGY CELL...     compares with these

A cell is OPTIMIZER-KIND, see strategy_cases.py. Several replicas are two: logical CPUs, or
processes, which say multi_worker_mirrored:chief and multi_worker_mirrored:worker. Prints a JSON object a line:
{"cell": ..., "worst": the largest difference of a weight} or {..., "error": traceback}; a worker compares nothing.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

import numpy as np
import tensorflow as tf

from tests.members import free_addresses
from tests.training.conversion_lab import distance
from tests.training.strategy_cases import KINDS, OPTIMIZERS, Kind
from trainer.job.cluster import Cluster
from trainer.job.columns import Column, Layout
from trainer.job.config import Data, Distribution, Job, Output, Training
from trainer.job.paths import JobPaths
from trainer.job.schedule import Schedule
from trainer.training.checkpoints import Start
from trainer.training.converter import convert, fresh_session
from trainer.training.datasets import cached_batches
from trainer.training.devices import set_up_devices
from trainer.training.estimators import Engine, build_run_config, build_trainer, needs_trainer
from trainer.training.fit_semantics import with_weights
from trainer.training.prepare import Plan
from trainer.training.reader import Reader
from trainer.training.readers import open_reader
from trainer.training.replicas import Parts, cut, fitted
from trainer.training.stopping import StopRequest
from trainer.training.strategies import ALONE, Spread, choose

STEPS, BATCH, SEED, SAVE_STEPS = 10, 8, 3, 4
POLL_SECS, PATIENCE_SECS = 0.05, 120.0


@dataclasses.dataclass(frozen=True)
class LabInputs:
    """Rows of a file, each the number of an example, dealt out as `inputs.FileInputs` does."""

    reader: Reader
    kind: Kind
    name: str

    def parts(self, spread: Spread) -> Parts:
        """See Inputs."""
        return Parts(self.kind.rows, BATCH, spread)

    def train_dataset(self, start_step: int, spread: Spread = ALONE) -> tf.data.Dataset:
        """See Inputs."""
        parts = self.parts(spread)
        read = lambda lines: self.reader.parse(lines, {"row": Column("int64")})  # noqa: E731
        batches = cached_batches(self.reader, read, self._finish, parts.worker_batch, SEED, start_step, parts.share)
        return cut(batches, parts, start_step)

    def eval_dataset(self) -> tf.data.Dataset:
        """See Inputs; who trains without a strategy evaluates at the end."""
        return self.train_dataset(0).take(1)

    def check_files(self, training: bool) -> None:
        """See Inputs; nobody replaces this file."""

    def _finish(self, columns: dict[str, tf.Tensor]) -> Any:
        kind = self.kind
        taken = lambda arrays: tf.nest.map_structure(lambda each: tf.gather(each, columns["row"]), arrays)  # noqa: E731
        weights = None if kind.weights is None else taken(kind.weights)
        return with_weights({self.name: taken(kind.features)}, weights), taken(kind.labels)


def build(cell: str, folder: pathlib.Path) -> tuple[tf.keras.Model, LabInputs]:
    """The cell's model, off its initial weights, and its data."""
    optimizer, _, name = cell.partition("-")
    kind = KINDS[name]
    fresh_session(SEED)
    model = kind.build(OPTIMIZERS[optimizer]())
    random = np.random.RandomState(0)
    for weight in model.weights:
        weight.assign(weight.numpy() + np.abs(0.05 * random.randn(*weight.shape)))
    path = folder / f"{kind.rows}.csv"
    if not path.exists():
        path.write_text("row\n" + "".join(f"{row}\n" for row in range(kind.rows)))
    return model, LabInputs(open_reader([str(path)], Layout()), kind, model.input_names[0])


def fit(cell: str, folder: pathlib.Path) -> dict[str, Any]:
    """Train with `model.fit` on global batches and keep the weights."""
    model, inputs = build(cell, folder)
    batches = inputs.train_dataset(0)
    if inputs.kind.weights is not None:
        batches = batches.map(lambda given, labels: (given["features"], labels, given["sample_weights"]))
    model.fit(batches, steps_per_epoch=STEPS, verbose=0)
    np.savez(folder / f"{cell}.npz", **{weight.name[:-2]: weight.numpy() for weight in model.weights})
    return {"worst": 0.0}


def train(cell: str, folder: pathlib.Path, strategy: str, cluster: Cluster | None) -> dict[str, Any]:
    """Train as a job does; how far the weights of the last checkpoint are from those of `fit`."""
    model, inputs = build(cell, folder)
    spread = fitted(choose(Distribution(strategy=strategy), cluster), model)
    plan = plan_of(folder / strategy / cell, model, inputs, spread)
    if cluster is not None and not cluster.is_chief:
        wait_for(lambda: tf.train.latest_checkpoint(plan.paths.checkpoints))
    engine = Engine(plan, convert_planned(plan), (), None, None, cluster=cluster)  # type: ignore[arg-type]
    if needs_trainer(plan, cluster):
        engine = dataclasses.replace(engine, trainer=build_trainer(engine), evaluates=False)
    if cluster is not None and not cluster.is_chief:
        engine.follow(None)
        return {}
    engine.train(StopRequest())
    trained = tf.train.load_checkpoint(f"{plan.paths.checkpoints}/model.ckpt-{STEPS}")
    wanted = np.load(folder / f"{cell}.npz")
    return {"worst": max(distance(trained.get_tensor(name), wanted[name]) for name in wanted.files)}


def plan_of(folder: pathlib.Path, model: tf.keras.Model, inputs: LabInputs, spread: Spread) -> Plan:
    """What `prepare` would settle."""
    job = Job(
        data=Data(batch_size=BATCH), training=Training(train_steps=STEPS, seed=SEED), output=Output(job_dir=str(folder))
    )
    schedule = Schedule(STEPS, -(-inputs.kind.rows // BATCH), STEPS, None, SAVE_STEPS, None)
    return Plan(job, JobPaths.of(job, None), model, inputs, schedule, Start(0, None), "min", {}, spread)


def convert_planned(plan: Plan) -> tf.estimator.Estimator:
    """See estimators.build_engine."""
    return convert(plan.model, plan.paths.checkpoints, build_run_config(plan), spread=plan.spread)


def meet(folder: pathlib.Path, role: str) -> Cluster:
    """The cell's own cluster: a server keeps its ports, and its variables, as long as the process lives."""
    path = folder / "cluster.json"
    if role == "chief":
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cluster.tmp").write_text(json.dumps(free_addresses(2)))
        (folder / "cluster.tmp").rename(path)
    wait_for(path.exists)
    chief, worker = json.loads(path.read_text())
    return Cluster(chief, (worker,), role=role)  # type: ignore[arg-type]


def wait_for(happened: Callable[[], object]) -> None:
    """Until another process has done something. Raises TimeoutError."""
    until = time.monotonic() + PATIENCE_SECS
    while not happened():
        if time.monotonic() > until:
            raise TimeoutError("the other process does nothing")
        time.sleep(POLL_SECS)


def run(cell: str, folder: pathlib.Path, strategy: str) -> dict[str, Any]:
    """One cell; a traceback where it fails."""
    name, _, role = strategy.partition(":")
    try:
        if strategy == "fit":
            return fit(cell, folder)
        return train(cell, folder, name, meet(folder / name / cell, role) if role else None)
    except Exception:  # one cell's trouble is not the others'
        return {"error": traceback.format_exc()}


def main(folder: pathlib.Path, strategy: str, cells: list[str]) -> Iterator[str]:
    """JSON lines."""
    set_up_devices(Distribution(cpu_devices=2 if strategy in ("mirrored", "central_storage") else None))
    for cell in cells:
        found: dict[str, Any] = {"cell": cell}
        # TensorFlow keeps a server for each thread
        thread = threading.Thread(target=lambda cell=cell, found=found: found.update(run(cell, folder, strategy)))
        thread.start()
        thread.join()
        yield json.dumps(found)


if __name__ == "__main__":
    for line in main(pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3:]):
        print(line, flush=True)
