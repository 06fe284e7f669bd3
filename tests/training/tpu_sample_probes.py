"""The samples on a TPU: ready, and rehearsed; probes for probe_lab."""

from __future__ import annotations

import tensorflow as tf

from tests.training.probe_lab import collector
from trainer.job.environment import Environment
from trainer.job.flags import parse
from trainer.job.paths import JobPaths
from trainer.training import tpu
from trainer.training.converter import convert, save_first_weights
from trainer.training.hooks import FiniteLossHook
from trainer.training.prepare import prepare
from trainer.training.stopping import StopRequest
from trainer.training.tpu_batches import full_batches
from trainer.training.tpu_hooks import LoopSaveAndEvaluateHook
from trainer.training.tpu_readiness import find_obstacles

PROBES, probe = collector()


@probe
def place_names(folder: str) -> None:
    assert_trains("place_names", folder)


@probe
def flights(folder: str) -> None:
    assert_trains("flights", folder)


@probe
def digits(folder: str) -> None:
    assert_trains("digits", folder)


def assert_trains(name: str, folder: str) -> None:
    """No obstacle is found, and some steps of the rehearsal go well."""
    flags = [f"--model=trainer.samples.{name}", f"--job-dir={folder}", "--train-steps=3"]
    parsed = parse([*flags, "--strategy=tpu", "--tpu=rehearse"], Environment())
    plan = prepare(parsed, JobPaths.of(parsed.job, None))
    checkpoints = plan.paths.checkpoints
    host = convert(plan.model, checkpoints, tf.estimator.RunConfig(model_dir=checkpoints))
    assert find_obstacles(host, plan.model, plan.inputs, plan.job) == []
    batches = lambda: full_batches(plan.inputs, 0, plan.job.data.batch_size)  # noqa: E731
    trainer = tpu.build_tpu_estimator(host, plan.model, plan.job)
    save_first_weights(host, f"{checkpoints}/model.ckpt", batches)
    saver = LoopSaveAndEvaluateHook(checkpoints, plan.schedule, 0, StopRequest())
    trainer.train(batches, [FiniteLossHook(), saver], max_steps=3)
    assert trainer.evaluate(plan.inputs.eval_dataset, 1)["global_step"] == 3
