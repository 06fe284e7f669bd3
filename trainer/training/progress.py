"""What a person sees while it trains: a bar on a terminal, a line every few seconds in a log."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, TextIO

import tensorflow as tf
import tqdm

from trainer.job.schedule import Schedule
from trainer.training.hooks import SaveAndEvaluateHook

LOG = logging.getLogger("trainer")
BAR = "{percentage:3.0f}% |{bar}| step {n_fmt}/{total_fmt}{postfix}"
BAR_SECS = 0.25
LINE_SECS = 5.0
FIRST_LINE_SECS = 1.0
CURVE_POINTS = 200  # of the training loss in the event files, at steps that no clock decides


class ProgressHook(tf.compat.v1.train.SessionRunHook):
    """Shows step/total, examples/s, loss and time left, and writes them for TensorBoard.

    The loss is fetched only where it is shown or kept: a fetch in every step would cost more than a small model's step.
    examples/s counts from the end of the first step (before it, the graph is being optimised) and leaves out
    evaluations and exports.
    """

    def __init__(
        self,
        schedule: Schedule,
        start_step: int,
        batch_size: int,
        saver: SaveAndEvaluateHook,
        log_dir: str,
        step_of: Callable[[], int] | None = None,
    ) -> None:
        """`step_of` tells the global step where other processes do steps too."""
        self._schedule, self._saver, self._batch_size, self._log_dir = schedule, saver, batch_size, log_dir
        self._step = self._start = start_step
        self._first_at = self._last_at = 0.0
        self._next_at = 0.0
        self._point_every = max(1, schedule.total_steps // CURVE_POINTS)
        self._evaluating_secs = 0.0
        self._step_of = step_of
        self._show_bar = fits_a_bar(sys.stderr) and LOG.isEnabledFor(logging.INFO)
        self._bar: Any = None

    @property
    def examples_per_sec(self) -> float | None:
        """Training rate of this run; None before the second step. A smaller last batch counts as a whole one."""
        secs = self._last_at - self._first_at - self._evaluating_secs
        steps = self._step - self._start - 1
        return steps * self._batch_size / secs if steps > 0 and secs > 0 else None

    def begin(self) -> None:
        """The Estimator puts the loss it reports into this collection, last."""
        self._loss = tf.compat.v1.get_collection(tf.compat.v1.GraphKeys.LOSSES)[-1]
        self._writer = tf.compat.v1.summary.FileWriterCache.get(self._log_dir)
        if self._show_bar:
            self._bar = tqdm.tqdm(
                total=self._schedule.total_steps,
                initial=self._start,
                bar_format=BAR,
                file=sys.stderr,
                leave=False,
                dynamic_ncols=True,
            )

    def before_run(self, run_context: Any) -> Any:
        """Ask for the loss where it will be shown or kept."""
        if time.perf_counter() >= self._next_at or self._is_point(self._step + 1):
            return tf.compat.v1.train.SessionRunArgs(self._loss)
        return None

    def after_run(self, run_context: Any, run_values: Any) -> None:
        """Count the step; show what is due."""
        self._step = self._step_of() if self._step_of else self._step + 1
        self._last_at = time.perf_counter()
        if not self._first_at:
            self._first_at = self._last_at
            LOG.debug("first step done")
        self._evaluating_secs = self._saver.evaluating_secs  # now: the evaluation after the last step is not in secs
        if run_values.results is not None:
            loss = float(run_values.results)
            self._put_scalars({"loss": loss, "examples_per_sec": self.examples_per_sec})
            if self._last_at >= self._next_at:
                self._show(loss)

    def end(self, session: tf.compat.v1.Session) -> None:
        """Take the bar away; the lines above it stay."""
        self.close()

    def close(self) -> None:
        """Take the bar away, also after an error."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _is_point(self, step: int) -> bool:
        return step % self._point_every == 0 or step in (1, self._schedule.total_steps)

    def _show(self, loss: float) -> None:
        rate = self.examples_per_sec
        left = self._left(rate)
        if self._bar is not None:
            self._bar.set_postfix_str(f"loss {loss:.4f}, {_rate(rate)}, {left}", refresh=False)
            self._bar.n = self._step
            self._bar.refresh()
            self._next_at = self._last_at + BAR_SECS
            return
        wait = FIRST_LINE_SECS if self._step == self._start + 1 else LINE_SECS
        self._next_at = self._last_at + wait
        LOG.info("step %d/%d  loss %.4f  %s  %s", self._step, self._schedule.total_steps, loss, _rate(rate), left)

    def _left(self, rate: float | None) -> str:
        if not rate:
            return "time left unknown yet"
        secs = (self._schedule.total_steps - self._step) * self._batch_size / rate
        return f"{format_secs(secs)} left"

    def _put_scalars(self, values: Mapping[str, float | None]) -> None:
        summary = tf.compat.v1.Summary()
        for name, value in values.items():
            if value is not None:
                summary.value.add(tag=name, simple_value=value)
        self._writer.add_summary(summary, self._step)


def fits_a_bar(stream: TextIO) -> bool:
    """Whether this is a terminal with a width: containers have some without, on which a bar would be nothing."""
    try:
        return stream.isatty() and os.get_terminal_size(stream.fileno()).columns > 0
    except OSError:
        return False


def format_secs(secs: float) -> str:
    """1:02:03, 2:03 or 3 s."""
    whole = round(secs)
    if whole < 60:
        return f"{whole} s"
    hours, rest = divmod(whole, 3600)
    clock = f"{rest // 60:02d}:{rest % 60:02d}"
    return f"{hours}:{clock}" if hours else clock.lstrip("0")


def metrics_line(metrics: Mapping[str, float]) -> str:
    """`accuracy 0.5741  loss 1.3012`, the loss last."""
    names = sorted(metrics, key=lambda name: (name == "loss", name))
    return "  ".join(f"{name} {metrics[name]:.4f}" for name in names if name != "global_step")


def _rate(rate: float | None) -> str:
    return f"{rate:,.0f} examples/s" if rate else "measuring"
