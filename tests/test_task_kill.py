"""kill -9: the short version of `python -m tests.chaos`, and the moments that it meets seldom."""

from __future__ import annotations

import pathlib
import shutil

import pytest

from tests.chaos import run_chaos
from tests.runner import assert_finished, flags, leftovers, read_evaluations, read_json, run, write_project

pytestmark = pytest.mark.xdist_group("task_kill")


@pytest.mark.slow
def test_a_killed_job_ends_where_the_undisturbed_one_ends(tmp_path: pathlib.Path) -> None:
    lines: list[str] = []
    run_chaos(tmp_path, kills=3, seed=7, say=lines.append)
    assert "is whole" in lines[-1]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = write_project(tmp_path_factory.mktemp("kill"))
    run(folder, flags("--eval-every-steps=20", steps=40)).ok()
    return folder


def test_what_a_kill_leaves_half_written_is_cleared_away(finished: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """The files are those that real kills left, see `tests.chaos`: each is hit too seldom to wait for it."""
    folder = shutil.copytree(finished, tmp_path / "copy")
    job_dir = folder / "job"
    [final] = (job_dir / "export" / "final").iterdir()
    shutil.rmtree(job_dir / "export" / "best")
    (job_dir / "result.json").unlink()
    (job_dir / "export" / "best.json").unlink()
    evaluations = (job_dir / "evaluations.jsonl").read_text().splitlines(keepends=True)
    (job_dir / "evaluations.jsonl").write_text(evaluations[0])
    shutil.copytree(final, job_dir / "export" / "latest" / "temp-1700000000")
    shutil.move(final, final.with_name(final.name + ".unfinished"))
    (job_dir / "manifest.json.unfinished").write_text('{"format"')
    (job_dir / "checkpoints" / "model.ckpt-41_temp").mkdir()
    (job_dir / "checkpoints" / "model.ckpt-41_temp" / "part-00000-of-00001.data-00000-of-00001").write_bytes(b"half")
    (job_dir / "checkpoints" / "model.ckpt-41.data-00000-of-00001.tempstate123").write_bytes(b"half")
    assert len(leftovers(job_dir)) == 5

    done = run(folder, flags("--eval-every-steps=20", steps=40)).ok()
    assert "step 1/" not in done.err
    assert list(read_evaluations(job_dir)) == [20, 40]
    assert read_json(job_dir / "result.json")["best"]["global_step"] == 40
    assert_finished(job_dir, 40)


def test_an_evaluation_that_a_kill_cut_short_is_made_up_for(finished: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Killed after the checkpoint at a step where an evaluation is due, and before that evaluation was recorded."""
    folder = shutil.copytree(finished, tmp_path / "copy")
    job_dir = folder / "job"
    (job_dir / "result.json").unlink()
    shutil.rmtree(job_dir / "export")
    (job_dir / "evaluations.jsonl").unlink()
    for path in (job_dir / "checkpoints").glob("model.ckpt-40.*"):
        path.unlink()
    state = (job_dir / "checkpoints" / "checkpoint").read_text().replace("model.ckpt-40", "model.ckpt-20")
    (job_dir / "checkpoints" / "checkpoint").write_text(state)

    run(folder, flags("--eval-every-steps=20", steps=40)).ok()
    assert list(read_evaluations(job_dir)) == [20, 40]
    assert_finished(job_dir, 40)
