"""Rows in the three forms that an export takes, and the files beside it that are ready to send.

request.json   rows for the :predict of TensorFlow Serving
request.csv    the same rows as lines, for the signature csv
README.md      how to call it
"""

from __future__ import annotations

import base64
import csv
import io
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from trainer.job.serving import KEY, SPEC_FILE, ServingSpec
from trainer.training.readme import Request, Signatures, has_key, write_readme
from trainer.training.records import put_text

REQUEST_JSON, REQUEST_CSV, README = "request.json", "request.csv", "README.md"
HANDOUTS = (REQUEST_JSON, REQUEST_CSV, README)
REQUEST_ROWS = 3
B64 = "b64"  # as TensorFlow Serving has it for bytes that are no text

Columns = Mapping[str, Sequence[Any]]


def put_handouts(export: str, spec: ServingSpec, request: Columns | None, signatures: Signatures) -> None:
    """Write the spec and what a person needs to call an export.

    Args:
      request: column -> its value in each row, JSON-able; None where it is not known what the signatures take.
      signatures: those of the export, with their inputs.
    """
    os.makedirs(f"{export}/assets.extra", exist_ok=True)
    put_text(f"{export}/assets.extra/{SPEC_FILE}", json.dumps(spec.to_json(), indent=2, ensure_ascii=False) + "\n")
    rows = [] if request is None else rows_of({name: values[:REQUEST_ROWS] for name, values in request.items()})
    instances = [{**row, KEY: key} for row, key in zip(rows, keys_of(request, len(rows), spec), strict=True)]
    if not has_key(spec, signatures):
        instances = rows
    lines = [csv_line(row, spec, row[KEY]) for row in instances if is_text(row)] if "csv" in signatures else []
    examples = [encode_example(row, spec) for row in rows] if "examples" in signatures else []
    if rows:
        put_text(f"{export}/{REQUEST_JSON}", _dumped(instances))
    if lines:
        put_text(f"{export}/{REQUEST_CSV}", "".join(line + "\n" for line in lines))
    put_text(f"{export}/{README}", write_readme(spec, Request(instances, lines, examples), signatures))


def keys_of(request: Columns | None, rows: int, spec: ServingSpec | None = None) -> list[str]:
    """The keys of the rows, or simple ones where the data have none: numbers where tf.Examples have such keys."""
    word = "" if spec and KEY in spec.stored else "row "
    return list((request or {}).get(KEY, [f"{word}{number}" for number in range(1, rows + 1)])[:rows])


def rows_of(request: Columns) -> list[dict[str, Any]]:
    """One dict for each row, column -> value, without the key."""
    columns = {name: values for name, values in request.items() if name != KEY}
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def encode_example(row: Mapping[str, Any], spec: ServingSpec, key: str | None = None) -> bytes:
    """A row as a serialized tf.Example, with a key if there is one."""
    example = tf.train.Example()
    for name, column in spec.features.items():
        _put(example.features.feature[name], spec.stored.get(name, column.kind), flat(from_json(row[name])))
    if key is not None:
        _put(example.features.feature[spec.key_feature], spec.stored.get(KEY, "string"), [key])
    return bytes(example.SerializeToString(deterministic=True))


def csv_line(row: Mapping[str, Any], spec: ServingSpec, key: str | None = None) -> str:
    """A row as a line of CSV without its end, with a key in front if there is one."""
    values = [int(each) if isinstance(each, bool) else each for name in spec.features for each in flat(row[name])]
    written = io.StringIO()
    csv.writer(written, lineterminator="\r\n").writerow(values if key is None else [key, *values])
    return written.getvalue().removesuffix("\r\n")


def is_text(row: Mapping[str, Any]) -> bool:
    """Whether a line of CSV can hold a row: without bytes that are no text."""
    return not any(isinstance(each, dict) for value in row.values() for each in flat(value))


def flat(value: Any) -> list[Any]:
    """All single values of nested lists."""
    return [each for part in value for each in flat(part)] if isinstance(value, list) else [value]


def to_json(value: Any) -> Any:
    """Bytes in nested lists as text, or as `{"b64": ...}` where they are none."""
    if isinstance(value, list):
        return [to_json(each) for each in value]
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {B64: base64.b64encode(value).decode()}


def from_json(value: Any) -> Any:
    """The inverse of `to_json`, for what TensorFlow takes: text stays text."""
    if isinstance(value, list):
        return [from_json(each) for each in value]
    return base64.b64decode(value[B64]) if isinstance(value, dict) else value


def _put(feature: tf.train.Feature, kind: str, values: list[Any]) -> None:
    if kind == "string":
        feature.bytes_list.value.extend(each.encode() if isinstance(each, str) else each for each in values)
    elif kind == "int64":
        feature.int64_list.value.extend(map(int, values))
    else:
        feature.float_list.value.extend(values)


def _dumped(instances: Sequence[Mapping[str, Any]]) -> str:
    """One row a line: lists of numbers would otherwise take a line for each."""
    rows = ",\n".join("    " + json.dumps(row, ensure_ascii=False) for row in instances)
    return f'{{\n  "signature_name": "serving_default",\n  "instances": [\n{rows}\n  ]\n}}\n'
