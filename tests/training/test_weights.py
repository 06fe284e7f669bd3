"""Weights of examples and classes: the steps of `fit`, the words of two runs that differ, and balanced classes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.training.conversion_results import names_in, outcome_of
from trainer.training.class_weights import balanced
from trainer.training.weights import Weights, weights_difference

pytestmark = pytest.mark.xdist_group("weights")


@pytest.mark.parametrize("name", names_in("weight_probes", "probe"))
def test_weights(name: str) -> None:
    failure = outcome_of("weight_probes", name)
    assert failure is None, failure


def test_balanced_is_the_formula_of_scikit_learn() -> None:
    """The example of its documentation: y = [1, 1, 1, 1, 0, 0] gives [1.5, 0.75]."""
    assert balanced(["0", "1"], {"0": 2, "1": 4}) == {"0": 1.5, "1": 0.75}


def test_a_class_that_does_not_occur_is_not_counted() -> None:
    found = balanced(["a", "b", "c"], {"a": 1, "b": 9, "c": 0})
    assert found == pytest.approx({"a": 5.0, "b": 10 / 18, "c": 1.0})
    assert balanced(["a", "b", "c"], {"a": 1, "b": 9}) == found


BALANCED = {"column": None, "classes": {"a": 5.0, "b": 0.5}}
COLUMN = {"column": "w", "classes": {}}


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        pytest.param({}, {"column": None, "classes": {}}, [], id="a manifest from before there were weights"),
        pytest.param(BALANCED, BALANCED, [], id="the same"),
        pytest.param({}, COLUMN, ["the weight column is w where it was none"], id="a column more"),
        pytest.param(COLUMN, {**COLUMN, "column": "v"}, ["the weight column is v where it was w"], id="another column"),
        pytest.param(
            BALANCED, {**BALANCED, "classes": {"a": 5.0, "b": 2}}, ["class b weighs 2 where it was 0.5"], id="one class"
        ),
        pytest.param(
            BALANCED, COLUMN,
            ["the weight column is w where it was none", "class a weighs 1 where it was 5", "class b weighs 1 where it "
             "was 0.5"], id="no classes but a column",
        ),
        pytest.param(
            {}, {"column": None, "classes": {"a": 1.0}}, [], id="a class that weighs 1 is as if nothing was said"
        ),
    ],
)  # fmt: skip
def test_what_differs_is_said_in_words(old: dict[str, Any], new: dict[str, Any], words: list[str]) -> None:
    assert weights_difference(old, new) == words


def test_many_differences_are_shortened() -> None:
    many = {"column": None, "classes": {str(number): 2.0 for number in range(30)}}
    found = weights_difference({}, many)
    assert len(found) == 11
    assert found[-1] == "20 more"


def test_the_manifest_reads_what_it_wrote() -> None:
    weights = Weights("w", {"a": 0.1 + 0.2, "b": 1 / 3})
    assert weights_difference(json.loads(json.dumps(weights.to_json())), weights.to_json()) == []
