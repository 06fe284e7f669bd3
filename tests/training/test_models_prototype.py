"""What a prototype trains, evaluates, predicts or saves does not run inside a job; everything else does."""

from __future__ import annotations

import logging
import math
import os
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path
from types import ModuleType

import pytest
import tensorflow as tf

from trainer.job.errors import ModelError
from trainer.job.signature import read_signature
from trainer.training.models import build_model, load_module

FILES = Path(__file__).parent / "model_files"
ROOT = Path(__file__).parents[2]
HEAD = """
import keras, numpy as np
x, y = np.ones((8, 2)), np.ones((8, 1))
def build_model():
    model = keras.Sequential([keras.layers.Dense(1, input_shape=(2,), name="pair")])
    model.compile("sgd", "mse", metrics=["mae"])
    return model
model = build_model()
"""  # nine lines: what a case adds begins on line 9
FIRST = HEAD.count("\n") + 1


def load(folder: Path, text: str) -> ModuleType:
    path = folder / "script.py"
    path.write_text(HEAD + textwrap.dedent(text), encoding="utf-8")
    return load_module(read_signature(str(path)))


# What follows the model's definition, and names which must be set after the load, and which must not.
CASES = {
    "fit and its history": (
        "history = model.fit(x, y)\nlosses = history.history['loss']\nz = 1",
        ["z"],
        ["history", "losses"],
    ),
    "fit as an expression": ("model.fit(x, y)\nz = 1", ["z"], []),
    "old generator methods": (
        "model.fit_generator(x)\nmodel.evaluate_generator(x)\nmodel.predict_generator(x)\nz = 1",
        ["z"],
        [],
    ),
    "evaluate unpacked": ("loss, mae = model.evaluate(x, y)\nprint('loss', loss)\nz = 1", ["z"], ["loss", "mae"]),
    "predict inside calls": (
        "best = np.argmax(model.predict(x), axis=1)\nright = (best == 1).mean()",
        [],
        ["best", "right"],
    ),
    "chained": ("a = b = model.predict(x)[0]\nc = f'{a:.2f}'", [], ["a", "b", "c"]),
    "a loop": ("for n in range(3):\n    h = model.fit(x, y)\n    z = n\nw = 1", ["n", "w"], ["h", "z"]),
    "a function called below": (
        "def main():\n    model.fit(x, y)\n    return 1\nz = main()\nw = 2",
        ["main", "w"],
        ["z"],
    ),
    "a global read in a function": (
        "h = model.fit(x, y)\ndef show():\n    return h.history\nshow()\nz = 1",
        ["show", "z"],
        ["h"],
    ),
    "a user's try": ("try:\n    h = model.fit(x, y)\nexcept Exception:\n    h = None\nz = 1", ["z"], ["h"]),
    "a with block": (
        "import tensorflow as tf\nwith tf.device('/cpu:0'):\n    m = build_model()\n    m.fit(x, y)\nz = m",
        ["m", "z"],
        [],
    ),
    "set again later": ("n = model.predict(x)\nn = 3\nz = n + 1", ["n", "z"], []),
    "an older value is not used": ("n = 1\nn = model.predict(x)\nz = n", [], ["z"]),
    "augmented": ("total = 0\ntotal += model.predict(x).sum()\ntotal += 1\nz = total", [], ["z"]),
    "a consequence that fails": ("model.save('m.h5')\nm = keras.models.load_model('m.h5')\nz = 1", ["z"], ["m"]),
    "exit at the end": ("import sys\nmodel.fit(x, y)\nsys.exit(0)\nz = 1", ["z"], []),
    "a missing package after fit": ("model.fit(x, y)\nimport no_such_package\nz = 1", ["z"], ["no_such_package"]),
    "save_model": (
        "from keras.models import save_model\nsave_model(model, 'm.keras')\nsave_model(model, 'm')\nz = 1",
        ["z"],
        [],
    ),
    "save_weights": ("model.save_weights('w.h5')\nmodel.export('e')\nz = 1", ["z"], []),
    "a subclass of the user's": (
        "class Mine(keras.Sequential):\n    def fit(self, *a):\n        return super().fit(*a)\n"
        "mine = Mine(model.layers)\nmine.compile('sgd', 'mse')\nh = mine.fit(x, y)",
        ["mine"],
        ["h"],
    ),
    "main guard": ("if __name__ == '__main__':\n    z = 1\nw = __name__ != '__main__'", ["w"], ["z"]),
    "a class body": (
        "h = 0\nh = model.predict(x)\nclass Late:\n    value = h\nclass Fine:\n    def use(self):\n        return h",
        ["Fine", "h"],
        ["Late"],
    ),
    "a default argument": (
        "h = model.predict(x)\ndef late(value=h): ...\ndef fine(value=1): return h\ng = lambda: h",
        ["fine", "g"],
        ["late"],
    ),
    "fit of something else": (
        "class Scaler:\n    def fit(self, x):\n        return self\ns = Scaler().fit(x)",
        ["s"],
        [],
    ),
    "load_weights and clear_session": (
        "w = model.get_weights()\nmodel.set_weights(w)\nkeras.backend.clear_session()\nz = 1",
        ["z"],
        [],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_top_level_that_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    text, there, absent = CASES[case]
    monkeypatch.chdir(tmp_path)
    module = load(tmp_path, text)
    assert [name for name in there if not hasattr(module, name)] == []
    assert [name for name in absent if hasattr(module, name)] == []
    assert sorted(os.listdir(tmp_path)) == ["script.py"]  # nothing was saved, nor compiled
    signature = read_signature(str(tmp_path / "script.py"))
    assert build_model(module, signature, {}, {}).input_names == ["pair_input"]


def test_one_notice_names_the_calls_and_lines(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "trainer")
    caplog.clear()
    load(tmp_path, "h = model.fit(x, y)\nprint(h)\nh.history\nscore = model.evaluate(x, y)\nprint(1)\nprint(score)")
    told = [record.getMessage().partition(": ")[2] for record in caplog.records if "did not run" in record.getMessage()]
    lines = f"{FIRST + 1}-{FIRST + 2}, {FIRST + 5}"
    assert told == [
        f"the job trains by itself: it did not run fit (line {FIRST}), evaluate (line {FIRST + 3}), "
        f"nor what needs it (lines {lines})."
    ]


def test_a_consequence_that_fails_is_a_warning_with_its_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    load(tmp_path, "model.save('m.h5')\nopen('m.h5.missing')")
    (warning,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert f"script.py:{FIRST + 1}: left out" in warning.getMessage()
    assert "FileNotFoundError" in warning.getMessage()


def test_an_error_before_anything_was_left_out_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=rf"script\.py:{FIRST}: the model module raised FileNotFoundError"):
        load(tmp_path, "open('no.csv')\nmodel.fit(x, y)")


def test_the_prototype_runs_to_its_end_and_saves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["trainer", "--job-dir=x", "--units=4"])  # what its argparse would refuse
    signature = read_signature(str(FILES / "prototype.py"))
    module = load_module(signature)
    assert module.LAST_LINE == "reached"
    assert module.args.rounds == 2
    assert capsys.readouterr().out == ""  # every print needs what was not trained
    assert list(tmp_path.iterdir()) == []
    model = build_model(module, signature, {"units": 4}, {})
    assert model.get_layer("petals").units == 4


def test_training_inside_build_model_does_nothing_and_warns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "m.py"
    path.write_text(
        "from tensorflow import keras\nimport numpy as np\nseen = []\n"
        "def build_model():\n"
        "    model = keras.Sequential([keras.layers.Dense(1, input_shape=(2,), kernel_initializer='ones')])\n"
        "    model.compile('sgd', 'mse')\n"
        "    history = model.fit(np.ones((8, 2)), np.zeros((8, 1)))\n"
        "    seen.extend(history.history['loss'])\n"
        "    model.train_on_batch(np.ones((8, 2)), np.zeros((8, 1)))\n"
        "    seen.append(float(model.predict(np.ones((1, 2)), verbose=0)[0, 0]))\n"
        "    model.save('m.h5')\n"
        "    return model\n"
    )
    signature = read_signature(str(path))
    module = load_module(signature)
    model = build_model(module, signature, {}, {})
    assert model.get_weights()[0].tolist() == [[1.0], [1.0]]
    assert math.isnan(module.seen[0])
    assert module.seen[1:] == [2.0]  # predicting runs: some models get their weights by it
    assert not (tmp_path / "m.h5").exists()
    warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert [text.split(" did not")[0] for text in warned] == ["m.py:7: fit", "m.py:9: train_on_batch", "m.py:11: save"]


@pytest.mark.parametrize("text", ["model.fit(x, y)", "model.evaluate(x, y)\nraise KeyError(1)", "1 / 0"])
def test_keras_and_the_process_are_as_before_even_after_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.delenv("MPLBACKEND", raising=False)

    def state() -> object:
        models = [
            cls for cls in (tf.keras.Model, *tf.keras.Model.__subclasses__()) if cls.__module__.startswith("keras.")
        ]
        methods = [(cls, name, value) for cls in models for name, value in vars(cls).items() if callable(value)]
        return methods, sys.argv[:], sys.path[:], sys.meta_path[:], dict(os.environ), list(warnings.filters)

    before = state()
    try:
        module = load(tmp_path, text)
    except ModelError:
        assert text == "1 / 0"
    else:
        build_model(module, read_signature(str(tmp_path / "script.py")), {}, {}).fit(
            tf.ones([4, 2]), tf.ones([4]), verbose=0
        )
    assert state() == before


def test_a_plot_opens_no_window(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MPLBACKEND", raising=False)
    assert load(tmp_path, "import os\nbackend = os.environ['MPLBACKEND']").backend == "agg"
    monkeypatch.setenv("MPLBACKEND", "svg")  # what the user chose stays
    assert load(tmp_path, "import os\nbackend = os.environ['MPLBACKEND']").backend == "svg"


def test_what_build_model_needs_of_the_training_is_said(tmp_path: Path) -> None:
    path = tmp_path / "m.py"
    path.write_text(
        "import keras\nm = keras.Sequential([keras.layers.Dense(1, input_shape=(2,))])\n"
        "size = m.predict([[1, 2]]).size\ndef build_model():\n    return size\n"
    )
    signature = read_signature(str(path))
    with pytest.raises(ModelError, match=r"m\.py:5: build_model needs size, but line 3, which would set it"):
        build_model(load_module(signature), signature, {}, {})


def test_a_file_that_turns_eager_execution_off_does_not_train_either(tmp_path: Path) -> None:
    """Its models are of another class; in a process of its own, as there is no way back."""
    path = tmp_path / "m.py"
    path.write_text(
        "import tensorflow as tf\ntf.compat.v1.disable_eager_execution()\n" + HEAD + "h = model.fit(x, y)\nz = 1\n"
    )
    code = (
        "import sys\n"
        "from trainer.job.signature import read_signature\n"
        "from trainer.training.models import load_module\n"
        "module = load_module(read_signature(sys.argv[1]))\n"
        "print(type(module.model).__mro__[2].__module__, module.z, hasattr(module, 'h'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], cwd=ROOT, capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.split()[-3:] == ["keras.src.engine.training_v1", "1", "False"]


def test_a_neighbour_does_not_train_either(tmp_path: Path) -> None:
    (tmp_path / "trained.py").write_text(HEAD + "h = model.fit(x, y)\nz = 1\n")
    (tmp_path / "m.py").write_text("import trained\nfrom trained import build_model\n")
    signature = read_signature(str(tmp_path / "m.py"))
    module = load_module(signature)
    assert module.trained.z == 1
    assert not hasattr(module.trained, "h")
    assert build_model(module, signature, {}, {}).input_names == ["pair_input"]
