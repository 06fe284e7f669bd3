"""Which column holds the label, and how it becomes what the model's loss compares with."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping, Sequence

import tensorflow as tf

from trainer.job.config import Job
from trainer.job.errors import DataError, ModelError
from trainer.job.paths import JobPaths
from trainer.training.analysis import CLASSES, find_classes, read_lines
from trainer.training.csv_reader import CsvReader
from trainer.training.findings import is_keras_own

KINDS = ("int64", "float32", "string")
USUAL = ("label", "target")


@dataclasses.dataclass(frozen=True)
class Label:
    """One output's label: its column, the kind it is read as, and the classes file where it is text.

    `width` is the size of the output's last dimension, `sparse` whether the loss takes class numbers.
    """

    output: str
    column: str
    kind: str
    classes: str | None = None
    width: int | None = None
    sparse: bool = False

    def to_target(self, column: tf.Tensor) -> tf.Tensor:
        """Column ([batch]) -> target: [batch, 1], or one-hot [batch, width] for text and a dense loss."""
        if self.classes is None:
            return tf.expand_dims(column, -1)
        initializer = tf.lookup.TextFileInitializer(
            self.classes, tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER
        )
        number = tf.lookup.StaticHashTable(initializer, default_value=-1).lookup(column)
        with tf.control_dependencies([tf.debugging.assert_non_negative(number, message=UNKNOWN_CLASS)]):
            if self.sparse:
                return tf.expand_dims(number, -1)
            if self.width == 1:
                return tf.expand_dims(tf.cast(number, tf.float32), -1)
            return tf.one_hot(number, self.width)


UNKNOWN_CLASS = "a label that is not among the classes"


def find_labels(
    module: types.ModuleType, model: tf.keras.Model, job: Job, reader: CsvReader, paths: JobPaths
) -> tuple[Label, ...]:
    """One label for each output of the model. Raises DataError where its column is not found."""
    losses = _losses(model)
    several = len(model.output_names) > 1
    found = []
    for output, tensor in zip(model.output_names, model.outputs, strict=True):
        column = label_column(module, job, reader.columns, output, several)
        sparse = "sparse" in _word(losses[output])
        width = tensor.shape[-1] if tensor.shape.rank else None
        classes = f"{CLASSES}_{output}" if several else CLASSES
        label = _label(Label(output, column, "", classes, width, sparse), reader, paths)
        _check_width(label, losses[output])
        found.append(label)
    return tuple(found)


def label_column(module: types.ModuleType, job: Job, columns: Sequence[str], output: str, several: bool = False) -> str:
    """--label-column, else the module's LABEL_COLUMN, else the output's name, else `label` or `target`."""
    if not several:
        for source, name in (("--label-column", job.data.label_column), ("LABEL_COLUMN", declared_label(module))):
            if name and name not in columns:
                raise DataError(f"{source}={name}: the files have no such column; they have {', '.join(columns)}.")
            if name:
                return name
    for name in (output, *(() if several else USUAL)):
        if name in columns:
            return name
    raise DataError(
        f"no column holds the label: none is called {output} like the model's output; "
        f"name one of {', '.join(columns)} with --label-column."
    )


def declared_label(module: types.ModuleType) -> str | None:
    """The module's own word on its label column."""
    return getattr(module, "LABEL_COLUMN", None)


def check_declared(declared: object, columns: Sequence[str], where: str) -> None:
    """Check a module's FEATURES. Raises ModelError or DataError."""
    if not isinstance(declared, Mapping) or not all(kind in KINDS for kind in declared.values()):
        raise ModelError(f"{where}: FEATURES={declared!r}: map each column to one of {', '.join(KINDS)}.")
    missing = [column for column in declared if column not in columns]
    if missing:
        raise DataError(
            f"the files have no column {', '.join(missing)} (FEATURES in {where}); they have {', '.join(columns)}."
        )


def _label(label: Label, reader: CsvReader, paths: JobPaths) -> Label:
    """Complete a label: numbers are read as they are, text becomes the number of its class."""
    if reader.kind(label.column) != "string":
        return dataclasses.replace(label, kind="int64" if label.sparse else "float32", classes=None)
    classes = find_classes(reader, label.column, paths, label.classes or CLASSES)
    names = read_lines(classes)
    if "" in names:
        reader.find_other_value(label.column, set(names) - {""})
    count = len(names)
    room = 2 if label.width == 1 and not label.sparse else label.width
    if room is not None and (count > room if label.sparse else count != room):
        raise DataError(
            f"column {label.column} holds {count} different labels but the model's output {label.output} has room for "
            f"{room}: give the last layer {count} units, or another --label-column."
        )
    return dataclasses.replace(label, kind="string", classes=classes)


def _check_width(label: Label, loss: object) -> None:
    """One number cannot be compared with several, except by a loss of the user's own: Keras fails, or broadcasts."""
    compares_whole = isinstance(loss, str) or is_keras_own(loss)
    if label.classes is None and not label.sparse and (label.width or 1) > 1 and compares_whole:
        raise DataError(
            f"column {label.column} holds one number for each row but the model's output {label.output} has "
            f"{label.width} and its loss {_word(loss)} compares them all: compile with sparse_categorical_crossentropy "
            "if the number is a class, else give the last layer 1 unit."
        )


def _losses(model: tf.keras.Model) -> dict[str, object]:
    """Output name -> its loss as it was given to compile."""
    loss, names = model.loss, model.output_names
    if isinstance(loss, Mapping):
        return {name: loss.get(name) for name in names}
    if isinstance(loss, (list, tuple)):
        return dict(zip(names, loss, strict=True))
    return dict.fromkeys(names, loss)


def _word(loss: object) -> str:
    """The loss's name, lower case."""
    named = loss if isinstance(loss, str) else getattr(loss, "__name__", type(loss).__name__)
    return str(named).lower()
