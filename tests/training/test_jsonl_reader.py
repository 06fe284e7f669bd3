"""JSON lines as users have them: what a key holds, values bit for bit, and sentences for what is broken."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.reader_cases import assert_agreement, opened, refuses, values
from tests.training.record_strategies import column_sets, floats, json_lines
from trainer.job.columns import Column, Layout
from trainer.job.errors import DataError, UsageError
from trainer.training.jsonl_reader import JsonlReader
from trainer.training.reader import Reader

LINES = JsonlReader(("x.jsonl",), ("a", "b"), Layout("jsonl"))
INT, FLOAT, TEXT = ({"a": Column(kind)} for kind in ("int64", "float32", "string"))


def read(folder: Path, *lines: str | bytes) -> Reader:
    """A reader of a file with these lines."""
    raw = [line.encode() if isinstance(line, str) else line for line in lines]
    return opened(folder, b"".join(line + b"\n" for line in raw), names=["a b.jsonl"])


def test_keys_in_any_order_and_only_in_some_rows(tmp_path: Path) -> None:
    found = read(
        tmp_path, '{"b": 1, "a": "x"}', "", '{"c": 2.5, "a": "ü \\u65e5 \U0001f600"}\r', '  {"a": "", "b": 3} '
    )
    assert (found.columns, found.rows) == (("b", "a", "c"), 3)
    columns = {"a": Column("string"), "b": Column("int64", (), -1), "c": Column("float32", (), 0.1)}
    tenth = float(np.float32(0.1))
    assert values(found, columns) == {
        "a": [b"x", "ü 日 \U0001f600".encode(), b""], "b": [1, -1, 3], "c": [tenth, 2.5, tenth]
    }  # fmt: skip
    assert [row["c"] for row in found.first_values(columns, 9)] == [tenth, 2.5, tenth]


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_python_and_tensorflow_read_the_same(data: st.DataObject) -> None:
    columns = data.draw(column_sets(((), (), (2,), (2, 2), (1,))))
    assert_agreement(LINES, data.draw(st.lists(json_lines(), min_size=1, max_size=8)), columns)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(-(2**63), 2**63 - 1),
            floats.filter(lambda value: value == 0 or not abs(value) < 2**-126),
            st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
        ),
        min_size=1,
        max_size=9,
    ),
    st.booleans(),
)
def test_what_json_writes_comes_back_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, float, str]], ascii_only: bool
) -> None:
    lines = [json.dumps({"i": i, "f": f, "s": s, "v": [f, i]}, ensure_ascii=ascii_only) for i, f, s in rows]
    found = read(tmp_path_factory.getbasetemp(), *lines)
    columns = {"i": Column("int64"), "f": Column("float32"), "s": Column("string"), "v": Column("float32", (2,))}
    found.check_sample(columns)
    parsed = found.parse(next(iter(found.all_blocks())), columns)
    single = np.array([f for _, f, _ in rows], np.float32)
    assert parsed["i"].numpy().tolist() == [i for i, _, _ in rows]
    np.testing.assert_array_equal(parsed["f"].numpy(), single)
    np.testing.assert_array_equal(parsed["v"].numpy()[:, 0], single)
    assert [value.decode() for value in parsed["s"].numpy()] == [s for _, _, s in rows]


BROKEN = [
    pytest.param("{", "this is not JSON (Expecting property name enclosed in double quotes at character 2)", id="cut"),
    pytest.param("x", "this is not JSON (Expecting value at character 1): write one object a line", id="a word"),
    pytest.param("   ", "this is not JSON", id="blanks"),
    pytest.param('{"a": 1} {"a": 2}', "this is not JSON (Extra data at character 10)", id="two in a line"),
    pytest.param('{"a": 1,}', "this is not JSON", id="a trailing comma"),
    pytest.param("{'a': 1}", "this is not JSON", id="Python's quotes"),
    pytest.param('{"a": 01}', "this is not JSON", id="a leading zero"),
    pytest.param('{"a": "\t"}', "this is not JSON (Invalid control character", id="a control character"),
    pytest.param(b'{"a": 1}\0', "this is not JSON", id="NUL"),
    pytest.param(b'{"a": "caf\xe9"}', "this is not UTF-8 text", id="latin-1"),
    pytest.param(b'{"a": "\xed\xa0\x80"}', "this is not UTF-8 text", id="half a character in bytes"),
    pytest.param("\ufeff{}", "this is not JSON", id="a mark in the middle"),
    pytest.param("[1]", "found [1] where an object is needed, such as", id="a list"),
    pytest.param("5", "found 5 where an object is needed", id="a number"),
    pytest.param("null", "found null where an object is needed", id="null"),
    pytest.param('{"b": 1}', "column a: found nothing where a whole number is needed", id="a missing key"),
    pytest.param('{"a": null}', "column a: found nothing where a whole number is needed", id="null for a value"),
    pytest.param('{"a": "5"}', 'column a: found "5" where a whole number is needed', id="text"),
    pytest.param('{"a": 1.5}', "column a: found 1.5 where a whole number is needed", id="a fraction"),
    pytest.param('{"a": 1.0}', "column a: found 1.0 where a whole number is needed", id="a whole fraction"),
    pytest.param('{"a": NaN}', "column a: found nan where a whole number is needed", id="NaN"),
    pytest.param(f'{{"a": {2**63}}}', f"column a: found {2**63}, which has more than 64 bits, where", id="64 bits"),
    pytest.param(f'{{"a": {"1" * 5000}}}', "found a whole number of more digits than Python reads", id="5000 digits"),
    pytest.param('{"a": [1]}', "column a: found [1] where a single value is needed", id="a list for a value"),
    pytest.param('{"a": []}', "column a: found [] where a single value is needed", id="an empty list"),
    pytest.param('{"a": {"x": 0.5}}', 'column a: found {"x": 0.5} where a single value is needed', id="an object"),
    pytest.param('{"a": 1, "a": 1}', "found the key 'a' twice in one object: leave one of them out", id="twice"),
    pytest.param('{"a": 1, "b": {"\\ud800": 1, "\\ud800": 2}}', "found the key '\\\\ud800' twice", id="twice, inside"),
    pytest.param(f'{{"a": {"[" * 101}1{"]" * 101}}}', "found more than 100 lists or objects within", id="deep"),
    pytest.param('{"a": %s' % ("[" * 100_000), "found more than 100 lists or objects within", id="very deep"),
]  # fmt: skip


@pytest.mark.parametrize(("row", "words"), BROKEN)
def test_a_broken_row_is_named_by_file_and_line(tmp_path: Path, row: str | bytes, words: str) -> None:
    found = read(tmp_path, '{"a": 1}', "", row, '{"a": 2}')
    assert found.rows == 3
    for check in (found.check_sample, found.find_bad_row):
        with pytest.raises(DataError) as raised:
            check(INT)
        assert "a b.jsonl, line 3" in str(raised.value)
        assert words in str(raised.value)
        str(raised.value).encode()
    with pytest.raises(tf.errors.InvalidArgumentError, match="a bad row: "):
        values(found, INT)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("1e400", "found 1e400, which is too large for float32, where a number is needed"),
        ("-1e39", "found -1e39, which is too large for float32, where"),
        ("1" + "0" * 31, ", which is longer than 31 characters, where a number is needed"),
        ("0." + "3" * 40, ", which is longer than 31 characters, where a number is needed"),
        ('"nan"', 'found "nan" where a number is needed'),
        ('"1.5"', 'found "1.5" where a number is needed'),
    ],
)
def test_numbers_that_float32_cannot_hold(tmp_path: Path, value: str, words: str) -> None:
    found = read(tmp_path, '{"a": 0.5}', f'{{"a": {value}}}')
    with pytest.raises(DataError, match=f"a b.jsonl, line 2, column a: .*{re.escape(words)}"):
        found.check_sample(FLOAT)
    assert refuses(found, f'{{"a": {value}}}'.encode(), FLOAT)


@pytest.mark.parametrize("value", ["5", "0.5", "true", "NaN", '"\\ud800"', '["x"]', "{}"])
def test_only_text_is_text(tmp_path: Path, value: str) -> None:
    found = read(tmp_path, '{"a": "x"}', f'{{"a": {value}}}')
    with pytest.raises(
        DataError, match=r"line 2, column a: found .* where (text is|a single value is) needed"
    ) as raised:
        found.check_sample(TEXT)
    str(raised.value).encode()  # a terminal can show it
    assert refuses(found, f'{{"a": {value}}}'.encode(), TEXT)


def test_what_python_writes_for_no_number_and_truth_are_numbers(tmp_path: Path) -> None:
    found = read(
        tmp_path, *(f'{{"a": {value}}}' for value in ("NaN", "Infinity", "-Infinity", "true", "false", "-0.0", "7"))
    )
    assert found.column("a") == Column("float32")
    parsed = values(found, FLOAT)["a"]
    assert repr(parsed) == "[nan, inf, -inf, 1.0, 0.0, -0.0, 7.0]"
    assert values(read(tmp_path, '{"a": true}', '{"a": false}'), INT) == {"a": [1, 0]}


@pytest.mark.parametrize(
    ("written", "column"),
    [
        pytest.param(["1", "2"], Column("int64"), id="whole numbers"),
        pytest.param(["1", "2.5"], Column("float32"), id="a fraction among whole numbers"),
        pytest.param(["1", "2.0"], Column("float32"), id="a fraction that is whole"),
        pytest.param(["true"], Column("int64"), id="truth"),
        pytest.param(['"x"'], Column("string"), id="text"),
        pytest.param(['"1"'], Column("string"), id="a number in quotes"),
        pytest.param(["1"] * 20 + ['"x"'], Column("int64"), id="few words among numbers"),
        pytest.param(["1"] * 9 + ['"x"'], Column("string"), id="some words among numbers"),
        pytest.param(["null", "1"], Column("int64"), id="null"),
        pytest.param(["null"], Column("string"), id="nothing else than null"),
        pytest.param(["[1, 2]", "[3, 4]"], Column("int64", (2,)), id="lists"),
        pytest.param(["[0, 2.5]"], Column("float32", (2,)), id="a fraction in a list"),
        pytest.param(["[[1, 2, 3], [4, 5, 0.5]]"], Column("float32", (2, 3)), id="lists of lists"),
        pytest.param(['["a"]'], Column("string", (1,)), id="a list of one text"),
        pytest.param(["[1, 2]", "[3, 4]", "[]", "[1]"], Column("int64", (2,)), id="the most frequent length"),
        pytest.param(["{}"], Column("string"), id="an object, which check_sample refuses"),
    ],
)
def test_a_column_is_what_its_first_values_are(tmp_path: Path, written: list[str], column: Column) -> None:
    assert read(tmp_path, *(f'{{"a": {value}}}' for value in written)).column("a") == column


def test_lists(tmp_path: Path) -> None:
    found = read(tmp_path, '{"a": [[1, 2], [3, 4]], "s": ["x", "ü"]}', '{"s": ["", "y"]}')
    columns = {"a": Column("float32", (2, 2), 0.5), "s": Column("string", (2,))}
    assert values(found, columns) == {
        "a": [[[1.0, 2.0], [3.0, 4.0]], [[0.5, 0.5], [0.5, 0.5]]], "s": [[b"x", "ü".encode()], [b"", b"y"]]
    }  # fmt: skip
    assert found.first_values(columns, 1) == [{"a": [[1, 2], [3, 4]], "s": ["x", "ü"]}]


@pytest.mark.parametrize("value", ["[1]", "[1, 2, 3]", "[[1], [2]]", "1", "[1, [2]]", "[1, null]", "[]", "{}"])
def test_lists_of_another_shape(tmp_path: Path, value: str) -> None:
    found = read(tmp_path, '{"a": [1, 2]}', '{"a": [1, 2]}', f'{{"a": {value}}}')
    columns = {"a": found.column("a")}
    assert columns == {"a": Column("int64", (2,))}
    with pytest.raises(DataError, match=r"line 3, column a: found .* where (a list of 2|a whole number) is needed"):
        found.check_sample(columns)
    with pytest.raises(tf.errors.InvalidArgumentError):
        values(found, columns)


@pytest.mark.parametrize(
    ("contents", "words"),
    [
        ([b""], "0.jsonl is empty"),
        ([b'{"a": 1}\n', b""], "1.jsonl is empty"),
        ([b"\xef\xbb\xbf{}\n"], "0.jsonl begins with a byte order mark"),
        (['{"a": 1}'.encode("utf-16")], "0.jsonl, line 1: this is not UTF-8"),
        (['{"a": 1}'.encode("utf-16-le")], "0.jsonl, line 1: this is not JSON"),
        ([b"a,b\n1,2\n"], "0.jsonl, line 1: this is not JSON"),
        ([b'[\n{"a": 1},\n{"a": 2}\n]\n'], "0.jsonl, line 1: this is not JSON"),
    ],
)
def test_files_that_are_no_json_lines(tmp_path: Path, contents: list[bytes], words: str) -> None:
    with pytest.raises(DataError, match=re.escape(words)):
        opened(tmp_path, *contents, names=[f"{number}.jsonl" for number in range(len(contents))]).check_sample(INT)


def test_a_file_of_blank_lines_holds_no_example(tmp_path: Path) -> None:
    found = opened(tmp_path, '{"a": 1}\n', "\r\n\n", names=["a.jsonl", "b.jsonl"])
    with pytest.raises(DataError, match=r"b\.jsonl holds no example"):
        assert found.rows


@pytest.mark.parametrize(("layout", "flag"), [({"columns": ("a",)}, "--columns"), ({"delimiter": ";"}, "--delimiter")])
def test_flags_that_only_csv_has(tmp_path: Path, layout: dict[str, Any], flag: str) -> None:
    with pytest.raises(UsageError, match=f"{flag} is for CSV files, but .* holds JSON lines: leave it out"):
        opened(tmp_path, '{"a": 1}\n', names=["a.jsonl"], **layout)


def test_bad_rows_among_the_first_do_not_hide_what_a_key_holds(tmp_path: Path) -> None:
    found = read(tmp_path, "{", '{"a": 1}', '{"\\ud800": 1}', '{"a": 2, "b": 0.5}')
    assert (found.columns, found.column("a"), found.column("b")) == (("a", "b"), Column("int64"), Column("float32"))
    with pytest.raises(DataError, match=r"a b\.jsonl, line 1: this is not JSON"):
        found.check_sample(INT)


def test_keys_that_nobody_asks_for_may_hold_anything(tmp_path: Path) -> None:
    found = read(tmp_path, '{"a": 1, "z": [1, {"b": "\\ud800"}, 1e999]}', '{"a": 2, "z": null}')
    found.find_bad_row(INT)
    assert values(found, INT) == {"a": [1, 2]}


def test_find_other_value_names_the_first_unknown_one(tmp_path: Path) -> None:
    found = read(tmp_path, '{"a": "x"}', '{"a": "y"}', "{}")
    with pytest.raises(DataError, match=r"line 2, column a: found 'y', a label that the training files"):
        found.find_other_value("a", {"x"})
    with pytest.raises(DataError, match=r"line 3, column a: found nothing where a label is needed"):
        found.find_other_value("a", {"x", "y"})
