"""From files to batches: no row lost, none of two files together, bad ones known by their place."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from trainer.job.columns import Column
from trainer.job.errors import DataError, UsageError
from trainer.job.prediction import Prediction
from trainer.job.serving import ServingSpec
from trainer.training.prediction_input import Batch, Source
from trainer.training.readers import open_reader

FEATURES = {"n": Column("int64")}


def write(path: pathlib.Path, numbers: list[Any]) -> str:
    """One column called n, as csv, jsonl or tfrecord; what is no number is text."""
    if path.suffix == ".csv":
        path.write_text("n,id\n" + "".join(f"{each},k{each}\n" for each in numbers))
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps({"n": each, "id": f"k{each}"}) + "\n" for each in numbers))
    else:
        with tf.io.TFRecordWriter(str(path)) as writer:
            for each in numbers:
                example = tf.train.Example()
                if isinstance(each, int):
                    example.features.feature["n"].int64_list.value.append(each)
                else:
                    example.features.feature["n"].bytes_list.value.append(each.encode())
                example.features.feature["id"].bytes_list.value.append(f"k{each}".encode())
                writer.write(example.SerializeToString())
    return str(path)


def source(files: list[str], features: dict[str, Column] | None = None, **flags: Any) -> Source:
    spec = ServingSpec(features or FEATURES, (), flags.pop("spec_key", None))
    return Source.of(Prediction(**flags), open_reader(files), spec)


def numbers_of(batches: list[Batch]) -> list[tuple[int, int, int, list[int]]]:
    return [(each.file, each.first, each.rows, each.columns["n"].numpy().tolist()) for each in batches]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".tfrecord"])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 2000])
def test_every_row_in_order_and_no_batch_of_two_files(size: int, suffix: str, tmp_path: pathlib.Path) -> None:
    counts = (3, 1, 6)
    files = [
        write(tmp_path / f"{at}{suffix}", [10 * at + row for row in range(rows)]) for at, rows in enumerate(counts)
    ]
    batches = list(source(files, batch_size=size).batches())
    for at, rows in enumerate(counts):
        own = [each for each in numbers_of(batches) if each[0] == at]
        assert [number for each in own for number in each[3]] == [10 * at + row for row in range(rows)]
        assert [each[1] for each in own] == list(range(0, rows, size))
        assert all(each[2] == len(each[3]) for each in own)


def test_batches_larger_than_a_block_of_the_reader(tmp_path: pathlib.Path) -> None:
    files = [write(tmp_path / "a.csv", list(range(5000)))]
    assert [each.rows for each in source(files, batch_size=1500).batches()] == [1500, 1500, 1500, 500]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".tfrecord"])
def test_bad_rows_are_left_out_and_known(suffix: str, tmp_path: pathlib.Path) -> None:
    """Files without a good row among them: a batch may be empty."""
    files = [
        write(tmp_path / f"0{suffix}", [1, "x", 3, 4, "y"]),
        write(tmp_path / f"1{suffix}", ["x", "y"]),
        write(tmp_path / f"2{suffix}", [5]),
    ]
    made = source(files, batch_size=3, max_bad_rows=2)
    batches = list(made.batches())
    assert numbers_of(batches) == [(0, 0, 3, [1, 3]), (0, 3, 2, [4]), (1, 0, 2, []), (2, 0, 1, [5])]
    assert [np.asarray(each.good).tolist() for each in batches] == [[0, 2], [0], [], [0]]
    head = 1 if suffix == ".csv" else 0
    assert [(row.number, row.column) for row in made.bad_rows(0)] == [(2 + head, "n"), (5 + head, "n")]
    with pytest.raises(DataError, match=r"column n: found .* It is one more than --max-bad-rows=1 allows in a file\."):
        list(source(files, batch_size=3, max_bad_rows=1).batches())


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".tfrecord"])
def test_what_was_read_before_a_bad_row_is_handed_out(suffix: str, tmp_path: pathlib.Path) -> None:
    files = [write(tmp_path / f"{at}{suffix}", each) for at, each in enumerate(([1, 2], [3, 4], [5, "x"]))]
    seen: list[list[int]] = []
    with pytest.raises(DataError, match=rf"2\{suffix}, (line 3|line 2|record 2), column n: found"):
        seen.extend(batch.columns["n"].numpy().tolist() for batch in source(files, batch_size=1).batches())
    assert seen == [[1], [2], [3], [4], [5]]


def test_keys(tmp_path: pathlib.Path) -> None:
    files = [write(tmp_path / "a.csv", [7, 8])]
    assert source(files).key is None
    assert source(files, key_column="id").key == "id"
    assert source(files, spec_key="id").key == "id"
    assert source(files, spec_key="lost").key is None
    number = source(files, key_column="n")
    assert number.columns == FEATURES, "a feature is read once, as what the model takes"
    with pytest.raises(UsageError, match=r"--key-column=lost: .*a.csv has the columns n, id"):
        source(files, key_column="lost")
    with pytest.raises(UsageError, match=r"--key-column=n: fractions and lists name no row"):
        source(files, {"n": Column("float32")}, key_column="n")


def test_a_key_that_looks_like_a_number_keeps_its_zeros(tmp_path: pathlib.Path) -> None:
    (tmp_path / "a.csv").write_text("n,id\n1,007\n")
    [batch] = source([str(tmp_path / "a.csv")], key_column="id").batches()
    assert batch.columns["id"].numpy().tolist() == [b"007"]


def test_a_column_that_lacks(tmp_path: pathlib.Path) -> None:
    csv, jsonl = (write(tmp_path / f"a{suffix}", [1]) for suffix in (".csv", ".jsonl"))
    with_default = {**FEATURES, "m": Column("int64", (), 5)}
    with pytest.raises(DataError, match=r"a.csv has no column m, which the export needs: it takes n, m"):
        source([csv], with_default)
    [batch] = source([jsonl], with_default).batches()
    assert batch.columns["m"].numpy().tolist() == [5]
    with pytest.raises(DataError, match=r"a.jsonl has no column m"):
        source([jsonl], {**FEATURES, "m": Column("int64")})


def test_csv_has_no_wide_columns(tmp_path: pathlib.Path) -> None:
    with pytest.raises(DataError, match=r"column n: the export takes 3 values a row"):
        source([write(tmp_path / "a.csv", [1])], {"n": Column("int64", (3,))})
