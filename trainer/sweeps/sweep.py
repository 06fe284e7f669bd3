"""The sweep itself: so many trials at a time, each looked at some times a second, until all are done."""

from __future__ import annotations

import os
import sys
import time

from trainer.job.errors import Interrupted, TrainingFailed
from trainer.sweeps.ledger import Ledger, Record, State, held
from trainer.sweeps.measurements import final_value, merged
from trainer.sweeps.plan import SweepPlan
from trainer.sweeps.stopping import is_to_stop
from trainer.sweeps.table import Table
from trainer.sweeps.trial import TrialProcess, last_lines
from trainer.training.stopping import StopRequest

POLL_SECS = 0.2
FAILURES_WITHOUT_SUCCESS = 3  # that end a sweep where the study leaves it to us


def run_sweep(plan: SweepPlan, stop: StopRequest, table: Table) -> list[Record]:
    """Run all trials, or those that are left; the book's records.

    Raises:
      TrainingFailed: more trials failed than the study allows.
      Interrupted: a signal came; trials at work have saved and ended.
      KeyboardInterrupt: a second one came; they were killed.
      JobDirError, StorageFailed: the sweep's folder cannot be used.
    """
    with held(plan), stop.saving():
        ledger = Ledger(plan)
        sweep = Sweep(plan, ledger, table)
        try:
            sweep.run(stop)
        finally:
            sweep.kill()
            table.show(ledger.records)
        return ledger.records


class Sweep:
    """Trials at work, and the book they go into."""

    def __init__(self, plan: SweepPlan, ledger: Ledger, table: Table) -> None:
        self._plan, self._ledger, self._table = plan, ledger, table
        self._waiting = ledger.of("running")  # what an earlier sweep left
        self._earlier_secs = {each.number: each.secs for each in self._waiting}
        self._ends: dict[int, tuple[State, str]] = {}  # trials that we have told to stop: the state and why
        self._running: dict[int, TrialProcess] = {}

    def run(self, stop: StopRequest) -> None:
        """Until all trials are done. Raises TrainingFailed or Interrupted when nothing runs any more."""
        while not stop.requested:
            self._refuse_failures()
            self._fill()
            self._table.show(self._ledger.records)
            if not self._running:
                return
            time.sleep(POLL_SECS)
            for number in list(self._running):
                self._look_at(number)
                self._stop_early(number)
        self._wind_down()
        raise Interrupted(self._stopped_sentence(), stop.signum or 0)

    def kill(self) -> None:
        """Leave no process behind, whatever has happened."""
        for process in self._running.values():
            process.kill()
        self._running.clear()

    def _fill(self) -> None:
        while len(self._running) < self._plan.parallel_trials:
            if self._waiting:
                record = self._waiting.pop(0)
            elif len(self._ledger.records) < self._plan.max_trials:
                record = self._ledger.begin()
            else:
                return
            self._running[record.number] = TrialProcess(self._plan, record.number, self._plan.argv(record.values))

    def _look_at(self, number: int) -> None:
        """Keep what a trial has reported; close it if it has ended: the end is looked at first, the file then whole."""
        process = self._running[number]
        exit_code = process.poll()
        record = self._noted(number, process)
        if exit_code is None:
            return
        del self._running[number]
        if exit_code and process.is_stopping:
            self._close_stopped(number)
        elif exit_code:
            self._ledger.end(number, "failed", f"exit code {exit_code}: {self._last_words(process)}")
        elif not record.measurements:
            self._ledger.end(number, "failed", self._nothing_reported(process))
        else:
            study = self._plan.study
            value = final_value(record.measurements, study.selection, study.sign)
            self._ledger.end(number, "completed", value=value)

    def _noted(self, number: int, process: TrialProcess) -> Record:
        study, known = self._plan.study, self._ledger.record(number).measurements
        reports = [each for each in process.reports() if each.metric == study.metric]
        earlier = self._earlier_secs.get(number, 0.0)
        measurements = merged(known, reports, process.started_at, earlier, study.sign)
        return self._ledger.note(number, measurements, earlier + process.secs)

    def _close_stopped(self, number: int) -> None:
        """A trial that we have stopped: by the study's rules, or together with the sweep, to be gone on with."""
        if number not in self._ends:
            self._ledger.pause(number)
            return
        self._ledger.end(number, *self._ends[number])

    def _stop_early(self, number: int) -> None:
        process = self._running.get(number)
        if process is None or process.is_stopping:
            return
        study, record = self._plan.study, self._ledger.record(number)
        completed = [each.measurements for each in self._ledger.of("completed")]
        if study.timeout_secs is not None and record.secs > study.timeout_secs:
            self._ends[number] = "failed", f"longer than its timeout of {study.timeout_secs:g} s"
            process.stop()
        elif study.median and is_to_stop(record.measurements, completed, study.median, study.sign):
            self._ends[number] = "stopped", f"below the median at step {record.measurements[-1].step}"
            self._ledger.announce(number, self._ends[number][1])
            process.stop()

    def _refuse_failures(self) -> None:
        failed, plan = self._ledger.of("failed"), self._plan
        if not failed or len(failed) < self._failures_allowed():
            return
        self._wind_down()
        last = failed[-1]
        log = os.path.join(plan.trial_dir(last.number), "trial.log")
        for line in last_lines(log) if os.path.exists(log) else []:
            print(f"  trial {last.number}: {line}", file=sys.stderr)
        limit = f"maxFailedTrialCount is {plan.study.max_failed}" if plan.study.max_failed else "none has succeeded"
        raise TrainingFailed(
            f"{len(failed)} trials failed and {limit}: see {log} ({last.why}), mend it, and start anew with another "
            "--sweep-dir."
        )

    def _failures_allowed(self) -> float:
        if self._plan.study.max_failed:
            return self._plan.study.max_failed
        if self._ledger.of("completed"):
            return float("inf")
        return min(FAILURES_WITHOUT_SUCCESS, self._plan.max_trials)

    def _wind_down(self) -> None:
        """Let all that run save and end; the book keeps them as running, so that they can be gone on with."""
        for process in self._running.values():
            process.stop()
        while self._running:
            time.sleep(POLL_SECS)
            for number in list(self._running):
                self._look_at(number)

    def _stopped_sentence(self) -> str:
        left = len(self._ledger.of("running"))
        done = len(self._ledger.records) - left
        saved = f", {left} at work {'was' if left == 1 else 'were'} saved" if left else ""
        return f"stopped: {done} of {self._plan.max_trials} trials are done{saved}; the same command goes on."

    def _last_words(self, process: TrialProcess) -> str:
        return (last_lines(process.log, 1) or ["it said nothing"])[0].rstrip(".")

    def _nothing_reported(self, process: TrialProcess) -> str:
        others = sorted({each.metric for each in process.reports()})
        instead = f" but {', '.join(others)}; make metricId one of them" if others else ", nor any other metric"
        return f"it reported no {self._plan.study.metric}{instead}"
