"""What the cores of a TPU do together: each runs the same program on its own part of a batch.

A converted model knows nothing of the other cores. Measured on TensorFlow 2.15.1: the program that TPUEstimator builds
of it for eight cores has no sum over them, so that each would train alone, without a word (tpu_estimator.py looks for
one only where control flow is that of TensorFlow 1). Optimizers are given it here, as CrossShardOptimizer gives it to
those of TensorFlow 1; outside of such a program everything is as it was.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow.python.tpu import tpu_function

from trainer.job.errors import ModelError
from trainer.training.native_optimizer import NativeOptimizer
from trainer.training.replicas import is_summed

SUMMED = (
    "the model's loss is a sum over examples, and the cores of a TPU average what each makes of its part: give the "
    "loss a reduction that is a mean, such as sum_over_batch_size, and a learning rate to go with it."
)


def number_of_cores() -> int:
    """How many cores the program under construction is for; 1 outside of one."""
    return int(tpu_function.get_tpu_context().number_of_shards or 1)


def sum_over_cores(value: tf.Tensor) -> tf.Tensor:
    """The sum of all cores' values (bfloat16, float16, float32, int32 or uint32); its gradient is summed alike."""
    return tf.compat.v1.tpu.cross_replica_sum(value) if number_of_cores() > 1 else value


def mean_over_cores(value: Any) -> Any:
    """The mean of all cores' values, dense; None stays None.

    The rows of an embedding's gradient are put into a whole table: to sum the same rows up, an optimizer would need a
    shape that depends on the data.
    """
    if value is None:
        return None
    dense = tf.convert_to_tensor(value)
    return sum_over_cores(dense) / number_of_cores() if number_of_cores() > 1 else dense


def average_gradients(model: tf.keras.Model) -> None:
    """Let the optimizer of a converted model go by the mean gradient of all cores; done once, it stays.

    The converter's model function makes its optimizers by the class and the configuration of this one
    (keras/src/models/cloning.py), so the class is what changes. Clipping and decay come after the mean, as in `fit`.

    Raises:
      ModelError: the model's loss is a sum over examples, which a mean over cores makes smaller.
    """
    if is_summed(model):
        raise ModelError(SUMMED)
    kind = type(model.optimizer)
    if issubclass(kind, (_OverCores, _NativeOverCores)):
        return
    base = _NativeOverCores if kind is NativeOptimizer else _OverCores
    model.optimizer.__class__ = type(kind.__name__, (base, kind), {})


class _OverCores:
    """Comes before a legacy optimizer's class."""

    def get_gradients(self, loss: tf.Tensor, params: list[tf.Variable]) -> list[tf.Tensor]:
        """The gradients that `get_updates` applies."""
        gradients = super().get_gradients(loss, params)  # type: ignore[misc]
        return [mean_over_cores(each) for each in gradients]


class _NativeOverCores:
    """Comes before NativeOptimizer."""

    def get_updates(self, loss: tf.Tensor, params: list[tf.Variable]) -> list[tf.Tensor]:
        """See NativeOptimizer.get_updates.

        Its variables are made outside of the loop that a TPU runs the step in. Each of its ops waits for all gradients:
        inside of the loop the call dissolves into them, and a weight would decay before the loss is computed with it.
        """
        gradients = [mean_over_cores(each) for each in tf.gradients(loss, params)]
        with tf.init_scope():
            native = self._build_native(params)  # type: ignore[attr-defined]

        @tf.function
        def update(*gradients: tf.Tensor) -> tf.Tensor:
            with tf.control_dependencies([each for each in gradients if each is not None]):
                native.apply_gradients(zip(gradients, params, strict=True))
                return native.iterations.read_value()

        return [update(*gradients)]
