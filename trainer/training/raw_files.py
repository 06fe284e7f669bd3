"""The bytes of data files, uncompressed; what is damaged is told in a sentence."""

from __future__ import annotations

import contextlib
import io
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

import tensorflow as tf

from trainer.job.errors import DataError
from trainer.training.failures import storage_refusals

CHUNK_BYTES = 2**20
GZIP_MAGIC = b"\x1f\x8b"
GZIP_BITS = 16 + zlib.MAX_WBITS


def is_gzip(path: str) -> bool:
    """Whether a file is compressed: told by its first bytes, as names lie."""
    with _readable(path), tf.io.gfile.GFile(path, "rb") as file:
        return bool(file.read(len(GZIP_MAGIC)) == GZIP_MAGIC)


@contextlib.contextmanager
def open_bytes(path: str) -> Iterator[BinaryIO]:
    """A file's bytes, uncompressed.

    Raises:
      DataError: it cannot be read, is damaged or cut off.
      UsageError, StorageFailed: Cloud Storage does not give it.
    """
    packed = is_gzip(path)
    with _readable(path), tf.io.gfile.GFile(path, "rb") as file:
        yield io.BufferedReader(_Unpacked(file), CHUNK_BYTES) if packed else file


def refuse_empty(path: str) -> None:
    """Raises DataError for a file without a byte in it: a writer has failed there."""
    with open_bytes(path) as file:
        if not file.read(1):
            raise DataError(f"{path} is empty: write it again, or leave it out.")


def compression(files: tuple[str, ...]) -> Any:
    """A function from a path (a tensor too) to what TensorFlow's datasets call its compression."""
    packed = [path for path in files if is_gzip(path)]
    if len(packed) in (0, len(files)):
        return lambda path: "GZIP" if packed else ""
    return lambda path: tf.where(tf.reduce_any(tf.equal(packed, path)), "GZIP", "")


@contextlib.contextmanager
def _readable(path: str) -> Iterator[None]:
    try:
        with storage_refusals():
            yield
    except EOFError as error:
        raise DataError(
            f"{path} is cut off: the gzip file ends before its end mark; copy or write it again."
        ) from error
    except zlib.error as error:
        raise DataError(f"{path} is a damaged gzip file ({error}): copy or write it again.") from error
    except tf.errors.OpError as error:
        raise DataError(f"{path} cannot be read: {error.message}.") from error


class _Unpacked(io.RawIOBase):
    """The content of a gzip file, all its parts.

    Python's own reader also takes what TensorFlow's stops at, without a word or with an error: parts without content
    before others, and zeros after the last (io/zlib_inputstream.cc).
    """

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self._file = file
        self._part, self._rest, self._size = zlib.decompressobj(GZIP_BITS), b"", 0

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer, at least in part; 0 at the end. Raises EOFError and zlib.error."""
        view = memoryview(buffer)
        while True:
            packed = self._rest or self._file.read(CHUNK_BYTES)
            if self._part.eof:
                if not packed:
                    return 0
                if not self._size:
                    raise zlib.error("TensorFlow does not read on after a part without content")
                self._part, self._size = zlib.decompressobj(GZIP_BITS), 0
            elif not packed:
                raise EOFError
            piece = self._part.decompress(packed, len(view))
            self._rest = self._part.unused_data or self._part.unconsumed_tail
            self._size += len(piece)
            if piece:
                view[: len(piece)] = piece
                return len(piece)
