"""What the conversion says, and what it leaves as it was."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.training import conversion_data as lab
from tests.training.probe_lab import (
    assert_same,
    batched,
    build,
    collector,
    data,
    listed,
    one_device,
    predictions_under,
    run_config,
    weights,
)
from trainer.job.errors import ModelError
from trainer.training.conversion import check_conversion, find_losses, watch_build
from trainer.training.converter import convert, fresh_session

keras, layers = tf.keras, tf.keras.layers
PROBES, probe = collector()


@probe
def numbered_heads(folder: str) -> None:
    fresh_session(1)
    row = keras.Input((6,))
    model = lab.functional(row, [layers.Dense(1, name="out_1")(row), layers.Dense(1, name="out_2")(row)])
    assert "numbered_heads" not in {each.row for each in find_losses(model)}
    assert [each.kind for each in find_losses(model, strategy="one_device") if each.row == "numbered_heads"] == [
        "refusal"
    ]
    plain = tf.keras.estimator.model_to_estimator(
        model, model_dir=folder, checkpoint_format="saver", config=one_device()
    )
    plain.train(lambda: data().map(lambda x, y: (x, {"out_1": y, "out_2": y})), steps=1)
    assert predictions_under(plain, lambda: data().map(lambda x, y: x)) == ["out"]  # of two


@probe
def renamed_metrics(folder: str) -> None:
    def evaluations(recipe: Callable[..., tf.estimator.Estimator], place: str) -> list[set[str]]:
        fresh_session(1)
        row = keras.Input((6,))
        heads = [layers.Dense(1, name="a")(row), layers.Dense(1, name="b")(row)]
        model = lab.functional(row, heads, metrics={"a": [keras.metrics.MeanAbsoluteError(name="error")]})
        estimator = recipe(model, model_dir=place, config=run_config())
        input_fn = functools.partial(batched, {"a": lab.TARGETS, "b": lab.TARGETS})
        estimator.train(input_fn, steps=1)
        return [set(estimator.evaluate(input_fn, steps=1)) for _ in range(2)]

    first, second = evaluations(tf.keras.estimator.model_to_estimator, f"{folder}/plain")
    assert first != second
    first, second = evaluations(lambda model, model_dir, config: convert(model, model_dir, config), f"{folder}/ours")
    assert first == second == {"loss", "global_step", "a_error"}


@probe
def renamed_heads(folder: str) -> None:
    fresh_session(1)
    model = lab.sequential(layers.Dense(2, input_shape=(6,), name="first"), layers.Dense(1, name="score_2"))
    assert "renamed_heads" not in {each.row for each in find_losses(model)}
    findings = [each for each in find_losses(model, strategy="one_device") if each.row == "renamed_heads"]
    assert [each.kind for each in findings] == ["warning"]
    assert "score" in findings[0].sentence
    estimator = convert(model, folder, one_device())
    estimator.train(data, steps=1)
    assert predictions_under(estimator, lambda: data().map(lambda x, y: x)) == ["score"]


@probe
def nothing_is_left_behind(folder: str) -> None:
    before = dict(keras.utils.get_custom_objects()), tf.Tensor.__eq__, tf.Variable.__ne__
    estimator = convert(build(), folder, run_config())
    estimator.train(data, steps=1)
    estimator.evaluate(data, steps=1)
    assert (dict(keras.utils.get_custom_objects()), tf.Tensor.__eq__, tf.Variable.__ne__) == before
    eager = lab.Scaled(2)
    half = eager(lab.ROWS)
    np.testing.assert_allclose(eager(lab.ROWS, training=True), 2 * half, rtol=1e-6)


@probe
def labels_in_every_structure(folder: str) -> None:
    """A dict, a list and a single label of rank 1 reach a loss that does not look at shapes."""
    flat = lab.TARGETS[:, 0].astype("float64")
    found = []
    for number, labels in enumerate((lab.TARGETS, flat, {"head": flat}, (flat,))):
        fresh_session(1)
        row = keras.Input((6,), name="row")
        model = lab.functional(row, layers.Dense(1, name="head")(row), loss=lab.Squared())
        estimator = convert(model, f"{folder}/{number}", run_config())
        estimator.train(functools.partial(listed if isinstance(labels, tuple) else batched, labels), steps=3)
        found.append(weights(estimator))
    for other in found[1:]:
        assert_same(found[0], other)


@probe
def what_cannot_be_rebuilt_is_said_in_a_sentence(folder: str) -> None:
    fresh_session(1)
    row = keras.Input((6,))
    heads = [layers.Dense(1, name="a")(row), layers.Dense(1, name="b")(row)]
    model = lab.functional(row, heads, loss={"a": "mse"}, optimizer=keras.optimizers.legacy.SGD())
    with pytest.raises(ModelError, match=r"(?s)^the model \S+ cannot be rebuilt .*gradient.*\.$") as caught:
        convert(model, folder, run_config())
    assert "\n" not in str(caught.value)


@probe
def two_classes_of_one_name_are_told_apart(folder: str) -> None:
    fresh_session(1)

    def kind(factor: float) -> type:
        class Times(layers.Layer):
            def call(self, inputs: Any) -> Any:
                return inputs * factor

        return Times

    model = lab.sequential(kind(2.0)(input_shape=(6,)), kind(3.0)(), layers.Dense(1))
    with pytest.raises(ModelError, match=r"two different things called Times.*rename one"):
        convert(model, folder, run_config())


@probe
def a_loss_is_refused_unless_allowed(folder: str) -> None:
    model = build(optimizer=keras.optimizers.Nadam())
    with pytest.raises(ModelError, match=r"legacy\.Nadam.*; or pass --allow-lossy-conversion\.$"):
        check_conversion(model, allow_lossy=False, strategy="none")
    (sentence,) = check_conversion(model, allow_lossy=True, strategy="none")
    assert "Nadam" in sentence
    assert convert(model, folder, run_config()).train(data, steps=1).get_variable_value("global_step") == 1


@probe
def the_impossible_is_refused_always(folder: str) -> None:
    fresh_session(1)
    model = lab.dense(loss=keras.losses.MeanSquaredError(reduction="none"))
    for allowed in (False, True):
        with pytest.raises(ModelError, match=r"reduction") as caught:
            check_conversion(model, allow_lossy=allowed, strategy="none")
        assert "lossy" not in str(caught.value)


@probe
def a_usual_model_has_no_findings(folder: str) -> None:
    assert check_conversion(build(), allow_lossy=False, strategy="one_device", build_notes=()) == [
        "predictions of the output dense_1 are called dense under --strategy=one_device"
    ]
    assert check_conversion(build(), allow_lossy=False, strategy="none") == []


@probe
def a_quiet_build_is_watched_all_the_same(folder: str) -> None:
    log, shown = logging.getLogger("absl"), []

    class Shown(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            shown.append(record.getMessage())

    handler, level = Shown(), log.level
    log.addHandler(handler)
    try:
        for quiet, count in ((logging.ERROR, 0), (logging.WARNING, 1)):
            log.setLevel(quiet)
            with watch_build() as notes:
                model = build(optimizer=keras.optimizers.RMSprop(lr=0.1))
            assert len(notes) == 1
            assert len(shown) == count
            assert log.level == quiet
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
    (sentence,) = check_conversion(model, allow_lossy=False, strategy="none", build_notes=notes)
    assert "RMSprop(learning_rate=...)" in sentence
