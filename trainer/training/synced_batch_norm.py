"""BatchNorm over all replicas of a step, so that many devices learn what one learns from the same global batch.

Keras' own layer takes the statistics of each replica's part of the batch. Its `synchronized=True` is lost when a model
is rebuilt from its configuration, and fails in an Estimator's graph: the custom gradient around the all-reduce finds
variables of other replicas ("Unsuccessful at finding variable dense/kernel/replica_1", TensorFlow 2.15.1).
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

_GRADIENT = "TrainerSumOverReplicas"  # in TensorFlow's table of gradients, which belongs to the process


class SyncedBatchNormalization(tf.keras.layers.BatchNormalization):
    """A BatchNorm whose mean and variance are those of the examples of all replicas together."""

    def __init__(self, was_fused: bool = False, **arguments: Any) -> None:
        """`was_fused`: whether the layer in its place has fused ops, whose moving variance is the unbiased one."""
        super().__init__(**arguments, synchronized=True)
        self._was_fused = was_fused

    def get_config(self) -> dict[str, Any]:
        """What `from_config` takes."""
        return {**super().get_config(), "was_fused": bool(self.fused)}

    def _calculate_mean_and_var(self, inputs: Any, reduction_axes: Any, keep_dims: bool, mask: Any = None) -> Any:
        values = tf.cast(inputs, tf.float32)
        counted = tf.ones_like(values)
        if mask is not None:
            counted *= tf.expand_dims(tf.cast(mask, tf.float32), -1)
        sums = [
            tf.reduce_sum(each, reduction_axes, keepdims=True)
            for each in (counted, values * counted, tf.square(values) * counted)
        ]
        count, total, squares = tf.unstack(sum_over_replicas(tf.stack(sums)))  # machines wait for each other once
        mean = total / count
        variance = tf.maximum(squares / count - tf.square(mean), 0.0)
        self._examples = tf.reshape(count, [-1])[0]
        if not keep_dims:
            mean, variance = tf.squeeze(mean, reduction_axes), tf.squeeze(variance, reduction_axes)
        return tf.cast(mean, inputs.dtype), tf.cast(variance, inputs.dtype)

    def _assign_moving_average(self, variable: Any, value: tf.Tensor, momentum: Any, inputs_size: Any) -> Any:
        if self._was_fused and variable is self.moving_variance:
            value *= tf.cast(self._examples / tf.maximum(self._examples - 1.0, 1.0), value.dtype)
        return super()._assign_moving_average(variable, value, momentum, inputs_size)


def sync_batch_norms(model: tf.keras.Model) -> list[str]:
    """Make the model's BatchNorms synchronized wherever it is rebuilt; their names."""
    found = [layer for layer in model._flatten_layers() if type(layer) is tf.keras.layers.BatchNormalization]
    for layer in found:
        layer.__class__ = SyncedBatchNormalization
    return [layer.name for layer in found]


def sum_over_replicas(value: tf.Tensor) -> tf.Tensor:
    """The sum of all replicas' values, whose gradient is the sum of all replicas' gradients; the value without any."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return value
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
