"""A file that appears under its name when it is whole, on a disk or in Cloud Storage."""

from __future__ import annotations

import abc
import errno
import fcntl
import os
import tempfile
from typing import BinaryIO

from trainer.cloud import storage
from trainer.cloud.asking import TRAINING_SECS
from trainer.job.errors import UsageError

UNFINISHED = ".unfinished"
IN_MEMORY_BYTES = 8 << 20


class WholeFile(abc.ABC):
    """Written from its beginning to its end; ended by `finish` or `discard`."""

    @abc.abstractmethod
    def write(self, text: bytes) -> None:
        """Add to the end."""

    @abc.abstractmethod
    def finish(self) -> None:
        """Let it appear, in place of one that has its name. Raises UsageError, StorageFailed for a bucket's."""

    @abc.abstractmethod
    def discard(self) -> None:
        """Leave nothing."""


def open_whole(path: str) -> WholeFile:
    """A file to be written, local or gs://. Raises UsageError where another process is writing the same local one."""
    return StoredFile(path) if storage.is_remote(path) else LocalFile(path)


def put_whole(path: str, text: bytes) -> None:
    """Write a small file in one step. Raises as `open_whole` and its `finish`."""
    file = open_whole(path)
    file.write(text)
    file.finish()


class LocalFile(WholeFile):
    """Written as NAME.unfinished, synced, renamed. A kill leaves that, which the next one of the name writes over."""

    def __init__(self, path: str) -> None:
        """Raises UsageError where another process is writing it."""
        self._path, self._unfinished = path, path + UNFINISHED
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        self._file = _open_alone(self._unfinished, path)

    def write(self, text: bytes) -> None:
        """See WholeFile."""
        self._file.write(text)

    def finish(self) -> None:
        """See WholeFile; it is on the disk before it is under its name."""
        self._file.flush()
        os.fsync(self._file.fileno())
        os.rename(self._unfinished, self._path)  # while the lock is held
        _sync_folder(os.path.dirname(self._path) or ".")
        self._file.close()

    def discard(self) -> None:
        """See WholeFile."""
        os.remove(self._unfinished)
        self._file.close()


class StoredFile(WholeFile):
    """An object, which appears whole by itself: with its end it is sent, in one request where it is small.

    Until then it is in memory, and where it is large in a local file without a name, which a kill takes along.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._file = tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES)  # noqa: SIM115 - `finish` and `discard` close it

    def write(self, text: bytes) -> None:
        """See WholeFile."""
        self._file.write(text)

    def finish(self) -> None:
        """See WholeFile."""
        storage.put(self._path, self._file, TRAINING_SECS)
        self._file.close()

    def discard(self) -> None:
        """See WholeFile."""
        self._file.close()


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
