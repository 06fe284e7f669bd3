"""Columns as features: what files and module say of them, and how a feature takes the shape of a model's input."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.training.input_plans import module, write
from trainer.job.columns import Column
from trainer.job.errors import ModelError
from trainer.training.features import as_analyzed, feature_columns, fit_features
from trainer.training.names import Shape
from trainer.training.readers import open_reader

ROWS: list[dict[str, object]] = [{"size": 0.5, "count": 1, "word": "a", "y": 1}]


def test_a_default_is_the_one_of_the_pair_unless_defaults_has_another(tmp_path: Path) -> None:
    user = module(
        FEATURES={"size": ("float32", 0.5), "count": ("int64", 3), "word": "string"},
        DEFAULTS={"count": 7, "word": "none"},
    )
    assert feature_columns(user, write(tmp_path / "a.csv", ROWS), ()) == {
        "size": Column("float32", (), 0.5),
        "count": Column("int64", (), 7),
        "word": Column("string", (), "none"),
    }


def test_defaults_go_with_columns_that_nobody_declares(tmp_path: Path) -> None:
    """A whole number will do where fractions are; kinds are those of the first rows."""
    user = module(DEFAULTS={"size": 2, "count": -1, "y": 1})
    assert feature_columns(user, write(tmp_path / "a.csv", ROWS), ("y",)) == {
        "size": Column("float32", (), 2),
        "count": Column("int64", (), -1),
        "word": Column("string"),
    }


KINDS = [
    pytest.param({"FEATURES": {"size": ("float32", "0")}}, "the default '0' of size is no float32.", id="a pair"),
    pytest.param({"DEFAULTS": {"size": "0"}}, "the default '0' of size is no float32.", id="text for a number"),
    pytest.param({"DEFAULTS": {"count": 0.5}}, "the default 0.5 of count is no int64.", id="a fraction"),
    pytest.param({"DEFAULTS": {"count": True}}, "the default True of count is no int64.", id="a bool"),
    pytest.param({"DEFAULTS": {"word": 0}}, "the default 0 of word is no string.", id="a number for text"),
    pytest.param({"DEFAULTS": {"size": [0.5]}}, "the default [0.5] of size is no float32.", id="a list"),
    pytest.param({"DEFAULTS": {"count": 2**63}}, "the default 9223372036854775808 of count is no int64.", id="64 bits"),
    pytest.param({"DEFAULTS": {"size": 1e39}}, "the default 1e+39 of size is no float32.", id="too large for float32"),
    pytest.param({"DEFAULTS": ["size"]}, "DEFAULTS=['size']: give a dict of columns.", id="no dict"),
    pytest.param({"FEATURES": {"size": ("float32",)}}, "FEATURES={'size': ('float32',)}: map each", id="one of a pair"),
    pytest.param({"FEATURES": {"size": ("float32", 1, 2)}}, "FEATURES={'size': ('float32', 1, 2)}: map", id="three"),
    pytest.param({"FEATURES": {"size": ()}}, "FEATURES={'size': ()}: map each column to one of", id="an empty pair"),
]


@pytest.mark.parametrize(("attributes", "words"), KINDS)
def test_declarations_that_no_column_can_follow(tmp_path: Path, attributes: dict[str, Any], words: str) -> None:
    with pytest.raises(ModelError, match=re.escape(f"model_file.py: {words}")):
        feature_columns(module(**attributes), write(tmp_path / "a.csv", ROWS), ())


@pytest.mark.parametrize(
    ("kind", "default"), [("float32", np.float32(0.5)), ("float32", np.float64(0.1)), ("int64", np.int64(-(2**63)))]
)
def test_a_default_may_be_what_numpy_has_found(tmp_path: Path, kind: str, default: Any) -> None:
    """A median, say; as a plain number, which JSON can hold."""
    reader = write(tmp_path / "a.csv", ROWS)
    column = feature_columns(module(FEATURES={"size": (kind, default)}), reader, ())["size"]
    assert column == Column(kind, (), default.item())
    assert type(column.default) in (int, float)


def test_a_declared_kind_keeps_the_shape_that_the_files_have(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"v": [1, 2, 3], "w": [[1], [2]]}\n')
    reader = open_reader([str(tmp_path / "a.jsonl")])
    assert feature_columns(module(FEATURES={"v": ("float32", 0)}), reader, ()) == {"v": Column("float32", (3,), 0)}
    assert feature_columns(module(), reader, ("v",)) == {"w": Column("int64", (2, 1))}


def test_before_there_is_a_model_whole_numbers_may_turn_out_to_be_fractions() -> None:
    columns = {"a": Column("int64", (2,), 7), "b": Column("float32", (), 0.5), "c": Column("string")}
    assert as_analyzed(module(), columns) == {**columns, "a": Column("float32", (2,), 7)}
    assert as_analyzed(module(preprocess=lambda features: features), columns) == columns


IMAGE = tuple(range(6))
SHAPES = [
    pytest.param([[1.0, 2.0]], (1,), [[1.0], [2.0]], id="a number for a list of 1"),
    pytest.param([[1.0, 2.0]], (None,), [[1.0], [2.0]], id="a number for a list of any length"),
    pytest.param([[1.0, 2.0]], (1, 1), [[[1.0]], [[2.0]]], id="a number for a picture of 1"),
    pytest.param([[1.0, 2.0]], (), [1.0, 2.0], id="a number for a number"),
    pytest.param([[[1.0], [2.0]]], (), [1.0, 2.0], id="a list of 1 for a number"),
    pytest.param([[[1.0, 2.0]]], (2,), [[1.0, 2.0]], id="a list as long"),
    pytest.param([[[1.0, 2.0]]], (None,), [[1.0, 2.0]], id="a list for one of any length"),
    pytest.param([[IMAGE]], (2, 3), [[[0, 1, 2], [3, 4, 5]]], id="a flat list for a picture"),
    pytest.param([[IMAGE]], (3, 2, 1), [[[[0], [1]], [[2], [3]], [[4], [5]]]], id="with a channel"),
    pytest.param([[x] for x in IMAGE], (2, 3), [[[0, 1, 2], [3, 4, 5]]], id="columns for a picture"),
    pytest.param([[1.0], [2.0]], (None,), [[1.0, 2.0]], id="columns for a list of any length"),
]


@pytest.mark.parametrize(("features", "shape", "expected"), SHAPES)
def test_features_take_the_shape_of_the_input(features: list[Any], shape: Shape, expected: list[Any]) -> None:
    given = {str(number): tf.constant(each, tf.float32) for number, each in enumerate(features)}
    found = fit_features(given, {"x": tuple(given)}, {"x": ("float32", shape)})["x"]
    assert found.numpy().tolist() == expected


def test_ragged_features_stay_as_they_are() -> None:
    ragged = tf.ragged.constant([[1, 2], [3]])
    assert fit_features({"a": ragged}, {"x": ("a",)}, {"x": ("int32", (None,))})["x"] is ragged
