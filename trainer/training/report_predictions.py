"""What an export says of the first rows of some files, beside what they say themselves."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from trainer.job.columns import Column, Layout
from trainer.job.errors import DataError
from trainer.job.serving import Output, ServingSpec
from trainer.training.reader import BadValue, Reader
from trainer.training.readers import open_reader
from trainer.training.served import ServedModel

WORST = 25
TINY = 1e-12  # a probability of 0 costs no more than this one
NO_MISTAKE = -1.0  # the loss of a row that is right
Array = np.ndarray


@dataclasses.dataclass(frozen=True)
class Mistake:
    """One row: where it stands, its columns as the file has them, and how wrong the prediction is.

    `probability` is that of the predicted class, `of_true` that of the true one; None for a regression.
    """

    where: str
    inputs: Mapping[str, Any]
    true: str
    predicted: str
    loss: float
    probability: float | None = None
    of_true: float | None = None


@dataclasses.dataclass(frozen=True)
class Classified:
    """One output's class numbers and probabilities, [rows] each; `unknown` rows have a label of no class."""

    output: Output
    true: Array
    predicted: Array
    probability: Array
    of_true: Array
    mistakes: tuple[Mistake, ...]
    unknown: int = 0


@dataclasses.dataclass(frozen=True)
class Regressed:
    """One output's true and predicted numbers, float64, [values] each: a row may have several."""

    output: Output
    true: Array
    predicted: Array
    mistakes: tuple[Mistake, ...]


@dataclasses.dataclass(frozen=True)
class Predictions:
    """All outputs with a column to compare with, over the first `rows` examples; `features` as requests have them."""

    outputs: tuple[Classified | Regressed, ...]
    rows: int
    features: Mapping[str, Column]


@dataclasses.dataclass(frozen=True)
class _Batch:
    """Records of one file with their places in it, what the export says, and what is true."""

    path: str
    records: Array
    places: Array
    columns: Mapping[str, Array]
    predictions: Mapping[str, Array]


@dataclasses.dataclass(frozen=True)
class _Place:
    """A record that may become a Mistake: by its loss, where it stands, what was said of it."""

    loss: float
    path: str
    place: int
    record: bytes
    facts: Mapping[str, Any]


def predict_rows(export: str, files: Sequence[str], layout: Layout, rows: int) -> Predictions:
    """Run an export over the first `rows` examples of the files.

    Raises:
      DataError: the files cannot be read any more, or lack a column that the export needs.
      UsageError: the export cannot be served, see `ServedModel.load`.
    """
    model = ServedModel.load(export)
    reader = open_reader(files, layout)
    outputs = [output for output in model.spec.outputs if output.column is not None]
    collectors = [COLLECTORS[output.task](output) for output in outputs]
    read = 0
    for batch in _batches(model, reader, _needed(reader, model.spec, outputs), rows):
        read += len(batch.places)
        for each in collectors:
            each.add(batch)
    return Predictions(tuple(each.result(reader) for each in collectors) if read else (), read, model.spec.features)


def _needed(reader: Reader, spec: ServingSpec, outputs: Sequence[Output]) -> dict[str, Column]:
    names = [*spec.features, *(str(output.column) for output in outputs)]
    missing = sorted(set(names) - set(reader.columns))
    missing = [name for name in missing if name not in spec.features or spec.features[name].default is None]
    if missing:
        raise DataError(f"{reader.files[0]} has no column {', '.join(missing)}; it has {', '.join(reader.columns)}.")
    return {**{str(output.column): reader.column(str(output.column)) for output in outputs}, **spec.features}


def _batches(model: ServedModel, reader: Reader, columns: Mapping[str, Column], rows: int) -> Iterator[_Batch]:
    """Batches until there are so many good rows; bad ones are left out, as the job did."""
    for path in reader.files:
        first = 0
        for block in reader.blocks(path):
            if rows <= 0:
                return
            places = first + np.flatnonzero(reader.good(block, columns).numpy())[:rows]
            records = block.numpy()[places - first]
            first += int(block.shape[0])
            if len(places):
                parsed = {name: value.numpy() for name, value in reader.parse(records, columns).items()}
                said = model.predict({name: parsed[name] for name in model.spec.features})
                yield _Batch(path, records, places, parsed, said)
            rows -= len(places)


class _Classes:
    """Collects a classification."""

    def __init__(self, output: Output) -> None:
        self._output, self._parts, self._worst, self._unknown = output, list[tuple[Array, ...]](), _Worst(), 0

    def add(self, batch: _Batch) -> None:
        """Keep what is needed of a batch."""
        scores = batch.predictions[str(self._output.scores_output)]
        true = class_numbers(batch.columns[str(self._output.column)], self._output.classes)
        known = np.flatnonzero(true >= 0)
        self._unknown += len(true) - len(known)
        true, scores, rows = true[known], scores[known], np.arange(len(known))
        predicted = np.argmax(scores, axis=1)
        probability, of_true = scores[rows, predicted], scores[rows, true]
        self._parts.append((true, predicted, probability, of_true))
        loss = np.where(true == predicted, NO_MISTAKE, -np.log(np.maximum(of_true, TINY)))
        said = {"true": true, "predicted": predicted, "probability": probability, "of_true": of_true}
        self._worst.add(batch, known, loss, said)

    def result(self, reader: Reader) -> Classified:
        """Everything that was added."""
        true, predicted, probability, of_true = (np.concatenate(each) for each in zip(*self._parts, strict=True))
        mistakes = self._worst.mistakes(reader, self._in_words)
        return Classified(self._output, true, predicted, probability, of_true, mistakes, self._unknown)

    def _in_words(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        names = self._output.classes
        probabilities = {name: float(facts[name]) for name in ("probability", "of_true")}
        return {**probabilities, **{name: names[facts[name]] for name in ("true", "predicted")}}


class _Numbers:
    """Collects a regression."""

    def __init__(self, output: Output) -> None:
        self._output, self._parts, self._worst = output, list[tuple[Array, Array]](), _Worst()

    def add(self, batch: _Batch) -> None:
        """Keep what is needed of a batch."""
        rows = len(batch.places)
        true = batch.columns[str(self._output.column)].reshape(rows, -1).astype(np.float64)
        guess = batch.predictions[self._output.name].reshape(rows, -1).astype(np.float64)
        true = np.broadcast_to(true, guess.shape)
        self._parts.append((true.ravel(), guess.ravel()))
        off = np.abs(guess - true).mean(axis=1)
        self._worst.add(batch, np.arange(rows), off, {"true": true, "predicted": guess})

    def result(self, reader: Reader) -> Regressed:
        """Everything that was added."""
        true, predicted = (np.concatenate(each) for each in zip(*self._parts, strict=True))
        return Regressed(self._output, true, predicted, self._worst.mistakes(reader, self._in_words))

    def _in_words(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        return {name: ", ".join(f"{value:.5g}" for value in values.tolist()) for name, values in facts.items()}


COLLECTORS: dict[str, Any] = {"classification": _Classes, "regression": _Numbers}


def class_numbers(values: Array, classes: Sequence[str]) -> Array:
    """Labels ([rows], or one-hot [rows, classes]) -> numbers of their classes ([rows]); -1 for one that is none."""
    if values.ndim > 1 and values.shape[1] == len(classes) > 1:
        return np.argmax(values, axis=1)
    found, inverse = np.unique(values.reshape(len(values)), return_inverse=True)
    number = {name: index for index, name in enumerate(classes)}
    return np.asarray([number.get(_class_name(value), -1) for value in found.tolist()], np.int64)[inverse]


def _class_name(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


class _Worst:
    """The places with the largest losses so far."""

    def __init__(self) -> None:
        self._places: list[_Place] = []

    def add(self, batch: _Batch, rows: Array, loss: Array, said: Mapping[str, Array]) -> None:
        """Add rows of a batch with their losses; one that is no number is the worst."""
        loss = np.nan_to_num(loss, nan=np.inf)
        for i in np.argsort(-loss, kind="stable")[:WORST]:
            if loss[i] > NO_MISTAKE:
                row = rows[i]
                facts = {name: values[i] for name, values in said.items()}
                place, record = int(batch.places[row]), batch.records[row]
                self._places.append(_Place(float(loss[i]), batch.path, place, record, facts))
        self._places = sorted(self._places, key=lambda each: -each.loss)[:WORST]

    def mistakes(self, reader: Reader, to_words: Callable[[Mapping[str, Any]], dict[str, Any]]) -> tuple[Mistake, ...]:
        """The worst first, with all columns of the file."""
        numbers = _line_numbers(reader, self._places)
        columns = {name: reader.column(name) for name in reader.columns}
        return tuple(
            Mistake(
                where=f"{each.path.rpartition('/')[2]}, {reader.unit} {numbers[each.path, each.place]}",
                inputs=_inputs(reader, each.record, columns),
                loss=each.loss,
                **to_words(each.facts),
            )
            for each in self._places
        )


def _inputs(reader: Reader, record: bytes, columns: Mapping[str, Column]) -> dict[str, Any]:
    """All columns that can be read: those that the model does not take were never checked."""
    found = {}
    for name, column in columns.items():
        try:
            found[name] = reader.read(record, {name: column})[name]
        except BadValue as bad:
            found[name] = f"({bad.problem})"
    return found


def _line_numbers(reader: Reader, places: Sequence[_Place]) -> dict[tuple[str, int], int]:
    """(file, place among its records) -> what an editor calls it."""
    found = {}
    for path in {each.path for each in places}:
        wanted = {each.place for each in places if each.path == path}
        rows = itertools.islice(reader.raw_rows(path), max(wanted) + 1)
        found.update({(path, place): number for place, (number, _) in enumerate(rows) if place in wanted})
    return found
