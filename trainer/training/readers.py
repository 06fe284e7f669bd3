"""Formats by name. A new one is a file with a Reader, and a line here."""

from __future__ import annotations

from collections.abc import Sequence

from trainer.job.columns import SUFFIXES, Layout
from trainer.job.errors import DataError
from trainer.training.csv_reader import CsvReader
from trainer.training.jsonl_reader import JsonlReader
from trainer.training.reader import Reader
from trainer.training.tfrecord_reader import TfrecordReader

READERS: dict[str, type[Reader]] = {"csv": CsvReader, "jsonl": JsonlReader, "tfrecord": TfrecordReader}
ANY = Layout()


def open_reader(files: Sequence[str], layout: Layout = ANY) -> Reader:
    """Open a set of files, all of one format.

    Raises:
      DataError: the format is not known or not the same for all, or the reader finds the files wanting.
    """
    formats = {path: layout.format_of(path) for path in files}
    unknown = next((path for path, found in formats.items() if found is None), None)
    if unknown:
        raise DataError(
            f"{unknown}: its name does not tell its format ({', '.join(SUFFIXES)}, each also with .gz): say it with "
            f"--format={'|'.join(READERS)}."
        )
    first = str(formats[files[0]])
    other = next((path for path, found in formats.items() if found != first), None)
    if other:
        raise DataError(
            f"{files[0]} is {first} but {other} is {formats[other]} by their names: give files of one format, or say "
            "it with --format."
        )
    return READERS[first].open(tuple(files), layout)
