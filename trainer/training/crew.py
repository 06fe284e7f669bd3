"""The chief's dealings with the others of its cluster: it says how far the run is, and waits for the evaluator."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import time
from collections.abc import Iterator
from typing import Any

from trainer.job.cluster import Cluster
from trainer.job.config import Job
from trainer.job.errors import Interrupted, UsageError
from trainer.job.paths import JobPaths
from trainer.training.board import Board, Run, State, new_attempt
from trainer.training.estimators import Engine
from trainer.training.member import Member
from trainer.training.prepare import Plan
from trainer.training.records import read_evaluations
from trainer.training.stopping import StopRequest
from trainer.training.strategies import Spread

LOG = logging.getLogger("trainer")


class Crew:
    """What the chief says to the others; nothing where there are none."""

    def __init__(self, board: Board | None, job: Job, spread: Spread, evaluates: bool) -> None:
        self._board, self._job, self._spread, self.evaluates = board, job, spread, evaluates
        self._run: Run | None = None
        self._member: Member | None = None
        self._has_heeded = False

    @classmethod
    def of(cls, job: Job, cluster: Cluster | None, paths: JobPaths, spread: Spread) -> Crew:
        """The crew of a job. Raises UsageError where it should be evaluated by somebody who is not there."""
        by = evaluated_by(job, cluster)
        together = cluster is not None and not (cluster.is_alone and by == "chief")
        return cls(Board(paths) if together else None, job, spread, by == "chief")

    @contextlib.contextmanager
    def at_work(self, engine: Engine, stop: StopRequest) -> Iterator[Engine]:
        """Give signs of life while the engine, which knows of them then, is at work; say how it ends."""
        if self._board is None:
            yield engine
            return
        self._open(engine.plan, "running")
        facts = lambda step, steps: examples_seen(engine.plan, steps)  # noqa: E731
        assert self._run is not None
        member = self._member = Member(self._board, "chief", self._run, self._job.distribution.stall_secs, stop, facts)
        member.on_news(lambda run: self._heed_stop(stop))
        with self._told(member), member.at_work():
            yield dataclasses.replace(engine, member=member, evaluates=self.evaluates)

    def say_finished(self, plan: Plan) -> None:
        """An earlier run has done all: whoever waits for this one can go."""
        if self._board is not None:
            self._open(plan, "finished")

    def say_trained(self, step: int) -> None:
        """The last checkpoint is there."""
        self._say("trained", step)

    def wait_for_evaluator(self, engine: Engine, step: int) -> None:
        """Wait until the last checkpoint is evaluated and exported; do it here where the evaluator gives no sign."""
        if self.evaluates or self._board is None or self._run is None or self._member is None:
            return
        beat, since, stall_secs = None, time.monotonic(), self._job.distribution.stall_secs
        with self._member.doing("waiting"):
            while True:
                seen = self._board.read_beat("evaluator")
                if seen.get("attempt") == self._run.attempt and seen.get("done"):
                    return
                if seen.get("beat") != beat:
                    beat, since = seen.get("beat"), time.monotonic()
                if time.monotonic() - since > stall_secs:
                    break
                time.sleep(self._board.look_secs)
            LOG.warning(
                "the evaluator has given no sign of life for %g s: the chief evaluates the last step", stall_secs
            )
            engine.exports.remove_unfinished()
            if step not in read_evaluations(engine.plan.paths.evaluations) or not engine.exports.list("final"):
                engine.evaluate_and_export(final=True)

    def _open(self, plan: Plan, state: State) -> None:
        by = "chief" if self.evaluates else "evaluator"
        step, total = plan.start.step, plan.schedule.total_steps
        self._run = Run(new_attempt(), state, step, step, total, self._spread.name, by)
        assert self._board is not None
        self._board.open_run(self._run)

    def _say(self, state: State, step: int, why: str = "") -> None:
        if self._board is not None and self._run is not None:
            self._run = dataclasses.replace(self._run, state=state, step=step, why=why)
            self._board.put_run(self._run)

    @contextlib.contextmanager
    def _told(self, member: Member) -> Iterator[None]:
        try:
            yield
        except (Interrupted, KeyboardInterrupt) as error:
            self._say("stopped", member.step, str(error))
            raise
        except Exception as error:
            self._say("failed", member.step, f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
            raise
        self._say("finished", self._run.step if self._run else member.step)

    def _heed_stop(self, stop: StopRequest) -> None:
        """A worker was told to stop: the chief takes it for its own signal, as only it can save."""
        assert self._board is not None
        signum = self._board.is_asked_to_stop()
        if signum is not None and not stop.requested and not self._has_heeded:
            self._has_heeded = True  # a second signal would be one that does not wait for the step
            os.kill(os.getpid(), signum)


def evaluated_by(job: Job, cluster: Cluster | None) -> str:
    """Who evaluates and exports. Raises UsageError."""
    said = job.distribution.evaluated_by
    if said == "evaluator" and cluster is None:
        raise UsageError(
            "--evaluated-by=evaluator: TF_CONFIG names no cluster, so there is no evaluator; leave it out or say chief."
        )
    if said != "auto":
        return said
    return "evaluator" if cluster is not None and cluster.has_evaluator else "chief"


def examples_seen(plan: Plan, steps: int) -> dict[str, Any]:
    """Which part of the data this process trains on, and how many examples it has seen in so many steps of its own."""
    spread, parts = plan.spread, plan.inputs.parts(plan.spread)
    first = plan.start.step // spread.trainers if spread.is_async else plan.start.step
    share = {"share": [spread.position, spread.trainers]}
    return {**share, "examples": parts.examples(first, steps)} if parts else share
