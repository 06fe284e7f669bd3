"""What happens between two steps: saving, evaluating, stopping. Each hook costs every step, so each does little."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from trainer.job.schedule import Schedule
from trainer.training.failures import storage_refusals
from trainer.training.stopping import StopRequest

Timer = tf.compat.v1.train.SecondOrStepTimer


class StoppedWhileEvaluating(Exception):
    """A stop was asked for in an evaluation: its checkpoint is saved, the evaluation is not worth finishing."""


class SaveAndEvaluateHook(tf.compat.v1.train.CheckpointSaverHook):
    """Save at the steps of the schedule, and let the evaluating listener run only where an evaluation is due.

    `tf.estimator.train_and_evaluate` evaluates after every checkpoint; this is the hook it attaches its listener to.
    A stop saves at the exact step and evaluates nothing. A resumed job does not save again what it was restored from.
    `check` is called before steps are saved, and raises where they are not to be kept.
    """

    def __init__(
        self,
        folder: str,
        schedule: Schedule,
        start_step: int,
        stop: StopRequest,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(
            folder, save_secs=schedule.save_every_secs, save_steps=schedule.save_every_steps, save_graph_def=False
        )
        self._eval_timer = Timer(every_secs=schedule.eval_every_secs, every_steps=schedule.eval_every_steps)
        self._eval_every_steps = schedule.eval_every_steps or 1
        self._total_steps = schedule.total_steps
        self._start_step = start_step
        self._saved_step = start_step if start_step else -1
        self._stop = stop
        self._check = check
        self._set_steps_per_run(1)
        self._begun = False
        self.evaluating_secs = 0.0  # what the listeners took, so that examples/s speaks of training

    def after_create_session(self, session: tf.compat.v1.Session, coord: Any) -> None:
        """Save step 0 of a new job; the listener skips its first call, so it gets one either way.

        A session that was lost, with a parameter server, is made anew from the last checkpoint: nothing is due then.
        """
        if self._begun:
            return
        self._begun = True
        self._save_only(session, self._start_step)
        self._tell_listeners(session, self._start_step)
        self._timer.update_last_triggered_step(self._start_step)
        # evaluations are due at the steps at which those of an undisturbed run are, wherever this one resumes
        self._eval_timer.update_last_triggered_step(self._start_step - self._start_step % self._eval_every_steps)

    def after_run(self, run_context: Any, run_values: Any) -> None:
        """Save and evaluate what is due after this step."""
        if not self._due(int(run_values.results) + 1):
            return
        step = int(run_context.session.run(self._global_step_tensor))
        saves, evaluates = self._timer.should_trigger_for_step(step), self._eval_due(step)
        if saves or evaluates:
            self._timer.update_last_triggered_step(step)
            self._save_learnt(run_context.session, step)
        if evaluates and not self._stop.requested and self._tell_listeners(run_context.session, step):
            run_context.request_stop()

    def end(self, session: tf.compat.v1.Session) -> None:
        """Save the last step; evaluate it unless the run was stopped."""
        step = int(session.run(self._global_step_tensor))
        self._save_learnt(session, step)
        if not self._stop.requested:
            started = time.perf_counter()
            for listener in self._listeners:
                listener.end(session, step)
            self.evaluating_secs += time.perf_counter() - started

    def _due(self, step: int) -> bool:
        return self._timer.should_trigger_for_step(step) or self._eval_due(step)

    def _eval_due(self, step: int) -> bool:
        """The last step is left to `end`, which evaluates it whatever the schedule says."""
        return step < self._total_steps and self._eval_timer.should_trigger_for_step(step)

    def _save_learnt(self, session: tf.compat.v1.Session, step: int) -> None:
        """Save what a step has learnt; not for the first weights, before which nothing was read."""
        if step != self._saved_step:
            self._check()
        self._save_only(session, step)

    def _save_only(self, session: tf.compat.v1.Session, step: int) -> None:
        if step != self._saved_step:
            with storage_refusals():  # a parameter server's session would take one for the end of that
                self._get_saver().save(session, self._save_path, global_step=step, write_meta_graph=False)
            self._saved_step = step

    def _tell_listeners(self, session: tf.compat.v1.Session, step: int) -> bool:
        started = time.perf_counter()
        self._eval_timer.update_last_triggered_step(step)
        wants_stop = [listener.after_save(session, step) for listener in self._listeners]
        self.evaluating_secs += time.perf_counter() - started
        return any(wants_stop)


class DistinctVariablesHook(tf.compat.v1.train.SessionRunHook):
    """Take the parts of variables that devices share out of the graph's list, where they stand beside the whole.

    Those that an optimizer makes when replicas meet do, and a checkpoint would have them twice: "at least two variables
    have the same name" (TensorFlow 2.15.1).
    """

    def begin(self) -> None:
        """Before the saver looks at the list."""
        variables = tf.compat.v1.get_collection_ref(tf.compat.v1.GraphKeys.GLOBAL_VARIABLES)
        parts = {id(part) for each in variables for part in self._parts(each)}
        variables[:] = [each for each in variables if id(each) not in parts]

    def _parts(self, variable: Any) -> tuple[Any, ...]:
        single = getattr(variable, "_v", None)  # of CentralStorageStrategy
        return tuple(getattr(variable, "_values", ())) or ((single,) if single is not None else ())


class StopHook(tf.compat.v1.train.SessionRunHook):
    """End training after the step in which a stop was asked for."""

    def __init__(self, stop: StopRequest) -> None:
        self._stop = stop

    def after_run(self, run_context: Any, run_values: Any) -> None:
        """See SessionRunHook."""
        if self._stop.requested:
            run_context.request_stop()


class AbandonEvaluationHook(StopHook):
    """Leave an evaluation in which a stop was asked for."""

    def after_run(self, run_context: Any, run_values: Any) -> None:
        """See SessionRunHook. Raises StoppedWhileEvaluating."""
        if self._stop.requested:
            raise StoppedWhileEvaluating


class FiniteLossHook(tf.compat.v1.train.SessionRunHook):
    """Fail on a NaN loss before the saver behind it keeps the weights that it left.

    The Estimator's own hook looks only after every other hook has run, saving included.
    """

    def begin(self) -> None:
        """The Estimator puts the loss it reports into this collection, last."""
        self._loss = tf.compat.v1.get_collection(tf.compat.v1.GraphKeys.LOSSES)[-1]

    def before_run(self, run_context: Any) -> Any:
        """See SessionRunHook."""
        return tf.compat.v1.train.SessionRunArgs(self._loss)

    def after_run(self, run_context: Any, run_values: Any) -> None:
        """See SessionRunHook. Raises NanLossDuringTrainingError."""
        if not math.isfinite(run_values.results):
            raise tf.estimator.NanLossDuringTrainingError
