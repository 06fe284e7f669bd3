"""Which outputs are classifications, what their exports give beside the scores, and under which names."""

from __future__ import annotations

import functools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from trainer.job.columns import Column
from trainer.job.errors import ModelError
from trainer.job.serving import Output, ServingSpec
from trainer.training.labels import Label
from trainer.training.serving import Serving, classes_of, plan_serving, scores_of, with_serving_outputs
from trainer.training.signatures import KEY_FEATURE, Served

losses = keras.losses


class MineOfSparse(losses.SparseCategoricalCrossentropy):
    """A loss derived from a crossentropy."""


def my_loss(truth: Any, predicted: Any) -> Any:
    return tf.reduce_mean(tf.square(truth - predicted), -1)


def model(*outputs: tuple[str, int, str | None], loss: Any = "mse") -> keras.Model:
    """A compiled model with a Dense layer for each output."""
    given = keras.Input((2,), name="x")
    made = keras.Model(given, [keras.layers.Dense(size, end, name=name)(given) for name, size, end in outputs])
    made.compile("sgd", loss)
    return made


def planned(made: keras.Model, *labels: Label, columns: tuple[str, ...] = ("x",)) -> Serving:
    inputs: Any = SimpleNamespace(served=Served({name: Column("float32") for name in columns}, labels=labels))
    return plan_serving(made, inputs)


def text_label(folder: Path, *names: str, output: str = "y") -> Label:
    (folder / f"{output}.txt").write_text("".join(name + "\n" for name in names))
    return Label(output, "kind", "string", f"{folder}/{output}.txt")


NUMBERS = ("0", "1", "2")
TWO = ("0", "1")


@pytest.mark.parametrize(
    ("loss", "width", "end", "classes", "logits"),
    [
        pytest.param("sparse_categorical_crossentropy", 3, "softmax", NUMBERS, None, id="by name"),
        pytest.param(losses.sparse_categorical_crossentropy, 3, "softmax", NUMBERS, None, id="function"),
        pytest.param(losses.SparseCategoricalCrossentropy(), 3, "softmax", NUMBERS, None, id="object"),
        pytest.param(losses.SparseCategoricalCrossentropy(from_logits=True), 3, None, NUMBERS, "softmax", id="logits"),
        pytest.param(
            losses.SparseCategoricalCrossentropy(from_logits=True), 3, "softmax", NUMBERS, None, id="Keras goes back"
        ),
        pytest.param(MineOfSparse(from_logits=True), 3, None, NUMBERS, "softmax", id="derived"),
        pytest.param("CategoricalCrossentropy", 3, "softmax", NUMBERS, None, id="by class name"),
        pytest.param(losses.CategoricalFocalCrossentropy(from_logits=True), 3, None, NUMBERS, "softmax", id="focal"),
        pytest.param("binary_crossentropy", 1, "sigmoid", TWO, None, id="binary"),
        pytest.param("bce", 1, "sigmoid", TWO, None, id="binary, short"),
        pytest.param(losses.BinaryCrossentropy(from_logits=True), 1, None, TWO, "sigmoid", id="binary logits"),
        pytest.param(
            functools.partial(losses.binary_crossentropy, from_logits=True), 1, None, TWO, "sigmoid", id="partial"
        ),
        pytest.param(losses.BinaryFocalCrossentropy(), 1, "sigmoid", TWO, None, id="binary focal"),
        pytest.param("binary_crossentropy", 3, "sigmoid", (), None, id="several labels at once"),
        pytest.param("categorical_crossentropy", 1, "softmax", (), None, id="one class"),
        pytest.param("mse", 3, "softmax", (), None, id="mse"),
        pytest.param("mae", 1, None, (), None, id="mae"),
        pytest.param("kl_divergence", 3, "softmax", (), None, id="divergence"),
        pytest.param("hinge", 1, "tanh", (), None, id="hinge"),
        pytest.param(my_loss, 3, "softmax", (), None, id="of their own"),
    ],
)
def test_what_is_a_classification(
    loss: Any, width: int, end: str | None, classes: tuple[str, ...], logits: str | None
) -> None:
    serving = planned(model(("y", width, end), loss=loss))
    [output] = serving.spec.outputs
    assert (output.task == "classification", output.classes) == (bool(classes), classes)
    assert serving.logits == ({"y": logits} if logits else {})
    names = (output.class_output, output.classes_output, output.scores_output)
    assert names == (("class", "classes", "scores") if classes else (None, None, None))


@pytest.mark.parametrize(
    ("loss", "width", "end", "known", "classes"),
    [
        pytest.param("sparse_categorical_crossentropy", 2, "softmax", "a b", ("a", "b"), id="sparse"),
        pytest.param("sparse_categorical_crossentropy", 4, "softmax", "a b", ("a", "b", "#2", "#3"), id="with room"),
        pytest.param("binary_crossentropy", 1, "sigmoid", "no yes", ("no", "yes"), id="binary"),
        pytest.param("binary_crossentropy", 3, "sigmoid", "a b c", ("a", "b", "c"), id="one of three by sigmoid"),
        pytest.param(my_loss, 3, "softmax", "a b c", ("a", "b", "c"), id="a loss of their own after softmax"),
        pytest.param(my_loss, 1, "sigmoid", "a b", ("a", "b"), id="a loss of their own after sigmoid"),
        pytest.param(my_loss, 3, None, "a b c", (), id="a loss of their own after nothing"),
        pytest.param("hinge", 1, "tanh", "a b", (), id="hinge"),
    ],
)
def test_names_of_classes(
    tmp_path: Path, loss: Any, width: int, end: str | None, known: str, classes: tuple[str, ...]
) -> None:
    serving = planned(model(("y", width, end), loss=loss), text_label(tmp_path, *known.split()))
    [output] = serving.spec.outputs
    assert output.classes == classes
    assert output.column == "kind"
    assert output.sparse == ("sparse" in str(loss))


def test_several_outputs_have_names_of_their_own(tmp_path: Path) -> None:
    made = model(("kind", 2, "softmax"), ("kind_class", 1, "sigmoid"), ("size", 1, None))
    made.compile("sgd", ["sparse_categorical_crossentropy", "binary_crossentropy", "mse"])
    by_name = planned(made, text_label(tmp_path, "a", "b", output="kind")).spec.outputs
    made.compile("sgd", {"kind": "sparse_categorical_crossentropy", "kind_class": "binary_crossentropy", "size": "mse"})
    assert planned(made, text_label(tmp_path, "a", "b", output="kind")).spec.outputs == by_name
    names = [(each.class_output, each.classes_output, each.scores_output) for each in by_name]
    assert names == [
        ("kind_kind_class", "kind_classes", "kind_scores"),
        ("kind_class_class", "kind_class_classes", "kind_class_scores"),
        (None, None, None),
    ]
    assert by_name[0].classes == ("a", "b")


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("class", ("class_class", "classes", "scores")),
        ("classes", ("class", "classes_classes", "scores")),
        ("scores", ("class", "classes", "scores_scores")),
    ],
)
def test_an_output_keeps_its_name(name: str, names: tuple[str, ...]) -> None:
    [output] = planned(model((name, 3, "softmax"), loss="sparse_categorical_crossentropy")).spec.outputs
    assert (output.name, output.class_output, output.classes_output, output.scores_output) == (name, *names)


def test_a_row_of_more_than_one_dimension_is_given_as_it_is() -> None:
    given = keras.Input((4, 2), name="x")
    made = keras.Model(given, keras.layers.Dense(3, "softmax", name="y")(given))
    made.compile("sgd", "sparse_categorical_crossentropy")
    assert planned(made).spec.outputs == (Output("y", None, "regression"),)


def test_a_feature_called_key_is_refused() -> None:
    words = "a feature is called key, which is what exports call the name of an example .* --key-column=key"
    with pytest.raises(ModelError, match=words):
        planned(model(("y", 1, None)), columns=("x", "key"))


def test_an_output_called_key_is_refused() -> None:
    with pytest.raises(ModelError, match=r"an output of the model is called key, .* give that layer another name"):
        planned(model(("key", 1, None)))


@pytest.mark.parametrize(
    ("raw", "function", "scores"),
    [
        ([[0.25, 0.75]], None, [[0.25, 0.75]]),
        ([[0.0, float(np.log(3))]], "softmax", [[0.25, 0.75]]),
        ([[0.25]], None, [[0.75, 0.25]]),
        ([[float(-np.log(3))]], "sigmoid", [[0.75, 0.25]]),
        ([[0.0, float(np.log(3))]], "sigmoid", [[0.5, 0.75]]),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
def test_scores_are_probabilities(raw: Any, function: str | None, scores: Any, dtype: str) -> None:
    found = scores_of(tf.constant(raw, dtype), function)
    assert found.dtype == tf.float32
    np.testing.assert_allclose(found, scores, atol=1e-3 if dtype == "float16" else 1e-6)


def test_the_class_is_that_of_the_largest_score() -> None:
    output = Output("y", None, "classification", ("a", "ü", "c"), True, "class", "classes", "scores")
    scores = tf.constant([[0.1, 0.7, 0.2], [0.4, 0.3, 0.3]])
    found = {name: value.numpy().tolist() for name, value in classes_of(output, scores).items()}
    assert found["class"] == ["ü".encode(), b"a"]
    assert found["classes"] == [[b"a", "ü".encode(), b"c"]] * 2
    none = classes_of(output, tf.zeros([0, 3]))
    assert {name: value.shape.as_list() for name, value in none.items()} == {
        "class": [0],
        "classes": [0, 3],
        "scores": [0, 3],
    }


def test_only_predictions_change_and_the_model_never_sees_the_key() -> None:
    """And without a key, there is none in the export."""
    seen = []

    def model_fn(features: Any, labels: Any, mode: str, config: Any) -> tf.estimator.EstimatorSpec:
        seen.append(set(features))
        step = tf.compat.v1.train.get_or_create_global_step()
        return tf.estimator.EstimatorSpec(mode, {"y": features["x"]}, tf.constant(0.0), step.assign_add(1))

    output = Output("y", None, "classification", ("a", "b"), True, "class", "classes", "scores")
    wrapped = with_serving_outputs(Serving(ServingSpec({}, (output,)), {"y": "softmax"}))(model_fn)
    with tf.Graph().as_default():
        features = {"x": tf.zeros([1, 2]), KEY_FEATURE: tf.constant(["k"])}
        for mode in (tf.estimator.ModeKeys.TRAIN, tf.estimator.ModeKeys.EVAL):
            assert set(wrapped(features, None, mode, None).predictions) == {"y"}
        made = wrapped(features, None, tf.estimator.ModeKeys.PREDICT, None)
        assert set(made.predictions) == {"y", "scores"}
        [(name, exported)] = made.export_outputs.items()
        assert (name, set(exported.outputs)) == ("serving_default", {"y", "class", "classes", "scores", "key"})
        assert exported.outputs["y"] is features["x"]
        del features[KEY_FEATURE]
        [exported] = wrapped(features, None, tf.estimator.ModeKeys.PREDICT, None).export_outputs.values()
        assert set(exported.outputs) == {"y", "class", "classes", "scores"}
    assert seen == [{"x"}] * 4
