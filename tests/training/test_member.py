"""Signs of life, and the end of a process that has stopped giving steps: in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MEMBER = """
import sys, time
from trainer.job.paths import JobPaths
from trainer.training import member as member_
from trainer.training.board import Board, Run
from trainer.training.stopping import StopRequest

folder, name, stall_secs, doing, secs = sys.argv[1:]
board = Board(JobPaths(folder))
board.beat_secs = 0.1
run = Run("a", "running", 5, 5, 40, "multi_worker_mirrored", "chief")
board.open_run(run)
facts = lambda step, steps: {"examples": 10 * steps}
member = member_.Member(board, name, run, float(stall_secs), StopRequest(), facts)
heard = []
member.on_news(lambda news: heard.append(news.state))

def wait_in_a_step():
    time.sleep(float(secs))

with member.at_work():
    member.stepped(6)
    if doing == "training":
        wait_in_a_step()
    else:
        with member.doing(doing):
            wait_in_a_step()
print(heard[0], member.steps)
"""


def run_member(folder: Path, *words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", MEMBER, str(folder), *map(str, words)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def beat_of(folder: Path, name: str) -> dict[str, object]:
    return dict(json.loads((folder / "cluster" / f"{name}.json").read_text()))


def test_a_member_gives_signs_of_life_and_hears_the_chief(tmp_path: Path) -> None:
    done = run_member(tmp_path, "worker-0", 30, "training", 1)
    assert (done.returncode, done.stdout) == (0, "running 1\n"), done.stderr
    beat = beat_of(tmp_path, "worker-0")
    assert (beat["attempt"], beat["step"], beat["examples"]) == ("a", 6, 10)
    assert int(str(beat["beat"])) > 3


def test_a_step_that_does_not_end_ends_the_process_with_the_stacks(tmp_path: Path) -> None:
    started = time.monotonic()
    done = run_member(tmp_path, "worker-0", 1, "training", 90)
    assert time.monotonic() - started < 60
    assert done.returncode == 134
    first, *stacks = done.stderr.strip().splitlines()
    assert first.startswith("trainer.task: worker-0: no step for 1 s (--stall-secs) at step 6: ended, the stacks")
    assert any("in wait_in_a_step" in line for line in stacks)


@pytest.mark.parametrize("doing", ["evaluating", "waiting"])
def test_what_takes_its_time_without_steps_is_no_stall(tmp_path: Path, doing: str) -> None:
    done = run_member(tmp_path, "chief", 0.5, doing, 2)
    assert done.returncode == 0, done.stderr
