"""How a follower begins and ends with the chief's run; what it does in between is in tests/test_task_cluster.py."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from trainer.job.config import Job
from trainer.job.errors import Interrupted, TrainingFailed
from trainer.job.flags import Parsed
from trainer.job.paths import JobPaths
from trainer.training import roles
from trainer.training.board import Board, Run
from trainer.training.records import put_json
from trainer.training.roles import Watch, await_run, closed

RUN = Run("a", "running", 10, 10, 40, "multi_worker_mirrored", "evaluator")
FINISHED = dataclasses.replace(RUN, state="finished", step=40)


@pytest.fixture
def paths(tmp_path: Path) -> JobPaths:
    return JobPaths(str(tmp_path))


@pytest.fixture
def board(paths: JobPaths) -> Board:
    return Board(paths)


def parsed(**settings: Any) -> Parsed:
    """Only the job is looked at."""
    return Parsed(Job.of({"train_steps": 40, "stall_secs": 5.0, **settings}), {}, None)  # type: ignore[arg-type]


@pytest.mark.parametrize("state", ["trained", "finished"])
def test_a_run_that_went_well_is_a_followers_success(state: Any) -> None:
    assert closed(dataclasses.replace(RUN, state=state), "worker-0") == 0


def test_a_run_that_was_stopped_ends_a_follower_as_a_signal_does() -> None:
    with pytest.raises(Interrupted) as caught:
        closed(dataclasses.replace(RUN, state="stopped", step=12), "worker-0")
    assert str(caught.value) == "worker-0: the chief was stopped at step 12."
    assert caught.value.exit_code == 143


def test_a_run_that_failed_ends_a_follower_with_the_chiefs_words() -> None:
    with pytest.raises(TrainingFailed, match=r"^worker-0: the chief's run has failed \(DataError: bad row\)\.$"):
        closed(dataclasses.replace(RUN, state="failed", why="DataError: bad row"), "worker-0")


def test_only_a_change_is_a_sign_of_life(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(roles.time, "monotonic", lambda: now[0])
    board.open_run(RUN)
    board.put_beat("chief", {"beat": 1, "step": 10})
    watch = Watch(board, 5.0)
    now[0] += 7.0
    assert watch.look() == RUN
    assert (watch.lives, watch.silent_secs) == (False, 7.0), "what was there before may be of a chief that is gone"
    board.put_beat("chief", {"beat": 2, "step": 11})
    watch.look()
    assert (watch.lives, watch.silent_secs, watch.step) == (True, 0.0, 11)


def test_a_follower_waits_for_a_chief_that_lives(board: Board, paths: JobPaths) -> None:
    board.open_run(dataclasses.replace(RUN, attempt="of yesterday"))
    board.put_beat("chief", {"beat": 7, "step": 30})

    def begin() -> None:
        time.sleep(0.5)
        board.open_run(RUN)
        board.put_beat("chief", {"beat": 1, "step": 10})

    with_a_chief(begin, lambda: await_run(board, parsed(), paths, "worker-0", fresh=True), RUN)


def test_an_evaluator_that_is_started_again_takes_a_run_whose_chief_waits_for_it(board: Board, paths: JobPaths) -> None:
    trained = dataclasses.replace(RUN, state="trained", step=40)
    board.open_run(trained)

    def wait() -> None:
        for beat in range(3):
            board.put_beat("chief", {"beat": beat, "step": 40, "doing": "waiting"})
            time.sleep(0.4)

    with_a_chief(wait, lambda: await_run(board, parsed(), paths, "evaluator", fresh=False), trained)


def with_a_chief(begin: Any, wait: Any, expected: Run) -> None:
    chief = threading.Thread(target=begin)
    chief.start()
    try:
        assert wait() == expected
    finally:
        chief.join()


def test_steps_that_have_begun_cannot_be_joined_in_step(
    board: Board, paths: JobPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Elsewhere a worker may come late; here it waits for the next run, and at last it says so."""

    class Ended(Exception):
        """In the place of the process's end."""

    def end(sentence: str) -> None:
        raise Ended(sentence)

    monkeypatch.setattr(roles, "end_stalled", end)
    board.open_run(RUN)

    def go_on() -> None:
        for beat in range(3):
            board.put_beat("chief", {"beat": beat, "step": 11 + beat})
            time.sleep(0.4)

    late = parsed(stall_secs=1.0)
    with_a_chief(go_on, lambda: await_run(board, late, paths, "worker-0", fresh=False), RUN)
    chief = threading.Thread(target=go_on)
    chief.start()
    with pytest.raises(Ended, match="worker-0: no chief has begun a run"):
        await_run(board, late, paths, "worker-0", fresh=True)
    chief.join()


@pytest.mark.parametrize(
    ("settings", "waits"), [({"train_steps": 40}, False), ({"train_steps": 80}, True), ({"epochs": 3}, True)]
)
def test_a_finished_run_is_taken_for_this_one_where_it_was_asked_for(
    board: Board, paths: JobPaths, settings: Mapping[str, Any], waits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    board.open_run(FINISHED)
    put_json(paths.manifest, {"settings": {"train_steps": {"value": 40}, "epochs": {"value": None}}})
    monkeypatch.setattr(roles, "end_stalled", lambda sentence: (_ for _ in ()).throw(TimeoutError(sentence)))
    job = Parsed(Job.of({"stall_secs": 0.5, **settings}), {}, None)  # type: ignore[arg-type]
    if waits:
        with pytest.raises(TimeoutError):
            await_run(board, job, paths, "evaluator", fresh=False)
    else:
        assert await_run(board, job, paths, "evaluator", fresh=False) == FINISHED
