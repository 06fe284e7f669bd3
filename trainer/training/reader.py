"""What the readers of all formats have in common: a set of files, their examples as tensors, and words for bad rows.

Records are batched first and parsed after, a whole batch in one call: parsing one by one is about 20 times slower.
The same grammar exists twice, on purpose: in tensor operations for speed (`parse`, `good`) and in Python (`read`) to
say what is wrong with a row. Tests hold the two together.
"""

from __future__ import annotations

import abc
import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, TypeVar

import tensorflow as tf

from trainer.job.columns import Column, Layout
from trainer.job.errors import DataError
from trainer.training.raw_files import compression

SAMPLE_ROWS = 1000  # rows read to find out what a column holds, and checked before anything starts
SAMPLE_BYTES = 32 * 2**20
BLOCK_ROWS = 1024  # records handed on together: one call of the pipeline for so many
BLOCK_BYTES = 4 * 2**20  # or fewer, if they are long
LONGEST_SHOWN = 60
Raw = bytes  # Reader.bytes is something else
T = TypeVar("T")
# What reading bad data raises where it runs: the last, as TensorFlow puts the record's own bytes into its message.
READ_ERRORS = (tf.errors.InvalidArgumentError, tf.errors.DataLossError, UnicodeDecodeError)
WANTED = {"int64": "a whole number", "float32": "a number", "string": "text"}


class BadValue(Exception):
    """What is wrong with a record: the column, if it is one, and words such as "found 'x' where a number is needed"."""

    def __init__(self, column: str | None, problem: str) -> None:
        super().__init__(problem)
        self.column, self.problem = column, problem


@dataclasses.dataclass(frozen=True)
class Row:
    """One record as Python sees it.

    Attributes:
      path, number: the file, and the line (a header is line 1) or record in it, from 1.
      raw: its bytes.
      values: column -> int, float, str, bytes for text that is no UTF-8, or a list of them; None for a bad record.
      column, problem: what is wrong with a bad one; the column is None where it is the whole record.
    """

    path: str
    number: int
    raw: bytes
    values: Mapping[str, Any] | None = None
    column: str | None = None
    problem: str = ""


@dataclasses.dataclass(frozen=True)
class Scan:
    """What a pass over one file tells: its records, its bytes (uncompressed), and whether there are blank lines."""

    rows: int
    bytes: int
    blank: bool = False


@dataclasses.dataclass(frozen=True)
class Reader(abc.ABC):
    """A set of files of one format with the same columns.

    `skipped` has, for files with bad rows that are to be left out, their positions among the file's records, from 0;
    `bad_rows.leave_out` fills it before anything is read.
    """

    files: tuple[str, ...]
    columns: tuple[str, ...]
    layout: Layout
    skipped: dict[str, tuple[int, ...]] = dataclasses.field(default_factory=dict)

    unit: ClassVar[str]  # how a message calls a record

    @classmethod
    @abc.abstractmethod
    def open(cls, files: tuple[str, ...], layout: Layout) -> Reader:
        """Look into the files. Raises DataError where one is empty or they do not go together."""

    @abc.abstractmethod
    def column(self, name: str) -> Column:
        """What a column holds, by the first rows."""

    @abc.abstractmethod
    def raw_rows(self, path: str) -> Iterator[tuple[int, bytes]]:
        """Number and bytes of each record of a file. Raises DataError where the file breaks off."""

    @abc.abstractmethod
    def read(self, raw: bytes, columns: Mapping[str, Column]) -> dict[str, Any]:
        """One record in Python. Raises BadValue."""

    @abc.abstractmethod
    def records(self, path: str | tf.Tensor) -> tf.data.Dataset:
        """The records of one file (string, []), in order."""

    @abc.abstractmethod
    def parse(self, records: tf.Tensor, columns: Mapping[str, Column]) -> dict[str, tf.Tensor]:
        """Records (string, [batch]) -> columns ([batch, *shape]); a bad one raises InvalidArgumentError at run time."""

    @abc.abstractmethod
    def good(self, records: tf.Tensor, columns: Mapping[str, Column]) -> tf.Tensor:
        """Which records (string, [batch]) `parse` takes: bool, [batch]."""

    @abc.abstractmethod
    def scan(self, path: str) -> Scan:
        """Go through a file once. Raises DataError where it breaks off."""

    @functools.cached_property
    def head(self) -> tuple[tuple[str, int, bytes], ...]:
        """File, number and bytes of the first rows of all files together; fewer, if they are long."""
        rows = ((path, number, raw) for path in self.files for number, raw in self.raw_rows(path))
        found, size = [], 0
        for row in itertools.islice(rows, SAMPLE_ROWS):
            found.append(row)
            size += len(row[2])
            if size > SAMPLE_BYTES:
                break
        return tuple(found)

    @functools.cached_property
    def scans(self) -> dict[str, Scan]:
        """Each file's own. Raises DataError for a file without an example: a writer has failed there."""
        found = {path: self.scan(path) for path in self.files}
        for path, scan in found.items():
            if not scan.rows:
                raise DataError(_no_example(path))
        return found

    @property
    def rows(self) -> int:
        """Number of examples in all files, those that are skipped left out."""
        return sum(scan.rows for scan in self.scans.values()) - sum(map(len, self.skipped.values()))

    @property
    def bytes(self) -> int:
        """Size of all files together, uncompressed."""
        return sum(scan.bytes for scan in self.scans.values())

    def blocks(self, path: str | tf.Tensor) -> tf.data.Dataset:
        """The good records of one file in order, many at a time (string, [at most BLOCK_ROWS])."""
        blocks = self.every_block(path)
        return self._without_skipped(blocks, path) if self.skipped else blocks

    def every_block(self, path: str | tf.Tensor) -> tf.data.Dataset:
        """The same with the bad records."""
        rows = sum(scan.rows for scan in self.scans.values())
        blocks = self.records(path).batch(max(1, min(BLOCK_ROWS, BLOCK_BYTES * rows // max(self.bytes, 1))))
        if any(scan.blank for scan in self.scans.values()):
            blocks = blocks.map(lambda block: tf.boolean_mask(block, tf.strings.length(block) > 0))
        return blocks

    def all_blocks(self) -> tf.data.Dataset:
        """The blocks of all files, one after the other."""
        return tf.data.Dataset.from_tensor_slices(list(self.files)).flat_map(self.blocks)

    def read_rows(self, columns: Mapping[str, Column], path: str | None = None) -> Iterator[Row]:
        """The records of one file or of all, in Python, bad ones included."""
        for file in self.files if path is None else (path,):
            for number, raw in self.raw_rows(file):
                try:
                    yield Row(file, number, raw, self.read(raw, columns))
                except BadValue as bad:
                    yield Row(file, number, raw, None, bad.column, bad.problem)

    def good_rows(self, columns: Mapping[str, Column]) -> Iterator[Row]:
        """The same without those that are skipped. Raises DataError for a bad one."""
        for path in self.files:
            skipped = set(self.skipped.get(path, ()))
            for position, row in enumerate(self.read_rows(columns, path)):
                if position not in skipped:
                    if row.values is None:
                        raise DataError(self.explain(row))
                    yield row

    def first_values(self, columns: Mapping[str, Column], rows: int) -> list[Mapping[str, Any]]:
        """The values of the first rows. Raises DataError."""
        return [row.values or {} for row in itertools.islice(self.good_rows(columns), rows)]

    def check_sample(self, columns: Mapping[str, Column]) -> None:
        """Check the first rows before anything starts. Raises DataError."""
        for _ in itertools.islice(self.good_rows(columns), SAMPLE_ROWS):
            pass

    def find_bad_row(self, columns: Mapping[str, Column]) -> None:
        """Look for the row that parsing stumbled over. Raises DataError where there is one."""
        for _ in self.good_rows(columns):
            pass

    def find_other_value(self, name: str, known: set[str]) -> None:
        """Look for a label that is none of the known ones. Raises DataError where there is one."""
        for row in self.good_rows({name: Column("string", default="")}):
            value = as_text((row.values or {})[name])
            if value not in known:
                where = f"{row.path}, {self.unit} {row.number}, column {name}"
                if not value:
                    raise DataError(f"{where}: found nothing where a label is needed.")
                raise DataError(
                    f"{where}: found {shown(value)}, a label that the training files do not have: mend the row, or "
                    "train on examples of it too."
                )

    def explain(self, row: Row) -> str:
        """A bad row in one sentence."""
        column = f", column {row.column}" if row.column else ""
        return f"{row.path}, {self.unit} {row.number}{column}: {row.problem}."

    def _readable_head(self, read: Callable[[Raw], T]) -> list[T]:
        """What `read` makes of the first rows, those left out that it cannot read: `check_sample` names them.

        Raises DataError where it can read none, or there is none.
        """
        found, bad = [], []
        for path, number, raw in self.head:
            try:
                found.append(read(raw))
            except BadValue as problem:
                bad.append(Row(path, number, raw, None, problem.column, problem.problem))
        if not found:
            raise DataError(self.explain(bad[0]) if bad else _no_example(self.files[0]))
        return found

    @functools.cached_property
    def _compression(self) -> Any:
        return compression(self.files)

    def _without_skipped(self, blocks: tf.data.Dataset, path: str | tf.Tensor) -> tf.data.Dataset:
        skipped = tf.ragged.constant([self.skipped.get(file, ()) for file in self.files], tf.int64, ragged_rank=1)

        def drop(first: tf.Tensor, block: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            bad = skipped[tf.argmax(tf.cast(tf.equal(self.files, path), tf.int8))]
            positions = first + tf.range(tf.size(block, tf.int64))
            is_bad = tf.searchsorted(bad, positions) < tf.searchsorted(bad, positions, side="right")
            return first + tf.size(block, tf.int64), tf.boolean_mask(block, ~is_bad)

        return blocks.scan(tf.constant(0, tf.int64), drop)


def _no_example(path: str) -> str:
    return f"{path} holds no example: write it again, or leave it out."


def as_text(value: Any) -> str:
    """A value of a string column as text."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def shown(value: str) -> str:
    """What was found, in quotes and cut to a length that a message can have."""
    return repr(value if len(value) <= LONGEST_SHOWN else value[: LONGEST_SHOWN - 3] + "...")
