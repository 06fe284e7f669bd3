"""Rows of the conversion's table that keep what the user wrote, or only warn: one model that shows each."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tests.training.conversion_data import (
    CLASSES,
    ROWS,
    STEPS,
    TARGETS,
    TOKENS,
    WEIGHTS,
    YES_NO,
    Case,
    Squared,
    batches,
    collector,
    dense,
    embedding,
    functional,
    sequential,
)

keras, layers = tf.keras, tf.keras.layers
optimizers = keras.optimizers
CASES, case = collector()


def kept(model: tf.keras.Model, features: Any = ROWS, labels: Any = TARGETS, **more: Any) -> Case:
    """A detour keeps what the user wrote: the plain recipe and the job's own conversion both run."""
    return Case(model, features, labels, plain=True, **more)


# ---------------------------------------------------------------- detours


@case
def non_trainable_weights() -> Case:
    return kept(sequential(layers.BatchNormalization(input_shape=(6,)), layers.Dense(1)))


@case
def weight_decay() -> Case:
    return kept(dense(optimizer=optimizers.Adam(0.01, weight_decay=0.1)))


@case
def epsilon_and_sparse() -> Case:
    return kept(embedding(optimizer=optimizers.SGD(0.05, momentum=0.9)), TOKENS)


@case
def epsilon_of_rmsprop() -> Case:
    return kept(dense(optimizer=optimizers.RMSprop(0.01)))


@case
def equality() -> Case:
    def loss(y_true: Any, y_pred: Any) -> Any:
        return tf.where(y_true == 1.0, tf.square(y_true - y_pred), 5 * tf.abs(y_true - y_pred))

    return kept(dense(loss=loss), ROWS, YES_NO)


@case
def training_argument() -> Case:
    class Halved(layers.Layer):
        def call(self, inputs: Any, training: Any = None) -> Any:
            return inputs if training else inputs * 0.5

    return kept(sequential(layers.Dense(3, input_shape=(6,)), Halved(), layers.Dense(1)))


@case
def label_rank() -> Case:
    return kept(dense(loss=Squared()), ROWS, TARGETS[:, 0])


@case
def new_optimizers() -> Case:
    return kept(dense(optimizer=optimizers.AdamW(0.01)))


@case
def unused_weights() -> Case:
    row = keras.Input((6,))
    heads = [layers.Dense(1, name="a")(row), layers.Dense(1, name="b")(row)]
    return kept(functional(row, heads, loss={"a": "mse"}), ROWS, {"a": TARGETS, "b": TARGETS})


@case
def custom_schedule() -> Case:
    class Inverse(optimizers.schedules.LearningRateSchedule):
        def __call__(self, step: Any) -> Any:
            return 0.1 / (1 + tf.cast(step, tf.float32))

        def get_config(self) -> dict[str, Any]:
            return {}

    return kept(dense(optimizer=optimizers.SGD(Inverse())))


@case
def custom_names() -> Case:
    class Doubled(layers.Layer):
        def call(self, inputs: Any) -> Any:
            return inputs * 2

    class Small(keras.regularizers.Regularizer):
        def __call__(self, weights: Any) -> Any:
            return 0.1 * tf.reduce_sum(weights**2)

        def get_config(self) -> dict[str, Any]:
            return {}

    def bent(x: Any) -> Any:
        return tf.tanh(x) * 2

    inner = keras.Sequential([layers.Dense(3, bent, kernel_regularizer=Small(), input_shape=(6,)), Doubled()])
    return kept(sequential(inner, layers.Dense(1)))


# ---------------------------------------------------------------- warnings


@case
def ignored_rate() -> Case:
    return kept(dense(optimizer=optimizers.Adam(lr=0.1)))


@case
def trained_optimizer() -> Case:
    model = dense(optimizer=optimizers.SGD(optimizers.schedules.ExponentialDecay(0.1, 2, 0.5)))
    model.fit(batches(Case(model, ROWS, TARGETS)), verbose=0, shuffle=False)
    assert int(model.optimizer.iterations) == STEPS
    return kept(model)


@case
def compile_switches() -> Case:
    return kept(dense(run_eagerly=True))


@case
def added_metrics() -> Case:
    row = keras.Input((6,))
    model = keras.Model(row, layers.Dense(1)(row))
    model.add_metric(model.output, name="mean_output", aggregation="mean")
    model.compile("sgd", "mse", metrics=["mae"])
    return kept(model)


@case
def output_losses() -> Case:
    row = keras.Input((6,))
    heads = [layers.Dense(1, name="a")(row), layers.Dense(1, name="b")(row)]
    return kept(functional(row, heads, metrics=["mae"]), ROWS, {"a": TARGETS, "b": TARGETS})


@case
def weighted_metrics() -> Case:
    return kept(dense(metrics=["mae"], weighted_metrics=["mae"]), sample_weights=WEIGHTS)


@case
def weighted_metrics_alone() -> Case:
    return kept(dense(weighted_metrics=["mae"]), sample_weights=WEIGHTS)


@case
def changed_metrics() -> Case:
    class Above(keras.metrics.Metric):
        def __init__(self, threshold: float = 0.5, name: str = "above", **kwargs: Any) -> None:
            super().__init__(name=name, **kwargs)
            self.threshold = threshold
            self.count = self.add_weight("count", initializer="zeros")

        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
            self.count.assign_add(tf.reduce_sum(tf.cast(y_pred > self.threshold, tf.float32)))

        def result(self) -> Any:
            return self.count

    return kept(dense(metrics=[Above(-100.0)]))


@case
def accuracy_word() -> Case:
    def loss(y_true: Any, y_pred: Any) -> Any:
        return keras.losses.sparse_categorical_crossentropy(y_true, y_pred, from_logits=True)

    return kept(dense(3, loss=loss, metrics=["accuracy"]), ROWS, CLASSES)


@case
def structured_outputs() -> Case:
    row = keras.Input((6,))
    outputs = {"a": layers.Dense(1, name="one")(row), "b": layers.Dense(1, name="two")(row)}
    return Case(functional(row, outputs), ROWS, {"a": TARGETS, "b": TARGETS}, plain=True, ours=False)
