"""Batches in a shuffled order that is a function of (seed, epoch) alone, so that a job can go on exactly where it was.

`model.fit`'s counting: an epoch ends with a smaller batch if the examples do not divide evenly. The dataset of a job
that resumes at step s yields what the undisturbed job would have seen from step s on.
"""

from __future__ import annotations

import dataclasses
import os
import random
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from trainer.job.errors import DataError
from trainer.training.reader import Reader

PARSED_ROWS = 8192  # rows parsed in one call where they are kept in memory
WINDOW_ROWS = 65_536  # records that are shuffled together where they are read anew in each epoch,
WINDOW_BYTES = 32 * 2**20  # or fewer, if they are long
FILES_AT_ONCE, THREADS = 4, 2  # of several files read by turns; more threads than that only get into each other's way
PARALLEL = max(2, min(8, os.cpu_count() or 1))  # calls of a function on blocks or batches
AHEAD = 4  # batches that wait for the model
ENDLESS = tf.int64.max

Columns = dict[str, tf.Tensor]
Read = Callable[[tf.Tensor], Columns]  # records (string, [batch]) -> columns
Finish = Callable[[Columns], Any]  # columns -> (features, labels)


@dataclasses.dataclass(frozen=True)
class Share:
    """Which part of the data is this worker's: every `count`-th file or record, from `index` on.

    `in_step`: the workers' n-th batches make one batch together, so that all have as many in an epoch: records are
    dealt out then, never files, and where a last batch has none left for a worker, it gets its first record.
    """

    index: int = 0
    count: int = 1
    in_step: bool = False


WHOLE = Share()


def cached_batches(
    reader: Reader, read: Read, finish: Finish, batch_size: int, seed: int, start_step: int, share: Share = WHOLE
) -> tf.data.Dataset:
    """Parse everything once, keep it in memory, and gather the batches of each epoch's own permutation.

    The components of `finish`'s result must be dense, with shapes that are open in the first dimension only.

    Raises:
      DataError: no example is this worker's.
    """
    rows = reader.rows
    steps_per_epoch = _steps(len(range(share.index, rows, share.count)), batch_size, share, rows)
    first_epoch, first_step = divmod(start_step, steps_per_epoch)

    def epochs(*made: Any) -> tf.data.Dataset:
        columns = made if len(made) > 1 else made[0]  # tuples come unpacked

        def epoch(number: tf.Tensor) -> tf.data.Dataset:
            order = tf.random.experimental.stateless_shuffle(tf.range(rows), seed=tf.stack([seed, number]))
            order = order[share.index :: share.count]

            def batch(step: tf.Tensor) -> Any:
                chosen = order[step * batch_size : (step + 1) * batch_size]
                if share.in_step:
                    chosen = tf.cond(tf.size(chosen) > 0, lambda: chosen, lambda: order[:1])
                return tf.nest.map_structure(lambda column: tf.gather(column, chosen), columns)

            # tf.equal, as == compares identities in an Estimator's graph
            first = tf.where(tf.equal(number, first_epoch), tf.cast(first_step, tf.int64), 0)
            return tf.data.Dataset.range(first, steps_per_epoch).map(batch)

        return tf.data.Dataset.range(first_epoch, ENDLESS).flat_map(epoch)

    blocks = reader.all_blocks().rebatch(PARSED_ROWS)
    examples = blocks.map(lambda records: finish(read(records)), num_parallel_calls=PARALLEL)
    return without_autotune(examples.rebatch(rows).flat_map(epochs).prefetch(AHEAD))


def streamed_batches(
    reader: Reader, read: Read, finish: Finish, batch_size: int, seed: int, start_step: int, share: Share = WHOLE
) -> tf.data.Dataset:
    """Read the files anew in each epoch, several at once, in an order of its own.

    Raises:
      DataError: no example is this worker's.
    """
    rows = rows_of(reader, seed, share)
    steps_per_epoch = _steps(rows, batch_size, share, reader.rows)
    first_epoch, first_step = divmod(start_step, steps_per_epoch)

    def epoch(number: tf.Tensor) -> tf.data.Dataset:
        first = tf.where(tf.equal(number, first_epoch), tf.cast(first_step, tf.int64), 0)
        batches = epoch_columns(reader, read, seed, number, share).rebatch(batch_size)
        if rows <= (steps_per_epoch - 1) * batch_size:
            batches = batches.concatenate(batches.take(1).unbatch().take(1).batch(1))
        return batches.skip(first)

    columns = tf.data.Dataset.range(first_epoch, ENDLESS).flat_map(epoch)
    return without_autotune(columns.map(finish, num_parallel_calls=PARALLEL).prefetch(AHEAD))


def epoch_columns(
    reader: Reader, read: Read, seed: int, number: tf.Tensor | int, share: Share = WHOLE
) -> tf.data.Dataset:
    """A worker's examples in the order of one epoch: the columns of many rows at a time, shuffled among themselves.

    Shuffling comes after reading: numbers are cheaper to move than lines.
    """
    number, files = tf.cast(number, tf.int64), files_of(reader, seed, share)
    order = tf.random.experimental.stateless_shuffle(tf.constant(files), seed=tf.stack([seed, number]))
    blocks = tf.data.Dataset.from_tensor_slices(order).interleave(
        reader.blocks,
        cycle_length=min(len(files), FILES_AT_ONCE),
        block_length=1,
        num_parallel_calls=min(len(files), THREADS),
        deterministic=True,
    )
    if len(files) == len(reader.files) and share.count > 1:
        blocks = _own_records(blocks, share)
    windows = blocks.map(read, num_parallel_calls=PARALLEL).rebatch(window_rows(reader)).enumerate()

    def shuffled(position: tf.Tensor, columns: Columns) -> Columns:
        rows = tf.shape(next(iter(columns.values())))[0]
        chosen = tf.random.experimental.stateless_shuffle(
            tf.range(rows), seed=tf.stack([seed, number * 2**20 + position])
        )
        return {name: tf.gather(column, chosen) for name, column in columns.items()}

    return windows.map(shuffled).prefetch(1)


def files_of(reader: Reader, seed: int, share: Share) -> tuple[str, ...]:
    """A worker's files, the same in all epochs; all of them where there is not one for each worker."""
    if share.in_step or len(reader.files) < share.count:
        return reader.files
    return tuple(random.Random(seed).sample(reader.files, len(reader.files))[share.index :: share.count])


def rows_of(reader: Reader, seed: int, share: Share) -> int:
    """How many examples a worker reads in an epoch."""
    files = files_of(reader, seed, share)
    if len(files) == len(reader.files):
        return len(range(share.index, reader.rows, share.count))
    return sum(reader.scans[path].rows - len(reader.skipped.get(path, ())) for path in files)


def window_rows(reader: Reader) -> int:
    """How many records are shuffled together: as many as memory allows."""
    return max(1, min(WINDOW_ROWS, reader.rows, WINDOW_BYTES * reader.rows // max(reader.bytes, 1)))


def ordered_batches(
    reader: Reader, read: Read, finish: Finish, batch_size: int, rows: int | None = None
) -> tf.data.Dataset:
    """All examples once (or the first `rows`), in the order of the files."""
    blocks = reader.all_blocks() if rows is None else reader.all_blocks().unbatch().take(rows).batch(rows)
    columns = blocks.map(read, num_parallel_calls=PARALLEL).rebatch(batch_size)
    return without_autotune(columns.map(finish, num_parallel_calls=PARALLEL).prefetch(AHEAD))


def without_autotune(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """The same without the thread that measures the pipeline while it runs.

    It costs a quarter of the speed here, and the end of an iterator waits for its next turn (in model.cc, OptimizeLoop
    is woken by a cancellation before it can see it): as long again as the iterator has lived, up to a minute.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


def _steps(rows: int, batch_size: int, share: Share, all_rows: int) -> int:
    """Batches in an epoch. Raises DataError without rows: an epoch would have no end."""
    if not rows:
        raise DataError(f"worker {share.index} of {share.count} has no example to train on: use fewer workers.")
    return -(-all_rows // (batch_size * share.count)) if share.in_step else -(-rows // batch_size)


def _own_records(blocks: tf.data.Dataset, share: Share) -> tf.data.Dataset:
    """Every `count`-th record of all, from `index` on."""

    def take(first: tf.Tensor, block: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return first + tf.size(block, tf.int64), block[(share.index - first) % share.count :: share.count]

    return blocks.scan(tf.constant(0, tf.int64), take)
