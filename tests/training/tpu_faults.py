"""Models and jobs that no TPU would take, and what the readiness check says of each; probes for probe_lab."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import numpy as np
import tensorflow as tf

from tests.training.conversion_data import functional
from tests.training.probe_lab import collector, run_config
from trainer.job.config import Job
from trainer.training.converter import convert, fresh_session
from trainer.training.replicas import Parts
from trainer.training.strategies import ALONE, Spread
from trainer.training.tpu_readiness import find_obstacles

keras, layers = tf.keras, tf.keras.layers
PROBES, probe = collector()
ROWS = 64
NUMBERS = {"row": np.random.RandomState(0).rand(ROWS, 6).astype("float32")}
WORDS = {"word": np.array([["a"], ["b"], ["c"], ["d"]] * (ROWS // 4))}
TOKENS = {"token": np.array([[1], [2], [3], [4]] * (ROWS // 4))}
IN_PREPROCESS = r"do it in preprocess\(features\), which runs on the CPU before the step"


@dataclasses.dataclass(frozen=True)
class ArrayInputs:
    """Data from memory; `open_width` hides how wide the rows are."""

    features: Any
    batch_size: int
    open_width: bool = False

    def parts(self, spread: Spread) -> Parts:
        return Parts(ROWS, self.batch_size, spread)

    def train_dataset(self, start_step: int, spread: Spread = ALONE) -> tf.data.Dataset:
        examples = tf.data.Dataset.from_tensor_slices((self.features, np.ones((ROWS, 1), "float32")))
        batches = examples.batch(self.batch_size)
        return (batches.map(_hide_width) if self.open_width else batches).repeat().skip(start_step)


def _hide_width(features: Any, labels: tf.Tensor) -> Any:
    return {name: tf.ensure_shape(_hidden(each), [None, None]) for name, each in features.items()}, labels


def _hidden(value: tf.Tensor) -> tf.Tensor:
    return tf.reshape(value, tf.concat([tf.shape(value)[:1], [tf.random.uniform((), 6, 7, tf.int32)]], 0))


def expect(
    folder: str, model: tf.keras.Model, inputs: ArrayInputs, *wanted: str, settings: dict[str, Any] | None = None
) -> None:
    """Insist on exactly these findings, each a pattern that its line matches from the start."""
    host = convert(model, folder, run_config())
    job = Job.of({"strategy": "tpu", "batch_size": inputs.batch_size, **(settings or {})})
    found = [str(each) for each in find_obstacles(host, model, inputs, job)]
    assert len(found) == len(wanted), found
    for line, pattern in zip(found, wanted, strict=True):
        assert re.match(pattern, line), f"{line}\nis not\n{pattern}"


def odd(function: Any, **lambda_arguments: Any) -> tf.keras.Model:
    """A model with a layer of this function between two others."""
    fresh_session(1)
    row = keras.Input((6,), name="row")
    middle = layers.Lambda(function, name="odd", **lambda_arguments)(layers.Dense(5, name="first")(row))
    return functional(row, layers.Dense(1, name="last")(middle))


def looked_up(kind: Any, dtype: str, name: str) -> tf.keras.Model:
    fresh_session(1)
    given = keras.Input((1,), dtype=dtype, name=name)
    rows = layers.Embedding(9, 3, name="rows")(kind(given))
    return functional(given, layers.Dense(1, name="last")(layers.Flatten(name="flat")(rows)))


def numbers(batch_size: int = 16) -> ArrayInputs:
    return ArrayInputs(NUMBERS, batch_size)


class Kept(layers.Layer):
    """Makes its weight of a tensor, which is at home in the graph that made it."""

    def build(self, shape: Any) -> None:
        self.scale = tf.Variable(tf.ones([shape[-1]]) * 2.0, name="scale")

    def call(self, inputs: Any) -> Any:
        return inputs * self.scale


@probe
def text_and_table(folder: str) -> None:
    model = looked_up(layers.StringLookup(vocabulary=list("abc"), name="lookup"), "string", "word")
    expect(
        folder,
        model,
        ArrayInputs(WORDS, 16),
        r"error: input word: is text; make numbers of it in preprocess",
        rf"error: layer lookup: looks something up in a table \(LookupTableFindV2\), which .*; {IN_PREPROCESS}",
    )


@probe
def text_without_a_table(folder: str) -> None:
    expect(
        folder,
        looked_up(layers.Hashing(7, name="hash"), "string", "word"),
        ArrayInputs(WORDS, 16),
        "error: input word: is text",
        rf"error: layer hash: handles text \(StringToHashBucketFast\), .*; {IN_PREPROCESS}",
    )


@probe
def text_from_numbers(folder: str) -> None:
    model = looked_up(layers.Hashing(7, name="hash"), "int64", "token")
    expect(folder, model, ArrayInputs(TOKENS, 16), r"error: layer hash: handles text \(AsString, StringToHash")


@probe
def table_of_numbers(folder: str) -> None:
    lookup = layers.IntegerLookup(vocabulary=[1, 2, 3], name="lookup")
    wanted = r"error: layer lookup: looks something up in a table \(LookupTableFindV2\)"
    expect(folder, looked_up(lookup, "int64", "token"), ArrayInputs(TOKENS, 16), wanted)


@probe
def open_shape_inside(folder: str) -> None:
    model = odd(lambda x: x + tf.reduce_mean(tf.boolean_mask(x, x[:, 0] > 0)))
    wanted = r"error: layer odd: makes a tensor whose shape depends on the data \(Where.*\), .*; multiply by a mask"
    expect(folder, model, numbers(), wanted)


@probe
def open_shape_in_a_loop(folder: str) -> None:
    count = lambda row: tf.cast(tf.size(tf.unique(tf.cast(row, tf.int32))[0]), tf.float32)  # noqa: E731
    model = odd(lambda x: x + tf.map_fn(count, x)[:, tf.newaxis])
    expect(folder, model, numbers(), r"error: layer odd: makes a tensor whose shape depends on the data \(Unique\)")


@probe
def open_batches(folder: str) -> None:
    fresh_session(1)
    row = keras.Input((None,), name="row")
    total = layers.Lambda(lambda x: tf.reduce_sum(x, 1, keepdims=True), name="total")(row)
    model = functional(row, layers.Dense(1, name="last")(total))
    wanted = r"error: input row: has batches of the open shape \[16, \?\]; give it one width in preprocess"
    expect(folder, model, ArrayInputs(NUMBERS, 16, open_width=True), wanted)


@probe
def python_inside(folder: str) -> None:
    def shifted(x: tf.Tensor) -> tf.Tensor:
        got = tf.numpy_function(lambda a: a, [x], tf.float32)
        return x + tf.stop_gradient(tf.ensure_shape(got, [None, 5]))

    expect(folder, odd(shifted), numbers(), r"error: layer odd: calls Python \(PyFunc\), which no TPU runs")


@probe
def no_kernel(folder: str) -> None:
    model = odd(lambda x: x + tf.random.poisson([], 1.0))
    expect(folder, model, numbers(), "error: layer odd: XLA cannot compile RandomPoissonV2")


@probe
def size_that_is_computed(folder: str) -> None:
    fresh_session(1)
    token = keras.Input((1,), dtype="int64", name="token")
    encoded = layers.CategoryEncoding(7, output_mode="multi_hot", name="encoded")(token)
    model = functional(token, layers.Dense(1, name="last")(encoded))
    wanted = r"error: layer encoded: XLA cannot compile it \(Input 1 .* must be a compile-time constant\)"
    expect(folder, model, ArrayInputs(TOKENS, 16), wanted)


@probe
def double_weights(folder: str) -> None:
    fresh_session(1)
    row = keras.Input((6,), name="row")
    model = functional(row, layers.Dense(1, name="last")(layers.Dense(5, dtype="float64", name="wide")(row)))
    expect(
        folder,
        model,
        numbers(),
        'error: layer wide: its weights are float64, .*; make it with dtype="float32"',
        r"warning: layer wide: computes in float64 \(.*\), which a TPU does slowly; use float32",
    )


@probe
def weight_made_of_a_tensor(folder: str) -> None:
    fresh_session(1)
    row = keras.Input((6,), name="row")
    model = functional(row, layers.Dense(1, name="last")(Kept(name="kept")(row)))
    wanted = "error: layer kept: the training step cannot be built .*; let layers make their weights with add_we"
    expect(folder, model, numbers(), wanted)


@probe
def uneven_batch(folder: str) -> None:
    wanted = r"error: --batch-size=20: cannot be divided among 8 cores; say --batch-size=16 or 24"
    expect(folder, odd(lambda x: x), numbers(20), wanted)


@probe
def too_few_examples(folder: str) -> None:
    wanted = "warning: --batch-size=128: there are 64 examples to train on"
    expect(folder, odd(lambda x: x), numbers(128), wanted)


@probe
def summed_loss(folder: str) -> None:
    model = odd(lambda x: x)
    model.compile("sgd", keras.losses.MeanSquaredError(reduction="sum"))
    expect(folder, model, numbers(), "error: model: the model's loss is a sum over examples")


@probe
def loss_scale(folder: str) -> None:
    model = odd(lambda x: x)
    model.compile(keras.mixed_precision.LossScaleOptimizer(keras.optimizers.Adam()), "mse")
    wanted = "warning: model: it computes in float16, with a loss scale, .*; use mixed_bfloat16"
    expect(folder, model, numbers(), wanted)


@probe
def lazy_optimizer(folder: str) -> None:
    model = looked_up(layers.Lambda(lambda x: x, name="same"), "int64", "token")
    model.compile(keras.optimizers.legacy.RMSprop(), "mse")
    wanted = r"warning: layer rows: legacy.RMSprop updates all rows at each step, .*; use tf.keras.optimizers.RMSprop"
    expect(folder, model, ArrayInputs(TOKENS, 16), wanted)


@probe
def far_away(folder: str) -> None:
    wanted = "error: --job-dir: runs/x is on this machine, and --tpu=mine on another; use gs://"
    expect(folder, odd(lambda x: x), numbers(), wanted, settings={"tpu": "mine", "job_dir": "runs/x"})


@probe
def ready(folder: str) -> None:
    fresh_session(1)
    token = keras.Input((7,), dtype="int64", name="token")
    read = layers.LSTM(4, name="reader")(layers.Embedding(20, 3, mask_zero=True, name="rows")(token))
    model = functional(token, layers.Dense(1, name="last")(read), keras.optimizers.AdamW(), metrics=["mae"])
    expect(folder, model, ArrayInputs({"token": np.random.RandomState(0).randint(0, 20, (ROWS, 7))}, 16))


@probe
def ready_with_statistics(folder: str) -> None:
    fresh_session(1)
    row = keras.Input((6,), name="row")
    norm = layers.BatchNormalization(name="norm")(layers.Reshape((6, 1, 1), name="image")(row))
    dropped = layers.Dropout(0.3, name="dropped")(layers.Flatten(name="flat")(norm))
    expect(folder, functional(row, layers.Dense(1, name="last")(dropped), keras.optimizers.Adam()), numbers())
