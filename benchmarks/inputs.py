"""How fast files become batches: beside the usual recipes and bare reading, in one process, by turns.

    python benchmarks/inputs.py [--rounds=5] [--gigabytes=5]

The last line is a JSON object: `csv_vs_usual` (rows/s as a ratio to TextLineDataset.map(decode_csv).batch),
`csv_vs_lines` (to TextLineDataset alone), `tfrecord_vs_usual` (to TFRecordDataset.map(parse_single_example).batch),
each the median of the rounds; and `rss_growth_mb`, what reading a file set of so many gigabytes adds to a process.

What is measured is what a job does with files that it does not keep in memory: several files at once, parsed, checked,
shuffled and batched. 300,000 rows of 10 columns, batches of 256, the default of a job.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import psutil
import tensorflow as tf

from trainer.job.columns import Column
from trainer.training.datasets import streamed_batches, without_autotune
from trainer.training.reader import Reader
from trainer.training.readers import open_reader

ROWS, FILES, BATCH, EPOCHS = 300_000, 4, 256, 3
USUAL_ROWS = 20_000  # of the slow recipes: their rate does not depend on it
COLUMNS = {
    **{f"size_{number}": Column("float32") for number in range(5)},
    **{f"count_{number}": Column("int64") for number in range(3)},
    "name": Column("string"),
    "label": Column("float32"),
}
EMPTY: dict[str, list[str]] = {"float32": [], "int64": [], "string": [""]}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print a table and the JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--gigabytes", type=float, default=5.0)
    parser.add_argument("--read", nargs="+", help=argparse.SUPPRESS)  # a process of its own: how much it grows
    given = parser.parse_args(argv)
    if given.read:
        print(json.dumps(growth_mb(given.read)))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        csv, records = write_files(pathlib.Path(folder))
        result = compare(csv, records, given.rounds)
        result["rss_growth_mb"] = measure_growth(pathlib.Path(folder), csv, given.gigabytes)
    print(json.dumps(result))
    return 0


def write_files(folder: pathlib.Path) -> tuple[list[str], list[str]]:
    """The same rows as CSV and as TFRecords."""
    draw = random.Random(0)
    csv, records = ([str(folder / f"{number}.{kind}") for number in range(FILES)] for kind in ("csv", "tfrecord"))
    for text_path, record_path in zip(csv, records, strict=True):
        with open(text_path, "w") as text, tf.io.TFRecordWriter(record_path) as writer:
            text.write(",".join(COLUMNS) + "\n")
            for _ in range(ROWS // FILES):
                sizes = [draw.random() for _ in range(5)]
                counts = [draw.randrange(10_000) for _ in range(3)]
                name, label = draw.choice(("red", "green", "blue")), float(draw.randrange(2))
                text.write(",".join([*(f"{size:.6f}" for size in sizes), *map(str, counts), name, f"{label:g}"]) + "\n")
                writer.write(_example([*sizes, *counts, name, label]))
    return csv, records


def _example(values: Sequence[float | int | str]) -> bytes:
    made = tf.train.Example()
    for (name, column), value in zip(COLUMNS.items(), values, strict=True):
        feature = made.features.feature[name]
        if column.kind == "float32":
            feature.float_list.value.append(float(value))
        elif column.kind == "int64":
            feature.int64_list.value.append(int(value))
        else:
            feature.bytes_list.value.append(str(value).encode())
    return made.SerializeToString()


def compare(csv: list[str], records: list[str], rounds: int) -> dict[str, float]:
    """Rows/s of each way, by turns, and the medians of their ratios."""
    ways = {
        "csv": (ours(open_reader(csv), EPOCHS), EPOCHS * ROWS),
        "lines": (without_autotune(tf.data.TextLineDataset(csv).repeat(EPOCHS).batch(BATCH)), EPOCHS * ROWS),
        "usual csv": (usual_csv(csv), USUAL_ROWS),
        "tfrecord": (ours(open_reader(records), EPOCHS), EPOCHS * ROWS),
        "usual tfrecord": (usual_records(records), USUAL_ROWS),
    }
    reads = {name: reading(dataset) for name, (dataset, _) in ways.items()}
    for read_all in reads.values():
        read_all()  # files come into the page cache, functions are traced
    seen: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, (_, rows) in ways.items():
            seen[name].append(rate(reads[name], rows))
    for name, rates in seen.items():
        print(f"{name:16} {statistics.median(rates):12,.0f} rows/s (median of {rounds})", flush=True)

    def ratio(name: str, other: str) -> float:
        return round(statistics.median(a / b for a, b in zip(seen[name], seen[other], strict=True)), 2)

    return {
        "csv_vs_usual": ratio("csv", "usual csv"),
        "csv_vs_lines": ratio("csv", "lines"),
        "tfrecord_vs_usual": ratio("tfrecord", "usual tfrecord"),
    }


def ours(reader: Reader, epochs: int = 1) -> tf.data.Dataset:
    """Some epochs as a job reads them."""
    batches = streamed_batches(reader, lambda records: reader.parse(records, COLUMNS), dict, BATCH, 0, 0)
    return batches.take(epochs * -(-reader.rows // BATCH))


def usual_csv(files: list[str]) -> tf.data.Dataset:
    """Line by line, as the tutorials do it."""
    defaults = [tf.constant(EMPTY[column.kind], column.kind) for column in COLUMNS.values()]
    lines = tf.data.Dataset.from_tensor_slices(files).flat_map(lambda path: tf.data.TextLineDataset(path).skip(1))
    rows = lines.take(USUAL_ROWS).map(lambda line: dict(zip(COLUMNS, tf.io.decode_csv(line, defaults), strict=True)))
    return rows.batch(BATCH)


def usual_records(files: list[str]) -> tf.data.Dataset:
    """Record by record."""
    features = {name: tf.io.FixedLenFeature([], column.kind) for name, column in COLUMNS.items()}
    records = tf.data.TFRecordDataset(files).take(USUAL_ROWS)
    return records.map(lambda record: tf.io.parse_single_example(record, features)).batch(BATCH)


def rate(read_all: Callable[[], tf.Tensor], rows: int) -> float:
    """Rows/s of one pass, from the first batch's request to the last's arrival."""
    began = time.time()
    return rows / (float(read_all()) - began)


def reading(dataset: tf.data.Dataset) -> Callable[[], tf.Tensor]:
    """A graph that takes all batches, as a training step would, and gives the time at which the last one arrived.

    The end of the iterator is left out: with TensorFlow's autotune, on by default in the usual recipes, it may wait as
    long again, or not.
    """
    first = tf.constant(0.0, tf.float64)
    read_all: Callable[[], tf.Tensor] = tf.function(lambda: dataset.reduce(first, lambda _, __: tf.timestamp()))
    return read_all


def measure_growth(folder: pathlib.Path, csv: list[str], gigabytes: float) -> float:
    """Read many links to the same files in a process of its own; how many MB it grows to."""
    each = sum(os.path.getsize(path) for path in csv)
    copies = max(1, round(gigabytes * 1e9 / each))
    links = folder / "links"
    links.mkdir()
    for copy in range(copies):
        for number, path in enumerate(csv):
            os.link(path, links / f"{copy:04}-{number}.csv")
    done = subprocess.run(
        [sys.executable, __file__, "--read", str(links)], capture_output=True, text=True, check=True, timeout=3600
    )
    print(f"{copies * each / 1e9:.1f} GB in {copies * len(csv)} files: {done.stdout.strip()}", flush=True)
    return float(json.loads(done.stdout)["rss_growth_mb"])


def growth_mb(folders: list[str]) -> dict[str, float]:
    """What opening and reading all files of a folder adds to this process, at its highest."""
    process = psutil.Process()
    for _ in tf.data.Dataset.range(10).map(lambda number: number + 1).prefetch(1):
        pass  # TensorFlow's own threads and buffers
    before = highest = process.memory_info().rss
    began = time.perf_counter()
    reader = open_reader(sorted(map(str, pathlib.Path(folders[0]).iterdir())))
    for number, _ in enumerate(ours(reader)):
        if number % 50 == 0:
            highest = max(highest, process.memory_info().rss)
    secs = time.perf_counter() - began
    return {"rss_growth_mb": round((highest - before) / 2**20, 1), "rows": reader.rows, "secs": round(secs, 1)}


if __name__ == "__main__":
    sys.exit(main())
