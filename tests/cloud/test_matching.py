"""What names and patterns mean in a bucket, and that it takes one request."""

from __future__ import annotations

import pytest

from tests.gcs_rig import Fault, Gcs
from trainer.cloud.matching import match_objects
from trainer.job.errors import UsageError

NAMES = (
    "data/train-0.csv",
    "data/train-1.csv",
    "data/train-2.csv.gz",
    "data/train-old/0.csv",
    "data/it's; a[1].csv",
    "data/a1.csv",
    "data/ü 日本*.csv",
    "data/",
    "data2/train-9.csv",
    "empty/",
    "top.csv",
)
CASES = {
    "a name": ("data/a1.csv", ["data/a1.csv"], False),
    "a name with brackets": ("data/it's; a[1].csv", ["data/it's; a[1].csv"], False),
    "a name with a star": ("data/ü 日本*.csv", ["data/ü 日本*.csv"], False),
    "a star, beside a folder": ("data/train-*", ["data/train-0.csv", "data/train-1.csv", "data/train-2.csv.gz"], True),
    "an end": ("data/train-*.csv", ["data/train-0.csv", "data/train-1.csv"], False),
    "one letter": ("data/train-?.csv", ["data/train-0.csv", "data/train-1.csv"], False),
    "some letters": ("data/train-[1-9].csv*", ["data/train-1.csv", "data/train-2.csv.gz"], False),
    "other letters": ("data/train-[^1-9].csv*", ["data/train-0.csv"], False),
    "an escape": (r"data/it's; a\[1\].csv", ["data/it's; a[1].csv"], False),
    "two stars": ("data*/train-?.csv", ["data/train-0.csv", "data/train-1.csv", "data2/train-9.csv"], False),
    "a folder's files": ("data/*/*.csv", ["data/train-old/0.csv"], False),
    "at the top": ("*.csv", ["top.csv"], False),
    "a folder": ("data", [], True),
    "a folder with its slash": ("data/", [], True),
    "a folder by a pattern": ("data/train-o*", [], True),
    "an empty folder": ("empty", [], True),
    "nothing in an empty folder": ("empty/*", [], False),
    "nothing": ("data/train-0", [], False),
    "nothing by a pattern": ("data/x*.csv", [], False),
}


@pytest.fixture
def full(gcs: Gcs, bucket: str) -> str:
    gcs.put(bucket, dict.fromkeys(NAMES, b"x"))
    gcs.state.reset()
    return bucket


@pytest.mark.parametrize(("pattern", "names", "has_folder"), CASES.values(), ids=CASES)
def test_what_is_meant(gcs: Gcs, full: str, pattern: str, names: list[str], has_folder: bool) -> None:
    assert match_objects(f"gs://{full}/{pattern}") == ([f"gs://{full}/{name}" for name in names], has_folder)
    assert len(gcs.log) == 1


def test_a_bucket_is_a_folder(full: str) -> None:
    assert match_objects(f"gs://{full}") == ([], True)


def test_a_bucket_that_is_not_there(gcs: Gcs) -> None:
    with pytest.raises(UsageError, match="there is no bucket absent"):
        match_objects("gs://absent/*.csv")


def test_who_may_not_list_is_told(gcs: Gcs, full: str) -> None:
    gcs.faults(Fault("GET /storage/v1/b/", 403, message="no"))
    with pytest.raises(UsageError, match=r"storage\.objects\.list"):
        match_objects(f"gs://{full}/data/*.csv")
