"""What the readers' tests share: small files, and what both grammars of a reader must say.

Each reader has its grammar twice, in Python (`read`) and in tensor operations (`good`, `parse`); `assert_agreement`
holds the two together.
"""

from __future__ import annotations

import csv
import fractions
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from trainer.job.columns import Column, Layout
from trainer.training.reader import BadValue, Reader
from trainer.training.readers import open_reader

Rows = list[dict[str, Any]]
SMALLEST = 2.0**-126  # TensorFlow's parser makes 0 of what is closer to 0


def opened(folder: Path, *contents: str | bytes, names: Sequence[str] = (), **layout: Any) -> Reader:
    """A reader of files with these contents."""
    paths = [folder / name for name in names or [f"{number}.csv" for number in range(len(contents))]]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return open_reader([str(path) for path in paths], Layout(**layout))


def examples(*rows: Mapping[str, Any]) -> list[bytes]:
    """Rows as serialized tf.Examples; the first value of a list tells its kind, and an empty one is of no kind."""
    return [
        tf.train.Example(
            features=tf.train.Features(feature={name: feature(value) for name, value in row.items()})
        ).SerializeToString(deterministic=True)
        for row in rows
    ]


def feature(value: Any, kind: str = "") -> tf.train.Feature:
    """A value, or a list of values, as a feature."""
    values = np.ravel(np.array(value, object)).tolist()
    kind = kind or {int: "int64", float: "float32", str: "string", bytes: "string"}.get(type([*values, None][0]), "")
    if kind == "int64":
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))
    if kind == "float32":
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))
    if kind == "string":
        texts = [each.encode() if isinstance(each, str) else each for each in values]
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=texts))
    return tf.train.Feature()


def tfrecord(*records: bytes, compression: str = "") -> bytes:
    """The bytes of a file that has these records."""
    path = f"ram://{id(records)}.tfrecord"
    with tf.io.TFRecordWriter(path, compression) as writer:
        for each in records:
            writer.write(each)
    with tf.io.gfile.GFile(path, "rb") as file:
        content: bytes = file.read()
    tf.io.gfile.remove(path)
    return content


def as_csv(rows: Rows) -> bytes:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def as_jsonl(rows: Rows) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def as_tfrecord(rows: Rows) -> bytes:
    return tfrecord(*examples(*rows))


WRITERS: dict[str, Callable[[Rows], bytes]] = {"csv": as_csv, "jsonl": as_jsonl, "tfrecord": as_tfrecord}
FORMATS = pytest.mark.parametrize("kind", WRITERS)


def values(reader: Reader, columns: Mapping[str, Column]) -> dict[str, list[Any]]:
    """Everything the reader parses, column -> values."""
    found: dict[str, list[Any]] = {name: [] for name in columns}
    for batch in reader.all_blocks().map(lambda records: reader.parse(records, columns)).as_numpy_iterator():
        for name, column in batch.items():
            found[name] += column.tolist()
    return found


def in_python(reader: Reader, raw: bytes, columns: Mapping[str, Column]) -> dict[str, Any] | None:
    """What Python reads; None for a bad record, of which it has to say something."""
    try:
        return reader.read(raw, columns)
    except BadValue as bad:
        column, problem = bad.column, bad.problem
    assert problem.encode()  # can be printed
    assert column is None or column in columns
    return None


def assert_agreement(reader: Reader, records: Sequence[bytes], columns: Mapping[str, Column]) -> None:
    """Python and TensorFlow take the same records, and make the same of them."""
    read = [in_python(reader, raw, columns) for raw in records]
    good = reader.good(tf.constant(list(records), tf.string), columns).numpy().tolist()
    assert good == [each is not None for each in read], list(zip(records, good, read, strict=True))
    taken = [(raw, each) for raw, each in zip(records, read, strict=True) if each is not None]
    parsed = reader.parse(tf.constant([raw for raw, _ in taken], tf.string), columns)
    for name, column in columns.items():
        found = parsed[name].numpy()
        assert found.dtype == (object if column.kind == "string" else column.kind)
        assert found.shape == (len(taken), *column.shape)
        for value, (raw, row) in zip(found, taken, strict=True):
            assert is_same(value, row[name], column), (raw, name, value, row[name])
    for raw, is_good in zip(records, good, strict=True):
        if not is_good:
            assert refuses(reader, raw, columns), raw


def refuses(reader: Reader, raw: bytes, columns: Mapping[str, Column]) -> bool:
    """Whether `parse` raises the error that callers catch; outside of a graph, Python's own comes through as it is."""
    try:
        reader.parse(tf.constant([raw]), columns)
    except (tf.errors.InvalidArgumentError, tf.errors.DataLossError):
        return True
    except ValueError as error:
        return str(error).startswith("a bad row: ")
    return False


def is_same(parsed: Any, read: Any, column: Column) -> bool:
    """Whether a parsed value ([*shape]) is what Python has read."""
    flat = [(parsed.tolist() if column.shape else parsed, read)]
    for size in column.shape:
        assert all(len(one) == len(other) == size for one, other in flat)
        flat = [pair for one, other in flat for pair in zip(one, other, strict=True)]
    return all(_is_equal(column.kind, one, other) for one, other in flat)


def _is_equal(kind: str, parsed: Any, read: Any) -> bool:
    if kind == "string":
        return bool(parsed == (read.encode() if isinstance(read, str) else read))
    if kind == "int64":
        return type(read) is int and bool(parsed == read)
    return is_nearest(parsed, read)


def is_nearest(parsed: float, exact: Any) -> bool:
    """Whether `parsed` is the float32 that is nearest to a number, or to its text."""
    number = float(exact)
    if math.isnan(number) or math.isinf(number):
        return math.isnan(parsed) if math.isnan(number) else parsed == number
    if abs(number) <= SMALLEST:
        return abs(parsed) <= SMALLEST
    here = np.float32(parsed)
    wanted = fractions.Fraction(exact.strip() if isinstance(exact, str) else exact)
    with np.errstate(over="ignore"):
        around = [here, np.nextafter(here, np.float32(-np.inf)), np.nextafter(here, np.float32(np.inf))]
    away = [abs(fractions.Fraction(float(each)) - wanted) if np.isfinite(each) else math.inf for each in around]
    return away[0] == min(away)
