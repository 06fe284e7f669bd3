"""What every test gets."""

from __future__ import annotations

import os
import signal

import pytest

SPOKEN_BY_THE_CLOUD = ("AIP_", "CLOUD_ML_", "TF_CONFIG", "TRAINER_")
# A shell starts what it puts into the background with Ctrl-C ignored, and so would all be that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)


class AtOnce:
    """Tells of a failure when it happens: a run that is cut off has no summary."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Print where and why."""
        terminal = self._config.pluginmanager.get_plugin("terminalreporter")
        if report.failed and terminal is not None:
            terminal.write_line("")
            terminal.write_line(f"{report.nodeid} failed ({report.when}):\n{report.longreprtext}")


def pytest_configure(config: pytest.Config) -> None:
    """Set up what the process that talks to the terminal does; the others run the tests."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(AtOnce(config))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first: with one of them at the end, all processes but one would have nothing to do."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(autouse=True)
def environment_without_a_cloud(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take out of the environment what would steer a job: a test that wants it says so itself."""
    for name in os.environ:
        if name.startswith(SPOKEN_BY_THE_CLOUD):
            monkeypatch.delenv(name)
