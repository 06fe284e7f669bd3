"""Files in which a line is an example: what CSV and JSON lines have in common."""

from __future__ import annotations

import codecs
import dataclasses
from collections.abc import Iterator

import tensorflow as tf

from trainer.job.errors import DataError
from trainer.training.raw_files import CHUNK_BYTES, open_bytes, refuse_empty
from trainer.training.reader import Reader, Scan

BLANK = (b"\n\n", b"\n\r\n", b"\r\r")  # where one of these stands, there may be a blank line
NO_LETTERS = "\\x{D800}-\\x{DFFF}"  # a class [^...] with these matches strict UTF-8 only in TensorFlow, another more
UTF8 = f"[^{NO_LETTERS}]*"
NO_UTF8 = "this is not UTF-8 text: convert the file, as with iconv -f latin1 -t utf-8"


@dataclasses.dataclass(frozen=True)
class LineReader(Reader):
    """Lines end with a line feed; carriage returns are dropped, as TensorFlow does; blank lines are no examples."""

    unit = "line"
    head_lines = 0  # lines of each file that are no examples

    def raw_rows(self, path: str) -> Iterator[tuple[int, bytes]]:
        """See Reader."""
        with open_bytes(path) as file:
            for number, line in enumerate(file, start=1):
                if number > self.head_lines and not is_blank(line):
                    yield number, strip(line)

    def records(self, path: str | tf.Tensor) -> tf.data.Dataset:
        """See Reader."""
        lines = tf.data.TextLineDataset(path, compression_type=self._compression(path), buffer_size=CHUNK_BYTES)
        return lines.skip(self.head_lines) if self.head_lines else lines

    def scan(self, path: str) -> Scan:
        """Fast where no line is blank and none has to be looked into."""
        newlines, size, tail, plain = 0, 0, b"", True
        with open_bytes(path) as file:
            while chunk := file.read(CHUNK_BYTES):
                newlines, size = newlines + chunk.count(b"\n"), size + len(chunk)
                seam = (tail or b"\n") + chunk
                plain = plain and self.is_plain(chunk) and not any(mark in seam for mark in BLANK)
                tail = seam[-2:]
        if not plain or tail == b"\n\r":
            return self._scan_lines(path, size)
        return Scan(max(newlines + (not tail.endswith(b"\n")) - self.head_lines, 0) if size else 0, size)

    def is_plain(self, chunk: bytes) -> bool:
        """Whether lines need no look at their content. A subclass may know better."""
        return True

    def check_line(self, path: str, number: int, line: bytes) -> None:
        """Raises DataError for a line that cannot be told apart from its neighbours."""

    def _scan_lines(self, path: str, size: int) -> Scan:
        rows, blank = 0, False
        with open_bytes(path) as file:
            for number, line in enumerate(file, start=1):
                self.check_line(path, number, line)
                if number > self.head_lines:
                    blank, rows = blank or is_blank(line), rows + (not is_blank(line))
        return Scan(rows, size, blank)


def is_blank(line: bytes) -> bool:
    """Spaces are no blank: they may be the value of an only column."""
    return not line.strip(b"\r\n")


def strip(line: bytes) -> bytes:
    """A line as TensorFlow reads it."""
    return line.replace(b"\r", b"").removesuffix(b"\n")


def first_line(path: str) -> bytes:
    """The first line of a file, with its end. Raises DataError for a file that is empty."""
    refuse_empty(path)
    with open_bytes(path) as file:
        return file.readline()


def refuse_mark(path: str, line: bytes) -> None:
    """Raises DataError for a byte order mark, which would become a part of the first value."""
    if line.startswith(codecs.BOM_UTF8):
        raise DataError(
            f"{path} begins with a byte order mark: write it as plain UTF-8, as with sed -i '1s/^\\xef\\xbb\\xbf//'."
        )
