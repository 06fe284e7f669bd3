"""A job around its training on a TPU: batches, exporters, samples, TPUs that are not there; probes for probe_lab."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import socket
import time
from typing import Any
from unittest import mock

import pytest
import tensorflow as tf

from tests.runner import DENSE, write_csv, write_model
from tests.training.probe_lab import collector
from tests.training.tpu_faults import ArrayInputs
from tests.training.tpu_machine import played_tpu
from tests.training.tpu_probes import CORES, LOOP, job_of, statistics_case
from trainer.job.environment import Environment
from trainer.job.errors import ModelError, UsageError
from trainer.job.flags import parse
from trainer.job.paths import JobPaths
from trainer.training import tpu
from trainer.training.converter import convert, save_first_weights
from trainer.training.estimators import build_engine
from trainer.training.hooks import FiniteLossHook, StopHook
from trainer.training.prepare import prepare
from trainer.training.replicas import Parts
from trainer.training.stopping import StopRequest
from trainer.training.strategies import ALONE, Spread
from trainer.training.tpu_batches import full_batches, insist_on_fixed
from trainer.training.tpu_hooks import LoopSaveAndEvaluateHook
from trainer.training.tuner import Tuner
from trainer.training.verification import verify_exports

PROBES, probe = collector()


@probe
def evaluates_and_exports_on_the_way(folder: str) -> None:
    """train_and_evaluate with the job's exporters, rehearsed and on a played TPU: the same results as a plain job's."""
    found = [trained_job(pathlib.Path(folder, "plain"), "plain", "none")]
    for where in ("rehearse", "local"):
        with played_tpu(CORES):
            found.append(trained_job(pathlib.Path(folder, where), where, "best,final"))
    assert found[0].keys() == found[1].keys() == found[2].keys() == {10, 20}
    for step, metrics in found[0].items():
        for other in found[1:]:
            assert all(abs(metrics[name] - other[step][name]) < 1e-5 for name in metrics), (step, metrics, other[step])


def trained_job(folder: pathlib.Path, where: str, exporters: str) -> dict[int, dict[str, float]]:
    """Train a job of 20 steps with an evaluation every 10; its evaluations by step. Its exports are verified."""
    folder.mkdir()
    write_model(folder / "model.py", DENSE)
    write_csv(folder / "train.csv", 203)
    write_csv(folder / "eval.csv", 50)  # 16 + 16 + 16 + 2
    flags = [f"--model={folder}/model.py", f"--train-files={folder}/train.csv", f"--eval-files={folder}/eval.csv"]
    steps = ["--train-steps=20", "--eval-every-steps=10", "--batch-size=16", f"--iterations-per-loop={LOOP}"]
    more = [f"--job-dir={folder}/job", f"--tpu={where}", f"--exporters={exporters}"]
    parsed = parse([*flags, *steps, *more], Environment())
    paths = JobPaths.of(parsed.job, None)
    plan = prepare(parsed, paths)
    engine = build_engine(plan, Tuner(None, plan.job.evaluation))
    batches = lambda: full_batches(plan.inputs, 0, 16)  # noqa: E731
    save_first_weights(engine.estimator, f"{paths.checkpoints}/model.ckpt", batches)
    trainer = engine.estimator
    if where != "plain":
        trainer = tpu.build_tpu_estimator(engine.estimator, plan.model, plan.job)
    stop = StopRequest()
    saver = LoopSaveAndEvaluateHook(paths.checkpoints, plan.schedule, 0, stop)
    spec = tf.estimator.TrainSpec(batches, plan.schedule.total_steps, [FiniteLossHook(), saver, StopHook(stop)])
    tf.estimator.train_and_evaluate(trainer, spec, engine._eval_spec(stop))
    made = [path for kind in ("best", "final") for path in engine.exports.list(kind)]
    assert bool(made) == (exporters != "none")
    verify_exports(made)
    lines = [json.loads(line) for line in pathlib.Path(paths.evaluations).read_text().splitlines()]
    return {line["global_step"]: {name: line[name] for name in ("loss", "mae")} for line in lines}


@dataclasses.dataclass(frozen=True)
class CountedInputs(ArrayInputs):
    """Numbered examples whose last batch is short."""

    rows: int = 10

    def parts(self, spread: Spread) -> Parts:
        return Parts(self.rows, self.batch_size, spread)

    def train_dataset(self, start_step: int, spread: Spread = ALONE) -> tf.data.Dataset:
        numbers = tf.range(self.rows)
        examples = tf.data.Dataset.from_tensor_slices(({"number": numbers}, numbers))
        return examples.batch(self.batch_size).repeat().skip(start_step)


@probe
def batches_are_full(folder: str) -> None:
    """No example is lost, and a job that resumes sees what the undisturbed one would see."""
    for rows in (10, 8, 3):
        inputs = CountedInputs({}, 4, rows=rows)
        whole = seen(full_batches(inputs, 0, 4), 12)
        assert whole == [number % rows for number in range(48)]
        for step in range(8):
            assert seen(full_batches(inputs, step, 4), 4) == whole[step * 4 : step * 4 + 16], (rows, step)
    spec = full_batches(inputs, 0, 4).element_spec
    assert spec[0]["number"].shape == spec[1].shape == (4,)


def seen(batches: tf.data.Dataset, count: int) -> list[int]:
    return [int(number) for features, _ in batches.take(count) for number in features["number"]]


@probe
def unfit_batches(folder: str) -> None:
    words = tf.data.Dataset.from_tensors(({"word": tf.constant(["a"])}, tf.zeros([1])))
    with pytest.raises(ModelError, match=r"the input word is text: make numbers of it in preprocess"):
        insist_on_fixed(words)
    weighted = tf.data.Dataset.from_tensors(({"features": {"word": ["a"]}, "sample_weights": [1.0]}, tf.zeros([1])))
    with pytest.raises(ModelError, match="the input word is text"):
        insist_on_fixed(weighted)
    open_labels = tf.data.Dataset.from_tensor_slices((tf.zeros([4, 2]), tf.zeros([4]))).batch(2)
    with pytest.raises(ModelError, match=r"the input has batches of the open shape \[\?, 2\]"):
        insist_on_fixed(open_labels)
    ragged = tf.data.Dataset.from_tensors(({"row": tf.ragged.constant([[1], []])}, tf.zeros([2])))
    with pytest.raises(ModelError, match="the input row comes as RaggedTensorSpec: make a dense tensor"):
        insist_on_fixed(ragged)


@probe
def tpus_that_cannot_be_used(folder: str) -> None:
    case = statistics_case("sgd")
    host = convert(case.model, folder, tf.estimator.RunConfig(model_dir=folder))

    def refused(match: str, **settings: Any) -> None:
        started = time.monotonic()
        with pytest.raises(UsageError, match=match):
            tpu.build_tpu_estimator(host, case.model, job_of(**settings))
        assert time.monotonic() - started < 2 * tpu.CONNECT_SECS

    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = f"grpc://127.0.0.1:{nobody.getsockname()[1]}"
        refused(r"--tpu=grpc://127.* no TPU can be reached .*--tpu=rehearse", where=address)
    refused("--tpu=no-such: no TPU can be reached", where="no-such")
    with mock.patch.dict("os.environ", {"TPU_NAME": "no-such"}):
        refused("--strategy=tpu without --tpu: no TPU can be reached", where=None)
    refused("no TPU core was found", where=None)
    refused("no TPU core was found: run on a machine that has a TPU", where="local")
    with played_tpu(shown_cores=4, hosts=2):
        refused("this TPU has 2 hosts", where="local")
    with played_tpu(shown_cores=3):
        refused(r"--batch-size=8 .* does not divide by 3: say --batch-size=6 or 9\.", where="local")


@probe
def a_tpu_elsewhere(folder: str) -> None:
    """A TPU that is reached by its address makes this process none of several workers."""
    resolver = tf.distribute.cluster_resolver.TPUClusterResolver("grpc://127.0.0.1:8470")
    given = tf.compat.v1.ConfigProto(intra_op_parallelism_threads=3)
    config = tpu._run_config(tf.estimator.RunConfig(model_dir=folder, session_config=given), resolver, job_of("x"))
    assert config.master == "grpc://127.0.0.1:8470"
    assert config.session_config.cluster_def.job[0].name == "worker"
    assert config.session_config.intra_op_parallelism_threads == 3
    assert not config.cluster_spec
    assert config.tpu_config.iterations_per_loop == LOOP
