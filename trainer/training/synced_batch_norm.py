"""Batches that replicas share: what goes by a whole batch goes by the parts of all replicas of a step together.

So that many devices learn what one learns from the same global batch. Two parts of Keras look at a whole batch:

- BatchNorm. Its `synchronized=True` is lost when a model is rebuilt from its configuration, and fails in an Estimator's
  graph: the custom gradient around the all-reduce finds variables of other replicas ("Unsuccessful at finding variable
  dense/kernel/replica_1", TensorFlow 2.15.1).
- A mask that reaches a loss: the mean is that of the steps in time that are there, and each part has its own number.

Keras' own class and function are changed, once there are several replicas: that reaches layers within the user's own,
and classes that he derived. Elsewhere in the process they do what they did.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import tensorflow as tf
from keras.src.layers.normalization.batch_normalization import BatchNormalizationBase
from keras.src.utils import losses_utils

from trainer.training.tpu_cores import number_of_cores, sum_over_cores

_GRADIENT = "TrainerSumOverReplicas"  # in TensorFlow's table of gradients, which belongs to the process
_PLAIN = {
    (owner, name): getattr(owner, name)
    for owner, name in (
        (BatchNormalizationBase, "call"),
        (BatchNormalizationBase, "_calculate_mean_and_var"),
        (BatchNormalizationBase, "_assign_moving_average"),
        (losses_utils, "apply_valid_mask"),
    )
}
_plain_call, _plain_mean_and_var, _plain_moving_average, _plain_mask = _PLAIN.values()
NOTHING = -0.0  # the weight of an example that stands in for none; an example may weigh 0 and yet be one
_local = threading.local()  # replicas are threads


@contextlib.contextmanager
def in_one_batch(weights: Any) -> Iterator[None]:
    """To be around the model function of a replica; `weights` are those of its examples, None or several too.

    A part whose examples weigh NOTHING has none.
    """
    if not _is_one_of_several():
        yield
        return
    _install()
    if weights is not None:
        bits = tf.bitcast(tf.cast(tf.nest.flatten(weights)[0], tf.float32), tf.int32)
        _local.counts = tf.cast(tf.reduce_any(tf.not_equal(bits, tf.int32.min)), tf.float32)
    try:
        yield
    finally:
        _local.counts = None


def _install() -> None:
    for (owner, name), changed in zip(_PLAIN, (_call, _mean_and_var, _moving_average, _apply_valid_mask), strict=True):
        setattr(owner, name, changed)


@tf.autograph.experimental.do_not_convert
def _call(layer: Any, inputs: Any, training: Any = None, mask: Any = None) -> Any:
    """Without fused ops, which cannot be told the statistics, and which ignore masks."""
    if not _is_one_of_several():
        return _plain_call(layer, inputs, training=training, mask=mask)
    layer._was_fused, layer.fused = bool(layer.fused), False
    try:
        return _plain_call(layer, inputs, training=training, mask=None if layer._was_fused else mask)
    finally:
        layer.fused = layer._was_fused


@tf.autograph.experimental.do_not_convert
def _mean_and_var(layer: Any, inputs: Any, reduction_axes: Any, keep_dims: bool, mask: Any = None) -> Any:
    """In two rounds: from sums of squares alone, little would be left of the variance of large values."""
    if not _is_one_of_several() or layer.virtual_batch_size is not None:
        return _plain_mean_and_var(layer, inputs, reduction_axes, keep_dims, mask=mask)
    counted = tf.ones_like(inputs) * _counts(inputs.dtype)
    if mask is not None:
        counted *= tf.expand_dims(tf.cast(mask, inputs.dtype), -1)

    def summed(values: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(values, reduction_axes, keepdims=True)

    count, total = tf.unstack(sum_over_replicas(tf.stack([summed(counted), summed(inputs * counted)])))
    mean = total / count
    squares = tf.math.squared_difference(inputs, tf.stop_gradient(mean))
    variance = sum_over_replicas(summed(squares * counted)) / count
    layer._examples = tf.reshape(count, [-1])[0]
    return (mean, variance) if keep_dims else (tf.squeeze(mean, reduction_axes), tf.squeeze(variance, reduction_axes))


@tf.autograph.experimental.do_not_convert
def _moving_average(layer: Any, variable: Any, value: Any, momentum: Any, inputs_size: Any) -> Any:
    """The moving variance of the fused ops is the unbiased one."""
    if _is_one_of_several() and layer._was_fused and variable is layer.moving_variance:
        value *= tf.cast(layer._examples / tf.maximum(layer._examples - 1.0, 1.0), value.dtype)
    return _plain_moving_average(layer, variable, value, momentum, inputs_size)


def _apply_valid_mask(losses: Any, sw: Any, mask: Any, reduction: Any) -> Any:
    """See losses_utils; all and valid steps in time are those of all replicas, as each part counts by its rows."""
    if mask is None or not _is_one_of_several() or reduction not in ("auto", "sum_over_batch_size"):
        return _plain_mask(losses, sw, mask, reduction)
    mask = tf.cast(mask, losses.dtype)
    own = tf.stack([tf.cast(tf.size(mask), losses.dtype), tf.reduce_sum(mask)]) * _counts(losses.dtype)
    everything, valid = tf.unstack(sum_over_replicas(own))
    return losses_utils.apply_mask(losses, sw, mask * everything / valid)


def _counts(dtype: tf.DType) -> Any:
    """1, or 0 where this replica's part only stands in for none."""
    counts = getattr(_local, "counts", None)
    return tf.constant(1.0, dtype) if counts is None else tf.cast(counts, dtype)


def _is_one_of_several() -> bool:
    context = tf.distribute.get_replica_context()
    return context is not None and (context.num_replicas_in_sync > 1 or number_of_cores() > 1)


def sum_over_replicas(value: tf.Tensor) -> tf.Tensor:
    """The sum of all replicas' values, whose gradient is the sum of all replicas' gradients."""
    if number_of_cores() > 1:
        return sum_over_cores(value)
    with tf.compat.v1.get_default_graph().gradient_override_map({"Identity": _GRADIENT}):
        passed = tf.identity(value)
    return passed + tf.stop_gradient(_summed(value) - value)


def _summed(value: tf.Tensor) -> tf.Tensor:
    def summed(strategy: tf.distribute.Strategy, values: Any) -> Any:
        return strategy.extended.reduce_to(tf.distribute.ReduceOp.SUM, values, values)

    return tf.distribute.get_replica_context().merge_call(summed, args=(value,))


@tf.RegisterGradient(_GRADIENT)
def _gradient(operation: tf.Operation, gradient: tf.Tensor) -> tf.Tensor:
    return _summed(gradient)
