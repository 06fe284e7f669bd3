"""Run probes, functions that check something with a folder to themselves, in this process; tests start it as one.

    python -m tests.training.probe_lab MODULE PROBE...

prints {"name": null, or the traceback} a line. What probes share is here too.
"""

from __future__ import annotations

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

from tests.training import conversion_data as lab
from trainer.training.converter import fresh_session

keras, layers = tf.keras, tf.keras.layers
Probe = Callable[[str], None]


def collector() -> tuple[dict[str, Probe], Callable[[Probe], Probe]]:
    """A module's probes by name, and the decorator that adds one."""
    probes: dict[str, Probe] = {}

    def probe(function: Probe) -> Probe:
        probes[function.__name__] = function
        return function

    return probes, probe


def build(units: int = 3, optimizer: Any = None, seed: int = 1) -> tf.keras.Model:
    """A model with statistics and layers that Keras names."""
    fresh_session(seed)
    parts = layers.Dense(units, input_shape=(6,)), layers.BatchNormalization(), lab.Scaled(2), layers.Dense(1)
    return lab.sequential(*parts, optimizer=optimizer or keras.optimizers.AdamW(0.01), metrics=["mae"])


def data(skip: int = 0) -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices((lab.ROWS, lab.TARGETS)).batch(8).skip(skip)


def sequences() -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices((lab.SEQUENCES, lab.TARGETS)).batch(8, drop_remainder=True)


def run_config(**more: Any) -> tf.estimator.RunConfig:
    return tf.estimator.RunConfig(tf_random_seed=1, **more)


def one_device() -> tf.estimator.RunConfig:
    return run_config(train_distribute=tf.distribute.OneDeviceStrategy("/cpu:0"))


def weights(estimator: tf.estimator.Estimator) -> dict[str, Any]:
    """All variables but the optimizer's and the step."""
    names = [n for n in estimator.get_variable_names() if "training/" not in n and n != "global_step"]
    return {name: estimator.get_variable_value(name) for name in names}


def assert_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        np.testing.assert_allclose(value, other[name], rtol=0, atol=1e-6, err_msg=name)


def predictions_under(estimator: tf.estimator.Estimator, input_fn: Callable[[], tf.data.Dataset]) -> list[str]:
    """Names of the predictions when the model function runs under the strategy."""
    with tf.Graph().as_default(), tf.distribute.OneDeviceStrategy("/cpu:0").scope():
        features = tf.compat.v1.data.make_one_shot_iterator(input_fn()).get_next()
        spec = estimator.model_fn(features, None, tf.estimator.ModeKeys.PREDICT, estimator.config)
        return sorted(spec.predictions)


def listed(labels: tuple[Any, ...]) -> tuple[Any, list[Any]]:
    """Tensors, as an input function may return them too."""
    features, label = tf.compat.v1.data.make_one_shot_iterator(batched(labels[0])).get_next()
    return features, [label]


def batched(labels: Any) -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices((lab.ROWS, labels)).batch(8)


def main(module: str, names: list[str]) -> Iterator[str]:
    """JSON lines."""
    probes = importlib.import_module(f"tests.training.{module}").PROBES
    for name in names:
        outcome = None
        with tempfile.TemporaryDirectory() as folder:
            try:
                probes[name](folder)
            except BaseException:  # reported by the test of this name; pytest.fail is none of Exception
                outcome = traceback.format_exc()
        yield json.dumps({name: outcome})


if __name__ == "__main__":
    for line in main(sys.argv[1], sys.argv[2:]):
        print(line, flush=True)
