"""The serving graph makes of raw columns what training makes of the files, through one preprocess."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from tests.training.input_plans import (
    PLAIN,
    SHAPES,
    Features,
    Preprocess,
    model,
    module,
    plan,
    scaled,
    served,
    some_rows,
    trained_on,
)
from trainer.job.errors import ModelError
from trainer.training.inputs import bind_preprocess


@pytest.mark.parametrize(
    ("shapes", "preprocess"), [(PLAIN, None), (SHAPES, scaled)], ids=["no preprocess", "preprocess"]
)
def test_serving_makes_of_raw_columns_bit_for_bit_what_training_makes_of_the_lines(
    tmp_path: Path, shapes: dict[str, Any], preprocess: Preprocess | None
) -> None:
    user = module(preprocess=preprocess) if preprocess else module()
    inputs = plan(tmp_path, model(**shapes), user, rows=some_rows(300))
    request = inputs.sample_request(64)
    assert list(request) == ["size", "count", "word"]
    one, other, eager = served(inputs, request), trained_on(inputs, 64), next(iter(inputs.sample_dataset(64)))
    assert set(one) == set(other) == set(shapes)
    for name, values in one.items():
        assert len(values) == 64
        assert values.dtype == other[name].dtype
        assert values.tolist() == other[name].tolist()
        assert values.tolist() == eager[name].numpy().tolist()


def test_comparing_tensors_in_preprocess_compares_their_values(tmp_path: Path) -> None:
    """In an Estimator's graph `==` compares identities, unless it is seen to."""
    rows = [{"word": "red", "y": 1}, {"word": "blue", "y": 2}, {"word": "red", "y": 3}]

    def preprocess(features: Features) -> Features:
        return {
            "x": tf.cast(features["word"] == "red", tf.float32),
            "z": tf.cast(features["word"] != "red", tf.float32),
        }

    inputs = plan(tmp_path, model(x=(1,), z=(1,)), module(preprocess=preprocess), rows=rows)
    for found in (served(inputs, inputs.sample_request(3)), trained_on(inputs, 3)):
        assert found["x"].tolist() == [[1.0], [0.0], [1.0]]
        assert found["z"].tolist() == [[0.0], [1.0], [0.0]]


def test_assets_reach_preprocess_only_where_it_asks_for_them(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("red\nblue\n")

    def preprocess(features: Features, assets: Mapping[str, str]) -> Features:
        initializer = tf.lookup.TextFileInitializer(
            assets["words"],
            tf.string,
            tf.lookup.TextFileIndex.WHOLE_LINE,
            tf.int64,
            tf.lookup.TextFileIndex.LINE_NUMBER,
        )
        return {"x": tf.lookup.StaticHashTable(initializer, -1).lookup(features["word"])}

    rows = [{"word": word, "y": 1} for word in ("blue", "oak", "red")]
    made = model(x=tf.TensorSpec((1,), tf.int64))
    inputs = plan(tmp_path, made, module(preprocess=preprocess), rows=rows, assets={"words": f"{tmp_path}/words.txt"})
    for found in (served(inputs, inputs.sample_request(3)), trained_on(inputs, 3)):
        assert found["x"].tolist() == [[1], [-1], [0]]


def test_errors_of_preprocess_are_told_with_their_line() -> None:
    def preprocess(features: Features) -> Features:
        return {"x": features["wrod"]}

    line = preprocess.__code__.co_firstlineno + 1
    with pytest.raises(ModelError, match=rf"test_inputs_serving\.py:{line}: preprocess raised KeyError: 'wrod'"):
        bind_preprocess(module(preprocess=preprocess, __file__=__file__), {})({"word": tf.constant(["a"])})


def test_preprocess_has_to_return_features_by_name() -> None:
    with pytest.raises(ModelError, match="preprocess returned EagerTensor: return a dict of features"):
        bind_preprocess(module(preprocess=lambda features: features["a"]), {})({"a": tf.constant([1])})


def test_column_names_of_any_kind_reach_the_serving_graph(tmp_path: Path) -> None:
    names = ["größe (m²)", "a b", "a-b", "1st", "_x", "/"]
    rows = [{**dict.fromkeys(names, number), "y": 1} for number in range(3)]
    feature_map = ("x=" + "+".join(names),)
    inputs = plan(tmp_path, model(x=(len(names),)), rows=rows, feature_map=feature_map)
    assert served(inputs, inputs.sample_request(3))["x"].tolist() == [
        [float(number)] * len(names) for number in range(3)
    ]
