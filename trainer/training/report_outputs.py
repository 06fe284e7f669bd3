"""What is said of the model's outputs: charts, what is mixed up, class by class, the worst mistakes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from trainer.training import charts, report_figures, report_stats
from trainer.training.report_data import ReportData
from trainer.training.report_figures import Figure
from trainer.training.report_inputs import shown_inputs
from trainer.training.report_predictions import Classified, Mistake, Regressed
from trainer.training.report_tables import Bar, Table

PAIRS = 12
CLASSES_SHOWN = 200
CLASS_HEADS = ("True class", "Predicted", "Confidence", "For the true class", "Loss")
NUMBER_HEADS = ("True value", "Predicted", "Off by")


@dataclasses.dataclass(frozen=True)
class Listed:
    """A table among the charts."""

    title: str
    table: Table


@dataclasses.dataclass(frozen=True)
class OutputView:
    """What is said of one output of the model.

    `stacks` are columns of charts and tables beside each other, as `layout`, a class of the style sheet, sets them.
    """

    title: str
    note: str
    layout: str = ""
    stacks: Sequence[Sequence[Figure | Listed]] = ()
    mistakes: Table | None = None
    mistakes_note: str = ""


def output_views(data: ReportData) -> Iterator[OutputView]:
    """A section for each output of the model."""
    if data.predictions is None:
        return
    for found in data.predictions.outputs:
        if isinstance(found, Classified):
            yield _classification(data, found)
        else:
            yield _regression(data, found)


def _classification(data: ReportData, found: Classified) -> OutputView:
    note = _rows_words(data)
    if found.unknown:
        note += f" {found.unknown:,} rows are left out: their label is none of the model's classes."
    if not len(found.true):
        return OutputView(_output_title(data, found), note)
    wrong = int((found.true != found.predicted).sum())
    mistakes = f"{wrong:,} of {len(found.true):,} rows are wrong ({wrong / len(found.true):.1%})."
    if found.mistakes:
        these = "They stand" if wrong == len(found.mistakes) else f"The worst {len(found.mistakes)} stand"
        mistakes += f" {these} in the order of how little the model gave to the true class."
    layout, stacks = _arranged(found)
    return OutputView(_output_title(data, found), note, layout, stacks, _mistake_table(data, found), mistakes)


def _arranged(found: Classified) -> tuple[str, list[Sequence[Figure | Listed]]]:
    """The layout and its columns: a larger matrix takes more of the page's width."""
    matrix, *others = report_figures.classification_figures(found)
    classes = Listed("Class by class, the weakest first", _class_table(found))
    pairs = [Listed("Mixed up most often", table)] if (table := _pair_table(found)) else []
    count = len(found.output.classes)
    if count == 2:
        return "across-3", [[matrix], others[:1], [*others[1:], classes]]
    if count <= charts.PERCENT_UP_TO:
        return "sided", [[matrix, classes], [*others, *pairs]]
    return "topped", [[matrix], others, pairs, [classes]]


def _regression(data: ReportData, found: Regressed) -> OutputView:
    words = f"The {len(found.mistakes)} rows that are off by most." if found.mistakes else ""
    stacks = [[each] for each in report_figures.regression_figures(found)]
    title = _output_title(data, found)
    return OutputView(title, _rows_words(data), "across-2", stacks, _mistake_table(data, found), words)


def _output_title(data: ReportData, found: Classified | Regressed) -> str:
    """`Predictions`, and of which output where there are several."""
    several = data.predictions is not None and len(data.predictions.outputs) > 1
    return f"Predictions of {found.output.name}" if several else "Predictions"


def _rows_words(data: ReportData) -> str:
    """Which rows the charts are made of, and by which export."""
    assert data.predictions is not None
    assert data.predicted_by is not None
    rows = data.predictions.rows
    known = data.manifest["data"].get("eval_examples", rows)
    side = "evaluation files" if data.held_out else "training files"
    which = f"all {rows:,} rows" if rows >= known else f"the first {rows:,} of {known:,} rows"
    words = f"What the {data.predicted_by.kind} export says of {which} of the {side}."
    if not data.held_out:
        words += " The model has seen these rows in training: this says nothing about new data."
    if data.manifest["settings"].get("weight_column", {}).get("value"):
        words += " Every row counts the same here, whatever its weight."
    return words


def _pair_table(found: Classified) -> Table | None:
    if len(found.output.classes) < 3:
        return None
    pairs = report_stats.confused_pairs(found.true, found.predicted, found.output.classes, PAIRS)
    rows = [(pair.true, pair.predicted, f"{pair.rows:,}", f"{pair.share:.1%}") for pair in pairs]
    return Table(("True class", "Taken for", "Rows", "Share"), rows, frozenset({2, 3})) if rows else None


def _class_table(found: Classified) -> Table:
    figures = report_stats.class_figures(found.true, found.predicted, found.output.classes)[:CLASSES_SHOWN]
    rows = [
        (each.name, f"{each.rows:,}", *(Bar(x) for x in (each.recall, each.precision, each.f1))) for each in figures
    ]
    return Table(("Class", "Rows", "Recall", "Precision", "F1"), rows, frozenset({1}))


def _mistake_table(data: ReportData, found: Classified | Regressed) -> Table | None:
    if not found.mistakes:
        return None
    assert data.predictions is not None
    labels = {str(each.output.column) for each in data.predictions.outputs}
    heads, inputs = shown_inputs([each.inputs for each in found.mistakes], labels, data.predictions.features)
    own = CLASS_HEADS if isinstance(found, Classified) else NUMBER_HEADS
    rows = [(*_figures(each), *given, each.where) for given, each in zip(inputs, found.mistakes, strict=True)]
    first = 2 if isinstance(found, Classified) else 0
    return Table((*own, *heads, "Where"), rows, frozenset(range(first, len(own))))


def _figures(mistake: Mistake) -> tuple[str, ...]:
    said = (mistake.true, mistake.predicted)
    if mistake.probability is None:
        return (*said, f"{mistake.loss:.4g}")
    return (*said, f"{mistake.probability:.1%}", f"{mistake.of_true:.2%}", f"{mistake.loss:.2f}")
