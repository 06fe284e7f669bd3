"""JSON lines: one object a line, `{"name": "Oslo", "size": [1.5, 2]}`.

TensorFlow has no operation for them, so each batch is decoded in Python. Fractions stay text until TensorFlow's own
parser reads them, the one for CSV: both formats give the same bits.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from trainer.job.columns import Column, Layout
from trainer.job.errors import UsageError
from trainer.training.line_reader import NO_UTF8, LineReader, first_line, refuse_mark
from trainer.training.numbers import LONGEST_FLOAT, problem_of
from trainer.training.reader import LONGEST_SHOWN, WANTED, BadValue, shown

Fraction = bytes  # the text of a number that is not whole; made by str.encode, it is nothing else JSON has, and cheap
CONSTANTS = {"NaN": b"nan", "Infinity": b"inf", "-Infinity": b"-inf"}  # what Python's json writes for them
DEEPEST = 100  # brackets within brackets; Python's own limit depends on who calls
NO_BRACKETS = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[^][{}]+')
STEP = {"[": 1, "{": 1, "]": -1, "}": -1}


@dataclasses.dataclass(frozen=True)
class JsonlReader(LineReader):
    """A set of files of JSON objects; keys that nobody asks for are left alone."""

    @classmethod
    def open(cls, files: tuple[str, ...], layout: Layout) -> JsonlReader:
        """Find the keys of the first rows. Raises DataError, or UsageError for flags that only CSV has."""
        if layout.columns or layout.delimiter != "auto":
            flag = "--columns" if layout.columns else "--delimiter"
            raise UsageError(f"{flag} is for CSV files, but {files[0]} holds JSON lines: leave it out.")
        for path in files:
            refuse_mark(path, first_line(path))
        reader = cls(files, (), layout)
        names = dict.fromkeys(itertools.chain(*reader._head_objects))
        return dataclasses.replace(reader, columns=tuple(filter(_is_text, names)))

    def column(self, name: str) -> Column:
        """What a key's values are in the first rows: kind and shape of most of them."""
        found = [_column_of(each[name]) for each in self._head_objects if each.get(name) not in (None, [])]
        kinds, shapes = [each.kind for each in found], [each.shape for each in found]
        few_texts = kinds.count("string") * 10 < len(kinds)  # check_sample names them
        kind = _common_kind([kind for kind in kinds if kind != "string"] if few_texts else kinds)
        return Column(kind or "string", max(shapes, key=shapes.count, default=()))

    def read(self, raw: bytes, columns: Mapping[str, Column]) -> dict[str, Any]:
        """See Reader."""
        whole = _object(raw)
        return {name: _plain(_checked(name, whole.get(name), column)) for name, column in columns.items()}

    def parse(self, records: tf.Tensor, columns: Mapping[str, Column]) -> dict[str, tf.Tensor]:
        """See Reader."""
        decoded = tf.numpy_function(
            functools.partial(_decode, columns), [records], [_carrier(column.kind) for column in columns.values()]
        )
        return {
            name: _from_carrier(tf.ensure_shape(values, [None, *column.shape]), column.kind)
            for (name, column), values in zip(columns.items(), tf.nest.flatten(decoded), strict=True)
        }

    def good(self, records: tf.Tensor, columns: Mapping[str, Column]) -> tf.Tensor:
        """See Reader."""
        return tf.ensure_shape(tf.numpy_function(functools.partial(_good, columns), [records], tf.bool), [None])

    @functools.cached_property
    def _head_objects(self) -> list[dict[str, Any]]:
        return self._readable_head(_object)


def _object(raw: bytes) -> dict[str, Any]:
    """A line's object. Raises BadValue."""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise BadValue(None, NO_UTF8) from None
    if text.count("[") + text.count("{") > DEEPEST and _depth(text) > DEEPEST:
        raise BadValue(None, f"found more than {DEEPEST} lists or objects within each other: write flat lists")
    try:
        whole = DECODER.decode(text)
    except json.JSONDecodeError as error:
        problem = f"this is not JSON ({error.msg} at character {error.colno}): write one object a line"
        raise BadValue(None, problem) from None
    except ValueError:
        raise BadValue(None, "found a whole number of more digits than Python reads: write it as text") from None
    if not isinstance(whole, dict):
        raise BadValue(None, f'found {_shown(whole)} where an object is needed, such as {{"name": 1}}')
    return whole


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """An object of these keys and values. Raises BadValue for a key that is there twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise BadValue(None, f"found the key {shown(_printable(twice))} twice in one object: leave one of them out")
    return found


DECODER = json.JSONDecoder(parse_float=str.encode, parse_constant=CONSTANTS.__getitem__, object_pairs_hook=_once)


def _depth(text: str) -> int:
    """How deep brackets outside of strings stand within each other."""
    return max(itertools.accumulate(STEP[mark] for mark in NO_BRACKETS.sub("", text) if mark in STEP), default=0)


def _checked(name: str, value: Any, column: Column) -> Any:
    """The value of a column, or its default. Raises BadValue."""
    if value is None:
        if column.default is None:
            raise BadValue(name, f"found nothing where {WANTED[column.kind]} is needed")
        return _filled(column)
    items = _items([value], column.shape)
    if items is None:
        raise BadValue(name, f"found {_shown(value)} where {_size(column.shape)} is needed")
    for item in items:
        problem = _problem(item, column.kind)
        if problem is not None:
            raise BadValue(name, f"found {_shown(item)}{problem} where {WANTED[column.kind]} is needed")
    return value


def _problem(item: Any, kind: str) -> str | None:
    """Why a single value is none of this kind, in words, which may be empty; None where it is one."""
    if kind == "string":
        return None if isinstance(item, str) and _is_text(item) else ""
    if isinstance(item, (bool, int)) and kind == "int64":  # true and false count as 1 and 0
        return None if -(2**63) <= item < 2**63 else ", which has more than 64 bits,"
    if isinstance(item, (bool, int, Fraction)) and kind == "float32":
        return problem_of("float32", _number_text(item).decode())
    return ""


def _is_text(item: str) -> bool:
    """JSON can name halves of characters, which no UTF-8 can."""
    return item.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in item)


def _items(values: Sequence[Any], shape: Sequence[int]) -> list[Any] | None:
    """All single values of many rows; None where one has another shape."""
    found = list(values)
    for size in shape:
        if not all(isinstance(each, list) and len(each) == size for each in found):
            return None
        found = list(itertools.chain.from_iterable(found))
    return None if any(isinstance(each, (list, dict)) for each in found) else found


def _column_of(value: Any) -> Column:
    """Kind and shape; the kind is empty for null and objects, which tell nothing."""
    if isinstance(value, list) and value:
        inner = [_column_of(each) for each in value]
        return Column(_common_kind([each.kind for each in inner]), (len(value), *inner[0].shape))
    if isinstance(value, Fraction):
        return Column("float32")
    return Column("string" if isinstance(value, str) else "int64" if isinstance(value, int) else "")


def _common_kind(kinds: Sequence[str]) -> str:
    return next((kind for kind in ("string", "float32", "int64") if kind in kinds), "")


def _decode(columns: Mapping[str, Column], records: Any) -> list[Any]:
    """Lines -> an array for each column, fractions as text. Raises ValueError, as a numpy_function must."""
    try:
        rows = [_object(raw) for raw in records]
        return [_array(name, [row.get(name) for row in rows], column) for name, column in columns.items()]
    except BadValue as bad:
        raise ValueError(f"a bad row: {bad}") from bad


def _array(name: str, values: list[Any], column: Column) -> Any:
    """A column's values of many rows ([rows, *shape]). Raises BadValue."""
    if column.default is not None:
        default = _filled(column)
        values = [default if value is None else value for value in values]
    items = _items(values, column.shape)
    if items is None or not _are_plain(items, column.kind):
        values = [_checked(name, value, column) for value in values]
        items = _items(values, column.shape) or []
    if column.kind == "int64":
        return np.asarray(items, np.int64).reshape([-1, *column.shape])
    made = np.empty(len(items), object)
    encode = str.encode if column.kind == "string" else _number_text
    made[:] = list(map(encode, items))
    return made.reshape([-1, *column.shape])


def _are_plain(items: Sequence[Any], kind: str) -> bool:
    """Whether all are of this kind, at a glance; where not, each has to be looked at."""
    kinds = set(map(type, items))
    if kind == "string":
        return kinds <= {str} and "".join(items).isascii()
    if kind == "int64":
        return kinds <= {int} and (not items or (min(items) >= -(2**63) and max(items) < 2**63))
    texts = [item for item in items if type(item) is Fraction]
    small = all(-(10**9) < item < 10**9 for item in items if type(item) is int)
    short = all(len(text) <= LONGEST_FLOAT for text in texts)
    return kinds <= {int, Fraction} and small and short and b"e" not in b"".join(texts).lower()


def _good(columns: Mapping[str, Column], records: Any) -> Any:
    return np.asarray([_is_good(columns, raw) for raw in records], np.bool_)


def _is_good(columns: Mapping[str, Column], raw: bytes) -> bool:
    try:
        whole = _object(raw)
        for name, column in columns.items():
            _checked(name, whole.get(name), column)
    except BadValue:
        return False
    return True


def _carrier(kind: str) -> tf.DType:
    return tf.int64 if kind == "int64" else tf.string


def _from_carrier(values: tf.Tensor, kind: str) -> tf.Tensor:
    return tf.strings.to_number(values) if kind == "float32" else values


def _number_text(number: Any) -> bytes:
    return number if isinstance(number, Fraction) else str(int(number)).encode()


def _plain(value: Any) -> Any:
    """A value as a client would send it."""
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return float(value) if isinstance(value, Fraction) else int(value) if isinstance(value, bool) else value


def _filled(column: Column) -> Any:
    """What stands for a missing value; a number as the text of the float32 that other formats have for it."""
    value: Any = column.default
    if column.kind == "float32":
        value = repr(float(np.float32(value))).encode()
    for size in reversed(column.shape):
        value = [value] * size
    return value


def _size(shape: Sequence[int]) -> str:
    return f"a list of {' x '.join(map(str, shape))}" if shape else "a single value"


def _shown(value: Any) -> str:
    text = value.decode() if isinstance(value, Fraction) else json.dumps(value, ensure_ascii=False, default=float)
    return _printable(text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 3] + "...")


def _printable(text: str) -> str:
    """Halves of characters spelled out: no terminal or log takes them."""
    return text.encode("utf-8", "backslashreplace").decode()
