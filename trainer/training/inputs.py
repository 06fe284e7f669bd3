"""From files to what the model takes: one path for training, evaluation, prediction and the serving graph.

files -> READERS[format] -> raw columns -> the module's preprocess -> names.map_inputs -> the model's inputs
"""

from __future__ import annotations

import dataclasses
import functools
import types
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import tensorflow as tf

from trainer.job.columns import Column
from trainer.job.config import Job
from trainer.job.errors import DataError, UsageError
from trainer.job.serving import KEY
from trainer.training import datasets, labels
from trainer.training.analysis import read_lines
from trainer.training.bad_rows import Wanted
from trainer.training.csv_reader import CsvReader
from trainer.training.data_watch import DataWatch
from trainer.training.features import Traced, bind_preprocess, feature_columns, fit_features, input_specs, trace
from trainer.training.names import Spec, map_inputs
from trainer.training.reader import Reader, as_text
from trainer.training.replicas import Parts, cut
from trainer.training.signatures import Served, build_receiver, key_as_text, kind_of
from trainer.training.strategies import ALONE, Spread
from trainer.training.weights import NO_WEIGHTS, Weights, column_weights

CACHE_FILE_BYTES = 64 * 2**20  # larger training files are streamed, unless --cache=always
CACHE_TENSOR_BYTES = 512 * 2**20


@dataclasses.dataclass(frozen=True)
class FileInputs:
    """What files give to one model.

    Attributes:
      train, evaluation: the two sets of files.
      features: the raw feature columns; what a serving request sends.
      key_column: the column that names an example, if there is one.
      labels: what the model's outputs are compared with.
      to_features: the module's preprocess with its assets bound; the identity where there is none.
      traced: what `to_features` makes.
      mapping: the model's input -> the features that feed it.
      specs: the model's input -> its dtype and shape.
      watch: whether the files are still what they were.
      weights: how much each example counts.
    """

    train: Reader
    evaluation: Reader
    features: Mapping[str, Column]
    key_column: str | None
    labels: tuple[labels.Label, ...]
    to_features: Any
    traced: Traced
    mapping: Mapping[str, tuple[str, ...]]
    specs: Mapping[str, Spec]
    job: Job
    watch: DataWatch
    weights: Weights = NO_WEIGHTS

    @property
    def columns(self) -> dict[str, list[str]]:
        """The model's inputs and outputs -> the columns that go with them."""
        fed = {name: list(features) for name, features in self.mapping.items()}
        return {**fed, **{label.output: [label.column] for label in self.labels}}

    def train_dataset(self, start_step: int, spread: Spread = ALONE) -> tf.data.Dataset:
        """Endless batches of (inputs, labels) from `start_step` of this process on, as its replicas take them."""
        make = datasets.cached_batches if self.cached else datasets.streamed_batches
        parts, seed = self.parts(spread), self.job.training.seed
        finish = functools.partial(self._finish, training=True)
        read = self._reading(self.train)
        return cut(make(self.train, read, finish, parts.worker_batch, seed, start_step, parts.share), parts, start_step)

    def parts(self, spread: Spread) -> Parts:
        """How the training set is dealt out."""
        return Parts(self.train.rows, self.job.data.batch_size, spread)

    def eval_dataset(self) -> tf.data.Dataset:
        """The evaluation files once, in batches of (inputs, labels)."""
        read = self._reading(self.evaluation)
        return datasets.ordered_batches(self.evaluation, read, self._finish, self.job.data.batch_size)

    def sample_dataset(self, rows: int) -> tf.data.Dataset:
        """The inputs of the first rows of the evaluation files, as training reads them."""
        read = lambda records: self.evaluation.parse(records, self.features)  # noqa: E731
        return datasets.ordered_batches(self.evaluation, read, self.to_inputs, rows, rows)

    def sample_request(self, rows: int) -> dict[str, list[Any]]:
        """The same rows as a client would send them: raw columns and, if files have them, keys."""
        key = self.key_column if self.key_column in self.evaluation.columns else None
        wanted = dict(self.features) if key is None else {key: key_as_text(self.evaluation, key), **self.features}
        first = self.evaluation.first_values(wanted, rows)
        request = {name: [row[name] for row in first] for name in self.features}
        return request if key is None else {**request, KEY: [as_text(row[key]) for row in first]}

    def receiver(self) -> tf.estimator.export.ServingInputReceiver:
        """The serving graph's head: raw columns, tf.Examples or lines of CSV, and what the model takes of them."""
        return build_receiver(self.served, self.to_inputs)

    @property
    def served(self) -> Served:
        """What exports have to know of the files."""
        return Served.of(self.features, self.key_column, self.weights.column, self.labels, self.train)

    def to_inputs(self, raw: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Raw columns (each [batch]) -> the model's inputs by name."""
        return fit_features(self.to_features(raw), self.mapping, self.specs)

    def check_columns(self, reader: Reader) -> None:
        """See that a set of files has the columns. Raises DataError."""
        missing = [
            name
            for name, column in self._all_columns.items()
            if name not in reader.columns and (column.default is None or isinstance(reader, CsvReader))
        ]
        if missing:
            raise DataError(
                f"{reader.files[0]} has no column {', '.join(missing)}; it has {', '.join(reader.columns)}: every set "
                "of files needs the columns that the model is trained on."
            )

    def check(self) -> None:
        """Check the first rows of both sets. Raises DataError."""
        for reader in (self.train, self.evaluation):
            reader.check_sample(self._all_columns)
            self.weights.check(reader)

    def check_files(self, training: bool) -> None:
        """See that the files to train or to evaluate on are what they were when the job began.

        Those that are kept in memory are looked at once. Raises DataError, UsageError, StorageFailed.
        """
        if training:
            self.watch.check(self.train.files, once=self.cached)
        else:
            self.watch.check(self.evaluation.files)

    def find_bad_row(self) -> None:
        """Look for the row that parsing stumbled over. Raises DataError where there is one."""
        for reader in (self.train, self.evaluation):
            reader.find_bad_row(self._all_columns)
            self.weights.find_bad(reader)

    def find_unknown_class(self) -> None:
        """Look for the row whose label the training files do not have. Raises DataError where there is one."""
        for label in self.labels:
            if label.classes:
                self.evaluation.find_other_value(label.column, set(read_lines(label.classes)))

    @property
    def label_column(self) -> str:
        """How a message calls the label."""
        return self.labels[0].column

    @property
    def wanted(self) -> Wanted:
        """What a row needs."""
        texts = [label.column for label in self.labels if label.kind == "string"]
        return Wanted(self._all_columns, texts, self.weights.column)

    @property
    def _all_columns(self) -> dict[str, Column]:
        targets = {label.column: Column(label.kind) for label in self.labels}
        return {**self.features, **targets, **self.weights.columns}

    @functools.cached_property
    def cached(self) -> bool:
        """Whether the parsed training data stay in memory: where they are small, dense and the same each time."""
        choice, row_bytes = self.job.data.cache, self.traced.row_bytes
        if choice == "always" and row_bytes is None:
            raise UsageError(
                "--cache=always: preprocess draws random numbers or makes rows of different sizes, so its results "
                "cannot be kept; leave the choice to --cache=auto."
            )
        if choice == "never" or row_bytes is None:
            return False
        small = self.train.bytes <= CACHE_FILE_BYTES and row_bytes * self.train.rows <= CACHE_TENSOR_BYTES
        return small or choice == "always"

    def _reading(self, reader: Reader) -> datasets.Read:
        return lambda records: reader.parse(records, self._all_columns)

    def _finish(self, raw: Mapping[str, tf.Tensor], training: bool = False) -> tuple[Any, Any]:
        """Raw columns -> what the model trains on."""
        targets = {label.output: label.to_target(raw[label.column]) for label in self.labels}
        target = targets if len(targets) > 1 else next(iter(targets.values()))
        inputs = self.to_inputs({name: raw[name] for name in self.features})
        given = raw[self.weights.column] if self.weights.column else None
        return self.weights.attach(inputs, target, given, training=training)


class Inputs(Protocol):
    """What training, evaluation, export and verification ask of a job's data, wherever it comes from."""

    @property
    def columns(self) -> dict[str, list[str]]:
        """The model's inputs and outputs -> the columns that go with them, where files have columns."""

    def train_dataset(self, start_step: int, spread: Spread = ALONE) -> tf.data.Dataset:
        """Endless batches of (inputs, labels) from a step of this process on, as its replicas take them."""

    def parts(self, spread: Spread) -> Parts | None:
        """How the training set is dealt out, where that is known."""

    def eval_dataset(self) -> tf.data.Dataset:
        """The evaluation set once, in batches of (inputs, labels)."""

    def sample_dataset(self, rows: int) -> tf.data.Dataset:
        """The inputs of the first rows for evaluation."""

    def sample_request(self, rows: int) -> dict[str, list[Any]] | None:
        """The same rows as a client would send them, with keys if there are any; None where that is not known."""

    def receiver(self) -> tf.estimator.export.ServingInputReceiver:
        """The serving graph's head."""

    @property
    def served(self) -> Served:
        """What exports have to know of the data."""

    @property
    def weights(self) -> Weights:
        """How much each example counts, as far as the job knows."""

    def check_files(self, training: bool) -> None:
        """See that the files to train or to evaluate on are what they were. Raises DataError where one is not."""

    def find_bad_row(self) -> None:
        """Look for the row that parsing stumbled over. Raises DataError where there is one."""

    def find_unknown_class(self) -> None:
        """Look for the row whose label is not known. Raises DataError where there is one."""

    @property
    def label_column(self) -> str:
        """How a message calls the label."""


def plan_inputs(
    module: types.ModuleType,
    model: tf.keras.Model,
    job: Job,
    train: Reader,
    evaluation: Reader,
    assets: Mapping[str, str],
    watch: DataWatch,
) -> FileInputs:
    """Settle columns, names and shapes before anything is read. Raises DataError with the mismatch in words.

    The labels still lack their classes, see `labels.complete_labels`.
    """
    targets = labels.find_labels(module, model, job, train)
    key = labels.special_column(module, job, train.columns, "key_column")
    weight = labels.special_column(module, job, train.columns, "weight_column")
    taken = {name for name in (*(label.column for label in targets), key, weight) if name}
    features = feature_columns(module, train, taken)
    to_features = bind_preprocess(module, assets)
    specs = input_specs(model)
    traced = trace(to_features, features)
    mapping = map_inputs(specs, traced.specs, job.data.columns_of_input)
    if not hasattr(module, "preprocess"):
        features = {
            each: dataclasses.replace(features[each], kind=kind_of(specs[fed][0]))
            for fed, names in mapping.items()
            for each in names
        }
    _refuse_two_kinds(features, targets)
    weights = column_weights(weight, train, features, targets)
    inputs = FileInputs(
        train, evaluation, features, key, targets, to_features, traced, mapping, specs, job, watch, weights
    )
    for reader in (train, evaluation):
        inputs.check_columns(reader)
    return inputs


def _refuse_two_kinds(features: Mapping[str, Column], targets: Sequence[labels.Label]) -> None:
    """A column is read once; an autoencoder's label may be its input."""
    for label in targets:
        kind = features[label.column].kind if label.column in features else label.kind
        if kind != label.kind:
            raise DataError(
                f"column {label.column} is {kind} as a feature and {label.kind} as the label of {label.output}: leave "
                "it out of FEATURES, which a model should not see, or name another --label-column."
            )
