"""Input files: which ones a pattern means, and what tells one set of files from another."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import tensorflow as tf

from trainer.cloud.matching import match_objects
from trainer.cloud.storage import is_remote
from trainer.job.errors import DataError

WHOLE_BYTES = 64 * 2**20  # a larger file is told by its size and its ends: reading it all would delay every start
END_BYTES = 2**20


def match_files(patterns: Sequence[str], flag: str) -> list[str]:
    """The files that names and patterns mean, in sorted order, each once.

    A name that exists is taken literally, so that `a[1].csv` works.

    Raises:
      DataError: a pattern means no file, or a name is a folder.
      UsageError, StorageFailed: Cloud Storage does not tell.
    """
    found: set[str] = set()
    for pattern in patterns:
        files, has_folder = match_objects(pattern) if is_remote(pattern) else _match_local(pattern)
        if not files:
            what = "is a folder: name files, as in" if has_folder else "matches no file: give existing files, as in"
            example = pattern.rstrip("/") + "/*.csv" if has_folder else "data/*.csv"
            raise DataError(f"{flag}={pattern} {what} {flag}='{example}'.")
        found.update(files)
    return sorted(found)


def _match_local(pattern: str) -> tuple[list[str], bool]:
    names = [pattern] if tf.io.gfile.exists(pattern) else tf.io.gfile.glob(pattern)
    files = [name for name in names if not tf.io.gfile.isdir(name)]
    return files, len(files) < len(names)


def describe_files(files: Sequence[str]) -> list[dict[str, object]]:
    """Path, size in bytes and hash of each file, JSON-able."""
    described = []
    for path in files:
        size = tf.io.gfile.stat(path).length
        kind, digest = _digest(path, size)
        described.append({"path": path, "bytes": size, kind: digest})
    return described


def _digest(path: str, size: int) -> tuple[str, str]:
    digest = hashlib.sha256()
    with tf.io.gfile.GFile(path, "rb") as file:
        if size <= WHOLE_BYTES:
            while block := file.read(END_BYTES):
                digest.update(block)
            return "sha256", digest.hexdigest()
        digest.update(file.read(END_BYTES))
        file.seek(size - END_BYTES)
        digest.update(file.read(END_BYTES))
    return "sha256_of_ends", digest.hexdigest()
