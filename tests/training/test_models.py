"""Loading a user's module and building its model: where it may lie, what it may return, and which sentence it gets."""

from __future__ import annotations

import dataclasses
import sys
import textwrap
import typing
from pathlib import Path
from types import ModuleType

import pytest
import tensorflow as tf

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
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return read_signature(str(path))


def built(signature: ModelSignature, **hyperparameters: object) -> tf.keras.Model:
    return build_model(load_module(signature), signature, hyperparameters, {})


NAMES = [
    "m.py",
    "a 0.py",
    'it\'s "so"; echo.py',
    "modèle_日本.py",
    "keras.py",
    "json.py",
    "test.py",
    "tensorflow.py",
    "1st-try.py",
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("folder", ["plain", "with space; 'quotes' ü"])
def test_a_file_of_any_name_loads_and_hides_nothing(tmp_path: Path, folder: str, name: str) -> None:
    path = tmp_path / folder / name
    before = {each: sys.modules.get(each) for each in ("json", "test", "keras", "tensorflow")}
    signature = write(path, GOOD + "import json\nplace = __file__\ntext = json.dumps([1])\n")
    module = load_module(signature)
    assert module.place == str(path)
    assert module.text == "[1]"
    assert build_model(module, signature, {"units": 5}, {}).output_shape == (None, 5)
    assert {each: sys.modules.get(each) for each in before} == before


def test_a_file_loads_again_as_it_is_now(tmp_path: Path) -> None:
    signature = write(tmp_path / "m.py", GOOD + "version = 1\n")
    first = load_module(signature)
    second = load_module(write(tmp_path / "m.py", GOOD + "version = 2\n"))
    assert (first.version, second.version) == (1, 2)
    assert not (tmp_path / "__pycache__").exists()


def test_the_name_of_the_module_is_the_same_wherever_the_file_lies(tmp_path: Path) -> None:
    """It gets into model configurations, thus into fingerprints."""
    one = load_module(write(tmp_path / "a" / "same_name.py", GOOD))
    assert one.__name__ == "model_file_same_name"
    other = load_module(write(tmp_path / "b" / "same_name.py", GOOD))
    assert other.__name__ != one.__name__  # both in one process: apart
    assert sys.modules[one.__name__] is one


def test_dataclasses_and_type_hints_work(tmp_path: Path) -> None:
    text = """
        from __future__ import annotations
        from dataclasses import dataclass, field
        import typing

        @dataclass
        class Sizes:
            units: int = 3
            more: list[Other] = field(default_factory=list)
            kind: typing.ClassVar[str] = "dense"

        class Other: ...
        hints = typing.get_type_hints(Sizes)
        def build_model(units: int = 2) -> Other: ...
    """
    module = load_module(write(tmp_path / "m.py", text))
    assert typing.get_args(module.hints["more"]) == (module.Other,)
    assert typing.get_type_hints(module.Sizes)["units"] is int  # after the load as well
    assert typing.get_type_hints(module.build_model)["return"].__name__ == "Other"
    assert [field.name for field in dataclasses.fields(module.Sizes)] == ["units", "more"]  # a ClassVar is no field


def test_a_docstring_and_the_traceback_are_the_files(tmp_path: Path) -> None:
    text = '"""What it is."""\n\n\n"a bare string"\n\n\ndef build_model():\n    raise ValueError("no")\n'
    signature = write(tmp_path / "m.py", text)
    module = load_module(signature)
    assert module.__doc__ == "What it is."
    with pytest.raises(ModelError, match=r"m\.py:8: build_model raised ValueError: no\.$"):
        build_model(module, signature, {}, {})


class TestNeighbours:
    def test_modules_and_packages_beside_the_file_are_imported_with_tf_keras(self, tmp_path: Path) -> None:
        (tmp_path / "my_layers").mkdir()
        (tmp_path / "my_layers" / "__init__.py").write_text("from .dense import Dense\n")
        (tmp_path / "my_layers" / "dense.py").write_text("from tensorflow.python.keras.layers.core import Dense\n")
        (tmp_path / "loose").mkdir()
        (tmp_path / "loose" / "sizes.py").write_text("import keras.engine.topology as t\nLayer = t.Layer\n")
        text = (
            "from my_layers import Dense\nimport my_layers.dense\nfrom loose.sizes import Layer\ndef build_model(): ..."
        )
        module = load_module(write(tmp_path / "m.py", text))
        assert module.Dense is tf.keras.layers.Dense
        assert module.Layer is tf.keras.layers.Layer

    def test_a_neighbour_is_found_by_a_function_that_runs_later(self, tmp_path: Path) -> None:
        (tmp_path / "late_neighbour.py").write_text("value = 7\n")
        module = load_module(
            write(tmp_path / "m.py", "def build_model():\n    import late_neighbour\n    return late_neighbour")
        )
        assert module.build_model().value == 7

    def test_each_model_gets_its_own_neighbour_of_one_name(self, tmp_path: Path) -> None:
        for folder in ("one", "two"):
            (tmp_path / folder).mkdir()
            (tmp_path / folder / "settings_of_mine.py").write_text(f"where = {folder!r}\n")
        text = "from settings_of_mine import where\ndef build_model(): ..."
        assert load_module(write(tmp_path / "one" / "m.py", text)).where == "one"
        assert load_module(write(tmp_path / "two" / "m.py", text)).where == "two"

    def test_a_neighbour_comes_before_what_is_installed_under_its_name(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As with `python FILE`: some wheels install a stray `tests` or `utils`. A mere folder is no neighbour."""
        site, mine = tmp_path / "site", tmp_path / "mine"
        (mine / "stray_folder").mkdir(parents=True)
        site.mkdir()
        for folder, name in ((site, "stray_utils"), (mine, "stray_utils"), (site, "stray_folder")):
            (folder / f"{name}.py").write_text(f"where = {folder.name!r}\n")
        monkeypatch.syspath_prepend(str(site))
        text = "import stray_utils, stray_folder\ndef build_model(): ..."
        module = load_module(write(mine / "m.py", text))
        assert (module.stray_utils.where, module.stray_folder.where) == ("mine", "site")

    def test_a_neighbour_called_like_a_module_of_python_hides_nothing(self, tmp_path: Path) -> None:
        for name in ("wave.py", "numpy.py", "keras.py"):
            (tmp_path / name).write_text("raise RuntimeError('the wrong one')\n")
        text = "import wave, numpy, keras\nopened = wave.open, numpy.ones, keras.Model\ndef build_model(): ..."
        assert load_module(write(tmp_path / "m.py", text)).opened[2] is tf.keras.Model

    def test_what_the_file_puts_on_the_path_stays_there_for_its_functions(self, tmp_path: Path) -> None:
        (tmp_path / "lib").mkdir()
        (tmp_path / "lib" / "found_on_path.py").write_text("value = 5\n")
        text = """
            import os, sys
            sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
            def build_model():
                import found_on_path
                return found_on_path.value
        """
        module = load_module(write(tmp_path / "models" / "m.py", text))
        assert module.build_model() == 5
        assert not any("lib" in Path(entry).parts and str(tmp_path) in entry for entry in sys.path)

    def test_an_installation_inside_the_folder_is_not_the_users(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        site = tmp_path / ".venv" / "site-packages"
        site.mkdir(parents=True)
        (site / "installed_thing.py").write_text("import tensorflow.python.keras.layers as k\nDense = k.Dense\n")
        monkeypatch.syspath_prepend(str(site))
        module = load_module(write(tmp_path / "m.py", "import installed_thing\ndef build_model(): ..."))
        assert module.installed_thing.Dense is not tf.keras.layers.Dense

    def test_a_module_of_a_package_is_imported_in_it(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        package = tmp_path / "pack_of_mine" / "models"
        package.mkdir(parents=True)
        (package.parent / "__init__.py").write_text("")
        (package / "__init__.py").write_text("")
        (package.parent / "parts.py").write_text("from keras.layers.core import Dense\n")
        (package / "dense.py").write_text("from ..parts import Dense\nfrom . import sizes\n" + GOOD)
        (package / "sizes.py").write_text("units = 4\n")
        monkeypatch.chdir(tmp_path)
        signature = read_signature("pack_of_mine.models.dense")
        for _ in range(2):
            module = load_module(signature)
            assert module.__name__ == "pack_of_mine.models.dense"
            assert module.Dense is tf.keras.layers.Dense
            assert build_model(module, signature, {"units": module.sizes.units}, {}).output_shape == (None, 4)


def test_assets_are_given_to_who_asks_for_them(tmp_path: Path) -> None:
    text = GOOD.replace("units: int = 2", "assets, units: int = 2") + "    \n"
    text = text.replace("    model =", "    units = len(assets)\n    model =")
    signature = write(tmp_path / "m.py", text)
    assets = {"vocabulary": "/a/b.txt", "labels": "/a/c.txt", "more": "/a/d.txt"}
    assert build_model(load_module(signature), signature, {}, assets).output_shape == (None, 3)
    plain = write(tmp_path / "plain.py", GOOD)
    assert build_model(load_module(plain), plain, {}, assets).output_shape == (None, 2)


def test_models_that_may_be_trained(tmp_path: Path) -> None:
    text = """
        import tensorflow as tf
        class Mine(tf.keras.Model):
            def __init__(self):
                super().__init__()
                self.dense = tf.keras.layers.Dense(1)
            def call(self, inputs):
                return self.dense(inputs)
        def wrapped():
            x = tf.keras.Input(3, name="x")
            model = tf.keras.Model(x, Mine()(x))
            model.compile("sgd", "mse")
            return model
        def shaped():
            model = tf.keras.Sequential([tf.keras.layers.Dense(1)])
            model.build((None, 3))
            model.compile("sgd", "mse")
            return model
        def own_loss():
            x = tf.keras.Input(3, name="x")
            model = tf.keras.Model(x, tf.keras.layers.Dense(1)(x))
            model.add_loss(tf.reduce_mean(model.output))
            model.compile("sgd")
            return model
    """
    path = tmp_path / "m.py"
    path.write_text(textwrap.dedent(text))
    for function in ("wrapped", "shaped", "own_loss"):
        assert isinstance(built(read_signature(f"{path}:{function}")), tf.keras.Model)


def test_the_module_is_python_to_the_last_detail(tmp_path: Path) -> None:
    module: ModuleType = load_module(
        write(tmp_path / "m.py", "x: int = 1\ny: 'str'\nimport sys\nargv = sys.argv\ndef build_model(): ...")
    )
    assert module.__annotations__ == {"x": int, "y": "str"}
    assert module.__spec__ is not None
    assert sys.argv is not None
    assert module.__name__ in sys.modules
