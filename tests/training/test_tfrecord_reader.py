"""TFRecord files of tf.Examples: features, values bit for bit, and sentences for what is damaged."""

from __future__ import annotations

import gzip
import re
import struct
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.reader_cases import assert_agreement, examples, feature, opened, tfrecord, values
from tests.training.record_strategies import column_sets, example_records
from trainer.job.columns import KINDS, Column
from trainer.job.errors import DataError, UsageError
from trainer.training import reader
from trainer.training.reader import READ_ERRORS, Reader

INT = {"a": Column("int64")}


def read(folder: Path, *records: bytes, compression: str = "") -> Reader:
    """A reader of a file with these records."""
    return opened(folder, tfrecord(*records, compression=compression), names=["a b.tfrecord"])


@pytest.mark.parametrize("compression", ["", "GZIP"])
def test_features_are_columns(tmp_path: Path, compression: str) -> None:
    rows: list[dict[str, Any]] = [
        {"i": 2**63 - 1, "f": 0.1, "s": "ü", "v": [1, 2], "w": [0.5, -0.5, 2.0], "raw": b"\xff\0"},
        {"i": -1, "f": 1e-45, "s": "", "v": [3, 4], "w": [float("nan"), float("inf"), 0.0], "raw": b""},
    ]
    found = read(tmp_path, *examples(*rows), compression=compression)
    columns = {name: found.column(name) for name in found.columns}
    assert (found.columns, found.rows) == (("f", "i", "raw", "s", "v", "w"), 2)
    assert columns == {
        "f": Column("float32"), "i": Column("int64"), "raw": Column("string"), "s": Column("string"),
        "v": Column("int64", (2,)), "w": Column("float32", (3,)),
    }  # fmt: skip
    parsed = values(found, columns)
    assert parsed["i"] == [2**63 - 1, -1]
    assert np.array(parsed["f"], np.float32).tobytes() == np.array([0.1, 1e-45], np.float32).tobytes()
    assert (parsed["s"], parsed["raw"], parsed["v"]) == (["ü".encode(), b""], [b"\xff\0", b""], [[1, 2], [3, 4]])
    np.testing.assert_array_equal(parsed["w"], [[0.5, -0.5, 2.0], [np.nan, np.inf, 0.0]])
    first = found.first_values(columns, 1)[0]
    assert (first["raw"], first["s"], first["v"]) == (b"\xff\0", "ü", [1, 2])


@pytest.fixture(scope="module")
def stored_as(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Reader]:
    """For each kind a reader of files whose features are all of that kind."""
    one = {"int64": 1, "float32": 1.5, "string": "x"}
    folder = tmp_path_factory.mktemp("stored")
    return {
        kind: opened(folder, tfrecord(*examples(dict.fromkeys("abcd", one[kind]))), names=[f"{kind}.tfrecord"])
        for kind in KINDS
    }


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_python_and_tensorflow_read_the_same(stored_as: dict[str, Reader], data: st.DataObject) -> None:
    columns = data.draw(column_sets(((), (), (2,), (2, 2), (1,))))
    records = data.draw(st.lists(example_records(), min_size=1, max_size=8))
    assert_agreement(stored_as[data.draw(st.sampled_from(KINDS))], records, columns)


def test_whole_numbers_may_feed_what_takes_fractions(tmp_path: Path) -> None:
    """A default stays a fraction: what stands for a missing value may be NaN."""
    found = read(tmp_path, *examples({"a": 2**24 + 1, "b": [1, 2]}, {"a": [], "b": []}, {}))
    columns = {"a": Column("float32", (), 0.5), "b": Column("float32", (2,), float("nan"))}
    parsed = values(found, columns)
    assert parsed["a"] == [2.0**24, 0.5, 0.5]
    np.testing.assert_array_equal(parsed["b"], [[1, 2], [np.nan] * 2, [np.nan] * 2])
    assert values(read(tmp_path, *examples({"a": 3})), {"a": Column("float32")}) == {"a": [3.0]}


def test_declared_defaults_stand_for_missing_and_for_empty_features(tmp_path: Path) -> None:
    unset, empty = tf.train.Feature(), feature([], "int64")
    records = [
        tf.train.Example(features=tf.train.Features(feature={"a": each})).SerializeToString()
        for each in (feature(1, "int64"), unset, empty)
    ]
    found = read(tmp_path, *records, *examples({}), b"")
    assert values(found, {"a": Column("int64", (), -1)}) == {"a": [1, -1, -1, -1, -1]}
    assert values(found, {"z": Column("string", (2,), "none")}) == {"z": [[b"none"] * 2] * 5}
    assert found.column("a") == Column("int64")


BROKEN = [
    pytest.param(examples({"a": 1.5})[0], "column a: found fractions where a whole number is needed", id="fractions"),
    pytest.param(examples({"a": "5"})[0], "column a: found bytes where a whole number is needed", id="text"),
    pytest.param(examples({"a": [1, 2]})[0], "column a: found 2 values where 1 is needed", id="two values"),
    pytest.param(examples({"a": []})[0], "column a: found nothing where 1 is needed", id="no kind"),
    pytest.param(examples({"b": 1})[0], "column a: found nothing where 1 is needed", id="a missing feature"),
    pytest.param(b"", "column a: found nothing where 1 is needed", id="an empty record"),
    pytest.param(b"{}", "this is no tf.Example: write serialized tf.train.Example messages", id="JSON"),
    pytest.param(b"\xff\xd8\xff\xe0", "this is no tf.Example", id="an image"),
    pytest.param(b"some text", "this is no tf.Example", id="text without a message"),
    pytest.param(b"\x0a\x03\xff\xfe\xfd", "this is no tf.Example", id="another message"),
]


@pytest.mark.parametrize(("record", "words"), BROKEN)
def test_a_broken_record_is_named_by_file_and_number(tmp_path: Path, record: bytes, words: str) -> None:
    found = read(tmp_path, *examples({"a": 1}, {"a": 2}), record, *examples({"a": 3}))
    assert found.rows == 4
    for check in (found.check_sample, found.find_bad_row):
        with pytest.raises(
            DataError, match=re.escape(f"a b.tfrecord, record 3{', ' if ' a:' in words else ': '}{words}")
        ):
            check(INT)
    with pytest.raises(READ_ERRORS):
        values(found, INT)


def test_what_is_no_example_is_none_of_defaults_either(tmp_path: Path) -> None:
    """TensorFlow's parser would take most bytes for an example without features."""
    columns = {"a": Column("int64", (), -1)}
    found = read(tmp_path, *examples({"a": 1}), b"{}")
    with pytest.raises(tf.errors.DataLossError):
        values(found, columns)
    with pytest.raises(DataError, match=r"record 2: this is no tf\.Example"):
        found.find_bad_row(columns)


def frames(content: bytes) -> list[int]:
    """Where records begin, and where the file ends."""
    at = [0]
    while at[-1] < len(content):
        at.append(at[-1] + 16 + struct.unpack_from("<Q", content, at[-1])[0])
    return at


def changed(content: bytes, place: int) -> bytes:
    """The same with a byte flipped."""
    return content[:place] + bytes([content[place] ^ 0x40]) + content[place + 1 :]


def test_every_byte_that_is_changed_is_noticed(tmp_path: Path) -> None:
    whole = tfrecord(*examples({"a": 1}, {"a": 2}))
    for place in range(len(whole)):
        record = 1 + (place >= frames(whole)[1])
        with pytest.raises(DataError, match=rf"is no TFRecord file|record {record}: its checksum is wrong"):
            opened(tmp_path, changed(whole, place), names=["x.tfrecord"]).find_bad_row(INT)


def test_every_cut_is_noticed(tmp_path: Path) -> None:
    whole = tfrecord(*examples({"a": 1}, {"a": 2}))
    edges = frames(whole)
    for size in set(range(1, len(whole))) - set(edges):
        with pytest.raises(DataError, match=r"is no TFRecord file|is cut off: record [12] is not whole"):
            assert opened(tmp_path, whole[:size], names=["x.tfrecord"]).rows


def test_damage_behind_the_first_records_is_found_when_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "SAMPLE_ROWS", 2)
    whole = tfrecord(*examples(*({"a": number} for number in range(3))))
    broken = changed(whole, frames(whole)[1] + 14)
    found = opened(tmp_path, whole, broken, names=["a.tfrecord", "b.tfrecord"])
    assert found.rows == 6
    with pytest.raises(tf.errors.DataLossError):
        values(found, INT)
    with pytest.raises(DataError, match=r"b\.tfrecord, record 2: its checksum is wrong, the file is damaged"):
        found.find_bad_row(INT)


HUGE = struct.pack("<Q", 2**62)
CRC = google_crc32c.value(HUGE)
HUGE += struct.pack("<I", ((CRC >> 15 | CRC << 17) + 0xA282EAD8) & 0xFFFFFFFF)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(b"", "x.tfrecord is empty: write it again, or leave it out", id="empty"),
        pytest.param(b"a,b\n1,2\n3,4\n5,6\n", "x.tfrecord is no TFRecord file: say what it is with --format", id="CSV"),
        pytest.param(b"a\n", "x.tfrecord is no TFRecord file", id="short text"),
        pytest.param(b'{"a": 1}\n' * 9, "x.tfrecord is no TFRecord file", id="JSON lines"),
        pytest.param(b"\0" * 99, "x.tfrecord is no TFRecord file", id="zeros"),
        pytest.param(gzip.compress(b"a,b\n1,2\n3,4\n5,6\n"), "x.tfrecord is no TFRecord file", id="packed CSV"),
        pytest.param(tfrecord(b"a,b", b"1,2"), "x.tfrecord, record 1: this is no tf.Example", id="lines as records"),
        pytest.param(HUGE, "x.tfrecord is cut off: record 1 is not whole", id="a length beyond all memory"),
    ],
)
def test_files_that_are_no_records_of_examples(tmp_path: Path, content: bytes, words: str) -> None:
    with pytest.raises(DataError, match=re.escape(words)):
        opened(tmp_path, content, names=["x.tfrecord"])


def test_an_empty_shard(tmp_path: Path) -> None:
    whole = tfrecord(*examples({"a": 1}))
    with pytest.raises(DataError, match=r"b\.tfrecord is empty"):
        opened(tmp_path, whole, b"", names=["a.tfrecord", "b.tfrecord"])
    packed = opened(tmp_path, whole, tfrecord(*examples({"a": 2})), names=["a.tfrecord", "b.tfrecord"])
    assert (packed.rows, values(packed, INT)) == (2, {"a": [1, 2]})


@pytest.mark.parametrize(("layout", "flag"), [({"columns": ("a",)}, "--columns"), ({"delimiter": ";"}, "--delimiter")])
def test_flags_that_only_csv_has(tmp_path: Path, layout: dict[str, Any], flag: str) -> None:
    with pytest.raises(UsageError, match=f"{flag} is for CSV files, but .* holds TFRecords: leave it out"):
        opened(tmp_path, tfrecord(*examples({"a": 1})), names=["a.tfrecord"], **layout)


@pytest.mark.parametrize(
    ("rows", "column"),
    [
        pytest.param([1, 2], Column("int64"), id="whole numbers"),
        pytest.param([[], 1.5], Column("float32"), id="missing values do not count"),
        pytest.param([[]], Column("string"), id="nothing else than missing values"),
        pytest.param([[1, 2], [3, 4], [5]], Column("int64", (2,)), id="the most frequent length"),
        pytest.param([1.5, "x", 2.5], Column("float32"), id="the most frequent kind"),
    ],
)
def test_a_column_is_what_most_of_its_first_values_are(tmp_path: Path, rows: list[Any], column: Column) -> None:
    assert read(tmp_path, *examples(*({"a": each} for each in rows))).column("a") == column


def test_bad_records_among_the_first_do_not_hide_what_a_feature_holds(tmp_path: Path) -> None:
    found = read(tmp_path, b"{}", *examples({"a": 1}))
    assert (found.columns, found.column("a")) == (("a",), Column("int64"))
    with pytest.raises(DataError, match=r"record 1: this is no tf\.Example"):
        found.check_sample(INT)


def test_a_default_keeps_its_nul(tmp_path: Path) -> None:
    column = {"a": Column("string", (2,), "\0")}
    assert read(tmp_path, *examples({"a": []})).first_values(column, 1) == [{"a": ["\0", "\0"]}]


def test_find_other_value_names_the_first_unknown_one(tmp_path: Path) -> None:
    found = read(tmp_path, *examples({"a": "x"}, {"a": "ü"}, {}))
    with pytest.raises(DataError, match=r"record 2, column a: found 'ü', a label that the training files"):
        found.find_other_value("a", {"x"})
    with pytest.raises(DataError, match=r"record 3, column a: found nothing where a label is needed"):
        found.find_other_value("a", {"x", "ü"})
