"""How fast is a job beside `model.fit`, and beside the four-line recipe for an Estimator?

    .venv/bin/python benchmarks/training.py            about 3 minutes; the last line is one JSON object

Three processes train the same model at the same time, but only one of them runs at any moment: they are stopped and
continued in turn, for a second and a half each, so that all three meet the same noise of a shared machine. Each counts
its steps; a ratio is taken in every round, and the median of the rounds is what is reported.

    fit      model.fit on ready arrays, nothing printed
    recipe   model_to_estimator and train on ready arrays
    job      python -m trainer.task with its whole input path, progress, and a checkpoint every 10 seconds
"""

from __future__ import annotations

import argparse
import csv
import json
import mmap
import os
import pathlib
import runpy
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[1]
ROLES = ("fit", "recipe", "job")
BATCH_SIZE = {"lstm": 256, "dense": 64}
DENSE_ROWS, DENSE_COLUMNS = 100_000, 10
WARM_UP_STEPS = 100
SETTLE_SECS, SLICE_SECS = 0.3, 1.5
MANY = 10_000_000  # steps nobody gets to
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
    """A step count that another process can read at any time."""

    def __init__(self, path: pathlib.Path) -> None:
        self._file = path.open("r+b")
        self._map = mmap.mmap(self._file.fileno(), 8)
        self._steps = 0

    def tick(self) -> None:
        """Count one more step."""
        self._steps += 1
        self._map[:8] = struct.pack("q", self._steps)


def read_steps(path: pathlib.Path) -> int:
    """The count in a counter's file."""
    return int(struct.unpack("q", path.read_bytes())[0])


# ---- the three ways to train; each runs in a process of its own, endlessly -------------------------------------------


def build(kind: str, folder: pathlib.Path) -> tuple[Any, Any, Any]:
    """The model, and its ready arrays."""
    import numpy as np
    import tensorflow as tf

    tf.keras.utils.set_random_seed(0)
    if kind == "dense":
        namespace = runpy.run_path(str(folder / "dense_model.py"))
        table = np.loadtxt(folder / "train.csv", delimiter=",", skiprows=1, dtype=np.float32)
        return namespace["build_model"](), table[:, :-1], table[:, -1:].astype(np.int64)
    from trainer.samples import place_names

    paths = sorted(pathlib.Path("/").glob(place_names.prepare_data()["train_files"][1:]))
    rows = [row for path in paths for row in csv.DictReader(path.open(encoding="utf-8"))]
    names = np.array([row["name"].encode() for row in rows])
    found = place_names.analyze(iter([{"name": names}]))
    vocabulary = folder / "characters.txt"
    vocabulary.write_text("".join(line + "\n" for line in found["characters"]), encoding="utf-8")
    assets = {"characters": str(vocabulary)}
    tokens = place_names.preprocess({"name": tf.constant(names)}, assets)["tokens"].numpy()
    countries = sorted({row["country"] for row in rows})
    labels = np.array([[countries.index(row["country"])] for row in rows], np.int64)
    return place_names.build_model(assets), tokens, labels


def run_fit(kind: str, folder: pathlib.Path, counter: Counter) -> None:
    """Plain `fit`; the callback takes TensorFlow's logs as they are, which spares a conversion in every step."""
    import tensorflow as tf

    class Count(tf.keras.callbacks.Callback):
        _supports_tf_logs = True

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            counter.tick()

    model, features, labels = build(kind, folder)
    model.fit(features, labels, batch_size=BATCH_SIZE[kind], epochs=MANY, verbose=0, callbacks=[Count()])


def count_hook(counter: Counter) -> Any:
    """A hook that counts the steps of an Estimator."""
    import tensorflow as tf

    class Count(tf.estimator.SessionRunHook):
        def after_run(self, run_context: Any, run_values: Any) -> None:
            counter.tick()

    return Count()


def run_recipe(kind: str, folder: pathlib.Path, counter: Counter) -> None:
    """What the documentation of model_to_estimator shows."""
    import tensorflow as tf

    model, features, labels = build(kind, folder)
    name, size = model.input_names[0], BATCH_SIZE[kind]

    def input_fn() -> tf.data.Dataset:
        return tf.data.Dataset.from_tensor_slices(({name: features}, labels)).shuffle(10_000).repeat().batch(size)

    estimator = tf.keras.estimator.model_to_estimator(model, model_dir=str(folder / "recipe"))
    estimator.train(input_fn, steps=MANY, hooks=[count_hook(counter)])


def run_job(kind: str, folder: pathlib.Path, counter: Counter) -> None:
    """The door itself; the only thing added is the hook that counts."""
    argv = [f"--job-dir={folder / 'job'}", f"--batch-size={BATCH_SIZE[kind]}", f"--train-steps={MANY}"]
    argv += [f"--eval-every-steps={MANY}", "--save-checkpoints-secs=10"]
    if kind == "dense":
        argv += [f"--model={folder / 'dense_model.py'}", f"--train-files={folder / 'train.csv'}"]
    import tensorflow as tf

    train_and_evaluate = tf.estimator.train_and_evaluate

    def counted(estimator: Any, train_spec: Any, eval_spec: Any) -> Any:
        hooks = [*train_spec.hooks, count_hook(counter)]
        return train_and_evaluate(estimator, train_spec._replace(hooks=hooks), eval_spec)

    tf.estimator.train_and_evaluate = counted
    from trainer.task import main

    main(argv)


RUN: dict[str, Callable[[str, pathlib.Path, Counter], None]] = {"fit": run_fit, "recipe": run_recipe, "job": run_job}


# ---- the comparison --------------------------------------------------------------------------------------------------


def measure(kind: str, rounds: int) -> dict[str, list[float]]:
    """Role -> examples/s in each round."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        if kind == "dense":
            write_dense(folder)
        counters = {role: folder / f"{role}.steps" for role in ROLES}
        processes = {role: start(role, kind, folder, counters[role]) for role in ROLES}
        try:
            return take_turns(kind, processes, counters, rounds)
        finally:
            for process in processes.values():
                process.kill()
                process.wait()


def take_turns(
    kind: str, processes: dict[str, subprocess.Popen[bytes]], counters: dict[str, pathlib.Path], rounds: int
) -> dict[str, list[float]]:
    """Let each process run alone for a slice of every round."""
    rates: dict[str, list[float]] = {role: [] for role in ROLES}
    for _ in range(rounds):
        for role, process in processes.items():
            process.send_signal(signal.SIGCONT)
            time.sleep(SETTLE_SECS)
            before, began = read_steps(counters[role]), time.perf_counter()
            time.sleep(SLICE_SECS)
            steps, secs = read_steps(counters[role]) - before, time.perf_counter() - began
            process.send_signal(signal.SIGSTOP)
            rates[role].append(steps * BATCH_SIZE[kind] / secs)
    return rates


def start(role: str, kind: str, folder: pathlib.Path, counter: pathlib.Path) -> subprocess.Popen[bytes]:
    """Start one way to train, wait until it is warm, and stop it."""
    counter.write_bytes(bytes(8))
    log = folder / f"{role}.log"
    process = subprocess.Popen(
        [sys.executable, __file__, "--role", role, "--kind", kind, "--folder", str(folder)],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(ROOT)},
        stdout=log.open("wb"),
        stderr=subprocess.STDOUT,
    )
    while read_steps(counter) < WARM_UP_STEPS:
        if process.poll() is not None:
            sys.exit(f"{role} ended before it was warm:\n{log.read_text()}")
        time.sleep(0.1)
    process.send_signal(signal.SIGSTOP)
    return process


def write_dense(folder: pathlib.Path) -> None:
    """The model module and the data of the Dense comparison."""
    import numpy as np

    (folder / "dense_model.py").write_text(DENSE_MODULE)
    features = np.random.default_rng(0).random((DENSE_ROWS, DENSE_COLUMNS), np.float32)
    table = np.column_stack([features, features.sum(1) > DENSE_COLUMNS / 2])
    header = ",".join([*(f"x_{index}" for index in range(DENSE_COLUMNS)), "label"])
    np.savetxt(folder / "train.csv", table, "%.6g", ",", header=header, comments="")


def first_step_secs(runs: int) -> list[float]:
    """Seconds from the command to the first step, less those of importing TensorFlow, run by run in turn."""
    found = []
    for _ in range(runs):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import tensorflow"], stderr=subprocess.DEVNULL, check=True)
        importing = time.perf_counter() - began
        with tempfile.TemporaryDirectory() as folder:
            found.append(_secs_to_first_step(folder) - importing)
    return found


def _secs_to_first_step(folder: str) -> float:
    began = time.perf_counter()
    command = [sys.executable, "-m", "trainer.task", f"--job-dir={folder}/job"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("step 1/"):
                secs = time.perf_counter() - began
                process.kill()
                return secs
    sys.exit("the job made no step")


def ratio(rates: dict[str, list[float]], one: str, other: str) -> float:
    """The median of the ratios of the rounds."""
    return round(statistics.median(a / b for a, b in zip(rates[one], rates[other], strict=True)), 3)


def main() -> int:
    """Compare, print a table, and one JSON object as the last line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--role", choices=ROLES, help=argparse.SUPPRESS)
    parser.add_argument("--kind", choices=tuple(BATCH_SIZE), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=pathlib.Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.role:
        RUN[args.role](args.kind, args.folder, Counter(args.folder / f"{args.role}.steps"))
        return 0
    result = {}
    for kind in BATCH_SIZE:
        rates = measure(kind, args.rounds)
        for role in ROLES:
            print(f"{kind:6} {role:7} {statistics.median(rates[role]):12,.0f} examples/s (median of {args.rounds})")
        result[f"{kind}_job_vs_fit"] = ratio(rates, "job", "fit")
        result[f"{kind}_job_vs_recipe"] = ratio(rates, "job", "recipe")
    result["first_step_secs_after_import"] = round(statistics.median(first_step_secs(3)), 2)
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
