"""Models whose metrics an Estimator reports under names that are easy to get wrong."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tests.training.conversion_data import CLASSES, ROWS, TARGETS, WEIGHTS, Case, collector, dense, functional

keras, layers = tf.keras, tf.keras.layers
CASES, case = collector()


def two_heads(**compiled: Any) -> Case:
    row = keras.Input((6,))
    heads = [layers.Dense(1, name="a")(row), layers.Dense(1, name="b")(row)]
    return Case(functional(row, heads, **compiled), ROWS, {"a": TARGETS, "b": TARGETS})


def halved_error(y_true: Any, y_pred: Any) -> Any:
    return tf.reduce_mean(tf.abs(y_true - y_pred), -1) / 2


@case
def no_metrics() -> Case:
    return Case(dense(), ROWS, TARGETS)


@case
def functions_an_object_and_a_word() -> Case:
    metrics = [halved_error, keras.metrics.MeanSquaredError(name="squared"), "mae", keras.metrics.mean_squared_error]
    return Case(dense(metrics=metrics), ROWS, TARGETS)


@case
def a_metric_called_loss() -> Case:
    return Case(dense(metrics=[keras.metrics.MeanAbsoluteError(name="loss")]), ROWS, TARGETS)


@case
def plain_and_weighted() -> Case:
    return Case(dense(metrics=["mae", "mse"], weighted_metrics=["mae"]), ROWS, TARGETS, WEIGHTS)


@case
def weighted_alone() -> Case:
    return Case(dense(weighted_metrics=["mae"]), ROWS, TARGETS, WEIGHTS)


@case
def for_all_outputs() -> Case:
    return two_heads(metrics=["mae"])


@case
def by_output() -> Case:
    return two_heads(metrics={"b": ["mae", "mse"]})


@case
def in_lists() -> Case:
    return two_heads(metrics=[["mae"], ["mse", keras.metrics.RootMeanSquaredError(name="loss")]])


@case
def in_tuples() -> Case:
    return two_heads(metrics=(("mae",), ("mse",)), weighted_metrics={"a": "mae"})


@case
def not_of_an_output_without_a_loss() -> Case:
    return two_heads(loss={"a": "mse"}, metrics={"a": "mae", "b": "mae"})


@case
def beside_added_ones() -> Case:
    row = keras.Input((6,))
    model = keras.Model(row, layers.Dense(1)(row))
    model.add_metric(model.output, name="mae", aggregation="mean")
    model.compile("sgd", "mse", metrics=["mae"])
    return Case(model, ROWS, TARGETS)


@case
def accuracy_by_its_short_name() -> Case:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    metrics = ["acc", keras.metrics.SparseTopKCategoricalAccuracy(2)]
    return Case(dense(3, loss=loss, metrics=metrics), ROWS, CLASSES)
