"""How the processes of a job know of each other: small JSON files in JOB_DIR/cluster, local or gs://.

    run.json         by the chief: which run this is, and how far it has come
    chief.json       a beat of the chief, some seconds apart: its step, what it does, how many examples it has seen
    worker-0.json    the same of a worker
    evaluator.json   the same of the evaluator; its step is the last one that it evaluated
    stop.json        by a worker that was told to stop: the chief saves and ends the run

A beat that stays the same for long is of a process that hangs or is gone. No two clocks are compared: only changes
count, and the reader's own clock.
"""

from __future__ import annotations

import dataclasses
import uuid
from typing import Any, Literal

import tensorflow as tf

from trainer.job.errors import JobDirError
from trainer.job.paths import JobPaths
from trainer.training.records import put_json, read_json

State = Literal["running", "trained", "finished", "stopped", "failed"]
RUN, STOP = "run", "stop"


@dataclasses.dataclass(frozen=True)
class Run:
    """What the chief says of a run.

    Attributes:
      attempt: tells the runs of one job directory apart; a chief that starts anew makes another.
      state: `trained` when the last step is saved, `finished` when all is evaluated, exported and verified.
      start_step, step, total_steps: global steps: where it began, how far it is at a change of state, where it ends.
      strategy: of all that train.
      evaluated_by: `chief` or `evaluator`.
      why: what a run that `stopped` or `failed` has to say.
    """

    attempt: str
    state: State
    start_step: int
    step: int
    total_steps: int
    strategy: str
    evaluated_by: str
    why: str = ""

    @property
    def is_over(self) -> bool:
        """Whether nobody trains any more."""
        return self.state != "running"


class Board:
    """The files themselves."""

    def __init__(self, paths: JobPaths) -> None:
        self._folder = paths.cluster

    def open_run(self, run: Run) -> None:
        """Begin a run: what an earlier one left no longer counts."""
        tf.io.gfile.makedirs(self._folder)
        stop = self._path(STOP)
        if tf.io.gfile.exists(stop):
            tf.io.gfile.remove(stop)
        self.put_run(run)

    def put_run(self, run: Run) -> None:
        """Tell a change of state."""
        put_json(self._path(RUN), dataclasses.asdict(run))

    def read_run(self) -> Run | None:
        """The run; None where no chief has begun one."""
        found = self._read(RUN)
        return Run(**found) if found else None

    def put_beat(self, name: str, beat: dict[str, Any]) -> None:
        """Give a sign of life."""
        put_json(self._path(name), beat)

    def read_beat(self, name: str) -> dict[str, Any]:
        """The last sign of life; empty where there was none."""
        return self._read(name) or {}

    def ask_to_stop(self, signum: int) -> None:
        """Have the chief save and end the run."""
        put_json(self._path(STOP), {"signum": signum})

    def is_asked_to_stop(self) -> int | None:
        """The signal that some worker got; None where none has asked."""
        found = self._read(STOP)
        return int(found["signum"]) if found else None

    def _path(self, name: str) -> str:
        return f"{self._folder}/{name}.json"

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            found = read_json(self._path(name))
        except (JobDirError, tf.errors.NotFoundError):  # being replaced this moment, where a rename is no single step
            return None
        return found if isinstance(found, dict) else None


def new_attempt() -> str:
    """A name that no run had before."""
    return uuid.uuid4().hex
