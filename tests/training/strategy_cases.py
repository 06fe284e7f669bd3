"""Models, optimizers and data of the parity table: small, but with what replicas can get wrong in each."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tests.training.conversion_data import (
    CLASSES,
    IMAGES,
    MASKED,
    ROWS,
    SEQUENCES,
    TARGETS,
    TOKENS,
    WEIGHTS,
    functional,
    sequential,
)

keras, layers, optimizers = tf.keras, tf.keras.layers, tf.keras.optimizers

OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "sgd": lambda: optimizers.SGD(0.05),
    "momentum": lambda: optimizers.SGD(0.05, momentum=0.9),
    "adam": lambda: optimizers.Adam(0.01),
    "clipnorm": lambda: optimizers.Adam(0.01, clipnorm=0.1),
    "global_clip": lambda: optimizers.SGD(1.0, global_clipnorm=0.1),
    "rmsprop": lambda: optimizers.RMSprop(0.01),
    "adamw": lambda: optimizers.AdamW(0.01, weight_decay=0.1),
    "decaying": lambda: optimizers.AdamW(optimizers.schedules.ExponentialDecay(0.05, 3, 0.5), weight_decay=0.1),
}


@dataclasses.dataclass(frozen=True)
class Kind:
    """A model to be built with an optimizer, and its data.

    Attributes:
      build: makes the model.
      features, labels: arrays; several labels for several heads.
      rows: how many examples there are; 8 make a batch, so that the last one of an epoch has what is left.
      weights: of the examples, None without any.
    """

    build: Callable[[Any], tf.keras.Model]
    features: np.ndarray
    labels: Any
    rows: int
    weights: np.ndarray | None = None


def _dense(optimizer: Any, loss: Any = "mse") -> tf.keras.Model:
    parts = layers.Dense(5, "tanh", input_shape=(6,)), layers.Dense(1)
    return sequential(*parts, optimizer=optimizer, loss=loss)


def _summed(optimizer: Any) -> tf.keras.Model:
    return _dense(optimizer, keras.losses.MeanSquaredError(reduction="sum"))


def _batch_norm(optimizer: Any) -> tf.keras.Model:
    """Without a bias before it: its gradient is zero but for rounding, of which Adam makes whole steps."""
    first = layers.Dense(4, use_bias=False, input_shape=(6,))
    return sequential(first, layers.BatchNormalization(), layers.Dense(1), optimizer=optimizer)


def _convolutions(optimizer: Any) -> tf.keras.Model:
    """`fit` has fused ops for this BatchNorm, with another moving variance."""
    first = layers.Conv2D(3, 3, 2, use_bias=False, input_shape=(8, 8, 3))
    parts = first, layers.BatchNormalization(), layers.Flatten(), layers.Dense(1)
    return sequential(*parts, optimizer=optimizer)


def _lstm(optimizer: Any) -> tf.keras.Model:
    parts = layers.Embedding(20, 4, input_length=7), layers.LSTM(3), layers.Dense(3)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return sequential(*parts, optimizer=optimizer, loss=loss)


def _regularized(optimizer: Any) -> tf.keras.Model:
    first = layers.Dense(3, "tanh", kernel_regularizer="l2", activity_regularizer="l1", input_shape=(6,))
    return sequential(first, layers.Dense(1, kernel_constraint="max_norm"), optimizer=optimizer)


class Inside(layers.Layer):
    """A BatchNorm that only this layer's own code makes."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.norm = Derived(epsilon=1e-6)

    def call(self, inputs: Any, training: bool = False) -> Any:
        return self.norm(inputs, training=training)


class Derived(layers.BatchNormalization):
    """A class of the user's own."""

    def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        return super().call(inputs, training=training, mask=mask) * 2.0


def _nested_norm(optimizer: Any) -> tf.keras.Model:
    """Values far from zero, of whose variance sums of squares would leave nothing."""
    first = layers.Rescaling(1.0, 100.0, input_shape=(6,))
    return sequential(first, Inside(), layers.Dense(3, "tanh"), layers.Dense(1), optimizer=optimizer)


def _masked(optimizer: Any) -> tf.keras.Model:
    """The loss is a mean over the steps in time that are there, of which each part has its own number."""
    first = layers.Masking(input_shape=(7, 4)), layers.LSTM(3, return_sequences=True)
    return sequential(*first, layers.BatchNormalization(), layers.Dense(1), optimizer=optimizer)


def _two_heads(optimizer: Any) -> tf.keras.Model:
    row = keras.Input((6,))
    hidden = layers.Dense(3, "tanh")(row)
    heads = [layers.Dense(1, name="one")(hidden), layers.Dense(1, name="other")(hidden)]
    return functional(row, heads, optimizer, ("mse", "mae"), loss_weights=(0.3, 0.7))


KINDS: dict[str, Kind] = {
    "dense": Kind(_dense, ROWS, TARGETS, 27),  # a rest of 3: a part of two, a part of one
    "batch_norm": Kind(_batch_norm, ROWS, TARGETS, 27),
    "convolutions": Kind(_convolutions, IMAGES, TARGETS, 28),  # a rest of 4: two parts of two
    "lstm": Kind(_lstm, TOKENS, CLASSES, 25),  # a rest of 1: a part without examples
    "regularized": Kind(_regularized, ROWS, TARGETS, 24),
    "weighted": Kind(_dense, ROWS, TARGETS, 27, WEIGHTS),
    "summed": Kind(_summed, ROWS, TARGETS, 27),
    "nested_norm": Kind(_nested_norm, ROWS, TARGETS, 27),
    "masked": Kind(_masked, MASKED.astype("float32"), SEQUENCES[:, :, :1], 27),
    "two_heads": Kind(_two_heads, ROWS, (TARGETS, TARGETS[::-1]), 27, WEIGHTS),
    "norm_rest": Kind(_batch_norm, ROWS, TARGETS, 25),  # nobody's statistics but those of the one that is left
}
