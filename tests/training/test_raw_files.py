"""Compressed files of any format: by their first bytes, in one part or several, cut off, damaged, empty."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest

from tests.training.reader_cases import FORMATS, WRITERS, opened, values
from trainer.job.columns import Column
from trainer.job.errors import DataError

INT = {"i": Column("int64")}


def test_packed_and_plain_files_side_by_side(tmp_path: Path) -> None:
    for kind, write in WRITERS.items():
        contents = [write([{"i": 1}]), gzip.compress(write([{"i": 2}])), write([{"i": 3}])]
        found = opened(tmp_path, *contents, names=[f"{number}.{kind}" for number in range(3)])
        assert values(found, INT) == {"i": [1, 2, 3]}


@FORMATS
@pytest.mark.parametrize("size", [1, 10, 2**17 // 8, 2**20])
def test_a_packed_file_of_several_parts(tmp_path: Path, kind: str, size: int) -> None:
    """As `cat a.gz b.gz` makes them; the size of a part in bytes."""
    content = WRITERS[kind]([{"i": number, "s": "x" * 90} for number in range(3 if size < 100 else 12_000)])
    parts = [content[at : at + size] for at in range(0, len(content), size)]
    found = opened(tmp_path, b"".join(map(gzip.compress, parts)), names=[f"x.{kind}.gz"])
    assert values(found, INT)["i"] == list(range(found.rows))
    assert found.rows == (3 if size < 100 else 12_000)


def packed_parts(content: bytes) -> dict[str, tuple[bytes, str]]:
    """What is wrong -> the bytes, and words of the sentence."""
    whole = gzip.compress(content)
    return {
        "cut in the middle": (whole[: len(whole) // 2], "is cut off: the gzip file ends before its end mark"),
        "cut in the head": (whole[:5], "is cut off: the gzip file ends before its end mark"),
        "cut before the end mark": (whole[:-8], "is cut off"),
        "cut in the end mark": (whole[:-1], "is cut off"),
        "cut in the second part": (whole + whole[:-3], "is cut off"),
        "another checksum": (whole[:-8] + b"\0\0\0\0" + whole[-4:], "is a damaged gzip file"),
        "damage": (whole[:12] + bytes(each ^ 0xFF for each in whole[12:30]) + whole[30:], "is a damaged gzip file"),
        "zeros at the end": (whole + b"\0" * 9, "is a damaged gzip file"),
        "text at the end": (whole + b"text", "is a damaged gzip file"),
        "an empty part first": (gzip.compress(b"") + whole, "does not read on after a part without content"),
        "an empty part between": (whole + gzip.compress(b"") + whole, "does not read on after a part without content"),
        "nothing in it": (gzip.compress(b""), "is empty: write it again, or leave it out"),
    }


@FORMATS
@pytest.mark.parametrize("wrong", packed_parts(b""))
def test_damaged_packed_files(tmp_path: Path, kind: str, wrong: str) -> None:
    content, words = packed_parts(WRITERS[kind]([{"i": number} for number in range(300)]))[wrong]
    with pytest.raises(DataError, match=re.escape(f"a b.{kind}.gz {words}") if words.startswith("is") else words):
        assert opened(tmp_path, content, names=[f"a b.{kind}.gz"]).rows < 0


@FORMATS
def test_an_empty_part_at_the_end_is_how_some_tools_mark_it(tmp_path: Path, kind: str) -> None:
    content = gzip.compress(WRITERS[kind]([{"i": 7}])) + gzip.compress(b"")
    found = opened(tmp_path, content, names=[f"x.{kind}"])
    assert (found.rows, values(found, INT)) == (1, {"i": [7]})


@FORMATS
def test_an_empty_shard(tmp_path: Path, kind: str) -> None:
    whole = WRITERS[kind]([{"i": 7}])
    for empty in (b"", gzip.compress(b"")):
        with pytest.raises(DataError, match=rf"1\.{kind} is empty: write it again, or leave it out"):
            opened(tmp_path, whole, empty, names=[f"0.{kind}", f"1.{kind}"])
