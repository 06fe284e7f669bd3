"""What must be known of the training data before a model can be built: vocabularies, statistics, names of classes.

Found in one pass, kept as text files (a line each) in the job's assets folder, read back by every later run:

    NAME.txt        what preprocess and build_model are given the path of
    analysis.json   what was asked of which data, and what the lines do not say: counts, missing values, rows seen
    classes.json    the same for the names of classes

The JSON file is written last: text files without one, or other than it says, are a killed pass's and do not count.
"""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import json
import logging
import os
import pathlib
import types
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from trainer.cloud.storage import is_remote
from trainer.job.columns import Column
from trainer.job.environment import scratch_folder
from trainer.job.errors import DataError, JobDirError, ModelError
from trainer.job.paths import JobPaths
from trainer.training.analyzers import Analyzer, Result, TermCounts, is_line, term_text
from trainer.training.code_digest import code_digest
from trainer.training.failures import user_code
from trainer.training.passes import column_batches, with_progress
from trainer.training.reader import Reader
from trainer.training.records import put_json, put_text, read_bytes, read_json
from trainer.training.training_data import TrainingData, tally

LOG = logging.getLogger("trainer")
CLASSES = "classes"
ANALYSIS = "analysis"
Compute = Callable[[], tuple[int, Mapping[str, Result]]]  # rows seen, and the results by name


@dataclasses.dataclass(frozen=True)
class TrainingSet:
    """The training files of a job, and where it keeps what it finds in them.

    Attributes:
      reader: of the training files.
      files: what `describe_files` says of them.
      paths: of the job.
      has_steps: whether the job has trained already; it then goes on with what it found at its begin.
    """

    reader: Reader
    files: Sequence[Mapping[str, Any]]
    paths: JobPaths
    has_steps: bool = False

    def fingerprint(self, asked: Any) -> str:
        """Tells whether the same was asked of the same data: a SHA-256. The files' places do not count."""
        content = [{name: value for name, value in sorted(file.items()) if name != "path"} for file in self.files]
        skipped = [list(self.reader.skipped.get(path, ())) for path in self.reader.files]
        known = [content, skipped, list(self.reader.columns), dataclasses.astuple(self.reader.layout), asked]
        return hashlib.sha256(json.dumps(known).encode()).hexdigest()


def find_assets(module: types.ModuleType, columns: Mapping[str, Column], training: TrainingSet) -> dict[str, str]:
    """Asset name -> path of its file: what the module's `analyze` finds, or found in an earlier run.

    Args:
      module: the user's; without an `analyze` there are no assets.
      columns: the raw feature columns.
      training: the files to look into.

    Raises:
      ModelError: `analyze` fails, or returns something else than analyzers and lists of strings by name.
      DataError: a row cannot be read, or a column has nothing to be found.
    """
    analyze = getattr(module, "analyze", None)
    if analyze is None:
        _remove_others(training, ())
        return {}
    where = f"{inspect.getsourcefile(analyze)}:{analyze.__code__.co_firstlineno}"

    def compute() -> tuple[int, Mapping[str, Result]]:
        data = TrainingData(training.reader, columns, where)
        with user_code(module, "analyze"):
            found = analyze(data)
        _check_assets(found, where)
        results = {name: Result(each, {}) for name, each in found.items() if not isinstance(each, Analyzer)}
        results |= tally({name: each for name, each in found.items() if isinstance(each, Analyzer)}, data)
        return data.rows, results

    asked = [{name: column.to_json() for name, column in sorted(columns.items())}, code_digest(analyze)]
    record = _settled(ANALYSIS, asked, training, compute)
    _remove_others(training, record["results"])
    return _at_hand(training.paths, record["results"])


def find_classes(column: str, training: TrainingSet, name: str = CLASSES) -> str:
    """The path of the sorted list of labels in a text column of the training files. Raises DataError."""
    count_classes(column, Column("string"), training, name)
    return _at_hand(training.paths, [name])[name]


def count_classes(column: str, kind: Column, training: TrainingSet, name: str = CLASSES) -> dict[str, int]:
    """How often each label of a column (text or numbers) occurs in the training files, in order.

    An empty label counts as one, for the caller to complain about.

    Raises:
      DataError: a label cannot be a line of a text file, or there are too many for classes.
    """

    def compute() -> tuple[int, Mapping[str, Result]]:
        terms = TermCounts(column)
        batches = column_batches(training.reader, {column: kind})
        for batch in with_progress(batches, training.reader.rows, f"classes of {column}"):
            terms.add(batch[column])
        named = {term_text(term): term for term in sorted(terms.counts)}
        bad = next((term for text, term in named.items() if text != "" and not is_line(text)), None)
        if bad is not None:
            raise DataError(f"column {column} holds the label {bad!r}: a label has to be UTF-8 text of one line.")
        counts = {str(text): terms.counts[term] for text, term in named.items()}
        return sum(counts.values()), {name: Result(list(counts), {"column": column, "counts": counts})}

    _settled(name, [column, kind.to_json()], training, compute)
    return class_counts(training.paths, name)


def class_counts(paths: JobPaths, name: str = CLASSES) -> dict[str, int]:
    """How often each class occurs in the training files, as an earlier call of `find_classes` has found."""
    record = read_json(_record(paths, name))
    if record is None:
        raise JobDirError(f"{_record(paths, name)} is missing: start anew with --fresh.")
    return dict(record["results"][name]["counts"])


def read_lines(path: str) -> list[str]:
    """The lines of an asset. Those of numbers (moments, quantiles, a range) are read with `float(line)`.

    Raises JobDirError where it is gone.
    """
    content = read_bytes(path)
    if content is None:
        raise JobDirError(f"{path} is missing: put it back, or start anew with --fresh.")
    return content.decode("utf-8").split("\n")[:-1]


def write_lines(paths: JobPaths, name: str, lines: Sequence[str]) -> str:
    """Write an asset, whole or not at all, and return its path."""
    if not is_remote(paths.assets):
        os.makedirs(paths.assets, exist_ok=True)
    path = _asset(paths, name)
    put_text(path, _text(lines))
    return path


def _settled(name: str, asked: Any, training: TrainingSet, compute: Compute) -> dict[str, Any]:
    """What `compute` finds, or has found in an earlier run: the content of JSON file `name`, its text files whole.

    One process finds it, the chief: the others of a cluster begin when its files are there.
    """
    paths, fingerprint = training.paths, training.fingerprint(asked)
    record = _kept(paths, name)
    if record and (training.has_steps or record["fingerprint"] == fingerprint):
        if record["fingerprint"] != fingerprint:
            LOG.warning(
                "%s: what is asked of the training data has changed since this job began; it goes on with what it "
                "found then, --fresh starts anew",
                _record(paths, name),
            )
        return record
    rows, results = compute()
    texts = {each: write_lines(paths, each, results[each].lines) for each in sorted(results)}
    described = {each: {**results[each].facts, "sha256": _digest(path)} for each, path in texts.items()}
    record = {"fingerprint": fingerprint, "rows": rows, "results": described}
    put_json(_record(paths, name), record)
    return record


def _kept(paths: JobPaths, name: str) -> dict[str, Any] | None:
    """An earlier pass, if its files are whole."""
    record: dict[str, Any] | None = read_json(_record(paths, name))
    whole = record and all(_digest(_asset(paths, each)) == facts["sha256"] for each, facts in record["results"].items())
    return record if whole else None


def _remove_others(training: TrainingSet, names: Collection[str]) -> None:
    """Take away what an earlier analysis left under other names, unless the job's steps were made with it."""
    for path in tf.io.gfile.glob(f"{training.paths.assets}/*.txt") if not training.has_steps else ():
        name = os.path.basename(path).removesuffix(".txt")
        if name not in names and not name.startswith(CLASSES):
            tf.io.gfile.remove(path)


def _digest(path: str) -> str:
    content = read_bytes(path)
    return "" if content is None else hashlib.sha256(content).hexdigest()


def _text(lines: Sequence[str]) -> str:
    return "".join(line + "\n" for line in lines)


def _asset(paths: JobPaths, name: str) -> str:
    return f"{paths.assets}/{name}.txt"


def _at_hand(paths: JobPaths, names: Iterable[str]) -> dict[str, str]:
    """Name -> path of assets on this machine: a module opens them by whatever means it likes.

    The copy of a bucket's are in a folder of the same name, by which `fingerprint` knows an asset.
    """
    if not is_remote(paths.assets):
        return {name: os.path.abspath(_asset(paths, name)) for name in names}
    folder = pathlib.Path(scratch_folder("job"), pathlib.PurePosixPath(paths.assets).name)
    folder.mkdir()
    for name in names:
        (folder / f"{name}.txt").write_bytes(read_bytes(_asset(paths, name)) or b"")
    return {name: str(folder / f"{name}.txt") for name in names}


def _record(paths: JobPaths, name: str) -> str:
    return f"{paths.assets}/{name}.json"


def _check_assets(found: object, where: str) -> None:
    fits = isinstance(found, Mapping) and all(
        isinstance(name, str) and name.isidentifier() and not name.startswith(CLASSES) for name in found
    )
    if not fits:
        raise ModelError(
            f"{where}: analyze returned {type(found).__name__}: return lists of lines by name, as in "
            "{'vocabulary': ['a', 'b']}."
        )
    assert isinstance(found, Mapping)
    for name, lines in found.items():
        if isinstance(lines, Analyzer):
            continue
        if not isinstance(lines, (list, tuple)):
            raise ModelError(f"{where}: analyze gave {type(lines).__name__} for {name!r}: give a list of strings.")
        bad = [line for line in lines if not is_line(line)]
        if bad or not lines:
            what = f"the line {bad[0]!r}" if bad else "no line"
            raise ModelError(f"{where}: analyze gave {what} for {name!r}: give strings of one line each.")
