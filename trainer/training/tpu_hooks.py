"""What happens between the loops of a TPU: as `hooks` and `progress` have it between two steps.

A TPU makes `--iterations-per-loop` steps before it comes back. No loop goes past a step at which the job evaluates or
saves, so these happen at the same steps as anywhere else.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from trainer.training.hooks import SaveAndEvaluateHook
from trainer.training.progress import ProgressHook

_ITERATIONS = "tpu_estimator_iterations_per_loop"  # the collection that tpu_estimator.py keeps its variable in


class LoopSaveAndEvaluateHook(SaveAndEvaluateHook):
    """Ends a loop where something is due, and looks at the step that it has come to."""

    def before_run(self, run_context: Any) -> Any:
        """Shorten the next loop if need be: TPUEstimator, which reads its length next, looks at the last step only."""
        found = tf.compat.v1.get_collection(_ITERATIONS)  # none where the steps are the CPU's
        timers = [each for each in (self._timer, self._eval_timer) if each._every_steps]
        if found and timers:
            step, planned = run_context.session.run([self._global_step_tensor, found[0]])
            due = min(each.last_triggered_step() + each._every_steps for each in timers)
            found[0].load(min(int(planned), max(1, due - int(step))), session=run_context.session)
        return super().before_run(run_context)

    def _due(self, step: int) -> bool:
        """Always: what was fetched beside a loop may be from before it."""
        return True


class LoopProgressHook(ProgressHook):
    """Counts the steps of a loop; examples/s counts from the end of the first loop."""

    def begin(self) -> None:
        """See ProgressHook."""
        super().begin()
        self._global_step = tf.compat.v1.train.get_global_step()
        self._several = False

    def after_run(self, run_context: Any, run_values: Any) -> None:
        """See ProgressHook."""
        step = int(run_context.session.run(self._global_step))
        self._several = step - self._step > 1
        if not self._first_at:
            self._start = step - 1
        self._step = step - 1
        super().after_run(run_context, run_values)

    def _is_point(self, step: int) -> bool:
        return self._several or super()._is_point(step)
