"""Ctrl-C and SIGTERM: the step is finished and saved, and the same command ends where an undisturbed run ends."""

from __future__ import annotations

import pathlib
import re
import shlex
import time
from signal import SIGINT, SIGTERM, Signals

import pytest

from tests.runner import (
    Done,
    Running,
    assert_finished,
    assert_same_weights,
    checkpoint_steps,
    flags,
    read_evaluations,
    read_json,
    run,
    write_csv,
    write_project,
)

pytestmark = pytest.mark.xdist_group("task_stop")
STEPS = 6000  # some seconds
STOPPED = re.compile(r"^trainer\.task: stopped at step (\d+) of (\d+); .*: (python -m trainer\.task .*)$", re.MULTILINE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A project, and in `undisturbed` the job that nobody stops."""
    folder = write_project(tmp_path_factory.mktemp("stop"))
    run(folder, argv("undisturbed", "--exporters=none")).ok()
    return folder


def argv(job_dir: str, *more: str, steps: int = STEPS) -> list[str]:
    return flags("--eval-every-steps=4000", *more, steps=steps, job_dir=job_dir)


def stopped_step(done: Done, job_dir: pathlib.Path, command: list[str]) -> int:
    """Check all that a stop promises; the step it stopped at."""
    assert "Traceback" not in done.err
    found = STOPPED.search(done.err)
    assert found, done.err
    assert sorted(shlex.split(found[3])[3:]) == sorted(command)
    step = int(found[1])
    assert checkpoint_steps(job_dir)[-1] == step, "the checkpoint is not of the step where it stopped"
    result = read_json(job_dir / "result.json")
    assert (result["status"], result["global_step"]) == ("stopped", step)
    return step


@pytest.mark.parametrize(
    ("signals", "more"),
    [((SIGINT,), []), ((SIGTERM,), ["--exporters=none"]), ((SIGTERM, SIGINT, SIGTERM), ["--exporters=none"])],
    ids=["SIGINT", "SIGTERM", "several at once"],
)
def test_stop_and_resume_end_where_the_undisturbed_run_ends(
    signals: tuple[Signals, ...], more: list[str], folder: pathlib.Path
) -> None:
    name = "-".join(each.name for each in signals)
    command = argv(name, *more)
    job = Running(folder, command)
    job.wait_for("^step 1/")
    time.sleep(0.4)
    job.send(*signals)
    done = job.finish()
    assert done.exit_code - 128 in signals, done.err  # of several at once the first one that Python sees counts
    step = stopped_step(done, folder / name, command)
    assert 1 < step < STEPS
    assert step % 4000, "stopped where it would have saved anyhow: this proves nothing"

    resumed = run(folder, command).ok()
    assert f"step {step + 1}/{STEPS}" in resumed.err
    assert checkpoint_steps(folder / name)[-1] == STEPS
    assert_same_weights(folder / "undisturbed", folder / name, STEPS)
    assert read_evaluations(folder / name) == read_evaluations(folder / "undisturbed")
    if not more:
        assert_finished(folder / name, STEPS)


def test_a_stop_while_it_evaluates(tmp_path: pathlib.Path) -> None:
    write_project(tmp_path)
    write_csv(tmp_path / "eval.csv", rows=60_000)  # 3,000 batches: seconds
    command = flags("--exporters=none", "--eval-every-steps=50", steps=100)
    job = Running(tmp_path, command)
    job.wait_until(lambda: 50 in checkpoint_steps(tmp_path / "job"), "the checkpoint that the evaluation reads")
    time.sleep(0.4)
    job.send(SIGINT)
    done = job.finish()
    assert done.exit_code == 130, done.err
    assert stopped_step(done, tmp_path / "job", command) == 50
    assert not (tmp_path / "job" / "evaluations.jsonl").exists(), "the evaluation was over: this proves nothing"

    run(tmp_path, command).ok()
    assert list(read_evaluations(tmp_path / "job")) == [50, 100]


@pytest.mark.parametrize("signum", [SIGINT, SIGTERM])
def test_a_stop_while_it_imports_tensorflow(signum: Signals, tmp_path: pathlib.Path) -> None:
    write_project(tmp_path)
    job = Running(tmp_path, flags(), cold=True)
    job.wait_until(lambda: "tensorflow" in maps_of(job.process.pid), "the import of tensorflow")
    job.send(signum)
    done = job.finish()
    assert done.exit_code == 128 + signum, done.err
    [sentence] = done.sentences
    assert sentence.startswith("trainer.task: stopped at once: the same command")
    assert not (tmp_path / "job" / "checkpoints").exists()


def test_a_stop_while_it_verifies_the_exports(tmp_path: pathlib.Path) -> None:
    write_project(tmp_path)
    command = flags("--eval-every-steps=30")
    job = Running(tmp_path, command)
    job.wait_until(job.is_verifying, "the process that verifies")
    job.send(SIGTERM)
    done = job.finish()
    assert done.exit_code == 143, done.err
    assert "Traceback" not in done.err
    assert done.sentences[-1].startswith("trainer.task: stopped")

    resumed = run(tmp_path, command).ok()
    assert "step 1/" not in resumed.err
    assert_finished(tmp_path / "job", 60)


def maps_of(pid: int) -> str:
    """What a process has mapped into its memory; empty once it is gone."""
    try:
        return pathlib.Path(f"/proc/{pid}/maps").read_text()
    except OSError:
        return ""
