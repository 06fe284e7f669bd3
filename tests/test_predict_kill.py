"""kill -9: the short version of `python -m tests.predict_chaos`."""

from __future__ import annotations

import pathlib

import pytest

from tests.predict_chaos import run_chaos

pytestmark = pytest.mark.xdist_group("predict_kill")


@pytest.mark.slow
def test_a_killed_prediction_ends_with_the_bytes_of_an_undisturbed_one(tmp_path: pathlib.Path) -> None:
    lines: list[str] = []
    run_chaos(tmp_path, kills=3, seed=5, say=lines.append)
    assert "is whole" in lines[-1]
