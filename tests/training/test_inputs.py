"""Columns of files as the model's inputs: names, dtypes, declared features, and rows that are broken."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.training.input_plans import everything, model, module, plan, some_rows, write
from trainer.job.errors import DataError, ModelError
from trainer.training.inputs import feature_kinds, input_specs


def test_columns_named_like_the_inputs_arrive_in_the_models_dtypes(tmp_path: Path) -> None:
    made = model(size=(1,), count=tf.TensorSpec((1,), tf.int32), word=tf.TensorSpec((1,), tf.string))
    rows = some_rows(50)
    inputs = plan(tmp_path, made, rows=rows)
    assert inputs.kinds == {"size": "float32", "count": "int64", "word": "string"}
    x, y = everything(inputs.eval_dataset())
    np.testing.assert_array_equal(x["size"], np.array([[row["size"]] for row in rows], np.float32))
    assert x["count"].dtype == np.int32
    assert x["count"].tolist() == [[row["count"]] for row in rows]
    assert [word.decode() for (word,) in x["word"]] == [row["word"] for row in rows]
    np.testing.assert_array_equal(y, np.array([[row["y"]] for row in rows], np.float32))


def test_columns_are_put_side_by_side(tmp_path: Path) -> None:
    rows = some_rows(9)
    inputs = plan(tmp_path, model(dense_input=(2,)), rows=rows, feature_map=("dense_input=count+size",))
    assert inputs.kinds == {"count": "float32", "size": "float32"}
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
    assert feature_kinds(module(FEATURES={"count": "float32"}), reader, ("y",)) == {"count": "float32"}
    assert feature_kinds(module(), reader, ("y",)) == {"size": "float32", "count": "int64", "word": "string"}


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
    assert set(plan(tmp_path, model(size=(1,)), rows=rows).kinds) == {"size"}


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
