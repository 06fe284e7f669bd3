"""Every spelling of Keras in a user's file means tf.keras, and the process's own imports never notice."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import tensorflow as tf

from trainer.job.errors import ModelError
from trainer.job.signature import read_signature
from trainer.training.models import build_model, load_module

FILES = Path(__file__).parent / "model_files"
ROOT = Path(__file__).parents[2]
KERAS = tf.keras  # loaded here, so that what the tests see in sys.modules is not its first loading


def load(path: Path, text: str) -> ModuleType:
    path.write_text(text + "\ndef build_model(): ...\n", encoding="utf-8")
    return load_module(read_signature(str(path)))


SPELLINGS = [
    ("import keras", "keras.Model", "Model"),
    ("import keras as k", "k.layers.Dense", "layers.Dense"),
    ("from keras import layers", "layers.Dense", "layers.Dense"),
    ("import keras.backend as K", "K.square", "backend.square"),
    ("import keras.layers", "keras.layers.GRU", "layers.GRU"),
    ("from keras.layers import *", "Dense", "layers.Dense"),
    ("from keras import *", "models.Sequential", "Sequential"),
    ("import keras", "keras.layers.core.Dense", "layers.Dense"),
    ("import keras", "keras.layers.normalization.BatchNormalization", "layers.BatchNormalization"),
    ("import keras.layers.normalization as n", "n.BatchNormalization", "layers.BatchNormalization"),
    ("import keras", "keras.utils.np_utils.to_categorical", "utils.to_categorical"),
    ("from keras.utils import to_categorical", "to_categorical", "utils.to_categorical"),
    ("from keras.layers.core.dense import Dense", "Dense", "layers.Dense"),
    ("from keras.layers.rnn.lstm import LSTM", "LSTM", "layers.LSTM"),
    ("from keras.layers.pooling import MaxPooling2D", "MaxPooling2D", "layers.MaxPooling2D"),
    ("from keras.layers.merge import add", "add", "layers.add"),
    ("from keras.layers.experimental.preprocessing import Rescaling", "Rescaling", "layers.Rescaling"),
    ("from keras.optimizers.adam import Adam", "Adam", "optimizers.Adam"),
    ("from keras.optimizers import gradient_descent_v2", "gradient_descent_v2.SGD", "optimizers.SGD"),
    ("from keras.optimizers.schedules import ExponentialDecay as E", "E", "optimizers.schedules.ExponentialDecay"),
    ("from keras.engine.topology import Layer", "Layer", "layers.Layer"),
    ("from keras.engine.training import Model", "Model", "Model"),
    ("from keras.engine import InputSpec", "InputSpec", "layers.InputSpec"),
    ("from keras.engine.topology import get_source_inputs as g", "g", "utils.get_source_inputs"),
    ("from keras.preprocessing.sequence import pad_sequences as p", "p", "preprocessing.sequence.pad_sequences"),
    ("from keras.preprocessing.text import Tokenizer", "Tokenizer", "preprocessing.text.Tokenizer"),
    ("from keras.preprocessing.image import ImageDataGenerator as I", "I", "preprocessing.image.ImageDataGenerator"),
    ("from keras.utils.generic_utils import get_custom_objects as g", "g", "utils.get_custom_objects"),
    ("from keras.applications.vgg16 import VGG16", "VGG16", "applications.VGG16"),
    ("from keras.datasets import mnist", "mnist.load_data", "datasets.mnist.load_data"),
    ("from keras.src.layers import Dense", "Dense", "layers.Dense"),
    ("from keras.api._v2.keras.layers import Dense", "Dense", "layers.Dense"),
    ("from tensorflow import keras", "keras.layers.Dense", "layers.Dense"),
    ("from tensorflow.keras.layers import Dense", "Dense", "layers.Dense"),
    ("import tensorflow.keras.backend as K", "K.square", "backend.square"),
    ("import tensorflow as tf", "tf.keras.Sequential", "Sequential"),
    ("from tensorflow.python.keras.layers import LSTM", "LSTM", "layers.LSTM"),
    ("from tensorflow.python.keras.models import Sequential", "Sequential", "Sequential"),
    ("from tensorflow.python import keras", "keras.Model", "Model"),
    ("import tensorflow.python.keras as k", "k.Model", "Model"),
    ("import tensorflow.python.keras", "tensorflow.python.keras.Model", "Model"),
    ("import tensorflow.python.keras", "tensorflow.keras.Model", "Model"),
    ("from tensorflow.python.keras.optimizer_v2.adam import Adam", "Adam", "optimizers.Adam"),
    ("from tensorflow.python.keras.engine.base_layer import Layer", "Layer", "layers.Layer"),
    ("if True:\n    try:\n        import keras\n    except ImportError:\n        raise", "keras.Model", "Model"),
    ("class Holder:\n    from keras import layers", "Holder.layers.Dense", "layers.Dense"),
]


@pytest.mark.parametrize(("statement", "expression", "public"), SPELLINGS, ids=[f"{a}; {b}" for a, b, _ in SPELLINGS])
def test_a_spelling_means_the_object_of_tf_keras(tmp_path: Path, statement: str, expression: str, public: str) -> None:
    module = load(tmp_path / "m.py", f"{statement}\nfound = {expression}")
    expected: object = tf.keras
    for part in public.split("."):
        expected = getattr(expected, part)
    assert module.found is expected


MISSING = [
    ("from keras.wrappers.scikit_learn import KerasClassifier", "keras.wrappers.scikit_learn"),
    ("import keras.contrib", "keras.contrib"),
    ("from keras.layers import Merge", "'Merge'"),
    ("from keras.utils import multi_gpu_model", "'multi_gpu_model'"),
    ("import keras\nkeras.layers.Nonsense", "'Nonsense'"),
    ("from tensorflow.python.keras.layers import Nonsense", "'Nonsense'"),
    ("from tensorflow.contrib import keras", "tensorflow.contrib"),
]


@pytest.mark.parametrize(("text", "named"), MISSING, ids=[text for text, _ in MISSING])
def test_what_tf_keras_does_not_have_is_named_with_its_line(tmp_path: Path, text: str, named: str) -> None:
    path = tmp_path / "m.py"
    with pytest.raises(ModelError, match=r"m\.py:\d: .*") as caught:
        load(path, text)
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize("name", ["old_keras.py", "private_keras.py", "prototype.py"])
def test_a_sample_file_builds_a_trainable_tf_keras_model(name: str) -> None:
    signature = read_signature(str(FILES / name))
    model = build_model(load_module(signature), signature, {}, {})
    assert isinstance(model, tf.keras.Model)
    shape = [2, *model.inputs[0].shape[1:]]
    losses = model.train_on_batch(tf.zeros(shape), tf.zeros([2, 1]))
    assert tf.math.is_finite(tf.reduce_sum(losses))


def test_a_lambda_layer_keeps_its_names_when_keras_clones_the_model() -> None:
    signature = read_signature(str(FILES / "private_keras.py"))
    model = build_model(load_module(signature), signature, {}, {})
    clone = tf.keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    batch = tf.random.stateless_uniform([5, 2, 3], seed=[1, 2])
    tf.debugging.assert_near(model(batch), clone(batch))


def test_an_import_in_a_function_that_runs_much_later_means_tf_keras_too(tmp_path: Path) -> None:
    module = load(
        tmp_path / "m.py", "def later():\n    from tensorflow.python.keras.layers import Dense\n    return Dense"
    )
    assert module.later() is tf.keras.layers.Dense


def test_autograph_converts_a_layer_of_the_file(tmp_path: Path) -> None:
    """It needs the source on disk to agree with the code, and goes through the module's globals."""
    text = """
from tensorflow.python import keras
model_did_fit = keras.Sequential([keras.layers.Dense(1, input_shape=(1,))]).predict([[1]])
class Gate(keras.layers.Layer):
    def call(self, inputs):
        from keras.backend import sum as total
        if total(inputs) > 0:
            return inputs * 2
        return inputs * 0
"""
    module = load(tmp_path / "m.py", text)
    assert not hasattr(module, "model_did_fit")
    gate = module.Gate()
    assert [tf.function(gate)(tf.constant([x])).numpy().tolist() for x in (3.0, -3.0)] == [[6.0], [0.0]]


def test_it_is_said_once_a_file_and_only_where_something_was_redirected(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "trainer")
    (tmp_path / "helper.py").write_text("import keras\nfrom keras import layers\n")
    load(tmp_path / "one.py", "import keras\nfrom keras.layers import Dense\nimport helper")
    assert [record.getMessage().split(": ")[1] for record in caplog.records] == [
        f"keras means tf.keras of TensorFlow {tf.__version__} here."
    ]
    caplog.clear()
    load(tmp_path / "two.py", "from tensorflow.keras.layers import Dense\nimport tensorflow as tf")
    assert caplog.records == []


CHILD = """
import json, sys
import tensorflow as tf
tf.keras.Model
def own():
    return {name: id(module) for name, module in sys.modules.items()
            if name.split(".")[0] == "keras" or name.startswith("tensorflow.python.keras")}
from trainer.job.signature import read_signature
from trainer.training.models import build_model, load_module
seen = []
for path in sys.argv[1:]:
    before, finders = own(), list(sys.meta_path)
    signature = read_signature(path)
    try:
        build_model(load_module(signature), signature, {}, {})
    except Exception as error:
        seen.append(type(error).__name__)
    after = own()
    seen.append([name for name in before if after.get(name) != before[name]])
    seen.append([name for name in after if name not in before and not name.startswith("keras.src.")])
    seen.append(finders == sys.meta_path)
import keras
import tensorflow.python.keras.layers as private
seen.append([keras.__name__, hasattr(keras, "np_utils"), private.Dense is tf.keras.layers.Dense])
print(json.dumps(seen))
"""


def test_nothing_is_left_behind_in_the_imports_of_the_process(tmp_path: Path) -> None:
    fails = tmp_path / "fails.py"
    fails.write_text("import keras\nfrom tensorflow.python.keras.layers import Dense\ndef build_model():\n    1 / 0\n")
    files = [str(FILES / "old_keras.py"), str(FILES / "private_keras.py"), str(fails)]
    done = subprocess.run(
        [sys.executable, "-c", CHILD, *files], cwd=ROOT, capture_output=True, text=True, timeout=120, check=True
    )
    clean = [[], [], True]
    expected = [*clean, *clean, "ModelError", *clean, ["keras", False, False]]
    assert json.loads(done.stdout.splitlines()[-1]) == expected
