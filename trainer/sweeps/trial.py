"""One run of a trial: a job in a process of its own, with its log, its file of reports, and a sure end."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import IO

from trainer.job.errors import JobDirError
from trainer.sweeps.measurements import Report, read_reports
from trainer.sweeps.plan import SweepPlan

SAVING_SECS = 120.0  # how long a trial may take to save and end before it is killed
LEASH = "trainer.sweeps.leash"
LOG_TAIL_BYTES = 20_000


class TrialProcess:
    """A trial at work. Nobody else's Ctrl-C reaches it: it has a session of its own, and gets SIGTERM from here."""

    def __init__(self, plan: SweepPlan, number: int, argv: list[str]) -> None:
        """Start it. Raises JobDirError where an earlier run does not end, OSError where no file can be written."""
        self.folder = plan.trial_dir(number)
        os.makedirs(self.folder, exist_ok=True)
        self.environ = plan.trial_environ(number)
        self.started_at = time.time()
        self._stopped_at: float | None = None
        command = [*plan.entry, *argv]
        with open_lock(self.folder) as lock, open(self.log, "ab") as log:
            log.write(f"\n--- trial {number}: python {shlex.join(command)}\n".encode())
            log.flush()
            self.process = _start(command, self.environ, log, lock)

    @property
    def log(self) -> str:
        """What it prints."""
        return os.path.join(self.folder, "trial.log")

    @property
    def secs(self) -> float:
        """How long this run has taken."""
        return max(0.0, time.time() - self.started_at)

    @property
    def is_stopping(self) -> bool:
        """Whether it was asked to end."""
        return self._stopped_at is not None

    def reports(self) -> list[Report]:
        """What it has reported, of all metrics."""
        return read_reports(self.environ["CLOUD_ML_HP_METRIC_FILE"])

    def poll(self) -> int | None:
        """Its exit code once it has ended, and then nothing of it is left. One that does not end is killed."""
        if self._stopped_at is not None and time.monotonic() - self._stopped_at > SAVING_SECS:
            self.kill()
        exit_code = self.process.poll()
        if exit_code is not None:
            self._signal_group(signal.SIGKILL)  # what it may have started, such as a verification
        return exit_code

    def stop(self) -> None:
        """Ask it to save and end."""
        if self._stopped_at is None:
            self._stopped_at = time.monotonic()
            if self.process.poll() is None:
                self.process.terminate()

    def kill(self) -> None:
        """End it and all it has started, at once."""
        self._signal_group(signal.SIGKILL)
        self.process.wait()

    def _signal_group(self, signum: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS says the second of a group that is gone
            os.killpg(self.process.pid, signum)


def _start(command: list[str], environ: Mapping[str, str], log: IO[bytes], lock: IO[bytes]) -> subprocess.Popen[bytes]:
    """The lock is the child's from here on: it ends with the last process that has it open."""
    return subprocess.Popen(
        [sys.executable, "-m", LEASH, str(os.getpid()), *command],
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        pass_fds=(lock.fileno(),),
    )


def open_lock(folder: str, patience_secs: float = SAVING_SECS) -> IO[bytes]:
    """Hold a trial's folder. A sweep that was killed leaves trials that are still saving: wait for their end.

    Raises:
      JobDirError: a process of an earlier sweep does not end.
    """
    lock = open(os.path.join(folder, "trial.lock"), "ab")  # noqa: SIM115 - the caller closes it
    until = time.monotonic() + patience_secs
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES) or time.monotonic() > until:
                lock.close()
                raise JobDirError(
                    f"{folder} is in use by a trial of an earlier sweep that does not end: stop that process, then "
                    "start the same command again."
                ) from error
        time.sleep(0.1)


def last_lines(path: str, count: int = 10) -> list[str]:
    """The last lines of a log that say something; of a progress bar only what it showed at last."""
    with open(path, "rb") as file:
        file.seek(max(0, os.path.getsize(path) - LOG_TAIL_BYTES))
        text = file.read().decode(errors="replace")
    lines = [re.split(r"\r", line.rstrip("\r"))[-1].rstrip() for line in text.split("\n")]
    return [line for line in lines if line][-count:]
