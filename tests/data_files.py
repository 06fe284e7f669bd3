"""The same rows in every format that jobs read."""

from __future__ import annotations

import csv
import gzip
import io
import json
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import google_crc32c

Row = Mapping[str, Any]
MASK = 0xFFFFFFFF


def csv_bytes(rows: Sequence[Row], header: bool = True, delimiter: str = ",") -> bytes:
    """Floats as their shortest text."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\n")
    if header:
        writer.writerow(rows[0])
    writer.writerows(["" if value is None else value for value in row.values()] for row in rows)
    return text.getvalue().encode()


def jsonl_bytes(rows: Sequence[Row]) -> bytes:
    """One object a line."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def tfrecord_bytes(rows: Sequence[Row]) -> bytes:
    """tf.Examples; what is None is left out."""
    return b"".join(frame(example(row)) for row in rows)


def example(row: Row) -> bytes:
    """A serialized tf.Example."""
    import tensorflow as tf

    made = tf.train.Example()
    for name, value in row.items():
        values = value if isinstance(value, (list, tuple)) else [] if value is None else [value]
        feature = made.features.feature[name]
        if values and isinstance(values[0], (str, bytes)):
            feature.bytes_list.value.extend(each if isinstance(each, bytes) else each.encode() for each in values)
        elif values and isinstance(values[0], float):
            feature.float_list.value.extend(values)
        elif values:
            feature.int64_list.value.extend(values)
    return made.SerializeToString()


def frame(data: bytes) -> bytes:
    """A record as a TFRecord file holds it."""
    head = len(data).to_bytes(8, "little")
    return head + _crc(head) + data + _crc(data)


def _crc(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
    return (((crc >> 15 | crc << 17) + 0xA282EAD8) & MASK).to_bytes(4, "little")


BYTES: dict[str, Callable[[Sequence[Row]], bytes]] = {
    "csv": csv_bytes,
    "jsonl": jsonl_bytes,
    "tfrecord": tfrecord_bytes,
}


def write_rows(path: pathlib.Path, rows: Sequence[Row]) -> pathlib.Path:
    """Write rows in the format that the name tells: data.csv, data.jsonl.gz, ..."""
    name = path.name.removesuffix(".gz")
    content = BYTES[name.rpartition(".")[2]](rows)
    path.write_bytes(gzip.compress(content) if path.name.endswith(".gz") else content)
    return path
