"""Training with weights against `fit(sample_weight=, class_weight=)`: the same steps, a short last batch included."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.training import conversion_data as lab
from tests.training.probe_lab import collector, one_device, run_config
from trainer.training.converter import convert, fresh_session
from trainer.training.weights import BAD_WEIGHT, Weights

keras, layers = tf.keras, tf.keras.layers
PROBES, probe = collector()
ROWS = 37  # four batches of 8 and one of 5
EPOCHS = 2
STEPS = EPOCHS * 5
NUMBERS = lab.CLASSES[:ROWS, 0]
ONE_HOT = np.eye(3, dtype="float32")[NUMBERS]
YES_NO = (lab.RANDOM.rand(ROWS) < 0.2).astype("float32")[:, None]
OF_CLASS = {"low": 0.5, "middle": 1.0, "high": 4.0}
OF_YES_NO = {"0": 0.25, "1": 3.0}
Build = Callable[[Any], tf.keras.Model]


def sparse(optimizer: Any) -> tf.keras.Model:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return lab.dense(3, optimizer=optimizer, loss=loss, metrics=["accuracy"], weighted_metrics=["accuracy"])


def dense(optimizer: Any) -> tf.keras.Model:
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    return lab.dense(3, optimizer=optimizer, loss=loss, weighted_metrics=["accuracy"])


def binary(optimizer: Any) -> tf.keras.Model:
    parts = keras.Input((6,), name="row"), layers.Dense(4, "tanh"), layers.Dense(1, "sigmoid")
    return lab.sequential(*parts, optimizer=optimizer, loss="binary_crossentropy", weighted_metrics=["mae", "AUC"])


def regression(optimizer: Any) -> tf.keras.Model:
    return lab.dense(1, optimizer=optimizer, weighted_metrics=["mae"])


def compare(
    folder: str, build: Build, target: Any, of_class: Mapping[str, float] | None = None, own: Any = None, **more: Any
) -> None:
    """Train both for two epochs of batches in the same order, then compare all weights and the evaluation."""
    for optimizer in ("sgd", "adam"):
        compare_once(f"{folder}/{optimizer}", functools.partial(build, optimizer), target, of_class, own, **more)


def batched(arrays: Any) -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices(arrays).batch(8)


def attached(weights: Weights, arrays: Any, *, training: bool) -> tf.data.Dataset:
    return batched(arrays).map(functools.partial(weights.attach, training=training))


def compare_once(
    folder: str, build: Callable[[], tf.keras.Model], target: Any, of_class: Any, own: Any, config: Any = None
) -> None:
    arrays = (lab.ROWS[:ROWS], target) if own is None else (lab.ROWS[:ROWS], target, own[:ROWS])
    by_number = None if of_class is None else dict(enumerate(of_class.values()))
    trained_on = arrays
    if own is not None and of_class is not None:
        # fit multiplies too (data_adapter.py), but fails where the size of a batch is not known beforehand
        numbers = np.argmax(target, -1) if target.ndim == 2 and target.shape[1] > 1 else np.ravel(target).astype(int)
        trained_on = (*arrays[:2], arrays[2] * np.array([*of_class.values()], "float32")[numbers])
        by_number = None
    fresh_session(1)
    model = build()
    model.fit(batched(trained_on), epochs=EPOCHS, class_weight=by_number, shuffle=False, verbose=0)
    want = model.evaluate(batched(arrays), verbose=0, return_dict=True)
    trained = {weight.name.removesuffix(":0"): weight.numpy() for weight in model.weights}

    weights = Weights("weight" if own is not None else None, of_class or {})
    fresh_session(1)
    estimator = convert(build(), folder, config or run_config())
    estimator.train(lambda: attached(weights, arrays, training=True).repeat(), max_steps=STEPS)
    for name, value in trained.items():
        np.testing.assert_allclose(estimator.get_variable_value(name), value, rtol=0, atol=1e-6, err_msg=name)
    have = estimator.evaluate(lambda: attached(weights, arrays, training=False))
    names = set(want) - {"loss"}  # the Estimator's is the mean of the batches' losses, a short one counts like the rest
    assert {name: have[name] for name in names} == pytest.approx({name: want[name] for name in names}, abs=1e-6)


@probe
def weights_of_examples(folder: str) -> None:
    compare(folder, regression, lab.TARGETS[:ROWS], own=lab.WEIGHTS)


@probe
def weights_of_class_numbers(folder: str) -> None:
    compare(folder, sparse, NUMBERS, OF_CLASS)


@probe
def weights_of_class_numbers_in_a_column(folder: str) -> None:
    compare(folder, sparse, NUMBERS[:, None], OF_CLASS)


@probe
def weights_of_one_hot_classes(folder: str) -> None:
    compare(folder, dense, ONE_HOT, OF_CLASS)


@probe
def weights_of_yes_and_no(folder: str) -> None:
    compare(folder, binary, YES_NO, OF_YES_NO)


@probe
def both_are_multiplied(folder: str) -> None:
    compare(folder, sparse, NUMBERS, OF_CLASS, lab.WEIGHTS)


@probe
def both_on_one_device(folder: str) -> None:
    compare(folder, dense, ONE_HOT, OF_CLASS, lab.WEIGHTS, config=one_device())


@probe
def whole_numbers_and_zeros_are_weights(folder: str) -> None:
    own = np.arange(lab.EXAMPLES) % 3
    compare(folder, binary, YES_NO, OF_YES_NO, own.astype("float32"))
    attached = Weights("w").attach({}, tf.zeros([3, 1]), tf.constant([2, 0, 1]), training=False)[0]
    assert attached["sample_weights"].dtype == tf.float32


@probe
def one_weight_for_several_outputs(folder: str) -> None:
    def heads() -> tf.keras.Model:
        row = keras.Input((6,), name="row")
        outputs = [layers.Dense(1, name="a")(row), layers.Dense(2, name="b")(row)]
        return lab.functional(row, outputs, loss={"a": "mse", "b": "mae"}, loss_weights=[0.5, 2.0],
                              optimizer="adam", weighted_metrics=["mae"])  # fmt: skip

    arrays = lab.ROWS[:ROWS], {"a": lab.TARGETS[:ROWS], "b": lab.ROWS[:ROWS, :2]}, lab.WEIGHTS[:ROWS]
    fresh_session(1)
    model = heads()
    model.fit(batched(arrays), epochs=EPOCHS, shuffle=False, verbose=0)
    want = model.evaluate(batched(arrays), verbose=0, return_dict=True)
    trained = {weight.name.removesuffix(":0"): weight.numpy() for weight in model.weights}
    input_fn = functools.partial(attached, Weights("w"), arrays, training=True)
    fresh_session(1)
    estimator = convert(heads(), folder, run_config()).train(lambda: input_fn().repeat(), max_steps=STEPS)
    for name, value in trained.items():
        np.testing.assert_allclose(estimator.get_variable_value(name), value, rtol=0, atol=1e-6, err_msg=name)
    have = estimator.evaluate(input_fn)
    assert have["a_mae"] == pytest.approx(want["a_mae"], abs=1e-6)
    assert have["b_mae"] == pytest.approx(want["b_mae"], abs=1e-6)


@probe
def weights_of_a_column_have_the_rank_they_come_with(folder: str) -> None:
    """Keras makes a (batch, batch) table of weights [batch, 1] and weights of classes [batch]."""
    for own in (tf.constant([1.0, 2.0]), tf.constant([[1.0], [2.0]])):
        features, _ = Weights("w", OF_CLASS).attach({}, tf.constant([[2], [0]]), own, training=True)
        np.testing.assert_array_equal(features["sample_weights"], np.reshape([4.0, 1.0], own.shape))


@probe
def classes_count_in_training_only(folder: str) -> None:
    weights, target = Weights(None, OF_CLASS), tf.constant([2, 0])
    inputs = {"row": tf.zeros([2, 6])}
    assert weights.attach(inputs, target, training=False)[0] is inputs
    assert weights.attach(inputs, target, training=True)[0]["sample_weights"].numpy().tolist() == [4.0, 0.5]


@probe
def a_label_that_is_no_class_is_the_losss_business(folder: str) -> None:
    features, _ = Weights(None, OF_CLASS).attach({}, tf.constant([[7], [-1]]), training=True)
    assert np.all(np.isfinite(features["sample_weights"]))


@probe
def bad_weights_stop_a_step(folder: str) -> None:
    for bad in (-1.0, float("nan"), float("inf")):
        dataset = tf.data.Dataset.from_tensors((tf.zeros([2, 6]), tf.zeros([2, 1]), tf.constant([1.0, bad])))
        attached = dataset.map(functools.partial(Weights("w").attach, training=True))
        with pytest.raises(tf.errors.InvalidArgumentError, match=BAD_WEIGHT):
            list(attached)
