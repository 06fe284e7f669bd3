"""Columns with a role of their own, columns that one set of files lacks, and lists that feed a picture."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.data_files import BYTES
from tests.training.input_plans import Features, everything, model, module, plan, served, trained_on
from trainer.job.columns import Column
from trainer.job.config import Job
from trainer.job.errors import DataError, ModelError
from trainer.training.data_watch import DataWatch
from trainer.training.inputs import FileInputs, plan_inputs
from trainer.training.reader import Reader
from trainer.training.readers import open_reader

Rows = Sequence[Mapping[str, Any]]


def opened(path: Path, rows: Rows) -> Reader:
    path.write_bytes(BYTES[path.suffix[1:]](rows))
    return open_reader([str(path)])


def planned(
    folder: Path, kind: str, made: tf.keras.Model, rows: Rows, eval_rows: Rows = (), user: ModuleType | None = None
) -> FileInputs:
    """The inputs of a job on files of a format; its label is a number."""
    train = opened(folder / f"train.{kind}", rows)
    evaluation = opened(folder / f"eval.{kind}", eval_rows or rows)
    watch = DataWatch([*train.files, *evaluation.files])
    inputs = plan_inputs(user or module(), made, Job.of({"batch_size": 4}), train, evaluation, {}, watch)
    inputs.check()
    return inputs


ROWS = [{"id": "007", "size": 1.5, "w": 0.5, "y": 1.5}, {"id": "008", "size": 2.5, "w": 1.0, "y": 2.5}]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "tfrecord"])
def test_key_and_weight_of_the_module_are_no_features(tmp_path: Path, kind: str) -> None:
    """Left to the convention, the only input takes the only feature: with one more there would be none."""
    user = module(KEY_COLUMN="id", WEIGHT_COLUMN="w")
    inputs = planned(tmp_path, kind, model(x_input=(1,)), ROWS, user=user)
    assert inputs.features == {"size": Column("float32")}
    assert (inputs.key_column, inputs.weights.column) == ("id", "w")
    assert inputs.columns == {"x_input": ["size"], "y": ["y"]}
    assert inputs.sample_request(2) == {"size": [1.5, 2.5], "key": ["007", "008"]}
    assert (inputs.served.key_column, inputs.served.weight_column) == ("id", "w")
    assert set(inputs.sample_dataset(2).element_spec) == {"x_input"}
    with pytest.raises(DataError, match="nothing feeds the model's input x_input"):
        planned(tmp_path, kind, model(x_input=(1,)), ROWS, user=module(KEY_COLUMN="id"))


def test_a_weight_is_no_feature_even_if_features_says_so(tmp_path: Path) -> None:
    user = module(FEATURES={"size": "float32", "w": "float32"}, WEIGHT_COLUMN="w")
    with pytest.raises(
        DataError, match=r"the weight column w is a feature \(FEATURES\) too: give the weights a column"
    ):
        planned(tmp_path, "csv", model(size=(1,), w=(1,)), ROWS, user=user)


def test_a_key_is_a_feature_where_features_says_so(tmp_path: Path) -> None:
    def preprocess(features: Features) -> Features:
        return {"x": tf.cast(tf.strings.length(features["id"]), tf.float32) + features["size"]}

    user = module(FEATURES={"id": "string", "size": "float32"}, KEY_COLUMN="id", preprocess=preprocess)
    inputs = planned(tmp_path, "csv", model(x=(1,)), ROWS, user=user)
    assert set(inputs.features) == {"id", "size"}
    assert trained_on(inputs, 2)["x"].tolist() == [[4.5], [5.5]]


def test_the_evaluation_files_need_no_key(tmp_path: Path) -> None:
    unnamed = [{name: value for name, value in row.items() if name != "id"} for row in ROWS]
    inputs = planned(tmp_path, "jsonl", model(size=(1,)), ROWS, unnamed, module(KEY_COLUMN="id"))
    assert inputs.sample_request(2) == {"size": [1.5, 2.5]}


@pytest.mark.parametrize("kind", ["jsonl", "tfrecord"])
@pytest.mark.parametrize("missing", ["size", "w", "y"])
def test_a_column_that_the_evaluation_set_lacks(tmp_path: Path, kind: str, missing: str) -> None:
    lacking = [{name: value for name, value in row.items() if name != missing} for row in ROWS]
    has = ", ".join(sorted(lacking[0]))
    words = f"eval.{kind} has no column {missing}; it has {has}: every set of files needs the columns"
    with pytest.raises(DataError, match=re.escape(words)):
        planned(tmp_path, kind, model(size=(1,)), ROWS, lacking, module(WEIGHT_COLUMN="w"))


FEATURES = {"FEATURES": {"size": ("float32", 0.1)}}


@pytest.mark.parametrize("kind", ["jsonl", "tfrecord"])
def test_a_column_with_a_default_may_be_missing_throughout(tmp_path: Path, kind: str) -> None:
    inputs = planned(tmp_path, kind, model(size=(1,)), ROWS, [{"y": 1.5}, {"y": 2.5}], module(**FEATURES))
    x, _ = everything(inputs.eval_dataset())
    assert x["size"].tolist() == [[np.float32(0.1)], [np.float32(0.1)]]


def test_but_not_from_a_header(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"eval\.csv has no column size; it has y: every set of files needs"):
        planned(tmp_path, "csv", model(size=(1,)), ROWS, [{"y": 1.5}], module(**FEATURES))


@pytest.mark.parametrize("kind", ["csv", "jsonl", "tfrecord"])
@pytest.mark.parametrize("cache", ["always", "never"])
def test_defaults_reach_training(tmp_path: Path, kind: str, cache: str) -> None:
    rows = [{"size": None if number % 3 == 0 else number + 0.5, "y": number + 0.5} for number in range(1, 10)]
    train = opened(tmp_path / f"a.{kind}", rows)
    user = module(FEATURES={"size": ("float32", -7)})
    job = Job.of({"batch_size": 3, "cache": cache})
    inputs = plan_inputs(user, model(size=(1,)), job, train, train, {}, DataWatch(train.files))
    assert inputs.cached is (cache == "always")
    seen: dict[float, float] = {}
    for x, y in itertools.islice(inputs.train_dataset(0).as_numpy_iterator(), 3):
        seen.update(zip(y[:, 0].tolist(), x["size"][:, 0].tolist(), strict=True))
    assert seen == {row["y"]: -7.0 if row["size"] is None else row["size"] for row in rows}
    assert inputs.sample_request(3)["size"] == [1.5, 2.5, -7]


def test_defaults_of_the_module_go_with_its_preprocess(tmp_path: Path) -> None:
    """The kinds stay as they are declared, and serving takes the default for what a client leaves empty."""
    user = module(
        FEATURES={"count": ("int64", 3), "word": ("string", "none")},
        preprocess=lambda features: {
            "x": tf.cast(features["count"], tf.float32),
            "z": tf.cast(tf.strings.length(features["word"]), tf.float32),
        },
    )
    rows: Rows = [{"count": None, "word": "a", "y": 1}, {"count": 5, "word": None, "y": 1}]
    inputs = planned(tmp_path, "csv", model(x=(1,), z=(1,)), rows, user=user)
    request = inputs.sample_request(2)
    assert request == {"count": [3, 5], "word": ["a", "none"]}
    for found in (trained_on(inputs, 2), served(inputs, request)):
        assert {name: values.tolist() for name, values in found.items()} == {"x": [[3.0], [5.0]], "z": [[1.0], [4.0]]}


def test_a_default_of_another_kind(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=re.escape("model_file.py: the default 'none' of size is no float32.")):
        plan(tmp_path, model(size=(1,)), module(FEATURES={"size": ("float32", "none")}))


DRAW = np.random.default_rng(5)
IMAGES = DRAW.uniform(0, 1, (7, 8, 8, 1)).astype(np.float32)


def pictures(kind: str) -> Rows:
    """Each with its pixels in x_0 to x_63, or in a flat list."""
    flat = [image.ravel().astype(float).tolist() for image in IMAGES]
    if kind == "csv":
        return [{"y": 1, **{f"x_{place}": value for place, value in enumerate(pixels)}} for pixels in flat]
    return [{"x": pixels, "y": 1} for pixels in flat]


def image_model() -> tf.keras.Model:
    given = tf.keras.Input((8, 8, 1), name="x")
    made = tf.keras.Model(given, tf.keras.layers.Dense(1, name="y")(tf.keras.layers.Flatten()(given)))
    made.compile("sgd", "mse")
    return made


@pytest.mark.parametrize("kind", ["csv", "jsonl", "tfrecord"])
def test_flat_lists_feed_a_picture(tmp_path: Path, kind: str) -> None:
    inputs = planned(tmp_path, kind, image_model(), pictures(kind))
    if kind == "csv":
        assert inputs.mapping == {"x": tuple(f"x_{place}" for place in range(64))}
    else:
        assert inputs.features == {"x": Column("float32", (64,))}
    batch = next(iter(inputs.train_dataset(0)))[0]["x"]
    assert batch.shape == (4, 8, 8, 1)
    request = inputs.sample_request(7)
    assert list(json.loads(json.dumps(request))) == list(inputs.features)
    for found in (everything(inputs.eval_dataset())[0], trained_on(inputs, 7), served(inputs, request)):
        np.testing.assert_array_equal(found["x"], IMAGES)


def test_numbered_columns_stand_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    """Not in that of the file, where x_10 may come before x_2."""
    rows = [dict(sorted(row.items())) for row in pictures("csv")]
    assert list(rows[0])[:3] == ["x_0", "x_1", "x_10"]
    inputs = planned(tmp_path, "csv", image_model(), rows)
    np.testing.assert_array_equal(everything(inputs.eval_dataset())[0]["x"], IMAGES)


@pytest.mark.parametrize(("kind", "count"), [("csv", 63), ("jsonl", 63), ("jsonl", 65), ("tfrecord", 63)])
def test_lists_of_another_length_feed_no_picture(tmp_path: Path, kind: str, count: int) -> None:
    if kind == "csv":
        rows: Rows = [{"y": 1, **{f"x_{place}": 0.5 for place in range(count)}}]
        words = "nothing feeds the model's input x"
    else:
        rows = [{"x": [0.5] * count, "y": 1}]
        words = f"the model's input x has the shape (8, 8, 1) in each row but x gives ({count},)"
    with pytest.raises(DataError, match=re.escape(words)):
        planned(tmp_path, kind, image_model(), rows)


def test_a_list_among_the_later_ones_that_is_too_short(tmp_path: Path) -> None:
    rows = [*pictures("jsonl"), {"x": [0.5] * 63, "y": 1}]
    with pytest.raises(DataError, match=r"train\.jsonl, line 8, column x: found \[.* where a list of 64 is needed"):
        planned(tmp_path, "jsonl", image_model(), rows)


def test_a_number_feeds_an_input_of_any_length(tmp_path: Path) -> None:
    inputs = planned(tmp_path, "csv", model(size=(None,)), ROWS)
    assert trained_on(inputs, 2)["size"].tolist() == [[1.5], [2.5]]
