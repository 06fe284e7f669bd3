"""A TPU played by the CPU: TPUEstimator with `use_tpu=True`, its loops, infeed and outfeed and all, for tests.

What only the hardware can do is replaced where TPUEstimator calls it: the compiled program runs as the plain loop it is
made of, and infeed and outfeed are queues. One core runs; `cores` may claim more, which then all see the same batch.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from unittest import mock

import tensorflow as tf
from tensorflow.python.tpu import tpu, tpu_feed, tpu_function
from tensorflow.python.tpu.ops import tpu_ops
from tensorflow_estimator.python.estimator.tpu import tpu_context

_CAPACITY = 4


@contextlib.contextmanager
def played_tpu(cores: int = 1, *, shown_cores: int = 1, hosts: int = 1) -> Iterator[None]:
    """Let this process train on a TPU; `shown_cores` and `hosts` are what it sees of it before."""
    metadata = tf.tpu.experimental.TPUSystemMetadata(shown_cores, hosts, shown_cores // hosts, None, [])
    outfeed = _Outfeed()

    def run(computation: Callable[..., Any], inputs: Sequence[Any], **_: Any) -> tuple[tf.Tensor, list[Any]]:
        with tpu_function.tpu_shard_context(cores):
            return tf.constant(b""), computation(*(each[0] for each in inputs))

    nothing = lambda *_, **__: tf.no_op()  # noqa: E731
    with contextlib.ExitStack() as patches:
        for owner, name, played in (
            (tpu_context.tpu_system_metadata_lib, "_query_tpu_system_metadata", lambda *_, **__: metadata),
            (tpu, "split_compile_and_shard", run),
            (tpu_feed.InfeedQueue, "generate_dequeue_op", lambda queue, tpu_device=0: queue.played.dequeue()),
            (tpu_feed.InfeedQueue, "split_inputs_and_generate_enqueue_ops", _enqueue),
            (tpu_ops, "outfeed_enqueue_tuple", outfeed.put),
            (tpu_ops, "outfeed_dequeue_tuple", outfeed.get),
            (tf.compat.v1.tpu, "core", lambda number: "/cpu:0"),
            (tf.compat.v1.tpu, "cross_replica_sum", lambda value: value * cores),
            (tf.compat.v1.tpu, "initialize_system", nothing),
            (tf.compat.v1.tpu, "shutdown_system", nothing),
        ):
            patches.enter_context(mock.patch.object(owner, name, played))
        patches.enter_context(mock.patch.dict("os.environ", {"TF_TPU_GRACEFUL_SHUTDOWN_MODE": ""}))
        yield


def _enqueue(queue: Any, inputs: list[tf.Tensor], **_: Any) -> list[tf.Operation]:
    queue.played = _fifo(inputs)
    return [queue.played.enqueue(inputs)]


class _Outfeed:
    def put(self, tensors: list[tf.Tensor]) -> tf.Operation:
        self._queue = _fifo(tensors)
        return self._queue.enqueue(tensors)

    def get(self, dtypes: Any, shapes: Any, device_ordinal: int) -> list[tf.Tensor]:
        got = self._queue.dequeue()
        return got if isinstance(got, list) else [got]


def _fifo(tensors: list[tf.Tensor]) -> Any:
    """A queue outside of the loop in which it is used."""
    assert all(each.shape.is_fully_defined() for each in tensors), tensors
    with tf.init_scope():
        return tf.queue.FIFOQueue(_CAPACITY, [each.dtype for each in tensors], [each.shape for each in tensors])
