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
import os
import uuid
from typing import Any, Literal

from trainer.cloud.storage import is_remote
from trainer.job.errors import JobDirError
from trainer.job.paths import JobPaths
from trainer.training.records import put_json, read_json, remove_parts

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
    """The files themselves.

    Attributes:
      beat_secs, look_secs: how far apart signs of life are, and looks for news: in a bucket each costs a request.
    """

    def __init__(self, paths: JobPaths) -> None:
        self._folder = paths.cluster
        self.beat_secs, self.look_secs = (10.0, 3.0) if is_remote(self._folder) else (2.0, 0.5)

    def open_run(self, run: Run) -> None:
        """Begin a run: what an earlier one left no longer counts."""
        remove_parts(self._folder, [f"{STOP}.json"], "")
        if not is_remote(self._folder):
            os.makedirs(self._folder, exist_ok=True)
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
        except JobDirError:  # no file of ours
            return None
        return found if isinstance(found, dict) else None


def new_attempt() -> str:
    """A name that no run had before."""
    return uuid.uuid4().hex
