"""Where a job's examples come from: files that flags or the module name, or the module's own `input_fn`."""

from __future__ import annotations

import dataclasses
import logging
import os
import types
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from trainer.job.config import Job
from trainer.job.errors import DataError, ModelError, UsageError
from trainer.job.paths import JobPaths
from trainer.training import analysis
from trainer.training.csv_reader import CsvReader
from trainer.training.failures import user_code
from trainer.training.files import describe_files, match_files
from trainer.training.function_inputs import FunctionInputs, plan_function_inputs
from trainer.training.inputs import FileInputs, feature_kinds, plan_inputs
from trainer.training.labels import declared_label, find_labels

LOG = logging.getLogger("trainer")


@dataclasses.dataclass(frozen=True)
class FileData:
    """Opened files; without files to evaluate on, the training files serve for that too."""

    train: CsvReader
    evaluation: CsvReader
    held_out: bool

    def describe(self) -> dict[str, Any]:
        """Files with sizes and hashes, JSON-able."""
        return {
            "train": describe_files(self.train.files),
            "eval": describe_files(self.evaluation.files) if self.held_out else [],
            "train_examples": self.train.rows,
            "eval_examples": self.evaluation.rows,
        }

    def examples(self, job: Job) -> int:
        """How many examples make an epoch."""
        return self.train.rows

    def find_assets(self, module: types.ModuleType, job: Job, paths: JobPaths) -> dict[str, str]:
        """See `analysis.find_assets`; label columns known before there is a model are no features."""
        known = tuple(name for name in (job.data.label_column or declared_label(module),) if name)
        return analysis.find_assets(module, self.train, feature_kinds(module, self.train, known), paths)

    def plan(
        self, module: types.ModuleType, model: tf.keras.Model, job: Job, paths: JobPaths, assets: Mapping[str, str]
    ) -> FileInputs:
        """Settle columns, names and shapes against the model."""
        targets = find_labels(module, model, job, self.train, paths)
        return plan_inputs(module, model, job, self.train, self.evaluation, assets, targets)


@dataclasses.dataclass(frozen=True)
class FunctionData:
    """The module's own `input_fn`: nothing is known of its data but what it yields."""

    where: str

    def describe(self) -> dict[str, Any]:
        """JSON-able; without hashes, so other data cannot be told apart."""
        return {"train": [], "eval": [], "input_fn": self.where}

    def examples(self, job: Job) -> int:
        """As many as all steps take: there are no epochs. Raises UsageError without --train-steps."""
        if job.training.train_steps is None:
            raise UsageError(
                f"the examples of your input_fn ({self.where}) cannot be counted, so there are no epochs: say how long "
                "to train with --train-steps."
            )
        return job.training.train_steps * job.data.batch_size

    def find_assets(self, module: types.ModuleType, job: Job, paths: JobPaths) -> dict[str, str]:
        """None: `analyze` reads files."""
        return {}

    def plan(
        self, module: types.ModuleType, model: tf.keras.Model, job: Job, paths: JobPaths, assets: Mapping[str, str]
    ) -> FunctionInputs:
        """Settle names and shapes against the model."""
        return plan_function_inputs(module, model, job, assets)


def open_data(module: types.ModuleType, job: Job) -> FileData | FunctionData:
    """Find a job's data.

    Raises:
      DataError: nobody names files, they are not there, are empty, or have different columns.
      UsageError: flags name files though the module reads by itself.
    """
    if hasattr(module, "input_fn"):
        where = f"{module.__file__}:{module.input_fn.__code__.co_firstlineno}"
        if job.data.train_files or job.data.eval_files:
            raise UsageError(
                f"--train-files and --eval-files are not read: {where} has an input_fn of its own; leave "
                "them out, or remove the function."
            )
        return FunctionData(where)
    return _open_files(module, job)


def _open_files(module: types.ModuleType, job: Job) -> FileData:
    named = _module_files(module) if not job.data.train_files else {}
    train = job.data.train_files or named.get("train_files", ())
    # files for training and the module's own for evaluation would be two different data sets
    evaluation = job.data.eval_files or named.get("eval_files", ())
    if not train:
        raise DataError(
            "no training data: name the files with --train-files='data/*.csv', or TRAIN_FILES in the module."
        )
    readers = [CsvReader.open(match_files(train, "--train-files"))]
    if evaluation:
        readers.append(CsvReader.open(match_files(evaluation, "--eval-files")))
    else:
        LOG.warning("no --eval-files: evaluating on the training files, which says nothing about new data")
    data = FileData(readers[0], readers[-1], bool(evaluation))
    _check(data)
    return data


def _check(data: FileData) -> None:
    if data.train.columns != data.evaluation.columns:
        raise DataError(
            f"{data.evaluation.files[0]} has the columns {', '.join(data.evaluation.columns)} where "
            f"{data.train.files[0]} has {', '.join(data.train.columns)}: both sets need the same header line."
        )
    for reader, flag in ((data.train, "--train-files"), (data.evaluation, "--eval-files")):
        if reader.rows < 1:
            raise DataError(
                f"{flag}: {', '.join(reader.files[:3])} hold no row below the header: give files with data."
            )


def _module_files(module: types.ModuleType) -> dict[str, tuple[str, ...]]:
    """What the module says of its data: `prepare_data()`, else TRAIN_FILES and EVAL_FILES, relative to its folder."""
    prepare_data = getattr(module, "prepare_data", None)
    if prepare_data is not None:
        with user_code(module, "prepare_data"):
            found = prepare_data()
    else:
        found = {"train_files": getattr(module, "TRAIN_FILES", ()), "eval_files": getattr(module, "EVAL_FILES", ())}
    if not isinstance(found, Mapping):
        raise ModelError(
            f"prepare_data of {module.__file__} returned {type(found).__name__}: return a dict with train_files and "
            "eval_files."
        )
    folder = os.path.dirname(os.path.abspath(module.__file__ or ""))
    return {
        role: tuple(_from(folder, name) for name in ([names] if isinstance(names, str) else names))
        for role, names in found.items()
    }


def _from(folder: str, name: str) -> str:
    return name if "://" in name else os.path.join(folder, name)
