"""What a person sees while predictions are made: a bar on a terminal, a line every few seconds in a log."""

from __future__ import annotations

import logging
import sys
import time
from typing import Any

import tqdm

from trainer.training import progress

LOG = logging.getLogger("trainer")
BAR = "{percentage:3.0f}% |{bar}| row {n_fmt}/{total_fmt}{postfix}"


class Progress:
    """Counts rows, those left out included; the rate counts from the end of the first batch, which sets things up.

    Args:
      rows: of all files of this run.
      files: how many they are.
    """

    def __init__(self, rows: int, files: int) -> None:
        self._total, self._files = rows, files
        self._rows = self._first_rows = 0
        self._first_at = self._next_at = 0.0
        self._bar: Any = None
        if progress.fits_a_bar(sys.stderr) and LOG.isEnabledFor(logging.INFO):
            self._bar = tqdm.tqdm(
                total=rows, bar_format=BAR, unit_scale=True, file=sys.stderr, leave=False, dynamic_ncols=True
            )

    def add(self, rows: int, file: int) -> None:
        """Count the rows of a batch of the file with this number, from 0; show what is due."""
        now = time.perf_counter()
        if not self._first_at:
            self._first_at, self._first_rows = now, rows
            self._next_at = now + progress.FIRST_LINE_SECS
        self._rows += rows
        if now < self._next_at:
            return
        secs = now - self._first_at
        rate = (self._rows - self._first_rows) / secs if secs else 0.0
        left = f"{progress.format_secs((self._total - self._rows) / rate)} left" if rate else "time left unknown yet"
        said = f"file {file + 1} of {self._files}  {rate:,.0f} rows/s  {left}"
        if self._bar is None:
            self._next_at = now + progress.LINE_SECS
            LOG.info("row %s of %s  %s", f"{self._rows:,}", f"{self._total:,}", said)
            return
        self._next_at = now + progress.BAR_SECS
        self._bar.set_postfix_str(said, refresh=False)
        self._bar.n = self._rows
        self._bar.refresh()

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
