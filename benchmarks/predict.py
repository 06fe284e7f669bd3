"""How fast is batch prediction beside a bare loop over the same SavedModel?

    .venv/bin/python benchmarks/predict.py            about 3 minutes; the last line is one JSON object

Two processes predict with the same export, but only one of them runs at any moment: they are stopped and continued in
turn, for a second and a half each, so that both meet the same noise of a shared machine. Each counts its rows; a ratio
is taken in every round, and the median of the rounds is what is reported.

    bare     serving_default on tensors that are ready, the outputs that a prediction has fetched to numpy, nothing else
    predict  python -m trainer.predict with all it does: CSV files read and parsed, keys, JSON lines written

The sample (an LSTM) is what the mark is for. The Dense model is the other end: it takes a microsecond a row, less than
it takes to read and write one.
"""

from __future__ import annotations

import argparse
import json
import mmap
import os
import pathlib
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[1]
ROLES = ("bare", "predict")
BATCH_SIZE = 1024
DENSE_ROWS, DENSE_COLUMNS = 100_000, 10
COPIES = {"sample": 200, "dense": 1000}  # of each input file, so that nobody gets to the end
WARM_UP_ROWS = 20 * BATCH_SIZE
SETTLE_SECS, SLICE_SECS = 0.3, 1.5
DENSE_MODULE = """
import keras

LABEL_COLUMN = "label"

def build_model():
    model = keras.Sequential([
        keras.layers.Dense(32, activation="relu", input_shape=(10,), name="x"),
        keras.layers.Dense(2, activation="softmax", name="y"),
    ])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model
"""


class Counter:
    """A row count that another process can read at any time."""

    def __init__(self, path: pathlib.Path) -> None:
        self._file = path.open("r+b")
        self._map = mmap.mmap(self._file.fileno(), 8)
        self._rows = 0

    def add(self, rows: int) -> None:
        """Count more rows."""
        self._rows += rows
        self._map[:8] = struct.pack("q", self._rows)


def read_rows(path: pathlib.Path) -> int:
    """The count in a counter's file."""
    return int(struct.unpack("q", path.read_bytes())[0])


# ---- the two ways to predict; each runs in a process of its own, endlessly -------------------------------------------


def run_bare(folder: pathlib.Path, counter: Counter) -> None:
    """What is left when reading, parsing and writing cost nothing."""
    import tensorflow as tf

    from trainer.training.readers import open_reader
    from trainer.training.served import ServedModel, latest_export

    export = latest_export(str(folder / "job"))
    spec = ServedModel.load(export).spec
    reader = open_reader([str(sorted((folder / "data").iterdir())[0])])
    parsed = reader.blocks(reader.files[0]).rebatch(BATCH_SIZE).map(lambda each: reader.parse(each, spec.features))
    ready = list(parsed.take(50))
    run = tf.saved_model.load(export).signatures["serving_default"]
    key = {"key": tf.constant([], tf.string)} if "key" in run.structured_input_signature[1] else {}
    wanted = [name for output in spec.outputs for name in (output.class_output, output.name) if name]
    while True:
        for columns in ready:
            outputs = run(**columns, **key)
            fetched = [outputs[name].numpy() for name in wanted]
            counter.add(len(fetched[0]))


def run_predict(folder: pathlib.Path, counter: Counter) -> None:
    """The door itself; the only thing added is the count of rows that are written."""
    from trainer.predict import main
    from trainer.training.prediction_writer import ShardWriter

    write = ShardWriter.write

    def counted(self: ShardWriter, batch: Any, outputs: Any) -> None:
        write(self, batch, outputs)
        counter.add(batch.rows)

    ShardWriter.write = counted  # type: ignore[method-assign]
    argv = [f"--export={folder / 'job'}", f"--files={folder / 'data'}/*", f"--output={folder / 'predictions'}"]
    main([*argv, f"--batch-size={BATCH_SIZE}"])


RUN: dict[str, Callable[[pathlib.Path, Counter], None]] = {"bare": run_bare, "predict": run_predict}


# ---- the comparison --------------------------------------------------------------------------------------------------


def measure(kind: str, rounds: int) -> dict[str, list[float]]:
    """Role -> rows/s in each round."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        prepare(kind, folder)
        counters = {role: folder / f"{role}.rows" for role in ROLES}
        processes = {role: start(role, folder, counters[role]) for role in ROLES}
        try:
            return take_turns(processes, counters, rounds)
        finally:
            for process in processes.values():
                process.kill()
                process.wait()


def prepare(kind: str, folder: pathlib.Path) -> None:
    """An export, hardly trained as that makes no difference here, and many files to predict."""
    files = sample_files() if kind == "sample" else [write_dense(folder)]
    argv = [f"--job-dir={folder / 'job'}", "--train-steps=20", "--exporters=final", "--verbosity=quiet"]
    if kind == "dense":
        argv += [f"--model={folder / 'dense_model.py'}", f"--train-files={files[0]}"]
    subprocess.run([sys.executable, "-m", "trainer.task", *argv], cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
    (folder / "data").mkdir()
    for path in files:
        own = path if path.parent == folder else shutil.copy(path, folder)  # links stay on one file system
        for copy in range(COPIES[kind]):
            os.link(own, folder / "data" / f"{copy:04}-{path.name}")


def sample_files() -> list[pathlib.Path]:
    """The sample's own data."""
    command = "from trainer.samples import place_names; print(place_names.prepare_data()['train_files'])"
    pattern = subprocess.run([sys.executable, "-c", command], cwd=ROOT, capture_output=True, text=True, check=True)
    return sorted(pathlib.Path("/").glob(pattern.stdout.strip()[1:]))


def write_dense(folder: pathlib.Path) -> pathlib.Path:
    """The model module and the data of the Dense comparison."""
    import numpy as np

    (folder / "dense_model.py").write_text(DENSE_MODULE)
    features = np.random.default_rng(0).random((DENSE_ROWS, DENSE_COLUMNS), np.float32)
    table = np.column_stack([features, features.sum(1) > DENSE_COLUMNS / 2])
    header = ",".join([*(f"x_{index}" for index in range(DENSE_COLUMNS)), "label"])
    np.savetxt(folder / "table.csv", table, "%.6g", ",", header=header, comments="")
    return folder / "table.csv"


def start(role: str, folder: pathlib.Path, counter: pathlib.Path) -> subprocess.Popen[bytes]:
    """Start one way to predict, wait until it is warm, and stop it."""
    counter.write_bytes(bytes(8))
    log = folder / f"{role}.log"
    process = subprocess.Popen(
        [sys.executable, __file__, "--role", role, "--folder", str(folder)],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(ROOT)},
        stdout=log.open("wb"),
        stderr=subprocess.STDOUT,
    )
    while read_rows(counter) < WARM_UP_ROWS:
        if process.poll() is not None:
            sys.exit(f"{role} ended before it was warm:\n{log.read_text()}")
        time.sleep(0.1)
    process.send_signal(signal.SIGSTOP)
    return process


def take_turns(
    processes: dict[str, subprocess.Popen[bytes]], counters: dict[str, pathlib.Path], rounds: int
) -> dict[str, list[float]]:
    """Let each process run alone for a slice of every round."""
    rates: dict[str, list[float]] = {role: [] for role in ROLES}
    for _ in range(rounds):
        for role, process in processes.items():
            process.send_signal(signal.SIGCONT)
            time.sleep(SETTLE_SECS)
            before, began = read_rows(counters[role]), time.perf_counter()
            time.sleep(SLICE_SECS)
            rows, secs = read_rows(counters[role]) - before, time.perf_counter() - began
            process.send_signal(signal.SIGSTOP)
            if process.poll() is not None:
                sys.exit(f"{role} came to the end of its files: give it more copies")
            rates[role].append(rows / secs)
    return rates


def main(argv: Sequence[str]) -> int:
    """Compare, print a table, and one JSON object as the last line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--role", choices=ROLES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=pathlib.Path, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.role:
        RUN[args.role](args.folder, Counter(args.folder / f"{args.role}.rows"))
        return 0
    result = {}
    for kind, key in (("sample", "predict_vs_bare"), ("dense", "dense_predict_vs_bare")):
        rates = measure(kind, args.rounds)
        for role in ROLES:
            print(f"{kind:6} {role:7} {statistics.median(rates[role]):12,.0f} rows/s (median of {args.rounds})")
        pairs = zip(rates["predict"], rates["bare"], strict=True)
        result[key] = round(statistics.median(predict / bare for predict, bare in pairs), 3)
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
