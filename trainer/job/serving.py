"""What an export takes and gives, in its `assets.extra/serving.json`: enough to feed it without its job."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from trainer.job.columns import Column

SPEC_FILE = "serving.json"  # in the export's assets.extra
FORMAT = 1
KEY = "key"  # the input and output of every signature that carries an example's name through
SIGNATURES = ("serving_default", "examples", "csv")  # the input of the other two is called like the signature


@dataclass(frozen=True)
class Output:
    """One output of the model.

    Attributes:
      name: in the model and in every signature.
      column: the label's column in the files; None for a model whose data has no columns.
      task: `classification` or `regression`.
      classes: names of the classes in the order of the scores; () for a regression.
      sparse: whether the loss takes class numbers.
      class_output, classes_output, scores_output: names of the signature's outputs that hold the most likely class
        (string, [batch]), the names of all classes (string, [batch, classes]) and their probabilities (float32,
        [batch, classes]); None for a regression.
    """

    name: str
    column: str | None
    task: str
    classes: tuple[str, ...] = ()
    sparse: bool = False
    class_output: str | None = None
    classes_output: str | None = None
    scores_output: str | None = None


def key_feature(key_column: str | None, features: Mapping[str, Column]) -> str:
    """What tf.Examples call their key: as the files do, unless that is a feature too."""
    return KEY if key_column is None or key_column in features else key_column


@dataclass(frozen=True)
class ServingSpec:
    """The named columns that requests have, in the order of a CSV line, and the outputs.

    `stored` has, for tf.Examples, the kinds of those columns, and of the key (as `key`), that are others there.
    """

    features: Mapping[str, Column]
    outputs: tuple[Output, ...]
    key_column: str | None = None
    weight_column: str | None = None
    stored: Mapping[str, str] = field(default_factory=dict)

    @property
    def key_feature(self) -> str:
        """What tf.Examples call their key."""
        return key_feature(self.key_column, self.features)

    def to_json(self) -> dict[str, Any]:
        """The inverse of `from_json`."""
        return {
            "format": FORMAT,
            "features": {name: column.to_json() for name, column in self.features.items()},
            "outputs": [dataclasses.asdict(output) for output in self.outputs],
            "key_column": self.key_column,
            "weight_column": self.weight_column,
            "stored": dict(self.stored),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ServingSpec:
        """The inverse of `to_json`. Raises ValueError for a format of another version."""
        if value.get("format") != FORMAT:
            raise ValueError(f"format {value.get('format')!r} where {FORMAT} is expected")
        outputs = (Output(**{**output, "classes": tuple(output["classes"])}) for output in value["outputs"])
        features = {name: Column.from_json(column) for name, column in value["features"].items()}
        return cls(features, tuple(outputs), value["key_column"], value["weight_column"], value["stored"])
