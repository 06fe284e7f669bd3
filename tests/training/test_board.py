"""What the processes of a job tell each other: it is read as it was put, and half a file is none."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from trainer.job.paths import JobPaths
from trainer.training.board import Board, Run, new_attempt

RUN = Run("a", "running", 10, 10, 40, "multi_worker_mirrored", "evaluator")


@pytest.fixture
def board(tmp_path: Path) -> Board:
    return Board(JobPaths(str(tmp_path)))


def test_before_the_chief_there_is_nothing(board: Board) -> None:
    assert board.read_run() is None
    assert board.read_beat("chief") == {}
    assert board.is_asked_to_stop() is None


def test_what_is_told_is_read(board: Board) -> None:
    board.open_run(RUN)
    assert board.read_run() == RUN
    ended = dataclasses.replace(RUN, state="failed", step=12, why="DataError: bad row")
    board.put_run(ended)
    assert board.read_run() == ended
    board.put_beat("worker-1", {"beat": 3, "step": 12})
    assert board.read_beat("worker-1") == {"beat": 3, "step": 12}
    assert board.read_beat("worker-0") == {}


def test_who_asked_an_earlier_run_to_stop_did_not_ask_this_one(board: Board) -> None:
    board.open_run(RUN)
    board.ask_to_stop(15)
    assert board.is_asked_to_stop() == 15
    board.open_run(dataclasses.replace(RUN, attempt=new_attempt()))
    assert board.is_asked_to_stop() is None


@pytest.mark.parametrize("text", ["", '{"attempt": "a", ', "[1, 2]"])
def test_half_a_file_tells_nothing(board: Board, tmp_path: Path, text: str) -> None:
    board.open_run(RUN)
    (tmp_path / "cluster" / "run.json").write_text(text)
    (tmp_path / "cluster" / "chief.json").write_text(text)
    assert board.read_run() is None
    assert board.read_beat("chief") == {}


@pytest.mark.parametrize(
    ("state", "is_over"),
    [("running", False), ("trained", True), ("finished", True), ("stopped", True), ("failed", True)],
)
def test_a_run_is_over_when_nobody_trains(state: str, is_over: bool) -> None:
    assert dataclasses.replace(RUN, state=state).is_over is is_over  # type: ignore[arg-type]


def test_no_two_runs_have_one_name() -> None:
    assert len({new_attempt() for _ in range(100)}) == 100
