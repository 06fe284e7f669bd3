"""The job's conversion against `fit`: same starting weights, same data in the same order, 10 steps, equal weights."""

from __future__ import annotations

from typing import Any

import pytest

from tests.training.conversion_results import names_in, result_of

pytestmark = pytest.mark.xdist_group("parity")
MODULES = ("parity_cases", "parity_optimizer_cases")
NAMES = [pytest.param(module, name, id=name) for module in MODULES for name in names_in(module)]
TOLERANCE = 1e-6
LOST_BY_THE_PLAIN_RECIPE = ("batch_norm", "adapted_normalization")


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_weights_and_metrics_are_those_of_fit(module: str, name: str) -> None:
    found = result_of(module, name)
    assert "error" not in found["ours"], found["ours"]
    assert found["ours"]["worst"] <= TOLERANCE
    wanted = {key: value for key, value in found["fit"]["evaluation"].items() if not is_output_loss(key, found)}
    assert found["ours"]["evaluation"] == pytest.approx(wanted, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_nothing_is_refused_and_names_are_known(module: str, name: str) -> None:
    found = result_of(module, name)
    assert [each for each in found["findings"] if each[1] != "warning"] == []
    if found["ours"]["evaluation"]:
        assert {*found["names"], "loss"} == set(found["ours"]["evaluation"])


@pytest.mark.parametrize("name", LOST_BY_THE_PLAIN_RECIPE)
def test_the_plain_recipe_loses_what_is_not_trained(name: str) -> None:
    assert result_of("parity_cases", name)["plain"]["worst"] > 1e-3


def is_output_loss(key: str, found: dict[str, Any]) -> bool:
    """Losses of single outputs are not reported; a warning says so."""
    return key.endswith("_loss") and "output_losses" in {row for row, *_ in found["findings"]}
