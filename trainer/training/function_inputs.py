"""A module with an `input_fn` of its own: its batches, with names, dtypes and shapes fitted to the model.

def input_fn(mode, batch_size):          # any of mode ("train" or "eval"), batch_size, seed and assets, by name
    return dataset                       # a tf.data.Dataset of batches (features, labels)
"""

from __future__ import annotations

import dataclasses
import inspect
import logging
import types
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from trainer.job.config import Job
from trainer.job.errors import DataError, ModelError
from trainer.training.failures import user_code
from trainer.training.inputs import bind_preprocess, fit_features, input_specs, specs_of
from trainer.training.names import Spec, map_inputs

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

    @property
    def columns(self) -> dict[str, list[str]]:
        """None: the module reads its data by itself."""
        return {}

    def train_dataset(self, start_step: int) -> tf.data.Dataset:
        """Endless batches; a resumed job starts the module's dataset anew, which is said."""
        if start_step:
            LOG.warning("input_fn starts its data anew: a resumed job does not see what the undisturbed one would see")
        return self._fitted("train").repeat()

    def eval_dataset(self) -> tf.data.Dataset:
        """What `input_fn` yields for mode `eval`."""
        return self._fitted("eval")

    def sample_dataset(self, rows: int) -> tf.data.Dataset:
        """The inputs of the rows that `sample_request` gives: an `input_fn` may yield others each time."""
        return tf.data.Dataset.from_tensor_slices(dict(self.rows)).take(rows).batch(rows).map(self._to_inputs)

    def sample_request(self, rows: int) -> dict[str, list[Any]] | None:
        """Those rows as a client would send them; None where the module's receiver takes something else."""
        if hasattr(self.module, "serving_input_receiver_fn"):
            with tf.Graph().as_default():
                if set(self.receiver().receiver_tensors) != set(self.features):
                    return None
        return {name: _as_json(values[:rows]) for name, values in self.rows.items()}

    def receiver(self) -> tf.estimator.export.ServingInputReceiver:
        """The module's own `serving_input_receiver_fn`, else placeholders of what `input_fn` yields."""
        own = getattr(self.module, "serving_input_receiver_fn", None)
        if own is None:
            raw = _placeholders(self.features)
            return tf.estimator.export.ServingInputReceiver(self._to_inputs(raw), raw)
        with user_code(self.module, "serving_input_receiver_fn"):
            receiver = own()
        return tf.estimator.export.ServingInputReceiver(
            self._to_inputs(_named(receiver.features)), receiver.receiver_tensors
        )

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

    def _fitted(self, mode: str) -> tf.data.Dataset:
        batches = _batches(self.module, mode, self.arguments)
        return batches.map(lambda features, labels: (self._to_inputs(_named(features)), labels)).prefetch(1)


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
    pair = isinstance(dataset, tf.data.Dataset) and isinstance(dataset.element_spec, tuple)
    if not pair or len(dataset.element_spec) != 2:
        raise ModelError(
            f"{module.__file__}:{function.__code__.co_firstlineno}: input_fn returned {type(dataset).__name__}: return "
            "a tf.data.Dataset of batches (features, labels)."
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


def _as_json(values: np.ndarray) -> list[Any]:
    return [each.decode() if isinstance(each, bytes) else each for each in values.tolist()]
