"""The process that ends the others when nobody looks after them any more."""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from trainer.cluster.keeper import end, read_groups
from trainer.cluster.marked import is_alive, marked
from trainer.cluster.plan import MARK

pytestmark = pytest.mark.timeout(60)
SAVES = """
import pathlib, signal, sys, time
def save(*_):
    time.sleep(0.3)
    with open(sys.argv[1], "a") as file:
        file.write(sys.argv[2] + "\\n")
    sys.exit()
signal.signal(signal.SIGTERM, save)
print("ready", flush=True)
time.sleep(60)
"""
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(60)"
CHILD = """
import subprocess, sys
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
"""


@contextlib.contextmanager
def started(source: str, *argv: str, mark: str = "m/worker-0/") -> Iterator[subprocess.Popen[str]]:
    """A process in a session of its own, that has begun."""
    process = subprocess.Popen(
        [sys.executable, "-c", source, *argv],
        env={**os.environ, MARK: mark},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_until(happened: Callable[[], object]) -> None:
    until = time.monotonic() + 10
    while not happened() and time.monotonic() < until:
        time.sleep(0.02)
    assert happened()


def test_what_the_pipe_says() -> None:
    assert read_groups(["+5 0\n", "+6 1\n", "-5\n", "+7 0\n"]) == {6: 1, 7: 0}


def test_those_that_hear_save_first_and_servers_last(tmp_path: pathlib.Path) -> None:
    saved = tmp_path / "saved"
    with started(SAVES, str(saved), "ps") as server, started(SAVES, str(saved), "chief") as chief:
        chief.send_signal(signal.SIGSTOP)  # a paused one hears too
        end({server.pid: 1, chief.pid: 0}, "m/", saving_secs=20.0)
        assert [chief.wait(), server.wait()] == [0, 0]
    assert saved.read_text() == "chief\nps\n"


def test_the_deaf_and_what_they_have_started_are_killed() -> None:
    with started(CHILD + DEAF, mark="deaf/worker-0/") as process:
        wait_until(lambda: len(marked("deaf/")) == 2)
        assert marked("deaf/worker-00/") == []
        before = time.monotonic()
        end({process.pid: 0}, "deaf/", saving_secs=0.5)
        assert time.monotonic() - before < 5.0
        assert process.wait() == -signal.SIGKILL
    assert marked("deaf/") == []


def test_who_has_ended_is_not_alive() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    wait_until(lambda: not is_alive(process.pid))  # though nobody has asked for its exit code
    process.wait()
    assert not is_alive(process.pid)
    assert is_alive(os.getpid())
