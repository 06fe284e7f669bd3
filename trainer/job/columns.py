"""What the columns of a data set hold, and how its files are written: values for readers, exports and doors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

KINDS = ("int64", "float32", "string")
TAB = ("tab", "\\t", "\t")
SUFFIXES = {
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".tfrecord": "tfrecord",
    ".tfrecords": "tfrecord",
}
GZIP = ".gz"


@dataclass(frozen=True)
class Column:
    """One named value of each example.

    Attributes:
      kind: int64, float32 or string.
      shape: of one example's value; () is a single one. CSV has single ones only.
      default: what stands for a missing value; without one, a missing value makes a bad row. Empty text in a CSV file
        is a value of a string column, not a missing one.
    """

    kind: str
    shape: tuple[int, ...] = ()
    default: int | float | str | None = None

    def to_json(self) -> dict[str, Any]:
        """The inverse of `from_json`."""
        return {"kind": self.kind, "shape": list(self.shape), "default": self.default}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Column:
        """The inverse of `to_json`."""
        return cls(value["kind"], tuple(value["shape"]), value["default"])


@dataclass(frozen=True)
class Layout:
    """How files are written: `format` and `delimiter` may be `auto`; `columns` are names for CSV without a header."""

    format: str = "auto"
    columns: tuple[str, ...] = ()
    delimiter: str = "auto"

    def format_of(self, path: str) -> str | None:
        """`csv`, `jsonl` or `tfrecord`; None where neither the flag nor the file's name says it."""
        if self.format != "auto":
            return self.format
        return SUFFIXES.get(_suffix(path))

    def separator_of(self, path: str) -> str:
        """The one character between two fields of a CSV file."""
        if self.delimiter == "auto":
            return "\t" if _suffix(path) == ".tsv" else ","
        return "\t" if self.delimiter in TAB else self.delimiter


def _suffix(path: str) -> str:
    name = path.lower().removesuffix(GZIP).rpartition("/")[2]
    return "." + name.rpartition(".")[2] if "." in name else ""
