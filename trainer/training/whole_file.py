"""A file that appears under its name when it is whole: written as NAME.unfinished, synced, renamed."""

from __future__ import annotations

import errno
import fcntl
import os
from typing import BinaryIO

import tensorflow as tf

from trainer.job.errors import UsageError

UNFINISHED = ".unfinished"


class WholeFile:
    """Local or gs://. A kill leaves NAME.unfinished, which the next one of the same name writes over.

    Raises:
      UsageError: another process is writing the same file.
    """

    def __init__(self, path: str) -> None:
        self._path, self._unfinished = path, path + UNFINISHED
        self._is_local = "://" not in path
        tf.io.gfile.makedirs(path.rpartition("/")[0] or ".")
        self._file: BinaryIO = (
            _open_alone(self._unfinished, path) if self._is_local else tf.io.gfile.GFile(self._unfinished, "wb")
        )

    def write(self, text: bytes) -> None:
        """Add to the end."""
        self._file.write(text)

    def finish(self) -> None:
        """Let it appear, on the disk before under its name."""
        self._file.flush()
        if self._is_local:
            os.fsync(self._file.fileno())
            os.rename(self._unfinished, self._path)  # while the lock is held
            _sync_folder(os.path.dirname(self._path) or ".")
            self._file.close()
            return
        self._file.close()
        tf.io.gfile.rename(self._unfinished, self._path, overwrite=True)

    def discard(self) -> None:
        """Leave nothing."""
        if self._is_local:
            os.remove(self._unfinished)
        self._file.close()
        if not self._is_local and tf.io.gfile.exists(self._unfinished):
            tf.io.gfile.remove(self._unfinished)


def put_whole(path: str, text: bytes) -> None:
    """Write a small file in one step."""
    file = WholeFile(path)
    file.write(text)
    file.finish()


def _open_alone(unfinished: str, path: str) -> BinaryIO:
    """Open for writing what no other process has open. Raises UsageError where one has."""
    while True:
        file = open(unfinished, "ab")  # noqa: SIM115 - the caller closes it; "ab", as "wb" would empty another's file
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EACCES):
                file.close()
                raise UsageError(
                    f"another process is writing {path}: wait for it, stop it, or give each its own --shard=I/N."
                ) from error
        # between opening and locking, another process may have finished the file: then this one is not ours
        if _is_same(file, unfinished):
            file.truncate(0)
            return file
        file.close()


def _is_same(file: BinaryIO, path: str) -> bool:
    try:
        there = os.stat(path)
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(file.fileno()), there)


def _sync_folder(folder: str) -> None:
    """A rename is on the disk when its folder is."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
