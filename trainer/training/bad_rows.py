"""Rows that cannot be read, found before training starts and left out of it: --max-bad-rows.

They are known by their positions, so that every epoch and every later run leaves out the same ones.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from trainer.job.columns import Column
from trainer.job.errors import DataError
from trainer.training.analysis import read_lines
from trainer.training.reader import BadValue, Reader, Row
from trainer.training.records import put_text
from trainer.training.weights import is_weight, weight_problem

LOG = logging.getLogger("trainer")
RAW_CHARACTERS = 2000  # of a row, in the list of bad ones
NO_LABEL = "found nothing where a label is needed"


@dataclasses.dataclass(frozen=True)
class Wanted:
    """The columns that a row needs; those in `never_empty` are text that may not be empty, as labels may not.

    `weight` is the column whose numbers weigh the examples.
    """

    columns: Mapping[str, Column]
    never_empty: Collection[str] = ()
    weight: str | None = None


def leave_out(readers: Sequence[Reader], wanted: Wanted, limit: int, path: str) -> None:
    """Find the bad rows of all readers, write them to a file of JSON lines, and let the readers skip them.

    Args:
      readers: looked at in this order, each once; their `skipped` is filled, and what is there stays: an earlier call
        has written it to the file.
      wanted: what a row needs.
      limit: how many bad rows may be left out, those of earlier calls included; with 0 nothing is read.
      path: the file; not written where there are none.

    Raises:
      DataError: there are more, or no row is left.
    """
    if not limit:
        return
    readers = list({id(reader): reader for reader in readers}.values())
    known = {(file, place) for reader in readers for file, places in reader.skipped.items() for place in places}
    earlier, found = len(known), list[tuple[Reader, Row]]()
    for reader in readers:
        for file in reader.files:
            places = set(reader.skipped.get(file, ()))
            for position, row in _bad_rows(reader, file, wanted):
                found.append((reader, row))
                places.add(position)
                known.add((file, position))  # once, where a file is for training and for evaluation
                if len(known) > limit:
                    raise DataError(_too_many(found, limit))
            if places:
                reader.skipped[file] = tuple(sorted(places))
        if not reader.rows:
            raise DataError(f"no row of {', '.join(reader.files[:3])} can be read: {reader.explain(found[-1][1])}")
    if len(known) > earlier:
        _list(path, [row for _, row in found], [json.loads(line) for line in read_lines(path)] if earlier else [])
        LOG.warning("left out %d bad rows, see %s; the first: %s", len(known), path, found[0][0].explain(found[0][1]))


def _bad_rows(reader: Reader, file: str, wanted: Wanted) -> Iterator[tuple[int, Row]]:
    """Position and description of each bad row of a file, those that are skipped already included."""
    first, rows = 0, enumerate(reader.raw_rows(file))  # which nobody opens where all rows are good
    try:
        for block in reader.every_block(file):
            for position in (np.flatnonzero(~_good(reader, block, wanted)) + first).tolist():
                number, raw = next(row for place, row in rows if place == position)
                yield position, _explained(reader, Row(file, number, raw), wanted)
            first += int(block.shape[0])
    except tf.errors.DataLossError:
        for _ in reader.raw_rows(file):  # names the record
            pass
        raise


def _good(reader: Reader, block: tf.Tensor, wanted: Wanted) -> Any:
    good = reader.good(block, wanted.columns).numpy()
    for name in wanted.never_empty:
        texts = reader.parse(tf.boolean_mask(block, good), {name: Column("string")})[name]
        good[good] = (texts != "").numpy()
    if wanted.weight:
        numbers = reader.parse(tf.boolean_mask(block, good), {wanted.weight: Column("float32")})[wanted.weight]
        good[good] = is_weight(numbers).numpy()
    return good


def _explained(reader: Reader, row: Row, wanted: Wanted) -> Row:
    """A row that cannot be read, or can be read but not used, with the reason."""
    try:
        values = reader.read(row.raw, wanted.columns)
    except BadValue as bad:
        return dataclasses.replace(row, column=bad.column, problem=bad.problem)
    empty = next((name for name in wanted.never_empty if not values[name]), None)
    if empty:
        return dataclasses.replace(row, column=empty, problem=NO_LABEL)
    problem = weight_problem(values[wanted.weight]) if wanted.weight else None
    return dataclasses.replace(row, column=wanted.weight, problem=problem) if problem else row


def _list(path: str, rows: Sequence[Row], earlier: Sequence[dict[str, Any]]) -> None:
    """Write bad rows, in the order in which they were found, after those of an earlier call."""
    listed = {(each["file"], each["row"]): each for each in (*earlier, *map(_described, rows))}
    put_text(path, "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in listed.values()))


def _described(row: Row) -> dict[str, Any]:
    raw = row.raw.decode("utf-8", "replace")[:RAW_CHARACTERS]
    return {"file": row.path, "row": row.number, "column": row.column, "problem": row.problem, "raw": raw}


def _too_many(found: Sequence[tuple[Reader, Row]], limit: int) -> str:
    reader, row = found[0]
    return f"more than --max-bad-rows={limit} rows cannot be read; the first: {reader.explain(row)}"
