"""Training on a TPU, as far as a machine without one can tell, and what stands against it."""

from __future__ import annotations

import pytest

from tests.training.conversion_results import names_in, outcome_of

pytestmark = pytest.mark.xdist_group("tpu")
MODULES = ("tpu_parity_probes", "tpu_probes", "tpu_job_probes", "tpu_sample_probes", "tpu_faults")
NAMES = [pytest.param(module, name, id=name) for module in MODULES for name in names_in(module, "probe")]


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_tpu(module: str, name: str) -> None:
    failure = outcome_of(module, name)
    assert failure is None, failure
