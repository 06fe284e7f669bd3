"""All formats alike: which one a file has, compression, damage, rows left out; the same rows make the same batches."""

from __future__ import annotations

import gzip
import itertools
import random
import re
import struct
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from tests.training.reader_cases import FORMATS, WRITERS, Rows, examples, opened, tfrecord, values
from trainer.job.columns import Column
from trainer.job.errors import DataError
from trainer.training import reader as reader_module
from trainer.training.datasets import cached_batches, ordered_batches, streamed_batches
from trainer.training.reader import Reader

COLUMNS = {"i": Column("int64"), "f": Column("float32"), "s": Column("string")}
INT = {"i": Column("int64")}


def some_rows(count: int) -> Rows:
    """Numbers as they come: fractions that need rounding, words in any alphabet; none so small that CSV flushes it."""
    rng = random.Random(count)
    extremes = [0.1, 1 / 3, -0.0, 3.4028234663852886e38, 1.1754943508222875e-38, float("nan"), float("inf"), 16777217.0]
    return [
        {
            "i": rng.choice([number, -(2**63), 2**63 - 1, rng.randrange(10**12)]),
            "f": rng.choice([*extremes, rng.gauss(0, 1), rng.uniform(-1e30, 1e30)]),
            "s": rng.choice(["", "ü, 日本", 'say "x"', "a\u2028b", "\t", " ", "0x10", "nan", str(number)]),
        }
        for number in range(count)
    ]


def written(folder: Path, kind: str, parts: list[Rows], packed: bool = False) -> Reader:
    """A reader of these rows, in a file for each part."""
    contents = [gzip.compress(WRITERS[kind](rows)) if packed else WRITERS[kind](rows) for rows in parts]
    names = [f"{number}.{kind}" + (".gz" if packed else "") for number in range(len(parts))]
    return opened(folder, *contents, names=names)


def bits(dataset: tf.data.Dataset, count: int) -> list[Any]:
    """So many batches, floats as their bits."""
    return [
        {name: column.view("int32").tolist() if name == "f" else column.tolist() for name, column in batch.items()}
        for batch in itertools.islice(dataset.as_numpy_iterator(), count)
    ]


def flat(lists: list[list[int]]) -> list[int]:
    return [each for part in lists for each in part]


@pytest.mark.parametrize("sizes", [[40], [13, 1, 26]])
def test_the_same_rows_in_any_format_make_the_same_batches(tmp_path: Path, sizes: list[int]) -> None:
    rows = iter(some_rows(40))
    parts = [list(itertools.islice(rows, size)) for size in sizes]
    made: dict[str, list[Any]] = {}
    for kind, packed in itertools.product(WRITERS, (False, True)):
        found = written(tmp_path, kind, parts, packed)
        assert {name: found.column(name) for name in COLUMNS} == COLUMNS
        read, finish = (lambda records: found.parse(records, COLUMNS)), (lambda columns: columns)  # noqa: B023
        datasets = [make(found, read, finish, 7, 3, 2) for make in (cached_batches, streamed_batches)]
        datasets.append(ordered_batches(found, read, finish, 7))
        made[f"{kind}, packed: {packed}"] = [bits(dataset, 13) for dataset in datasets]
    first, *others = made.values()
    assert all(other == first for other in others)
    assert [len(batch["f"]) for batch in first[2]] == [7, 7, 7, 7, 7, 5]


def test_python_reads_the_same_rows_in_any_format(tmp_path: Path) -> None:
    rows = [{"i": 1, "f": 0.5, "s": "ü"}, {"i": -(2**63), "f": -2.0, "s": "x"}]
    for kind in WRITERS:
        assert written(tmp_path, kind, [rows]).first_values(COLUMNS, 9) == rows


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("x.csv", "csv"),
        ("x.CSV", "csv"),
        ("x.jsonl", "jsonl"),
        ("x.ndjson", "jsonl"),
        ("x.csv.gz", "csv"),
        ("x.tfrecord", "tfrecord"),
        ("x.tfrecords", "tfrecord"),
        ("x.y.TFRecord.GZ", "tfrecord"),
        ("x.jsonl.gz", "jsonl"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_the_suffix_tells_the_format_and_the_first_bytes_the_compression(
    tmp_path: Path, name: str, kind: str, packed: bool
) -> None:
    content = WRITERS[kind]([{"i": 7}])
    found = opened(tmp_path, gzip.compress(content) if packed else content, names=[name])
    assert (type(found).__name__.lower(), values(found, INT)) == (f"{kind}reader", {"i": [7]})


@FORMATS
@pytest.mark.parametrize("name", ["x", "x.csv", "part-00000", "x.gz", "x.csv-00001-of-00002", ".csv"])
def test_the_flag_comes_before_the_suffix(tmp_path: Path, kind: str, name: str) -> None:
    assert values(opened(tmp_path, WRITERS[kind]([{"i": 7}]), names=[name], format=kind), INT) == {"i": [7]}


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (
            ["x.txt"],
            "x.txt: its name does not tell its format (.csv, .tsv, .jsonl, .ndjson, .tfrecord, .tfrecords, each",
        ),
        (["x.csv", "y"], "y: its name does not tell its format"),
        (["x.json"], "say it with --format=csv|jsonl|tfrecord"),
        (["x.csv", "y.jsonl"], "x.csv is csv but "),
        (["x.tfrecord", "y.csv"], "y.csv is csv by their names: give files of one format, or say it with --format"),
    ],
)
def test_names_that_do_not_tell(tmp_path: Path, names: list[str], words: str) -> None:
    with pytest.raises(DataError, match=re.escape(words)):
        opened(tmp_path, *["i\n7\n"] * len(names), names=names)


@pytest.mark.parametrize(
    ("kind", "other", "words"),
    [
        ("csv", "tfrecord", r"line 1: (this is not UTF-8|found a NUL character)"),
        ("jsonl", "tfrecord", "line 1: this is not (UTF-8|JSON)"),
        ("jsonl", "csv", "line 1: this is not JSON"),
        ("tfrecord", "csv", "x.tfrecord is no TFRecord file"),
        ("tfrecord", "jsonl", "x.tfrecord is no TFRecord file"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_files_that_are_something_else(tmp_path: Path, kind: str, other: str, words: str, packed: bool) -> None:
    content = WRITERS[other]([{"i": 7, "f": 0.3, "s": "x"}])
    with pytest.raises(DataError, match=words):
        opened(tmp_path, gzip.compress(content) if packed else content, names=[f"x.{kind}"])


@FORMATS
def test_missing_values_follow_declared_defaults(tmp_path: Path, kind: str) -> None:
    rows: Rows = [{"i": 7, "f": 0.5, "s": "x"}, {"i": None, "f": None, "s": None}]
    if kind == "tfrecord":
        rows[1] = {}
    columns = {"i": Column("int64", (), -1), "f": Column("float32", (), 0.1), "s": Column("string", (), "none")}
    found = written(tmp_path, kind, [rows])
    dataset = ordered_batches(found, lambda records: found.parse(records, columns), lambda batch: batch, 9)
    tenth = struct.unpack("<i", struct.pack("<f", 0.1))[0]
    assert bits(dataset, 1) == [{"i": [7, -1], "f": [0x3F000000, tenth], "s": [b"x", b"none"]}]


@FORMATS
def test_a_missing_column_is_named(tmp_path: Path, kind: str) -> None:
    found = written(tmp_path, kind, [[{"i": 7}]])
    if kind == "csv":
        assert "z" not in found.columns  # what asks for it says so: see FileInputs.check_columns
    else:
        with pytest.raises(DataError, match=r"(line|record) 1, column z: found nothing where"):
            found.check_sample({"z": Column("int64")})


@FORMATS
@pytest.mark.parametrize("packed", [False, True])
def test_rows_that_are_skipped_never_appear(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, packed: bool
) -> None:
    """Their positions are among the records of a file, which blank lines are not."""
    monkeypatch.setattr(reader_module, "BLOCK_ROWS", 4)
    parts = [[{"i": number} for number in range(start, start + 10)] for start in (0, 10, 20)]
    found = written(tmp_path, kind, parts, packed)
    if kind != "tfrecord":
        lines = Path(found.files[1]).read_bytes()
        lines = (gzip.decompress(lines) if packed else lines).replace(b"\n", b"\n\n\r\n")
        Path(found.files[1]).write_bytes(gzip.compress(lines) if packed else lines)
    found.skipped.update({found.files[0]: (0, 1, 2, 3, 9), found.files[1]: (3, 4), found.files[2]: tuple(range(4, 10))})
    left = [4, 5, 6, 7, 8, 10, 11, 12, 15, 16, 17, 18, 19, 20, 21, 22, 23]
    assert found.rows == len(left)
    assert values(found, INT) == {"i": left}
    assert [row["i"] for row in found.first_values(INT, 99)] == left
    assert [int(block.shape[0]) for block in found.blocks(found.files[0])] == [0, 4, 1]
    assert sum(int(block.shape[0]) for path in found.files for block in found.every_block(path)) == 30
    read, finish = (lambda records: found.parse(records, INT)), (lambda columns: columns["i"])
    for make in (cached_batches, streamed_batches):
        batches = [batch.numpy().tolist() for batch in make(found, read, finish, 5, 1, 0).take(8)]
        assert sorted(flat(batches[:4])) == sorted(flat(batches[4:])) == left
    assert flat([batch.numpy().tolist() for batch in ordered_batches(found, read, finish, 5)]) == left


@FORMATS
def test_a_skipped_bad_row_is_bad_no_more(tmp_path: Path, kind: str) -> None:
    found = written(tmp_path, kind, [[{"i": 1}, {"i": 2}]])
    wrong = {
        "csv": b"i\n1\nx\n2\n",
        "jsonl": b'{"i": 1}\n{\n{"i": 2}\n',
        "tfrecord": tfrecord(*examples({"i": 1}, {}, {"i": 2})),
    }
    Path(found.files[0]).write_bytes(wrong[kind])
    with pytest.raises(DataError, match=r"(line 3|line 2|record 2)\b"):
        found.find_bad_row(INT)
    found.skipped[found.files[0]] = (1,)
    found.find_bad_row(INT)
    assert values(found, INT) == {"i": [1, 2]}
    assert [(row.number, row.values) for row in found.good_rows(INT)][1] == (4 if kind == "csv" else 3, {"i": 2})


@FORMATS
def test_blocks_of_long_records_are_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(reader_module, "BLOCK_BYTES", 10_000)
    found = written(tmp_path, kind, [[{"s": "x" * 1000} for _ in range(50)]])
    sizes = [int(block.shape[0]) for block in found.all_blocks()]
    assert (sum(sizes), max(sizes)) == (50, 9)


@FORMATS
def test_of_long_records_fewer_tell_what_a_column_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(reader_module, "SAMPLE_BYTES", 10_000)
    found = written(tmp_path, kind, [[{"s": "x" * 1000} for _ in range(50)]])
    assert len(found.head) in (10, 11)
    assert found.column("s") == Column("string")


@FORMATS
def test_a_path_may_be_a_tensor(tmp_path: Path, kind: str) -> None:
    found = written(tmp_path, kind, [[{"i": 1}], [{"i": 2}]])
    for path, number in zip(found.files, (1, 2), strict=True):
        for asked in (path, tf.constant(path)):
            blocks = list(found.blocks(asked).map(lambda records: found.parse(records, INT)["i"]).as_numpy_iterator())
            assert [block.tolist() for block in blocks] == [[number]]


@FORMATS
def test_an_estimators_graph_gets_what_eager_code_gets(tmp_path: Path, kind: str) -> None:
    columns = {"i": Column("int64"), "f": Column("float32", (), 0.5), "s": Column("string", (), "x")}
    found = written(tmp_path, kind, [some_rows(9), some_rows(5)])
    found.skipped[found.files[0]] = (2,)

    def dataset() -> tf.data.Dataset:
        return ordered_batches(found, lambda records: found.parse(records, columns), lambda batch: batch, 99)

    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        batch = tf.compat.v1.data.make_one_shot_iterator(dataset()).get_next()
        in_graph = session.run(batch)
    assert [{name: repr(column.tolist()) for name, column in in_graph.items()}] == [
        {name: repr(column.tolist()) for name, column in batch.items()} for batch in dataset().as_numpy_iterator()
    ]
