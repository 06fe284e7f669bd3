"""Raw columns -> features -> the model's inputs: what the module declares, what its preprocess makes, and what fits."""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import types
from collections.abc import Collection, Mapping
from typing import Any

import tensorflow as tf

from trainer.job.columns import Column
from trainer.job.errors import DataError, ModelError
from trainer.training import labels
from trainer.training.failures import user_code
from trainer.training.fit_semantics import comparing_by_value
from trainer.training.names import Spec
from trainer.training.reader import Reader
from trainer.training.signatures import operation_name

RANDOM = ("Random", "Multinomial", "TruncatedNormal", "Rng", "PyFunc")  # words in the types of operations


@dataclasses.dataclass(frozen=True)
class Traced:
    """What preprocess makes of the raw columns: its specs, and the bytes of a row.

    The bytes are None where rows cannot be kept: random numbers, or shapes that depend on the batch.
    """

    specs: Mapping[str, Spec]
    row_bytes: int | None


def input_specs(model: tf.keras.Model) -> dict[str, Spec]:
    """The model's input -> (dtype name, shape without the batch dimension)."""
    return {
        name: (tf.as_dtype(tensor.dtype).name, tuple(tensor.shape[1:]))
        for name, tensor in zip(model.input_names, model.inputs, strict=True)
    }


def feature_columns(module: types.ModuleType, reader: Reader, without: Collection[str]) -> dict[str, Column]:
    """The raw feature columns: those of the module's FEATURES, else all but the ones in `without`, by what they hold.

    Raises ModelError or DataError for declarations that do not go with the files.
    """
    declared = labels.declared_features(module, reader.columns)
    found = {name: reader.column(name) for name in (declared or reader.columns) if declared or name not in without}
    kinds = {
        name: dataclasses.replace(column, kind=(declared or {}).get(name, column.kind))
        for name, column in found.items()
    }
    defaults = labels.declared_defaults(module, kinds)
    unknown = [str(name) for name in getattr(module, "DEFAULTS", {}) if name not in reader.columns]
    if unknown:
        raise DataError(
            f"DEFAULTS of {module.__file__} names {', '.join(unknown)}, but the files have no such column; they have "
            f"{', '.join(reader.columns)}."
        )
    return {
        name: dataclasses.replace(column, default=default)
        for (name, column), default in zip(kinds.items(), defaults, strict=True)
    }


def as_analyzed(module: types.ModuleType, features: Mapping[str, Column]) -> dict[str, Column]:
    """The feature columns as far as they are known before there is a model.

    Whole numbers in the first rows may be fractions later, where the model and not preprocess decides what they are.
    """
    fixed = hasattr(module, "preprocess")
    return {
        name: column if fixed or column.kind != "int64" else dataclasses.replace(column, kind="float32")
        for name, column in features.items()
    }


def bind_preprocess(module: types.ModuleType, assets: Mapping[str, str]) -> Any:
    """The module's `preprocess`, given the assets if it asks for them; the identity where there is none."""
    preprocess = getattr(module, "preprocess", None)
    if preprocess is None:
        return lambda features: features
    wants_assets = len(inspect.signature(preprocess).parameters) > 1

    def to_features(features: Mapping[str, tf.Tensor]) -> Mapping[str, tf.Tensor]:
        with user_code(module, "preprocess"), comparing_by_value:
            made = preprocess(features, assets) if wants_assets else preprocess(features)
        if not isinstance(made, Mapping):
            raise ModelError(
                f"{module.__file__}: preprocess returned {type(made).__name__}: return a dict of features."
            )
        return made

    return tf.autograph.experimental.do_not_convert(to_features)


def trace(to_features: Any, columns: Mapping[str, Column]) -> Traced:
    """Run `to_features` once on placeholders, in a graph of its own."""
    with tf.Graph().as_default() as graph:
        features = to_features(_placeholders(columns))
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


def _placeholders(columns: Mapping[str, Column]) -> dict[str, tf.Tensor]:
    return {
        name: tf.compat.v1.placeholder(column.kind, [None, *column.shape], name=operation_name(name))
        for name, column in columns.items()
    }


def _assemble(features: list[tf.Tensor], spec: Spec) -> tf.Tensor:
    dtype, shape = spec
    cast = [each if each.dtype.name == dtype else tf.cast(each, dtype) for each in features]
    if len(cast) > 1:
        return tf.reshape(tf.stack(cast, axis=-1), [-1, *(len(cast) if size is None else size for size in shape)])
    only = cast[0]
    rank = only.shape.rank if isinstance(only, tf.Tensor) else len(shape) + 1
    if rank != len(shape) + 1 and (rank == 1 or None not in shape):  # a number, or a flat list of them
        return tf.reshape(only, [-1, *(1 if size is None else size for size in shape)])
    return only
