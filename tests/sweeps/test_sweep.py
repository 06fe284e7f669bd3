"""The loop with real processes, whose trials are `fake_task.py`: ends, failures, stops, kills, and going on."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import psutil
import pytest

from tests.sweeps.lab import X, content, plan_of
from trainer.job.errors import Interrupted, JobDirError, TrainingFailed
from trainer.sweeps import trial as trial_module
from trainer.sweeps.closing import end_sweep
from trainer.sweeps.ledger import Ledger, Record, held
from trainer.sweeps.plan import SweepPlan
from trainer.sweeps.sweep import run_sweep
from trainer.sweeps.table import Table
from trainer.training.stopping import StopRequest

pytestmark = pytest.mark.timeout(60)


def grid_of(*values: float) -> dict[str, Any]:
    """A parameter x that takes these values in this order."""
    return {"parameterId": "x", "discreteValueSpec": {"values": list(values)}}


def sweep(plan: SweepPlan) -> dict[int, Record]:
    return {each.number: each for each in run_sweep(plan, StopRequest(), Table(plan, quiet=True))}


def starts(plan: SweepPlan, number: int) -> list[str]:
    """A line for each time that a trial was started."""
    return pathlib.Path(plan.trial_dir(number), "starts").read_text().splitlines()


def process_of(plan: SweepPlan, number: int) -> int:
    """The process id of a trial's last start."""
    return int(starts(plan, number)[-1].split()[0])


def is_gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_sweep_ends_with_the_best_trial(tmp_path: pathlib.Path) -> None:
    kind = {
        "parameterId": "kind",
        "categoricalValueSpec": {"values": ["deep", "flat"]},
        "conditionalParameterSpecs": [
            {
                "parentCategoricalValues": {"values": ["deep"]},
                "parameterSpec": {"parameterId": "depth", "integerValueSpec": {"minValue": 1, "maxValue": 4}},
            }
        ],
    }
    plan = plan_of(tmp_path / "s", content(X, kind, trials=8, parallel=3))
    records = sweep(plan)
    assert {each.state for each in records.values()} == {"completed"}
    assert {each.values["kind"] for each in records.values()} == {"deep", "flat"}
    for number, each in records.items():
        assert plan.study.admits(each.values)
        x = float(each.values["x"])
        expected = [1 - (x - 0.3) ** 2 - 1 / step for step in range(1, 6)]
        assert [point.value for point in each.measurements] == pytest.approx(expected)
        assert each.value == each.measurements[-1].value
        [line] = starts(plan, number)
        assert ("depth" in line) == (each.values["kind"] == "deep")
        assert line.split()[1] == "1"  # threads
    lines = end_sweep(plan, list(records.values()), brief=False)
    best = max(records, key=lambda number: records[number].value or 0)
    assert f"best of 8 trials (8 completed): trial {best}, score" in "\n".join(lines)
    assert end_sweep(plan, list(records.values()), brief=True) == lines[-6:]  # without the table of trials
    summary = json.loads((tmp_path / "s" / "sweep.json").read_text())
    assert (summary["best"], len(summary["trials"])) == (best, 8)


def test_the_same_command_again_runs_nothing(tmp_path: pathlib.Path) -> None:
    plan = plan_of(tmp_path / "s", content(trials=2))
    first = sweep(plan)
    assert sweep(plan) == first
    assert [len(starts(plan, number)) for number in first] == [1, 1]
    more = plan_of(tmp_path / "s", content(trials=3))
    assert list(sweep(more)) == [1, 2, 3]
    assert [len(starts(plan, number)) for number in (1, 2, 3)] == [1, 1, 1]


def test_another_study_is_refused(tmp_path: pathlib.Path) -> None:
    sweep(plan_of(tmp_path / "s", content(trials=1)))
    with pytest.raises(JobDirError, match="the study's parameters differ"):
        sweep(plan_of(tmp_path / "s", content(grid_of(1), trials=1)))
    with pytest.raises(JobDirError, match=r"its trials were given nothing, now --steps=6\."):
        sweep(plan_of(tmp_path / "s", content(trials=1), "--steps=6"))
    (tmp_path / "job").mkdir()
    (tmp_path / "job" / "manifest.json").touch()
    with pytest.raises(JobDirError, match=r"holds manifest.json, which no sweep made"):
        sweep(plan_of(tmp_path / "job", content(trials=1)))


def test_two_sweeps_do_not_share_a_folder(tmp_path: pathlib.Path) -> None:
    plan = plan_of(tmp_path / "s", content(trials=1))
    with held(plan), pytest.raises(JobDirError, match="another sweep is at work"):
        sweep(plan)


def test_a_failed_trial_is_one_of_the_trials(tmp_path: pathlib.Path) -> None:
    study = content(grid_of(0.2, 0.4, 0.9), algorithm="GRID_SEARCH", trials=3, parallel=1, failed=2)
    records = sweep(plan_of(tmp_path / "s", study, "--fail-above=0.5"))
    assert [each.state for each in records.values()] == ["completed", "completed", "failed"]
    assert records[3].why == "exit code 3: the loss became NaN at x=0.9"


def test_too_many_failures_end_the_sweep_and_stop_the_others(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = content(grid_of(0.1, 0.8, 0.9), algorithm="GRID_SEARCH", trials=3, parallel=2, failed=2)
    plan = plan_of(tmp_path / "s", study, "--fail-above=0.5", "--steps=1000", "--secs=0.05")
    with pytest.raises(TrainingFailed, match="2 trials failed and maxFailedTrialCount is 2") as failed:
        sweep(plan)
    assert failed.value.exit_code == 3
    assert "trial 3: the loss became NaN at x=0.9." in capsys.readouterr().err
    assert is_gone(process_of(plan, 1))
    with held(plan):
        assert [each.state for each in Ledger(plan).records] == ["running", "failed", "failed"]


def test_a_trial_that_reports_something_else_has_failed(tmp_path: pathlib.Path) -> None:
    plan = plan_of(tmp_path / "s", content(trials=5, parallel=1), "--silent=1")
    with pytest.raises(TrainingFailed, match="3 trials failed and none has succeeded"):
        sweep(plan)
    with held(plan):
        whys = [each.why for each in Ledger(plan).records]
    assert whys == ["it reported no score but loss; make metricId one of them"] * 3


def test_nan_is_the_worst_and_no_failure(tmp_path: pathlib.Path) -> None:
    study = content(grid_of(0.2, 0.9), algorithm="GRID_SEARCH", trials=2)
    plan = plan_of(tmp_path / "s", study, "--nan-above=0.5")
    records = sweep(plan)
    assert [each.state for each in records.values()] == ["completed", "completed"]
    assert records[2].value == -float("inf")
    assert "trial 1, score" in "\n".join(end_sweep(plan, list(records.values()), brief=True))


def test_the_best_measurement_counts_where_the_study_says_so(tmp_path: pathlib.Path) -> None:
    plan = plan_of(tmp_path / "s", content(trials=1, measurementSelectionType="BEST_MEASUREMENT"))
    plan = replace(plan, study=replace(plan.study, metric="loss"))  # which falls, so that the first one is the best
    [record] = sweep(plan).values()
    assert record.value == record.measurements[0].value > record.measurements[-1].value


def test_the_median_rule_stops_a_trial_at_work(tmp_path: pathlib.Path) -> None:
    study = content(
        grid_of(0.3, 0.31, 0.32, 9.0), algorithm="GRID_SEARCH", trials=4, parallel=1, medianAutomatedStoppingSpec={}
    )
    plan = plan_of(tmp_path / "s", study, "--steps=8", "--secs=0.1")
    records = sweep(plan)
    assert [each.state for each in records.values()] == ["completed", "completed", "completed", "stopped"]
    assert records[4].why.startswith("below the median at step ")
    saved = int(pathlib.Path(plan.trial_dir(4), "step").read_text())
    assert 1 <= saved < 8
    assert records[4].measurements[-1].step == saved  # what it reported while it was stopping counts too
    assert sweep(plan) == records


def test_a_trial_has_no_more_time_than_its_timeout(tmp_path: pathlib.Path) -> None:
    study = content(trials=1)
    study["trialJobSpec"]["scheduling"] = {"timeout": "1s"}
    plan = plan_of(tmp_path / "s", study, "--steps=1000", "--secs=0.05")
    with pytest.raises(TrainingFailed, match="longer than its timeout of 1 s"):
        sweep(plan)


def test_a_trial_that_does_not_end_is_killed(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial_module, "SAVING_SECS", 0.5)
    study = content(trials=1)
    study["trialJobSpec"]["scheduling"] = {"timeout": "1s"}
    plan = plan_of(tmp_path / "s", study, "--steps=2", "--secs=100")
    with pytest.raises(TrainingFailed, match="longer than its timeout"):
        sweep(plan)
    assert is_gone(process_of(plan, 1))


RUN = """
import pathlib, sys
sys.path.insert(0, sys.argv[1])
from tests.sweeps.lab import content, plan_of
from trainer.sweeps.sweep import run_sweep
from trainer.sweeps.table import Table
from trainer.training.stopping import StopRequest
from trainer.job.errors import TrainerError
plan, stop = plan_of(pathlib.Path(sys.argv[2]), content(trials=6), *sys.argv[3:]), StopRequest()
try:
    with stop.listening():
        run_sweep(plan, stop, Table(plan, quiet=True))
except TrainerError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)
"""
SLOW = ("--steps=20", "--secs=0.15")
ROOT = pathlib.Path(__file__).resolve().parents[2]


def started(folder: pathlib.Path, *args: str) -> subprocess.Popen[str]:
    """A sweep in a process of its own."""
    environ: Mapping[str, str] = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", RUN, str(ROOT), str(folder), *args]
    return subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True)


def wait_for_work(plan: SweepPlan, process: subprocess.Popen[str], numbers: tuple[int, ...]) -> None:
    until = time.monotonic() + 30
    while not all(pathlib.Path(plan.trial_dir(number), "step").exists() for number in numbers):
        assert process.poll() is None, process.stderr
        assert time.monotonic() < until
        time.sleep(0.02)


def test_kill_9_leaves_nothing_behind_and_the_same_trials_are_finished(tmp_path: pathlib.Path) -> None:
    plan = plan_of(tmp_path / "s", content(trials=6), *SLOW)
    with started(tmp_path / "s", *SLOW) as process:
        wait_for_work(plan, process, (1, 2))
        children = [process_of(plan, number) for number in (1, 2)]
        process.kill()
        process.communicate(timeout=20)
    with sqlite3.connect(plan.storage) as book:
        before = book.execute("select trial_id, param_name, param_value from trial_params order by 1, 2").fetchall()
    until = time.monotonic() + 10
    while not all(map(is_gone, children)) and time.monotonic() < until:
        time.sleep(0.05)
    assert [is_gone(each) for each in children] == [True, True]
    saved = [int(pathlib.Path(plan.trial_dir(number), "step").read_text()) for number in (1, 2)]
    assert all(0 < step < 20 for step in saved)

    quick = plan_of(tmp_path / "s", content(trials=6), *SLOW)
    records = sweep(quick)
    assert [each.state for each in records.values()] == ["completed"] * 6
    assert [len(starts(plan, number)) for number in records] == [2, 2, 1, 1, 1, 1]
    for each in records.values():
        assert [point.step for point in each.measurements] == list(range(1, 21))
        assert [point.secs for point in each.measurements] == sorted(point.secs for point in each.measurements)
    with sqlite3.connect(plan.storage) as book:
        after = book.execute("select trial_id, param_name, param_value from trial_params order by 1, 2").fetchall()
    assert after[: len(before)] == before
    assert len(after) == 6


@pytest.mark.parametrize(("signum", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_lets_trials_save_and_says_how_to_go_on(
    signum: signal.Signals, exit_code: int, tmp_path: pathlib.Path
) -> None:
    plan = plan_of(tmp_path / "s", content(trials=6), *SLOW)
    with started(tmp_path / "s", *SLOW) as process:
        wait_for_work(plan, process, (1, 2))
        process.send_signal(signum)
        _, err = process.communicate(timeout=30)
    assert process.returncode == exit_code
    assert err.splitlines()[-1] == "stopped: 0 of 6 trials are done, 2 at work were saved; the same command goes on."
    assert all(is_gone(process_of(plan, number)) for number in (1, 2))
    with held(plan):
        assert [each.state for each in Ledger(plan).records] == ["running", "running"]


def test_a_second_signal_kills(tmp_path: pathlib.Path) -> None:
    slow = ("--steps=2", "--secs=60")
    plan = plan_of(tmp_path / "s", content(trials=6), *slow)
    with started(tmp_path / "s", *slow) as process:
        until = time.monotonic() + 30
        while not all(pathlib.Path(plan.trial_dir(number), "starts").exists() for number in (1, 2)):
            assert time.monotonic() < until
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        time.sleep(1.5)
        assert process.poll() is None  # its trials sleep and do not end
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    assert process.returncode == -signal.SIGINT  # a KeyboardInterrupt, which the door turns into its exit code
    assert all(is_gone(process_of(plan, number)) for number in (1, 2))


def test_a_trial_that_is_asked_for_when_the_sweep_is_killed_is_asked_again(tmp_path: pathlib.Path) -> None:
    plan = plan_of(tmp_path / "s", content(trials=2))
    with held(plan):
        book = Ledger(plan)
        book.study.ask()  # and no value chosen yet
    records = sweep(plan)
    assert [each.state for each in records.values()] == ["completed", "completed"]
    assert plan.study.admits(records[1].values)


def test_a_stop_of_the_rule_survives_a_kill(tmp_path: pathlib.Path) -> None:
    plan = plan_of(tmp_path / "s", content(trials=1))
    with held(plan):
        book = Ledger(plan)
        book.begin()
        book.announce(1, "below the median at step 7")
    [record] = sweep(plan).values()
    assert (record.state, record.why) == ("stopped", "below the median at step 7")
    assert not os.path.exists(plan.trial_dir(1))


def test_a_request_to_stop_before_anything_runs(tmp_path: pathlib.Path) -> None:
    stop = StopRequest()
    stop.signum = signal.SIGTERM
    plan = plan_of(tmp_path / "s", content(trials=1))
    with pytest.raises(Interrupted, match="0 of 1 trials are done; the same command goes on"):
        run_sweep(plan, stop, Table(plan, quiet=True))


def test_a_kill_between_two_entries_of_the_book_loses_no_time(tmp_path: pathlib.Path) -> None:
    plan = plan_of(tmp_path / "s", content(trials=1))
    with held(plan):
        book = Ledger(plan)
        book.begin()
        book._trials[1].set_user_attr("measurements", [[1, 0.125, 7.5]])  # and no time of all its runs yet
    [record] = sweep(plan).values()
    assert [point.step for point in record.measurements] == [1, 2, 3, 4, 5]
    assert record.measurements[0].secs == 7.5
    assert all(point.secs > 7.5 for point in record.measurements[1:])
