"""Early stopping: training ends once a metric of the evaluations has got no better for a while.

The stock hook raises under any strategy with its defaults (tensorflow issue 51525) and forgets at a restart. Here the
evaluations of JOB_DIR/evaluations.jsonl alone decide, so the answer is the same after a restart, and whoever evaluates.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from trainer.job.config import Job
from trainer.job.errors import UsageError
from trainer.training.exporters import known_direction
from trainer.training.records import read_evaluations

AGREE_EVERY_STEPS = 10


def check_early_stopping(job: Job, metric_names: list[str] | None) -> str | None:
    """`min` or `max` for --early-stop-metric, checked against what an evaluation of this model reports.

    Args:
      metric_names: those besides `loss`; None where they cannot be told before the first evaluation.

    Returns:
      None for a job that trains to its end.

    Raises:
      UsageError: the model has no such metric, or neither its name nor --best-mode tells the direction.
    """
    name, evaluation = job.training.early_stop_metric, job.evaluation
    if name is None:
        return None
    if metric_names is not None and name not in (*metric_names, "loss"):
        reported = ", ".join(sorted({*metric_names, "loss"}))
        raise UsageError(f"--early-stop-metric={name}: the model reports {reported}; name one of these.")
    told = evaluation.best_mode if evaluation.best_metric == name and evaluation.best_mode != "auto" else None
    direction = told or known_direction(name)
    if direction is None:
        raise UsageError(
            f"--early-stop-metric={name}: its name does not tell whether less or more of it is better; say so with "
            f"--best-metric={name} and --best-mode=min or max."
        )
    return direction


def stopped_at(
    evaluations: Mapping[int, Mapping[str, float]], metric: str, direction: str, patience: int
) -> int | None:
    """The step of the evaluation that ends training, None while it goes on.

    It is the `patience`-th in a row that is no better than the best before them: keras.callbacks.EarlyStopping with
    its min_delta=0. Equal is no better, NaN never is, the very first evaluation ends nothing, and one without the
    metric does not count. Evaluations after the end change nothing, so a training that is over stays over.

    Args:
      evaluations: global step -> metrics, as `records.read_evaluations` has them.
      direction: `min` or `max`, what is better.
      patience: at least 1.
    """
    sign = 1.0 if direction == "min" else -1.0
    best, waited = math.inf, 0
    for number, step in enumerate(sorted(evaluations)):
        value = evaluations[step].get(metric)
        if value is None:
            continue
        if sign * value < best:
            best, waited = sign * value, 0
            continue
        waited += 1
        if waited >= patience and number > 0:
            return step
    return None


class EarlyStopWatch:
    """Whether the evaluations recorded so far end the training; reads them when told to, or every few seconds.

    A process that evaluates calls `look` after it; one whose evaluations are another's gives `look_every_secs`.
    """

    def __init__(
        self, path: str, metric: str, direction: str, patience: int, look_every_secs: float | None = None
    ) -> None:
        self._path, self._rule, self._every_secs = path, (metric, direction, patience), look_every_secs
        self._next_at = 0.0
        self.stop_step: int | None = None

    def look(self, up_to_step: int | None = None) -> None:
        """Read the evaluations. Raises JobDirError.

        `up_to_step`: those after it are a lost run's, whose checkpoints could not be read.
        """
        known = read_evaluations(self._path)
        counted = {step: known[step] for step in known if up_to_step is None or step <= up_to_step}
        self.stop_step = stopped_at(counted, *self._rule)
        self._next_at = time.monotonic() + (self._every_secs or 0.0)

    def is_over(self) -> bool:
        """Cheap enough for every step."""
        if self.stop_step is None and self._every_secs is not None and time.monotonic() >= self._next_at:
            self.look()
        return self.stop_step is not None


class EarlyStopHook(tf.compat.v1.train.SessionRunHook):
    """End training after the step in which `is_over` says so; to stand behind the hook that evaluates.

    Where several workers train in step, one that stopped alone would leave the others waiting for its gradients for
    good. There each tells the others every few steps what it wants, and all end after the same one.
    """

    def __init__(
        self,
        is_over: Callable[[], bool],
        *,
        workers_in_step: int = 1,
        start_step: int = 0,
        agree_every_steps: int = AGREE_EVERY_STEPS,
    ) -> None:
        """`start_step` is the global step that the run begins with; only `is_over` may differ among the workers."""
        self._is_over, self._every_steps, self._start_step = is_over, agree_every_steps, start_step
        self._agrees, self._step = workers_in_step > 1, start_step

    def begin(self) -> None:
        """Add what the workers agree with to the graph."""
        if self._agrees:
            strategy = tf.distribute.get_strategy()
            self._wish = tf.compat.v1.placeholder_with_default(0, ())
            sums = strategy.run(lambda: tf.distribute.get_replica_context().all_reduce("SUM", self._wish))
            self._sum = strategy.experimental_local_results(sums)[0]

    def after_create_session(self, session: tf.compat.v1.Session, coord: Any) -> None:
        """Count from here: the variable may be read before or after the step that it is fetched with."""
        self._step = self._start_step

    def after_run(self, run_context: Any, run_values: Any) -> None:
        """See SessionRunHook."""
        self._step += 1
        if self._wants_stop(run_context.session):
            run_context.request_stop()

    def _wants_stop(self, session: tf.compat.v1.Session) -> bool:
        if not self._agrees:
            return self._is_over()
        if self._step % self._every_steps:
            return False
        # after the same step on all workers: each waits here for the others
        return bool(session.run(self._sum, feed_dict={self._wish: int(self._is_over())}) > 0)
