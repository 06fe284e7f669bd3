"""MultiWorkerMirroredStrategy as an Estimator needs it: in a session's graph, and with one machine that saves.

Measured on TensorFlow 2.15.1, where both end a job or hang it.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow.python.distribute.collective_all_reduce_strategy import CollectiveAllReduceExtended
from tensorflow.python.distribute.cross_device_utils import CollectiveReplicaLauncher
from tensorflow.python.ops.collective_ops import all_gather_v2

_POWERS = 31  # of two, in an int32
_KEYS_OF_A_POWER = 2**20  # more than a graph has collectives


def multi_worker_mirrored(*, adds_rows: bool) -> tf.distribute.Strategy:
    """The strategy of all machines of TF_CONFIG.

    Args:
      adds_rows: add gradients of the same row of a table on each machine before they are sent. A batch of texts names
        few rows many times: of 512 place names, 100 rows are sent instead of 12,288. One that clips would see others.
    """
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    strategy.extended.__class__ = _Extended  # Estimators look at the strategy's own class, and copy it
    strategy.extended._adds_rows = adds_rows
    return strategy


class _Extended(CollectiveAllReduceExtended):
    """Lets one machine save alone, and machines gather slices of any number.

    Variables that each replica updates by itself, such as BatchNorm's statistics, are averaged over all machines
    whenever they are read: the chief that saves them waits for ever for the others to do the same. Here it reads its
    own, which are everybody's where BatchNorms are synchronized.
    """

    def _create_variable(self, next_creator: Any, **arguments: Any) -> Any:
        if arguments.get("synchronization") == tf.VariableSynchronization.ON_READ:
            arguments["aggregation"] = tf.VariableAggregation.ONLY_FIRST_REPLICA
        return super()._create_variable(next_creator, **arguments)

    def _get_cross_device_ops(self, value: Any) -> Any:
        found = super()._get_cross_device_ops(value)
        for launcher in found._launchers:
            launcher.__class__ = _Launcher
            launcher.adds_rows = self._adds_rows
        return found


class _Launcher(CollectiveReplicaLauncher):
    """Gathers an embedding's gradients in steps of different size, such as the last one of an epoch.

    In a session, a collective operation keeps the shape of its first step and fails at another one ("Shape mismatch in
    the collective instance"). Here slices are filled up to a power of two, of which each has an operation of its own.
    """

    adds_rows: bool

    def all_reduce_indexed_slices(self, input_slices: tf.IndexedSlices, options: Any = None) -> tf.IndexedSlices:
        """All replicas' slices, one after the other."""
        options = self._options.merge(options)
        with tf.device(self._device):
            if self.adds_rows:
                input_slices = _added(input_slices)
            lengths = self._all_gather(tf.shape(input_slices.indices), options)
            values, indices = (
                self._gather(each, lengths, options) for each in (input_slices.values, input_slices.indices)
            )
        return tf.IndexedSlices(values, indices, input_slices.dense_shape)

    def _gather(self, part: tf.Tensor, lengths: tf.Tensor, options: Any) -> tf.Tensor:
        power = tf.reduce_sum(
            tf.cast(tf.constant([2**each for each in range(_POWERS)]) < tf.reduce_max(lengths), tf.int32)
        )
        size = tf.bitwise.left_shift(1, power)
        missing = tf.concat([[size - tf.shape(part)[0]], tf.shape(part)[1:]], 0)
        gathered = all_gather_v2(
            tf.concat([part, tf.zeros(missing, part.dtype)], 0),
            self._group_size,
            self._group_key,
            self._next_instance_key() + power * _KEYS_OF_A_POWER,
            communication_hint=options.implementation.value,
            timeout=options.timeout_seconds,
        )
        return tf.boolean_mask(gathered, tf.reshape(tf.sequence_mask(lengths, size), [-1]))


def _added(slices: tf.IndexedSlices) -> tf.IndexedSlices:
    """The same sum with each row named once."""
    indices, places = tf.unique(slices.indices)
    values = tf.math.unsorted_segment_sum(slices.values, places, tf.shape(indices)[0])
    return tf.IndexedSlices(values, indices, slices.dense_shape)
