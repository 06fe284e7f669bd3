"""Whether a folder can be written is found out without leaving a trace."""

from __future__ import annotations

import os
import pathlib
import socket
import time
from collections.abc import Iterator

import pytest

from tests.gcs_rig import Fault, Gcs
from trainer.job.errors import StorageFailed
from trainer.training.probing import MARK, prove_writable


@pytest.mark.parametrize("name", ["there", "not/there/yet", "a 0; echo 'x'"])
def test_nothing_is_left(name: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    for folder in (name, str(tmp_path / name)):
        prove_writable("--job-dir", folder)
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")] == ["there"]


def test_a_folder_that_somebody_uses_meanwhile_stays(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that starts in the same moment."""
    remove = pathlib.Path.rmdir

    def start_a_job(path: pathlib.Path) -> None:
        (tmp_path / "runs" / "job.lock").write_text("")
        remove(path)

    monkeypatch.setattr(pathlib.Path, "rmdir", start_a_job)
    prove_writable("--job-dir", str(tmp_path / "runs" / "job"))
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["job.lock"]


def test_what_cannot_be_written_is_said(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_text("kept")
    for folder in (tmp_path / "file", tmp_path / "file" / "below", pathlib.Path("/proc/no/such")):
        with pytest.raises(StorageFailed) as caught:
            prove_writable("--log-dir", str(folder))
        assert str(caught.value).startswith(f"--log-dir={folder} cannot be written (")
    assert (tmp_path / "file").read_text() == "kept"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_service_that_is_not_there_is_found_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorFlow by itself would try for minutes."""
    with socket.socket() as unused:  # bound, but nobody listens
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
        for name, value in {
            "https_proxy": address,
            "http_proxy": address,
            "no_proxy": "",
            "GOOGLE_AUTH_TOKEN_FOR_TESTING": "token",
            "NO_GCE_CHECK": "true",
        }.items():
            monkeypatch.setenv(name, value)
        started = time.monotonic()
        with pytest.raises(StorageFailed) as caught:
            prove_writable("--job-dir", "gs://some-bucket/job")
    assert time.monotonic() - started < 60
    assert str(caught.value).startswith("--job-dir=gs://some-bucket/job cannot be written (")
    assert str(caught.value).endswith("see that the bucket is there and lets you write.")


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
    prove_writable("--job-dir", "gs://there/job")
    assert bucket.content("there") == {"other/job": b"kept"}
    written = [each.method for each in bucket.log if each.method in ("POST", "PUT", "DELETE") and MARK in each.path]
    assert written[-1] == "DELETE", "nothing was written: this proves nothing"


@pytest.mark.parametrize(
    ("folder", "code"),
    [pytest.param("gs://absent/job", None, id="no bucket"), pytest.param("gs://there/job", 403, id="not allowed")],
)
def test_a_bucket_that_cannot_be_written(folder: str, code: int | None, bucket: Gcs) -> None:
    bucket.faults(*([Fault("upload", code)] if code else []))
    with pytest.raises(StorageFailed) as caught:
        prove_writable("--job-dir", folder)
    assert str(caught.value).startswith(f"--job-dir={folder} cannot be written (")
    assert bucket.content("there") == {}
