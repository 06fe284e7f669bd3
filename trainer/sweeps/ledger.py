"""The book of a sweep: every trial, what was chosen and what came of it, in an SQLite file that survives any end.

optuna keeps it, so that its own tools can read it; what is ours (values as flags, measurements with their times, why a
trial ended) stands with each trial as a user attribute.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import IO, Any, Literal

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.engine import URL

from trainer.cloud.study_parameters import Value
from trainer.job.errors import FULL_ERRNOS, JobDirError, StorageFailed
from trainer.sweeps.measurements import Measurement
from trainer.sweeps.plan import SweepPlan
from trainer.sweeps.space import choose, make_sampler

NAME = "sweep"
OWN_FILES = ("sweep.lock", "study.db", "study.db-journal", "trials", "sweep.html", "sweep.json")
State = Literal["running", "completed", "stopped", "failed"]
STATES: dict[TrialState, State] = {
    TrialState.RUNNING: "running",
    TrialState.COMPLETE: "completed",
    TrialState.PRUNED: "stopped",
    TrialState.FAIL: "failed",
}
TOLD = {state: told for told, state in STATES.items()}


@dataclass(frozen=True)
class Record:
    """A trial as the book has it.

    Attributes:
      number: from 1.
      state: `stopped` by the study's rule, which is not `failed`; what a stopped sweep leaves is `running`.
      secs: how long all its runs took together.
      value: its final one, of a completed trial.
      why: what ended a trial that did not complete.
    """

    number: int
    values: dict[str, Value] = field(default_factory=dict)
    state: State = "running"
    measurements: tuple[Measurement, ...] = ()
    secs: float = 0.0
    value: float | None = None
    why: str = ""


class Ledger:
    """The open book. Only one sweep has it open at a time, so what it remembers is what the file has."""

    def __init__(self, plan: SweepPlan) -> None:
        """Open it, or begin it. Raises JobDirError where it is another sweep's, and StorageFailed."""
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._plan = plan
        url = URL.create("sqlite", database=os.path.abspath(plan.storage)).render_as_string()
        direction: Literal["maximize", "minimize"] = "maximize" if plan.study.sign > 0 else "minimize"
        self.study = optuna.create_study(
            storage=optuna.storages.RDBStorage(url), study_name=NAME, direction=direction, load_if_exists=True
        )
        self._refuse_another_sweep()
        self._trials: dict[int, Trial] = {}
        self._records: dict[int, Record] = {}
        self._reported: dict[int, set[int]] = {}
        for frozen in self.study.get_trials():
            self._records[frozen.number + 1] = self._recalled(frozen)

    @property
    def records(self) -> list[Record]:
        """All trials by number."""
        return [self._records[number] for number in sorted(self._records)]

    def record(self, number: int) -> Record:
        """One trial."""
        return self._records[number]

    def of(self, state: State) -> list[Record]:
        """The trials of a state by number."""
        return [each for each in self.records if each.state == state]

    def begin(self) -> Record:
        """A new trial, its values chosen."""
        number = len(self._records) + 1
        self._set_sampler(number)
        return self._chosen(self.study.ask(), number)

    def note(self, number: int, measurements: Sequence[Measurement], secs: float) -> Record:
        """Keep what a running trial has measured by now."""
        old = self._records[number]
        if tuple(measurements) != old.measurements:
            trial, reported = self._trials[number], self._reported.setdefault(number, set())
            trial.set_user_attr("measurements", [[each.step, each.value, each.secs] for each in measurements])
            trial.set_user_attr("secs", secs)
            for each in measurements:
                if each.step not in reported:  # optuna takes a step once
                    trial.report(each.value, each.step)
                    reported.add(each.step)
        return self._keep(replace(old, measurements=tuple(measurements), secs=secs))

    def pause(self, number: int) -> None:
        """Keep how long a trial has run that the next sweep goes on with."""
        self._trials[number].set_user_attr("secs", self._records[number].secs)

    def announce(self, number: int, why: str) -> None:
        """Keep that the study's rule stops a trial: a sweep killed meanwhile must not resume it."""
        self._trials[number].set_user_attr("stopping", why)

    def end(self, number: int, state: State, why: str = "", value: float | None = None) -> Record:
        """Close a trial; `value` is that of a completed one."""
        old = self._records[number]
        trial = self._trials[number]
        trial.set_user_attr("secs", old.secs)
        trial.set_user_attr("why", why)
        self.study.tell(trial, value, TOLD[state])
        return self._keep(replace(old, state=state, why=why, value=value))

    def _recalled(self, frozen: FrozenTrial) -> Record:
        kept, number = frozen.user_attrs, frozen.number + 1
        measurements = tuple(Measurement(*each) for each in kept.get("measurements", ()))
        record = Record(
            number=number,
            values=kept.get("values", {}),
            state=STATES[frozen.state],
            measurements=measurements,
            # a kill may have come between the two
            secs=max(kept.get("secs", 0.0), *(each.secs for each in measurements), 0.0),
            value=frozen.value if frozen.state == TrialState.COMPLETE else None,
            why=kept.get("why", ""),
        )
        if record.state != "running":
            return record
        self._set_sampler(number)
        self._trials[number] = Trial(self.study, frozen._trial_id)  # optuna's own way to take a trial up again
        self._reported[number] = set(frozen.intermediate_values)
        self._keep(record)
        if "stopping" in kept:
            return self.end(number, "stopped", kept["stopping"])
        # a kill while it was asked for leaves some of its values, or all, and no note of them
        return record if record.values else self._chosen(self._trials[number], number)

    def _chosen(self, trial: Trial, number: int) -> Record:
        values = choose(self._plan.study, trial)
        trial.set_user_attr("values", values)
        self._trials[number] = trial
        return self._keep(Record(number, values))

    def _set_sampler(self, number: int) -> None:
        self.study.sampler = make_sampler(self._plan.study, self._plan.seed, number, self._plan.max_trials)

    def _keep(self, record: Record) -> Record:
        self._records[record.number] = record
        return record

    def _refuse_another_sweep(self) -> None:
        wanted: dict[str, Any] = json.loads(json.dumps(self._plan.identity))
        there = self.study.user_attrs.get("identity")
        if there is None:
            self.study.set_user_attr("identity", wanted)
            return
        different = [name for name in wanted if there.get(name) != wanted[name]]
        if different:
            said = "; ".join(_difference(name, there.get(name), wanted[name]) for name in different)
            raise JobDirError(
                f"{self._plan.folder} holds another sweep: {said}. Name another --sweep-dir, or give what it was "
                "started with."
            )


def _difference(name: str, there: Any, wanted: Any) -> str:
    if name == "parameters":
        return "the study's parameters differ"
    if isinstance(there, list) and isinstance(wanted, list):
        gone, new = ([each for each in one if each not in other] for one, other in ((there, wanted), (wanted, there)))
        return f"its trials were given {' '.join(gone) or 'nothing'}, now {' '.join(new) or 'nothing'}"
    return f"{name} was {there}, now {wanted}"


@contextlib.contextmanager
def held(plan: SweepPlan) -> Iterator[None]:
    """Make the sweep's folder and hold it, for one sweep at a time.

    Raises:
      StorageFailed: it cannot be made or written, or the disk is full.
      JobDirError: another sweep is at work in it, or it holds what no sweep made.
    """
    with storage_explained(plan.folder):
        os.makedirs(plan.folder, exist_ok=True)
        others = set(os.listdir(plan.folder)) - set(OWN_FILES)
        if others and not os.path.exists(plan.storage):
            raise JobDirError(
                f"--sweep-dir={plan.folder} holds {min(others)}, which no sweep made: name a folder that is empty or "
                "not there yet."
            )
        with open(os.path.join(plan.folder, "sweep.lock"), "ab") as lock:
            _lock(lock, plan.folder)
            yield


def _lock(lock: IO[bytes], folder: str) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EAGAIN, errno.EACCES):
            raise
        raise JobDirError(f"another sweep is at work in {folder}: wait for it, or name another --sweep-dir.") from error


@contextlib.contextmanager
def storage_explained(folder: str) -> Iterator[None]:
    """Turn a full disk or a missing permission into a sentence. Raises StorageFailed."""
    try:
        yield
    except optuna.exceptions.StorageInternalError as error:
        words = str(error.__cause__ or error).splitlines()[0]
        raise StorageFailed(
            f"{folder}/study.db cannot be used ({words}): make room, or see to its permissions."
        ) from error
    except OSError as error:
        problem = "the disk is full" if error.errno in FULL_ERRNOS else f"cannot be written ({error.strerror})"
        raise StorageFailed(f"--sweep-dir={folder}: {problem}: make room, or name another folder.") from error
