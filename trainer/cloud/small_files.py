"""Small files of a job directory in a bucket: read and written whole, one request each.

An object appears whole by itself, so nothing is written under another name first. What only the holder of a job
directory writes goes in the place of the generation that this process has seen last: a process that was silent for so
long that another has taken its place cannot write over what that one wrote, however late it wakes up.
"""

from __future__ import annotations

import io

from trainer.cloud.asking import TRAINING_SECS
from trainer.cloud.storage import put, put_version, read_version
from trainer.job.errors import JobDirError


class SmallFiles:
    """What one process knows of them. All methods raise UsageError and StorageFailed, after a job's patience."""

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}

    def read(self, url: str) -> bytes | None:
        """The content of one; None where there is none."""
        found = read_version(url, TRAINING_SECS)
        self._seen[url] = found[1] if found else 0
        return found[0] if found else None

    def put(self, url: str, content: bytes) -> None:
        """Write one, whoever has written it before."""
        put(url, io.BytesIO(content), TRAINING_SECS)

    def put_as_holder(self, url: str, content: bytes) -> None:
        """Write one that others do not. Raises JobDirError where one has, since this process has seen it."""
        if url not in self._seen:
            self.read(url)
        generation = put_version(url, content, self._seen[url], TRAINING_SECS)
        if generation is None and self.read(url) == content:  # our own, whose answer was lost on its way
            return
        if generation is None:
            raise JobDirError(
                f"{url} was written by another process since this one has read it: ended without writing over it; see "
                "that one job alone works there."
            )
        self._seen[url] = generation
