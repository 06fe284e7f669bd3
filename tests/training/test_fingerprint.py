"""A model's description: JSON-able, the same for the same model wherever it is built, and different in words."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from trainer.training.converter import fresh_session
from trainer.training.fingerprint import describe_model, difference

# Keras draws seeds with random.randint(1, 1e9) once set_random_seed was called.
pytestmark = pytest.mark.filterwarnings("ignore:non-integer arguments to randrange:DeprecationWarning")

keras, layers = tf.keras, tf.keras.layers
optimizers, schedules = keras.optimizers, keras.optimizers.schedules
ROOT = Path(__file__).parents[2]


def build(
    *extra: Any, units: int = 4, optimizer: Any = "adam", loss: Any = "mse", metrics: Any = ("mae",)
) -> tf.keras.Model:
    embedding = layers.Embedding(20, 3, input_length=5, name="letters")
    model = keras.Sequential([embedding, layers.LSTM(units), *extra, layers.Dense(1)])
    model.compile(optimizer, loss, metrics=list(metrics))
    return model


def described(build_model: Callable[[], tf.keras.Model], seed: int = 1) -> dict[str, Any]:
    """As it comes back from a job's manifest."""
    fresh_session(seed)
    found: dict[str, Any] = json.loads(json.dumps(describe_model(build_model())))
    return found


def doubled(x: Any) -> Any:
    return x * 2


def tripled(x: Any) -> Any:
    return x * 3


tripled.__name__ = "doubled"


def times(factor: float) -> Any:
    return lambda x: x * factor


def two_towers(crossed: bool) -> tf.keras.Model:
    one, two = keras.Input((2,), name="one"), keras.Input((2,), name="two")
    a, b = layers.Dense(3, name="a"), layers.Dense(3, name="b")
    hidden = [a(two), b(one)] if crossed else [a(one), b(two)]
    model = keras.Model([one, two], layers.Dense(1, name="head")(layers.concatenate(hidden)))
    model.compile("sgd", "mse")
    return model


def sgd(rate: Any = 0.01, **more: Any) -> Callable[[], tf.keras.Model]:
    return lambda: build(optimizer=optimizers.SGD(rate, **more))


DIFFERENCES = {
    "units": (build, lambda: build(units=8), "the layer lstm's units was 4 and is now 8"),
    "new layer": (build, lambda: build(layers.Dense(3)), "the layer dense_1 is new"),
    "lost layer": (lambda: build(layers.Dropout(0.5)), build, "the layer dropout is gone"),
    "dropout": (
        lambda: build(layers.Dropout(0.5)),
        lambda: build(layers.Dropout(0.3)),
        "the layer dropout's rate was 0.5 and is now 0.3",
    ),
    "class": (
        lambda: build(layers.Dense(3, name="x")),
        lambda: build(layers.Dropout(0.3, name="x")),
        "the layer x was of class Dense and is now of class Dropout",
    ),
    "optimizer": (build, sgd(), "the optimizer's class was Adam and is now SGD"),
    "rate": (sgd(0.001), sgd(0.01), "the optimizer's learning_rate was 0.001 and is now 0.01"),
    "momentum": (sgd(), sgd(momentum=0.9), "the optimizer's momentum was 0.0 and is now 0.9"),
    "schedule": (
        sgd(schedules.ExponentialDecay(0.1, 10, 0.5)),
        sgd(schedules.ExponentialDecay(0.1, 20, 0.5)),
        "the optimizer's learning_rate config decay_steps was 10 and is now 20",
    ),
    "loss": (build, lambda: build(loss="mae"), "the model's loss was mse and is now mae"),
    "loss's argument": (
        lambda: build(loss=keras.losses.BinaryCrossentropy()),
        lambda: build(loss=keras.losses.BinaryCrossentropy(label_smoothing=0.1)),
        "the model's loss label_smoothing was 0.0 and is now 0.1",
    ),
    "metrics": (build, lambda: build(metrics=["mse"]), 'the model\'s metrics was ["mae"] and is now ["mse"]'),
    "lambda": (
        lambda: build(layers.Lambda(lambda x: x * 2)),
        lambda: build(layers.Lambda(lambda x: x * 3)),
        "the layer lambda's functions function was",
    ),
    "value from around": (
        lambda: build(layers.Lambda(times(2.0))),
        lambda: build(layers.Lambda(times(3.0))),
        "the layer lambda's functions function was",
    ),
    "activation": (
        lambda: build(layers.Activation(doubled)),
        lambda: build(layers.Activation(tripled)),
        "the layer activation's functions activation was",
    ),
    "connections": (lambda: two_towers(False), lambda: two_towers(True), "the layers are connected differently"),
    "inner layer": (
        lambda: build(keras.Sequential([layers.Dense(3, name="inside", input_shape=(4,))])),
        lambda: build(keras.Sequential([layers.Dense(5, name="inside", input_shape=(4,))])),
        "the layer sequential/inside's units was 3 and is now 5",
    ),
    "vocabulary": (
        lambda: build_lookup(["a", "b"]),
        lambda: build_lookup(["a", "c"]),
        'the layer string_lookup\'s vocabulary was ["a", "b"] and is now ["a", "c"]',
    ),
    "long vocabulary": (
        lambda: build_lookup([f"w{number}" for number in range(100)]),
        lambda: build_lookup([f"w{number}" for number in range(1, 101)]),
        "the layer string_lookup's vocabulary was 100 items, sha256:",
    ),
}


def build_lookup(vocabulary: list[str] | str) -> tf.keras.Model:
    parts = keras.Input((1,), dtype="string"), layers.StringLookup(vocabulary=vocabulary), layers.Embedding(200, 2)
    model = keras.Sequential([*parts, layers.Flatten(), layers.Dense(1)])
    model.compile("sgd", "mse")
    return model


@pytest.mark.parametrize(("old", "new", "sentence"), DIFFERENCES.values(), ids=DIFFERENCES)
def test_a_change_is_told_in_words(
    old: Callable[[], tf.keras.Model], new: Callable[[], tf.keras.Model], sentence: str
) -> None:
    before, after = described(old), described(new)
    assert difference(before, described(old)) == []
    found = difference(before, after)
    assert [each for each in found if each.startswith(sentence)], found
    assert all(len(each) < 400 and "\n" not in each for each in found)
    assert difference(after, before)


def build_lookup_of_file(path: Path) -> tf.keras.Model:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("a\nb\n")
    return build_lookup(str(path))


def test_the_folder_of_a_vocabulary_is_no_part_of_the_model(tmp_path: Path) -> None:
    one, moved, other, outside = (
        described(lambda path=tmp_path / name: build_lookup_of_file(path))
        for name in ("a/assets/words.txt", "b c/assets/words.txt", "a/assets/others.txt", "a/words.txt")
    )
    assert difference(one, moved) == []
    [sentence] = difference(one, other)
    assert sentence == ("the layer string_lookup's vocabulary was assets/words.txt and is now assets/others.txt")
    [sentence] = difference(one, outside)
    assert sentence.endswith(f"and is now {tmp_path}/a/words.txt"), "what is no asset is not compared elsewhere"


def test_one_change_is_one_sentence() -> None:
    assert difference(described(build), described(lambda: build(units=8))) == [DIFFERENCES["units"][2]]
    assert difference(described(sgd(0.001)), described(sgd(0.01))) == [DIFFERENCES["rate"][2]]


def test_other_initial_weights_are_told_once() -> None:
    found = difference(described(build, seed=1), described(build, seed=2))
    assert len(found) == 1
    assert found[0].startswith("the model's initial weights differ (letters/embeddings: mean ")


def test_the_rounding_of_another_processor_is_no_difference() -> None:
    here = described(build)
    there = json.loads(json.dumps(here))
    for values in there["weights"].values():
        values[:] = [value * (1 + 1e-5) + 1e-7 for value in values]
    assert difference(here, there) == []


def test_weights_loaded_from_elsewhere_differ() -> None:
    def pretrained() -> tf.keras.Model:
        model = build()
        model.layers[0].set_weights([np.full((20, 3), 0.5)])
        return model

    assert "letters/embeddings" in difference(described(build), described(pretrained))[0]


FILE = """
import json, sys
{blank}
import tensorflow as tf
from trainer.training.converter import fresh_session
from trainer.training.fingerprint import describe_model
class Own(tf.keras.layers.Layer):
    def __init__(self, factor=2.0, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor
    def call(self, x):
        return x * self.factor
    def get_config(self):
        return {{**super().get_config(), "factor": self.factor}}
tf.keras.layers.Dense(3)
fresh_session(1)
inner = tf.keras.Sequential([tf.keras.layers.Dense(3, input_shape=(6,)), Own()])
parts = inner, tf.keras.layers.Lambda(lambda x: tf.map_fn(lambda y: y * 2, x)), tf.keras.layers.Dense(1)
model = tf.keras.Sequential(parts)
model.compile(tf.keras.optimizers.Adam(), lambda t, p: (t - p) ** 2, metrics=["mae"])
print(json.dumps(describe_model(model)))
"""


def test_the_same_model_in_another_file_and_process_is_the_same(tmp_path: Path) -> None:
    descriptions = []
    for name, blank in (("one.py", ""), ("a 'second' one.py", "\n\nunused = 1\n")):
        path = tmp_path / name
        path.write_text(FILE.format(blank=blank), encoding="utf-8")
        done = subprocess.run(
            [sys.executable, str(path)], capture_output=True, text=True, timeout=120, cwd=ROOT, env=environment()
        )
        assert done.returncode == 0, done.stderr[-2000:]
        descriptions.append(json.loads(done.stdout))
    one, two = descriptions
    assert one == two, [key for key in one["layers"] if one["layers"][key] != two["layers"][key]]
    assert one["layers"]["sequential/own"]["config"]["factor"] == 2.0
    assert difference(one, two) == []


def environment() -> dict[str, str]:

    return {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
