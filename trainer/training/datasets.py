"""Batches in a shuffled order that is a function of (seed, epoch) alone, so that a job can go on exactly where it was.

`model.fit`'s counting: an epoch ends with a smaller batch if the examples do not divide evenly. The dataset of a job
that resumes at step s yields what the undisturbed job would have seen from step s on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from trainer.training.csv_reader import CsvReader

BLOCK_ROWS = 8192  # rows parsed in one call where they are kept in memory
SHUFFLE_ROWS = 65_536  # lines held back for shuffling where they are not
ENDLESS = tf.int64.max

Parse = Callable[[tf.Tensor], Any]  # lines (string, [batch]) -> (features, labels)


def cached_batches(reader: CsvReader, parse: Parse, batch_size: int, seed: int, start_step: int) -> tf.data.Dataset:
    """Parse everything once, keep it in memory, and gather the batches of each epoch's own permutation.

    The components of `parse`'s result must be dense, with shapes that are open in the first dimension only.
    """
    rows = reader.rows
    steps_per_epoch = -(-rows // batch_size)
    first_epoch, first_step = divmod(start_step, steps_per_epoch)

    def epochs(*columns: Any) -> tf.data.Dataset:
        def epoch(number: tf.Tensor) -> tf.data.Dataset:
            order = tf.random.experimental.stateless_shuffle(tf.range(rows), seed=tf.stack([seed, number]))

            def batch(step: tf.Tensor) -> Any:
                chosen = order[step * batch_size : (step + 1) * batch_size]
                return tf.nest.map_structure(lambda column: tf.gather(column, chosen), columns)

            # tf.equal, as == compares identities in an Estimator's graph
            first = tf.where(tf.equal(number, first_epoch), tf.cast(first_step, tf.int64), 0)
            return tf.data.Dataset.range(first, steps_per_epoch).map(batch)

        return tf.data.Dataset.range(first_epoch, ENDLESS).flat_map(epoch)

    blocks = reader.lines().batch(BLOCK_ROWS).map(parse, num_parallel_calls=tf.data.AUTOTUNE)
    return blocks.unbatch().batch(rows).flat_map(epochs).prefetch(tf.data.AUTOTUNE)


def streamed_batches(reader: CsvReader, parse: Parse, batch_size: int, seed: int, start_step: int) -> tf.data.Dataset:
    """Read the files anew in each epoch, in an order of its own, with the lines shuffled through a buffer."""
    steps_per_epoch = -(-reader.rows // batch_size)
    first_epoch, first_step = divmod(start_step, steps_per_epoch)

    def epoch(number: tf.Tensor) -> tf.data.Dataset:
        files = tf.random.experimental.stateless_shuffle(tf.constant(reader.files), seed=tf.stack([seed, number]))
        lines = reader.lines(files).shuffle(
            min(reader.rows, SHUFFLE_ROWS), seed=seed + number, reshuffle_each_iteration=False
        )
        first = tf.where(tf.equal(number, first_epoch), tf.cast(first_step, tf.int64), 0)
        return lines.batch(batch_size).skip(first)

    lines = tf.data.Dataset.range(first_epoch, ENDLESS).flat_map(epoch)
    return lines.map(parse, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def ordered_batches(reader: CsvReader, parse: Parse, batch_size: int, rows: int | None = None) -> tf.data.Dataset:
    """All examples once (or the first `rows`), in the order of the files."""
    lines = reader.lines() if rows is None else reader.lines().take(rows)
    return lines.batch(batch_size).map(parse, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)
