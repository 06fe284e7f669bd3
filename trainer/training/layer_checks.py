"""Checks of single layers, and of losses and metrics as objects: what is lost when they are built anew in a graph."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterator

import tensorflow as tf

from trainer.training.evaluation_metrics import user_metrics
from trainer.training.findings import Subject, is_keras_own

_LOOKUPS = (tf.keras.layers.StringLookup, tf.keras.layers.IntegerLookup)
_ASSIGNMENT = re.compile(r"\.(assign(_add|_sub)?|scatter_\w+)\(")
_PLAIN = (bool, int, float, str)


def text_vectorization(subject: Subject) -> Iterator[str]:
    """Its table belongs to the process that built the model."""
    for layer in subject.layers:
        if isinstance(layer, tf.keras.layers.TextVectorization):
            yield (
                f"{layer.name} (TextVectorization) cannot be part of the model: split the text and look it up in the "
                "module's preprocess(features)"
            )


def adapted_lookups(subject: Subject) -> Iterator[str]:
    """`adapt` fills a table that the graph does not know."""
    for layer in subject.layers:
        if isinstance(layer, _LOOKUPS) and not layer._has_input_vocabulary:
            yield (
                f"{layer.name} got its vocabulary from adapt(), which is lost: make it with "
                f"{type(layer).__name__}(vocabulary=adapted.get_vocabulary(include_special_tokens=False))"
            )


def unpadded_lookups(subject: Subject) -> Iterator[str]:
    """Without max_tokens the width depends on a table's size, which a graph learns too late."""
    for layer in subject.layers:
        if isinstance(layer, _LOOKUPS) and layer.output_mode != "int" and not layer.pad_to_max_tokens:
            yield (
                f"{layer.name} with output_mode={layer.output_mode!r} has no fixed width: give it max_tokens= and "
                "pad_to_max_tokens=True"
            )


def adapted_discretization(subject: Subject) -> Iterator[str]:
    """Its boundaries are neither weights nor part of its configuration."""
    for layer in subject.layers:
        if isinstance(layer, tf.keras.layers.Discretization) and layer.input_bin_boundaries is None:
            yield (
                f"{layer.name} got its boundaries from adapt(), which is lost: make it with "
                "Discretization(bin_boundaries=[float(b) for b in adapted.bin_boundaries])"
            )


def stateful_layers(subject: Subject) -> Iterator[str]:
    """The state moves on in training only."""
    for layer in subject.layers:
        if isinstance(layer, tf.keras.layers.RNN) and layer.stateful:
            yield (
                f"{layer.name} has stateful=True: evaluations and exports start every batch from the state in which "
                "training ended: use stateful=False"
            )


def dynamic_layers(subject: Subject) -> Iterator[str]:
    """They run eagerly or not at all."""
    for layer in subject.layers:
        if layer._dynamic:
            yield f"{layer.name} was made with dynamic=True and only runs eagerly: write it with TensorFlow's ops"


def assigning_layers(subject: Subject) -> Iterator[str]:
    """Nothing makes an assignment in `call` happen in a Keras 1 graph. Found by reading the source of the class."""
    for layer in subject.layers:
        source = "" if is_keras_own(type(layer)) or isinstance(layer, tf.keras.Model) else _source(layer.call)
        if _ASSIGNMENT.search(source) and "add_update" not in source:
            yield (
                f"{type(layer).__name__}.call (layer {layer.name}) assigns to a variable, which never happens: wrap "
                "the assignment, self.add_update(variable.assign(...))"
            )


def _source(function: object) -> str:
    try:
        return textwrap.dedent(inspect.getsource(function))  # type: ignore[arg-type]
    except (OSError, TypeError):
        return ""


def unbuildable_layers(subject: Subject) -> Iterator[str]:
    """Layers of the user's own whose configuration cannot be had or read back."""
    for layer in subject.layers:
        if is_keras_own(type(layer)):
            continue
        error = _rebuilt(layer)[1]
        if error:
            yield (
                f"{layer.name} ({type(layer).__name__}) cannot be built again from get_config(): {error}; let it "
                "return all arguments of __init__, `{**super().get_config(), 'units': self.units}`"
            )


def changed_layers(subject: Subject) -> Iterator[str]:
    """Layers of the user's own that come back from their configuration with another argument."""
    for layer in subject.layers:
        if not is_keras_own(type(layer)):
            yield from _changed(layer, f"{layer.name} ({type(layer).__name__})")


def changed_metrics(subject: Subject) -> Iterator[str]:
    """The same with metrics."""
    for metric in tf.nest.flatten([user_metrics(subject.model), user_metrics(subject.model, weighted=True)]):
        if isinstance(metric, tf.keras.metrics.Metric) and not is_keras_own(type(metric)):
            yield from _changed(metric, f"the metric {metric.name} ({type(metric).__name__})")


def _changed(original: object, name: str) -> Iterator[str]:
    """Arguments of `__init__`, kept under their own names, whose value is another after a round trip."""
    twin, _ = _rebuilt(original)
    for argument in _arguments(type(original)) if twin is not None else ():
        old, new = getattr(original, argument, None), getattr(twin, argument, None)
        if isinstance(old, _PLAIN) and isinstance(new, _PLAIN) and old != new:
            yield (
                f"{name} is built again from get_config(), which forgets {argument}: {old!r} would become {new!r}; "
                "return it there"
            )


def _rebuilt(original: object) -> tuple[object | None, str | None]:
    """A twin from the configuration, or why there is none."""
    if getattr(original, "_is_graph_network", False):
        return None, None  # its layers are looked at one by one
    try:
        return type(original).from_config(original.get_config()), None  # type: ignore[attr-defined]
    except Exception as error:  # the user's code may raise anything; what it said goes into the sentence
        reason = str(error).rpartition("Exception encountered:")[2].strip() or type(error).__name__
        return None, reason.splitlines()[0].rstrip(".")


def _arguments(kind: type) -> list[str]:
    """Names of the arguments of `__init__` along the class's ancestors that are the user's own."""
    own = [each for each in kind.__mro__ if not is_keras_own(each) and "__init__" in vars(each)]
    return [name for each in own for name in inspect.signature(each).parameters if name not in ("name", "dtype")]
