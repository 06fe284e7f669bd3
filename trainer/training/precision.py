"""--precision: what layers compute in, by Keras' policies; their weights stay float32.

Keras wraps each weight into a variable that is cast where it is read. Within an Estimator each replica of a strategy
does that for itself, and TensorFlow 2.15.1 then takes the wrappers of one variable for several: "`colocate_vars_with`
must only be passed a variable created in this tf.distribute.Strategy.scope()". So here a variable has one wrapper.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf
from keras.src.mixed_precision import autocast_variable

from trainer.job.config import Distribution
from trainer.job.errors import UsageError

LOG = logging.getLogger("trainer")
HALF = ("float16", "bfloat16")


@contextlib.contextmanager
def policy_kept() -> Iterator[None]:
    """Whatever policy is set within this context, by us or by the user's module, ends with it, like the detour above.

    It has to last as long as a job: a layer that makes layers makes them again whenever the model is rebuilt in another
    graph, with the policy of that moment.
    """
    before, create = tf.keras.mixed_precision.global_policy(), autocast_variable.create_autocast_variable
    autocast_variable.create_autocast_variable = lambda variable: _wrapped_once(variable, create)
    try:
        yield
    finally:
        autocast_variable.create_autocast_variable = create
        tf.keras.mixed_precision.set_global_policy(before)


def set_precision(distribution: Distribution) -> None:
    """Have layers built from now on compute in --precision; what a module has set at its top level gives way."""
    if distribution.precision is not None:
        own = tf.keras.mixed_precision.global_policy().name
        if own not in ("float32", distribution.precision):
            LOG.info("--precision=%s stands instead of the module's own %s", distribution.precision, own)
        tf.keras.mixed_precision.set_global_policy(distribution.precision)


def check_precision(distribution: Distribution, model: tf.keras.Model) -> None:
    """Raise UsageError where a model that was just built does not compute in --precision."""
    wanted, flag = distribution.precision, f"--precision={distribution.precision}"
    if distribution.strategy == "central_storage" and "mixed" in (mixed := precision_of(model)):
        raise UsageError(
            f"--strategy=central_storage: Keras cannot share weights of {mixed} so; say --strategy=mirrored, or "
            "--precision=float32."
        )
    if wanted is None:
        return
    own = tf.keras.mixed_precision.global_policy().name
    if own != wanted:
        raise UsageError(f"{flag}: the model's builder sets the policy {own} itself; take that out, or the flag.")
    policies = _policies(model)
    if wanted == "float32" and (half := [name for name, policy in policies.items() if policy.compute_dtype in HALF]):
        raise UsageError(
            f"{flag}: the layer {half[0]} is built with the policy {policies[half[0]].name}; take its dtype= out, or "
            "the flag."
        )
    if wanted not in {policy.name for policy in policies.values()}:
        raise UsageError(
            f"{flag}: no layer of the model takes it up; build the layers inside the builder and without dtype=, or "
            "leave the flag out."
        )
    if wanted == "mixed_float16" and not tf.config.list_physical_devices("GPU"):
        LOG.warning("%s: on a CPU it can take many times longer than float32, mixed_bfloat16 does not", flag)
    for name, tensor in zip(model.output_names, model.outputs, strict=False):
        if (kind := tensor.dtype.name) in HALF:
            LOG.warning("%s: the output %s and its loss are in %s; give its layer dtype='float32'", flag, name, kind)


def precision_of(model: tf.keras.Model) -> str:
    """The policies of the model's layers, the most frequent first, such as `mixed_bfloat16, float32`."""
    names = [policy.name for policy in _policies(model).values()]
    return ", ".join(sorted(set(names), key=lambda name: (-names.count(name), name))) or "float32"


def _wrapped_once(variable: Any, create: Callable[[Any], Any]) -> Any:
    """The wrapper of a variable; the same one for all replicas of a variable that they share."""
    if not isinstance(variable, tf.distribute.DistributedValues):
        return create(variable)
    if not hasattr(variable, "_wrapper"):
        variable._wrapper = create(variable)
    return variable._wrapper


def _policies(model: tf.keras.Model) -> dict[str, Any]:
    """Layer -> policy, for layers that compute in floating point numbers."""
    layers = model._flatten_layers(include_self=False)
    known = {
        layer.name: layer.dtype_policy
        for layer in layers
        if hasattr(layer, "dtype_policy") and not isinstance(layer, tf.keras.layers.InputLayer)
    }
    return {name: policy for name, policy in known.items() if "float" in str(policy.compute_dtype)}
