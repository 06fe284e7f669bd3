"""A process that was forked is what one that was started would be; and none is left behind."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import psutil
import pytest

from tests import warm
from tests.runner import DEADLINE_SECS, environ
from trainer.job.environment import helper_environ

pytestmark = pytest.mark.skipif(not warm.IS_POSSIBLE, reason="this system has no pidfd_open")
PROBE = ("-m", "tests.warm_probe")
VENDORED = "setuptools/_vendor"  # it puts this into sys.path when it is imported
HOSTILE = ("a b", "'\"; $HOME", "ü", "", "-v")


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / 'it\'s; a "folder" ü'
    path.mkdir()
    return path


def started(
    folder: pathlib.Path, *words: str, cold: bool = False, env: dict[str, str] | None = None
) -> psutil.Popen | warm.Forked:
    """The probe, at work; what it prints goes to files."""
    with open(os.devnull, "rb") as none, open(folder / "out", "wb") as out, open(folder / "err", "wb") as err:
        return warm.start([*PROBE, *words], folder, env or environ(), (none, out, err), cold)


def told(folder: pathlib.Path, *words: str, cold: bool = False) -> dict[str, Any]:
    """What the probe finds."""
    assert started(folder, *words, cold=cold, env=environ(MINE="yes; ü")).wait(DEADLINE_SECS) == 0, said(folder)
    return dict(json.loads((folder / "out").read_text()))


def said(folder: pathlib.Path) -> str:
    return (folder / "err").read_text()


def test_it_finds_itself_as_one_that_was_started(folder: pathlib.Path) -> None:
    forked, cold = told(folder, *HOSTILE), told(folder, *HOSTILE, cold=True)
    assert forked.pop("ours") == ["tests"]
    cold.pop("ours")
    forked["path"] = [each for each in forked["path"] if not each.endswith(VENDORED)]
    assert forked == cold
    assert forked["argv"][1:] == [*HOSTILE]
    assert forked["environ"]["MINE"] == "yes; ü"
    assert forked["folder"] == str(folder)


def test_so_does_one_that_the_executable_starts(folder: pathlib.Path) -> None:
    pages = []
    for python in (warm.python(), sys.executable):
        command = [python, *PROBE, *HOSTILE]
        done = subprocess.run(command, cwd=folder, env=environ(), capture_output=True, text=True, check=True)
        assert done.stderr == ""
        pages.append(json.loads(done.stdout))
    for page in pages:
        del page["leads"], page["ours"]  # the one that works leads a session, and is not the one that was started
        page["path"] = [each for each in page["path"] if not each.endswith(VENDORED)]
        for name in ("_", "OLDPWD", "PWD", "SHLVL"):  # a shell's
            page["environ"].pop(name, None)
    assert pages[0] == pages[1]


@pytest.mark.parametrize("cold", [False, True], ids=["forked", "started"])
def test_how_it_ends(folder: pathlib.Path, cold: bool) -> None:
    assert started(folder, "exit", "7", cold=cold).wait(DEADLINE_SECS) == 7
    assert started(folder, "fail", cold=cold).wait(DEADLINE_SECS) == 1
    first, *_, last = said(folder).splitlines()
    assert (first, last) == ("Traceback (most recent call last):", "ValueError: as asked for")
    process = started(folder, "wait", cold=cold)
    with pytest.raises(psutil.TimeoutExpired):
        process.wait(0.01)
    assert process.poll() is None
    assert process.returncode is None
    process.kill()
    assert (process.wait(DEADLINE_SECS), process.poll(), process.returncode) == (-9, -9, -9)


def wait_until(happened: Callable[[], object]) -> None:
    until = time.monotonic() + DEADLINE_SECS
    while not happened():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_it_is_told_signals(folder: pathlib.Path) -> None:
    process = started(folder, "wait")
    wait_until((folder / "out").read_text)
    assert working_in(folder) == [process]
    process.send_signal(signal.SIGTERM)
    assert process.wait(DEADLINE_SECS) == 0
    assert "came 15" in (folder / "out").read_text()


@pytest.fixture
def executed(folder: pathlib.Path) -> Iterator[subprocess.Popen[str]]:
    """The probe, waiting for a signal, started by the executable."""
    process = subprocess.Popen(
        [warm.python(), *PROBE, "wait"], cwd=folder, env=environ(), stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "waiting\n"
    yield process
    process.kill()
    process.communicate()


def working_in(folder: pathlib.Path) -> list[psutil.Process]:
    """The forked processes of a folder."""
    found = []
    for each in psutil.process_iter(["cwd", "cmdline"]):
        if each.info["cwd"] == str(folder) and "warm_server.py" in " ".join(each.info["cmdline"] or []):
            found.append(each)
    return found


def test_the_executable_hands_on_signals(executed: subprocess.Popen[str]) -> None:
    executed.send_signal(signal.SIGTERM)
    out, _ = executed.communicate(timeout=DEADLINE_SECS)
    assert executed.returncode == 0
    assert out.startswith("came 15\n")


def test_the_executable_ends_as_the_process_does(executed: subprocess.Popen[str], folder: pathlib.Path) -> None:
    [process] = working_in(folder)
    process.send_signal(signal.SIGUSR1)
    assert executed.wait(DEADLINE_SECS) == -signal.SIGUSR1


def test_kill_9_of_the_executable_kills_the_process(executed: subprocess.Popen[str], folder: pathlib.Path) -> None:
    [process] = working_in(folder)
    executed.kill()
    psutil.wait_procs([process], DEADLINE_SECS)
    assert working_in(folder) == []


def test_the_server_survives_that_both_end_at_once(executed: subprocess.Popen[str], folder: pathlib.Path) -> None:
    """It is told of both in one go then."""
    [process] = working_in(folder)
    server = process.parent()
    assert server is not None
    server.suspend()
    process.kill()
    wait_until(lambda: process.status() == psutil.STATUS_ZOMBIE)
    executed.kill()
    executed.wait(DEADLINE_SECS)
    server.resume()
    assert started(folder, "exit", "7").wait(DEADLINE_SECS) == 7


def test_nothing_outlives_the_server(folder: pathlib.Path) -> None:
    server = warm.Server()
    with open(os.devnull, "r+b") as none:
        process = server.fork([*PROBE, "wait"], folder, environ(), [none] * 3)
        assert process is not None
        server.stop()
    psutil.wait_procs([psutil.Process(process.pid)], DEADLINE_SECS)
    assert working_in(folder) == []
    assert not os.path.exists(server.python)


def test_what_verifies_exports_is_forked(folder: pathlib.Path) -> None:
    with open(os.devnull, "r+b") as none:
        process = warm.start(["-m", "trainer.training.verification"], folder, helper_environ(), [none] * 3)
        assert isinstance(process, warm.Forked)
        assert process.wait(DEADLINE_SECS) == 0


@pytest.mark.parametrize(
    ("argv", "env"),
    [
        (PROBE, {"TF_CPP_MIN_LOG_LEVEL": "0"}),
        (PROBE, {"TF_XLA_FLAGS": "--tf_xla_auto_jit=2"}),
        (PROBE, {"GCS_RETRY_CONFIG_MAX_RETRIES": "4"}),
        (PROBE, {"PYTHONWARNINGS": "error"}),
        (PROBE, {"PYTHONPATH": "/somewhere"}),
        ((*PROBE, "--verbosity=debug"), {}),
        (("-m", "json.tool", "--help"), {}),
        (("-c", "pass"), {}),
    ],
)
def test_what_acts_at_imports_starts_a_process_as_ever(
    argv: Sequence[str], env: dict[str, str], folder: pathlib.Path
) -> None:
    with open(os.devnull, "r+b") as none:
        assert warm.server().fork(argv, folder, environ(**env), [none] * 3) is None
        process = warm.start(argv, folder, environ(**env), [none] * 3)
    assert isinstance(process, psutil.Popen)
    assert process.wait(DEADLINE_SECS) == 0
