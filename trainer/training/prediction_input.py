"""The rows of many files as batches for a model, in order, read and parsed ahead; no batch has rows of two files."""

from __future__ import annotations

import dataclasses
import itertools
import logging
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from trainer.job.columns import Column
from trainer.job.errors import DataError, UsageError
from trainer.job.prediction import Prediction
from trainer.job.serving import ServingSpec
from trainer.training.csv_reader import CsvReader
from trainer.training.datasets import AHEAD, PARALLEL, without_autotune
from trainer.training.reader import READ_ERRORS, Reader, Row

LOG = logging.getLogger("trainer")
KEY_KINDS = ("string", "int64")


@dataclasses.dataclass(frozen=True)
class Batch:
    """Some rows of one file.

    Attributes:
      file: its place among the reader's files.
      first: how many records of the file come before it.
      rows: how many records were read, bad ones included.
      good: the places (int64) of those that could be parsed; None for all of them.
      columns: their values, [number of good ones, *shape].
    """

    file: int
    first: int
    rows: int
    good: np.ndarray | None
    columns: dict[str, tf.Tensor]


@dataclasses.dataclass(frozen=True)
class Source:
    """The files, the columns that feed the model, and the column that names a row (None: by its number)."""

    reader: Reader
    features: Mapping[str, Column]
    key: str | None
    key_column: Column | None
    batch_size: int
    max_bad_rows: int

    @classmethod
    def of(cls, settings: Prediction, reader: Reader, spec: ServingSpec) -> Source:
        """Check that the files have what the export needs.

        Raises:
          DataError: a column is missing, or has no room for what the model takes.
          UsageError: --key-column names none of the columns, or one that names no row.
        """
        _refuse_missing(reader, spec.features)
        key = _key(settings.key_column, reader, spec)
        return cls(reader, spec.features, key, _key_kind(key, reader, spec), settings.batch_size, settings.max_bad_rows)

    @property
    def columns(self) -> dict[str, Column]:
        """All that is parsed."""
        keys = {self.key: self.key_column} if self.key is not None and self.key_column else {}
        return {**keys, **self.features}

    def batches(self) -> Iterator[Batch]:
        """All files once. Raises DataError for a bad row that may not be left out."""
        file = first = left_out = 0
        elements = iter(self._dataset())
        while (element := self._next(elements, file)) is not None:
            if int(element[0]) != file:
                file, first, left_out = int(element[0]), 0, 0
            rows, good = int(element[1]), element[2].numpy() if self.max_bad_rows else None
            left_out += 0 if good is None else rows - len(good)
            if left_out > self.max_bad_rows:
                self._find_bad_row(file, self.max_bad_rows)
            yield Batch(file, first, rows, good, element[3])
            first += rows

    def bad_rows(self, file: int) -> Iterator[Row]:
        """The rows of a file that cannot be read, in Python."""
        return (row for row in self.reader.read_rows(self.columns, self.reader.files[file]) if row.values is None)

    def _next(self, elements: Iterator[Any], file: int) -> Any:
        try:
            return next(elements, None)
        except READ_ERRORS:
            for each in range(file, len(self.reader.files)):  # of those that hold no whole batch yet
                self._find_bad_row(each, 0)
            raise

    def _find_bad_row(self, file: int, allowed: int) -> None:
        """Look for the first bad row of a file that is one too many. Raises DataError."""
        row = next(itertools.islice(self.bad_rows(file), allowed, None), None)
        if row is not None:
            hint = (
                f"It is one more than --max-bad-rows={allowed} allows in a file."
                if allowed
                else "Mend it, or leave up to N rows of each file out with --max-bad-rows=N."
            )
            raise DataError(f"{self.reader.explain(row)} {hint}")

    def _dataset(self) -> tf.data.Dataset:
        """Elements (file, number of records, places of the good ones, columns)."""
        files = tf.data.Dataset.from_tensor_slices(list(self.reader.files)).enumerate()
        records = files.flat_map(
            lambda file, path: self.reader.blocks(path).rebatch(self.batch_size).map(lambda block: (file, block))
        )
        parse = self._parse if self.max_bad_rows == 0 else self._parse_good
        return without_autotune(records.map(parse, num_parallel_calls=PARALLEL).prefetch(AHEAD))

    def _parse(self, file: tf.Tensor, records: tf.Tensor) -> tuple[Any, ...]:
        return file, tf.size(records), tf.constant([], tf.int64), self.reader.parse(records, self.columns)

    def _parse_good(self, file: tf.Tensor, records: tf.Tensor) -> tuple[Any, ...]:
        places = tf.where(self.reader.good(records, self.columns))[:, 0]
        return file, tf.size(records), places, self.reader.parse(tf.gather(records, places), self.columns)


def _refuse_missing(reader: Reader, features: Mapping[str, Column]) -> None:
    """A column that some rows of JSON lines lack may have a default; one that a CSV header lacks was forgotten."""
    is_csv = isinstance(reader, CsvReader)
    missing = [name for name, column in features.items() if name not in reader.columns]
    missing = [name for name in missing if is_csv or features[name].default is None]
    if missing:
        raise DataError(
            f"{reader.files[0]} has no column {', '.join(missing)}, which the export needs: it takes "
            f"{', '.join(features)}, and the file has {', '.join(reader.columns)}."
        )
    wide = next((name for name, column in features.items() if column.shape), None) if is_csv else None
    if wide:
        raise DataError(
            f"column {wide}: the export takes {' x '.join(map(str, features[wide].shape))} values a row, CSV has "
            "one: give jsonl or tfrecord files."
        )


def _key(asked: str | None, reader: Reader, spec: ServingSpec) -> str | None:
    if asked is not None and asked not in reader.columns:
        raise UsageError(f"--key-column={asked}: {reader.files[0]} has the columns {', '.join(reader.columns)}.")
    if asked is None and spec.key_column is not None and spec.key_column not in reader.columns:
        LOG.warning("the files have no column %s, the export's key: rows are called FILE:ROW", spec.key_column)
        return None
    return asked or spec.key_column


def _key_kind(key: str | None, reader: Reader, spec: ServingSpec) -> Column | None:
    """Text of CSV stays as it is (007); other formats know what is a number. Raises UsageError."""
    if key is None:
        return None
    text = Column("string")
    kind = spec.features.get(key, text if isinstance(reader, CsvReader) else reader.column(key))
    if kind.kind not in KEY_KINDS or kind.shape:
        raise UsageError(f"--key-column={key}: fractions and lists name no row; expected text or whole numbers.")
    return kind
