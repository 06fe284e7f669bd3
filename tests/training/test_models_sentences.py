"""A module that does not load, or builds what cannot be trained: one sentence, with the file and line that matters."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from trainer.job.errors import ModelError
from trainer.job.signature import ModelSignature, read_signature
from trainer.training.models import build_model, load_module

GOOD = """
import tensorflow as tf
def build_model(units: int = 2):
    model = tf.keras.Sequential([tf.keras.layers.Dense(units, input_shape=(3,), name="row")])
    model.compile("sgd", "mse")
    return model
"""


def write(path: Path, text: str) -> ModelSignature:
    path.write_text(text, encoding="utf-8")
    return read_signature(str(path))


def one_sentence(error: ModelError) -> bool:
    text = str(error)
    return "\n" not in text and text.endswith(".") and not text.endswith("..") and len(text) < 600


LOADS = {
    "a missing package": (
        "import os\nimport no_such_thing.deep",
        r"m\.py:2: .*'no_such_thing'.*no_such_thing is neither installed",
    ),
    "a missing name": (
        "\nfrom os import nothing_like_it",
        r"m\.py:2: importing raised ImportError: cannot import name 'noth",
    ),
    "an exception": ("def f():\n    {}['key']\nf()", r"m\.py:2: the model module raised KeyError: 'key'; mend it"),
    "an exception without words": ("raise ValueError", r"m\.py:1: the model module raised ValueError; mend it"),
    "an exception of many lines": ("raise ValueError('a\\n\\n  b.')", r"raised ValueError: a b; mend it"),
    "in a library": ("import json\n\njson.loads('{')", r"m\.py:3: the model module raised JSONDecodeError"),
    "exit": (
        "import sys\nsys.exit(3)",
        r"m\.py:2: the file ends the process while it loads \(SystemExit: 3\); put it below",
    ),
    "its own arguments": (
        "import argparse\np = argparse.ArgumentParser()\np.add_argument('data')\np.parse_args()",
        r"m\.py:4: the file ends the process while it loads",
    ),
    "a relative import": ("from . import other", r"m\.py:1: .*; name the module as --model=package\.module"),
    "an assertion of the compiler": ("return 1", r"m\.py:1: not valid Python 3\.\d+: 'return' outside function"),
    "recursion": ("def f():\n    f()\nf()", r"m\.py:2: the model module raised RecursionError"),
}


@pytest.mark.parametrize("case", LOADS)
def test_a_module_that_does_not_load_gets_one_sentence(tmp_path: Path, case: str) -> None:
    text, sentence = LOADS[case]
    signature = write(tmp_path / "m.py", text + "\ndef build_model(): ...\n")
    with pytest.raises(ModelError, match=sentence) as caught:
        load_module(signature)
    assert one_sentence(caught.value)
    assert [name for name, module in sys.modules.items() if getattr(module, "__file__", "") == signature.path] == []


@pytest.mark.parametrize(
    ("text", "sentence"), [("x = (", r"beside\.py:1: not valid Python"), ("\n1 / 0", r"beside\.py:2: the")]
)
def test_an_error_in_a_neighbour_names_the_neighbour(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "beside.py").write_text(text)
    with pytest.raises(ModelError, match=sentence):
        load_module(write(tmp_path / "m.py", "import beside\ndef build_model(): ..."))


LAYER = "tf.keras.layers.Dense(1, input_shape=(3,))"
BUILDS = {
    "nothing": ("pass", r"m\.py:3: build_model returned None; end it with `return model`"),
    "a tuple": (
        f"m = tf.keras.Sequential([{LAYER}]); return m, 1",
        r"m\.py:3: .* returned a tuple of 2 items; return the comp",
    ),
    "a history": (
        "return tf.keras.callbacks.History()",
        r"returned an object of type History; return a compiled tf\.keras",
    ),
    "a layer": (f"return {LAYER}", r"returned a layer; return a compiled"),
    "a class": ("return tf.keras.Sequential", r"returned the class Sequential; return an instance, compiled"),
    "an estimator": (
        "return tf.estimator.LinearRegressor([tf.feature_column.numeric_column('a')], model_dir='unused')",
        r"returned an Estimator; return the compiled Keras model, the job converts it",
    ),
    "TensorFlow's private copy": (
        "import importlib; return importlib.import_module('tensorflow.python.keras.models').Sequential()",
        r"returned a model of TensorFlow's private old Keras; import keras or tf\.keras",
    ),
    # Keras 3 cannot be installed beside TensorFlow 2.15: this has only its layout of modules.
    "Keras 3": (
        "return type('Sequential', (type('Model', (), {'__module__': 'keras.src.models.model'}),), "
        "{'__module__': 'keras.src.models.sequential'})()",
        r"returned a model of a Keras that is not TensorFlow's own \(Keras 3\?\); make it with tf\.keras",
    ),
    "not compiled": (
        f"return tf.keras.Sequential([{LAYER}])",
        r"m\.py:3: build_model returned a model that was not compiled; call",
    ),
    "no loss": (
        f"m = tf.keras.Sequential([{LAYER}]); m.compile('sgd'); return m",
        r"returned a model compiled without a loss",
    ),
    "no inputs": (
        "m = tf.keras.Sequential([tf.keras.layers.Dense(1)]); m.compile('sgd', 'mse'); return m",
        r"returned a Sequential model without inputs; give its first layer input_shape=, or begin with an Input",
    ),
    "subclassed": (
        "M = type('Mine', (tf.keras.Model,), {}); m = M(); m.compile('sgd', 'mse'); return m",
        r"returned a subclassed model \(Mine\) without named inputs; make it functional",
    ),
    "raises": ("\n    raise KeyError('units')", r"m\.py:4: build_model raised KeyError: 'units'\.$"),
    "raises in Keras": (
        "\n    return tf.keras.Sequential([tf.keras.layers.LSTM(1, input_shape=(3,))])",
        r"m\.py:4: build_model raised ValueError: Input 0 of layer \S+ is incompatible with the layer",
    ),
    "imports what is missing": (
        "\n    import no_such_thing",
        r"m\.py:4: No module named 'no_such_thing'; the package no_such",
    ),
    "exits": ("raise SystemExit(1)", r"m\.py:3: build_model raised SystemExit: 1"),
}


@pytest.mark.parametrize("case", BUILDS)
def test_a_result_that_cannot_be_trained_gets_one_sentence(tmp_path: Path, case: str) -> None:
    body, sentence = BUILDS[case]
    signature = write(tmp_path / "m.py", f"import tensorflow as tf\n\ndef build_model(): {body}\n")
    module = load_module(signature)
    with pytest.raises(ModelError, match=sentence) as caught:
        build_model(module, signature, {}, {})
    assert one_sentence(caught.value)


def test_a_required_parameter_that_was_not_given_names_the_function(tmp_path: Path) -> None:
    signature = write(tmp_path / "m.py", "\n" + GOOD.replace("units: int = 2", "units: int"))
    with pytest.raises(ModelError, match=r"m\.py:\d: build_model raised TypeError: .*'units'"):
        build_model(load_module(signature), signature, {}, {})


def test_a_function_that_is_gone_once_the_file_has_run(tmp_path: Path) -> None:
    signature = write(tmp_path / "m.py", GOOD + "del build_model\n")
    with pytest.raises(ModelError, match=r"m\.py: there is no function build_model .* wrap .* `def build_model\(\):`"):
        build_model(load_module(signature), signature, {}, {})
