"""Rehearsals with real processes, those of `fake_task.py`: ends, deaths, stalls, stops, and nothing left behind."""

from __future__ import annotations

import errno
import json
import os
import pathlib
import re
import signal
import subprocess
import time
from typing import Any

import psutil
import pytest

from tests.cluster.lab import BOTH, STEPS, command, counted, left_behind, plan_of, starts, verdict_of
from tests.runner import environ
from trainer.cluster import rules, supervisor
from trainer.cluster.plan import Member, Plan
from trainer.cluster.process import MemberProcess
from trainer.job.errors import JobDirError, StorageFailed, TrainerError, TrainingFailed, UsageError
from trainer.rehearse import rehearse
from trainer.training.stopping import StopRequest

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(autouse=True)
def little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes of a few milliseconds a step do not need the patience that real ones do."""
    for name, secs in {"SILENCE_SECS": 2.0, "START_SECS": 15.0, "LEAVE_SECS": 1.5, "CALM_SECS": 0.5}.items():
        monkeypatch.setattr(rules, name, secs)
    monkeypatch.setattr(supervisor, "GRACE_SECS", 1.5)


def run(plan: Plan) -> int:
    """Rehearse to the end; nothing may be left."""
    try:
        return rehearse(plan, StopRequest())
    finally:
        assert left_behind(plan) == []


def failed(plan: Plan, kind: type[TrainerError]) -> str:
    with pytest.raises(kind) as caught:
        run(plan)
    return str(caught.value)


@pytest.mark.parametrize("argv", [*BOTH, ("--evaluator",), ()])
def test_a_cluster_is_all_green(
    argv: tuple[str, ...], tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = plan_of(tmp_path, *argv)
    assert run(plan) == 0
    assert set(counted(plan).values()) == {1}
    verdict = verdict_of(plan)
    assert (verdict["verdict"], verdict["exit_code"]) == ("all green", 0)
    assert verdict["step"] >= verdict["total_steps"] == STEPS
    said = capsys.readouterr()
    assert said.out.splitlines()[-1] == "all green"
    for member in plan.members:
        log = pathlib.Path(plan.log(member)).read_text()
        assert log.startswith(f"\n--- {member.name}: python ")
        if member.role in ("chief", "worker"):
            [last] = re.findall(rf"step {STEPS}/{STEPS}.*|step 4[1-9]/{STEPS}.*", log)[-1:]
            assert f"{member.name} | {last}" in said.err
        [start] = starts(plan, member.entry)
        assert start["env"]["OMP_NUM_THREADS"] == "1" if len(plan.members) > 1 else "2"


def test_the_same_command_again_has_nothing_to_do(tmp_path: pathlib.Path) -> None:
    plan = plan_of(tmp_path, *BOTH[0])
    assert [run(plan), run(plan)] == [0, 0]
    assert verdict_of(plan)["lines"][1]["words"] == "no step was left to train"


def test_all_that_train_start_again_together(tmp_path: pathlib.Path) -> None:
    plan = plan_of(tmp_path, *BOTH[0], "--kill=worker0@12", "--fresh")
    assert run(plan) == 0
    assert counted(plan) == {"chief": 2, "worker-0": 2, "worker-1": 2, "evaluator": 1}
    verdict = verdict_of(plan)
    assert verdict["faults"] == ["kill worker 0 at step 12"]
    assert {name: each["restarts"] for name, each in verdict["members"].items()} == {
        "chief": 1, "worker 0": 1, "worker 1": 1, "evaluator": 0,
    }  # fmt: skip
    assert 0.5 < verdict["lost_secs"] < 30
    first, second = starts(plan, "chief")
    assert "--fresh=true" in first["argv"]
    assert "--fresh=true" not in second["argv"]


def test_with_servers_each_starts_again_alone(tmp_path: pathlib.Path) -> None:
    faults = ("--kill=worker0@8", "--kill=ps0@14", "--kill=chief@22")
    plan = plan_of(tmp_path, *BOTH[1], *faults, step_secs="0.1")
    assert run(plan) == 0
    assert counted(plan) == {"chief": 2, "worker-0": 2, "worker-1": 1, "ps-0": 2, "evaluator": 1}


def test_an_evaluator_starts_again(tmp_path: pathlib.Path) -> None:
    plan = plan_of(tmp_path, *BOTH[0], exit="evaluator@10:1", step_secs="0.05")
    assert run(plan) == 0
    assert counted(plan) == {"chief": 1, "worker-0": 1, "worker-1": 1, "evaluator": 2}


@pytest.mark.parametrize("argv", BOTH)
def test_a_short_pause_changes_nothing(argv: tuple[str, ...], tmp_path: pathlib.Path) -> None:
    plan = plan_of(tmp_path, *argv, "--pause=worker1@10:1")
    assert run(plan) == 0
    assert set(counted(plan).values()) == {1}


def test_a_pause_beyond_the_limit_ends_a_job_that_may_not_start_again(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = plan_of(tmp_path, "--workers=1", "--pause=worker0@10:60", "--stall-secs=2", "--max-restarts=0")
    sentence = failed(plan, TrainingFailed)
    assert sentence.startswith("chief stalled (exit code 134) after 0 restarts, and --max-restarts allows no more")
    assert "chief | no step for 2 s:" in capsys.readouterr().err
    assert verdict_of(plan)["red"] == ["finished"]


def test_a_pause_beyond_the_limit_costs_a_restart(tmp_path: pathlib.Path) -> None:
    plan = plan_of(tmp_path, "--workers=1", "--pause=worker0@10:60", "--stall-secs=2")
    assert run(plan) == 0
    assert counted(plan) == {"chief": 2, "worker-0": 2}


def test_who_gives_no_sign_of_life_is_killed(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = plan_of(tmp_path, "--workers=1", "--ps=1", "--stall-secs=2", mute="worker-0@5", step_secs="0.3")
    assert run(plan) == 0
    assert "rehearsal | no sign of life of worker 0 for 4 s: killing it" in capsys.readouterr().err
    assert counted(plan) == {"chief": 1, "worker-0": 2, "ps-0": 1}


@pytest.mark.parametrize(("code", "kind"), [(2, UsageError), (3, TrainingFailed)])
def test_some_exit_codes_end_it(code: int, kind: type[TrainerError], tmp_path: pathlib.Path) -> None:
    plan = plan_of(tmp_path, *BOTH[1], exit=f"worker-1@8:{code}")
    log = plan.log(plan.member("worker 1"))
    sentence = failed(plan, kind)
    said = rf"worker 1 ended with exit code {code}; its last words: something went wrong at step \d+\. See {log}\."
    assert re.fullmatch(said, sentence)
    assert verdict_of(plan)["exit_code"] == code


def test_who_dies_each_time_ends_it(tmp_path: pathlib.Path) -> None:
    plan = plan_of(tmp_path, *BOTH[0], "--max-restarts=2", exit="worker-1@8:1!")
    assert "worker 1 ended with exit code 1 after 2 restarts" in failed(plan, TrainingFailed)
    assert counted(plan) == {"chief": 3, "worker-0": 3, "worker-1": 3, "evaluator": 1}


def test_a_taken_port_is_given_up_once(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = plan_of(tmp_path / "once", "--workers=1", clash="worker-0")
    assert run(plan) == 0
    assert "rehearsal | the port of worker 0 was taken: starting all on other ports" in capsys.readouterr().err
    told = [each["env"]["TF_CONFIG"] for each in starts(plan, "worker-0")]
    assert len(told) == len({json.loads(each)["cluster"]["worker"][0] for each in told}) == 2
    assert {each["restarts"] for each in verdict_of(plan)["members"].values()} == {0}
    plan = plan_of(tmp_path / "always", "--workers=1", "--max-restarts=1", clash="worker-0!")
    assert "Address already in use" in failed(plan, TrainingFailed)


@pytest.mark.parametrize("wrong", ["share", "examples", "export", "evaluation"])
def test_what_is_not_as_promised_is_red(wrong: str, tmp_path: pathlib.Path) -> None:
    plan = plan_of(tmp_path, "--workers=1", wrong=wrong)
    line = "examples" if wrong == "share" else f"{wrong.rstrip('s')}s"
    assert failed(plan, TrainingFailed) == f"the verdict is red: {line}; see {plan.board}/verdict.json."


def test_servers_are_asked_to_end(tmp_path: pathlib.Path) -> None:
    plan = plan_of(tmp_path, "--workers=1", "--ps=1", stays="1", deaf="1")
    assert run(plan) == 0
    assert verdict_of(plan)["members"]["ps 0"]["state"] == "dismissed"


def test_what_a_killed_process_has_started_ends_too(tmp_path: pathlib.Path) -> None:
    plan = plan_of(tmp_path, "--workers=1", "--kill=chief@12", child="1")
    assert run(plan) == 0
    child = int(pathlib.Path(plan.job_dir, "child").read_text())
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("seed", range(4))
def test_chaos_ends_well(seed: int, tmp_path: pathlib.Path) -> None:
    plan = plan_of(tmp_path, *BOTH[seed % 2], f"--chaos={seed}")
    assert run(plan) == 0


SLOW = {"step_secs": "0.3"}


def started(folder: pathlib.Path, argv: tuple[str, ...], **fake: str) -> subprocess.Popen[str]:
    """A rehearsal in a process of its own, whose processes train."""
    plan = plan_of(folder, *argv)
    process = subprocess.Popen(
        command(folder, argv, **fake), env=environ(), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    until = time.monotonic() + 60
    trainers = [f"{each.entry}.json" for each in plan.members if each.role in ("chief", "worker")]
    while not all(os.path.exists(f"{plan.board}/{name}") and '"training"' in read(plan, name) for name in trainers):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.05)
    return process


def read(plan: Plan, name: str) -> str:
    return pathlib.Path(plan.board, name).read_text()


def assert_none_left(plan: Plan, deadline_secs: float) -> None:
    until = time.monotonic() + deadline_secs
    while left_behind(plan) and time.monotonic() < until:
        time.sleep(0.1)
    assert left_behind(plan) == []


@pytest.mark.parametrize("argv", BOTH)
@pytest.mark.parametrize(("signum", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_lets_them_save(
    signum: signal.Signals, exit_code: int, argv: tuple[str, ...], tmp_path: pathlib.Path
) -> None:
    plan = plan_of(tmp_path, *argv)
    with started(tmp_path, argv, **SLOW) as process:
        process.send_signal(signum)
        _, err = process.communicate(timeout=60)
    assert process.returncode == exit_code
    assert re.fullmatch(
        r"trainer.rehearse: stopped at step \d+, with a checkpoint; the same command goes on\.", err.splitlines()[-1]
    )
    assert_none_left(plan, 0)
    assert '"stopped"' in read(plan, "run.json")


def test_a_second_signal_kills(tmp_path: pathlib.Path) -> None:
    plan = plan_of(tmp_path, *BOTH[0])
    with started(tmp_path, BOTH[0], deaf="1", **SLOW) as process:
        process.send_signal(signal.SIGTERM)
        time.sleep(1.5)
        assert process.poll() is None  # its processes do not hear
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=30)
    assert (process.returncode, err.splitlines()[-1]) == (143, "trainer.rehearse: killed.")
    assert_none_left(plan, 0)


def test_kill_9_leaves_nothing_behind_and_the_next_one_waits_and_goes_on(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = plan_of(tmp_path, *BOTH[0])
    with started(tmp_path, BOTH[0], child="1", save_secs="4", **SLOW) as process:
        process.kill()
        process.communicate(timeout=30)
    assert left_behind(plan), "they are saving, or it was too slow to see that"
    assert run(plan) == 0
    assert "processes of an earlier rehearsal are still saving: waiting for them" in capsys.readouterr().err
    assert counted(plan) == dict.fromkeys(("chief", "worker-0", "worker-1", "evaluator"), 2)
    assert verdict_of(plan)["lines"][1]["words"].startswith("the 3 shares are disjoint and complete;")


def test_two_rehearsals_do_not_share_a_folder(tmp_path: pathlib.Path) -> None:
    plan = plan_of(tmp_path, *BOTH[0])
    with started(tmp_path, BOTH[0], **SLOW) as process:
        with pytest.raises(JobDirError, match="another rehearsal is at work in"):
            rehearse(plan, StopRequest())
        process.terminate()
        process.communicate(timeout=60)
    assert_none_left(plan, 0)


def test_a_folder_that_cannot_be_written_is_said(tmp_path: pathlib.Path) -> None:
    plan = plan_of(tmp_path)
    (tmp_path / "job").write_text("a file")
    with pytest.raises(StorageFailed, match=r"--job-dir=.*/job cannot be written \((File exists|Not a directory)\)"):
        rehearse(plan, StopRequest())


def test_a_full_disk_is_said_and_nothing_is_left(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_of(tmp_path, "--workers=1")
    starts_one = supervisor.MemberProcess

    def start(plan: Plan, member: Member, *more: Any) -> MemberProcess:
        if member.role == "worker":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return starts_one(plan, member, *more)

    monkeypatch.setattr(supervisor, "MemberProcess", start)
    assert "cannot be written (No space left on device): make room" in failed(plan, StorageFailed)
