"""Copies of data files in Cloud Storage that a local folder keeps from one job to the next: --cache-data.

    DIR/BUCKET/FOLDER/NAME/GENERATION/NAME  a copy of gs://BUCKET/FOLDER/NAME: each write of an object has a generation,
                                            so that a file that was replaced is copied anew, and a job that still reads
                                            the earlier copy goes on
    ....../GENERATION/NAME.unfinished       is being written, or was when its process was killed
    DIR/.lock                               held by the process that copies: others wait, and find its copies

A copy counts if it has the checksum that Cloud Storage shows; it is computed anew at each start.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import IO

from trainer.cloud.folders import fetch_objects, find_objects, refuse_damaged
from trainer.cloud.storage import Stored, crc32c_of, path_below, split
from trainer.job.errors import DataError, StorageFailed, UsageError
from trainer.training.progress import LINE_SECS
from trainer.training.whole_file import UNFINISHED

LOG = logging.getLogger("trainer")
LOCK_FILE = ".lock"
SILENT_BYTES = 256 << 20  # takes a moment
GROUP = 16  # files asked for together, and waited for after Ctrl-C


def keep_copies(urls: Sequence[str], folder: str) -> dict[str, str]:
    """Have local copies of objects, made where there are none that are right; URL -> path.

    Raises:
      DataError: an object is not there any more.
      UsageError: it cannot be read, or its name cannot be a local one.
      StorageFailed: no answer, damage on the way, no room, or the folder cannot be written.
    """
    try:
        with _held(folder):
            objects = find_objects(urls)
            gone = next((url for url in urls if url not in objects), None)
            if gone:
                raise DataError(f"{gone} is not there any more: put it back, or name other files.")
            paths = {url: _path_of(each, folder) for url, each in objects.items()}
            missing = _missing(list(objects.values()), paths)
            if missing:
                _refuse_full(folder, missing)
                _fetch([(each, paths[each.url]) for each in missing], folder)
            return {url: paths[url] for url in urls}
    except OSError as error:
        raise StorageFailed(
            f"--cache-data={folder}: {error.filename or 'a copy'} cannot be written ({error.strerror or error}): "
            "name another folder, or see to its permissions."
        ) from error


def _path_of(stored: Stored, folder: str) -> str:
    bucket, name = split(stored.url)
    path = path_below(os.path.join(folder, bucket), f"{name}/{stored.generation}/{name.rpartition('/')[2]}")
    if path is None:
        raise UsageError(f"{stored.url} cannot be kept below --cache-data={folder}: its name leads out of it.")
    return path


def _missing(objects: Sequence[Stored], paths: Mapping[str, str]) -> list[Stored]:
    """Those without a copy, or with a damaged one."""
    there, missing = list[Stored](), list[Stored]()
    for each in objects:
        path = paths[each.url]
        (there if os.path.isfile(path) and os.path.getsize(path) == each.size else missing).append(each)
    total = sum(each.size for each in there)
    if total > SILENT_BYTES:
        LOG.info("comparing the checksums of %d copies, %s MB", len(there), f"{total / 1e6:,.1f}")
    return missing + [each for each in there if crc32c_of(paths[each.url]) != each.crc32c]


def _refuse_full(folder: str, missing: Sequence[Stored]) -> None:
    needed, free = sum(each.size for each in missing), shutil.disk_usage(folder).free
    if needed > free:
        raise StorageFailed(
            f"--cache-data={folder}: the copies need {needed / 1e6:,.0f} MB, the disk has {free / 1e6:,.0f} MB left: "
            "make room (copies of files that were replaced since are of no use), or name a folder on another disk."
        )


def _fetch(pairs: Sequence[tuple[Stored, str]], folder: str) -> None:
    for _, path in pairs:
        _remove_unfinished(path)
    parts = [Part(path + UNFINISHED) for _, path in pairs]
    total = sum(each.size for each, _ in pairs)
    LOG.info("copying %d files, %s MB, to %s", len(pairs), f"{total / 1e6:,.1f}", folder)
    try:
        with _told(parts, total):
            for first in range(0, len(pairs), GROUP):
                _fetch_group(pairs[first : first + GROUP], parts[first : first + GROUP])
    finally:
        for part in parts:
            part.discard()


def _remove_unfinished(path: str) -> None:
    """What killed processes left of a file, of any generation."""
    generations, name = os.path.dirname(os.path.dirname(path)), os.path.basename(path)
    for generation in os.listdir(generations) if os.path.isdir(generations) else ():
        with contextlib.suppress(FileNotFoundError):
            os.remove(os.path.join(generations, generation, name + UNFINISHED))


def _fetch_group(pairs: Sequence[tuple[Stored, str]], parts: Sequence[Part]) -> None:
    fetch_objects(pairs[0][0].url, [(each, part) for (each, _), part in zip(pairs, parts, strict=True)])
    for (each, path), part in zip(pairs, parts, strict=True):
        part.close()
        refuse_damaged(each, part.path)
        os.replace(part.path, path)


class Part:
    """A file that is made with its first byte; ended by `discard`, after which nothing can be written.

    Threads that download outlive Ctrl-C, and Python waits for them at its end.
    """

    def __init__(self, path: str) -> None:
        self.path, self.written = path, 0
        self._file: IO[bytes] | None = None
        self._discarded = False
        self._lock = threading.Lock()  # else a first byte could make the file just after it was discarded

    def write(self, text: bytes) -> int:
        """Add to the end. Raises OSError."""
        with self._lock:
            if self._discarded:
                raise InterruptedError(f"{self.path} is not wanted any more")
            self.written += self._opened().write(text)
        return len(text)

    def seek(self, place: int) -> int:
        """Go back to the beginning, and forget what came after it. Raises OSError."""
        if self._file is not None:
            self._file.seek(place)
            self._file.truncate()
        self.written = place
        return place

    def close(self) -> None:
        """The file is whole, an empty one too. Raises OSError."""
        self._opened().close()

    def discard(self) -> None:
        """Leave nothing under this name."""
        with self._lock:
            self._discarded = True
            if self._file is not None:
                self._file.close()
            with contextlib.suppress(FileNotFoundError):
                os.remove(self.path)

    def _opened(self) -> IO[bytes]:
        if self._file is None:
            os.makedirs(os.path.dirname(self.path), exist_ok=True)
            self._file = open(self.path, "wb")  # noqa: SIM115 - `close` and `discard` close it
        return self._file


@contextlib.contextmanager
def _told(parts: Sequence[Part], total: int) -> Iterator[None]:
    """Within this context, a line every few seconds says how much there is."""
    is_over = threading.Event()

    def tell() -> None:
        while not is_over.wait(LINE_SECS):
            LOG.info("copied %s of %s MB", f"{sum(each.written for each in parts) / 1e6:,.1f}", f"{total / 1e6:,.1f}")

    thread = threading.Thread(target=tell, name="copies", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


@contextlib.contextmanager
def _held(folder: str) -> Iterator[None]:
    """Alone with the folder. Raises OSError."""
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, LOCK_FILE), "a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            LOG.info("waiting for another process that copies to %s", folder)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
