"""What --class-weights means for a model: which classes there are, and what each weighs."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence

import tensorflow as tf

from trainer.job.columns import Column
from trainer.job.config import Data
from trainer.job.errors import DataError, UsageError
from trainer.job.serving import Output
from trainer.training.analysis import CLASSES, TrainingSet, class_counts, count_classes
from trainer.training.inputs import Inputs
from trainer.training.labels import Label
from trainer.training.serving import plan_serving
from trainer.training.weights import shortened

LOG = logging.getLogger("trainer")


def find_class_weights(
    data: Data, model: tf.keras.Model, inputs: Inputs, training: TrainingSet | None
) -> dict[str, float]:
    """Class -> weight of all classes, in the order of their numbers; empty without --class-weights.

    Raises:
      UsageError: the model has several outputs or is no classifier, a class is not known, or nothing would count.
      DataError: the training data hold a label that is none of the classes.
    """
    if not data.class_weights:
        return {}
    said = f"--class-weights={' '.join(data.class_weights)}"
    classes = _classes(model, inputs, said)
    given = data.weight_of_class
    if given is None:
        weights = balanced(classes, _counts(classes, inputs, training, said))
    else:
        _check_names(given, classes, said)
        weights = {name: given.get(name, 1.0) for name in classes}
    if not any(weights.values()):
        raise UsageError(f"{said}: all classes weigh 0, so nothing would count: give one of them a weight.")
    LOG.info("class weights: %s", ", ".join(shortened([f"{name} {weight:.4g}" for name, weight in weights.items()])))
    return weights


def balanced(classes: Sequence[str], counts: Mapping[str, int]) -> dict[str, float]:
    """Weights with which all classes that occur count the same: n_samples / (n_classes * count).

    The formula of scikit-learn's class_weight="balanced" (sklearn.utils.class_weight.compute_class_weight), after
    King and Zeng, "Logistic Regression in Rare Events Data", 2001. A class that does not occur weighs 1.
    """
    present = {name: count for name, count in counts.items() if count}
    total = sum(present.values())
    return {name: total / (len(present) * present[name]) if name in present else 1.0 for name in classes}


def _classes(model: tf.keras.Model, inputs: Inputs, said: str) -> tuple[str, ...]:
    """Names of the classes of the model's only output."""
    outputs: tuple[Output, ...] = plan_serving(model, inputs).spec.outputs
    if len(outputs) != 1:
        names = ", ".join(output.name for output in outputs)
        raise UsageError(
            f"{said}: classes can have weights for a model with one output only, as in fit, and this one has {names}: "
            "weigh the examples with --weight-column."
        )
    if outputs[0].task != "classification":
        raise UsageError(
            f"{said}: the model's output {outputs[0].name} is no classification by its loss, so there are no classes: "
            "compile it with a crossentropy, or weigh the examples with --weight-column."
        )
    return outputs[0].classes


def _check_names(given: Mapping[str, float], classes: Sequence[str], said: str) -> None:
    unknown = [name for name in given if name not in classes]
    if unknown:
        raise UsageError(f"{said}: there is no class {', '.join(unknown)}: name {', '.join(shortened(classes, 20))}.")


def _counts(classes: Sequence[str], inputs: Inputs, training: TrainingSet | None, said: str) -> Mapping[str, int]:
    """How often each class occurs in the training files."""
    if training is None:
        raise UsageError(
            f"{said}: the examples of an input_fn are not counted: say what each class weighs, as in "
            f"--class-weights {classes[0]}=1 {classes[-1]}=2."
        )
    label = inputs.served.labels[0]
    if label.classes:
        return class_counts(training.paths)
    return _numbers_counted(classes, label, training)


def _numbers_counted(classes: Sequence[str], label: Label, training: TrainingSet) -> dict[str, int]:
    """The same for labels that are numbers, rounded as `fit` does where it looks a class's weight up."""
    found = count_classes(label.column, Column(label.kind), training, f"{CLASSES}_counted")
    counts = dict.fromkeys(classes, 0)
    for text, count in found.items():
        number = float(text)
        name = str(round(number)) if math.isfinite(number) else text  # halves to even, like tf.round
        if name not in counts:
            raise DataError(
                f"column {label.column} holds the label {text} where the model's output {label.output} has room for "
                f"{', '.join(shortened(classes, 20))}: mend the data, or give the last layer more units."
            )
        counts[name] += count
    return counts
