"""The global batch, cut for replicas so that together they learn exactly what one device learns from all of it.

A replica's loss is the mean over its own examples, and the gradients of all replicas are averaged. Where the last batch
of an epoch is short, its parts differ in size, and a mean of means is not the mean: each example there counts
`rows of the part * replicas / rows of the batch`. A part without examples gets one that counts nothing.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import tensorflow as tf

from trainer.job.errors import ModelError
from trainer.training.datasets import Share
from trainer.training.fit_semantics import split_weights, with_weights
from trainer.training.native_optimizer import adds_rows
from trainer.training.strategies import Spread
from trainer.training.synced_batch_norm import NOTHING


@dataclasses.dataclass(frozen=True)
class Parts:
    """How an epoch of `rows` examples is dealt out, in global batches of `batch_size`."""

    rows: int
    batch_size: int
    spread: Spread

    @property
    def share(self) -> Share:
        """What this process reads: every so many-th example of each global batch, or of all, where each has its own."""
        return Share(self.spread.position, self.spread.trainers, not self.spread.is_async and self.spread.workers > 1)

    @property
    def worker_batch(self) -> int:
        """Examples that this process takes for one of its steps."""
        return self.batch_size // self.spread.workers

    @property
    def steps_per_epoch(self) -> int:
        """Steps of this process in an epoch."""
        if self.spread.is_async:
            return -(-self.own(self.rows) // self.batch_size)
        return -(-self.rows // self.batch_size)

    @property
    def rest(self) -> int:
        """Examples in the last batch of an epoch, 0 where all are whole."""
        return 0 if self.spread.is_async else self.rows % self.batch_size

    @property
    def is_uneven(self) -> bool:
        """Whether the parts of the last batch differ in size."""
        return bool(self.rest % self.spread.in_step)

    def own(self, rows: int) -> int:
        """How many of the first so many examples are this process's."""
        return len(range(self.spread.position, rows, self.spread.trainers))

    def examples(self, first_step: int, steps: int) -> int:
        """How many examples this process trains on in so many of its own steps."""
        epochs, more = divmod(first_step + steps, self.steps_per_epoch)
        before, less = divmod(first_step, self.steps_per_epoch)
        whole = (epochs - before) * self.own(self.rows)
        batch = self.batch_size if self.spread.is_async else self.worker_batch
        return whole + more * batch - less * batch


def cut(batches: tf.data.Dataset, parts: Parts, start_step: int) -> tf.data.Dataset:
    """A worker's batches, endless from `start_step` on, as its replicas take them: one part after the other.

    `batches` has elements (features, labels), weights in the features; see `datasets` for an empty last one.
    """
    replicas = parts.spread.replicas
    if parts.spread.is_async or (replicas == 1 and not parts.is_uneven):
        return batches
    if not parts.is_uneven:
        return batches.flat_map(lambda *batch: _even_parts(batch, replicas))
    numbered = batches.enumerate(start_step)
    return numbered.flat_map(lambda step, batch: _weighted_parts(batch, step, parts))


def _even_parts(batch: Any, count: int) -> tf.data.Dataset:
    """Slices are several times cheaper than rows taken apart and put together."""
    numbers = tf.data.Dataset.range(count)
    return numbers.map(lambda number: tf.nest.map_structure(lambda each: each[number::count], batch))


def _weighted_parts(batch: Any, step: tf.Tensor, parts: Parts) -> tf.data.Dataset:
    is_last = tf.equal(step % parts.steps_per_epoch, parts.steps_per_epoch - 1)
    whole = tf.where(is_last, tf.cast(parts.rest, tf.int64), parts.batch_size)
    local = tf.where(is_last, tf.cast(parts.own(parts.rest), tf.int64), parts.worker_batch)

    def part(number: tf.Tensor) -> Any:
        features, labels = batch
        rows = len_of_part(local, number, parts.spread.replicas)
        factor = tf.cast(rows * parts.spread.in_step / whole, tf.float32)
        taken = tf.nest.map_structure(
            lambda each: _rows_of_part(each, number, rows, parts.spread.replicas), (features, labels)
        )
        plain, weights = split_weights(taken[0])
        weight = tf.where(rows > 0, 1.0 if parts.spread.sums else factor, NOTHING)
        counted = tf.fill([tf.maximum(rows, 1)], weight)
        weighted = counted if weights is None else tf.nest.map_structure(lambda each: each * counted, weights)
        return with_weights(plain, weighted), taken[1]

    return tf.data.Dataset.range(parts.spread.replicas).map(part)


def len_of_part(rows: tf.Tensor, number: tf.Tensor, count: int) -> tf.Tensor:
    """How many of `rows` are the part's of this number: every count-th one."""
    return (rows - number + count - 1) // count


def _rows_of_part(value: tf.Tensor, number: tf.Tensor, rows: tf.Tensor, count: int) -> tf.Tensor:
    """Every count-th row from this number on, or the first one where there is none."""
    return tf.cond(rows > 0, lambda: value[number::count], lambda: value[:1])


def fitted(spread: Spread, model: tf.keras.Model) -> Spread:
    """The same with what the model says of it. Raises ModelError, see `is_summed`."""
    if spread.in_step == 1:
        return spread
    return dataclasses.replace(spread, sums=is_summed(model), adds_rows=adds_rows(model))


def is_summed(model: tf.keras.Model) -> bool:
    """Whether the model's losses are sums over examples. Raises ModelError where some are and some are not."""
    losses = [each for each in tf.nest.flatten(model.loss) if each is not None]
    sums = {getattr(each, "reduction", "") == tf.keras.losses.Reduction.SUM for each in losses} or {False}
    if len(sums) > 1:
        raise ModelError(
            "some of the model's losses are sums over examples and some are means, which several replicas cannot weigh "
            "alike in a short last batch: give all losses one reduction, or choose a --batch-size that divides the "
            "number of examples."
        )
    return sums.pop()
