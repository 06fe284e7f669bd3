"""One rehearsal at a time in a job directory, and none before the last process of a killed one is gone."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import posixpath
import time
from collections.abc import Callable, Iterator
from typing import IO

from trainer.cluster.keeper import SAVING_SECS
from trainer.cluster.plan import Plan
from trainer.job.errors import DENIED_ERRNOS, FULL_ERRNOS, JobDirError, StorageFailed

STORAGE = (*FULL_ERRNOS, *DENIED_ERRNOS, errno.EEXIST)
PATIENCE_SECS = SAVING_SECS + 15.0


@contextlib.contextmanager
def held(plan: Plan, say: Callable[[str], None]) -> Iterator[IO[bytes]]:
    """Make the job directory and hold it; the open lock is for the keeper, who may outlive this process.

    `say` is called where there is something to wait for.

    Raises:
      StorageFailed: it cannot be made or written, or the disk is full.
      JobDirError: another rehearsal is at work in it, or processes of an earlier one do not end.
    """
    with _storage_explained(plan), contextlib.ExitStack() as stack:
        os.makedirs(posixpath.join(plan.board, "logs"), exist_ok=True)
        own, members = (stack.enter_context(_open_lock(plan, name)) for name in ("rehearsal", "members"))
        if not _is_locked(own):
            raise JobDirError(
                f"another rehearsal is at work in {plan.job_dir}: wait for it, or name another --job-dir."
            )
        _wait_for(members, plan, say)
        yield members


@contextlib.contextmanager
def _storage_explained(plan: Plan) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in STORAGE:
            raise
        raise StorageFailed(
            f"--job-dir={plan.job_dir} cannot be written ({error.strerror}): make room, or name another folder."
        ) from error


def _open_lock(plan: Plan, name: str) -> IO[bytes]:
    return open(posixpath.join(plan.job_dir, f"{name}.lock"), "ab")


def _wait_for(lock: IO[bytes], plan: Plan, say: Callable[[str], None]) -> None:
    if _is_locked(lock):
        return
    say("processes of an earlier rehearsal are still saving: waiting for them to end.")
    until = time.monotonic() + PATIENCE_SECS
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
