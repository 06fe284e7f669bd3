"""Files that are replaced while a job reads them."""

from __future__ import annotations

import os
import pathlib

import pytest

from trainer.job.errors import DataError
from trainer.training.data_watch import DataWatch
from trainer.training.files import describe_files


def two_files(folder: pathlib.Path) -> list[str]:
    for name in ("a.csv", "b.csv"):
        (folder / name).write_text("x,y\n1,2\n")
    return [str(folder / name) for name in ("a.csv", "b.csv")]


def test_what_stays_is_no_change(tmp_path: pathlib.Path) -> None:
    paths = two_files(tmp_path)
    watch = DataWatch(paths)
    assert watch.describe(paths) == describe_files(paths)
    watch.check(paths)
    assert watch.find_change(paths) is None


@pytest.mark.parametrize("content", ["x,y\n1,3\n", "x,y\n1,2\n1,3\n"], ids=["as long", "longer"])
def test_what_is_written_over_is_named(tmp_path: pathlib.Path, content: str) -> None:
    paths = two_files(tmp_path)
    watch = DataWatch(paths)
    watch.describe(paths)
    pathlib.Path(paths[1]).write_text(content)
    watch.check(paths[:1])
    with pytest.raises(DataError, match=r"b\.csv was replaced or changed while the job read it: .*--fresh"):
        watch.check(paths)


def test_what_takes_the_place_of_another_is_named(tmp_path: pathlib.Path) -> None:
    paths = two_files(tmp_path)
    watch = DataWatch(paths)
    new = tmp_path / "new"
    new.write_text("x,y\n7,7\n")
    os.replace(new, paths[0])
    assert watch.find_change(paths) == f"{paths[0]} was replaced or changed"


def test_what_is_gone_is_named(tmp_path: pathlib.Path) -> None:
    paths = two_files(tmp_path)
    watch = DataWatch(paths)
    os.remove(paths[0])
    with pytest.raises(DataError, match=r"a\.csv was removed while the job read it: .*put back"):
        watch.check(paths)


def test_the_same_content_written_again_is_no_change(tmp_path: pathlib.Path) -> None:
    """As by a copy that is made each night; without a description nobody knows what the content was."""
    paths = two_files(tmp_path)
    known, unknown = DataWatch(paths), DataWatch(paths)
    known.describe(paths)
    os.utime(paths[0], ns=(1, 1))
    known.check(paths)
    assert unknown.find_change(paths) == f"{paths[0]} was replaced or changed"


def test_what_is_in_memory_is_looked_at_once(tmp_path: pathlib.Path) -> None:
    paths = two_files(tmp_path)
    watch = DataWatch(paths)
    watch.check(paths, once=True)
    os.remove(paths[0])
    watch.check(paths, once=True)
    with pytest.raises(DataError, match="was removed"):
        watch.check(paths)
