"""The charts of the report: numbers in, inline SVG out. Colours and fonts are classes of the page's style sheet."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from trainer.training.report_stats import Array, Calibration, Confusion, central_range, smoothed
from trainer.training.svg import (
    LETTER,
    Axes,
    Element,
    Scale,
    add,
    axes,
    picture,
    plot_area,
    scale_over,
    short,
    to_text,
    wants_log,
)

SIZE = (420.0, 270.0)
SQUARE = (420.0, 360.0)
SMOOTH_FROM = 40  # points, from which on a noisy curve gets its moving mean
SMOOTH_SHARE = 20  # one so many-th of the points go into a mean
DENSE_FROM = 600  # points, from which on they are counted in cells instead of drawn one by one
CELLS = 44
BARS = 41
NUMBERS_UP_TO = 12  # classes, up to which the cells of a confusion matrix have room for counts
PERCENT_UP_TO = 24
LABEL_LETTERS = 16
CELL_SIZES = (
    (3, 96.0),
    (6, 62.0),
    (NUMBERS_UP_TO, 46.0),
    (PERCENT_UP_TO, 27.0),
    (10**9, 13.0),
)  # up to so many classes
FEW = 10  # rows in a bin, below which its share says little

Points = Sequence[tuple[float, float]]


@dataclasses.dataclass(frozen=True)
class Series:
    """One line: its name, its points, and the class that colours it (`train`, `eval`)."""

    name: str
    points: Points
    kind: str
    marks: bool = False


def curve_chart(
    title: str, series: Sequence[Series], x_label: str, y_label: str, best: int | None = None, zero: bool = False
) -> str:
    """Lines over steps, a long one with its moving mean; the step `best` gets a ring; `zero` begins the values at 0."""
    everything = [point for each in series for point in each.points]
    values = [y for _, y in everything if math.isfinite(y)]
    (left, right), (bottom, top) = plot_area(SIZE)
    x = scale_over([step for step, _ in everything], left, right, zero=True)
    x = dataclasses.replace(x, low=0.0, high=max((step for step, _ in everything), default=1.0) or 1.0)
    y = scale_over(values, bottom, top, log=not zero and wants_log(values), zero=zero)
    plot = axes(title, x, y, x_label, y_label, SIZE)
    for each in series:
        _line(plot, each)
        if each.marks:
            _marks(plot, each, best)
    return plot.text()


def _line(plot: Axes, series: Series) -> None:
    points = series.points
    if len(points) < SMOOTH_FROM or not all(math.isfinite(y) for _, y in points):
        plot.path(points, f"line {series.kind}")
        return
    plot.path(points, f"line {series.kind} faint")
    window = max(3, len(points) // SMOOTH_SHARE)
    means = smoothed([y for _, y in points], window)
    plot.path([(step, mean) for (step, _), mean in zip(points, means, strict=True)], f"line {series.kind}")


def _marks(plot: Axes, series: Series, best: int | None) -> None:
    for step, y in series.points:
        if math.isfinite(y):
            is_best = step == best
            tip = f"step {step:,.0f}: {y:.4g}" + (" (best)" if is_best else "")
            if is_best:
                plot.dot(step, y, "ring", radius=7.5)
            plot.dot(step, y, f"dot {series.kind}", tip)
    if series.points and math.isfinite(series.points[-1][1]):
        step, y = series.points[-1]
        add(plot.root, "text", f"{y:.4g}", x=plot.x(step) + 4, y=plot.y(y) - 12, class_="label end halo")


def confusion_chart(title: str, confusion: Confusion) -> str:
    """Cells, a row for each true class; the shade is the share of that row, right ones in another colour."""
    names, count = confusion.labels, len(confusion.labels)
    shown = [name if len(name) <= LABEL_LETTERS else name[: LABEL_LETTERS - 1] + "…" for name in names]
    cell = next(size for most, size in CELL_SIZES if count <= most)
    margin = 34 + (LETTER + 0.6) * max(map(len, shown))
    side = cell * count
    root = picture(margin + side + 12, side + margin + 14, title, "chart matrix")
    root.set("style", f"--natural: {margin + side + 12:.0f}px")
    shares = confusion.counts / np.maximum(confusion.counts.sum(axis=1, keepdims=True), 1)
    for row, column in zip(*np.nonzero(confusion.counts), strict=True):
        _cell(root, confusion, shares, (int(row), int(column)), margin, cell)
    add(root, "rect", x=margin, y=4, width=side, height=side, class_="frame")
    for index, name in enumerate(shown):
        middle = (index + 0.5) * cell
        add(root, "text", name, x=margin - 6, y=8 + middle, class_="tick end")
        at = f"translate({margin + middle + 4:.1f} {side + 12:.1f}) rotate(-90)"
        add(root, "text", name, class_="tick end", transform=at)
    add(root, "text", "predicted class", x=margin + side / 2, y=side + margin + 8, class_="label middle")
    add(root, "text", "true class", class_="label middle", transform=f"translate(14 {4 + side / 2:.1f}) rotate(-90)")
    return to_text(root)


def _cell(root: Element, confusion: Confusion, shares: Array, at: tuple[int, int], margin: float, size: float) -> None:
    row, column = at
    names, rows, share = confusion.labels, int(confusion.counts[at]), float(shares[at])
    x, y = margin + column * size, 4 + row * size
    kind, shade = "right" if row == column else "wrong", math.sqrt(share)
    group = add(root, "g")
    mark = add(group, "rect", x=x, y=y, width=size, height=size, class_=f"cell {kind}")
    mark.set("fill-opacity", f"{shade:.2f}")
    verb = "recognised" if row == column else f"taken for {names[column]}"
    add(group, "title", f"{names[row]} {verb}: {rows:,} rows, {share:.1%} of {names[row]}")
    text = _cell_text(rows, share, len(names))
    if text:
        tone = "number strong" if shade > 0.72 else "number"
        add(group, "text", text, x=x + size / 2, y=y + size / 2 + 4, class_=f"{tone} middle")


def _cell_text(rows: int, share: float, classes: int) -> str:
    if classes <= NUMBERS_UP_TO:
        return f"{rows:,}" if rows < 100_000 else short(rows)
    return f"{100 * share:.0f}" if classes <= PERCENT_UP_TO and share >= 0.005 else ""


def calibration_chart(title: str, calibration: Calibration, x_label: str, y_label: str) -> str:
    """The share that came true over the probability that was predicted; the size of a dot tells its rows."""
    (left, right), (bottom, top) = plot_area(SQUARE)
    x, y = Scale(0.0, 1.0, left, right), Scale(0.0, 1.0, bottom, top)
    plot = axes(title, x, y, x_label, y_label, SQUARE, percent=True)
    plot.path([(0, 0), (1, 1)], "line ideal")
    points = list(zip(calibration.probability.tolist(), calibration.share.tolist(), strict=True))
    counts = calibration.rows.tolist()
    plot.path([point for point, rows in zip(points, counts, strict=True) if rows >= FEW], "line eval")
    for (probability, share), rows in zip(points, counts, strict=True):
        tip = f"predicted {probability:.1%} on average, true {share:.1%}, of {rows:,} rows"
        kind = "dot eval" if rows >= FEW else "dot eval few"
        plot.dot(probability, share, kind, tip, radius=3 + 6 * math.sqrt(rows / max(counts)))
    return plot.text()


def residual_chart(title: str, off: Array, x_label: str, y_label: str) -> str:
    """How many rows are off by how much; the outermost bars hold what lies beyond."""
    low, high = central_range(off)
    reach = max(abs(low), abs(high))
    edges = np.linspace(-reach, reach, BARS + 1)
    counts = np.histogram(np.clip(off, -reach, reach), edges)[0]
    (left, right), (bottom, top) = plot_area(SIZE)
    y = scale_over([0.0, float(counts.max(initial=1))], bottom, top, zero=True)
    plot = axes(title, Scale(-reach, reach, left, right), y, x_label, y_label, SIZE)
    for i, rows in enumerate(counts.tolist()):
        tip = f"{short(edges[i])} to {short(edges[i + 1])}: {rows:,} rows"
        plot.box((edges[i], edges[i + 1]), (0, rows), "bar", tip)
    plot.path([(0, 0), (0, y.high)], "line ideal")
    return plot.text()


def against_chart(title: str, true: Array, predicted: Array, x_label: str, y_label: str) -> str:
    """Predicted over actual values: dots, or cells by their number of rows where there are many; ideal is the line."""
    lows, highs = zip(*(central_range(each) for each in (true, predicted)), strict=True)
    low, high = min(lows), max(highs)
    (left, right), (bottom, top) = plot_area(SQUARE)
    room = 0.03 * (high - low)
    x, y = Scale(low - room, high + room, left, right), Scale(low - room, high + room, bottom, top)
    plot = axes(title, x, y, x_label, y_label, SQUARE)
    if len(true) < DENSE_FROM:
        for actual, guess in zip(true.tolist(), predicted.tolist(), strict=True):
            plot.dot(actual, guess, "dot eval sparse", f"actual {actual:.4g}, predicted {guess:.4g}", radius=2.6)
    else:
        _density(plot, np.clip(true, x.low, x.high), np.clip(predicted, y.low, y.high))
    plot.path([(x.low, y.low), (x.high, y.high)], "line ideal")
    return plot.text()


def _density(plot: Axes, true: Array, predicted: Array) -> None:
    edges = np.linspace(plot.x.low, plot.x.high, CELLS + 1)
    places = [np.clip(np.searchsorted(edges, each, side="right") - 1, 0, CELLS - 1) for each in (true, predicted)]
    counts = np.bincount(places[0] * CELLS + places[1], minlength=CELLS * CELLS).reshape(CELLS, CELLS)
    most = counts.max()
    for i, j in zip(*np.nonzero(counts), strict=True):
        rows = int(counts[i, j])
        tip = f"{rows:,} rows: actual {short(edges[i])} to {short(edges[i + 1])}, predicted {short(edges[j])} to "
        shade = 0.12 + 0.88 * math.log1p(rows) / math.log1p(most)
        span_x, span_y = (edges[i], edges[i + 1]), (edges[j], edges[j + 1])
        plot.box(span_x, span_y, "bar flat", tip + short(edges[j + 1]), shade)


def score_chart(title: str, probability: Array, is_positive: Array, x_label: str) -> str:
    """Two classes: how the rows of each spread over the probability of the second, as shares of the class."""
    (left, right), (bottom, top) = plot_area(SIZE)
    edges = np.linspace(0, 1, BARS)
    spread = [np.histogram(probability[is_positive == side], edges)[0] for side in (False, True)]
    shares = [counts / max(counts.sum(), 1) for counts in spread]
    y = scale_over([0.0, *(float(each.max(initial=0)) for each in shares)], bottom, top, zero=True)
    plot = axes(title, Scale(0.0, 1.0, left, right), y, x_label, "share of the class", SIZE, percent=True)
    for each, kind in zip(shares, ("train", "eval"), strict=True):
        middles = (edges[:-1] + edges[1:]) / 2
        plot.path(list(zip(middles.tolist(), each.tolist(), strict=True)), f"line {kind}")
    return plot.text()
