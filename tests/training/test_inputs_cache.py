"""Which training data stay in memory, and that training sees every row either way."""

from __future__ import annotations

import itertools
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.training.input_plans import SHAPES, Features, Preprocess, model, module, plan, scaled, some_rows
from trainer.job.errors import UsageError
from trainer.training import inputs as inputs_module


def draws(features: Features) -> Features:
    return {"x": features["size"] + tf.random.uniform(tf.shape(features["size"]))}


def picks(features: Features) -> Features:
    return {"x": tf.random.categorical([[1.0, 1.0]], 1)[0] + 0 * features["count"]}


def draws_in_a_loop(features: Features) -> Features:
    return {"x": tf.map_fn(lambda size: size + tf.random.truncated_normal([]), features["size"])}


def draws_in_python(features: Features) -> Features:
    x = tf.numpy_function(lambda size: size + np.float32(random.random()), [features["size"]], tf.float32)
    return {"x": tf.ensure_shape(x, [None])}


def pads(features: Features) -> Features:
    return {"x": tf.strings.unicode_decode(features["word"], "UTF-8").to_tensor()}


def is_plain(features: Features) -> Features:
    return {"x": features["size"]}


OPEN = {"x": tf.TensorSpec((None,), tf.int32)}
CACHED = [
    pytest.param(is_plain, {"x": (1,)}, True, id="plain"),
    pytest.param(draws, {"x": (1,)}, False, id="random numbers"),
    pytest.param(picks, {"x": tf.TensorSpec((1,), tf.int64)}, False, id="a random class"),
    pytest.param(draws_in_a_loop, {"x": (1,)}, False, id="random numbers in a loop"),
    pytest.param(draws_in_python, {"x": (1,)}, False, id="Python, of which nothing is known"),
    pytest.param(pads, OPEN, False, id="as wide as the longest of the batch"),
]


@pytest.mark.parametrize(("preprocess", "shapes", "kept"), CACHED)
def test_rows_are_kept_in_memory_where_they_are_the_same_each_time(
    tmp_path: Path, preprocess: Preprocess, shapes: dict[str, Any], kept: bool
) -> None:
    user = module(preprocess=preprocess)
    assert plan(tmp_path, model(**shapes), user).cached is kept
    assert plan(tmp_path, model(**shapes), user, cache="never").cached is False
    always = plan(tmp_path, model(**shapes), user, cache="always")
    if kept:
        assert always.cached
    else:
        with pytest.raises(
            UsageError, match="--cache=always: preprocess draws random numbers or makes rows of different"
        ):
            assert always.cached


@pytest.mark.parametrize("limit", ["CACHE_FILE_BYTES", "CACHE_TENSOR_BYTES"])
def test_large_data_are_streamed_unless_the_user_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(inputs_module, limit, 100)
    assert not plan(tmp_path, model(size=(1,))).cached
    assert plan(tmp_path, model(size=(1,)), cache="always").cached


@pytest.mark.parametrize("cache", ["always", "never"])
def test_training_goes_through_all_rows_from_any_step_on(tmp_path: Path, cache: str) -> None:
    rows = some_rows(23)
    inputs = plan(tmp_path, model(**SHAPES), module(preprocess=scaled), rows=rows, cache=cache, batch_size=5, seed=3)
    assert inputs.train.rows == 23

    def labels(start: int, count: int) -> list[list[float]]:
        batches = itertools.islice(inputs.train_dataset(start).as_numpy_iterator(), count)
        return [y[:, 0].tolist() for x, y in batches]

    found = labels(0, 15)
    wanted = sorted(np.float32(row["y"]).item() for row in rows)
    for epoch in (found[:5], found[5:10], found[10:]):
        assert sorted(itertools.chain(*epoch)) == wanted
    assert labels(7, 8) == found[7:]
