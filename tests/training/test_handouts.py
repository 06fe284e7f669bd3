"""Rows as JSON, tf.Examples and lines of CSV; bytes that are no text; what a README says and leaves out."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from trainer.job.columns import Column
from trainer.job.serving import KEY, Output, ServingSpec
from trainer.training.handouts import (
    csv_line,
    encode_example,
    from_json,
    is_text,
    keys_of,
    put_handouts,
    rows_of,
    to_json,
)

NASTY = ["a", "", "a,b", 'say "x"', "two\nlines", "cr\rlf\r\n", " blank ", "日本", "semi;colon", "it's"]
SPEC = ServingSpec({"text": Column("string"), "pair": Column("float32", (2,)), "on": Column("int64")}, ())
SIGNATURES = {
    "serving_default": ("text", "pair", "on", KEY),
    "examples": ("examples", KEY),
    "csv": ("csv", KEY),
}


@pytest.mark.parametrize("text", NASTY)
@pytest.mark.parametrize("key", [None, "k", *NASTY])
def test_a_line_is_what_csv_reads_and_one_record(text: str, key: str | None) -> None:
    line = csv_line({"text": text, "pair": [0.1, 1e-7], "on": True}, SPEC, key)
    fields = [text, "0.1", "1e-07", "1"]
    assert list(csv.reader([line], strict=True)) == [fields if key is None else [key, *fields]] or "\n" in line
    assert tf.io.decode_csv([line], [[""]] * (4 if key is None else 5))[-4].numpy() == [text.encode()]


def test_an_example_has_what_is_stored() -> None:
    row = {"text": {"b64": "/w=="}, "pair": [1, 2.5], "on": True, "more": 1}
    made = tf.train.Example.FromString(encode_example(row, SPEC, "ü"))
    found = {name: feature.WhichOneof("kind") for name, feature in made.features.feature.items()}
    assert found == {"text": "bytes_list", "pair": "float_list", "on": "int64_list", "key": "bytes_list"}
    assert list(made.features.feature["text"].bytes_list.value) == [b"\xff"]
    assert list(made.features.feature["pair"].float_list.value) == [1.0, 2.5]
    assert list(made.features.feature["key"].bytes_list.value) == ["ü".encode()]
    numbered = ServingSpec({"x": Column("float32")}, (), "id", stored={"x": "int64", KEY: "int64"})
    made = tf.train.Example.FromString(encode_example({"x": 3.0}, numbered, "9007199254740993"))
    assert list(made.features.feature["x"].int64_list.value) == [3]
    assert list(made.features.feature["id"].int64_list.value) == [9007199254740993]
    assert set(tf.train.Example.FromString(encode_example({"x": 3.0}, numbered)).features.feature) == {"x"}


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (b"a", "a"),
        ("日本".encode(), "日本"),
        (b"\xff", {"b64": "/w=="}),
        ([[b"a"], [b"\xff"]], [["a"], [{"b64": "/w=="}]]),
        ([1, 0.5, True], [1, 0.5, True]),
    ],
)
def test_bytes_that_are_no_text_travel_as_tensorflow_serving_has_them(value: Any, written: Any) -> None:
    assert to_json(value) == written
    back = from_json(written)
    assert back == (value.decode() if isinstance(value, bytes) and isinstance(written, str) else back)
    assert is_text({"x": written}) == ("b64" not in json.dumps(written))


def test_rows_are_columns_turned() -> None:
    assert rows_of({"a": [1, 2], KEY: ["x", "y"], "b": [[3], [4]]}) == [{"a": 1, "b": [3]}, {"a": 2, "b": [4]}]


def test_keys_of_rows_without_any_are_what_examples_can_hold() -> None:
    assert keys_of({"x": [1, 2]}, 2) == ["row 1", "row 2"]
    assert keys_of({"x": [1, 2]}, 2, ServingSpec({}, (), "id", stored={KEY: "int64"})) == ["1", "2"]
    assert keys_of({"x": [1, 2], KEY: ["a", "b"]}, 1) == ["a"]


def put(folder: Path, spec: ServingSpec, request: Any, signatures: Any = SIGNATURES) -> dict[str, str]:
    put_handouts(str(folder), spec, request, signatures)
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_what_lies_beside_an_export(tmp_path: Path) -> None:
    request = {"text": ["a", {"b64": "/w=="}], "pair": [[0.5, float("nan")]] * 2, "on": [1, 0]}
    found = put(tmp_path, SPEC, request)
    assert set(found) == {"request.json", "request.csv", "README.md", "assets.extra/serving.json"}
    assert ServingSpec.from_json(json.loads(found["assets.extra/serving.json"])) == SPEC
    body = json.loads(found["request.json"])
    assert [row[KEY] for row in body["instances"]] == ["row 1", "row 2"]
    assert body["instances"][1]["text"] == {"b64": "/w=="}
    assert found["request.csv"] == "row 1,a,0.5,nan,1\n", "no line can hold bytes that are no text"
    assert "saved_model_cli run --dir . --tag_set serve --signature_def csv" in found["README.md"]
    assert "--signature_def serving_default --input_exprs" not in found["README.md"], "nan is no literal"


def test_the_readme_of_an_unknown_receiver_has_no_requests(tmp_path: Path) -> None:
    spec = ServingSpec({"examples": Column("string")}, (Output("y", None, "regression"),))
    found = put(tmp_path, spec, None, {"serving_default": ("examples",), "other": ("x",)})
    assert set(found) == {"README.md", "assets.extra/serving.json"}
    for word in ("request.json", "request.csv", "`key`", "curl"):
        assert word not in found["README.md"], word
    assert "- `other`" in found["README.md"]


@pytest.mark.parametrize("odd", ["a;b", "a=b", "it's", "a|b", "`"])
def test_commands_that_the_tools_cannot_take_are_left_out(tmp_path: Path, odd: str) -> None:
    spec = ServingSpec({odd: Column("string")}, ())
    readme = put(tmp_path, spec, {odd: ["x;y"], KEY: ["k"]})["README.md"]
    assert "saved_model_cli run" not in readme, "it splits at semicolons"
    readme = put(tmp_path, spec, {odd: ["x"], KEY: ["k"]})["README.md"]
    assert ("--signature_def serving_default" in readme) == (not set(odd) & set(";="))
    assert "--signature_def csv" in readme


def test_a_long_example_is_not_shown(tmp_path: Path) -> None:
    spec = ServingSpec({"x": Column("float32", (5000,))}, ())
    readme = put(
        tmp_path, spec, {"x": [[0.5] * 5000]}, {name: SIGNATURES[name] for name in ("serving_default", "examples")}
    )
    assert '"signature_name": "examples"' not in readme["README.md"]
    assert len(readme["README.md"]) < 100_000
