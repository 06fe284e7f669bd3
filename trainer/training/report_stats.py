"""What a set of predictions amounts to: confusion, calibration, residuals. Pure NumPy, no file and no model."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

Array = np.ndarray
OTHER = "all others"
CALIBRATION_BINS = 10


@dataclasses.dataclass(frozen=True)
class Confusion:
    """How often each class was taken for which; counts [true, predicted].

    `complete` is False where only the classes with most rows are shown and the rest is one of its own.
    """

    labels: tuple[str, ...]
    counts: Array
    complete: bool


@dataclasses.dataclass(frozen=True)
class ClassFigures:
    """One class: its rows, and how well they are found."""

    name: str
    rows: int
    recall: float
    precision: float
    f1: float


@dataclasses.dataclass(frozen=True)
class Pair:
    """`rows` examples of the class `true`, which are `share` of all of its, were taken for `predicted`."""

    true: str
    predicted: str
    rows: int
    share: float


@dataclasses.dataclass(frozen=True)
class Calibration:
    """Predicted probability against what came true, in bins: mean probability, share, rows; and the mean gap."""

    probability: Array
    share: Array
    rows: Array
    error: float


@dataclasses.dataclass(frozen=True)
class Residuals:
    """Predicted less actual: mean, root of the mean square, mean absolute value, and R²."""

    mean: float
    rmse: float
    mae: float
    r2: float


def confusion(true: Array, predicted: Array, classes: Sequence[str], limit: int) -> Confusion:
    """Count pairs of class numbers ([rows] each); above `limit` classes, the rarer ones become one."""
    names = list(classes)
    if len(names) > limit:
        counted = np.bincount(true, minlength=len(names))
        kept = np.sort(np.argsort(-counted, kind="stable")[: limit - 1])
        place = np.full(len(names), limit - 1)
        place[kept] = np.arange(limit - 1)
        true, predicted, names = place[true], place[predicted], [*(names[each] for each in kept), OTHER]
    size = len(names)
    counts = np.bincount(true * size + predicted, minlength=size * size).reshape(size, size)
    return Confusion(tuple(names), counts, len(names) == len(classes))


def class_figures(true: Array, predicted: Array, classes: Sequence[str]) -> list[ClassFigures]:
    """Recall, precision and F1 of each class that occurs; those with the worst F1 first."""
    size = len(classes)
    rows, taken = np.bincount(true, minlength=size), np.bincount(predicted, minlength=size)
    right = np.bincount(true[true == predicted], minlength=size)
    recall, precision = right / np.maximum(rows, 1), right / np.maximum(taken, 1)
    f1 = 2 * right / np.maximum(rows + taken, 1)
    found = [
        ClassFigures(name, int(rows[i]), float(recall[i]), float(precision[i]), float(f1[i]))
        for i, name in enumerate(classes)
        if rows[i] or taken[i]
    ]
    return sorted(found, key=lambda each: (each.f1, each.name))


def confused_pairs(true: Array, predicted: Array, classes: Sequence[str], limit: int) -> list[Pair]:
    """The pairs of classes that are mixed up most often."""
    wrong = true != predicted
    pairs, counts = np.unique(np.stack([true[wrong], predicted[wrong]]), axis=1, return_counts=True)
    rows = np.bincount(true, minlength=len(classes))
    order = np.argsort(-counts, kind="stable")[:limit]
    return [
        Pair(classes[pairs[0, i]], classes[pairs[1, i]], int(counts[i]), float(counts[i] / rows[pairs[0, i]]))
        for i in order
    ]


def calibration(probability: Array, came_true: Array) -> Calibration:
    """Probabilities ([rows], 0..1) against whether it was so ([rows], bool), in bins of equal width.

    The error is the expected calibration error of Guo et al. 2017 (arXiv 1706.04599): the gap's mean over the rows.
    """
    bins = np.minimum((probability * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
    rows = np.bincount(bins, minlength=CALIBRATION_BINS)
    some = rows > 0
    sums = [np.bincount(bins, each, CALIBRATION_BINS)[some] / rows[some] for each in (probability, came_true)]
    error = float(np.sum(np.abs(sums[0] - sums[1]) * rows[some]) / max(rows.sum(), 1))
    return Calibration(sums[0], sums[1], rows[some], error)


def residuals(true: Array, predicted: Array) -> Residuals:
    """Figures of a regression, from float arrays of the same size."""
    off = predicted - true
    spread = float(np.sum((true - true.mean()) ** 2))
    r2 = 1 - float(np.sum(off**2)) / spread if spread else float("nan")
    return Residuals(float(off.mean()), float(np.sqrt(np.mean(off**2))), float(np.abs(off).mean()), r2)


def central_range(values: Array, share: float = 0.995) -> tuple[float, float]:
    """What holds the given share of the values: one stray value must not squeeze the others into a line."""
    low, high = (float(each) for each in np.quantile(values, [(1 - share) / 2, (1 + share) / 2]))
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def smoothed(values: Sequence[float], window: int) -> list[float]:
    """The mean over up to `window` neighbours, fewer at the ends."""
    summed = np.concatenate([[0.0], np.cumsum(np.asarray(values, np.float64))])
    places = np.arange(len(values))
    first, last = np.maximum(places - window // 2, 0), np.minimum(places + window // 2 + 1, len(values))
    return [float(mean) for mean in (summed[last] - summed[first]) / (last - first)]
