"""Rows of the conversion's table that refuse a model: one model that shows each."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from tests.training.conversion_data import (
    ROWS,
    SEQUENCES,
    TARGETS,
    WORDS,
    Case,
    collector,
    dense,
    functional,
    sequential,
)

keras, layers = tf.keras, tf.keras.layers
optimizers = keras.optimizers
CASES, case = collector()


def refused(model: tf.keras.Model, features: Any = ROWS, labels: Any = TARGETS, **more: Any) -> Case:
    """Only the plain recipe runs."""
    return Case(model, features, labels, plain=True, ours=False, **more)


# ---------------------------------------------------------------- refusals


@case
def averaged_weights() -> Case:
    return refused(dense(optimizer=optimizers.SGD(0.05, use_ema=True, ema_momentum=0.5)))


@case
def nadam() -> Case:
    return refused(dense(optimizer=optimizers.Nadam(0.01)))


@case
def train_step() -> Case:
    class Halting(keras.Model):
        def train_step(self, data: Any) -> Any:
            return {"loss": tf.reduce_mean(self(data[0]))}

    row = keras.Input((6,))
    model = Halting(row, layers.Dense(1)(row))
    model.compile("sgd", "mse")
    return refused(model)


@case
def test_step() -> Case:
    class Constant(keras.Model):
        def test_step(self, data: Any) -> Any:
            return {"loss": tf.constant(7.0)}

    row = keras.Input((6,))
    model = Constant(row, layers.Dense(1)(row))
    model.compile("sgd", "mse")
    return refused(model)


@case
def subclassed_weights() -> Case:
    class Own(keras.Model):
        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.dense = layers.Dense(1)

        def call(self, inputs: Any) -> Any:
            return self.dense(inputs)

        def get_config(self) -> dict[str, Any]:
            return {}

    model = Own()
    model(ROWS[:1])
    model.compile("sgd", "mse")
    return refused(model)


@case
def assignments() -> Case:
    class Counting(layers.Layer):
        def build(self, shape: Any) -> None:
            self.count = self.add_weight("count", (), initializer="zeros", trainable=False)

        def call(self, inputs: Any) -> Any:
            self.count.assign_add(1.0)
            return inputs * self.count

    return refused(sequential(Counting(input_shape=(6,)), layers.Dense(1)))


@case
def outside_losses() -> Case:
    model = keras.Sequential([layers.Dense(3, input_shape=(6,)), layers.Dense(1)])
    model.add_loss(lambda: tf.reduce_sum(model.layers[0].kernel))
    model.compile("sgd", "mse")
    return refused(model)


@case
def shared_statistics() -> Case:
    norm, row = layers.BatchNormalization(), keras.Input((6,))
    return refused(functional(row, layers.Dense(1)(norm(layers.Dense(6)(norm(row))))))


@case
def changed_layers() -> Case:
    class Stretched(layers.Dense):
        def __init__(self, units: int, stretch: float = 1.0, **kwargs: Any) -> None:
            super().__init__(units, **kwargs)
            self.stretch = stretch

        def call(self, inputs: Any) -> Any:
            return super().call(inputs) * self.stretch

    return refused(sequential(Stretched(3, stretch=3.0, input_shape=(6,)), layers.Dense(1)))


@case
def adapted_discretization() -> Case:
    buckets = layers.Discretization(num_bins=4)
    buckets.adapt(ROWS)
    parts = keras.Input((6,)), buckets, layers.Embedding(5, 2), layers.Flatten(), layers.Dense(1)
    return refused(sequential(*parts), shaken=False)


@case
def stateful() -> Case:
    recurrent = layers.LSTM(3, stateful=True, batch_input_shape=(8, 7, 4))
    return refused(sequential(recurrent, layers.Dense(1)), SEQUENCES)


# ---------------------------------------------------------------- impossible


@case
def scaled_optimizer() -> Case:
    return refused(dense(optimizer=keras.mixed_precision.LossScaleOptimizer(optimizers.AdamW(0.01))))


@case
def text_vectorization() -> Case:
    split = layers.TextVectorization(vocabulary=["a", "b"], output_sequence_length=3)
    parts = keras.Input((1,), dtype="string"), split, layers.Embedding(5, 2), layers.Flatten(), layers.Dense(1)
    return refused(sequential(*parts), WORDS, shaken=False)


@case
def adapted_lookups() -> Case:
    lookup = layers.StringLookup()
    lookup.adapt(WORDS)
    parts = keras.Input((1,), dtype="string"), lookup, layers.Embedding(6, 2), layers.Flatten(), layers.Dense(1)
    return refused(sequential(*parts), WORDS, shaken=False)


@case
def unpadded_lookups() -> Case:
    lookup = layers.StringLookup(vocabulary=["a", "b"], output_mode="multi_hot")
    return refused(sequential(keras.Input((1,), dtype="string"), lookup, layers.Dense(1)), WORDS, shaken=False)


@case
def unreduced_loss() -> Case:
    return refused(dense(loss=keras.losses.MeanSquaredError(reduction="none")))


@case
def sequential_additions() -> Case:
    model = keras.Sequential([layers.Dense(1, input_shape=(6,))])
    model.add_loss(tf.reduce_mean(model.output))
    model.compile("sgd", "mse")
    return refused(model)


@case
def unbuildable_layers() -> Case:
    class Scale(layers.Layer):
        def __init__(self, by: float, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.by = np.array([by])

        def call(self, inputs: Any) -> Any:
            return inputs * self.by

        def get_config(self) -> dict[str, Any]:
            return super().get_config()

    return refused(sequential(Scale(3.0, input_shape=(6,)), layers.Dense(1)))


@case
def dynamic_layers() -> Case:
    class Eager(layers.Layer):
        def __init__(self, **kwargs: Any) -> None:
            super().__init__(dynamic=True, **kwargs)

        def call(self, inputs: Any) -> Any:
            return inputs * 2

        def compute_output_shape(self, shape: Any) -> Any:
            return shape

    return refused(sequential(Eager(input_shape=(6,)), layers.Dense(1), run_eagerly=True))


@case
def keyed_losses() -> Case:
    row = keras.Input((6,))
    outputs = {"a": layers.Dense(1, name="one")(row), "b": layers.Dense(1, name="two")(row)}
    model = functional(row, outputs, loss={"a": "mse", "b": "mae"})
    return refused(model, ROWS, {"a": TARGETS, "b": TARGETS})
