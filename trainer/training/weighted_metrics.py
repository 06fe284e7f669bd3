"""Evaluations that report what `Model.evaluate(sample_weight=...)` does: put around the converter's model function."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from trainer.training.evaluation_metrics import fresh_metrics, has_metrics, named_metrics, one_or_all
from trainer.training.fit_semantics import ModelFn, Original, split_weights


def as_in_evaluate(model_fn: ModelFn, original: Original) -> ModelFn:
    """Wrap `model_fn` so that an evaluation computes the metrics given to `compile` by the rules of Keras 2.

    To be wrapped in `fit_semantics.as_in_fit`: metrics of the user's own need its scope, and labels the rank it gives.
    """

    def run_model_fn(
        features: Any, labels: Any, mode: str, config: tf.estimator.RunConfig
    ) -> tf.estimator.EstimatorSpec:
        spec = model_fn(features, labels, mode, config)
        if mode != tf.estimator.ModeKeys.EVAL:
            return spec
        weights = split_weights(features)[1]
        metrics = _updated_metrics(original, spec.predictions, labels, weights)
        return spec._replace(eval_metric_ops=metrics, loss=_for_each_example(spec.loss, labels))

    return run_model_fn


def _for_each_example(loss: tf.Tensor, labels: Any) -> tf.Tensor:
    """A batch's mean loss, once for each of its examples.

    An Estimator reports the mean of `loss` over batches; in `evaluate` a short last batch counts for less than a full
    one (keras/src/engine/compile_utils.py weighs each batch by its size). The placeholder hides the shape, as an
    EstimatorSpec insists on a scalar where it can see one.
    """
    examples = tf.shape(tf.nest.flatten(labels)[0])[0]
    return tf.compat.v1.placeholder_with_default(tf.fill([examples], loss), None)


def _updated_metrics(
    original: Original, predictions: Mapping[str, tf.Tensor], labels: Any, weights: Any
) -> dict[str, tf.keras.metrics.Metric]:
    """Name -> metric, updated with this batch; an Estimator takes such objects as they are."""
    outputs = list(predictions)
    plain, weighted = original.compile_arguments["metrics"], original.compile_arguments["weighted_metrics"]
    if not has_metrics(plain, weighted):
        return {}
    container = fresh_metrics(plain, weighted, outputs)
    heads = one_or_all(list(predictions.values()))
    container.update_state(_by_output(labels, outputs), heads, _by_output(weights, outputs))
    return {name: metric for name, metric in named_metrics(container).items() if metric.updates}


def _by_output(given: Any, outputs: Sequence[str]) -> Any:
    """Labels or weights in the outputs' order: a converted model takes them by name, in a list, or as one tensor."""
    if isinstance(given, Mapping):
        return one_or_all([given.get(name) for name in outputs])
    return one_or_all(given) if isinstance(given, (list, tuple)) else given
