"""Whether data files stay what they were when a job began to read them, on a disk and in Cloud Storage.

A file that another takes the place of is read in part as the one and in part as the other, without an error: where
both have the same columns nobody would know. So versions are noted before the first byte is read, and compared before
anything that was learnt or found out is kept.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from trainer.cloud.folders import find_objects
from trainer.cloud.storage import is_remote
from trainer.job.errors import DataError
from trainer.training.files import describe_files

Version = tuple[int, object]  # size in bytes; time of writing in ns of a local file, crc32c of an object
REMEDY = (
    "nothing that came of it was kept; put back what was there and start the same command again, it goes on from the "
    "last checkpoint, or start anew on what is there now with --fresh"
)


def find_versions(paths: Collection[str]) -> dict[str, Version]:
    """Path -> version, of those that are there; a list for each folder in a bucket.

    Raises UsageError, StorageFailed.
    """
    remote = [path for path in paths if is_remote(path)]
    objects = find_objects(remote) if remote else {}
    found: dict[str, Version] = {url: (each.size, each.crc32c) for url, each in objects.items()}
    for path in paths:
        if not is_remote(path) and os.path.exists(path):
            there = os.stat(path)
            found[path] = there.st_size, there.st_mtime_ns
    return found


class DataWatch:
    """Knows a set of files as they were when it was made, before they were read."""

    def __init__(self, paths: Iterable[str]) -> None:
        """Raises UsageError, StorageFailed."""
        self._versions = find_versions(dict.fromkeys(paths))
        self._described: dict[str, dict[str, Any]] = {}
        self._settled: set[str] = set()

    def describe(self, paths: Sequence[str]) -> list[dict[str, Any]]:
        """What `describe_files` says of them, read once."""
        self._described |= {str(each["path"]): each for each in describe_files(self._not_described(paths))}
        return [self._described[path] for path in paths]

    def check(self, paths: Sequence[str], once: bool = False) -> None:
        """See that files are what they were; a local one may have been written again with the same content.

        `once`: what was read is in memory now, so that the next call with these files does nothing.

        Raises:
          DataError: one was replaced, or is gone.
          UsageError, StorageFailed: Cloud Storage does not tell.
        """
        if once and self._settled.issuperset(paths):
            return
        found = self.find_change(paths)
        if found is not None:
            raise DataError(f"{found} while the job read it: {REMEDY}.")
        if once:
            self._settled.update(paths)

    def find_change(self, paths: Sequence[str]) -> str | None:
        """What happened to the first file that is not what it was, in words. Raises UsageError, StorageFailed."""
        now = find_versions(paths)
        for path in paths:
            if path not in now:
                return f"{path} was removed"
            if now[path] != self._versions.get(path) and not self._is_same(path):
                return f"{path} was replaced or changed"
            self._versions[path] = now[path]
        return None

    def _is_same(self, path: str) -> bool:
        known = self._described.get(path)
        return known is not None and not is_remote(path) and describe_files([path]) == [known]

    def _not_described(self, paths: Sequence[str]) -> list[str]:
        return [path for path in paths if path not in self._described]
