"""Run a Keras optimizer's own update rule inside an Estimator's graph, where the legacy one computes something else.

The converter replaces every new-style optimizer by the legacy one of the same name. Measured against `fit` on
TensorFlow 2.15.1, that is exact for some and wrong or impossible for the others:

- AdamW, Lion, Adafactor and optimizers of the user's own have no legacy counterpart: the conversion fails.
- `weight_decay` is dropped without a word.
- RMSprop without momentum adds epsilon outside the root instead of inside it.
- SGD with momentum, RMSprop, Ftrl, Adadelta and Adamax update only the rows of an embedding that a batch has touched;
  the new ones let the momentum (or its like) of all other rows decay as well.

For these, `NativeOptimizer` is what the converter sees: a legacy optimizer by type, whose update is the original's
`apply_gradients`, traced into one `tf.function`. The weights are bit for bit those of `fit`. Where the legacy optimizer
is exact it stays: its fused kernels are up to a quarter faster on tiny models.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import tensorflow as tf
from tensorflow.python.distribute.ps_values import AggregatingVariable

_new = tf.keras.optimizers
# Exact as the legacy optimizer of the same name; the second row only as long as no gradient is sparse.
_EXACT_AS_LEGACY = (_new.Adam, _new.Adagrad)
_EXACT_WHEN_DENSE = (_new.SGD, _new.RMSprop, _new.Ftrl, _new.Adadelta, _new.Adamax)


def unwrapped(optimizer: Any) -> Any:
    """The optimizer inside a loss scale, which mixed_float16 puts around each."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def is_new_style(optimizer: object) -> bool:
    """Whether this is an optimizer that the converter would replace by a legacy one."""
    return isinstance(optimizer, _new.Optimizer) and not isinstance(optimizer, _new.legacy.Optimizer)


def legacy_is_exact(optimizer: Any, model: tf.keras.Model) -> bool:
    """Whether the legacy optimizer of the same name computes what the new-style `optimizer` does in `fit`."""
    kind = type(optimizer)
    if optimizer.weight_decay or kind not in _EXACT_AS_LEGACY + _EXACT_WHEN_DENSE:
        return False
    if kind is _new.RMSprop and not optimizer.momentum:
        return False
    plain_sgd = kind is _new.SGD and not optimizer.momentum
    return plain_sgd or kind in _EXACT_AS_LEGACY or not _may_have_sparse_gradients(model)


def needs_native(model: tf.keras.Model) -> bool:
    """Whether the model's optimizer must run as it is.

    Nadam cannot: its step compares a counter of its own with a tensor (keras/src/optimizers/nadam.py), which means
    something else in each trace. A loss scale around the optimizer cannot either: it expects `fit`'s own loop.
    """
    optimizer = model.optimizer
    if not is_new_style(optimizer) or unwrapped(optimizer) is not optimizer or type(optimizer) is _new.Nadam:
        return False
    # A head without a loss has weights without a gradient: graph-mode Keras refuses, the optimizer itself passes over.
    return not legacy_is_exact(optimizer, model) or bool(outputs_without_loss(model))


def clips(model: tf.keras.Model) -> bool:
    """Whether the optimizer clips gradients, which its legacy twin refuses to do under CentralStorageStrategy."""
    return is_new_style(model.optimizer) and _clips(model.optimizer)


def adds_rows(model: tf.keras.Model) -> bool:
    """Whether gradients of the same row may be added up before the optimizer has them: Keras' own add them first.

    Only clipping comes before that. What an optimizer of the user's own does is not known.
    """
    optimizer = unwrapped(model.optimizer)
    return type(optimizer).__module__.partition(".")[0] == "keras" and not _clips(optimizer)


def _clips(optimizer: Any) -> bool:
    return any(getattr(optimizer, name, None) is not None for name in ("clipnorm", "clipvalue", "global_clipnorm"))


def outputs_without_loss(model: tf.keras.Model) -> list[str]:
    """Names of the outputs that `compile` gave no loss."""
    loss, names = model.loss, model.output_names or []
    if isinstance(loss, Mapping):
        return [name for name in names if loss.get(name) is None]
    if isinstance(loss, (list, tuple)):
        return [name for name, each in zip(names, loss, strict=False) if each is None]
    return [] if loss else list(names)


def _may_have_sparse_gradients(model: tf.keras.Model) -> bool:
    """Embeddings have them, and a layer or an op of the user's own may gather rows as well."""
    layers = model._flatten_layers(include_self=False)
    return any(
        isinstance(layer, tf.keras.layers.Embedding)
        or "OpLambda" in type(layer).__name__
        or type(layer).__name__ == "Lambda"
        or type(layer).__module__.partition(".")[0] not in ("keras", "tensorflow")
        for layer in layers
    )


class NativeOptimizer(tf.keras.optimizers.legacy.Optimizer):
    """A legacy optimizer by type; its update is `kind.from_config(config).apply_gradients`."""

    def __init__(
        self, kind: Any, config: Mapping[str, object], schedule: object = None, undecayed: tuple[str, ...] = ()
    ) -> None:
        super().__init__(name=str(config["name"]))
        self._kind, self._config, self._schedule, self._undecayed = kind, dict(config), schedule, undecayed

    @classmethod
    def of(cls, optimizer: Any, model: tf.keras.Model) -> NativeOptimizer:
        """Take `optimizer`'s configuration; must be called eagerly, since it reads the learning rate's variable."""
        rate = optimizer._learning_rate
        schedule = rate if isinstance(rate, _new.schedules.LearningRateSchedule) else None
        # Averages would be of no use: only `fit` puts them in place. A schedule is set once there is a step to ask it.
        config = {**optimizer.get_config(), "use_ema": False}
        config = {**config, "learning_rate": 0.0} if schedule else config
        return cls(type(optimizer), config, schedule, _undecayed_names(optimizer, model))

    def get_config(self) -> dict[str, object]:
        """What `from_config` takes; objects and classes included, since it never leaves the process."""
        return {"kind": self._kind, "config": self._config, "schedule": self._schedule, "undecayed": self._undecayed}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: object = None) -> NativeOptimizer:
        """Inverse of `get_config`."""
        return cls(**config)

    def get_updates(self, loss: tf.Tensor, params: list[tf.Variable]) -> list[tf.Tensor]:
        """The update ops Keras' graph-mode training asks its optimizer for: here one call of one function."""
        gradients = tf.gradients(loss, params)
        if tf.distribute.has_strategy():
            merge = tf.distribute.get_replica_context().merge_call
            return [merge(self._update_everywhere, args=(gradients, params))]
        native = self._build_native(params)

        @tf.function
        def update(*gradients: tf.Tensor) -> tf.Tensor:
            # A None among them is left out, with a warning, by apply_gradients itself, as in `fit`.
            native.apply_gradients(zip(gradients, params, strict=True))
            return native.iterations.read_value()

        return [update(*gradients)]

    def _update_everywhere(
        self, strategy: tf.distribute.Strategy, gradients: list[Any], params: list[tf.Variable]
    ) -> tf.Tensor:
        """Sum the gradients of all replicas, then update as `fit` does: clipped and decayed as one."""
        known = [(gradient, param) for gradient, param in zip(gradients, params, strict=True) if gradient is not None]
        summed = strategy.extended.batch_reduce_to(tf.distribute.ReduceOp.SUM, known)
        variables = [_stored(param) for _, param in known]
        native = self._build_native(variables)

        def apply(*gradients: tf.Tensor) -> None:
            native.apply_gradients(zip(gradients, variables, strict=True), skip_gradients_aggregation=True)

        @tf.function
        def update() -> tf.Tensor:
            if any(isinstance(param, AggregatingVariable) for _, param in known):
                with _outside_of_strategies():
                    apply(*summed)
            else:
                strategy.extended.call_for_each_replica(apply, args=tuple(summed))
            return tf.constant(True)  # Keras wants something to run

        return update()

    def _build_native(self, params: list[tf.Variable]) -> Any:
        known = {variable.ref() for variable in tf.compat.v1.global_variables()}
        native = self._kind.from_config(dict(self._config))
        if self._undecayed:
            native.exclude_from_weight_decay(var_names=list(self._undecayed))
        native.iterations = self.iterations  # the global step, which schedules and bias corrections go by
        if self._schedule is not None:
            # Made with the schedule, it would begin as schedule(step), which fails when it is initialised before the
            # step is. Each update sets it first.
            native._current_learning_rate = tf.Variable(0.0, trainable=False, name="current_learning_rate")
            native.learning_rate = self._schedule
        native.build(params)
        for variable in tf.compat.v1.global_variables():
            # Keras initialises only what it tracks when the converter writes its first checkpoint.
            if variable.ref() not in known:
                tf.keras.__internal__.backend.track_variable(variable)
        return native


def _stored(variable: Any) -> Any:
    """The one variable that all replicas share where a strategy stores it centrally, which no replica may assign."""
    return variable.get() if isinstance(variable, AggregatingVariable) else variable


@contextlib.contextmanager
def _outside_of_strategies() -> Iterator[None]:
    """Let an optimizer in the graph at hand take its variables for those of one device."""
    graph = tf.compat.v1.get_default_graph()
    stack, graph._distribution_strategy_stack = graph._distribution_strategy_stack, []
    try:
        yield
    finally:
        graph._distribution_strategy_stack = stack


def _undecayed_names(optimizer: Any, model: tf.keras.Model) -> tuple[str, ...]:
    """Patterns of the weights kept out of weight decay: `get_config` does not say, and the ids are this process's."""
    ids = set(getattr(optimizer, "_exclude_from_weight_decay", None) or ())
    names = [f"^{re.escape(weight.name)}$" for weight in model.trainable_weights if optimizer._var_key(weight) in ids]
    return (*names, *(getattr(optimizer, "_exclude_from_weight_decay_names", None) or ()))
