"""One pass over files, batch after batch, with a sign of life where it takes longer than a moment."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import tqdm

from trainer.job.columns import Column
from trainer.training import progress
from trainer.training.datasets import AHEAD, PARALLEL, without_autotune
from trainer.training.reader import READ_ERRORS, Reader

LOG = logging.getLogger("trainer")
QUIET_SECS = 1.0  # a shorter pass says nothing

Batch = dict[str, np.ndarray]


def column_batches(reader: Reader, columns: Mapping[str, Column]) -> Iterator[Batch]:
    """All rows once, in the order of the files: column -> values (int64, float32 or bytes), [batch, *shape].

    Only these columns are parsed. Raises DataError for a row in which one of them cannot be read.
    """
    batches = reader.all_blocks().map(lambda records: reader.parse(records, columns), num_parallel_calls=PARALLEL)
    try:
        yield from without_autotune(batches.prefetch(AHEAD)).as_numpy_iterator()
    except READ_ERRORS:
        reader.find_bad_row(columns)
        raise


def with_progress(batches: Iterable[Batch], total: int, what: str) -> Iterator[Batch]:
    """The same batches, and how far they are: a bar on a terminal, a line every few seconds in a log."""
    start = time.perf_counter()
    rows, shown_at, bar = 0, start + QUIET_SECS - progress.LINE_SECS, None
    try:
        for batch in batches:
            yield batch
            rows += len(next(iter(batch.values())))
            now = time.perf_counter()
            if bar is not None:
                bar.update(rows - bar.n)
            elif now - shown_at >= progress.LINE_SECS:
                shown_at, bar = now, _bar(total, what, start)
                if bar is None:
                    LOG.info(
                        "%s: row %s of %s, %s rows/s", what, f"{rows:,}", f"{total:,}", f"{rows / (now - start):,.0f}"
                    )
    finally:
        if bar is not None:
            bar.close()
    secs = time.perf_counter() - start
    if secs >= QUIET_SECS:
        LOG.info("%s: %s rows in %s, %s rows/s", what, f"{rows:,}", progress.format_secs(secs), f"{rows / secs:,.0f}")


def _bar(total: int, what: str, start: float) -> tqdm.tqdm[Any] | None:
    if not (progress.fits_a_bar(sys.stderr) and LOG.isEnabledFor(logging.INFO)):
        return None
    bar: tqdm.tqdm[Any] = tqdm.tqdm(
        total=total, desc=what, unit="rows", unit_scale=True, file=sys.stderr, leave=False, dynamic_ncols=True
    )
    bar.start_t -= time.perf_counter() - start  # its rate counts from the first row, not from when it was first shown
    return bar
