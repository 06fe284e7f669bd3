"""The evaluator of a cluster: it evaluates and exports what the chief saves, and stops with it.

TensorFlow's own never ends after early stopping, and dies where a checkpoint is deleted under it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import logging
import time
from collections.abc import Iterator

import tensorflow as tf

from trainer.cloud import lease
from trainer.cloud.storage import is_remote
from trainer.job.environment import Environment
from trainer.job.errors import Interrupted, JobDirError
from trainer.job.flags import Parsed
from trainer.job.paths import JobPaths
from trainer.job.schedule import Schedule
from trainer.training.board import Board, Run
from trainer.training.checkpoints import COMPLETE, PREFIX
from trainer.training.estimators import Engine, build_engine
from trainer.training.explanations import training_explained
from trainer.training.hooks import StoppedWhileEvaluating
from trainer.training.member import Member, end_stalled
from trainer.training.prepare import prepare_to_follow
from trainer.training.records import read_evaluations
from trainer.training.stopping import StopRequest
from trainer.training.strategies import ALONE
from trainer.training.tensorboard import session_shown
from trainer.training.tuner import open_tuner

LOG = logging.getLogger("trainer")
GONE = (tf.errors.NotFoundError, tf.errors.OutOfRangeError, tf.errors.DataLossError, ValueError)


def evaluate_continuously(parsed: Parsed, environment: Environment, board: Board, run: Run, stop: StopRequest) -> Run:
    """Evaluate what is due until the run is over and its last checkpoint is done; the run as it was then."""
    paths = JobPaths.of(parsed.job, environment.trial_id)
    tuner = open_tuner(environment, parsed.job.evaluation)
    plan = prepare_to_follow(parsed, paths, dataclasses.replace(ALONE, name="none"), run.start_step)
    tuner.repeat(plan)
    with held_by_evaluator(paths), session_shown(plan), training_explained(plan.inputs, paths):
        engine = build_engine(plan, tuner)
        engine.exports.remove_unfinished()
        # it may have nothing to do for long, so it is the chief's silence that ends it
        member = Member(board, "evaluator", run, float("inf"), stop, lambda step, steps: {"done": work.is_done})
        work = Evaluations(engine, board, member, stop, parsed.job.distribution.stall_secs)
        with member.at_work(), stop.saving():
            ended = work.run(run)
        tuner.check_told()
        return ended


class Evaluations:
    """Which checkpoints are due, and whether the last one is done."""

    def __init__(self, engine: Engine, board: Board, member: Member, stop: StopRequest, stall_secs: float) -> None:
        self._engine, self._board, self._member, self._stop = engine, board, member, stop
        self._stall_secs = stall_secs
        self.is_done = False

    def run(self, run: Run) -> Run:
        """Until the run is over. Raises Interrupted."""
        beat, since = self._board.read_beat("chief"), time.monotonic()
        while True:
            if self._stop.requested:
                raise Interrupted("the evaluator was stopped; the chief goes on.", self._stop.signum or 0)
            run = self._board.read_run() or run
            if run.state in ("stopped", "failed", "finished"):
                return run
            if self._evaluate_one(run) or self.is_done:
                continue
            seen = self._board.read_beat("chief")
            if seen != beat:
                beat, since = seen, time.monotonic()
            if time.monotonic() - since > self._stall_secs:
                end_stalled(f"evaluator: no sign of life of the chief for {self._stall_secs:g} s (--stall-secs)")
            time.sleep(self._board.look_secs)

    def _evaluate_one(self, run: Run) -> bool:
        """Evaluate the earliest checkpoint that is due; False where none is, or it is gone."""
        plan = self._engine.plan
        self._member.follow(run)
        known = read_evaluations(plan.paths.evaluations)
        last = max(known, default=-1)
        final = run.step if run.state == "trained" else None
        done = final is not None and final in known and self._has_final()
        self.is_done = done
        due = [step for step in saved_steps(plan.paths.checkpoints) if step > last and is_due(step, plan.schedule)]
        if final is not None and not done:
            due = [*(step for step in due if step < final), final]
        if not due or done:
            if done:
                time.sleep(self._board.look_secs)
            return False
        return self._evaluate(due[0], final=due[0] == final)

    def _has_final(self) -> bool:
        exports = self._engine.exports
        return "final" not in self._engine.plan.job.evaluation.exporters or bool(exports.list("final"))

    def _evaluate(self, step: int, final: bool) -> bool:
        checkpoint = f"{self._engine.plan.paths.checkpoints}/{PREFIX}{step}"
        try:
            with self._member.doing("evaluating"):
                self._engine.evaluate_and_export(self._stop, checkpoint, final)
        except StoppedWhileEvaluating:
            return False
        except GONE:
            if tf.io.gfile.exists(f"{checkpoint}.index"):
                raise
            LOG.warning("the checkpoint of step %d was deleted while it was evaluated: --keep-checkpoints", step)
            return True
        self._member.step = step
        return True


def saved_steps(folder: str) -> list[int]:
    """The steps of the checkpoints that are whole, in their order."""
    names = tf.io.gfile.listdir(folder) if tf.io.gfile.isdir(folder) else []
    return sorted(int(match[1]) for match in map(COMPLETE.fullmatch, names) if match)


def is_due(step: int, schedule: Schedule) -> bool:
    """Whether a checkpoint of this step is to be evaluated; where seconds decide, every one is."""
    if step == 0:
        return False
    return schedule.eval_every_steps is None or step % schedule.eval_every_steps == 0 or step >= schedule.total_steps


@contextlib.contextmanager
def held_by_evaluator(paths: JobPaths) -> Iterator[None]:
    """One evaluator at a time; locally, as far as this machine can tell. Raises JobDirError."""
    if is_remote(paths.job_dir):
        with lease.held(f"{paths.cluster}/evaluator.lock", f"{paths.job_dir} as evaluator"):
            yield
        return
    with open(f"{paths.cluster}/evaluator.lock", "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise JobDirError(f"another evaluator is at work in {paths.job_dir}: stop one of the two.") from error
        yield
