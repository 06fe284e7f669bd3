"""Where a job's examples come from: files that flags or the module name, or the module's own `input_fn`."""

from __future__ import annotations

import dataclasses
import functools
import logging
import os
import types
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from trainer.cloud.probing import places_to_read, prove
from trainer.cloud.storage import is_remote
from trainer.job.columns import Column
from trainer.job.config import Job
from trainer.job.errors import DataError, ModelError, UsageError
from trainer.job.paths import JobPaths
from trainer.training import analysis
from trainer.training.bad_rows import Wanted, leave_out
from trainer.training.class_weights import find_class_weights
from trainer.training.csv_reader import CsvReader
from trainer.training.data_cache import keep_copies
from trainer.training.data_watch import DataWatch
from trainer.training.failures import user_code
from trainer.training.features import as_analyzed, feature_columns
from trainer.training.files import match_files
from trainer.training.function_inputs import FunctionInputs, plan_function_inputs
from trainer.training.inputs import FileInputs, plan_inputs
from trainer.training.labels import complete_labels, declared_label, special_column
from trainer.training.reader import Reader
from trainer.training.readers import open_reader
from trainer.training.weights import Weights

LOG = logging.getLogger("trainer")


@dataclasses.dataclass(frozen=True)
class FileData:
    """Opened files; without files to evaluate on, the training files serve for that too.

    `originals` has, for a file that --cache-data has copied, the name of what is in Cloud Storage.
    """

    train: Reader
    evaluation: Reader
    held_out: bool
    watch: DataWatch
    originals: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @functools.cached_property
    def described(self) -> dict[str, Any]:
        """Files with sizes and hashes, JSON-able; copies by the names of what they are copies of."""
        return {
            "train": self._described(self.train),
            "eval": self._described(self.evaluation) if self.held_out else [],
        }

    @property
    def counts(self) -> dict[str, int]:
        """How many examples are trained and evaluated on, and how many rows were left out."""
        return {
            "train_examples": self.train.rows,
            "eval_examples": self.evaluation.rows,
            "train_bad_rows": sum(map(len, self.train.skipped.values())),
            "eval_bad_rows": sum(map(len, self.evaluation.skipped.values())) if self.held_out else 0,
        }

    def examples(self, job: Job) -> int:
        """How many examples make an epoch."""
        return self.train.rows

    def find_assets(self, module: types.ModuleType, job: Job, paths: JobPaths, has_steps: bool) -> dict[str, str]:
        """See `analysis.find_assets`; columns that are known to be no features before there is a model are left out."""
        others = [special_column(module, job, self.train.columns, name) for name in ("key_column", "weight_column")]
        known = {name for name in (job.data.label_column or declared_label(module), *others) if name}
        columns = feature_columns(module, self.train, known)
        if hasattr(module, "analyze"):
            label = job.data.label_column or declared_label(module)
            early = {**self._early_label(label), **as_analyzed(module, columns)}
            leave_out([self.train], Wanted(early), job.data.max_bad_rows, paths.bad_rows)
        return analysis.find_assets(module, columns, self._training_set(paths, has_steps))

    def plan(
        self,
        module: types.ModuleType,
        model: tf.keras.Model,
        job: Job,
        paths: JobPaths,
        assets: Mapping[str, str],
        has_steps: bool,
    ) -> FileInputs:
        """Settle columns, names and shapes against the model."""
        inputs = plan_inputs(module, model, job, self.train, self.evaluation, assets, self.watch)
        leave_out([self.train, self.evaluation], inputs.wanted, job.data.max_bad_rows, paths.bad_rows)
        completed = complete_labels(inputs.labels, self._training_set(paths, has_steps))
        inputs = dataclasses.replace(inputs, labels=completed)
        inputs.check()
        of_class = find_class_weights(job.data, model, inputs, self._training_set(paths, has_steps))
        return dataclasses.replace(inputs, weights=Weights(inputs.weights.column, of_class))

    def _early_label(self, name: str | None) -> dict[str, Column]:
        """The label's column before there is a model, which may take fractions where the first rows have none."""
        if name is None or name not in self.train.columns:
            return {}  # `labels.find_labels` has the words for it
        return {name: Column("string" if self.train.column(name).kind == "string" else "float32")}

    def _described(self, reader: Reader) -> list[dict[str, Any]]:
        described = self.watch.describe(reader.files)
        return [{**each, "path": self.originals.get(each["path"], each["path"])} for each in described]

    def _training_set(self, paths: JobPaths, has_steps: bool) -> analysis.TrainingSet:
        return analysis.TrainingSet(self.train, self.described["train"], paths, has_steps)


@dataclasses.dataclass(frozen=True)
class FunctionData:
    """The module's own `input_fn`: nothing is known of its data but what it yields."""

    where: str

    @property
    def described(self) -> dict[str, Any]:
        """JSON-able; without hashes, so other data cannot be told apart."""
        return {"train": [], "eval": [], "input_fn": self.where}

    @property
    def counts(self) -> dict[str, int]:
        """Unknown."""
        return {}

    def examples(self, job: Job) -> int:
        """As many as all steps take: there are no epochs. Raises UsageError without --train-steps."""
        if job.training.train_steps is None:
            raise UsageError(
                f"the examples of your input_fn ({self.where}) cannot be counted, so there are no epochs: say how long "
                "to train with --train-steps."
            )
        return job.training.train_steps * job.data.batch_size

    def find_assets(self, module: types.ModuleType, job: Job, paths: JobPaths, has_steps: bool) -> dict[str, str]:
        """None: `analyze` reads files."""
        return {}

    def plan(
        self,
        module: types.ModuleType,
        model: tf.keras.Model,
        job: Job,
        paths: JobPaths,
        assets: Mapping[str, str],
        has_steps: bool,
    ) -> FunctionInputs:
        """Settle names and shapes against the model."""
        inputs = plan_function_inputs(module, model, job, assets)
        return dataclasses.replace(inputs, weights=Weights(of_class=find_class_weights(job.data, model, inputs, None)))


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
        if job.data.weight_column:
            raise UsageError(
                f"--weight-column={job.data.weight_column} is not read: {where} has an input_fn of its own; let it "
                "yield (features, labels, weights)."
            )
        return FunctionData(where)
    return _open_files(module, job)


def _open_files(module: types.ModuleType, job: Job) -> FileData:
    named = _module_files(module) if not job.data.train_files else {}
    if job.data.eval_files:
        named.pop("eval_files", None)
    prove([place for role, names in named.items() for place in places_to_read(f"{role} of the module", names)])
    train = job.data.train_files or named.get("train_files", ())
    # files for training and the module's own for evaluation would be two different data sets
    evaluation = job.data.eval_files or named.get("eval_files", ())
    if not train:
        raise DataError(
            "no training data: name the files with --train-files='data/*.csv', or TRAIN_FILES in the module."
        )
    sets = [match_files(train, "--train-files")]
    if evaluation:
        sets.append(match_files(evaluation, "--eval-files"))
    else:
        LOG.warning("no --eval-files: evaluating on the training files, which says nothing about new data")
    copies = _copies([path for each in sets for path in each], job.data.cache_data)
    sets = [[copies.get(path, path) for path in each] for each in sets]
    watch = DataWatch(path for each in sets for path in each)  # before they are looked into
    readers = [open_reader(each, job.data.layout) for each in sets]
    originals = {copy: url for url, copy in copies.items()}
    data = FileData(readers[0], readers[-1], bool(evaluation), watch, originals)
    _check(data)
    return data


def _copies(paths: Sequence[str], folder: str | None) -> dict[str, str]:
    """What of the files is read from --cache-data: URL -> path."""
    remote = list(dict.fromkeys(path for path in paths if is_remote(path)))
    return keep_copies(remote, folder) if folder is not None and remote else {}


def _check(data: FileData) -> None:
    # files of other formats may lack what is rare: what the model needs of them is checked once that is known
    if data.train.columns != data.evaluation.columns and isinstance(data.train, CsvReader):
        raise DataError(
            f"{data.evaluation.files[0]} has the columns {', '.join(data.evaluation.columns)} where "
            f"{data.train.files[0]} has {', '.join(data.train.columns)}: both sets need the same header line."
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
    return name if is_remote(name) else os.path.join(folder, name)
