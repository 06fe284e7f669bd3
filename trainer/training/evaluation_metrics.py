"""The metrics of an evaluation as `Model.evaluate` has them: the objects for one graph, and their names before.

The converter computes metrics by the rules of Keras 1: weighted ones leave the weights out and are called `mae_1`, or
are missing where there are no others, and "accuracy" goes by the loss instead of the shapes. So the container of Keras
2 itself (keras/src/engine/compile_utils.py) makes, names and updates them here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf
from keras.src.engine.compile_utils import MetricsContainer

RESERVED = ("loss", "global_step")  # what an Estimator calls its own


def evaluation_metric_names(model: tf.keras.Model) -> list[str] | None:
    """Keys of an evaluation besides `loss` and `global_step`, or None where they cannot be told.

    These are Keras' names: `accuracy`, `OUTPUT_accuracy` with several outputs, `weighted_` before the name of a
    weighted metric that is taken. Raises what Keras does for metrics that it refuses.
    """
    given = user_metrics(model), user_metrics(model, weighted=True)
    if not has_metrics(*given):
        return []
    if not model.output_names:  # a subclassed model learns its outputs from the first batch
        return None
    with tf.Graph().as_default():
        heads = [tf.compat.v1.placeholder(head.dtype, head.shape) for head in tf.nest.flatten(model.outputs)]
        container = fresh_metrics(*given, model.output_names)
        container.build(one_or_all(heads), one_or_all(heads))
        return list(named_metrics(container))


def user_metrics(model: tf.keras.Model, *, weighted: bool = False) -> Any:
    """What `compile` was given as metrics (or weighted_metrics), as it was given."""
    container = model.compiled_metrics
    return container._user_weighted_metrics if weighted else container._user_metrics


def has_metrics(*given: Any) -> bool:
    """Whether there is a metric in what `compile` was given."""
    return any(each is not None for each in tf.nest.flatten(given))


def fresh_metrics(plain: Any, weighted: Any, outputs: Sequence[str]) -> MetricsContainer:
    """The metrics and weighted metrics that `compile` was given, to be built in the current graph.

    They are clones: variables belong to one graph, and the container puts names of outputs before those of the objects
    it is given.
    """
    clones = [tf.nest.map_structure(_clone, given) for given in (plain, weighted)]
    return MetricsContainer(*clones, output_names=list(outputs))


def named_metrics(container: MetricsContainer) -> dict[str, tf.keras.metrics.Metric]:
    """Name -> metric of a built container; one that is called like an Estimator's own gets a number."""
    found: dict[str, tf.keras.metrics.Metric] = {}
    for metric in container.metrics:
        found[_unique(metric.name, [*RESERVED, *found])] = metric
    return found


def one_or_all(tensors: Sequence[Any]) -> Any:
    """The structure of a functional model's outputs: a tensor, or a list of them."""
    return tensors[0] if len(tensors) == 1 else list(tensors)


def _clone(metric: Any) -> Any:
    return metric.from_config(metric.get_config()) if isinstance(metric, tf.keras.metrics.Metric) else metric


def _unique(name: str, taken: Sequence[str]) -> str:
    number, unique = 1, name
    while unique in taken:
        unique, number = f"{name}_{number}", number + 1
    return unique
