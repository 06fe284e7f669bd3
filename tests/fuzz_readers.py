"""Throw damaged files at the readers for as long as you like: `python -m tests.fuzz_readers --seconds=300`.

Whatever a file holds, a reader gives the values that Python reads in it, or says in a sentence what is wrong: a
DataError when the file is opened, counted or checked, or an error of TensorFlow's that the search for a bad row turns
into one.
The tests of each reader hold Python's reading and TensorFlow's together record by record; this goes through files.
"""

from __future__ import annotations

import argparse
import collections
import csv
import gzip
import io
import json
import os
import pathlib
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf

from tests.training.reader_cases import examples, is_same, tfrecord
from trainer.job.columns import Column, Layout
from trainer.job.errors import DataError, UsageError
from trainer.training.reader import READ_ERRORS, Reader
from trainer.training.readers import open_reader

WORDS = ["", "x", "ü", "日本", 'say "x"', "a,b", "5", "nan", "\u2028", "0x10", " ", "\t", "null"]
PIECES = [b"", b"\n", b"\r\n", b"\n\n", b"\0", b"\xff", b"\xed\xa0\x80", b'"', b'""', b",", b"\t", b";", b"0x1", b" "]
PIECES += [
    b"1e999",
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b"null",
    b"NaN",
    b"\\ud800",
    b"-",
    b"9" * 30,
    b"\xef\xbb\xbf",
    b"\n\0",
]


def rows(rng: random.Random) -> list[dict[str, Any]]:
    """Some rows of four columns."""
    count = rng.choice([1, 2, 5, 30])
    return [
        {
            "i": rng.choice([number, rng.randrange(-(2**63), 2**63)]),
            "f": rng.choice([rng.gauss(0, 1), rng.uniform(-1e38, 1e38), 0.0, 1e30]),
            "s": rng.choice(WORDS),
            "t": str(number),
        }
        for number in range(count)
    ]


def as_csv(rng: random.Random, table: list[dict[str, Any]]) -> bytes:
    out = io.StringIO()
    quoting = rng.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])
    writer = csv.writer(out, quoting=quoting, lineterminator=rng.choice(["\n", "\r\n"]))
    writer.writerows([list(table[0]), *(list(row.values()) for row in table)])
    return out.getvalue().encode()


def as_jsonl(rng: random.Random, table: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=rng.random() < 0.5) + "\n" for row in table).encode()


def as_tfrecord(rng: random.Random, table: list[dict[str, Any]]) -> bytes:
    records = examples(*table)
    if rng.random() < 0.4:  # damage that checksums do not see
        records[rng.randrange(len(records))] = rng.choice([b"", b"{}", b"\xff", examples({"i": 0.5})[0]])
    return tfrecord(*records)


WRITERS: dict[str, Callable[[random.Random, list[dict[str, Any]]], bytes]] = {
    "csv": as_csv, "jsonl": as_jsonl, "tfrecord": as_tfrecord
}  # fmt: skip


def damaged(rng: random.Random, content: bytes) -> bytes:
    """The same with pieces taken out, put in, doubled or changed, mostly behind the first line."""
    for _ in range(rng.choice([0, 1, 1, 2, 5])):
        start = rng.randrange(min(rng.choice([0, 20]), len(content)), len(content) + 1)
        end = min(len(content), start + rng.choice([0, 0, 1, 2, 20]))
        piece = rng.choice([*PIECES, rng.randbytes(3), content[start : start + 30]])
        content = content[:start] + piece + content[end:]
    return content[: rng.randrange(len(content) + 1)] if rng.random() < 0.1 else content


def written(rng: random.Random, folder: pathlib.Path) -> list[str]:
    """One or two files, one of them perhaps damaged, packed or both."""
    kind = rng.choice(list(WRITERS))
    paths = []
    for number in range(rng.choice([1, 1, 2])):
        content = WRITERS[kind](rng, rows(rng))
        if kind != "tfrecord" or rng.random() < 0.3:
            content = damaged(rng, content)
        if rng.random() < 0.3:
            content = gzip.compress(content)
            content = damaged(rng, content) if rng.random() < 0.3 else content
        path = folder / f"{number}.{kind}"
        path.write_bytes(content)
        paths.append(str(path))
    return paths


def columns_of(rng: random.Random, reader: Reader) -> dict[str, Column]:
    """Some columns as they are found, or as another kind, with and without a default."""
    found = {}
    for name in rng.sample(list(reader.columns), rng.randint(1, min(4, len(reader.columns)))):
        column = reader.column(name)
        kind = rng.choice([column.kind, column.kind, "string", "float32"])
        default = rng.choice([None, {"int64": 7, "float32": 0.25, "string": "none"}[kind]])
        found[name] = Column(kind, column.shape, default)
    return found


def ended(how: str, error: Exception) -> str:
    """The same word, once the error has been seen to be one that any terminal can show."""
    str(error).encode()
    return how


def examine(rng: random.Random, paths: Sequence[str]) -> str:
    """How a set of files ends: `read`, or where a sentence came from. Any other error is a finding."""
    try:
        names = ("i", "f", "s", "t") if paths[0].endswith("csv") and rng.random() < 0.1 else ()
        reader = open_reader(paths, Layout(columns=names))
        if not reader.columns:
            return "without columns"
        columns = columns_of(rng, reader)
        wanted_rows = reader.rows
        wanted = list(reader.read_rows(columns))
    except (DataError, UsageError) as error:
        return ended("refused when opened", error)
    assert len(wanted) == wanted_rows, (len(wanted), wanted_rows)
    good = [bool(each) for block in reader.all_blocks() for each in reader.good(block, columns)]
    assert good == [row.values is not None for row in wanted], "good and read disagree"
    try:
        batches = list(reader.all_blocks().map(lambda records: reader.parse(records, columns)).as_numpy_iterator())
    except READ_ERRORS:
        try:
            reader.find_bad_row(columns)
        except DataError as error:
            return ended("a bad row found", error)
        raise
    assert all(good), "parse takes what read refuses"
    at = 0
    for batch in batches:
        for place in range(len(next(iter(batch.values())))):
            for name, column in columns.items():
                assert is_same(batch[name][place], (wanted[at].values or {})[name], column), (wanted[at], name)
            at += 1
    assert at == wanted_rows
    return "read"


def main(argv: Sequence[str] | None = None) -> int:
    """Fuzz for a while; leave the files of a finding and its seed behind."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0, help="of the first set of files")
    flags = parser.parse_args(argv)
    ends: collections.Counter[str] = collections.Counter()
    end, seed = time.monotonic() + flags.seconds, flags.seed
    while time.monotonic() < end:
        folder = pathlib.Path(tempfile.mkdtemp(prefix="fuzz-readers-"))
        rng = random.Random(seed)
        try:
            ends[examine(rng, written(rng, folder))] += 1
        except Exception:  # whatever it is, it is told how to see it again
            print(f"--seed={seed} finds something, its files are in {folder}", file=sys.stderr)
            raise
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
        seed += 1
    print(json.dumps({"sets_of_files": sum(ends.values()), **ends}))
    return 0


if __name__ == "__main__":
    tf.config.threading.set_inter_op_parallelism_threads(1)
    sys.exit(main())
