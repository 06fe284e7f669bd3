"""Optimizers of a program for several cores of a TPU: they go by the gradients of all of them.

See tpu_cores: without this, each core would train alone. It is given to optimizers here as CrossShardOptimizer gives it
to those of TensorFlow 1; outside of such a program everything is as it was.
"""

from __future__ import annotations

import tensorflow as tf

from trainer.job.errors import ModelError
from trainer.training.native_optimizer import NativeOptimizer
from trainer.training.replicas import is_summed
from trainer.training.tpu_cores import mean_over_cores

SUMMED = (
    "the model's loss is a sum over examples, and the cores of a TPU average what each makes of its part: give the "
    "loss a reduction that is a mean, such as sum_over_batch_size, and a learning rate to go with it."
)


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
