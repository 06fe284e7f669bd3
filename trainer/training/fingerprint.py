"""What a model is, as JSON: taken before a conversion, kept with the job, compared when the job is run again."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from types import CodeType, FunctionType
from typing import Any

import numpy as np
import tensorflow as tf

from trainer.training.evaluation_metrics import evaluation_metric_names
from trainer.training.findings import is_keras_own

Description = dict[str, Any]

# Other processors round differently, and sums in another order; a changed seed moves a mean by far more than this.
RELATIVE, ABSOLUTE = 1e-2, 1e-4
# A vocabulary's file is compared by what it holds, with the job's assets: the folder of a job may move.
_ASSET = re.compile(r"(?:/|\w+://).*/(assets/[^/]+\.txt)")
_LONG = 32  # longer lists and texts are kept as a hash
# Where a class was found differs with how a file was named; compiled code tells the line it stands on.
_LEFT_OUT = ("module", "registered_name", "build_config", "code", "jit_compile", "is_legacy_optimizer")


def describe_model(model: tf.keras.Model) -> Description:
    """Everything that makes a compiled model this one and no other, JSON-able.

    Keys: architecture (a hash of layers and connections), layers (name, class, config, weights as [shape, dtype]),
    weights (name -> [mean, standard deviation] of its values now), optimizer, loss, metrics.
    """
    layers = {path: _describe_layer(layer) for path, layer in _layers(model)}
    return {
        "architecture": _digest([_configuration(model, ("name",)), layers]),
        "layers": layers,
        "weights": dict(_describe_weights(model)),
        "optimizer": _describe_optimizer(model.optimizer),
        "loss": _plain(model.loss),
        "metrics": evaluation_metric_names(model),
    }


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """In words, what another model has been built than `old` describes; empty where they are the same."""
    found = list(_layer_differences(old["layers"], new["layers"]))
    if not found:  # otherwise they follow from what has been said
        found += _shape_differences(old["layers"], new["layers"])
    if not found and old["architecture"] != new["architecture"]:
        found.append("the layers are connected differently")
    if not found:
        found += _weight_differences(old["weights"], new["weights"])
    found += _differences("the optimizer's", old["optimizer"], new["optimizer"])
    found += _differences("the model's", *({key: each[key] for key in ("loss", "metrics")} for each in (old, new)))
    return found


def _layers(owner: Any, path: str = "") -> Iterator[tuple[str, tf.keras.layers.Layer]]:
    """Path of names -> layer; those inside of Keras' own layers, as an LSTM's cell, are in that one's configuration."""
    for layer in owner._flatten_layers(include_self=False, recursive=False):
        yield path + layer.name, layer
        if isinstance(layer, tf.keras.Model) or not is_keras_own(type(layer)):
            yield from _layers(layer, f"{path}{layer.name}/")


def _describe_layer(layer: tf.keras.layers.Layer) -> Description:
    # A model inside the model: its layers are described each for itself.
    inner_model = isinstance(layer, tf.keras.Model)
    return {
        "class": type(layer).__name__,
        "config": {} if inner_model else _configuration(layer, ("name",)),
        "weights": [] if inner_model else [[list(map(str, each.shape)), each.dtype.name] for each in _tensors(layer)],
    }


def _describe_weights(model: tf.keras.Model) -> Iterator[tuple[str, list[float]]]:
    for number, weight in enumerate(_tensors(model)):
        if weight.dtype.is_floating or weight.dtype.is_integer:
            values = weight.numpy().astype("float64")
            name = f"{number}:{weight.name.removesuffix(':0')}"  # names may come twice
            yield name, [_rounded(each) for each in ((values.mean(), values.std()) if values.size else (0.0, 0.0))]


def _tensors(owner: Any) -> list[tf.Variable]:
    """The weights that are variables, other than a lookup layer's table."""
    return [weight for weight in owner.weights if isinstance(weight, tf.Variable)]


def _describe_optimizer(optimizer: Any) -> Description:
    return {"class": type(optimizer).__name__, **_configuration(optimizer)}


def _configuration(thing: Any, left_out: tuple[str, ...] = ()) -> Description:
    """`get_config()` made plain, with the code of functions that a configuration only names."""
    try:
        config = dict(thing.get_config())
    except NotImplementedError:  # a layer without get_config: said elsewhere, described by its weights
        config = {}
    plain = _plain({key: value for key, value in config.items() if key not in left_out})
    functions = {key: value for key, value in vars(thing).items() if isinstance(value, FunctionType)}
    code = {key: _plain(value) for key, value in functions.items() if not is_keras_own(value)}
    return {**plain, **({"functions": code} if code else {})}


def _plain(value: Any) -> Any:
    """The JSON of a value, the same in every process."""
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, str):
        value = _ASSET.sub(r"\1", value) if _ASSET.fullmatch(value) else value
        return value if len(value) <= 200 else _digest(value)
    if isinstance(value, (float, np.floating)):
        return _rounded(value)
    if isinstance(value, Mapping):
        # A Lambda's configuration holds its compiled function, with file and line; `_configuration` adds its code.
        left_out = (*_LEFT_OUT, "function") if "function_type" in value else _LEFT_OUT
        return {str(key): _plain(each) for key, each in value.items() if key not in left_out}
    if isinstance(value, (list, tuple, set, frozenset)):
        listed = [_plain(each) for each in (sorted(value, key=str) if isinstance(value, (set, frozenset)) else value)]
        return listed if len(listed) <= _LONG else f"{len(listed)} items, {_digest(listed)}"
    if isinstance(value, (np.ndarray, np.generic, tf.Tensor, tf.Variable)):
        return _plain(np.asarray(value).tolist())
    if isinstance(value, FunctionType):
        own = is_keras_own(value)
        return value.__name__ if own else f"{value.__name__}, {_digest(_function(value))}"
    if hasattr(value, "get_config") and not isinstance(value, type):
        return {"class": type(value).__name__, **_configuration(value)}
    return getattr(value, "__name__", type(value).__name__)


def _function(function: FunctionType) -> list[Any]:
    """Its code, and the plain values that defaults and the functions around it give."""
    values = [*(function.__defaults__ or ()), *_cells(function)]
    return [_code(function.__code__), [repr(each) for each in values if isinstance(each, (bool, int, float, str))]]


def _cells(function: FunctionType) -> Iterator[Any]:
    for cell in function.__closure__ or ():
        with contextlib.suppress(ValueError):  # a cell that is still empty
            yield cell.cell_contents


def _code(code: CodeType) -> list[Any]:
    """What a function does, without the file and the lines it stands on."""
    constants = [_code(each) if isinstance(each, CodeType) else repr(each) for each in code.co_consts]
    return [code.co_code.hex(), list(code.co_names), constants]


def _rounded(value: Any) -> float:
    return float(f"{float(value):.6g}")


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=True, default=str)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()[:16]


def _layer_differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    for name in [*old, *(each for each in new if each not in old)]:
        if name not in new:
            yield f"the layer {name} is gone"
        elif name not in old:
            yield f"the layer {name} is new"
        elif old[name]["class"] != new[name]["class"]:
            yield f"the layer {name} was of class {old[name]['class']} and is now of class {new[name]['class']}"
        else:
            yield from _differences(f"the layer {name}'s", old[name]["config"], new[name]["config"])


def _shape_differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    for name in old:
        if old[name]["weights"] != new[name]["weights"]:
            was, now = (
                ", ".join(f"({', '.join(shape)}) {dtype}" for shape, dtype in each[name]["weights"])
                for each in (old, new)
            )
            yield f"the layer {name}'s weights were {was or 'none'} and are now {now or 'none'}"


def _differences(whose: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    for key in [*old, *(each for each in new if each not in old)]:
        was, now = old.get(key), new.get(key)
        if isinstance(was, Mapping) and isinstance(now, Mapping):
            yield from _differences(f"{whose} {key}", was, now)
        elif not _same(was, now):
            yield f"{whose} {key} was {_said(was)} and is now {_said(now)}"


def _same(was: Any, now: Any) -> bool:
    # JSON has turned tuples into lists already; 1 and 1.0 are the same setting.
    return bool(was == now)


def _said(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 120 else text[:117] + "..."


def _weight_differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """One sentence for all, with the first that differs."""
    moved = [name for name in old if name in new and not np.allclose(old[name], new[name], RELATIVE, ABSOLUTE)]
    if not moved:
        return []
    name = moved[0]
    (old_mean, old_deviation), (mean, deviation) = old[name], new[name]
    return [
        f"the model's initial weights differ ({name.partition(':')[2]}: mean {old_mean:g} +- {old_deviation:g}, now "
        f"{mean:g} +- {deviation:g})"
    ]
