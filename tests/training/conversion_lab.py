"""Run models of a case module under `fit` and as Estimators, and print what came out; tests start it as a process.

    python -m tests.training.conversion_lab MODULE CASE...

prints a JSON object a line for each case:
{name: {"findings": [[row, kind, sentence]], "names": predicted metric names, "fit", "plain", "ours": outcomes}}
where an outcome is {"error": text} or {"worst": largest difference of a weight from fit's, "evaluation": {...}}. The
plain recipe runs only where a case asks for it, the job's own conversion only where the case is not to be refused.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

import numpy as np
import tensorflow as tf

from tests.training.conversion_data import STEPS, Case, batches
from trainer.training.conversion import find_losses, watch_build
from trainer.training.converter import convert, fresh_session
from trainer.training.evaluation_metrics import evaluation_metric_names


def run_case(build: Callable[[], Case]) -> dict[str, Any]:
    """All outcomes of one case."""
    case, start, _ = start_case(build)
    case.model.fit(batches(case), verbose=0, shuffle=False)
    trained = [weight.numpy() for weight in variables(case.model)]
    evaluation = case.model.evaluate(batches(case), verbose=0, return_dict=True) if case.evaluated else {}
    found: dict[str, Any] = {"fit": {"worst": 0.0, "evaluation": evaluation}}
    if case.plain:
        found["plain"] = run_estimator(build, plain_recipe, start, trained)
    if case.ours:
        found["ours"] = run_estimator(build, convert, start, trained)
    case, _, notes = start_case(build)
    found["findings"] = [dataclasses.astuple(each) for each in find_losses(case.model, build_notes=notes)]
    found["names"] = evaluation_metric_names(case.model)
    return found


def start_case(build: Callable[[], Case]) -> tuple[Case, list[np.ndarray], list[str]]:
    """The case in a fresh session, its weights before the first step, and what the build logged."""
    fresh_session(3)
    with watch_build() as notes:
        case = build()
    random = np.random.RandomState(0)
    for weight in variables(case.model) if case.shaken else ():
        if weight.dtype.is_floating:
            weight.assign(weight.numpy() + np.abs(0.05 * random.randn(*weight.shape)))
    return case, [weight.numpy() for weight in variables(case.model)], notes


def run_estimator(
    build: Callable[[], Case], recipe: Callable[..., tf.estimator.Estimator], start: list[np.ndarray], want: list[Any]
) -> dict[str, Any]:
    """Train and evaluate the case as an Estimator; how far its weights are from the wanted ones."""
    case = start_case(build)[0]
    with tempfile.TemporaryDirectory() as folder:
        try:
            estimator = recipe(case.model, folder, tf.estimator.RunConfig(tf_random_seed=1))
            estimator.train(lambda: batches(case, estimator=True), steps=STEPS)
            evaluation = estimator.evaluate(lambda: batches(case, estimator=True)) if case.evaluated else {}
        except Exception as error:  # an outcome like any other: some cases are there to fail
            return {"error": f"{type(error).__name__}: {error}"}
        assert evaluation.pop("global_step", STEPS) == STEPS
        have = trained_weights(estimator, folder, case.model, start)
    worst = max((distance(one, other) for one, other in zip(have, want, strict=True)), default=0.0)
    return {"worst": worst, "evaluation": {key: float(value) for key, value in evaluation.items()}}


def trained_weights(
    estimator: tf.estimator.Estimator, folder: str, model: tf.keras.Model, start: list[np.ndarray]
) -> list[np.ndarray]:
    """The Estimator's weights in the model's order.

    A layer inside a layer may be called otherwise in the graph: a weight is found by its name, or else by its first
    value, which shaking has made unique.
    """
    names = estimator.get_variable_names()
    first = tf.train.load_checkpoint(f"{folder}/keras/keras_model.ckpt") if os.path.isdir(f"{folder}/keras") else None
    shapes = first.get_variable_to_shape_map() if first else {}
    found = []
    for name, value in zip([each.name[:-2] for each in variables(model)], start, strict=True):
        same = [key for key in shapes if shapes[key] == [*value.shape] and np.array_equal(first.get_tensor(key), value)]
        known = name if name in same or not same else same[0]
        found.append(estimator.get_variable_value(known if known in names else same[0]))
    return found


def distance(one: np.ndarray, other: np.ndarray) -> float:
    """Largest difference, 0 for arrays without elements; infinite for other shapes and for NaN."""
    if np.shape(one) != np.shape(other):
        return float("inf")
    difference = np.abs(np.asarray(one, "float64") - np.asarray(other, "float64"))
    return float(np.nan_to_num(difference, nan=np.inf).max(initial=0.0))


def plain_recipe(model: tf.keras.Model, folder: str, config: tf.estimator.RunConfig) -> tf.estimator.Estimator:
    """What everybody writes, but with named checkpoints so that weights can be read."""
    return tf.keras.estimator.model_to_estimator(model, model_dir=folder, config=config, checkpoint_format="saver")


def variables(model: tf.keras.Model) -> list[tf.Variable]:
    """Weights that are variables, other than lookup tables."""
    return [weight for weight in model.weights if isinstance(weight, tf.Variable)]


def main(module_name: str, names: list[str]) -> Iterator[str]:
    """JSON lines."""
    cases = importlib.import_module(f"tests.training.{module_name}").CASES
    for name in names:
        try:
            found = run_case(cases[name])
        except Exception:  # one case's trouble is not the others'
            found = {"crash": traceback.format_exc()}
        yield json.dumps({name: found})


if __name__ == "__main__":
    for line in main(sys.argv[1], sys.argv[2:]):
        print(line, flush=True)
