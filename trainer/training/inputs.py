"""From files to what the model takes: one path for training, evaluation, prediction and the serving graph.

file -> CsvReader -> raw columns -> the module's preprocess -> names.map_inputs -> the model's inputs
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import itertools
import types
from collections.abc import Mapping
from typing import Any, Protocol

import tensorflow as tf

from trainer.job.config import Job
from trainer.job.errors import ModelError, UsageError
from trainer.training import datasets, labels
from trainer.training.analysis import read_lines
from trainer.training.csv_reader import CsvReader
from trainer.training.failures import user_code
from trainer.training.files import total_bytes
from trainer.training.fit_semantics import comparing_by_value
from trainer.training.names import Spec, map_inputs

CACHE_FILE_BYTES = 64 * 2**20  # larger training files are streamed, unless --cache=always
CACHE_TENSOR_BYTES = 512 * 2**20
RANDOM = ("Random", "Multinomial", "TruncatedNormal", "Rng", "PyFunc")  # words in the types of operations


@dataclasses.dataclass(frozen=True)
class Traced:
    """What preprocess makes of the raw columns: its specs, and the bytes of a row.

    The bytes are None where rows cannot be kept: random numbers, or shapes that depend on the batch.
    """

    specs: Mapping[str, Spec]
    row_bytes: int | None


@dataclasses.dataclass(frozen=True)
class FileInputs:
    """What CSV files give to one model.

    Attributes:
      train, evaluation: the two sets of files.
      kinds: raw feature column -> int64, float32 or string; what a serving request sends.
      labels: what the model's outputs are compared with.
      to_features: the module's preprocess with its assets bound; the identity where there is none.
      traced: what `to_features` makes.
      mapping: the model's input -> the features that feed it.
      specs: the model's input -> its dtype and shape.
    """

    train: CsvReader
    evaluation: CsvReader
    kinds: Mapping[str, str]
    labels: tuple[labels.Label, ...]
    to_features: Any
    traced: Traced
    mapping: Mapping[str, tuple[str, ...]]
    specs: Mapping[str, Spec]
    job: Job

    @property
    def columns(self) -> dict[str, list[str]]:
        """The model's inputs and outputs -> the columns that go with them."""
        fed = {name: list(features) for name, features in self.mapping.items()}
        return {**fed, **{label.output: [label.column] for label in self.labels}}

    def train_dataset(self, start_step: int) -> tf.data.Dataset:
        """Endless batches of (inputs, labels) from `start_step` on."""
        make = datasets.cached_batches if self.cached else datasets.streamed_batches
        data, training = self.job.data, self.job.training
        return make(self.train, self._parse, data.batch_size, training.seed, start_step)

    def eval_dataset(self) -> tf.data.Dataset:
        """The evaluation files once, in batches of (inputs, labels)."""
        return datasets.ordered_batches(self.evaluation, self._parse, self.job.data.batch_size)

    def sample_dataset(self, rows: int) -> tf.data.Dataset:
        """The inputs of the first rows of the evaluation files, as training reads them."""
        return datasets.ordered_batches(self.evaluation, self._parse, rows, rows).map(lambda inputs, _: inputs)

    def sample_request(self, rows: int) -> dict[str, list[Any]]:
        """The same rows as a client would send them: raw columns, read without TensorFlow."""
        first = self.evaluation.sample[:rows]
        convert = {"int64": int, "float32": float, "string": str}
        return {name: [convert[kind](row[name]) for row in first] for name, kind in self.kinds.items()}

    def receiver(self) -> tf.estimator.export.ServingInputReceiver:
        """Placeholders for the raw columns, and the model's inputs made of them: the serving graph's head."""
        raw = _placeholders(self.kinds)
        return tf.estimator.export.ServingInputReceiver(self.to_inputs(raw), raw)

    def to_inputs(self, raw: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Raw columns (each [batch]) -> the model's inputs by name."""
        return fit_features(self.to_features(raw), self.mapping, self.specs)

    def find_bad_row(self) -> None:
        """Look for the row that parsing stumbled over. Raises DataError where there is one."""
        for reader in (self.train, self.evaluation):
            reader.find_bad_row(self._all_kinds)

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
    def _all_kinds(self) -> dict[str, str]:
        return {**self.kinds, **{label.column: label.kind for label in self.labels}}

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
        small = total_bytes(self.train.files) <= CACHE_FILE_BYTES and row_bytes * self.train.rows <= CACHE_TENSOR_BYTES
        return small or choice == "always"

    def _parse(self, lines: tf.Tensor) -> tuple[Any, Any]:
        raw = self.train.parse(lines, self._all_kinds)
        targets = {label.output: label.to_target(raw[label.column]) for label in self.labels}
        target = targets if len(targets) > 1 else next(iter(targets.values()))
        return self.to_inputs({name: raw[name] for name in self.kinds}), target


class Inputs(Protocol):
    """What training, evaluation, export and verification ask of a job's data, wherever it comes from."""

    @property
    def columns(self) -> dict[str, list[str]]:
        """The model's inputs and outputs -> the columns that go with them, where files have columns."""

    def train_dataset(self, start_step: int) -> tf.data.Dataset:
        """Endless batches of (inputs, labels) from a step on."""

    def eval_dataset(self) -> tf.data.Dataset:
        """The evaluation set once, in batches of (inputs, labels)."""

    def sample_dataset(self, rows: int) -> tf.data.Dataset:
        """The inputs of the first rows for evaluation."""

    def sample_request(self, rows: int) -> dict[str, list[Any]] | None:
        """The same rows as a client would send them; None where that is not known."""

    def receiver(self) -> tf.estimator.export.ServingInputReceiver:
        """The serving graph's head."""

    def find_bad_row(self) -> None:
        """Look for the row that parsing stumbled over. Raises DataError where there is one."""

    def find_unknown_class(self) -> None:
        """Look for the row whose label is not known. Raises DataError where there is one."""

    @property
    def label_column(self) -> str:
        """How a message calls the label."""


def input_specs(model: tf.keras.Model) -> dict[str, Spec]:
    """The model's input -> (dtype name, shape without the batch dimension)."""
    return {
        name: (tf.as_dtype(tensor.dtype).name, tuple(tensor.shape[1:]))
        for name, tensor in zip(model.input_names, model.inputs, strict=True)
    }


def feature_kinds(module: types.ModuleType, reader: CsvReader, without: tuple[str, ...]) -> dict[str, str]:
    """Raw feature column -> kind: the module's FEATURES, else every column but the labels, by what it holds."""
    declared = getattr(module, "FEATURES", None)
    if declared is not None:
        labels.check_declared(declared, reader.columns, module.__file__ or module.__name__)
        return dict(declared)
    return {column: reader.kind(column) for column in reader.columns if column not in without}


def plan_inputs(
    module: types.ModuleType,
    model: tf.keras.Model,
    job: Job,
    train: CsvReader,
    evaluation: CsvReader,
    assets: Mapping[str, str],
    targets: tuple[labels.Label, ...],
) -> FileInputs:
    """Settle kinds, names and shapes before the first step. Raises DataError with the mismatch in words."""
    kinds = feature_kinds(module, train, tuple(label.column for label in targets))
    to_features = bind_preprocess(module, assets)
    specs = input_specs(model)
    traced = trace(to_features, kinds)
    mapping = map_inputs(specs, traced.specs, job.data.columns_of_input)
    if not hasattr(module, "preprocess"):
        kinds = {name: _kind_for(specs[fed][0]) for fed, names in mapping.items() for name in names}
    inputs = FileInputs(train, evaluation, kinds, targets, to_features, traced, mapping, specs, job)
    needed = {**kinds, **{label.column: label.kind for label in targets}}
    for reader in (train, evaluation):
        reader.check_sample(needed)
    return inputs


def bind_preprocess(module: types.ModuleType, assets: Mapping[str, str]) -> Any:
    """The module's `preprocess`, given the assets if it asks for them; the identity where there is none."""
    preprocess = getattr(module, "preprocess", None)
    if preprocess is None:
        return lambda features: features
    wants_assets = len(inspect.signature(preprocess).parameters) > 1

    def to_features(features: Mapping[str, tf.Tensor]) -> Mapping[str, tf.Tensor]:
        with user_code(module, "preprocess"), comparing_by_value():
            made = preprocess(features, assets) if wants_assets else preprocess(features)
        if not isinstance(made, Mapping):
            raise ModelError(
                f"{module.__file__}: preprocess returned {type(made).__name__}: return a dict of features."
            )
        return made

    return tf.autograph.experimental.do_not_convert(to_features)


def trace(to_features: Any, kinds: Mapping[str, str]) -> Traced:
    """Run `to_features` once on placeholders, in a graph of its own."""
    with tf.Graph().as_default() as graph:
        features = to_features(_placeholders(kinds))
    random = any(word in kind for kind in _operations(graph) for word in RANDOM)
    fixed = all(isinstance(each, tf.Tensor) and each.shape[1:].is_fully_defined() for each in features.values())
    sizes = [each.shape[1:].num_elements() * max(each.dtype.size, 1) for each in features.values()] if fixed else []
    return Traced(specs_of(features), sum(sizes) if fixed and not random else None)


def _operations(graph: tf.Graph) -> set[str]:
    """The types of all operations, those inside functions included: `tf.map_fn` makes one."""
    whole = graph.as_graph_def()
    nodes = itertools.chain(whole.node, *(function.node_def for function in whole.library.function))
    return {node.op for node in nodes}


def specs_of(features: Mapping[str, tf.Tensor]) -> dict[str, Spec]:
    """Name -> (dtype name, shape without the batch dimension)."""
    return {name: (tensor.dtype.name, tuple(tensor.shape[1:])) for name, tensor in features.items()}


def fit_features(
    features: Mapping[str, tf.Tensor], mapping: Mapping[str, tuple[str, ...]], specs: Mapping[str, Spec]
) -> dict[str, tf.Tensor]:
    """Features -> the model's inputs by name, of the model's dtypes."""
    return {name: _assemble([features[each] for each in mapping[name]], specs[name]) for name in specs}


def _placeholders(kinds: Mapping[str, str]) -> dict[str, tf.Tensor]:
    return {name: tf.compat.v1.placeholder(kind, [None], name=_op_name(name)) for name, kind in kinds.items()}


def _op_name(column: str) -> str:
    """A name TensorFlow allows, whatever the column is called."""
    return "column_" + "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in column)


def _kind_for(dtype: str) -> str:
    if dtype == "string":
        return "string"
    return "int64" if "int" in dtype or dtype == "bool" else "float32"


def _assemble(features: list[tf.Tensor], spec: Spec) -> tf.Tensor:
    dtype, shape = spec
    cast = [each if each.dtype.name == dtype else tf.cast(each, dtype) for each in features]
    if len(cast) > 1:
        return tf.stack(cast, axis=-1)
    only = cast[0]
    if isinstance(only, tf.Tensor) and only.shape.rank == 1 and len(shape) == 1:
        return tf.expand_dims(only, -1)
    return only
