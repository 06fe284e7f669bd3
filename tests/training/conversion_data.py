"""Cases of the conversion's tests: what a case is, the arrays they train on, and the parts they are built from."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

keras, layers = tf.keras, tf.keras.layers
STEPS, BATCH = 10, 8
EXAMPLES = STEPS * BATCH

RANDOM = np.random.RandomState(1)
ROWS = RANDOM.randn(EXAMPLES, 6).astype("float32")
SEQUENCES = RANDOM.randn(EXAMPLES, 7, 4).astype("float32")
IMAGES = RANDOM.rand(EXAMPLES, 8, 8, 3).astype("float32")
TOKENS = RANDOM.randint(0, 20, (EXAMPLES, 7))
WORDS = np.array(list("abcd"))[RANDOM.randint(0, 4, (EXAMPLES, 1))]
TARGETS = RANDOM.randn(EXAMPLES, 1).astype("float32")
CLASSES = RANDOM.randint(0, 3, (EXAMPLES, 1))
MASKED = np.where(np.arange(7)[None, :, None] < RANDOM.randint(2, 7, EXAMPLES)[:, None, None], SEQUENCES, 0)
YES_NO = RANDOM.randint(0, 2, (EXAMPLES, 1)).astype("float32")
WEIGHTS = RANDOM.rand(EXAMPLES).astype("float32")


@dataclasses.dataclass(frozen=True)
class Case:
    """A compiled model with its data: arrays, or dicts of arrays, of EXAMPLES rows."""

    model: tf.keras.Model
    features: Any
    labels: Any
    sample_weights: Any = None
    plain: bool = False  # run the plain recipe too
    ours: bool = True
    evaluated: bool = True  # compare evaluations too
    shaken: bool = True  # move all weights off their initial values, statistics included


def collector() -> tuple[dict[str, Callable[[], Case]], Callable[[Callable[[], Case]], Callable[[], Case]]]:
    """A module's cases by name, and the decorator that adds one."""
    cases: dict[str, Callable[[], Case]] = {}

    def case(build: Callable[[], Case]) -> Callable[[], Case]:
        cases[build.__name__] = build
        return build

    return cases, case


def sequential(*parts: Any, optimizer: Any = "sgd", loss: Any = "mse", **compiled: Any) -> tf.keras.Model:
    model = keras.Sequential(list(parts))
    model.compile(optimizer, loss, **compiled)
    return model


def functional(inputs: Any, outputs: Any, optimizer: Any = "sgd", loss: Any = "mse", **compiled: Any) -> tf.keras.Model:
    model = keras.Model(inputs, outputs)
    model.compile(optimizer, loss, **compiled)
    return model


def dense(units: int = 1, **compiled: Any) -> tf.keras.Model:
    return sequential(keras.Input((6,), name="row"), layers.Dense(5, "tanh"), layers.Dense(units), **compiled)


def embedding(**compiled: Any) -> tf.keras.Model:
    return sequential(layers.Embedding(20, 4, input_length=7), layers.Flatten(), layers.Dense(1), **compiled)


def batches(case: Case, *, estimator: bool = False) -> tf.data.Dataset:
    """The examples in their order; an Estimator takes sample weights within the features."""
    parts = (case.features, case.labels)
    if case.sample_weights is not None and estimator:
        parts = ({"features": case.features, "sample_weights": case.sample_weights}, case.labels)
    elif case.sample_weights is not None:
        parts = (*parts, case.sample_weights)
    return tf.data.Dataset.from_tensor_slices(parts).batch(BATCH, drop_remainder=True)


class Scaled(layers.Layer):
    """Half as strong outside training."""

    def __init__(self, units: int = 3, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units = units

    def build(self, shape: Any) -> None:
        self.kernel = self.add_weight("kernel", (shape[-1], self.units))

    def call(self, inputs: Any, training: bool = False) -> Any:
        return inputs @ self.kernel if training else inputs @ self.kernel * 0.5

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units}


class Normalized(layers.Layer):
    """Layers inside of a layer."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dense, self.norm = layers.Dense(6), layers.BatchNormalization()

    def call(self, inputs: Any) -> Any:
        return self.norm(self.dense(inputs))


class Counted(layers.Layer):
    """Counts its steps the way that works in a graph."""

    def build(self, shape: Any) -> None:
        self.count = self.add_weight("count", (), initializer="zeros", trainable=False)

    def call(self, inputs: Any) -> Any:
        self.add_update(self.count.assign_add(1.0))
        return inputs


class Inner(keras.Model):
    """A subclassed model as a part of a functional one."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dense = layers.Dense(3)

    def call(self, inputs: Any) -> Any:
        return self.dense(inputs)

    def get_config(self) -> dict[str, Any]:
        return {}


class Squared(keras.losses.Loss):
    """Compares what it gets, without a look at shapes."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return tf.reduce_mean(tf.square(y_true - y_pred), -1)


class Largest(keras.metrics.Metric):
    """A state of its own."""

    def __init__(self, name: str = "largest", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.largest = self.add_weight("largest", initializer="zeros")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        self.largest.assign(tf.maximum(self.largest, tf.reduce_max(y_true - y_pred)))

    def result(self) -> Any:
        return self.largest
