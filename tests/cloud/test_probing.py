"""Whether a folder can be written is found out without leaving a trace."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterator

import pytest

from tests.gcs_rig import Gcs
from trainer.cloud.probing import MARK, Place, places_of, prove
from trainer.job.config import Job
from trainer.job.errors import StorageFailed, UsageError
from trainer.job.paths import JobPaths


@pytest.mark.parametrize("name", ["there", "not/there/yet", "a 0; echo 'x'"])
def test_nothing_is_left(name: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    for folder in (name, str(tmp_path / name)):
        prove([Place("--job-dir", folder, writes=True)])
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")] == ["there"]


def test_a_folder_that_somebody_uses_meanwhile_stays(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that starts in the same moment."""
    remove = pathlib.Path.rmdir

    def start_a_job(path: pathlib.Path) -> None:
        (tmp_path / "runs" / "job.lock").write_text("")
        remove(path)

    monkeypatch.setattr(pathlib.Path, "rmdir", start_a_job)
    prove([Place("--job-dir", str(tmp_path / "runs" / "job"), writes=True)])
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["job.lock"]


def test_what_cannot_be_written_is_said(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_text("kept")
    for folder in (tmp_path / "file", tmp_path / "file" / "below", pathlib.Path("/proc/no/such")):
        with pytest.raises(StorageFailed) as caught:
            prove([Place("--log-dir", str(folder), writes=True)])
        assert str(caught.value).startswith(f"--log-dir={folder} cannot be written (")
    assert (tmp_path / "file").read_text() == "kept"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.fixture
def bucket(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gcs]:
    """A Cloud Storage with the bucket `there`; the processes that a test starts find it."""
    with Gcs(tmp_path, tls=True) as gcs:
        gcs.make_bucket("there")
        environ = gcs.tensorflow_environ()
        for name in {*os.environ} - {*environ}:
            monkeypatch.delenv(name)
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        yield gcs


def test_in_a_bucket_an_object_is_made_and_removed(bucket: Gcs) -> None:
    bucket.put("there", {"other/job": b"kept"})
    prove([Place("--job-dir", "gs://there/job", writes=True)])
    assert bucket.content("there") == {"other/job": b"kept"}
    written = [each.method for each in bucket.log if each.method in ("POST", "PUT", "DELETE") and MARK in each.path]
    assert written[-1] == "DELETE", "nothing was written: this proves nothing"
    listed = [each.path for each in bucket.log if each.method == "GET" and "/b/there/o?" in each.path]
    assert any("maxResults=1" in path for path in listed), "whole folders are listed, which may take minutes"


def test_other_folders_are_proved_though_one_in_a_bucket_is_not(bucket: Gcs, tmp_path: pathlib.Path) -> None:
    """All in one process; what is local is looked at first, as that takes no time."""
    with pytest.raises(StorageFailed, match="--log-dir=/proc/x cannot be written"):
        prove([Place("--job-dir", "gs://absent/job", writes=True), Place("--log-dir", "/proc/x", writes=True)])
    assert not [each for each in bucket.log if "absent" in each.path]
    with pytest.raises(UsageError, match=r"--train-files=gs://absent/x\.csv: there is no bucket absent"):
        prove([Place("--job-dir", "gs://there/job", True), Place("--train-files", "gs://absent/x.csv", False)])
    assert bucket.content("there") == {}


def test_files_that_are_not_there_are_for_their_reader_to_tell(bucket: Gcs) -> None:
    prove([Place("--train-files", f"gs://there/{name}", writes=False) for name in ("x.csv", "*.csv", "below/x[1].csv")])
    assert bucket.content("there") == {}


@pytest.mark.parametrize("url", ["gs:", "gs:/bucket/x", "gs://", "gs://UPPER/x", "s3://bucket/x", "gs:bucket"])
def test_what_is_no_place_in_a_bucket_is_told_without_asking(url: str, bucket: Gcs) -> None:
    bucket.state.reset()
    with pytest.raises(UsageError, match=f"^--job-dir={url} is no place in Cloud Storage: expected gs://BUCKET/NAME"):
        prove([Place("--job-dir", url, writes=True)])
    assert not bucket.log


def test_a_process_that_cannot_start_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/bin/false")
    with pytest.raises(UsageError, match=r"cannot be tried: the process that tries it ended \(it said nothing\)"):
        prove([Place("--job-dir", "gs://there/job", writes=True)])


def test_what_a_job_names_is_tried_once() -> None:
    folders = {"job_dir": "gs://a/job", "checkpoint_dir": "gs://a/job/c", "log_dir": "gs://a/job-logs"}
    job = Job.of({**folders, "train_files": ("x", "gs://d/1.csv", "gs://d/2.csv"), "eval_files": ("gs://d/3.csv",)})
    assert places_of(job, JobPaths.of(job)) == [
        Place("--job-dir", "gs://a/job", writes=True),
        Place("--log-dir", "gs://a/job-logs", writes=True),
        Place("--train-files", "x", writes=False),
        Place("--train-files", "gs://d/1.csv", writes=False),
        Place("--eval-files", "gs://d/3.csv", writes=False),
    ]
