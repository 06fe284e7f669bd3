"""Small jobs on files, planned as `prepare` plans them, for the tests of inputs."""

from __future__ import annotations

import csv
import dataclasses
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import tensorflow as tf

from trainer.job.config import Job
from trainer.job.paths import JobPaths
from trainer.training.analysis import TrainingSet
from trainer.training.data_watch import DataWatch
from trainer.training.files import describe_files
from trainer.training.inputs import FileInputs, plan_inputs
from trainer.training.labels import complete_labels
from trainer.training.reader import Reader
from trainer.training.readers import open_reader
from trainer.training.signatures import KEY_FEATURE

Features = Mapping[str, tf.Tensor]
Preprocess = Callable[..., Any]
WORDS = ["red", "green", "blue", "ü, 日本", 'say "x"']


def model(loss: str = "mse", **shapes: tuple[int | None, ...] | tf.TensorSpec) -> tf.keras.Model:
    """A compiled model with these inputs, all of which end in one number called y."""
    specs = {
        name: shape if isinstance(shape, tf.TensorSpec) else tf.TensorSpec(shape) for name, shape in shapes.items()
    }
    given = [tf.keras.Input(spec.shape, name=name, dtype=spec.dtype) for name, spec in specs.items()]
    numbers = [x for x in given if x.dtype != tf.string]
    flat = [
        tf.keras.layers.Lambda(lambda x: tf.reduce_sum(tf.cast(x, tf.float32), -1, keepdims=True))(x) for x in numbers
    ]
    total = tf.keras.layers.Add()(flat) if len(flat) > 1 else flat[0]
    made = tf.keras.Model(given, tf.keras.layers.Dense(1, name="y")(total))
    made.compile("sgd", loss)
    return made


def module(**attributes: object) -> ModuleType:
    """A model module that holds these; `__file__` among them where a line of it matters."""
    made = ModuleType("model_file")
    made.__file__ = "model_file.py"
    made.__dict__.update(attributes)
    return made


def write(path: Path, rows: list[dict[str, object]]) -> Reader:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return open_reader([str(path)])


def some_rows(count: int, seed: int = 0) -> list[dict[str, object]]:
    """Rows with numbers, text and a label."""
    rng = random.Random(seed)
    return [
        {"size": rng.uniform(-9, 9), "count": rng.randrange(99), "word": rng.choice(WORDS), "y": rng.random()}
        for _ in range(count)
    ]


def plan(
    folder: Path,
    made: tf.keras.Model,
    user: ModuleType | None = None,
    rows: list[dict[str, object]] | None = None,
    eval_rows: list[dict[str, object]] | None = None,
    assets: Mapping[str, str] | None = None,
    **values: object,
) -> FileInputs:
    """The inputs of a job on these rows."""
    train = write(folder / "train.csv", rows or some_rows(50))
    evaluation = write(folder / "eval.csv", eval_rows or rows or some_rows(20, 1))
    job, user = Job.of(values), user or module()
    inputs = plan_inputs(user, made, job, train, evaluation, assets or {}, DataWatch([*train.files, *evaluation.files]))
    training = TrainingSet(train, describe_files(train.files), JobPaths(str(folder / "job")))
    inputs = dataclasses.replace(inputs, labels=complete_labels(inputs.labels, training))
    inputs.check()
    return inputs


def everything(dataset: tf.data.Dataset) -> tuple[dict[str, np.ndarray], np.ndarray]:
    batches = list(dataset.as_numpy_iterator())
    names = batches[0][0]
    return {name: np.concatenate([x[name] for x, _ in batches]) for name in names}, np.concatenate(
        [y for _, y in batches]
    )


def scaled(features: Features) -> Features:
    """Arithmetic, text, comparison, side by side; no division, which is optimised differently inside a dataset."""
    known = features["word"] == "red"
    size = tf.where(known, features["size"] * 0.3, tf.sqrt(tf.abs(features["size"])))
    return {
        "x": tf.stack([size, tf.cast(features["count"], tf.float32) * 0.1], -1),
        "length": tf.strings.length(features["word"], unit="UTF8_CHAR"),
    }


def served(inputs: FileInputs, request: Mapping[str, list[Any]]) -> dict[str, np.ndarray]:
    """What the serving graph makes of a client's columns."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        receiver = inputs.receiver()
        session.run(tf.compat.v1.tables_initializer())
        feed = {receiver.receiver_tensors[name]: values for name, values in request.items()}
        inputs_only = {name: tensor for name, tensor in receiver.features.items() if name != KEY_FEATURE}
        found: dict[str, np.ndarray] = session.run(inputs_only, feed)
        return found


def trained_on(inputs: FileInputs, rows: int) -> dict[str, np.ndarray]:
    """What an Estimator's graph reads of the evaluation files."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        iterator = tf.compat.v1.data.make_initializable_iterator(inputs.sample_dataset(rows))
        batch = iterator.get_next()
        session.run([tf.compat.v1.tables_initializer(), iterator.initializer])
        found: dict[str, np.ndarray] = session.run(batch)
        return found


SHAPES = {"x": (2,), "length": tf.TensorSpec((1,), tf.int64)}
PLAIN = {"size": (1,), "count": tf.TensorSpec((1,), tf.int64), "word": tf.TensorSpec((1,), tf.string)}
