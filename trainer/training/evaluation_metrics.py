"""The names under which an Estimator will report a model's metrics, known before its graph is built."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from trainer.training.model_checks import user_metrics
from trainer.training.native_optimizer import outputs_without_loss


def evaluation_metric_names(model: tf.keras.Model) -> list[str] | None:
    """Keys of an evaluation besides `loss` and `global_step`, or None where they cannot be told.

    These are Keras 1's names (keras/src/engine/training_v1.py): `accuracy`; `OUTPUT_accuracy` with several outputs; a
    number behind a name that is taken. Without plain metrics the weighted ones are not reported either.
    """
    if not user_metrics(model):
        return []
    if not model.output_names:  # a subclassed model learns its outputs from the first batch
        return None
    outputs = list(model.output_names)
    try:
        plain, weighted = (_per_output(user_metrics(model, weighted=each), outputs) for each in (False, True))
    except (TypeError, ValueError, AttributeError, IndexError):
        return None
    lossless = outputs_without_loss(model)
    with_loss = [name for name in outputs if name not in lossless]
    taken = ["loss", *(f"{name}_loss" for name in with_loss if len(outputs) > 1), *_layer_metrics(model)]
    names: list[str] = []
    for output in with_loss:
        index = outputs.index(output)
        for metric in (*plain[index], *weighted[index]):
            names.append(_unique(f"{output}_{metric}" if len(outputs) > 1 else metric, [*taken, *names]))
    return names


def _per_output(metrics: Any, outputs: list[str]) -> list[list[str]]:
    """Names for each output, without doubles; the structure is a list, a list of lists or a dict."""
    if not metrics:
        return [[] for _ in outputs]
    if isinstance(metrics, Mapping):
        nested = [metrics.get(name, []) for name in outputs]
    elif any(isinstance(metric, (list, tuple)) for metric in metrics):
        nested = [metrics[index] for index in range(len(outputs))]
    else:
        nested = [metrics for _ in outputs]
    listed = [each if isinstance(each, (list, tuple)) else [each] for each in nested]
    return [list(dict.fromkeys(_name(metric) for metric in each)) for each in listed]


def _name(metric: Any) -> str:
    if isinstance(metric, str):
        return metric
    known = tf.keras.metrics.get(metric)
    return str(known.name if hasattr(known, "name") else known.__name__)


def _layer_metrics(model: tf.keras.Model) -> list[str]:
    """Names that metrics from `add_metric` take, though they are not reported."""
    owners = (model, *model._flatten_layers(include_self=False))
    return [metric.name for each in owners for metric in getattr(each, "_metrics", ())]


def _unique(name: str, taken: list[str]) -> str:
    number, unique = 1, name
    while unique in taken:
        unique, number = f"{name}_{number}", number + 1
    return unique
