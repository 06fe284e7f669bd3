"""What must be known of the training data before a model can be built: vocabularies, and the names of the classes.

Found once, kept as text files (a line each) in the job's assets folder, read back by every later run.
"""

from __future__ import annotations

import inspect
import os
import types
from collections.abc import Iterator, Mapping
from typing import Any

import tensorflow as tf

from trainer.job.errors import ModelError
from trainer.job.paths import JobPaths
from trainer.training.csv_reader import CsvReader
from trainer.training.failures import user_code

BATCH_ROWS = 8192
CLASSES = "classes"


def find_assets(
    module: types.ModuleType, reader: CsvReader | None, kinds: Mapping[str, str], paths: JobPaths
) -> dict[str, str]:
    """Asset name -> path of its file: what the module's `analyze` finds, or found in an earlier run.

    Raises:
      ModelError: `analyze` returns something else than lists of strings by name.
    """
    analyze = getattr(module, "analyze", None)
    if analyze is None or reader is None:
        return {}
    kept = _kept_assets(paths)
    if kept:
        return kept
    with user_code(module, "analyze"):
        found = analyze(_batches(reader, kinds))
    _check_assets(found, f"{inspect.getsourcefile(analyze)}:{analyze.__code__.co_firstlineno}")
    return {name: write_lines(paths, name, lines) for name, lines in found.items()}


def find_classes(reader: CsvReader, column: str, paths: JobPaths, name: str = CLASSES) -> str:
    """The path of the sorted list of labels in a column of the training files."""
    path = _asset(paths, name)
    if not tf.io.gfile.exists(path):
        classes: set[bytes] = set()
        for batch in _batches(reader, {column: "string"}):
            classes.update(batch[column])
        write_lines(paths, name, sorted(label.decode("utf-8", "replace") for label in classes))
    return path


def read_lines(path: str) -> list[str]:
    """The lines of an asset."""
    with tf.io.gfile.GFile(path, "rb") as file:
        return str(file.read().decode("utf-8")).split("\n")[:-1]


def write_lines(paths: JobPaths, name: str, lines: list[str]) -> str:
    """Write an asset, whole or not at all, and return its path."""
    tf.io.gfile.makedirs(paths.assets)
    path = _asset(paths, name)
    with tf.io.gfile.GFile(path + ".unfinished", "wb") as file:
        file.write("".join(line + "\n" for line in lines).encode())
    tf.io.gfile.rename(path + ".unfinished", path, overwrite=True)
    return path


def _asset(paths: JobPaths, name: str) -> str:
    return os.path.abspath(f"{paths.assets}/{name}.txt") if "://" not in paths.assets else f"{paths.assets}/{name}.txt"


def _kept_assets(paths: JobPaths) -> dict[str, str]:
    names = [os.path.basename(path)[: -len(".txt")] for path in tf.io.gfile.glob(f"{paths.assets}/*.txt")]
    return {name: _asset(paths, name) for name in sorted(names) if not name.startswith(CLASSES)}


def _batches(reader: CsvReader, kinds: Mapping[str, str]) -> Iterator[Any]:
    lines = reader.lines().batch(BATCH_ROWS)
    return lines.map(lambda batch: reader.parse(batch, kinds)).prefetch(1).as_numpy_iterator()


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
        if not isinstance(lines, (list, tuple)):
            raise ModelError(f"{where}: analyze gave {type(lines).__name__} for {name!r}: give a list of strings.")
        # TensorFlow, where it reads the file, refuses empty lines and drops carriage returns
        bad = [line for line in lines if not isinstance(line, str) or not line or "\n" in line or "\r" in line]
        if bad or not lines:
            what = f"the line {bad[0]!r}" if bad else "no line"
            raise ModelError(f"{where}: analyze gave {what} for {name!r}: give strings of one line each.")
