"""Metrics to the tuner that started this job: cloudml-hypertune writes them into the file that the tuner reads.

Every metric of every evaluation is told under its own name, so that a study may go by any of them. One process of a job
tells: the one that evaluates.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Mapping

import hypertune
import numpy as np

from trainer.job.config import Evaluation
from trainer.job.environment import Environment
from trainer.job.errors import StorageFailed, TrainingFailed
from trainer.training.exporters import known_direction
from trainer.training.prepare import Plan
from trainer.training.records import read_evaluations

LOG = logging.getLogger("trainer")
FILE = "CLOUD_ML_HP_METRIC_FILE"
RESERVED = ("checkpoint_path", "global_step", "timestamp", "trial")  # what else a line of the file holds
KEPT = 100  # lines; the library drops older ones
# No metric that TensorFlow computes in float32 is worse, and unlike float64's own largest number, sums, means and
# squares of it are finite: a study that models its trials' values goes on.
WORST = float(np.finfo(np.float32).max)


class Tuner:
    """What this process tells a tuner; nothing, where `library` is None as no tuner started the job.

    A restarted job tells again what its earlier runs told: the library forgets that, and overwrites the file. No step
    is told twice, and none after a later one.
    """

    def __init__(self, library: hypertune.HyperTune | None, evaluation: Evaluation) -> None:
        self._library, self._evaluation = library, evaluation
        self._last_step = -1
        self._warned = set[str]()

    def repeat(self, plan: Plan) -> None:
        """Tell of the evaluations up to the step that the job goes on from; warn of metrics that cannot be told."""
        if self._library is None:
            return
        for name in plan.manifest["model"]["metrics"] or ():
            self._is_tellable(name)
        known = read_evaluations(plan.paths.evaluations)
        for step in [step for step in known if step <= plan.start.step][-KEPT:]:
            self.report(step, known[step])

    def report(self, step: int, metrics: Mapping[str, float]) -> None:
        """Tell of an evaluation, unless this or a later step has been told of."""
        if self._library is None or step <= self._last_step:
            return
        for name in sorted(metrics):
            value = self._told_value(name, metrics[name], step)
            if value is not None:
                self._library.report_hyperparameter_tuning_metric(name, value, global_step=step)
                self._last_step = step

    def check_told(self) -> None:
        """To be called at the end of a job. Raises TrainingFailed where a tuner waits for metrics and got none."""
        if self._library is not None and self._last_step < 0:
            raise TrainingFailed(
                f"a tuner started this job and reads its metrics in {self._library.metric_path}, but there was no "
                "evaluation to tell it of: start anew with --fresh."
            )

    def _told_value(self, name: str, value: float, step: int) -> float | None:
        """The value, or the worst in place of one that is not finite; None where that cannot be told."""
        if not self._is_tellable(name):
            return None
        if abs(value) <= WORST:  # False for NaN
            return float(value)
        direction = self._direction(name)
        if direction is None:
            self._warn(
                name,
                f"the metric {name} is {value} at step {step} and its name does not tell whether less or more of it "
                f"is better, so the tuner is not told: say --best-metric={name} --best-mode=min or max.",
            )
            return None
        return math.copysign(WORST, 1.0 if direction == "min" else -1.0)

    def _direction(self, name: str) -> str | None:
        """What the tuner's goal must be: it does not tell the job."""
        said = self._evaluation.best_mode
        return said if name == self._evaluation.best_metric and said != "auto" else known_direction(name)

    def _is_tellable(self, name: str) -> bool:
        if name in RESERVED:
            self._warn(name, f"the tuner cannot be told of a metric called {name}: give it another name in the model.")
        return name not in RESERVED

    def _warn(self, name: str, sentence: str) -> None:
        if name not in self._warned:
            self._warned.add(name)
            LOG.warning("%s", sentence)


def open_tuner(environment: Environment, evaluation: Evaluation, tells: bool = True) -> Tuner:
    """See that the tuner's file can be written, if this process `tells` it. Raises StorageFailed."""
    if not environment.has_tuner or not tells:
        return Tuner(None, evaluation)
    # The library reads the environment by itself, where it fails on an empty and on a bare file name.
    os.environ.pop(FILE, None)
    if environment.hp_metric_file is not None:
        os.environ[FILE] = environment.hp_metric_file
    try:
        library = hypertune.HyperTune()
        with open(library.metric_path, "a"):
            pass
    except OSError as error:
        raise StorageFailed(
            f"{FILE}={environment.hp_metric_file or ''}: the tuner's file {error.filename} cannot be written "
            f"({error.strerror}): name another one."
        ) from error
    return Tuner(library, evaluation)
