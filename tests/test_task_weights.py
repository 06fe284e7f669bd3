"""Weights of examples and classes through the door: the steps are those of the formulas, to the last of them."""

from __future__ import annotations

import pathlib
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.runner import Done, read_evaluations, read_json, run, weights, write_model

pytestmark = pytest.mark.xdist_group("task_weights")
STEPS, RATE = 20, 0.1
MODEL = """
    import keras


    def build_model(loss: str = "mse", activation: str = "linear"):
        model = keras.Sequential(
            [keras.layers.Dense(1, activation, input_shape=(2,), kernel_initializer="zeros", name="y")]
        )
        model.compile(keras.optimizers.SGD(0.1), loss, metrics=["mae"], weighted_metrics=["mae"])
        return model
"""
CLASSIFIER = ("--loss=binary_crossentropy", "--activation=sigmoid")
WITH_INPUT_FN = """

    import tensorflow as tf


    def input_fn(mode):
        names = ["a", "b", "y", "w"]
        columns = {name: [] for name in names}
        for line in open(f"{mode}.csv").read().splitlines()[1:]:
            for name, field in zip(names, line.split(",")):
                columns[name].append(float(field))
        rows = [[a, b] for a, b in zip(columns["a"], columns["b"])]
        return tf.data.Dataset.from_tensor_slices((rows, columns["y"], columns["w"])).batch(64)
"""


def write_rows(path: pathlib.Path, rows: int, seed: int, label: Callable[[float], Any]) -> np.ndarray:
    """Two features, a label that follows from them, and a weight; as numbers, [rows, 4], words by `str.__len__`."""
    source = random.Random(seed)
    lines, values = ["a,b,y,w"], []
    for _ in range(rows):
        a, b, w = source.gauss(0, 1), source.gauss(0, 1), source.choice([0, 0.5, 3])
        y = label(a + 2 * b)
        lines.append(f"{a!r},{b!r},{y},{w}")
        values.append([a, b, len(y) > 4 if isinstance(y, str) else y, w])
    path.write_text("\n".join(lines) + "\n")
    return np.array(values, "float64")


def project(folder: pathlib.Path, label: Callable[[float], Any], source: str = MODEL) -> tuple[np.ndarray, np.ndarray]:
    """A model with 40 examples, all of them in each step, and 23 for evaluation, in batches of 16 and 7."""
    write_model(folder / "model.py", source)
    return write_rows(folder / "train.csv", 40, 1, label), write_rows(folder / "eval.csv", 23, 2, label)


def job(folder: pathlib.Path, *more: str, steps: int = STEPS, files: bool = True) -> Done:
    named = ("--train-files=train.csv", "--eval-files=eval.csv", "--feature-map=y_input=a+b") if files else ()
    given = ("--model=model.py", "--batch-size=64", f"--train-steps={steps}", "--job-dir=job", "--exporters=none")
    return run(folder, [*given, *named, *more])


def descent(rows: np.ndarray, example_weights: np.ndarray, slope: Callable[[Any, Any], Any]) -> np.ndarray:
    """Gradient descent on the mean over the examples, as `fit` reduces a loss: it divides by them, not by weights."""
    inputs, labels = np.c_[rows[:, :2], np.ones(len(rows))], rows[:, 2]
    found = np.zeros(3)
    for _ in range(STEPS):
        found -= RATE * inputs.T @ (example_weights * slope(inputs @ found, labels)) / len(rows)
    return found


def squared(score: Any, label: Any) -> Any:
    """The slope of the squared error."""
    return 2 * (score - label)


def crossentropy(score: Any, label: Any) -> Any:
    """The slope of the crossentropy of a sigmoid."""
    return 1 / (1 + np.exp(-score)) - label


def parameters(folder: pathlib.Path, step: int = STEPS) -> np.ndarray:
    found = weights(folder / "job", step)
    return np.array([*found["y/kernel"].ravel(), *found["y/bias"]])


def commonly(score: float) -> str:
    """Text labels of which one is rare."""
    return "rarely" if score > 2.5 else "most"


@pytest.fixture(scope="module")
def weighted(tmp_path_factory: pytest.TempPathFactory) -> tuple[pathlib.Path, np.ndarray, np.ndarray]:
    folder = tmp_path_factory.mktemp("weighted")
    train, evaluation = project(folder, lambda score: score**2 / 5)
    job(folder, "--weight-column=w").ok()
    return folder, train, evaluation


def test_a_weight_column_weighs_each_step(weighted: tuple[pathlib.Path, np.ndarray, np.ndarray]) -> None:
    folder, train, _ = weighted
    want = descent(train, train[:, 3], squared)
    np.testing.assert_allclose(parameters(folder), want, atol=1e-6)
    assert abs(want - descent(train, np.ones(40), squared)).max() > 0.01


def test_an_evaluation_reports_metrics_with_and_without_weights(
    weighted: tuple[pathlib.Path, np.ndarray, np.ndarray],
) -> None:
    folder, _, rows = weighted
    found = read_evaluations(folder / "job")[STEPS]
    errors = abs(rows[:, :2] @ parameters(folder)[:2] + parameters(folder)[2] - rows[:, 2])
    assert found["mae"] == pytest.approx(errors.mean(), rel=1e-5)
    assert found["weighted_mae"] == pytest.approx((errors * rows[:, 3]).sum() / rows[:, 3].sum(), rel=1e-5)
    assert found["loss"] == pytest.approx((errors**2 * rows[:, 3]).mean(), rel=1e-5)


def test_another_weight_column_is_another_job(weighted: tuple[pathlib.Path, np.ndarray, np.ndarray]) -> None:
    folder = weighted[0]
    done = job(folder, steps=STEPS + 1)
    assert done.exit_code == 2
    assert "job holds a run of another job: " in done.sentences[-1]
    assert "the weight column is none where it was w" in done.sentences[-1]


def test_balanced_classes_and_their_resume(tmp_path: pathlib.Path) -> None:
    train, _ = project(tmp_path, commonly)
    done = job(tmp_path, "--class-weights=balanced", *CLASSIFIER).ok()
    rare = int(train[:, 2].sum())
    assert 0 < rare < 10
    balanced = {"most": 40 / (2 * (40 - rare)), "rarely": 40 / (2 * rare)}
    assert f"class weights: most {balanced['most']:.4g}, rarely {balanced['rarely']:.4g}" in done.err
    assert read_json(tmp_path / "job" / "manifest.json")["data"]["weights"]["classes"] == pytest.approx(balanced)
    of_example = np.where(train[:, 2] == 1, balanced["rarely"], balanced["most"])
    np.testing.assert_allclose(parameters(tmp_path), descent(train, of_example, crossentropy), atol=1e-6)

    refused = job(tmp_path, "--class-weights", "rarely=7", *CLASSIFIER, steps=STEPS + 1)
    assert refused.exit_code == 2
    assert f"class rarely weighs 7 where it was {balanced['rarely']:g}" in refused.sentences[-1]
    assert f"class most weighs 1 where it was {balanced['most']:g}" in refused.sentences[-1]
    same = [f"{name}={weight!r}" for name, weight in balanced.items()]
    job(tmp_path, "--class-weights", *same, *CLASSIFIER, steps=STEPS + 1).ok()
    assert len(parameters(tmp_path, STEPS + 1))


def test_named_classes_and_a_column_are_multiplied(tmp_path: pathlib.Path) -> None:
    train, _ = project(tmp_path, lambda score: int(score > 1))
    given = "--class-weights", "1=2.5", "--weight-column=w", "--strategy=one_device", "--cache=never"
    job(tmp_path, *given, *CLASSIFIER).ok()
    of_example = np.where(train[:, 2] == 1, 2.5, 1) * train[:, 3]
    np.testing.assert_allclose(parameters(tmp_path), descent(train, of_example, crossentropy), atol=1e-6)


def test_an_input_fn_may_yield_weights(tmp_path: pathlib.Path) -> None:
    train, rows = project(tmp_path, lambda score: int(score > 1), MODEL + WITH_INPUT_FN)
    job(tmp_path, "--class-weights", "0=0.5", *CLASSIFIER, files=False).ok()
    of_example = np.where(train[:, 2] == 0, 0.5, 1) * train[:, 3]
    np.testing.assert_allclose(parameters(tmp_path), descent(train, of_example, crossentropy), atol=1e-6)
    scores = rows[:, :2] @ parameters(tmp_path)[:2] + parameters(tmp_path)[2]
    errors = abs(1 / (1 + np.exp(-scores)) - rows[:, 2])
    found = read_evaluations(tmp_path / "job")[STEPS]
    assert found["weighted_mae"] == pytest.approx((errors * rows[:, 3]).sum() / rows[:, 3].sum(), rel=1e-5)
