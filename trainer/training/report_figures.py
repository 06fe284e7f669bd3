"""Which charts a report has, with titles and words that let each be understood by itself."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from markupsafe import Markup

from trainer.training import charts, report_stats
from trainer.training.charts import Series
from trainer.training.event_files import Point
from trainer.training.report_data import ReportData
from trainer.training.report_predictions import Classified, Regressed

MATRIX_LIMIT = 60  # classes in a confusion matrix, so that a cell can still be seen
MOST_POINTS = 400  # of a curve: more cannot be told apart


@dataclasses.dataclass(frozen=True)
class Figure:
    """A chart with the words around it; `legend` has names with the classes that colour them."""

    title: str
    caption: str
    svg: Markup
    legend: tuple[tuple[str, str], ...] = ()
    wide: bool = False


def curves(data: ReportData) -> Iterator[Figure]:
    """The loss in training and evaluation, each metric of the evaluation, and the speed."""
    yield from _learning_curves(data)
    yield from _speed_curve(data)


def _learning_curves(data: ReportData) -> Iterator[Figure]:
    x_label = f"training step ({data.setting('batch_size'):,} examples each)"
    side = "held-out files" if data.held_out else "evaluation"
    best = data.best or {}
    names = list(dict.fromkeys(name for metrics in data.evaluations.values() for name in metrics))
    names.sort(key=lambda name: (name != "loss", name.endswith("loss"), name))
    training = _thinned(data.training.get("loss", ()))
    if training and "loss" not in names:
        names.insert(0, "loss")
    for name in names:
        evaluated = [(step, metrics[name]) for step, metrics in data.evaluations.items() if name in metrics]
        series = [Series("training batches", training, "train")] if name == "loss" and training else []
        if evaluated:
            series.append(Series(side, evaluated, "eval", marks=True))
        title = "Loss over training" if name == "loss" else f"{name} on the {side}"
        is_best = best.get("metric") == name
        svg = charts.curve_chart(title, series, x_label, name, best["global_step"] if is_best else None)
        yield Figure(title, _curve_words(name, best if is_best else {}, len(evaluated)), Markup(svg), _legend(series))


def _speed_curve(data: ReportData) -> Iterator[Figure]:
    """Nothing for a job too short to tell."""
    points = _thinned(data.training.get("examples_per_sec", ()))
    if len(points) < 3:
        return
    title = "Training speed"
    series = [Series("speed", points, "eval")]
    svg = charts.curve_chart(title, series, "training step", "examples per second", zero=True)
    words = "Mean since the start of the run, from its second step on; evaluations, exports and saving do not count."
    yield Figure(title, words, Markup(svg))


def classification_figures(found: Classified) -> Iterator[Figure]:
    """Confusion matrix and calibration; for two classes also how well the probability tells them apart."""
    classes = found.output.classes
    confusion = report_stats.confusion(found.true, found.predicted, classes, MATRIX_LIMIT)
    title = "Which class is taken for which"
    words = (
        "A row for each true class, a column for each prediction; the stronger the colour, the larger the share of the "
        "row. "
        f"{_cell_words(len(confusion.labels))}"
    )
    if not confusion.complete:
        words += f" The {MATRIX_LIMIT - 1} classes with most rows are shown by name, of {len(classes):,}."
    legend = (("recognised", "cell right"), ("taken for another class", "cell wrong"))
    yield Figure(
        title, words, Markup(charts.confusion_chart(title, confusion)), legend, wide=len(classes) > charts.PERCENT_UP_TO
    )
    if len(classes) == 2:
        yield from _two_class_figures(found)
    else:
        calibration = report_stats.calibration(found.probability, found.true == found.predicted)
        yield _calibration(calibration, "probability of the predicted class", "share of predictions that are right")


def _two_class_figures(found: Classified) -> Iterator[Figure]:
    first, second = found.output.classes
    positive, is_positive = np.where(found.predicted == 1, found.probability, 1 - found.probability), found.true == 1
    x_label = f"predicted probability of {second}"
    calibration = report_stats.calibration(positive, is_positive)
    yield _calibration(calibration, x_label, f"share of rows that are {second}")
    title = f"How far apart {first} and {second} are"
    svg = charts.score_chart(title, positive, is_positive, x_label)
    words = "Each class's rows by the probability they got: the less the two lines overlap, the better."
    yield Figure(title, words, Markup(svg), ((f"truly {first}", "line train"), (f"truly {second}", "line eval")))


def _calibration(calibration: report_stats.Calibration, x_label: str, y_label: str) -> Figure:
    title = "Can its probabilities be believed?"
    words = (
        "Rows in ten bins by predicted probability; larger dots stand for more rows, pale ones for fewer than "
        f"{charts.FEW}. Below the dashed line the model is too sure of itself, above it not sure enough. "
        f"Expected calibration error: {calibration.error:.1%}."
    )
    svg = charts.calibration_chart(title, calibration, x_label, y_label)
    return Figure(title, words, Markup(svg), (("this model", "line eval"), ("ideal", "line ideal")))


def regression_figures(found: Regressed) -> Iterator[Figure]:
    """Predicted over actual values, and the residuals."""
    name = found.output.column or found.output.name
    title = f"Predicted and actual {name}"
    svg = charts.against_chart(title, found.true, found.predicted, f"actual {name}", f"predicted {name}")
    how = "The stronger the colour, the more rows." if len(found.true) >= charts.DENSE_FROM else "A dot for each value."
    words = f"On the dashed line both are the same. {how} Values beyond the central 99.5 % stand at the edge."
    yield Figure(title, words, Markup(svg))
    off = found.predicted - found.true
    figures = report_stats.residuals(found.true, found.predicted)
    title = f"How far {name} is off"
    svg = charts.residual_chart(title, off, f"predicted less actual {name}", "rows")
    explained = "" if math.isnan(figures.r2) else f", R² {figures.r2:.3f}"
    words = (
        f"Mean {figures.mean:+.4g}, root mean square {figures.rmse:.4g}, mean absolute {figures.mae:.4g}{explained}. "
        "The outermost bars hold all beyond them."
    )
    yield Figure(title, words, Markup(svg))


def _legend(series: Sequence[Series]) -> tuple[tuple[str, str], ...]:
    return tuple((each.name, f"line {each.kind}") for each in series) if len(series) > 1 else ()


def _curve_words(name: str, best: Mapping[str, object], evaluations: int) -> str:
    words = []
    if name == "loss":
        words.append("In training it is that of single batches, dropout and regularisation included (bold: mean).")
    elif evaluations:
        words.append("A dot for each evaluation; the number is the last one's.")
    if best:
        words.append(f"The ring marks the best evaluation: {best['value']:.4f} at step {best['global_step']:,}.")
    if not evaluations:
        words.append("No evaluation was made yet.")
    return " ".join(words)


def _cell_words(classes: int) -> str:
    if classes <= charts.NUMBERS_UP_TO:
        return "Numbers are rows."
    hover = "Hover over a cell for its numbers."
    return f"Numbers are per cent of the row. {hover}" if classes <= charts.PERCENT_UP_TO else hover


def _thinned(points: Sequence[Point]) -> list[tuple[float, float]]:
    """The points of a curve; of very many, means of neighbours."""
    every = -(-len(points) // MOST_POINTS)
    groups = [points[start : start + every] for start in range(0, len(points), every or 1)]
    return [
        (float(np.mean([point.step for point in group])), float(np.mean([point.value for point in group])))
        for group in groups
    ]
