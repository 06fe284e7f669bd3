"""What `fit` does for a model and the Estimator's graph does not: put back around every model function.

The converted model runs as a Keras 1 model in a TensorFlow 1 graph. There, measured on TensorFlow 2.15.1:

- `a == b` on tensors compares identities: a loss with `tf.where(y_true == 1, ...)` silently always takes one branch;
- a layer of the user's own gets `training=None` (or its default) while training: `if training:` silently never holds;
- labels of shape (batch,) meet predictions of shape (batch, 1) as they are: a `Loss` of the user's own silently
  computes on a (batch, batch) table; labels of another float type fail;
- classes and functions of the user's own are looked up by name where a configuration is read back: nested models,
  wrappers, activations, regularizers, schedules fail;
- with several outputs, weights that are given once are refused;
- the metric objects given to `compile` get the name of their output in front once more each time the model is rebuilt,
  so that no two evaluations of a job report the same names: the converter gets no metrics to see.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from types import FunctionType
from typing import Any

import keras
import tensorflow as tf
from keras.src import backend as keras_backend

from trainer.job.errors import ModelError
from trainer.training.findings import is_keras_own
from trainer.training.native_optimizer import unwrapped
from trainer.training.synced_batch_norm import in_one_batch

ModelFn = Callable[..., tf.estimator.EstimatorSpec]
_FEATURES, _WEIGHTS = "features", "sample_weights"  # what the converter calls them (keras_lib.py)
_LIBRARIES = tuple(os.path.dirname(module.__file__) + os.sep for module in (tf, keras))
_CUSTOM_PARTS = (
    tf.keras.layers.Layer,
    tf.keras.initializers.Initializer,
    tf.keras.regularizers.Regularizer,
    tf.keras.constraints.Constraint,
    tf.keras.optimizers.schedules.LearningRateSchedule,
)


@dataclasses.dataclass(frozen=True)
class Original:
    """A model as its author left it: with the classes and functions of his own, and what `compile` was given."""

    model: tf.keras.Model
    custom_objects: Mapping[str, object]
    compile_arguments: Mapping[str, object]

    @classmethod
    def of(cls, model: tf.keras.Model) -> Original:
        """To be taken before the model is converted. Raises ModelError like `find_custom_objects`."""
        return cls(model, find_custom_objects(model), model._get_compile_args())


def as_in_fit(model_fn: ModelFn, original: Original) -> ModelFn:
    """Wrap the converter's `model_fn` so that user code in the graph meets what it meets in `fit`.

    Names live in a scope around each call instead of Keras' global table: the model function runs again for every
    training, evaluation and export, and nothing stays behind for other models of the process.
    """
    outputs = {name: (tensor.shape.rank, tensor.dtype) for name, tensor in _named_outputs(original.model)}

    def run_model_fn(
        features: Any, labels: Any, mode: str, config: tf.estimator.RunConfig
    ) -> tf.estimator.EstimatorSpec:
        with fit_scope(original), in_one_batch(split_weights(features)[1]):
            return model_fn(_match_weights(features, list(outputs)), _match_labels(labels, outputs), mode, config)

    return run_model_fn


def with_weights(features: Any, weights: Any) -> Any:
    """Features with the weights of their examples, in the only form that a converted model takes them."""
    return features if weights is None else {_FEATURES: features, _WEIGHTS: weights}


def split_weights(features: Any) -> tuple[Any, Any]:
    """The inverse of `with_weights`: features, and the weights or None."""
    if isinstance(features, Mapping) and set(features) == {_FEATURES, _WEIGHTS}:
        return features[_FEATURES], features[_WEIGHTS]
    return features, None


def _match_weights(features: Any, outputs: list[str]) -> Any:
    """Let weights that are given once count for each of several outputs."""
    plain, weights = split_weights(features)
    if weights is None or len(outputs) < 2 or isinstance(weights, (Mapping, list, tuple)):
        return features
    return with_weights(plain, dict.fromkeys(outputs, weights))


@contextlib.contextmanager
def fit_scope(original: Original) -> Iterator[None]:
    """The user's names, comparison of tensors by value and the `training` argument, as they are inside `fit`."""
    without_metrics = {**original.compile_arguments, "metrics": None, "weighted_metrics": None}  # see weighted_metrics
    original.model._get_compile_args = lambda: dict(without_metrics)  # Keras' cloning keeps it and puts copies into it
    with tf.keras.utils.custom_object_scope(dict(original.custom_objects)), comparing_by_value, _training_argument():
        yield


def find_custom_objects(model: tf.keras.Model) -> dict[str, object]:
    """Name -> class or function, for all that is not Keras' own in the model's layers and optimizer.

    Raises:
        ModelError: two of them have the same name.
    """
    found: dict[str, object] = {}
    for part in (*model._flatten_layers(include_self=False), *_parts(unwrapped(model.optimizer))):
        for each in (part, *_parts(part)):
            custom = each if isinstance(each, FunctionType) else type(each)
            if is_keras_own(custom) or "<" in custom.__name__:
                continue
            # What a layer of the user's own does with a function it holds is up to its own from_config.
            by_name = isinstance(custom, type) or is_keras_own(type(part))
            if found.setdefault(custom.__name__, custom) is not custom and by_name:
                raise ModelError(
                    f"the model uses two different things called {custom.__name__}, which cannot be told apart when "
                    "its layers are rebuilt from their configurations: rename one."
                )
    return found


def _parts(whole: object) -> list[object]:
    """Attributes that a configuration names, those of a legacy optimizer's table of hyperparameters included."""
    attributes = [*vars(whole).values(), *getattr(whole, "_hyper", {}).values()]
    return [part for part in attributes if isinstance(part, (*_CUSTOM_PARTS, FunctionType))]


def _named_outputs(model: tf.keras.Model) -> list[tuple[str, Any]]:
    return list(zip(model.output_names or [], tf.nest.flatten(model.outputs or []), strict=False))


def _match_labels(labels: Any, outputs: Mapping[str, tuple[int | None, tf.DType]]) -> Any:
    """Give labels the rank and the float type of their outputs, in whichever structure they come."""
    if isinstance(labels, Mapping):
        return {name: _match(label, outputs.get(name)) for name, label in labels.items()}
    if isinstance(labels, (list, tuple)):
        return [_match(label, output) for label, output in zip(labels, outputs.values(), strict=False)]
    return _match(labels, next(iter(outputs.values()), None))


def _match(label: Any, output: tuple[int | None, tf.DType] | None) -> Any:
    """What Keras' `match_dtype_and_rank` does before loss and metrics (keras/src/engine/compile_utils.py)."""
    if output is None or not isinstance(label, tf.Tensor):
        return label
    rank, dtype = output
    if label.shape.rank == 1 and rank == 2:
        label = tf.expand_dims(label, -1)
    if (label.dtype.is_floating and dtype.is_floating) or (label.dtype.is_integer and dtype.is_integer):
        label = tf.cast(label, dtype)
    return label


class _WhileAnybody(contextlib.AbstractContextManager[None]):
    """A context that a strategy's replicas share: the first of their threads opens it, the last one closes it."""

    def __init__(self, open_context: Callable[[], contextlib.AbstractContextManager[None]]) -> None:
        self._open, self._lock = open_context, threading.Lock()
        self._inside = 0

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._context = self._open()
                self._context.__enter__()

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._context.__exit__(None, None, None)


@contextlib.contextmanager
def _training_argument() -> Iterator[None]:
    """Let layers be told the mode: Keras passes it on only if this flag says that somebody has set it.

    `set_learning_phase`, which the converter calls, forgets the flag when it runs inside a graph.
    """
    state = keras_backend._DUMMY_EAGER_GRAPH
    before, state.learning_phase_is_set = state.learning_phase_is_set, True
    try:
        yield
    finally:
        state.learning_phase_is_set = before


@contextlib.contextmanager
def _with_comparison_by_value() -> Iterator[None]:
    """Let `==` and `!=` on tensors and variables make an op, for all code but TensorFlow's and Keras' own.

    Theirs relies on identities in a graph, such as in `tensor in tensors`.
    """
    operations = {"__eq__": tf.raw_ops.Equal, "__ne__": tf.raw_ops.NotEqual}
    before = [(kind, name, getattr(kind, name)) for kind in (tf.Tensor, tf.Variable) for name in operations]
    for kind, name, identity in before:
        setattr(kind, name, _comparison(identity, operations[name]))
    try:
        yield
    finally:
        for kind, name, identity in before:
            setattr(kind, name, identity)


comparing_by_value = _WhileAnybody(_with_comparison_by_value)


def _comparison(identity: Callable[..., Any], operation: Callable[..., Any]) -> Callable[[Any, Any], Any]:
    def compare(left: Any, right: Any) -> Any:
        if right is None or sys._getframe(1).f_code.co_filename.startswith(_LIBRARIES):
            return identity(left, right)
        return operation(x=left, y=right, incompatible_shape_error=False)

    return compare
