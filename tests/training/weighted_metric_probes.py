"""Weighted metrics beyond one evaluation of whole batches."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import tensorflow as tf

from tests.training import conversion_data as lab
from tests.training.probe_lab import collector, one_device, run_config
from trainer.job.errors import ModelError
from trainer.training.conversion import check_conversion
from trainer.training.converter import convert, fresh_session
from trainer.training.evaluation_metrics import evaluation_metric_names
from trainer.training.fit_semantics import with_weights

keras, layers = tf.keras, tf.keras.layers
PROBES, probe = collector()
ROWS = 37  # four batches of 8 and a short one
METRICS = ("loss", "mae", "weighted_mae", "mse")


def dataset(*, estimator: bool = False) -> tf.data.Dataset:
    parts = lab.ROWS[:ROWS], lab.TARGETS[:ROWS], lab.WEIGHTS[:ROWS]
    batches = tf.data.Dataset.from_tensor_slices(parts).batch(8)
    return batches.map(lambda x, y, weights: (with_weights(x, weights), y)) if estimator else batches


def build() -> tf.keras.Model:
    fresh_session(1)
    return lab.dense(metrics=["mae"], weighted_metrics=["mae", "mse"])


@probe
def a_short_last_batch_counts_as_in_keras(folder: str) -> None:
    want = build().evaluate(dataset(), verbose=0, return_dict=True)
    have = convert(build(), folder, run_config()).evaluate(functools.partial(dataset, estimator=True))
    for name in METRICS:
        assert have[name] == pytest.approx(want[name], rel=1e-6)


@probe
def the_second_evaluation_is_like_the_first(folder: str) -> None:
    estimator = convert(build(), folder, run_config())
    first, second = (estimator.evaluate(functools.partial(dataset, estimator=True)) for _ in range(2))
    assert first == second
    assert set(first) == {"loss", "global_step", "mae", "weighted_mae", "mse"}


@probe
def training_under_a_strategy_leaves_them_alone(folder: str) -> None:
    found = []
    for number, config in enumerate((run_config(), one_device())):
        estimator = convert(build(), f"{folder}/{number}", config)
        estimator.train(functools.partial(dataset, estimator=True), steps=5)
        found.append(estimator.evaluate(functools.partial(dataset, estimator=True)))
    model = build()
    model.fit(dataset(), verbose=0, shuffle=False)
    want = model.evaluate(dataset(), verbose=0, return_dict=True)
    for have in found:
        assert {name: have[name] for name in METRICS} == pytest.approx({name: want[name] for name in METRICS}, rel=1e-5)


@probe
def labels_in_a_list(folder: str) -> None:
    """An input function of the user's own may yield tensors, labels in a list among them."""

    def tensors() -> tuple[Any, list[Any]]:
        features, labels = tf.compat.v1.data.make_one_shot_iterator(dataset(estimator=True)).get_next()
        return features, [labels]

    one = convert(build(), f"{folder}/a", run_config()).evaluate(tensors)
    other = convert(build(), f"{folder}/b", run_config()).evaluate(functools.partial(dataset, estimator=True))
    assert one == other


@probe
def a_subclassed_model_has_them_too(folder: str) -> None:
    class Mine(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.dense = layers.Dense(1, kernel_initializer="ones")

        def call(self, inputs: Any) -> Any:
            return self.dense(inputs)

    def made() -> tf.keras.Model:
        fresh_session(1)
        model = Mine()
        model.compile("sgd", "mse", metrics=["mae"], weighted_metrics=["mae"])
        return model

    assert evaluation_metric_names(made()) is None
    want = made().evaluate(dataset(), verbose=0, return_dict=True)
    have = convert(made(), folder, run_config()).evaluate(functools.partial(dataset, estimator=True))
    assert {name: have[name] for name in ("mae", "weighted_mae")} == pytest.approx(
        {name: want[name] for name in ("mae", "weighted_mae")}, rel=1e-6
    )


@probe
def metrics_that_keras_refuses_are_refused_before(folder: str) -> None:
    fresh_session(1)
    model = lab.dense(metrics=["mae", "mae"])
    with pytest.raises(ValueError, match="Found two metrics with the same name"):
        model.fit(dataset(), verbose=0)
    fresh_session(1)
    model = lab.dense(metrics=["mae", "mae"])
    with pytest.raises(ModelError, match=r"metrics given to compile cannot be built .*same name: mae.*name each once"):
        check_conversion(model, allow_lossy=True, strategy="none")


@probe
def names_leave_the_model_as_it_is(folder: str) -> None:
    fresh_session(1)
    row = keras.Input((6,))
    metric = keras.metrics.MeanAbsoluteError(name="error")
    heads = [layers.Dense(1, name="a")(row), layers.Dense(1, name="b")(row)]
    model = lab.functional(row, heads, metrics={"a": [metric]}, weighted_metrics=["mae"])
    names = evaluation_metric_names(model)
    assert names == evaluation_metric_names(model) == ["a_error", "a_mae", "b_mae"]
    assert metric.name == "error"
