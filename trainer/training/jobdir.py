"""The job directory as a place: held by one process at a time, and by one job only."""

from __future__ import annotations

import contextlib
import datetime
import errno
import fcntl
import logging
import os
import re
from collections.abc import Iterator, Mapping
from typing import IO, Any

import tensorflow as tf

from trainer.cloud import lease
from trainer.cloud.storage import is_remote
from trainer.job.errors import JobDirError, StorageFailed
from trainer.job.paths import JobPaths

UNREADABLE = re.compile(r"\[.*\]|\\")
LOG = logging.getLogger("trainer")


@contextlib.contextmanager
def held(paths: JobPaths) -> Iterator[None]:
    """Make the job directory and hold it; a local lock goes with the process, however it ends, a bucket's lease later.

    Raises:
      StorageFailed: it cannot be made or written.
      JobDirError: another process is at work in it, or TensorFlow could not read checkpoints from it.
    """
    _refuse_unreadable_names(paths)
    if is_remote(paths.job_dir):
        with lease.held(paths.lock, paths.job_dir):
            yield
        return
    _refuse_foreign_folder(paths)
    with _open_lock(paths) as lock:
        _lock(lock, paths)
        try:
            yield
        finally:
            _leave_no_empty_folder(paths)


def check_free(paths: JobPaths) -> None:
    """Refuse what `held` refuses, and leave the folder as it is. Raises JobDirError, StorageFailed."""
    _refuse_unreadable_names(paths)
    if is_remote(paths.job_dir):
        lease.refuse_held(paths.lock, paths.job_dir)
        return
    _refuse_foreign_folder(paths)
    if os.path.exists(paths.lock):
        with _open_lock(paths) as lock:
            _lock(lock, paths)


def _refuse_unreadable_names(paths: JobPaths) -> None:
    for folder in (paths.job_dir, paths.checkpoints):
        if UNREADABLE.search(folder):
            raise JobDirError(
                f"{folder}: TensorFlow takes brackets and backslashes for a pattern and finds no checkpoint there: "
                "name a --job-dir without them."
            )


def _open_lock(paths: JobPaths) -> IO[Any]:
    """Make the job directory and its lock's file, where they are not there yet."""
    try:
        os.makedirs(paths.job_dir, exist_ok=True)
        return open(paths.lock, "a+")
    except OSError as error:
        raise StorageFailed(
            f"--job-dir={paths.job_dir} cannot be written ({error.strerror}): name another folder."
        ) from error


def _lock(file: IO[Any], paths: JobPaths) -> None:
    """Lock an open file until it is closed."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            raise JobDirError(
                f"another process is at work in {paths.job_dir}: wait for it, stop it, or name another --job-dir."
            ) from error
        LOG.warning("%s cannot be locked (%s): see that no other job writes there", paths.job_dir, error.strerror)


def _refuse_foreign_folder(paths: JobPaths) -> None:
    """What lies under the names a job uses was made by a job, or must not be touched."""
    made_by_a_job = os.path.exists(paths.lock) or os.path.exists(paths.manifest)
    others = [path for path in paths.run_files if path.startswith(paths.job_dir) and os.path.exists(path)]
    if others and not made_by_a_job:
        raise JobDirError(
            f"--job-dir={paths.job_dir} holds {os.path.basename(others[0])}, which no job made: name a folder that is "
            "empty or not there yet."
        )


def _leave_no_empty_folder(paths: JobPaths) -> None:
    """Take the lock's file away where a refused job wrote nothing else."""
    if os.listdir(paths.job_dir) == [os.path.basename(paths.lock)]:
        os.remove(paths.lock)
        os.rmdir(paths.job_dir)


def move_aside(paths: JobPaths, names: tuple[str, ...] | None = None) -> str | None:
    """Move what an earlier run left into a folder below `previous`; its path, None where nothing was there."""
    present = [path for path in names or paths.run_files if tf.io.gfile.exists(path)]
    if not present:
        return None
    stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S-%f")
    target = f"{paths.previous}/{stamp}"
    tf.io.gfile.makedirs(target)
    for path in present:
        tf.io.gfile.rename(path, f"{target}/{path.rstrip('/').rpartition('/')[2]}")
    return target


def refuse_other_job(paths: JobPaths, old: Mapping[str, Any], differences: list[str]) -> None:
    """Refuse a job directory that another job made. Raises JobDirError with the differences in words."""
    if differences:
        raise JobDirError(
            f"{paths.job_dir} holds a run of another job: {'; '.join(differences)}. Name another --job-dir, or move "
            "that run aside with --fresh."
        )
