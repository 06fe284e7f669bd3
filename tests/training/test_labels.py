"""Which column is the label, and what the loss compares with: numbers as they are, text as classes."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from trainer.job.columns import Column
from trainer.job.config import Job
from trainer.job.errors import DataError, ModelError
from trainer.job.paths import JobPaths
from trainer.training.analysis import TrainingSet
from trainer.training.files import describe_files
from trainer.training.labels import (
    Label,
    complete_labels,
    declared_defaults,
    declared_features,
    find_labels,
    label_column,
    special_column,
)
from trainer.training.reader import Reader
from trainer.training.readers import open_reader


def module(**attributes: object) -> ModuleType:
    """A model module that holds these."""
    made = ModuleType("model_file")
    made.__dict__.update(attributes)
    return made


def model(loss: Any, *outputs: tuple[str, int]) -> tf.keras.Model:
    """A compiled model with these outputs, each of a name and a width."""
    x = tf.keras.Input((1,), name="x")
    made = tf.keras.Model(x, [tf.keras.layers.Dense(width, name=name)(x) for name, width in outputs or [("y", 3)]])
    made.compile("sgd", loss)
    return made


def reader(folder: Path, column: list[str], name: str = "label") -> Reader:
    """A file with a feature and this column."""
    path = folder / f"{name}.csv"
    path.write_text(f"x,{name}\n" + "".join(f"1,{value}\n" for value in column), encoding="utf-8")
    return open_reader([str(path)])


def labels(folder: Path, made: tf.keras.Model, data: Reader, has_steps: bool = False) -> tuple[Label, ...]:
    training = TrainingSet(data, describe_files(data.files), JobPaths(str(folder / "a job")), has_steps)
    return complete_labels(find_labels(module(), made, Job.of({}), data), training)


def target(label: Label, *column: object) -> np.ndarray:
    dtype = tf.string if label.kind == "string" else label.kind
    found: np.ndarray = label.to_target(tf.constant(list(column), dtype)).numpy()
    return found


COLUMNS = [
    pytest.param({}, {}, ["x", "label"], "label", id="label"),
    pytest.param({}, {}, ["x", "target"], "target", id="target"),
    pytest.param({}, {}, ["target", "label"], "label", id="label comes before target"),
    pytest.param({}, {}, ["label", "y"], "y", id="the output's name comes before both"),
    pytest.param({}, {"LABEL_COLUMN": "z"}, ["y", "z"], "z", id="the module's word comes before names"),
    pytest.param({"label_column": "x"}, {"LABEL_COLUMN": "z"}, ["x", "y", "z"], "x", id="the flag comes first"),
]


@pytest.mark.parametrize(("flags", "attributes", "columns", "column"), COLUMNS)
def test_the_label_column(flags: dict[str, str], attributes: dict[str, str], columns: list[str], column: str) -> None:
    assert label_column(module(**attributes), Job.of(flags), columns, "y") == column


@pytest.mark.parametrize(
    ("flags", "attributes", "words"),
    [
        ({"label_column": "z"}, {}, "--label-column=z: the files have no such column; they have a, b."),
        ({}, {"LABEL_COLUMN": "z"}, "LABEL_COLUMN=z: the files have no such column; they have a, b."),
        ({}, {}, "none is called y like the model's output; name one of a, b with --label-column."),
    ],
)
def test_no_such_column(flags: dict[str, str], attributes: dict[str, str], words: str) -> None:
    with pytest.raises(DataError, match=re.escape(words)):
        label_column(module(**attributes), Job.of(flags), ["a", "b"], "y")


@pytest.mark.parametrize(
    ("loss", "width", "values", "kind", "expected"),
    [
        pytest.param("mse", 1, ["1", "2.5"], "float32", [[1.0], [2.5]], id="regression"),
        pytest.param("mse", 1, ["1", "2"], "float32", [[1.0], [2.0]], id="whole numbers are floats to a dense loss"),
        pytest.param("binary_crossentropy", 1, ["0", "1"], "float32", [[0.0], [1.0]], id="binary"),
        pytest.param("sparse_categorical_crossentropy", 3, ["2", "0"], "int64", [[2], [0]], id="class numbers"),
        pytest.param(
            tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True), 3, ["2", "0"], "int64", [[2], [0]],
            id="a loss object",
        ),
        pytest.param(
            tf.keras.losses.sparse_categorical_crossentropy, 3, ["2", "0"], "int64", [[2], [0]], id="a loss function"
        ),
    ],
)  # fmt: skip
def test_numbers_are_taken_as_they_are(
    tmp_path: Path, loss: Any, width: int, values: list[str], kind: str, expected: list[list[float]]
) -> None:
    (label,) = labels(tmp_path, model(loss, ("y", width)), reader(tmp_path, values))
    assert (label.column, label.kind, label.classes) == ("label", kind, None)
    found = target(label, *(float(value) if kind == "float32" else int(value) for value in values))
    assert found.dtype == kind
    assert found.tolist() == expected


TEXT = ["tulip", "rose", "tulip", "äster"]  # sorted: rose, tulip, äster


@pytest.mark.parametrize(
    ("loss", "width", "column", "expected"),
    [
        pytest.param("sparse_categorical_crossentropy", 3, TEXT, [[1], [0], [1], [2]], id="numbers for a sparse loss"),
        pytest.param("sparse_categorical_crossentropy", 9, TEXT, [[1], [0], [1], [2]], id="more room than needed"),
        pytest.param(
            "categorical_crossentropy", 3, TEXT, [[0, 1, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]],
            id="one-hot for a dense loss",
        ),
        pytest.param("binary_crossentropy", 1, ["no", "yes", "no"], [[0.0], [1.0], [0.0]], id="0 and 1 for one unit"),
        pytest.param("categorical_crossentropy", 2, ["no", "yes"], [[1.0, 0.0], [0.0, 1.0]], id="two units"),
    ],
)  # fmt: skip
def test_text_becomes_classes(
    tmp_path: Path, loss: str, width: int, column: list[str], expected: list[list[float]]
) -> None:
    (label,) = labels(tmp_path, model(loss, ("y", width)), reader(tmp_path, column))
    assert label.kind == "string"
    assert label.classes
    assert Path(label.classes).read_text(encoding="utf-8").splitlines() == sorted(set(column))
    found = target(label, *(value.encode() for value in column))
    assert found.dtype == ("int64" if "sparse" in loss else "float32")
    assert found.tolist() == expected


@pytest.mark.parametrize(
    ("loss", "width", "column", "words"),
    [
        pytest.param("sparse_categorical_crossentropy", 2, TEXT, "holds 3 different labels but the model's output y "
                     "has room for 2: give the last layer 3 units, or another --label-column.", id="too many"),
        pytest.param("categorical_crossentropy", 4, TEXT, "has room for 4: give the last layer 3 units", id="too few"),
        pytest.param("binary_crossentropy", 1, TEXT, "has room for 2: give the last layer 3 units", id="three for one"),
        pytest.param("binary_crossentropy", 1, ["a"], "holds 1 different labels", id="one for one"),
        pytest.param("binary_crossentropy", 1, ["a", "", "b"], "label.csv, line 3, column label: found nothing where a "
                     "label is needed.", id="a missing label"),
    ],
)  # fmt: skip
def test_classes_that_do_not_fit_the_output(
    tmp_path: Path, loss: str, width: int, column: list[str], words: str
) -> None:
    with pytest.raises(DataError, match=re.escape(words)):
        labels(tmp_path, model(loss, ("y", width)), reader(tmp_path, column))


def test_an_unknown_class_stops_the_step(tmp_path: Path) -> None:
    (label,) = labels(tmp_path, model("sparse_categorical_crossentropy"), reader(tmp_path, TEXT))
    with pytest.raises(tf.errors.InvalidArgumentError, match="a label that is not among the classes"):
        target(label, b"tulip", b"oak")


def test_classes_are_those_of_the_first_run(tmp_path: Path) -> None:
    """A resumed job must not number them anew."""
    made = model("sparse_categorical_crossentropy")
    (first,) = labels(tmp_path, made, reader(tmp_path, TEXT))
    (again,) = labels(tmp_path, made, reader(tmp_path, ["rose", "oak"]), has_steps=True)
    assert again == first
    assert target(again, b"tulip").tolist() == [[1]]


def test_each_output_has_a_column_of_its_name(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text("x,price,kind\n1,2.5,b\n2,3,a\n3,4,b\n")
    made = model({"price": "mse", "kind": "sparse_categorical_crossentropy"}, ("price", 1), ("kind", 2))
    price, kind = labels(tmp_path, made, open_reader([str(path)]))
    assert (price.output, price.column, price.kind) == ("price", "price", "float32")
    assert (kind.output, kind.column, kind.kind, kind.sparse) == ("kind", "kind", "string", True)
    assert target(kind, b"b", b"a").tolist() == [[1], [0]]


def test_two_text_labels_have_classes_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text("x,a,b\n1,p,q\n2,r,s\n")
    made = model(["sparse_categorical_crossentropy"] * 2, ("a", 2), ("b", 2))
    a, b = labels(tmp_path, made, open_reader([str(path)]))
    assert target(a, b"p", b"r").tolist() == target(b, b"q", b"s").tolist() == [[0], [1]]


def test_an_output_without_a_column_is_named(tmp_path: Path) -> None:
    made = model("mse", ("label", 1), ("other", 1))
    with pytest.raises(DataError, match="none is called other like the model's output"):
        labels(tmp_path, made, reader(tmp_path, ["1"]))


def test_declared_features() -> None:
    user = module(__file__="m.py", FEATURES={"a": "string", "b": ("int64", -1)})
    assert declared_features(user, ["a", "b", "c"]) == {"a": "string", "b": "int64"}
    assert declared_features(module(), ["a"]) is None


@pytest.mark.parametrize(
    ("declared", "kind", "words"),
    [
        (["a"], ModelError, "m.py: FEATURES=['a']: give a dict of columns."),
        ({"a": "int32"}, ModelError, "map each column to one of int64, float32, string"),
        ({"a": int}, ModelError, "map each column to one of"),
        ({"a": ("int32", 1)}, ModelError, "map each column to one of"),
        ({"z": "string", "a": "string"}, DataError, "the files have no column z (FEATURES in m.py); they have a, b."),
    ],
)
def test_declared_features_that_do_not_fit(declared: object, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=re.escape(words)):
        declared_features(module(__file__="m.py", FEATURES=declared), ["a", "b"])


KINDS = {"a": Column("int64"), "b": Column("float32"), "c": Column("string")}


def test_declared_defaults() -> None:
    user = module(__file__="m.py", FEATURES={"a": ("int64", 0), "b": "float32"}, DEFAULTS={"b": 1, "z": "x"})
    assert declared_defaults(user, KINDS) == [0, 1, None]
    assert declared_defaults(module(__file__="m.py"), KINDS) == [None] * 3


@pytest.mark.parametrize("defaults", [{"a": 0.5}, {"a": True}, {"a": "1"}, {"b": "1"}, {"c": 1}, {"c": None}])
def test_declared_defaults_that_the_column_cannot_hold(defaults: dict[str, object]) -> None:
    ((name, value),) = defaults.items()
    with pytest.raises(ModelError, match=re.escape(f"m.py: the default {value!r} of {name} is no {KINDS[name].kind}.")):
        declared_defaults(module(__file__="m.py", DEFAULTS=defaults), KINDS)


def test_key_and_weight_columns_are_the_flags_else_the_modules() -> None:
    user = module(KEY_COLUMN="a")
    assert special_column(user, Job.of({}), ["a", "b"], "key_column") == "a"
    assert special_column(user, Job.of({"key_column": "b"}), ["a", "b"], "key_column") == "b"
    assert special_column(user, Job.of({}), ["a", "b"], "weight_column") is None
    with pytest.raises(DataError, match="--weight-column=z: the files have no such column; they have a, b"):
        special_column(user, Job.of({"weight_column": "z"}), ["a", "b"], "weight_column")
    with pytest.raises(DataError, match="KEY_COLUMN=a: the files have no such column; they have b"):
        special_column(user, Job.of({}), ["b"], "key_column")


@pytest.mark.parametrize("loss", ["categorical_crossentropy", "mse", tf.keras.losses.CategoricalCrossentropy()])
def test_one_number_against_several_units_is_refused_where_keras_compares_them_all(tmp_path: Path, loss: Any) -> None:
    with pytest.raises(DataError, match=r"one number for each row .* has 3 .* sparse_categorical_crossentropy"):
        labels(tmp_path, model(loss), reader(tmp_path, ["0", "1", "2"]))


def test_a_loss_of_the_users_own_takes_the_number_as_it_is(tmp_path: Path) -> None:
    def own(true: tf.Tensor, predicted: tf.Tensor) -> tf.Tensor:
        return tf.keras.losses.sparse_categorical_crossentropy(true, predicted)

    (label,) = labels(tmp_path, model(own), reader(tmp_path, ["0", "1", "2"]))
    assert target(label, 2.0).tolist() == [[2.0]]
