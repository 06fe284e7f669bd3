"""Signals to real processes: finish the step and save, or end at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

Start = Callable[..., "Job"]

# Prints what happens to it; "steps" are sleeps, and a job that is asked to stop goes on for as long as it is told.
JOB = """
import sys, time
from trainer.training import stopping
stopping.SAME_REQUEST_SECS = float(sys.argv[1])
stop = stopping.StopRequest()
try:
    with stop.listening():
        if sys.argv[2] == "saving":
            with stop.saving():
                print("ready", flush=True)
                while not stop.requested:
                    time.sleep(0.01)
                print("asked", stop.signum, flush=True)
                time.sleep(float(sys.argv[3]))
                print("saved", flush=True)
        else:
            print("ready", flush=True)
            time.sleep(30)
except KeyboardInterrupt:
    print("interrupted", stop.signum, flush=True)
"""

# Its "step" is a call that never comes back to Python; a thread listens in its place, as a member of a cluster does.
STUCK = """
import hashlib, os, sys, threading, time
from trainer.training import stopping
stopping.SAME_REQUEST_SECS = float(sys.argv[1])

def listen():
    time.sleep(0.5)
    print("ready", flush=True)  # the main thread is in its call by now
    signals = stopping.UnheardSignals(stop)
    while True:
        time.sleep(0.05)
        signum = signals.look("stopping, once step 7 ends", sys.argv[2] == "stuck")
        if signum is not None:
            print("ended for", signum, flush=True)
            os._exit(128 + signum)

stop = stopping.StopRequest()
with stop.listening(), stop.saving():
    threading.Thread(target=listen, daemon=True).start()
    hashlib.pbkdf2_hmac("sha256", b"", b"", int(sys.argv[3]))
    if stop.requested:
        time.sleep(3.0)
        print("saved", flush=True)
"""
NEVER, SECONDS = 5 * 10**7, 4 * 10**6  # how long the call takes


class Job:
    """A process that listens to signals."""

    def __init__(self, *arguments: object, code: str = JOB) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, *map(str, arguments)],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.expect("ready")

    def expect(self, words: str) -> None:
        """Read the next line."""
        assert self.process.stdout
        assert self.process.stdout.readline().strip() == words

    def send(self, signum: int) -> None:
        """Signal it."""
        self.process.send_signal(signum)

    def rest(self) -> tuple[list[str], str]:
        """The lines it prints up to its end, and what it says on stderr."""
        assert self.process.stdout
        assert self.process.stderr
        # not communicate(): that reads past the lines which `expect` has buffered already
        with self.process:
            out, err = self.process.stdout.read(), self.process.stderr.read()
        return out.split("\n")[:-1], err


@pytest.fixture
def start() -> Start:
    """Start a job: seconds in which two signals are one, `saving` or `not saving`, seconds it takes to stop."""
    return Job


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_lets_the_step_be_saved(start: Start, signum: int) -> None:
    job = start(1.0, "saving", 0)
    job.send(signum)
    job.expect(f"asked {int(signum)}")
    out, err = job.rest()
    assert out == ["saved"]
    assert err == "\nstopping: finishing the step and saving a checkpoint ...\n"
    assert job.process.returncode == 0


def test_two_signals_at_once_are_one_request(start: Start) -> None:
    """`timeout` and process managers signal a process and its group."""
    job = start(30.0, "saving", 0.5)
    job.send(signal.SIGTERM)
    job.expect("asked 15")
    for signum in (signal.SIGINT, signal.SIGTERM):
        job.send(signum)
        time.sleep(0.05)
    out, err = job.rest()
    assert out == ["saved"]
    assert err.count("stopping") == 1


def test_a_later_signal_ends_it_at_once(start: Start) -> None:
    job = start(1.0, "saving", 30)
    job.send(signal.SIGINT)
    job.expect("asked 2")
    job.send(signal.SIGINT)
    time.sleep(1.2)
    job.send(signal.SIGTERM)
    started = time.monotonic()
    assert job.rest()[0] == ["interrupted 15"]
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_where_there_is_no_step_to_save_the_first_one_ends_it(start: Start, signum: int) -> None:
    job = start(1.0, "not saving")
    job.send(signum)
    out, err = job.rest()
    assert out == [f"interrupted {int(signum)}"]
    assert err == ""


def test_a_second_signal_ends_a_step_that_never_does(start: Start) -> None:
    job = start(0.3, "may end", NEVER, code=STUCK)
    job.send(signal.SIGINT)
    time.sleep(1.0)
    assert job.process.poll() is None
    job.send(signal.SIGTERM)
    out, err = job.rest()
    assert (job.process.returncode, out) == (143, ["ended for 15"])
    assert err == "\nstopping, once step 7 ends; a second signal ends it at once ...\n"


def test_two_signals_of_one_request_do_not_end_a_step(start: Start) -> None:
    job = start(1.0, "may end", NEVER, code=STUCK)
    job.send(signal.SIGINT)
    time.sleep(0.3)
    job.send(signal.SIGINT)
    time.sleep(2.0)
    is_there = job.process.poll() is None
    job.process.kill()
    assert is_there
    assert job.rest()[1].count("stopping") == 1


def test_a_step_that_ends_after_two_signals_of_one_request_is_saved(start: Start) -> None:
    """Python tells of them only once."""
    job = start(0.5, "may end", SECONDS, code=STUCK)
    job.send(signal.SIGTERM)
    time.sleep(0.05)
    job.send(signal.SIGTERM)
    assert job.rest()[0] == ["saved"]
    assert job.process.returncode == 0


def test_where_a_step_is_known_to_be_stuck_one_signal_ends_it(start: Start) -> None:
    job = start(0.3, "stuck", NEVER, code=STUCK)
    job.send(signal.SIGTERM)
    assert job.rest()[0] == ["ended for 15"]
    assert job.process.returncode == 143


def test_the_handlers_before_come_back() -> None:
    from trainer.training.stopping import SIGNALS, StopRequest

    before = [signal.getsignal(each) for each in SIGNALS]
    stop = StopRequest()
    with stop.listening():
        assert all(signal.getsignal(each) is not handler for each, handler in zip(SIGNALS, before, strict=True))
        assert stop.unheard() == []
        with stop.saving():
            os.kill(os.getpid(), signal.SIGTERM)
        assert stop.signum == signal.SIGTERM
        assert stop.unheard() == []
    former = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(former)
    assert former == -1
    for each, handler in zip(SIGNALS, before, strict=True):
        signal.signal(each, handler)
