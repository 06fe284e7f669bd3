"""Every setting of a batch prediction, said once; those that a job has too are taken from there."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from trainer.job.columns import Layout
from trainer.job.config import Data, Output
from trainer.job.errors import UsageError
from trainer.job.flags import parse_groups
from trainer.job.options import REQUIRED
from trainer.job.settings import Group, at_least, column_names, files, not_empty, setting, settings_of, split_names

PROG = "python -m trainer.predict"
SHARD = re.compile(r"([1-9][0-9]{0,8})/([1-9][0-9]{0,8})")
EPILOG = """\
Underscores are read as well (--batch_size=128).

FILES is a pattern in quotes; of data/*/part-*.csv, what the pattern leaves open names the
predictions: OUTPUT/1999/part-0.csv.predictions.jsonl are those of data/1999/part-0.csv,
in the order of its rows. A row without a key column is called by that name and its number
from 1 in the file: 1999/part-0.csv:17.

A file of predictions appears when it is whole. The same command, started again after a
kill, makes what is missing; what is there is left alone, and the bytes are the same as
without the kill. To have a file predicted anew, remove its predictions.

csv: an output with many values has a column for each, NAME_CLASS or NAME_0, NAME_1, ...
Numbers are the shortest text that is exactly the same float32; in jsonl, NaN and infinity
are null, as JSON has neither.

exit codes:
  0        done, or everything was there already
  2        a flag, the export, the data or the output folder cannot be used as given
  5        disk full, a folder not writable
  130,143  stopped by Ctrl-C or SIGTERM; the same command goes on

examples:
  {prog} --export=runs/first --files='data/*.csv' --output=predictions
  {prog} --export=runs/first/export/best --files='data/*.jsonl.gz' --output=out \\
      --key-column=id --outputs=class,scores --output-format=csv
  {prog} ... --shard=2/5                    (the second of five machines)
"""


def shared(group: type[Group], name: str, help: str | None = None, unset: str | None = None) -> Any:
    """A setting of a job that means the same here; `help` and `unset` where the page has to say it otherwise."""
    [field] = [field for field in dataclasses.fields(group) if field.name == name]  # type: ignore[arg-type]
    said = {"help": help, "unset": unset}
    metadata = {**field.metadata, **{key: text for key, text in said.items() if text is not None}}
    return dataclasses.field(default=field.default, metadata=metadata)


def part_of_many(value: str) -> str | None:
    """Check for `I/N`: one of N machines, counted from 1."""
    found = SHARD.fullmatch(value)
    return None if found and int(found[1]) <= int(found[2]) else "I/N for machine I of N, from 1/N to N/N, such as 2/5"


def names_once(value: tuple[str, ...]) -> str | None:
    """Check for names of outputs; `a,b` in one entry are two."""
    return None if column_names(value) is None else "names of outputs, each once, such as class,scores"


@dataclass(frozen=True)
class Prediction(Group):
    """Prediction"""

    export: str | None = setting(
        None,
        help="what predicts, an export's folder, a folder of exports (its newest counts), or a job directory",
        check=not_empty,
        unset=REQUIRED,
    )
    files: tuple[str, ...] = setting(
        (), help="which files to predict; patterns such as 'data/*.csv' work", check=files, unset=REQUIRED
    )
    output: str | None = setting(
        None, help="where the predictions go, a folder with a file for each input file", check=not_empty, unset=REQUIRED
    )
    output_format: Literal["jsonl", "csv"] = setting("jsonl", help="how predictions are written")
    outputs: tuple[str, ...] = setting(
        (),
        help="which outputs to write, such as class,scores",
        check=names_once,
        unset="the class where there is one, and what the model itself puts out",
    )
    key_column: str | None = setting(
        None, help="the column that names a row", check=not_empty, unset="the export's, else the file's name and :ROW"
    )
    format: Literal["auto", "csv", "jsonl", "tfrecord"] = shared(Data, "format")
    columns: tuple[str, ...] = shared(Data, "columns")
    delimiter: str = shared(Data, "delimiter")
    max_bad_rows: int = shared(
        Data,
        "max_bad_rows",
        help="leave out up to so many rows of each file that cannot be read; OUTPUT/bad_rows-FILE.jsonl has them",
    )
    batch_size: int = setting(1024, help="rows in one call of the model", check=at_least(1))
    shard: str = setting(
        "1/1",
        help="do a part of the files, as machine I of N; each takes every N-th file, all write into one folder",
        check=part_of_many,
    )
    verbosity: Literal["quiet", "info", "debug"] = shared(Output, "verbosity")

    @property
    def layout(self) -> Layout:
        """How the input files are written."""
        return Layout(self.format, split_names(self.columns), self.delimiter)

    @property
    def wanted_outputs(self) -> tuple[str, ...]:
        """The names in `outputs`; () for the usual ones."""
        return split_names(self.outputs)

    @property
    def part(self) -> tuple[int, int]:
        """Which machine this is, from 1, and of how many."""
        index, _, count = self.shard.partition("/")
        return int(index), int(count)


def parse_prediction(argv: Sequence[str], prog: str = PROG) -> Prediction:
    """Parse the command line of `trainer.predict`.

    Raises:
      HelpRequested: for --help and --version.
      UsageError: a flag is missing or cannot be used as given.
    """
    from trainer.job.commandline import Page

    page = Page("Predict every row of every file with an export.", EPILOG)
    prediction = Prediction(**parse_groups(argv, prog, [Prediction], page))
    for each in settings_of(Prediction):
        if each.unset == REQUIRED and not getattr(prediction, each.name):
            raise UsageError(f"{each.flag} is missing: it says {each.help}.")
    return prediction
