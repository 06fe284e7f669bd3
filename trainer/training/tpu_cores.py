"""What the cores of a TPU sum up together: each runs the same program on its own part of a batch.

A converted model knows nothing of the other cores. Measured on TensorFlow 2.15.1: the program that TPUEstimator builds
of it for eight cores has no sum over them, so that each would train alone, without a word (tpu_estimator.py looks for
one only where control flow is that of TensorFlow 1).
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow.python.tpu import tpu_function


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
