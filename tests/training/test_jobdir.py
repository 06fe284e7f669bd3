"""The job directory: one process at a time, nothing deleted, and a sentence where it cannot be used."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from trainer.job.errors import JobDirError, StorageFailed
from trainer.job.paths import JobPaths
from trainer.training.jobdir import check_free, held, move_aside, refuse_other_job

HOLDER = """
import subprocess, sys, time
from trainer.job.paths import JobPaths
from trainer.training.jobdir import held
with held(JobPaths(sys.argv[1])):
    child = subprocess.Popen(["sleep", "60"])
    print(child.pid, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds tmp_path/job, with a child that lives on when it is killed."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "job")],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        child = int(process.stdout.readline())
        yield process
        process.kill()
        os.kill(child, signal.SIGKILL)


def test_a_job_dir_is_held_by_one_process_and_freed_by_its_end(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    paths = JobPaths(str(tmp_path / "job"))
    sentence = re.escape(
        f"another process is at work in {paths.job_dir}: wait for it, stop it, or name another --job-dir."
    )
    with pytest.raises(JobDirError, match=f"^{sentence}$"), held(paths):
        pytest.fail("two processes at work in one job directory")
    with pytest.raises(JobDirError, match=f"^{sentence}$"):
        check_free(paths)
    with held(JobPaths(str(tmp_path / "deep" / "er" / "job"))):
        assert holder.poll() is None, "another job directory is free all the while"
    holder.send_signal(signal.SIGKILL)
    holder.wait(10)
    for _ in range(2):
        with held(paths):
            assert Path(paths.lock).exists()


def test_an_error_within_frees_it(tmp_path: Path) -> None:
    paths = JobPaths(str(tmp_path / 'it\'s; a "job" ü'))
    with pytest.raises(ZeroDivisionError), held(paths):
        raise ZeroDivisionError
    with held(paths):
        pass


@pytest.mark.parametrize("below", ["", "/job"])
def test_a_file_in_the_way_is_said(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_text("x")
    paths = JobPaths(f"{tmp_path}/file{below}")
    with pytest.raises(StorageFailed, match=re.escape(f"--job-dir={paths.job_dir} cannot be written (")), held(paths):
        pytest.fail("a file was taken for a folder")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_missing_permission_is_said(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StorageFailed, match="Permission denied"), held(JobPaths(f"{tmp_path}/job")):
        pytest.fail("a folder was made in one that is not writable")


def test_a_kernel_folder_cannot_be_written() -> None:
    """The same for root."""
    with pytest.raises(StorageFailed, match=r"--job-dir=/proc/job cannot be written"), held(JobPaths("/proc/job")):
        pytest.fail("/proc was written")


@pytest.mark.parametrize("paths", [JobPaths("runs/a[1]"), JobPaths("runs\\a"), JobPaths("runs/a", "ckpt/a[1-3]/b")])
def test_folders_that_tensorflow_takes_for_patterns_are_refused(
    paths: JobPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(JobDirError, match="brackets and backslashes"), held(paths):
        pytest.fail("its checkpoints could not be read")
    assert not list(tmp_path.iterdir())


def make_run(paths: JobPaths) -> dict[str, str]:
    """What a run leaves: name below the job directory -> content."""
    names = ["manifest.json", "result.json", "evaluations.jsonl", "checkpoints/checkpoint", "checkpoints/eval/events",
             "assets/characters.txt", "export/best/17/saved_model.pb", "export/best.json"]  # fmt: skip
    for name in names:
        path = Path(paths.job_dir, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{name} of {len(list(Path(paths.job_dir).rglob('*')))}")
    return contents(paths.job_dir, names)


def contents(folder: str, names: list[str]) -> dict[str, str]:
    return {name: Path(folder, name).read_text() for name in names}


def test_moving_aside_keeps_everything(tmp_path: Path) -> None:
    paths = JobPaths(str(tmp_path / "a job"))
    first = make_run(paths)
    Path(paths.job_dir, "notes.txt").write_text("mine")
    target = move_aside(paths)
    assert target
    assert Path(target).parent == Path(paths.previous)
    assert contents(target, list(first)) == first
    assert sorted(path.name for path in Path(paths.job_dir).iterdir()) == ["notes.txt", "previous"]

    second = make_run(paths)
    other = move_aside(paths)
    assert other
    assert contents(other, list(second)) == second
    assert contents(target, list(first)) == first


def test_where_nothing_was_nothing_is_moved(tmp_path: Path) -> None:
    paths = JobPaths(str(tmp_path / "job"))
    assert move_aside(paths) is None
    assert not (tmp_path / "job").exists()


def test_checkpoints_elsewhere_are_moved_too(tmp_path: Path) -> None:
    paths = JobPaths(str(tmp_path / "job"), checkpoint_dir=str(tmp_path / "ckpt"))
    (tmp_path / "ckpt").mkdir()
    (tmp_path / "ckpt" / "checkpoint").write_text("x")
    target = move_aside(paths)
    assert target
    assert Path(target, "ckpt", "checkpoint").read_text() == "x"
    assert not (tmp_path / "ckpt").exists()


def test_only_what_is_named_is_moved(tmp_path: Path) -> None:
    paths = JobPaths(str(tmp_path / "job"))
    kept = make_run(paths)
    target = move_aside(paths, (paths.assets,))
    assert target
    assert [path.name for path in Path(target).iterdir()] == ["assets"]
    del kept["assets/characters.txt"]
    assert contents(paths.job_dir, list(kept)) == kept


def test_another_job_is_refused_with_every_difference() -> None:
    paths = JobPaths("runs/a")
    refuse_other_job(paths, {}, [])
    sentence = (
        "runs/a holds a run of another job: the vocabulary x differs; the train files differ. Name another --job-dir"
    )
    with pytest.raises(JobDirError, match=re.escape(sentence)):
        refuse_other_job(paths, {}, ["the vocabulary x differs", "the train files differ"])


@pytest.mark.parametrize("name", ["assets", "checkpoints", "export", "result.json"])
def test_what_no_job_made_is_left_alone(tmp_path: Path, name: str) -> None:
    mine = tmp_path / "mine"
    (mine / name).mkdir(parents=True)
    (mine / name / "holiday.txt").write_text("dear")
    with pytest.raises(JobDirError, match=f"holds {name}, which no job made"), held(JobPaths(str(mine))):
        pytest.fail("the folder was taken")
    assert [str(path.relative_to(mine)) for path in sorted(mine.rglob("*"))] == [name, f"{name}/holiday.txt"]


def test_other_files_beside_a_job_do_not_matter(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with held(JobPaths(str(tmp_path))):
        (tmp_path / "assets").mkdir()
    with held(JobPaths(str(tmp_path))):  # its lock tells that a job made the folder
        assert (tmp_path / "assets").is_dir()


def test_a_job_that_wrote_nothing_leaves_no_folder(tmp_path: Path) -> None:
    paths = JobPaths(str(tmp_path / "refused"))
    with pytest.raises(RuntimeError, match="refused"), held(paths):
        raise RuntimeError("refused")
    assert not Path(paths.job_dir).exists()
