"""A job in a bucket makes few requests and sends few bytes."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys

import pytest

from tests.runner import ROOT, environ

SCRIPT = ROOT / "benchmarks/storage.py"
DEADLINE_SECS = 800.0  # it takes a minute or two


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_sample_stays_below_its_limits() -> None:
    spec = importlib.util.spec_from_file_location("storage_benchmark", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--rounds=0"], env=environ(), capture_output=True, text=True,
        timeout=DEADLINE_SECS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    counted = json.loads(done.stdout.splitlines()[-1])
    assert counted.keys() == benchmark.LIMITS.keys()
    for name, limit in benchmark.LIMITS.items():
        assert 0 < counted[name] <= limit, f"{name}\n{done.stdout}"
