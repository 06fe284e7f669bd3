"""Rows that cannot be read: which they are, how many may be left out, and what is said of them."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from tests.data_files import csv_bytes, example, frame, jsonl_bytes, write_rows
from trainer.job.columns import Column
from trainer.job.errors import DataError
from trainer.training import reader as reader_module
from trainer.training.bad_rows import RAW_CHARACTERS, Wanted, leave_out
from trainer.training.reader import Reader
from trainer.training.readers import open_reader

COLUMNS = {"size": Column("float32"), "word": Column("string")}
WANTED = Wanted(COLUMNS)
GOOD = {"size": 0.5, "word": "a"}
BAD = {
    "csv": b"x,a\n",
    "jsonl": b'{"size": "x", "word": "a"}\n',
    "tfrecord": frame(example({"size": "x", "word": "a"})),
}
FORMATS = pytest.mark.parametrize("kind", list(BAD))
HEAD = {"csv": 1, "jsonl": 0, "tfrecord": 0}  # lines before the first example


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader_module, "BLOCK_ROWS", 4)


def records(kind: str, count: int, bad: tuple[int, ...] = ()) -> list[bytes]:
    """So many records, bad ones at these positions; a header is one in front."""
    rows = [{**GOOD, "size": place + 0.5} for place in range(count)]
    if kind == "tfrecord":
        found = [frame(example(row)) for row in rows]
    else:
        found = (csv_bytes(rows) if kind == "csv" else jsonl_bytes(rows)).splitlines(keepends=True)
    for place in bad:
        found[place + HEAD[kind]] = BAD[kind]
    return found


def opened(folder: Path, kind: str, *bad: tuple[int, ...], count: int = 11) -> Reader:
    """A file for each set of bad positions."""
    folder.mkdir(exist_ok=True)
    files = [folder / f"{number}.{kind}" for number in range(len(bad))]
    for file, positions in zip(files, bad, strict=True):
        file.write_bytes(b"".join(records(kind, count, positions)))
    return open_reader([str(file) for file in files])


def csv_reader(path: Path, *rows: dict[str, Any]) -> Reader:
    return open_reader([str(write_rows(path, rows))])


def listed(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def sizes(found: Reader) -> list[float]:
    """What is read of all files."""
    return [
        size for block in found.all_blocks() for size in found.parse(block, {"size": COLUMNS["size"]})["size"].numpy()
    ]


@FORMATS
def test_bad_rows_are_known_by_their_positions(tmp_path: Path, kind: str) -> None:
    """In the first block, at both ends of one, two in the last; none in the second file."""
    bad = (0, 3, 4, 9, 10)
    found = opened(tmp_path, kind, bad, (), (1,))
    leave_out([found], WANTED, 6, str(tmp_path / "bad.jsonl"))
    assert found.skipped == {found.files[0]: bad, found.files[2]: (1,)}
    assert found.rows == 33 - 6
    whole = [place + 0.5 for place in range(11)]
    good = [[size for place, size in enumerate(whole) if place not in skipped] for skipped in (bad, (), (1,))]
    assert sizes(found) == [*good[0], *good[1], *good[2]]
    found.check_sample(COLUMNS)
    numbers = [(found.files[0], place + 1 + HEAD[kind]) for place in bad] + [(found.files[2], 2 + HEAD[kind])]
    assert [(each["file"], each["row"]) for each in listed(tmp_path / "bad.jsonl")] == numbers
    assert {each["column"] for each in listed(tmp_path / "bad.jsonl")} == {"size"}


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_blank_lines_are_counted_in_line_numbers_but_not_in_positions(tmp_path: Path, kind: str) -> None:
    found = records(kind, 10, (2, 7))
    found.insert(HEAD[kind], b"\n")
    found.insert(HEAD[kind] + 5, b"\r\n")
    (tmp_path / f"a.{kind}").write_bytes(b"".join(found))
    data = open_reader([str(tmp_path / f"a.{kind}")])
    leave_out([data], WANTED, 2, str(tmp_path / "bad.jsonl"))
    assert data.skipped == {data.files[0]: (2, 7)}
    assert [each["row"] - HEAD[kind] for each in listed(tmp_path / "bad.jsonl")] == [4, 10]
    assert sizes(data) == [0.5, 1.5, 3.5, 4.5, 5.5, 6.5, 8.5, 9.5]


def test_what_is_said_of_a_bad_row(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"size,word\n1,a\n" + b"n/a,\xc3\xbc\n" + b"1,\xff\n" + b"1,2,3\n" + b"1," + b"y" * 3000 + b",z\n")
    with caplog.at_level(logging.WARNING, "trainer"):
        leave_out([open_reader([str(path)])], WANTED, 4, str(tmp_path / "bad.jsonl"))
    first, latin, fields, long = listed(tmp_path / "bad.jsonl")
    problem = "found 'n/a' where a number is needed"
    assert first == {"file": str(path), "row": 3, "column": "size", "problem": problem, "raw": "n/a,ü"}
    assert (latin["row"], latin["column"], latin["raw"]) == (4, None, "1,\N{REPLACEMENT CHARACTER}")
    assert "not UTF-8" in latin["problem"]
    assert "3 fields" in fields["problem"]
    assert len(long["raw"]) == RAW_CHARACTERS
    (message,) = caplog.messages
    assert message.startswith(
        f"left out 4 bad rows, see {tmp_path}/bad.jsonl; the first: {path}, line 3, column size: "
    )


@FORMATS
def test_one_more_than_may_be_left_out(tmp_path: Path, kind: str) -> None:
    found = opened(tmp_path, kind, (2,), (5, 6))
    with pytest.raises(
        DataError, match=rf"^more than --max-bad-rows=2 rows .*; the first: .*0\.{kind}, .* column size"
    ):
        leave_out([found], WANTED, 2, str(tmp_path / "bad.jsonl"))
    assert not (tmp_path / "bad.jsonl").exists()


@FORMATS
def test_where_all_rows_are_good_nothing_is_written(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    found = opened(tmp_path, kind, ())
    leave_out([found], WANTED, 2, str(tmp_path / "bad.jsonl"))
    assert (found.skipped, found.rows, caplog.messages) == ({}, 11, [])
    assert not (tmp_path / "bad.jsonl").exists()


def test_with_limit_0_nothing_is_read(tmp_path: Path) -> None:
    found = opened(tmp_path, "csv", (1,))
    (tmp_path / "0.csv").unlink()
    leave_out([found], WANTED, 0, str(tmp_path / "bad.jsonl"))
    assert found.skipped == {}
    assert not (tmp_path / "bad.jsonl").exists()
    with pytest.raises((DataError, OSError, tf.errors.NotFoundError)):
        leave_out([found], WANTED, 1, str(tmp_path / "bad.jsonl"))


@FORMATS
def test_no_row_is_left(tmp_path: Path, kind: str) -> None:
    found = opened(tmp_path, kind, (), count=3)
    evaluation = opened(tmp_path / "eval", kind, (0, 1), (0, 1), count=2)
    with pytest.raises(
        DataError, match=rf"no row of .*eval/0\.{kind}, .*1\.{kind} can be read: .*1\.{kind}, .*column size: found"
    ):
        leave_out([found, evaluation], WANTED, 9, str(tmp_path / "bad.jsonl"))


@FORMATS
def test_a_file_may_have_none_left_where_another_has_some(tmp_path: Path, kind: str) -> None:
    found = opened(tmp_path, kind, (0, 1), (0,), count=2)
    leave_out([found], WANTED, 9, str(tmp_path / "bad.jsonl"))
    assert sizes(found) == [1.5]


@FORMATS
def test_labels_that_are_text_may_not_be_empty(tmp_path: Path, kind: str) -> None:
    """Bad rows before and after them in a block, as each test looks at those that the one before has left."""
    rows = [frame(example({**GOOD, "word": word})) for word in ("a", "", "b", "")]
    if kind != "tfrecord":
        write = csv_bytes if kind == "csv" else jsonl_bytes
        rows = write([{**GOOD, "word": word} for word in ("a", "", "b", "")]).splitlines(keepends=True)
    path = tmp_path / f"a.{kind}"
    path.write_bytes(b"".join([*rows[: HEAD[kind]], BAD[kind], *rows[HEAD[kind] :], BAD[kind]]))
    found = open_reader([str(path)])
    leave_out([found], Wanted(COLUMNS, ["word"]), 4, str(tmp_path / "bad.jsonl"))
    assert found.skipped == {str(path): (0, 2, 4, 5)}
    said = [(each["column"], each["problem"]) for each in listed(tmp_path / "bad.jsonl")]
    assert said[1:3] == [("word", "found nothing where a label is needed")] * 2
    assert {column for column, _ in (said[0], said[3])} == {"size"}
    other = open_reader([str(path)])
    leave_out([other], WANTED, 4, str(tmp_path / "bad.jsonl"))
    assert other.skipped == {str(path): (0, 5)}


@pytest.mark.parametrize("kind", ["csv", "tfrecord"])
def test_weights_have_to_weigh(tmp_path: Path, kind: str) -> None:
    weights = [1.0, 0.0, -0.5, float("nan"), float("inf"), -0.0, 2.5]
    path = write_rows(tmp_path / f"a.{kind}", [{**GOOD, "w": weight} for weight in weights])
    found = open_reader([str(path)])
    wanted = Wanted({**COLUMNS, "w": Column("float32")}, weight="w")
    leave_out([found], wanted, 3, str(tmp_path / "bad.jsonl"))
    assert found.skipped == {str(path): (2, 3, 4)}
    said = [(each["column"], each["problem"]) for each in listed(tmp_path / "bad.jsonl")]
    needed = "where a weight is needed: a finite number of at least 0"
    assert said == [("w", f"found {value} {needed}") for value in ("-0.5", "nan", "inf")]


@FORMATS
def test_two_sets_share_the_limit(tmp_path: Path, kind: str) -> None:
    train, evaluation = opened(tmp_path / "a", kind, (1,)), opened(tmp_path / "b", kind, (2,), (3,))
    leave_out([train, evaluation], WANTED, 3, str(tmp_path / "bad.jsonl"))
    assert train.skipped == {train.files[0]: (1,)}
    assert evaluation.skipped == {evaluation.files[0]: (2,), evaluation.files[1]: (3,)}
    assert [each["file"] for each in listed(tmp_path / "bad.jsonl")] == [*train.files, *evaluation.files]
    again = [opened(tmp_path / "a", kind, (1,)), opened(tmp_path / "b", kind, (2,), (3,))]
    with pytest.raises(DataError, match="more than --max-bad-rows=2 rows"):
        leave_out(again, WANTED, 2, str(tmp_path / "more.jsonl"))


@pytest.mark.parametrize("same", [True, False], ids=["one reader", "two readers of a file"])
def test_a_row_for_training_and_evaluation_counts_once(tmp_path: Path, same: bool) -> None:
    train = opened(tmp_path, "csv", (1, 2))
    evaluation = train if same else open_reader(train.files)
    leave_out([train, evaluation], WANTED, 2, str(tmp_path / "bad.jsonl"))
    assert train.skipped == evaluation.skipped == {train.files[0]: (1, 2)}
    assert [each["row"] for each in listed(tmp_path / "bad.jsonl")] == [3, 4]


@pytest.mark.parametrize("limit", [3, 2])
def test_what_an_earlier_call_left_out_stays_out_and_counts(tmp_path: Path, limit: int) -> None:
    """As with analysis before there is a model: it wants other columns than the model."""
    rows: list[dict[str, Any]] = [
        {"size": 1, "note": 1, "w": 1},
        {"size": 1, "note": "x", "w": 1},
        {"size": 1, "note": 1, "w": "x"},
    ]
    number = Column("float32")
    train = csv_reader(tmp_path / "a.csv", *rows)
    evaluation = csv_reader(tmp_path / "b.csv", rows[0], rows[2])
    leave_out([train], Wanted({"size": number, "note": number}), limit, str(tmp_path / "bad.jsonl"))
    assert train.skipped == {train.files[0]: (1,)}
    late = Wanted({"size": number, "w": number})
    if limit == 2:
        with pytest.raises(DataError, match=r"more than --max-bad-rows=2 rows .*a\.csv, line 4, column w"):
            leave_out([train, evaluation], late, limit, str(tmp_path / "bad.jsonl"))
        return
    leave_out([train, evaluation], late, limit, str(tmp_path / "bad.jsonl"))
    assert (train.skipped, evaluation.skipped) == ({train.files[0]: (1, 2)}, {evaluation.files[0]: (1,)})
    said = [(Path(each["file"]).name, each["row"], each["column"]) for each in listed(tmp_path / "bad.jsonl")]
    assert said == [("a.csv", 3, "note"), ("a.csv", 4, "w"), ("b.csv", 3, "w")]


def test_the_same_call_again_finds_nothing_new(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    found = opened(tmp_path, "csv", (1, 2))
    for _ in range(2):
        leave_out([found], WANTED, 2, str(tmp_path / "bad.jsonl"))
        assert found.skipped == {found.files[0]: (1, 2)}
    assert len(caplog.messages) == 1


@pytest.mark.parametrize(("bad", "passes"), [((), 0), ((0, 1, 5, 6, 19), 1)])
def test_bad_rows_in_many_blocks_cost_one_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bad: tuple[int, ...], passes: int
) -> None:
    """Of Python over the file, to name them."""
    found, begun = opened(tmp_path, "csv", bad, count=20), []
    whole = type(found).raw_rows

    def counted(self: Reader, path: str) -> Iterator[tuple[int, bytes]]:
        begun.append(path)
        yield from whole(self, path)

    monkeypatch.setattr(type(found), "raw_rows", counted)
    leave_out([found], WANTED, 5, str(tmp_path / "bad.jsonl"))
    assert len(begun) == passes


def test_a_damaged_file_is_no_bad_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader_module, "SAMPLE_ROWS", 5)
    found = records("tfrecord", 11, (2,))
    damaged = bytearray(found[9])
    damaged[14] ^= 1
    (tmp_path / "a.tfrecord").write_bytes(b"".join([*found[:9], bytes(damaged), found[10]]))
    data = open_reader([str(tmp_path / "a.tfrecord")])
    with pytest.raises(DataError, match=r"a\.tfrecord, record 10: its checksum is wrong"):
        leave_out([data], WANTED, 5, str(tmp_path / "bad.jsonl"))
