"""Models with weighted metrics, and metrics that mean something else by the rules of Keras 1."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from tests.training.conversion_data import (
    CLASSES,
    MASKED,
    ROWS,
    SEQUENCES,
    TARGETS,
    WEIGHTS,
    YES_NO,
    Case,
    collector,
    dense,
    functional,
    sequential,
)

keras, layers = tf.keras, tf.keras.layers
CASES, case = collector()
ONE_HOT = np.eye(3, dtype="float32")[CLASSES[:, 0]]
OTHER_WEIGHTS = WEIGHTS[::-1].copy()


def two_heads(weights: Any = WEIGHTS, **compiled: Any) -> Case:
    row = keras.Input((6,), name="row")
    heads = [layers.Dense(1, name="a")(row), layers.Dense(1, name="b")(row)]
    return Case(functional(row, heads, **compiled), {"row": ROWS}, {"a": TARGETS, "b": TARGETS[::-1]}, weights)


def squared_error(y_true: Any, y_pred: Any) -> Any:
    return tf.reduce_mean(tf.square(y_true - y_pred), -1)


class WeightSum(keras.metrics.Metric):
    """Takes an argument, and what it is given as weights."""

    def __init__(self, factor: float = 1.0, name: str = "weight_sum", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.factor = factor
        self.total = self.add_weight("total", initializer="zeros")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        weights = tf.ones_like(y_true) if sample_weight is None else sample_weight
        self.total.assign_add(self.factor * tf.reduce_sum(weights))

    def result(self) -> Any:
        return self.total

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": self.factor}


@case
def beside_plain_ones() -> Case:
    return Case(dense(metrics=["mae", "mse"], weighted_metrics=["mae"]), ROWS, TARGETS, WEIGHTS)


@case
def alone() -> Case:
    return Case(dense(weighted_metrics=["mae", squared_error]), ROWS, TARGETS, WEIGHTS)


@case
def without_weights() -> Case:
    return Case(dense(metrics=["mae"], weighted_metrics=["mae"]), ROWS, TARGETS)


@case
def of_the_users_own() -> Case:
    return Case(dense(metrics=[WeightSum(0.5)], weighted_metrics=[WeightSum(2.0)]), ROWS, TARGETS[:, 0], WEIGHTS)


@case
def objects_with_more_state() -> Case:
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    made = [keras.metrics.AUC(from_logits=True), keras.metrics.Precision(thresholds=0.0)]
    return Case(dense(loss=loss, metrics=["accuracy"], weighted_metrics=made), ROWS, YES_NO, WEIGHTS)


@case
def words_by_class_numbers() -> Case:
    model = sequential(keras.Input((6,)), layers.Dense(3, "softmax"), optimizer="adam",
                       loss="sparse_categorical_crossentropy", weighted_metrics=["accuracy", "ce"])  # fmt: skip
    return Case(model, ROWS, CLASSES[:, 0], WEIGHTS)


@case
def words_by_one_hot_labels() -> Case:
    model = sequential(keras.Input((6,)), layers.Dense(3, "softmax"), loss="categorical_crossentropy",
                       metrics=["acc"], weighted_metrics=["acc", "crossentropy"])  # fmt: skip
    return Case(model, ROWS, ONE_HOT, WEIGHTS)


@case
def words_by_yes_and_no() -> Case:
    model = sequential(keras.Input((6,)), layers.Dense(1, "sigmoid"), loss="binary_crossentropy",
                       metrics=["ce"], weighted_metrics=["acc"])  # fmt: skip
    return Case(model, ROWS, YES_NO[:, 0].astype(int), WEIGHTS)


@case
def a_word_that_the_loss_does_not_explain() -> Case:
    model = sequential(keras.Input((6,)), layers.Dense(3, "softmax"), loss="mse", metrics=["accuracy"])
    return Case(model, ROWS, ONE_HOT, WEIGHTS)


@case
def of_all_outputs_and_one_weight_for_both() -> Case:
    return two_heads(metrics=["mae"], weighted_metrics=["mae"])


@case
def of_one_output_and_a_weight_for_each() -> Case:
    weights = {"a": WEIGHTS, "b": OTHER_WEIGHTS}
    return two_heads(weights, metrics={"b": ["mae"]}, weighted_metrics={"b": ["mae", "mse"]}, loss_weights=[0.2, 1.5])


@case
def in_lists_for_the_outputs() -> Case:
    return two_heads(weighted_metrics=[["mae"], [keras.metrics.RootMeanSquaredError(name="root")]])


@case
def of_masked_sequences() -> Case:
    parts = layers.Masking(input_shape=(7, 4)), layers.LSTM(3, return_sequences=True), layers.Dense(1)
    return Case(sequential(*parts, metrics=["mae"], weighted_metrics=["mae"]), MASKED, SEQUENCES[:, :, :1], WEIGHTS)
