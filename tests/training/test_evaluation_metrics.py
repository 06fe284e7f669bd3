"""The names of an evaluation's metrics, told before, against an Estimator's real evaluation."""

from __future__ import annotations

import pytest

from tests.training.conversion_results import names_in, result_of

pytestmark = pytest.mark.xdist_group("conversion")


@pytest.mark.parametrize("name", names_in("metric_name_cases"))
def test_the_names_are_those_of_an_evaluation(name: str) -> None:
    found = result_of("metric_name_cases", name)
    assert "error" not in found["ours"], found["ours"]
    assert len(set(found["names"])) == len(found["names"])
    assert {*found["names"], "loss"} == set(found["ours"]["evaluation"])
