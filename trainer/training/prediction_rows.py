"""Predictions as text, a whole batch at a time: Python's work for one row is a few list slots.

A batch's values become JSON in one call, and that text is cut between the rows. The cuts are safe: text that holds no
strings has its brackets where the rows end, and inside a JSON string there is never a raw line feed.
"""

from __future__ import annotations

import abc
import re
from collections.abc import Mapping, Sequence

import numpy as np
import orjson

from trainer.job.errors import UsageError
from trainer.job.serving import KEY

QUOTED = re.compile('[",\r\n]')  # a CSV cell with one of these stands in quotes
BETWEEN = b",\n  "  # two strings of an indented JSON list

Outputs = Mapping[str, np.ndarray]  # name -> [batch, ...]


class Table(abc.ABC):
    """The text of one file of predictions.

    Args:
      names: of the outputs.
      classes: output -> names of its values, where they have some.
    """

    suffix: str  # of the file's name

    def __init__(self, names: Sequence[str], classes: Mapping[str, Sequence[str]]) -> None:
        self.names, self.classes = names, classes

    @abc.abstractmethod
    def head(self, outputs: Outputs | None) -> bytes:
        """What comes before the first row; `outputs` are those of the first batch, None where there is none."""

    @abc.abstractmethod
    def rows(self, keys: Sequence[str], outputs: Outputs) -> bytes:
        """A batch as lines, in its order."""


class JsonLines(Table):
    """One object a row: `{"key": ..., OUTPUT: ...}`; NaN and infinity are null."""

    suffix = ".predictions.jsonl"

    def head(self, outputs: Outputs | None) -> bytes:
        """See Table."""
        return b""

    def rows(self, keys: Sequence[str], outputs: Outputs) -> bytes:
        """See Table."""
        parts: list[bytes | list[bytes]] = [b"{" + orjson.dumps(KEY) + b":", _json_texts(keys)]
        for name, values in outputs.items():
            brackets, pieces = _json(values)
            parts += [b"," + orjson.dumps(name) + b":" + b"[" * brackets, pieces, b"]" * brackets]
        return _interleaved([*parts, b"}\n"], len(keys))


class CsvLines(Table):
    """A header line and one line a row; an output with many values has a column for each."""

    suffix = ".predictions.csv"

    def __init__(self, names: Sequence[str], classes: Mapping[str, Sequence[str]]) -> None:
        super().__init__(names, classes)
        self._widths: dict[str, int] = {}

    def head(self, outputs: Outputs | None) -> bytes:
        """See Table."""
        likely = {name: len(self.classes.get(name, ())) or 1 for name in self.names}
        self._widths = likely if outputs is None else {name: _width(values) for name, values in outputs.items()}
        spread = [self._columns(name, width, self.classes.get(name, ())) for name, width in self._widths.items()]
        columns = [KEY, *(column for each in spread for column in each)]
        if len(set(columns)) < len(columns):  # a class called like another output
            spread = [self._columns(name, width, ()) for name, width in self._widths.items()]
            columns = [KEY, *(column for each in spread for column in each)]
        return b",".join(_csv_texts(columns)) + b"\n"

    def rows(self, keys: Sequence[str], outputs: Outputs) -> bytes:
        """See Table. Raises UsageError where a row has more or fewer values than those before."""
        parts: list[bytes | list[bytes]] = [_csv_texts(keys)]
        for name, values in outputs.items():
            if _width(values) != self._widths[name]:
                raise UsageError(
                    f"--output-format=csv: {name} has {self._widths[name]} values in some rows and {_width(values)} in "
                    "others, which needs --output-format=jsonl."
                )
            if self._widths[name]:
                parts += [b",", _csv(values)]
        return _interleaved([*parts, b"\n"], len(keys))

    @staticmethod
    def _columns(name: str, width: int, classes: Sequence[str]) -> list[str]:
        if width == 1:
            return [name]
        return [f"{name}_{each}" for each in (classes if len(classes) == width else range(width))]


TABLES: dict[str, type[Table]] = {"jsonl": JsonLines, "csv": CsvLines}


def texts_of(values: np.ndarray) -> list[str]:
    """Bytes, text or whole numbers ([batch]) as text; bytes that are no UTF-8 are spelled out as \\xNN."""
    listed = values.tolist()
    try:
        return [each.decode() for each in listed]
    except (UnicodeDecodeError, AttributeError):
        return [each.decode("utf-8", "backslashreplace") if isinstance(each, bytes) else str(each) for each in listed]


def _interleaved(parts: Sequence[bytes | list[bytes]], rows: int) -> bytes:
    """Row by row: the constants, and of each list this row's piece."""
    pieces = [b""] * (rows * len(parts))
    for index, part in enumerate(parts):
        pieces[index :: len(parts)] = part if isinstance(part, list) else [part] * rows
    return b"".join(pieces)


def _json(values: np.ndarray) -> tuple[int, list[bytes]]:
    """The JSON of each row, without so many of its outer brackets."""
    if values.dtype.kind in "OSU":
        return _json_of_texts(values)
    brackets = values.ndim - 1
    if not values.size:
        return brackets, [b""] * len(values)
    text = orjson.dumps(_plain(values), option=orjson.OPT_SERIALIZE_NUMPY)
    edge = brackets + 1
    return brackets, text[edge:-edge].split(b"]" * brackets + b"," + b"[" * brackets)


def _json_of_texts(values: np.ndarray) -> tuple[int, list[bytes]]:
    if values.ndim == 1:
        return 0, _json_texts(texts_of(values))
    nested = np.array(texts_of(values.ravel()), object).reshape(values.shape).tolist()
    return 0, [orjson.dumps(row) for row in nested]


def _json_texts(texts: Sequence[str]) -> list[bytes]:
    return orjson.dumps(texts, option=orjson.OPT_INDENT_2)[len(b"[\n  ") : -len(b"\n]")].split(BETWEEN)


def _csv(values: np.ndarray) -> list[bytes]:
    """The cells of each row, commas between them."""
    if values.dtype.kind in "OSU":
        cells = _csv_texts(texts_of(values.ravel()))
        width = _width(values)
        return cells if width == 1 else [b",".join(cells[at : at + width]) for at in range(0, len(cells), width)]
    matrix = values.reshape(len(values), -1)
    rows = _json(matrix)[1]
    if values.dtype.kind in "fV" and not np.isfinite(matrix := _plain(matrix)).all():
        for row in np.flatnonzero(~np.isfinite(matrix).all(axis=1)):
            rows[row] = _with_words(rows[row], matrix[row])
    return rows


def _with_words(row: bytes, values: np.ndarray) -> bytes:
    """A row in which null is what the value is: nan, inf or -inf, as every reader of numbers takes them."""
    cells = zip(row.split(b","), values, strict=True)
    return b",".join(str(value).encode() if cell == b"null" else cell for cell, value in cells)


def _csv_texts(texts: Sequence[str]) -> list[bytes]:
    if not QUOTED.search("".join(texts)):
        return [text.encode() for text in texts]
    return [(f'"{_doubled(text)}"' if QUOTED.search(text) else text).encode() for text in texts]


def _doubled(text: str) -> str:
    return text.replace('"', '""')


def _width(values: np.ndarray) -> int:
    """How many values a row has."""
    return int(np.prod(values.shape[1:]))


def _plain(values: np.ndarray) -> np.ndarray:
    """The values as orjson takes them: in one piece, and bfloat16 as the float32 that holds it exactly."""
    return np.ascontiguousarray(values.astype(np.float32) if values.dtype.kind == "V" else values)
