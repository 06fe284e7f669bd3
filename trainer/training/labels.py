"""Which column holds the label, and how it becomes what the model's loss compares with."""

from __future__ import annotations

import dataclasses
import functools
import types
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from trainer.job.columns import KINDS, Column
from trainer.job.config import Job
from trainer.job.errors import DataError, ModelError
from trainer.training.analysis import CLASSES, TrainingSet, find_classes, read_lines
from trainer.training.findings import is_keras_own
from trainer.training.numbers import fits
from trainer.training.reader import Reader

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


def find_labels(module: types.ModuleType, model: tf.keras.Model, job: Job, reader: Reader) -> tuple[Label, ...]:
    """One label for each output of the model, still without classes. Raises DataError where its column is not found."""
    losses = losses_of(model)
    several = len(model.output_names) > 1
    found = []
    for output, tensor in zip(model.output_names, model.outputs, strict=True):
        column = label_column(module, job, reader.columns, output, several)
        sparse = "sparse" in loss_word(losses[output])
        kind = "string" if reader.column(column).kind == "string" else "int64" if sparse else "float32"
        label = Label(output, column, kind, None, tensor.shape[-1] if tensor.shape.rank else None, sparse)
        _check_width(label, losses[output])
        found.append(label)
    return tuple(found)


def complete_labels(found: Sequence[Label], training: TrainingSet) -> tuple[Label, ...]:
    """Number the classes of labels that are text. Raises DataError where they do not go with the output's width."""
    several = len(found) > 1
    return tuple(
        _with_classes(label, training, f"{CLASSES}_{label.output}" if several else CLASSES)
        if label.kind == "string"
        else label
        for label in found
    )


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


def special_column(module: types.ModuleType, job: Job, columns: Sequence[str], setting: str) -> str | None:
    """The column that `weight_column` or `key_column` names: the flag, else the module's constant. Raises DataError."""
    flag, constant = "--" + setting.replace("_", "-"), setting.upper()
    for source, name in ((flag, getattr(job.data, setting)), (constant, getattr(module, constant, None))):
        if name and name not in columns:
            raise DataError(f"{source}={name}: the files have no such column; they have {', '.join(columns)}.")
        if name:
            return str(name)
    return None


def declared_features(module: types.ModuleType, columns: Sequence[str]) -> dict[str, str] | None:
    """Column -> kind by the module's FEATURES; None without. Raises ModelError or DataError."""
    declared = getattr(module, "FEATURES", None)
    if declared is None:
        return None
    where = module.__file__ or module.__name__
    kinds = {name: kind[0] if _is_pair(kind) else kind for name, kind in _items(declared, "FEATURES", where)}
    if not all(kind in KINDS for kind in kinds.values()):
        raise ModelError(f"{where}: FEATURES={declared!r}: map each column to one of {', '.join(KINDS)}.")
    missing = [str(column) for column in declared if column not in columns]
    if missing:
        raise DataError(
            f"the files have no column {', '.join(missing)} (FEATURES in {where}); they have {', '.join(columns)}."
        )
    return kinds


def declared_defaults(module: types.ModuleType, columns: Mapping[str, Column]) -> list[Any]:
    """What stands for a missing value of each column, by FEATURES or DEFAULTS; None where nothing may be missing.

    Raises ModelError for a value that the column cannot hold.
    """
    where = module.__file__ or module.__name__
    features = getattr(module, "FEATURES", None) or {}
    declared = {name: kind[1] for name, kind in features.items() if _is_pair(kind)}
    declared |= dict(_items(getattr(module, "DEFAULTS", {}), "DEFAULTS", where))
    declared = {name: each.item() if isinstance(each, np.generic) else each for name, each in declared.items()}
    for name, default in declared.items():
        if name in columns and not _can_hold(columns[name].kind, default):
            raise ModelError(f"{where}: the default {default!r} of {name} is no {columns[name].kind}.")
    return [declared.get(name) for name in columns]


def _items(declared: object, name: str, where: str) -> Iterable[tuple[str, Any]]:
    if not isinstance(declared, Mapping):
        raise ModelError(f"{where}: {name}={declared!r}: give a dict of columns.")
    return declared.items()


def _is_pair(kind: object) -> bool:
    """Whether FEATURES has a kind and a default."""
    return isinstance(kind, tuple) and len(kind) == 2


def _can_hold(kind: str, value: object) -> bool:
    """Whether a value is of a kind; what is too large for it is not, and True is no number."""
    if kind == "string" or isinstance(value, bool):
        return isinstance(value, str) and kind == "string"
    return isinstance(value, int if kind == "int64" else (int, float)) and fits(kind, str(value))


def _with_classes(label: Label, training: TrainingSet, name: str) -> Label:
    classes = find_classes(label.column, training, name)
    names = read_lines(classes)
    if "" in names:
        training.reader.find_other_value(label.column, set(names) - {""})
    count = len(names)
    room = 2 if label.width == 1 and not label.sparse else label.width
    if room is not None and (count > room if label.sparse else count != room):
        raise DataError(
            f"column {label.column} holds {count} different labels but the model's output {label.output} has room for "
            f"{room}: give the last layer {count} units, or another --label-column."
        )
    return dataclasses.replace(label, classes=classes)


def _check_width(label: Label, loss: object) -> None:
    """One number cannot be compared with several, except by a loss of the user's own: Keras fails, or broadcasts."""
    compares_whole = isinstance(loss, str) or is_keras_own(loss)
    if label.kind != "string" and not label.sparse and (label.width or 1) > 1 and compares_whole:
        raise DataError(
            f"column {label.column} holds one number for each row but the model's output {label.output} has "
            f"{label.width} and its loss {loss_word(loss)} compares them all: compile with "
            "sparse_categorical_crossentropy if the number is a class, else give the last layer 1 unit."
        )


def losses_of(model: tf.keras.Model) -> dict[str, object]:
    """Output name -> its loss as it was given to compile."""
    loss, names = model.loss, model.output_names
    if isinstance(loss, Mapping):
        return {name: loss.get(name) for name in names}
    if isinstance(loss, (list, tuple)):
        return dict(zip(names, loss, strict=True))
    return dict.fromkeys(names, loss)


def loss_word(loss: object) -> str:
    """The loss's name, lower case."""
    while isinstance(loss, functools.partial):
        loss = loss.func
    named = loss if isinstance(loss, str) else getattr(loss, "__name__", type(loss).__name__)
    return str(named).lower()
