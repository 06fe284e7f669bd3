"""Columns of files as the model's inputs: names, dtypes, declared features, and rows that are broken."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.training.input_plans import everything, model, module, plan, some_rows, write
from trainer.job.columns import Column
from trainer.job.config import Job
from trainer.job.errors import DataError, ModelError
from trainer.training.data_watch import DataWatch
from trainer.training.inputs import feature_columns, input_specs, plan_inputs
from trainer.training.readers import open_reader


def test_columns_named_like_the_inputs_arrive_in_the_models_dtypes(tmp_path: Path) -> None:
    made = model(size=(1,), count=tf.TensorSpec((1,), tf.int32), word=tf.TensorSpec((1,), tf.string))
    rows = some_rows(50)
    inputs = plan(tmp_path, made, rows=rows)
    assert inputs.features == {"size": Column("float32"), "count": Column("int64"), "word": Column("string")}
    x, y = everything(inputs.eval_dataset())
    np.testing.assert_array_equal(x["size"], np.array([[row["size"]] for row in rows], np.float32))
    assert x["count"].dtype == np.int32
    assert x["count"].tolist() == [[row["count"]] for row in rows]
    assert [word.decode() for (word,) in x["word"]] == [row["word"] for row in rows]
    np.testing.assert_array_equal(y, np.array([[row["y"]] for row in rows], np.float32))


def test_columns_are_put_side_by_side(tmp_path: Path) -> None:
    rows = some_rows(9)
    inputs = plan(tmp_path, model(dense_input=(2,)), rows=rows, feature_map=("dense_input=count+size",))
    assert inputs.features == {"count": Column("float32"), "size": Column("float32")}
    x, _ = everything(inputs.eval_dataset())
    np.testing.assert_array_equal(x["dense_input"], np.array([[r["count"], r["size"]] for r in rows], np.float32))


def test_a_sequential_models_own_input_name(tmp_path: Path) -> None:
    made = tf.keras.Sequential(
        [tf.keras.layers.Dense(1, input_shape=(1,), name="size"), tf.keras.layers.Dense(1, name="y")]
    )
    made.compile("sgd", "mse")
    assert input_specs(made) == {"size_input": ("float32", (1,))}
    assert plan(tmp_path, made).mapping == {"size_input": ("size",)}


def test_features_said_by_the_module_are_the_only_ones(tmp_path: Path) -> None:
    reader = write(tmp_path / "a.csv", some_rows(9))
    assert feature_columns(module(FEATURES={"count": "float32"}), reader, ("y",)) == {"count": Column("float32")}
    found = {"size": Column("float32"), "count": Column("int64"), "word": Column("string")}
    assert feature_columns(module(), reader, ("y",)) == found


def test_defaults_said_by_the_module_stand_for_missing_values(tmp_path: Path) -> None:
    reader = write(tmp_path / "a.csv", some_rows(9))
    user = module(FEATURES={"size": ("float32", 0.5), "word": "string"}, DEFAULTS={"word": "none"})
    assert feature_columns(user, reader, ("y",)) == {
        "size": Column("float32", (), 0.5), "word": Column("string", (), "none")
    }  # fmt: skip
    rows = [{"size": "", "y": 1}, {"size": 2, "y": 1}]
    inputs = plan(tmp_path, model(size=(1,)), module(FEATURES={"size": ("float32", 0.5)}), rows=rows)
    x, _ = everything(inputs.eval_dataset())
    assert x["size"].tolist() == [[0.5], [2.0]]
    assert inputs.sample_request(2) == {"size": [0.5, 2.0]}


def test_a_key_names_rows_and_is_no_feature(tmp_path: Path) -> None:
    rows = [{"id": "007", "size": 1, "y": 1}, {"id": "008", "size": 2, "y": 1}]
    inputs = plan(tmp_path, model(x_input=(1,)), rows=rows, key_column="id")
    assert inputs.features == {"size": Column("float32")}
    assert inputs.sample_request(2) == {"size": [1.0, 2.0], "key": ["007", "008"]}


def test_lists_of_other_formats_feed_an_input_as_wide(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"v": [1, 2.5], "y": 1}\n{"v": [3, 4], "y": 2}\n')
    reader = open_reader([str(tmp_path / "a.jsonl")])
    inputs = plan_inputs(module(), model(v_input=(2,)), Job.of({}), reader, reader, {}, DataWatch(reader.files))
    assert inputs.features == {"v": Column("float32", (2,))}
    x, y = everything(inputs.eval_dataset())
    assert (x["v_input"].tolist(), y.tolist()) == ([[1.0, 2.5], [3.0, 4.0]], [[1.0], [2.0]])


def test_files_without_a_column_that_the_model_needs(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"eval\.csv has no column size; it has count, y: every set of files needs"):
        plan(tmp_path, model(size=(1,)), rows=[{"size": 1, "count": 1, "y": 1}], eval_rows=[{"count": 1, "y": 1}])


@pytest.mark.parametrize(
    ("features", "kind", "words"),
    [
        (
            {"wrod": "string"},
            DataError,
            f"the files have no column wrod (FEATURES in {__file__}); they have size, count,",
        ),
        ({"word": "text"}, ModelError, "FEATURES={'word': 'text'}: map each column to one of int64, float32, string."),
    ],
)
def test_features_that_do_not_fit_the_files(
    tmp_path: Path, features: dict[str, str], kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=re.escape(words)):
        plan(tmp_path, model(size=(1,)), module(FEATURES=features, __file__=__file__))


def test_a_label_among_the_features_has_one_kind(tmp_path: Path) -> None:
    """An autoencoder's label is its input; a column is not two things at once."""
    rows = [{"y": 1}, {"y": 2}]
    x, y = everything(plan(tmp_path, model(x_input=(1,)), module(FEATURES={"y": "int64"}), rows=rows).eval_dataset())
    assert x["x_input"].tolist() == y.tolist() == [[1.0], [2.0]]
    user = module(FEATURES={"y": "int64"}, preprocess=lambda features: {"x_input": features["y"] // 2})
    with pytest.raises(DataError, match="column y is int64 as a feature and float32 as the label of y: leave it out"):
        plan(tmp_path, model(x_input=(1,)), user, rows=rows)


BAD = {"size": "n/a", "count": 1, "word": "red", "y": 1}


@pytest.mark.parametrize("name", ["train.csv", "eval.csv"])
def test_a_bad_row_among_the_first_is_found_before_the_first_step(tmp_path: Path, name: str) -> None:
    rows = {"train.csv": some_rows(30), "eval.csv": some_rows(30)}
    rows[name].append(BAD)
    with pytest.raises(
        DataError, match=re.escape(f"{name}, line 32, column size: found 'n/a' where a number is needed")
    ):
        plan(tmp_path, model(size=(1,)), rows=rows["train.csv"], eval_rows=rows["eval.csv"])


def test_a_bad_row_among_the_later_ones_is_found_when_it_is_asked_for(tmp_path: Path) -> None:
    inputs = plan(tmp_path, model(size=(1,)), eval_rows=[*some_rows(1200), BAD])
    with pytest.raises(tf.errors.InvalidArgumentError):
        everything(inputs.eval_dataset())
    with pytest.raises(DataError, match=r"eval\.csv, line 1202, column size: found 'n/a'"):
        inputs.find_bad_row()


def test_a_column_that_feeds_nothing_may_hold_anything(tmp_path: Path) -> None:
    rows = [{**row, "word": ""} for row in some_rows(5)]
    assert set(plan(tmp_path, model(size=(1,)), rows=rows).features) == {"size"}


def test_a_class_that_only_the_evaluation_files_have_is_named(tmp_path: Path) -> None:
    made = model("binary_crossentropy", size=(1,))
    rows = [{"size": 1, "y": word} for word in ("no", "yes")]
    inputs = plan(tmp_path, made, rows=rows, eval_rows=[*rows, {"size": 2, "y": "maybe"}])
    with pytest.raises(tf.errors.InvalidArgumentError):
        everything(inputs.eval_dataset())
    with pytest.raises(
        DataError, match=re.escape("eval.csv, line 4, column y: found 'maybe', a label that the training")
    ):
        inputs.find_unknown_class()
