"""What every test gets."""

from __future__ import annotations

import os
import signal

import pytest

SPOKEN_BY_THE_CLOUD = ("AIP_", "CLOUD_ML_", "TF_CONFIG", "TRAINER_")
# A shell starts what it puts into the background with Ctrl-C ignored, and so would all be that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def environment_without_a_cloud(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take out of the environment what would steer a job: a test that wants it says so itself."""
    for name in os.environ:
        if name.startswith(SPOKEN_BY_THE_CLOUD):
            monkeypatch.delenv(name)
