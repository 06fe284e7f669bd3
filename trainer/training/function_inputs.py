"""A module with an `input_fn` of its own: its batches, with names, dtypes and shapes fitted to the model.

def input_fn(mode, batch_size):          # any of mode ("train" or "eval"), batch_size, seed and assets, by name
    return dataset                       # a tf.data.Dataset of batches (features, labels[, weights])
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import logging
import types
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from trainer.job.columns import Column
from trainer.job.config import Job
from trainer.job.errors import DataError, ModelError
from trainer.training.failures import user_code
from trainer.training.features import bind_preprocess, fit_features, input_specs, specs_of
from trainer.training.names import Spec, map_inputs
from trainer.training.signatures import SCOPE, Served, build_receiver, kind_of
from trainer.training.strategies import ALONE, Spread, per_replica_batch_size
from trainer.training.weights import NO_WEIGHTS, Weights

LOG = logging.getLogger("trainer")
SAMPLE_ROWS = 64


@dataclasses.dataclass(frozen=True)
class FunctionInputs:
    """What the module's functions give to one model; the counterpart of `inputs.FileInputs`."""

    module: types.ModuleType
    arguments: Mapping[str, Any]
    features: Mapping[str, tf.TensorSpec]
    to_features: Any
    mapping: Mapping[str, tuple[str, ...]]
    specs: Mapping[str, Spec]
    rows: Mapping[str, Any]
    weights: Weights = NO_WEIGHTS

    @property
    def columns(self) -> dict[str, list[str]]:
        """None: the module reads its data by itself."""
        return {}

    def train_dataset(self, start_step: int, spread: Spread = ALONE) -> tf.data.Dataset:
        """Endless batches; a resumed job starts the module's dataset anew, which is said.

        Several replicas get batches of their share of --batch-size, one each by turns, over all machines.
        """
        if start_step:
            LOG.warning("input_fn starts its data anew: a resumed job does not see what the undisturbed one would see")
        batch_size = per_replica_batch_size(spread, self.arguments["batch_size"])
        return self._fitted("train", {**self.arguments, "batch_size": batch_size}, spread).repeat()

    def parts(self, spread: Spread) -> None:
        """Not known: only the module knows its rows."""

    def eval_dataset(self) -> tf.data.Dataset:
        """What `input_fn` yields for mode `eval`."""
        return self._fitted("eval", self.arguments)

    def sample_dataset(self, rows: int) -> tf.data.Dataset:
        """The inputs of the rows that `sample_request` gives: an `input_fn` may yield others each time."""
        return tf.data.Dataset.from_tensor_slices(dict(self.rows)).take(rows).batch(rows).map(self._to_inputs)

    def sample_request(self, rows: int) -> dict[str, list[Any]] | None:
        """Those rows as a client would send them; None where the module's receiver takes something else."""
        if set(self.served.columns) != set(self.features):
            return None
        return {name: values[:rows].tolist() for name, values in self.rows.items()}

    def receiver(self) -> tf.estimator.export.ServingInputReceiver:
        """The module's own `serving_input_receiver_fn`, else one for what `input_fn` yields."""
        own = getattr(self.module, "serving_input_receiver_fn", None)
        if own is None:
            return build_receiver(self.served, self._to_inputs)
        with tf.name_scope(SCOPE):
            with user_code(self.module, "serving_input_receiver_fn"):
                receiver = own()
            return tf.estimator.export.ServingInputReceiver(
                self._to_inputs(_named(receiver.features)),
                receiver.receiver_tensors,
                receiver.receiver_tensors_alternatives,
            )

    @functools.cached_property
    def served(self) -> Served:
        """What exports have to know: what `input_fn` yields, or what the module's own receiver takes."""
        tensors: Mapping[str, Any] = self.features
        if hasattr(self.module, "serving_input_receiver_fn"):
            with tf.Graph().as_default():
                tensors = self.receiver().receiver_tensors
        columns = {
            name: Column(kind_of(each.dtype.name), tuple(each.shape[1:] if each.shape.rank else ()))
            for name, each in tensors.items()
        }
        return Served(columns, dtypes={name: each.dtype for name, each in tensors.items()})

    def check_files(self, training: bool) -> None:
        """Nothing: only the module knows its files."""

    def find_bad_row(self) -> None:
        """Nothing: only the module knows its rows."""

    def find_unknown_class(self) -> None:
        """Nothing: labels are numbers already."""

    @property
    def label_column(self) -> str:
        """How a message calls the label."""
        return "of the labels from input_fn"

    def _to_inputs(self, raw: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return fit_features(self.to_features(raw), self.mapping, self.specs)

    def _fitted(self, mode: str, arguments: Mapping[str, Any], spread: Spread = ALONE) -> tf.data.Dataset:
        def finish(features: Any, labels: Any, given: Any = None) -> tuple[Any, Any]:
            return self.weights.attach(self._to_inputs(_named(features)), labels, given, training=mode == "train")

        batches = _batches(self.module, mode, arguments)
        if spread.trainers > 1:
            batches = batches.shard(spread.trainers, spread.position)
        return batches.map(finish).prefetch(1)


def plan_function_inputs(
    module: types.ModuleType, model: tf.keras.Model, job: Job, assets: Mapping[str, str]
) -> FunctionInputs:
    """Settle names, dtypes and shapes before the first step, from the dataset's element_spec.

    Raises:
      ModelError: `input_fn` returns something else than a Dataset of (features, labels).
      DataError: names or shapes do not fit the model.
    """
    arguments = {"batch_size": job.data.batch_size, "seed": job.training.seed, "assets": assets}
    with tf.Graph().as_default():
        features = _named(_batches(module, "train", arguments).element_spec[0])
    to_features = bind_preprocess(module, assets)
    with tf.Graph().as_default():
        made = specs_of(to_features(_placeholders(features)))
    mapping = map_inputs(input_specs(model), made, job.data.columns_of_input)
    batches = _batches(module, "eval", arguments).unbatch().take(SAMPLE_ROWS).batch(SAMPLE_ROWS)
    with user_code(module, "input_fn"):
        first = next(batches.as_numpy_iterator(), None)
    if first is None:
        raise DataError(f"{module.__file__}: input_fn yields nothing for mode 'eval': give it data to evaluate on.")
    return FunctionInputs(module, arguments, features, to_features, mapping, input_specs(model), _named(first[0]))


def _batches(module: types.ModuleType, mode: str, arguments: Mapping[str, Any]) -> tf.data.Dataset:
    function = module.input_fn
    given = {"mode": mode, **arguments}
    asked = [name for name in inspect.signature(function).parameters if name in given]
    with user_code(module, "input_fn"):
        dataset = function(**{name: given[name] for name in asked})
    fits = isinstance(dataset, tf.data.Dataset) and isinstance(dataset.element_spec, tuple)
    if not fits or len(dataset.element_spec) not in (2, 3):
        raise ModelError(
            f"{module.__file__}:{function.__code__.co_firstlineno}: input_fn returned {type(dataset).__name__}: return "
            "a tf.data.Dataset of batches (features, labels) or (features, labels, weights)."
        )
    return dataset


def _named(features: Any) -> dict[str, Any]:
    """A single tensor gets the name that a single input takes whatever it is called."""
    return dict(features) if isinstance(features, Mapping) else {"features": features}


def _placeholders(features: Mapping[str, tf.TensorSpec]) -> dict[str, tf.Tensor]:
    return {
        name: tf.compat.v1.placeholder(spec.dtype, [None, *spec.shape[1:]], name=f"feature_{number}")
        for number, (name, spec) in enumerate(features.items())
    }
