"""How much each example counts, by a column of the data and by its class: `fit`'s sample_weight and class_weight."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from trainer.job.columns import Column
from trainer.job.errors import DataError
from trainer.training.fit_semantics import with_weights
from trainer.training.labels import Label
from trainer.training.reader import SAMPLE_ROWS, Reader, Row

BAD_WEIGHT = "a weight that is negative or not finite"
WANTED = "where a weight is needed: a finite number of at least 0"


@dataclasses.dataclass(frozen=True)
class Weights:
    """The weights of a job's examples.

    Attributes:
      column: holds each example's weight, in training and in evaluation; None where all count the same.
      of_class: class -> weight, in the order of the class's numbers; in training only, like `fit`'s. Empty where all
        count the same.
    """

    column: str | None = None
    of_class: Mapping[str, float] = dataclasses.field(default_factory=dict)

    @property
    def columns(self) -> dict[str, Column]:
        """What a reader has to parse for it."""
        return {self.column: Column("float32")} if self.column else {}

    def attach(self, features: Any, target: Any, given: Any = None, *, training: bool) -> tuple[Any, Any]:
        """Add weights to a batch, in the form that the Estimator takes.

        Args:
          features: the model's inputs.
          target: of each output; of an only one where classes have weights.
          given: the examples' own weights, [batch] or [batch, 1]; for several outputs also a dict or list of such.
          training: whether classes count differently.

        Returns:
          Features, with weights (float32) if there are any, and the target.
        """
        weights = tf.nest.map_structure(_checked, given)
        if training and self.of_class:
            own, of_class = tf.nest.flatten(weights)[0], self._of_classes(tf.nest.flatten(target)[0])
            # the product, as in keras/src/engine/data_adapter.py, _make_class_weight_map_fn
            weights = of_class if own is None else own * tf.reshape(of_class, tf.shape(own))
        return with_weights(features, weights), target

    def check(self, reader: Reader) -> None:
        """Look at the first weights, and on for one that is not 0. Raises DataError."""
        if not self.column:
            return
        counts = False
        for seen, row in enumerate(reader.good_rows(self.columns)):
            counts = self._insist(reader, row) > 0 or counts
            if counts and seen >= SAMPLE_ROWS:
                return
        if not counts:
            raise DataError(
                f"all weights in {', '.join(reader.files[:3])}, column {self.column}, are 0: nothing would count; name "
                "another --weight-column."
            )

    def find_bad(self, reader: Reader) -> None:
        """Look for the weight that a step stumbled over. Raises DataError where there is one."""
        for row in reader.good_rows(self.columns) if self.column else ():
            self._insist(reader, row)

    def to_json(self) -> dict[str, Any]:
        """For the manifest."""
        return {"column": self.column, "classes": dict(self.of_class)}

    def _insist(self, reader: Reader, row: Row) -> float:
        value = float((row.values or {})[str(self.column)])
        problem = weight_problem(value)
        if problem:
            raise DataError(reader.explain(dataclasses.replace(row, column=self.column, problem=problem)))
        return value

    def _of_classes(self, target: tf.Tensor) -> tf.Tensor:
        """Target (class numbers [batch] or [batch, 1], or one-hot [batch, classes]) -> weights, float32 [batch].

        A number that is no class gets a weight too: that the loss cannot use it is its to say.
        """
        if target.shape.rank == 2 and target.shape[-1] != 1:
            number = tf.argmax(target, axis=-1)
        else:
            number = tf.cast(tf.round(tf.reshape(target, [-1])), tf.int64)
        table = tf.constant(list(self.of_class.values()), tf.float32)
        return tf.gather(table, tf.clip_by_value(number, 0, len(self.of_class) - 1))


NO_WEIGHTS = Weights()


def column_weights(
    name: str | None, reader: Reader, features: Mapping[str, Column], targets: Sequence[Label]
) -> Weights:
    """Weights by a column, which has to hold numbers and be nothing else. Raises DataError."""
    if name is None:
        return NO_WEIGHTS
    roles = [f"the label of {target.output}" for target in targets if target.column == name]
    roles += ["a feature (FEATURES)"] if name in features else []
    if roles:
        raise DataError(f"the weight column {name} is {roles[0]} too: give the weights a column of their own.")
    column = reader.column(name)
    if column.kind == "string" or column.shape:
        held = "text" if column.kind == "string" else f"lists of {column.shape}"
        raise DataError(f"the weight column {name} holds {held} {WANTED}: name another --weight-column.")
    return Weights(name)


def weights_difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What differs between the weights of two runs (from `to_json`), in words; a class without a weight weighs 1."""
    was, now = (side.get("column") or "none" for side in (old, new))
    found = [f"the weight column is {now} where it was {was}"] if was != now else []
    before, after = (side.get("classes") or {} for side in (old, new))
    names = [name for name in dict.fromkeys([*before, *after]) if before.get(name, 1) != after.get(name, 1)]
    changed = [f"class {name} weighs {after.get(name, 1):g} where it was {before.get(name, 1):g}" for name in names]
    return found + shortened(changed)


def shortened(words: Sequence[str], most: int = 10) -> list[str]:
    """The first of many words, and how many more there are."""
    return [*words[:most], *([f"{len(words) - most} more"] if len(words) > most else [])]


def is_weight(values: tf.Tensor) -> tf.Tensor:
    """Which numbers can be weights: bool, of the same shape."""
    return tf.math.is_finite(values) & (values >= 0)


def weight_problem(value: float) -> str | None:
    """What is wrong with a number as a weight, in words."""
    return None if 0 <= value < float("inf") else f"found {value:g} {WANTED}"


def _checked(values: Any) -> tf.Tensor | None:
    if values is None:
        return None
    numbers = tf.cast(values, tf.float32)
    with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(is_weight(numbers)), [BAD_WEIGHT])]):
        return tf.identity(numbers)
