"""A process of a cluster at work: it gives signs of life, hears of the others, and never hangs for good.

A thread of its own does that, since the main one may sit in a step that never ends: when a process dies under
MultiWorkerMirrored, the others wait for it for ever, without an error (measured on TensorFlow 2.15.1).
"""

from __future__ import annotations

import contextlib
import dataclasses
import faulthandler
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from trainer.job.errors import TrainerError
from trainer.training.board import Board, Run
from trainer.training.stopping import StopRequest, UnheardSignals

LOG = logging.getLogger("trainer")
SIGNAL_SECS = 0.5
STUCK_SECS = 10.0  # without a step, after which a signal is no longer kept waiting for its end
UNSTUCK_SECS = 6.0  # without a step, after which a process that waits for a chief that is gone, ends
# 128 + SIGABRT: Vertex AI restarts a replica that ends so, up to three times (custom training's documentation)
STALLED = 134
EXIT_CODES = {"trained": 0, "finished": 0, "stopped": 143, "failed": 3}
ENDED = {
    "trained": "the run is over",
    "finished": "the run is over",
    "stopped": "the chief was stopped",
    "failed": "the chief has failed",
}

Facts = Callable[[int, int], dict[str, Any]]  # step, own steps -> more to say in a beat


class Member:
    """The thread, and what it knows."""

    def __init__(
        self,
        board: Board,
        name: str,
        run: Run,
        stall_secs: float,
        stop: StopRequest,
        facts: Facts,
    ) -> None:
        """`stop`: its signals are heeded even where a step never ends, and the main thread never hears of them."""
        self._board, self.name, self._run, self._stall_secs = board, name, run, stall_secs
        self._facts = facts
        self._longest_secs, self._signals = 0.0, UnheardSignals(stop)
        self.step, self.steps = run.start_step, 0
        self.told_to_end = False  # by the chief, where each worker does steps of its own
        self._doing, self._beats = "starting", 0
        self._changed_at = time.monotonic()
        self._others_at, self._others_beat = self._changed_at, -1
        self._listeners = list[Callable[[Run], None]]()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="member", daemon=True)

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """Give signs of life within this context."""
        self._put_beat()
        self._thread.start()
        try:
            yield
        finally:
            self._over.set()
            self._thread.join()
            self._put_beat()

    def follow(self, run: Run) -> None:
        """Take another run, or another state of it, for the one that the signs of life speak of."""
        self._run = run

    def stepped(self, step: int) -> None:
        """A step is done."""
        self._longest_secs = max(self._longest_secs, self.idle_secs if self._doing == "training" else 0.0)
        self.step, self.steps, self._doing = step, self.steps + 1, "training"
        self._changed_at = time.monotonic()

    @contextlib.contextmanager
    def doing(self, what: str) -> Iterator[None]:
        """Something that takes its time without steps, such as an evaluation."""
        before, self._doing = self._doing, what
        try:
            yield
        finally:
            self._doing = before
            self._changed_at = time.monotonic()

    def on_news(self, listener: Callable[[Run], None]) -> None:
        """Call this with what the chief says, some seconds apart, from the thread."""
        self._listeners.append(listener)

    @property
    def idle_secs(self) -> float:
        """Seconds without a step, or anything else that was to be done."""
        return time.monotonic() - self._changed_at

    def _watch(self) -> None:
        pause, beat_at = min(self._board.beat_secs, self._stall_secs / 4), time.monotonic()
        while not self._over.wait(min(pause, SIGNAL_SECS)):
            self._hear_signals()
            if time.monotonic() - beat_at < pause:
                continue
            beat_at = time.monotonic()
            try:
                self._put_beat()
                run = self._board.read_run()
            except (OSError, TrainerError) as error:  # the storage is away for a moment: the main thread will say
                LOG.debug("the board cannot be read: %s", error)
                run = None
            for listener in self._listeners if run is not None else ():
                listener(run)  # type: ignore[arg-type]
            self._hear_of_the_chief()
            if self._is_stalled():
                end_stalled(f"{self.name}: no step for {self._stall_secs:g} s (--stall-secs) at step {self.step}")

    def _put_beat(self) -> None:
        self._beats += 1
        said = {"attempt": self._run.attempt, "beat": self._beats, "step": self.step, "doing": self._doing}
        self._board.put_beat(self.name, {**said, **self._facts(self.step, self.steps)})

    def _hear_of_the_chief(self) -> None:
        """As long as the chief evaluates, and lives, nobody else has a step to do."""
        if self.name == "chief":
            return
        beat = self._board.read_beat("chief")
        if beat.get("beat") != self._others_beat and beat.get("doing") in ("evaluating", "waiting"):
            self._changed_at = time.monotonic()
        self._others_beat = beat.get("beat", -1)

    def _hear_signals(self) -> None:
        """End this process for a signal that its main thread cannot hear."""
        patience_secs = max(STUCK_SECS, 3 * self._longest_secs)
        is_stuck = self._doing == "training" and self.idle_secs > patience_secs
        signum = self._signals.look(f"{self.name}: stopping, once step {self.step + 1} ends", is_stuck)
        if signum is None:
            return
        why = f"step {self.step + 1} did not end"
        if self.name == "chief":
            self._board.put_run(dataclasses.replace(self._run, state="stopped", step=self.step, why=why))
        sentence = f"{self.name}: stopped, though {why}; the same command goes on from the last checkpoint."
        print(f"trainer.task: {sentence}", file=sys.stderr, flush=True)
        os._exit(128 + signum)

    def _is_stalled(self) -> bool:
        return self._doing in ("training", "starting") and self.idle_secs > self._stall_secs


class MemberHook(tf.compat.v1.train.SessionRunHook):
    """Tells the member of each step."""

    def __init__(self, member: Member) -> None:
        self._member = member

    def begin(self) -> None:
        """See SessionRunHook."""
        self._step = tf.compat.v1.train.get_global_step()

    def before_run(self, run_context: Any) -> Any:
        """See SessionRunHook."""
        return tf.compat.v1.train.SessionRunArgs(self._step)

    def after_run(self, run_context: Any, run_values: Any) -> None:
        """See SessionRunHook; the value may be that from before the step."""
        self._member.stepped(int(run_values.results) + 1)


def end_stalled(sentence: str) -> None:
    """Show the stacks of all threads and end this process: the main thread may be in a call that never returns."""
    print(f"trainer.task: {sentence}: ended, the stacks of its threads follow.", file=sys.stderr, flush=True)
    faulthandler.dump_traceback(sys.stderr, all_threads=True)
    sys.stderr.flush()
    os._exit(STALLED)


def end_with(run: Run, name: str) -> None:
    """End this process as the chief's run has ended: it waits for one that is gone."""
    why = f" ({run.why})" if run.why else ""
    print(
        f"trainer.task: {name}: the chief has {run.state} the run at step {run.step}{why}.", file=sys.stderr, flush=True
    )
    os._exit(EXIT_CODES[run.state])
