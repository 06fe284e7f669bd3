"""An evaluation against `Model.evaluate(sample_weight=...)`: names and values of plain and weighted metrics."""

from __future__ import annotations

import pytest

from tests.training.conversion_results import names_in, outcome_of, result_of

pytestmark = pytest.mark.xdist_group("weighted_metrics")
LOSSES_OF_OUTPUTS = ("a_loss", "b_loss")  # a warning says that they are not reported


@pytest.mark.parametrize("name", names_in("weighted_metric_cases"))
def test_an_evaluation_is_that_of_keras(name: str) -> None:
    found = result_of("weighted_metric_cases", name)
    assert "error" not in found["ours"], found["ours"]
    wanted = {key: value for key, value in found["fit"]["evaluation"].items() if key not in LOSSES_OF_OUTPUTS}
    assert found["ours"]["worst"] <= 1e-6
    assert found["ours"]["evaluation"] == pytest.approx(wanted, rel=1e-6, abs=1e-6)
    assert {*found["names"], "loss"} == set(wanted)
    assert [each for each in found["findings"] if each[0] != "output_losses"] == []


@pytest.mark.parametrize("name", names_in("weighted_metric_probes", "probe"))
def test_weighted_metrics(name: str) -> None:
    failure = outcome_of("weighted_metric_probes", name)
    assert failure is None, failure
