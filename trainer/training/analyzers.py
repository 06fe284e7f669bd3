"""What `analyze(data)` can ask for without reading itself: each counts along in one pass over the training files.

    def analyze(data):
        return {
            "carriers": data.vocabulary("carrier", top=1000, min_count=5),
            "distance": data.moments("distance"),
            "hours": data.quantiles("hour", 10),
        }

An `Analyzer` says what is wanted, its `Tally` takes the column's values batch by batch, `finish` gives the lines of the
asset and what else is worth knowing. Values of a column with a shape are taken all together.
"""

from __future__ import annotations

import collections
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from trainer.job.columns import Column
from trainer.job.errors import DataError
from trainer.training.quantiles import QuantileSketch

MAX_TERMS = 5_000_000  # different terms of one column: about a gigabyte; a column with more is a key, no vocabulary
MISSING_INT = -(2**63)  # stands for a missing whole number, where NaN stands for a missing float
NUMBERS = ("int64", "float32")


@dataclass(frozen=True)
class Result:
    """The lines of an asset, and facts about them: JSON-able, in a settled order."""

    lines: Sequence[str]
    facts: Mapping[str, Any]


class Tally(Protocol):
    """One analysis under way."""

    def add(self, values: np.ndarray) -> None:
        """Count the values of a batch: int64, float32 or bytes, [batch, ...]."""

    def finish(self) -> Result:
        """What was found. Raises DataError where there is nothing to be found."""


@dataclass(frozen=True)
class Analyzer:
    """What is wanted of one column."""

    column: str
    kinds: ClassVar[tuple[str, ...]] = NUMBERS

    @property
    def name(self) -> str:
        """How `analyze` calls it."""
        return type(self).__name__.lower()

    def start(self, column: Column) -> Tally:
        """Begin to count."""
        raise NotImplementedError

    def facts(self) -> dict[str, Any]:
        """The request, JSON-able."""
        return {"analyzer": self.name, **asdict(self)}


@dataclass(frozen=True)
class Vocabulary(Analyzer):
    """The terms of a column, the most frequent first; see `TrainingData.vocabulary`."""

    top: int | None = None
    min_count: int = 1
    kinds: ClassVar[tuple[str, ...]] = ("string", "int64")

    def start(self, column: Column) -> Tally:
        """Begin to count."""
        return VocabularyTally(self, column)


@dataclass(frozen=True)
class Moments(Analyzer):
    """Mean and variance; see `TrainingData.moments`."""

    def start(self, column: Column) -> Tally:
        """Begin to count."""
        return MomentsTally(self)


@dataclass(frozen=True)
class Quantiles(Analyzer):
    """The boundaries of equally large parts; see `TrainingData.quantiles`."""

    parts: int = 4

    def start(self, column: Column) -> Tally:
        """Begin to count."""
        return QuantilesTally(self)


@dataclass(frozen=True)
class Range(Analyzer):
    """Smallest and largest value; see `TrainingData.range`."""

    def start(self, column: Column) -> Tally:
        """Begin to count."""
        return RangeTally(self)


class TermCounts:
    """How often each term of a column occurs: bytes, or whole numbers."""

    def __init__(self, column: str) -> None:
        self._column = column
        self.counts: collections.Counter[Any] = collections.Counter()

    def add(self, values: np.ndarray) -> None:
        """Count values: bytes or numbers, [batch, ...]. Raises DataError beyond MAX_TERMS different ones."""
        self.counts.update(values.ravel().tolist())
        if len(self.counts) > MAX_TERMS:
            raise DataError(
                f"column {self._column} holds more than {MAX_TERMS:,} different values: that is a key rather than a "
                "vocabulary; leave it out, or hash it in preprocess."
            )

    def replace(self, old: Any, new: Any) -> int:
        """Count one term as another one; how often it occurred."""
        found = self.counts.pop(old, 0)
        if found and new is not None:
            self.counts[new] += found
        return found


class VocabularyTally:
    """Counts terms."""

    def __init__(self, wanted: Vocabulary, column: Column) -> None:
        self._wanted, self._default = wanted, column.default
        self._terms = TermCounts(wanted.column)

    def add(self, values: np.ndarray) -> None:
        """See Tally."""
        self._terms.add(values)

    def finish(self) -> Result:
        """See Tally."""
        wanted = self._wanted
        missing = self._terms.replace(MISSING_INT, self._default) + self._terms.replace(b"", None)
        named = [(term_text(term), count) for term, count in self._terms.counts.items()]
        usable = [(text, count) for text, count in named if is_line(text)]
        usable.sort(key=lambda term: (-term[1], term[0]))
        frequent = [(text, count) for text, count in usable if count >= wanted.min_count]
        kept = {str(text): count for text, count in frequent[: wanted.top]}
        if not kept:
            raise DataError(
                f"analyze: no term of column {wanted.column} occurs {wanted.min_count} times or more, so there is no "
                "vocabulary: ask for a smaller min_count, or leave it out."
            )
        facts = {
            **wanted.facts(),
            "missing": missing,
            "unusable": sum(count for _, count in named) - sum(count for _, count in usable),
            "distinct": len(named),
            "cut_off": len(usable) - len(kept),
            "counts": kept,
        }
        return Result(list(kept), facts)


class _NumbersTally:
    """Counts the numbers of a column apart from what is none."""

    def __init__(self, wanted: Analyzer) -> None:
        self._wanted = wanted
        self._count = self._missing = 0

    def add(self, values: np.ndarray) -> None:
        """See Tally."""
        values = values.ravel()
        whole = values.dtype.kind == "i"
        numbers = values[values != MISSING_INT if whole else np.isfinite(values)].astype(np.float64)
        self._missing += len(values) - len(numbers)
        self._count += len(numbers)
        if len(numbers):
            self._add(numbers)

    def finish(self) -> Result:
        """See Tally."""
        if not self._count:
            raise DataError(
                f"analyze: column {self._wanted.column} holds no number, so there is no {self._wanted.name} of it: "
                "leave it out."
            )
        lines = [repr(float(number)) for number in self._numbers()]
        return Result(lines, {**self._wanted.facts(), "count": self._count, "missing": self._missing, **self._more()})

    def _add(self, numbers: np.ndarray) -> None:
        raise NotImplementedError

    def _numbers(self) -> Sequence[float]:
        raise NotImplementedError

    def _more(self) -> dict[str, Any]:
        return {}


class MomentsTally(_NumbersTally):
    """T. F. Chan, G. H. Golub, R. J. LeVeque, "Updating formulae and a pairwise algorithm for computing sample
    variances", 1979: nothing is lost where the mean is large and the variance small."""

    def __init__(self, wanted: Moments) -> None:
        super().__init__(wanted)
        self._seen, self._mean, self._squares = 0, 0.0, 0.0

    def _add(self, numbers: np.ndarray) -> None:
        count, mean = len(numbers), float(numbers.mean())
        total, apart = self._seen + count, mean - self._mean
        self._squares += float(np.square(numbers - mean).sum()) + apart * apart * (self._seen * count / total)
        self._mean += apart * (count / total)
        self._seen = total

    def _numbers(self) -> Sequence[float]:
        return self._mean, self._squares / self._seen


class QuantilesTally(_NumbersTally):
    """See QuantileSketch."""

    def __init__(self, wanted: Quantiles) -> None:
        super().__init__(wanted)
        self._parts, self._sketch = wanted.parts, QuantileSketch()

    def _add(self, numbers: np.ndarray) -> None:
        self._sketch.add(numbers)

    def _numbers(self) -> Sequence[float]:
        return self._sketch.boundaries(self._parts)

    def _more(self) -> dict[str, Any]:
        return {"rank_error": self._sketch.rank_error}


class RangeTally(_NumbersTally):
    """Smallest and largest."""

    def __init__(self, wanted: Range) -> None:
        super().__init__(wanted)
        self._least, self._most = math.inf, -math.inf

    def _add(self, numbers: np.ndarray) -> None:
        self._least = min(self._least, float(numbers.min()))
        self._most = max(self._most, float(numbers.max()))

    def _numbers(self) -> Sequence[float]:
        return self._least, self._most


def term_text(term: bytes | int | float) -> str | None:
    """A term as text; None for bytes that are not UTF-8."""
    if isinstance(term, bytes):
        try:
            return term.decode()
        except UnicodeDecodeError:
            return None
    return str(int(term)) if float(term).is_integer() else repr(term)


def is_line(text: object) -> bool:
    """Whether a file of lines can hold it: TensorFlow, reading one, refuses empty lines and drops carriage returns."""
    return isinstance(text, str) and bool(text) and "\n" not in text and "\r" not in text
