"""A file appears when it is whole, and belongs to one process."""

from __future__ import annotations

import os
import pathlib

import pytest

from trainer.job.errors import UsageError
from trainer.training.whole_file import open_whole, put_whole


def test_it_appears_whole(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "new folder" / 'a "b".txt'
    file = open_whole(str(path))
    file.write(b"one ")
    file.write(b"two")
    assert not path.exists()
    file.finish()
    assert path.read_bytes() == b"one two"
    assert os.listdir(path.parent) == [path.name]


def test_what_a_kill_left_is_written_over(tmp_path: pathlib.Path) -> None:
    (tmp_path / "x.unfinished").write_bytes(b"half of something longer")
    put_whole(str(tmp_path / "x"), b"whole")
    assert (tmp_path / "x").read_bytes() == b"whole"
    assert os.listdir(tmp_path) == ["x"]


def test_discard_leaves_nothing(tmp_path: pathlib.Path) -> None:
    file = open_whole(str(tmp_path / "x"))
    file.write(b"half")
    file.discard()
    assert os.listdir(tmp_path) == []


def test_a_second_writer_is_refused_and_does_no_harm(tmp_path: pathlib.Path) -> None:
    first = open_whole(str(tmp_path / "x"))
    first.write(b"first")
    with pytest.raises(UsageError, match=r"another process is writing .*x: wait for it"):
        open_whole(str(tmp_path / "x"))
    first.finish()
    assert (tmp_path / "x").read_bytes() == b"first"
    put_whole(str(tmp_path / "x"), b"second")
    assert (tmp_path / "x").read_bytes() == b"second"


def test_a_relative_name(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    put_whole("x", b"whole")
    assert os.listdir(tmp_path) == ["x"]
