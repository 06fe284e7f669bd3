"""The converter beyond one training: checkpoints, resuming, strategies, exports, sentences, what it leaves behind."""

from __future__ import annotations

import pytest

from tests.training.conversion_results import names_in, outcome_of

pytestmark = pytest.mark.xdist_group("converter")
MODULES = ("converter_probes", "conversion_probes")
NAMES = [pytest.param(module, name, id=name) for module in MODULES for name in names_in(module, "probe")]


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_converter(module: str, name: str) -> None:
    failure = outcome_of(module, name)
    assert failure is None, failure
