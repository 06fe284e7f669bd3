"""The `data` of a module's `analyze(data)`: rows to iterate over, and analyzers that save doing so."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Iterator, Mapping
from typing import TypeVar

from trainer.job.columns import Column
from trainer.job.errors import ModelError
from trainer.training.analyzers import MISSING_INT, Analyzer, Moments, Quantiles, Range, Result, Vocabulary
from trainer.training.passes import Batch, column_batches, with_progress
from trainer.training.reader import Reader

LOG = logging.getLogger("trainer")
WORDS = {"int64": "whole numbers", "float32": "numbers", "string": "text"}
NOT_SEEN = {"int64": MISSING_INT, "float32": math.nan}
Wanted = TypeVar("Wanted", bound=Analyzer)


class TrainingData:
    """The training files, as `analyze` sees them.

    Iterating gives all rows once, as dicts: column -> values of a batch (int64, float32 or bytes, [batch, *shape]),
    missing ones replaced by the column's default where FEATURES declares one. Each iteration is a pass over the files.

    The methods read nothing: they say what is wanted of a column. Returned from `analyze`, all of them are worked out
    together in one pass, which parses no other columns.
    """

    def __init__(self, reader: Reader, columns: Mapping[str, Column], where: str) -> None:
        self._reader, self._columns, self._where = reader, columns, where
        self.rows = 0

    def __iter__(self) -> Iterator[Batch]:
        return self._pass(self._columns)

    def vocabulary(self, column: str, top: int | None = None, min_count: int = 1) -> Vocabulary:
        """A line for each term of a column of text or whole numbers, the most frequent first, ties by their text.

        Args:
          column: a feature column. Empty texts, missing whole numbers, and what no line of a text file can be (line
            breaks, bytes that are not UTF-8) are counted apart. A missing value that has a declared default counts as
            that: it is what the model is given.
          top: how many terms to keep; all by default.
          min_count: how often a term has to occur to be kept.

        Raises:
          ModelError: there is no such column, or it holds fractions; `top` or `min_count` is below 1.
        """
        wanted = Vocabulary(column, top, min_count)
        for name, value in (("top", top), ("min_count", min_count)):
            self._check_count(wanted, name, 1 if value is None else value, 1)
        return self._checked(wanted)

    def moments(self, column: str) -> Moments:
        """Two lines: mean and population variance of a column of numbers, in float64: `float(line)` reads them back.

        Missing values, NaN and infinities are counted apart; so are missing values with a declared default.

        Raises:
          ModelError: there is no such column, or it holds text.
        """
        return self._checked(Moments(column))

    def quantiles(self, column: str, parts: int) -> Quantiles:
        """parts - 1 lines: the boundaries of equally large parts of a column of numbers, values of the data themselves.

        The i-th is the smallest value such that i/parts of all are not above it; of a value that is frequent, several
        may be equal. Exact below 131,072 values; above, the share is at most 0.00006 off for ten million rows and
        0.0001 for a billion (`rank_error` in analysis.json is the bound that holds). What is missing is counted apart.

        Raises:
          ModelError: there is no such column, or it holds text; `parts` is below 2.
        """
        wanted = Quantiles(column, parts)
        self._check_count(wanted, "parts", parts, 2)
        return self._checked(wanted)

    def range(self, column: str) -> Range:
        """Two lines: the smallest and the largest number of a column. What is missing is counted apart.

        Raises:
          ModelError: there is no such column, or it holds text.
        """
        return self._checked(Range(column))

    def batches_of(self, analyzers: Mapping[str, Analyzer]) -> Iterator[Batch]:
        """A pass for analyzers: of their columns only, with missing numbers told apart from declared defaults."""
        if self.rows:
            LOG.warning("analyze iterates over the data and asks for analyzers as well: the files are read once more")
        self.rows = 0
        return self._pass({each.column: _without_default(self._columns[each.column]) for each in analyzers.values()})

    def column(self, name: str) -> Column:
        """What a column holds."""
        return self._columns[name]

    def _pass(self, columns: Mapping[str, Column]) -> Iterator[Batch]:
        self.rows = 0
        for batch in with_progress(column_batches(self._reader, columns), self._reader.rows, "analysis"):
            self.rows += len(next(iter(batch.values())))
            yield batch

    def _checked(self, wanted: Wanted) -> Wanted:
        column = self._columns.get(wanted.column)
        if column is None:
            raise ModelError(
                f"{self._where}: data.{wanted.name}({wanted.column!r}): there is no such feature column; there are "
                f"{', '.join(self._columns)}."
            )
        if column.kind not in wanted.kinds:
            fitting = " or ".join(WORDS[kind] for kind in wanted.kinds)
            raise ModelError(
                f"{self._where}: data.{wanted.name}({wanted.column!r}): the column holds {WORDS[column.kind]}, where "
                f"{fitting} are needed: ask for another column, or declare its kind in FEATURES."
            )
        return wanted

    def _check_count(self, wanted: Analyzer, name: str, value: object, least: int) -> None:
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ModelError(
                f"{self._where}: data.{wanted.name}({wanted.column!r}, {name}={value!r}): give a whole number from "
                f"{least} on."
            )


def tally(analyzers: Mapping[str, Analyzer], data: TrainingData) -> dict[str, Result]:
    """Work out all analyzers in one pass. Raises DataError where a column has nothing to be found."""
    if not analyzers:
        return {}
    tallies = {name: each.start(data.column(each.column)) for name, each in analyzers.items()}
    for batch in data.batches_of(analyzers):
        for name, each in tallies.items():
            each.add(batch[analyzers[name].column])
    return {name: each.finish() for name, each in tallies.items()}


def _without_default(column: Column) -> Column:
    """The column with a mark in place of its default, where the default would pass for a number that was there."""
    if column.default is None or column.kind == "string":
        return column
    return dataclasses.replace(column, default=NOT_SEEN[column.kind])
