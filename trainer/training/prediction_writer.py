"""Predictions on their way to the disk: one thread that formats and writes, while the model works on what follows."""

from __future__ import annotations

import collections
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import orjson

from trainer.job.errors import DataError, UsageError
from trainer.job.serving import KEY
from trainer.training.bad_rows import RAW_CHARACTERS
from trainer.training.prediction_input import Batch, Source
from trainer.training.prediction_plan import Shard
from trainer.training.prediction_rows import Outputs, Table, texts_of
from trainer.training.reader import Row
from trainer.training.whole_file import WholeFile, open_whole, put_whole

LOG = logging.getLogger("trainer")
WAITING = 4  # batches on their way: enough to keep both sides busy, and memory flat


class ShardWriter:
    """Writes the shards of a source one after the other; a shard's file appears with its last row.

    Args:
      counts: the number of records in each input file.
      make_table: called for each file.
      check: called before a shard's files appear; raises where they would not be what they seem.
    """

    def __init__(
        self,
        shards: Sequence[Shard],
        counts: Sequence[int],
        source: Source,
        make_table: Callable[[], Table],
        check: Callable[[Shard], None],
    ) -> None:
        self._shards, self._counts, self._source = shards, counts, source
        self._make_table, self._check = make_table, check
        self._table = make_table()
        self._file: WholeFile | None = None
        self._read = self._left_out = 0  # records of the file in hand
        self._has_head = False
        self.finished = 0
        self.rows = 0  # written to files that are finished
        self.bad_rows = 0

    def write(self, batch: Batch, outputs: Outputs | None) -> None:
        """Add the predictions of the next batch; None where it has no good row."""
        if batch.file != self.finished:
            raise changed(f"{self._shards[min(batch.file, self.finished)].path} was changed")
        if self._file is None:
            self._begin()
        assert self._file is not None
        if outputs:
            if not self._has_head:
                self._file.write(self._table.head(outputs))
                self._has_head = True
            self._file.write(self._table.rows(self._keys(batch), outputs))
        self._read += batch.rows
        self._left_out += 0 if batch.good is None else batch.rows - len(batch.good)
        if self._read >= self._counts[batch.file]:
            self._finish()

    def check_complete(self) -> None:
        """To be asked after the last batch. Raises DataError where a file has not given all its records."""
        if self.finished < len(self._shards):
            raise changed(f"{self._shards[self.finished].path} was changed")

    def discard(self) -> None:
        """Take away what is not whole."""
        if self._file is not None:
            self._file.discard()
            self._file = None

    def _begin(self) -> None:
        self._file = open_whole(self._shards[self.finished].output)
        self._table, self._has_head = self._make_table(), False
        self._read = self._left_out = 0

    def _finish(self) -> None:
        assert self._file is not None
        shard = self._shards[self.finished]
        if not self._has_head:
            self._file.write(self._table.head(None))
        self._check(shard)
        if self._left_out:  # before the predictions, so that these are never there without them
            put_whole(shard.bad_rows, b"".join(_line(row) for row in self._source.bad_rows(self.finished)))
        self._file.finish()
        self._file = None
        LOG.debug("%s is whole", shard.output)
        self.rows += self._read - self._left_out
        self.bad_rows += self._left_out
        self.finished += 1

    def _keys(self, batch: Batch) -> list[str]:
        if self._source.key is not None:
            return texts_of(batch.columns[self._source.key].numpy())
        places = range(batch.rows) if batch.good is None else batch.good.tolist()
        prefix, first = f"{self._shards[batch.file].name}:", batch.first + 1
        return [f"{prefix}{first + place}" for place in places]


class Background:
    """Calls a function in another thread, in order, some calls ahead of the caller.

    As a context: an error lets the calls before it be done, an interrupt drops them. After a call that failed no other
    is made, as it would go on with what is half done.
    """

    def __init__(self, call: Callable[..., None]) -> None:
        self._call, self._failed = call, False
        self._thread = ThreadPoolExecutor(1, "writer")
        self._waiting: collections.deque[Future[None]] = collections.deque()

    def add(self, *arguments: object) -> None:
        """Call it when its turn comes; wait where too many calls do. Raises what an earlier call raised."""
        self._waiting.append(self._thread.submit(self._run, *arguments))
        while len(self._waiting) > WAITING or (self._waiting and self._waiting[0].done()):
            self._waiting.popleft().result()

    def _run(self, *arguments: object) -> None:
        if self._failed:
            return
        self._failed = True
        self._call(*arguments)
        self._failed = False

    def __enter__(self) -> Background:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        try:
            if kind is None or issubclass(kind, Exception):
                while self._waiting:
                    self._waiting.popleft().result()
        finally:
            self._thread.shutdown(cancel_futures=True)


def changed(what: str) -> DataError:
    """The error for a file that was another one at its end."""
    return DataError(f"{what} while it was read: start again when it is at rest.")


def checked(outputs: Mapping[str, np.ndarray], names: Sequence[str], rows: int) -> dict[str, np.ndarray]:
    """The outputs that are wanted. Raises UsageError for one that does not have a value for each row."""
    wanted = {name: outputs[name] for name in names}
    for name, values in wanted.items():
        if values.ndim == 0 or len(values) != rows:
            others = ",".join(each for each in outputs if each not in (name, KEY))
            raise UsageError(
                f"output {name} of the export has the shape {list(values.shape)} for {rows} rows, which are not its "
                f"rows: name the others with --outputs={others}."
            )
    return wanted


def _line(row: Row) -> bytes:
    """A bad row as a line of JSON, as those of a training are written."""
    raw = row.raw.decode("utf-8", "replace")[:RAW_CHARACTERS]
    found = {"file": row.path, "row": row.number, "column": row.column, "problem": row.problem, "raw": raw}
    return orjson.dumps(found, option=orjson.OPT_APPEND_NEWLINE)
