"""kill -9 in a bucket that fails and is slow: the short version of `python -m tests.storage_chaos`."""

from __future__ import annotations

import pathlib

import pytest

from tests.storage_chaos import run_chaos

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("storage_kill"), pytest.mark.timeout(900)]


def test_what_is_killed_in_a_bucket_ends_as_on_a_disk(tmp_path: pathlib.Path) -> None:
    lines: list[str] = []
    run_chaos(tmp_path, kills=2, seed=1, say=lines.append)
    assert sum("kill" in line for line in lines) == 2
