"""The text of predictions: exact, in order, and readable by the parsers that people have."""

from __future__ import annotations

import csv
import io
import json
import math

import numpy as np
import pytest

from trainer.job.errors import UsageError
from trainer.training.prediction_rows import CsvLines, JsonLines, texts_of

HOSTILE = ["plain", 'quo"te', "a,b", '","', '"],["', "line\nfeed", "cr\r", "\u2028", "é東", "", "},{", ",\n  ", " s "]
DTYPES = ["float16", "float32", "float64", "int8", "int64", "uint8", "uint64", "bool"]


def json_rows(keys: list[str], **outputs: np.ndarray) -> list[dict[str, object]]:
    text = JsonLines((), {}).rows(keys, outputs)
    assert text.endswith(b"\n")
    assert text.count(b"\n") == len(keys)
    return [json.loads(line) for line in text.decode().split("\n")[:-1]]


def csv_rows(
    keys: list[str], classes: dict[str, tuple[str, ...]] | None = None, **outputs: np.ndarray
) -> list[list[str]]:
    table = CsvLines(tuple(outputs), classes or {})
    text = (table.head(outputs) + table.rows(keys, outputs)).decode()
    return list(csv.reader(io.StringIO(text, newline=""), strict=True))


def texts(values: list[str]) -> np.ndarray:
    """As TensorFlow hands out strings."""
    return np.array([each.encode() for each in values], object)


@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 3), (1, 1, 1), (2, 1, 3)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_numbers_of_every_shape_and_kind(shape: tuple[int, ...], dtype: str) -> None:
    values = (np.random.default_rng(0).normal(size=(5, *shape)) * 100).astype(dtype)
    rows = json_rows(list("abcde"), y=values, z=values)
    assert [row["key"] for row in rows] == list("abcde")
    for row, expected in zip(rows, values, strict=True):
        assert np.array_equal(np.array(row["y"], dtype), expected)
        assert np.array_equal(np.array(row["z"], dtype), expected)
    cells = csv_rows(list("abcde"), y=values)[1:]
    for row, expected in zip(cells, values.reshape(5, -1), strict=True):
        back = [each == "true" for each in row[1:]] if dtype == "bool" else row[1:]
        assert np.array_equal(np.array(back, "float64" if dtype == "float16" else dtype).astype(dtype), expected)


def test_float32_comes_back_bit_by_bit() -> None:
    """The shortest text is that of float32, not the 17 digits of the double it would become."""
    bits = np.random.default_rng(1).integers(0, 2**32, 20_000, np.uint32)
    values = bits.view(np.float32)
    values = values[np.isfinite(values)]
    keys = [""] * len(values)
    for back in ([row["y"] for row in json_rows(keys, y=values)], [row[1] for row in csv_rows(keys, y=values)[1:]]):
        assert np.array_equal(np.array(back, np.float32).view(np.uint32), values.view(np.uint32))
    assert b'"y":0.1}' in JsonLines((), {}).rows([""], {"y": np.array([0.1], np.float32)})


def test_what_json_has_no_number_for() -> None:
    values = np.array([[1.0, np.nan], [np.inf, -np.inf], [3.0, 4.0]], np.float32)
    assert [row["y"] for row in json_rows(["a", "b", "c"], y=values)] == [[1.0, None], [None, None], [3.0, 4.0]]
    cells = csv_rows(["a", "b", "c"], y=values)[1:]
    assert cells == [["a", "1.0", "nan"], ["b", "inf", "-inf"], ["c", "3.0", "4.0"]]
    assert math.isnan(float(cells[0][2]))


def test_hostile_text() -> None:
    twice = np.array([[each.encode(), b"x"] for each in HOSTILE], object)
    rows = json_rows(HOSTILE, c=texts(HOSTILE), names=twice)
    assert [row["key"] for row in rows] == [row["c"] for row in rows] == HOSTILE
    assert [row["names"] for row in rows] == [[each, "x"] for each in HOSTILE]
    cells = csv_rows(HOSTILE, c=texts(HOSTILE), names=twice)
    assert cells == [["key", "c", "names_0", "names_1"], *([each, each, each, "x"] for each in HOSTILE)]


def test_names_of_outputs_are_quoted() -> None:
    assert json_rows(["a"], **{'y "1"\n': np.array([1])}) == [{"key": "a", 'y "1"\n': 1}]
    assert csv_rows(["a"], **{'y "1"\n': np.array([1])})[0] == ["key", 'y "1"\n']


def test_bytes_that_are_no_text() -> None:
    assert texts_of(np.array([b"\xff\xfe", b"ok"], object)) == ["\\xff\\xfe", "ok"]
    assert texts_of(np.array([7, -2])) == ["7", "-2"]


def test_bfloat16() -> None:
    from ml_dtypes import bfloat16

    values = np.array([[0.1, 2], [np.nan, 4]], bfloat16)
    assert json_rows(["a", "b"], y=values)[0]["y"] == [0.100097656, 2.0]
    assert csv_rows(["a", "b"], y=values)[2] == ["b", "nan", "4.0"]


def test_an_output_without_values() -> None:
    empty = np.zeros((2, 0), np.float32)
    assert json_rows(["a", "b"], y=empty, z=np.array([1, 2])) == [
        {"key": "a", "y": [], "z": 1},
        {"key": "b", "y": [], "z": 2},
    ]
    assert csv_rows(["a", "b"], y=empty, z=np.array([1, 2])) == [["key", "z"], ["a", "1"], ["b", "2"]]


def test_columns_of_a_wide_output() -> None:
    scores = np.array([[0.25, 0.75]], np.float32)
    one = np.array([[0.5]], np.float32)
    head, row = csv_rows(["a"], {"scores": ("no", "yes, sir")}, scores=scores, y=one, other=scores)
    assert head == ["key", "scores_no", "scores_yes, sir", "y", "other_0", "other_1"]
    assert row == ["a", "0.25", "0.75", "0.5", "0.25", "0.75"]


def test_a_class_called_like_another_output_gives_numbers() -> None:
    scores = np.array([[0.25, 0.75]], np.float32)
    head, _ = csv_rows(["a"], {"y": ("class", "other")}, y=scores, y_class=texts(["x"]))
    assert head == ["key", "y_0", "y_1", "y_class"]


def test_csv_refuses_rows_of_different_widths() -> None:
    table = CsvLines((), {})
    table.head({"y": np.zeros((1, 2))})
    with pytest.raises(UsageError, match=r"--output-format=csv: y has 2 values in some rows and 3 in others"):
        table.rows(["a"], {"y": np.zeros((1, 3))})


def test_a_head_without_a_batch_has_the_names() -> None:
    assert CsvLines(("y", "scores"), {"scores": ("a", "b")}).head(None) == b"key,y,scores_a,scores_b\n"
