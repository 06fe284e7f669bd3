"""One rehearsal at a time in a job directory, and none before the last process of a killed one is gone."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import posixpath
import time
from collections.abc import Iterator
from typing import IO

from trainer.cluster.keeper import SAVING_SECS
from trainer.cluster.plan import Plan
from trainer.job.errors import JobDirError, StorageFailed

PATIENCE_SECS = SAVING_SECS + 15.0


@contextlib.contextmanager
def held(plan: Plan) -> Iterator[IO[bytes]]:
    """Make the job directory and hold it; the open lock is for the keeper, who may outlive this process.

    Raises:
      StorageFailed: it cannot be made or written.
      JobDirError: another rehearsal is at work in it, or processes of an earlier one do not end.
    """
    try:
        os.makedirs(posixpath.join(plan.board, "logs"), exist_ok=True)
        own, members = (_open_lock(plan, name) for name in ("rehearsal", "members"))
    except OSError as error:
        raise StorageFailed(
            f"--job-dir={plan.job_dir} cannot be written ({error.strerror}): name another folder."
        ) from error
    with own, members:
        if not _is_locked(own):
            raise JobDirError(
                f"another rehearsal is at work in {plan.job_dir}: wait for it, or name another --job-dir."
            )
        _wait_for(members, plan)
        yield members


def _open_lock(plan: Plan, name: str) -> IO[bytes]:
    return open(posixpath.join(plan.job_dir, f"{name}.lock"), "ab")


def _wait_for(lock: IO[bytes], plan: Plan, patience_secs: float = PATIENCE_SECS) -> None:
    until = time.monotonic() + patience_secs
    while not _is_locked(lock):
        if time.monotonic() > until:
            raise JobDirError(
                f"processes of an earlier rehearsal in {plan.job_dir} do not end: stop them, then start the same "
                "command again."
            )
        time.sleep(0.1)


def _is_locked(lock: IO[bytes]) -> bool:
    """Lock an open file until the last process that has it open ends; whether that was possible."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EAGAIN, errno.EACCES):
            raise
        return False
    return True
