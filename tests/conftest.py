"""What every test gets."""

from __future__ import annotations

import os

import pytest

SPOKEN_BY_THE_CLOUD = ("AIP_", "CLOUD_ML_", "TF_CONFIG", "TRAINER_")


@pytest.fixture(autouse=True)
def environment_without_a_cloud(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take out of the environment what would steer a job: a test that wants it says so itself."""
    for name in os.environ:
        if name.startswith(SPOKEN_BY_THE_CLOUD):
            monkeypatch.delenv(name)
