"""What a check of the conversion looks at and says; the checks are in *_checks.py, the table in conversion.py."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Literal

import tensorflow as tf

# detour: nothing is lost, the code does something about it; impossible: a refusal that no flag lifts.
Answer = Literal["detour", "refusal", "warning", "impossible"]


@dataclasses.dataclass(frozen=True)
class Subject:
    """What is about to be converted: the model, the strategy's name, and what building the model logged."""

    model: tf.keras.Model
    strategy: str = "none"
    build_notes: tuple[str, ...] = ()

    @property
    def outputs(self) -> list[str]:
        """Names of the outputs; a subclassed model may have none."""
        return list(self.model.output_names or [])

    @property
    def layers(self) -> list[tf.keras.layers.Layer]:
        """All layers, those inside of layers and models too."""
        return list(self.model._flatten_layers(include_self=False))

    @property
    def graphs(self) -> list[tf.keras.Model]:
        """The model and the functional models in it."""
        return [each for each in (self.model, *self.layers) if getattr(each, "_is_graph_network", False)]


Check = Callable[[Subject], Iterator[str]]


@dataclasses.dataclass(frozen=True)
class Row:
    """One fact about the conversion, and the answer to it.

    `check` yields a clause for each thing it finds: what would happen and what to do. `where` says which part takes
    care of it otherwise.
    """

    id: str
    fact: str
    answer: Answer
    check: Check | None = None
    where: str = ""


@dataclasses.dataclass(frozen=True)
class Finding:
    """A row that speaks about the model at hand."""

    row: str
    kind: Answer
    sentence: str


def is_keras_own(thing: object) -> bool:
    """Whether a class, function or the class of an object comes with TensorFlow or Keras."""
    module = getattr(thing, "__module__", None) or type(thing).__module__
    return str(module).partition(".")[0] in ("keras", "tensorflow", "builtins")
