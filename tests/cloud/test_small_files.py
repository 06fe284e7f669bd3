"""Small files of a job directory in a bucket: whole, by one request, and not over what another has written."""

from __future__ import annotations

import pytest

from tests.gcs_rig import Fault, Gcs
from trainer.cloud import storage
from trainer.cloud.small_files import SmallFiles
from trainer.job.errors import JobDirError


def test_what_is_put_is_read(gcs: Gcs, bucket: str) -> None:
    files, url = SmallFiles(), f"gs://{bucket}/a job/result.json"
    assert files.read(url) is None
    files.put(url, b"one")
    files.put(url, b"two")
    assert files.read(url) == b"two"
    assert [each.method for each in gcs.log] == ["GET", "POST", "POST", "GET"]


def test_a_holder_writes_over_what_it_has_seen_only(gcs: Gcs, bucket: str) -> None:
    one, other, url = SmallFiles(), SmallFiles(), f"gs://{bucket}/manifest.json"
    one.put_as_holder(url, b"1")
    one.put_as_holder(url, b"2")
    other.put_as_holder(url, b"3")
    with pytest.raises(JobDirError, match=r"manifest\.json was written by another process since this one has read it"):
        one.put_as_holder(url, b"4")
    assert gcs.content(bucket) == {"manifest.json": b"3"}


def test_an_answer_that_is_lost_is_no_other_process(gcs: Gcs, bucket: str) -> None:
    files, url = SmallFiles(), f"gs://{bucket}/best.json"
    files.put_as_holder(url, b"1")
    gcs.faults(Fault("POST /upload", "drop", times=1))
    files.put_as_holder(url, b"2")
    files.put_as_holder(url, b"3")
    assert gcs.content(bucket) == {"best.json": b"3"}


def test_a_refusal_that_breaks_off_is_waited_for(gcs: Gcs, bucket: str) -> None:
    """What google-cloud-storage reads of it comes after its own tries: a resumed job ended there, now and then."""
    url = f"gs://{bucket}/small.json"
    gcs.faults(Fault("GET .*small.json", "truncate", times=2))
    assert storage.read_version(url) is None
    gcs.state.reset()
    generation = storage.put_version(url, b"one", 0)
    assert generation is not None
    gcs.faults(Fault("(POST|PUT) /upload", "truncate", times=2))
    assert storage.put_version(url, b"other", 0) is None
    gcs.state.reset()
    assert storage.read_version(url) == (b"one", generation)
