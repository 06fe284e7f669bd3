"""The three ways into the serving graph: what is taken, what is refused, and what becomes of the key."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from tests.data_files import csv_bytes, tfrecord_bytes
from trainer.job.columns import Column
from trainer.job.serving import KEY
from trainer.training.readers import open_reader
from trainer.training.signatures import KEY_FEATURE, Served, build_receiver, has_csv, has_examples, key_as_text

v1 = tf.compat.v1
COLUMNS = {
    "size in m": Column("float32"),
    "größe/x": Column("int64", (), 7),
    "name": Column("string"),
    "pair": Column("float32", (2,), -1.5),
}


class Head:
    """A serving graph's head whose model takes the columns as they are."""

    def __init__(self, served: Served) -> None:
        with tf.Graph().as_default() as graph:
            self.receiver = build_receiver(served, dict)
        self._session = v1.Session(graph=graph)

    def ask(self, way: str, **feeds: Any) -> dict[str, list[Any]]:
        """What the model gets; input names of odd columns come in the dict `columns`."""
        tensors = self.receiver.receiver_tensors
        if way != "serving_default":
            tensors = self.receiver.receiver_tensors_alternatives[way]
        feeds = {**feeds.pop("columns", {}), **feeds}
        found = self._session.run(self.receiver.features, {tensors[name]: values for name, values in feeds.items()})
        return {name: values.tolist() for name, values in found.items()}


@pytest.fixture(scope="module")
def head() -> Head:
    """Of columns of each kind, with odd names, defaults, and one that is a list."""
    return Head(Served(COLUMNS, "id"))


def example(**values: Any) -> bytes:
    made = tf.train.Example()
    for name, value in values.items():
        feature = made.features.feature[name]
        kind = {int: feature.int64_list, float: feature.float_list, bytes: feature.bytes_list}[type(value[0])]
        kind.value.extend(value)
    return bytes(made.SerializeToString())


def features(size: float, whole: int, name: bytes, pair: list[float], key: bytes) -> dict[str, list[Any]]:
    return {"size in m": [size], "größe/x": [whole], "name": [name], "pair": [pair], KEY_FEATURE: [key]}


@pytest.mark.parametrize(
    ("line", "found"),
    [
        pytest.param("0.5,2,a,3,4", features(0.5, 2, b"a", [3, 4], b""), id="no key"),
        pytest.param("k 1,0.5,2,a,3,4", features(0.5, 2, b"a", [3, 4], b"k 1"), id="a key"),
        pytest.param(",0.5,2,a,3,4", features(0.5, 2, b"a", [3, 4], b""), id="an empty key"),
        pytest.param('"k,""1""",0.5,2,a,3,4', features(0.5, 2, b"a", [3, 4], b'k,"1"'), id="a quoted key"),
        pytest.param('0.5,2,"a, ""b""",3,4', features(0.5, 2, b'a, "b"', [3, 4], b""), id="a comma in quotes"),
        pytest.param('0.5,2,"a\nb",3,4\r\n', features(0.5, 2, b"a\nb", [3, 4], b""), id="line breaks"),
        pytest.param("0.5,,,,", features(0.5, 7, b"", [-1.5, -1.5], b""), id="missing values"),
        pytest.param("k,0.5,,,3,", features(0.5, 7, b"", [3, -1.5], b"k"), id="half a list"),
        pytest.param("inf,-2,日本,1e3, 4", features(float("inf"), -2, "日本".encode(), [1e3, 4], b""), id="numbers"),
    ],
)
def test_a_line_of_csv(head: Head, line: str, found: dict[str, Any]) -> None:
    assert head.ask("csv", csv=[line]) == found
    both = head.ask("csv", csv=[line, "x,1,1,y,1,1"])
    assert {name: values[:1] for name, values in both.items()} == found
    assert both[KEY_FEATURE][1] == b"x"


@pytest.mark.parametrize(
    "line",
    [
        pytest.param("0.5,2,a,3", id="a field less"),
        pytest.param("k,0.5,2,a,3,4,5", id="a field more than with a key"),
        pytest.param("", id="nothing"),
        pytest.param(",2,a,3,4", id="no number and no default"),
        pytest.param("a,2,a,3,4", id="text for a number"),
        pytest.param("0.5,2.5,a,3,4", id="a fraction for a whole number"),
        pytest.param("0.5,0x10,a,3,4", id="hexadecimal"),
        pytest.param("0.5, ,a,3,4", id="a blank for a number"),
        pytest.param("1e99,2,a,3,4", id="too large"),
        pytest.param("0.5,9223372036854775808,a,3,4", id="too large, whole"),
        pytest.param('0.5,2,"a,3,4', id="a quote that stays open"),
        pytest.param('0.5,2,a"b",3,4', id="a quote in the middle"),
        pytest.param("0.5,2,a\nb,3,4", id="a line break outside quotes"),
        pytest.param("0.5,2,\na,3,4", id="a line break that a field begins with"),
        pytest.param("0.5,2,a,3,4\n0.5,2,a,3,4", id="two lines in one"),
        pytest.param(b"0.5,2,\xff,3,4", id="not UTF-8"),
        pytest.param(b"k,0.5,2,\xff\xff,3,4", id="not UTF-8, with a key"),
    ],
)
def test_a_bad_line_is_an_error_and_never_another_value(head: Head, line: str | bytes) -> None:
    for lines in ([line], ["0.5,2,a,3,4", line]):
        with pytest.raises(tf.errors.InvalidArgumentError):
            head.ask("csv", csv=lines)


def test_a_single_text_column_may_be_empty_and_have_a_key() -> None:
    head = Head(Served({"name": Column("string")}))
    found = head.ask("csv", csv=["", "a", "k,b", '"x,y"'])
    assert found == {"name": [b"", b"a", b"b", b"x,y"], KEY_FEATURE: [b"", b"", b"k", b""]}


def test_tf_examples_with_and_without_values_that_may_be_missing(head: Head) -> None:
    whole = example(**{"size in m": [0.5], "größe/x": [2], "name": [b"\xff"], "pair": [3.0, 4.0], "id": [b"k"]})
    bare = example(**{"size in m": [0.5], "name": [b"b"], "other": [b"x"]})
    empty = tf.train.Example.FromString(bare)
    empty.features.feature["größe/x"].int64_list.SetInParent()  # there, and a list of nothing
    empty.features.feature["pair"].SetInParent()
    found = head.ask("examples", examples=[whole, bare, empty.SerializeToString()])
    assert found["größe/x"] == [2, 7, 7]
    assert found["pair"] == [[3, 4], [-1.5, -1.5], [-1.5, -1.5]]
    assert found["name"] == [b"\xff", b"b", b"b"]
    assert found[KEY_FEATURE] == [b"k", b"", b""]


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(example(name=[b"a"]), id="no value and no default"),
        pytest.param(example(**{"size in m": [1], "name": [b"a"]}), id="another kind"),
        pytest.param(example(**{"size in m": [0.5], "name": [b"a"], "pair": [1.0]}), id="another length"),
        pytest.param(b"garbage", id="no tf.Example"),
    ],
)
def test_a_bad_example_is_an_error(head: Head, bad: bytes) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError):
        head.ask("examples", examples=[bad])


ROW = {"size in m": [0.5, 1.0], "größe/x": [1, 2], "name": ["a", "b"], "pair": [[1, 2], [3, 4]]}


@pytest.mark.parametrize(
    ("feeds", "keys"),
    [({}, [b"", b""]), ({KEY: []}, [b"", b""]), ({KEY: ["x", ""]}, [b"x", b""])],
    ids=["not fed", "empty", "given"],
)
def test_keys_beside_the_columns(head: Head, feeds: Mapping[str, Any], keys: list[bytes]) -> None:
    found = head.ask("serving_default", columns=ROW, **feeds)
    assert found == {**ROW, "name": [b"a", b"b"], KEY_FEATURE: keys}


@pytest.mark.parametrize(
    ("feeds", "keys"),
    [
        ({}, [b"in", b""]),
        ({KEY: []}, [b"in", b""]),
        ({KEY: ["", ""]}, [b"in", b""]),  # as TensorFlow Serving's REST API wants them
        ({KEY: ["", "out"]}, [b"in", b"out"]),
        ({KEY: ["a", "b"]}, [b"a", b"b"]),
    ],
    ids=["not fed", "empty", "all empty", "one", "all"],
)
def test_keys_beside_lines_and_examples(head: Head, feeds: Mapping[str, Any], keys: list[bytes]) -> None:
    values = {"size in m": [0.5], "name": [b"a"]}
    assert head.ask("csv", csv=["in,1,1,a,1,1", "1,1,a,1,1"], **feeds)[KEY_FEATURE] == keys
    examples = [example(id=[b"in"], **values), example(**values)]
    assert head.ask("examples", examples=examples, **feeds)[KEY_FEATURE] == keys


@pytest.mark.parametrize(
    ("way", "feeds"),
    [
        ("serving_default", {"columns": {**ROW, "name": ["a"]}}),
        ("serving_default", {"columns": ROW, KEY: ["k"]}),
        ("serving_default", {"columns": ROW, KEY: ["k"] * 3}),
        ("csv", {"csv": ["1,1,a,1,1"] * 2, KEY: ["k"]}),
        ("csv", {"csv": ["1,1,a,1,1"], KEY: ["k"] * 2}),
    ],
)
def test_other_numbers_of_rows_are_an_error_and_do_not_broadcast(head: Head, way: str, feeds: dict[str, Any]) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError):
        head.ask(way, **feeds)


def test_no_rows_are_no_rows(head: Head) -> None:
    none = {"size in m": [], "größe/x": [], "name": [], "pair": [], KEY_FEATURE: []}
    assert head.ask("csv", csv=[]) == head.ask("examples", examples=[]) == none


def test_what_training_reads_of_tfrecords_is_what_examples_takes(tmp_path: Path) -> None:
    """Whole numbers where the model takes fractions, and for keys; a default that is no whole number."""
    rows = [{"size": number, "id": 10 + number, "name": "a"} for number in range(3)]
    (tmp_path / "data.tfrecord").write_bytes(tfrecord_bytes(rows))
    reader = open_reader([str(tmp_path / "data.tfrecord")])
    served = Served.of({"size": Column("float32", (), 0.5), "name": Column("string")}, "id", None, (), reader)
    assert served.stored == {"size": "int64", KEY: "int64"}
    [*records] = tf.data.TFRecordDataset(reader.files[0]).as_numpy_iterator()
    head = Head(served)
    found = head.ask("examples", examples=[*records, example(name=[b"b"])])
    assert found == {
        "size": [0.0, 1.0, 2.0, 0.5],
        "name": [b"a", b"a", b"a", b"b"],
        KEY_FEATURE: [b"10", b"11", b"12", b""],
    }


def test_a_key_of_csv_is_text_as_it_stands(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_bytes(csv_bytes([{"id": "007", "x": "1"}, {"id": "008", "x": "2"}]))
    reader = open_reader([str(tmp_path / "data.csv")])
    assert reader.column("id").kind == "int64"
    assert reader.first_values({"id": key_as_text(reader, "id")}, 2) == [{"id": "007"}, {"id": "008"}]


@pytest.mark.parametrize(
    ("shape", "examples", "csv"),
    [((), True, True), ((3,), True, True), ((2, 2), True, False), ((None,), False, False), ((9999,), True, False)],
)
def test_which_ways_there_are(shape: Any, examples: bool, csv: bool) -> None:
    columns = {"x": Column("float32", shape)}
    assert (has_examples(columns), has_csv(columns)) == (examples, csv)
    head = Head(Served(columns))
    ways = head.receiver.receiver_tensors_alternatives or {}
    assert ("examples" in ways, "csv" in ways) == (examples, csv)
    assert set(head.receiver.receiver_tensors) == {"x", KEY}


def test_columns_of_other_dtypes_are_fed_and_parsed_as_such() -> None:
    columns = {"image": Column("int64", (2,)), "on": Column("int64"), "wide": Column("float32")}
    dtypes = {"image": tf.uint8, "on": tf.bool, "wide": tf.float64}
    head = Head(Served(columns, dtypes=dtypes))
    assert {name: head.receiver.receiver_tensors[name].dtype for name in columns} == dtypes
    found = head.ask("csv", csv=["255,0,1,0.5"])
    assert found == {"image": [[255, 0]], "on": [True], "wide": [0.5], KEY_FEATURE: [b""]}
