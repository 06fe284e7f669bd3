"""When to stop, evaluate and save: what the user said in steps, epochs or seconds, turned into steps in one place."""

from __future__ import annotations

from dataclasses import dataclass

from trainer.job.config import DEFAULT_EPOCHS, DEFAULT_SAVE_SECS, Job
from trainer.job.errors import DataError


@dataclass(frozen=True)
class Schedule:
    """The steps of one job; of each pair `*_steps`, `*_secs` exactly one is set.

    `total_steps` is a global step: a resumed job goes on to it. Every evaluation saves a checkpoint first, whatever
    `save_every_*` says.
    """

    total_steps: int
    steps_per_epoch: int
    eval_every_steps: int | None
    eval_every_secs: float | None
    save_every_steps: int | None
    save_every_secs: float | None


def plan_schedule(job: Job, train_examples: int) -> Schedule:
    """Plan a job over `train_examples` counted examples; a last smaller batch is a step, as `model.fit` counts.

    Raises:
      DataError: there is nothing to train on.
    """
    if train_examples < 1:
        raise DataError("the training files hold no example: give --train-files with at least one row.")
    training, evaluation, output = job.training, job.evaluation, job.output
    steps_per_epoch = -(-train_examples // job.data.batch_size)
    total_steps = training.train_steps or steps_per_epoch * (training.epochs or DEFAULT_EPOCHS)
    eval_every_steps = evaluation.eval_every_steps
    if eval_every_steps is None and evaluation.eval_every_secs is None:
        eval_every_steps = min(steps_per_epoch, total_steps)
    save_every_secs = output.save_checkpoints_secs
    if save_every_secs is None and output.save_checkpoints_steps is None:
        save_every_secs = DEFAULT_SAVE_SECS
    return Schedule(
        total_steps,
        steps_per_epoch,
        eval_every_steps,
        evaluation.eval_every_secs,
        output.save_checkpoints_steps,
        save_every_secs,
    )
