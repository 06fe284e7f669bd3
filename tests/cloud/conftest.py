"""What the tests of trainer.cloud share."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from tests.gcs_rig import Gcs, collect_connections

NUMBERS = itertools.count(1)


@pytest.fixture(scope="session")
def storage_rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gcs]:
    """One Cloud Storage for all tests of a process."""
    with Gcs(tmp_path_factory.mktemp("gcs"), tls=True) as rig:
        yield rig


@pytest.fixture
def gcs(storage_rig: Gcs, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gcs]:
    """The Cloud Storage that this process talks to, without a fault or a log."""
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", storage_rig.url)
    storage_rig.state.reset()
    yield storage_rig
    storage_rig.state.reset()
    collect_connections()


@pytest.fixture
def bucket(gcs: Gcs) -> str:
    """The name of a new, empty bucket."""
    name = f"bucket-{next(NUMBERS)}"
    gcs.make_bucket(name)
    gcs.state.reset()
    return name
