"""CSV files as users have them: headers, rows that count, values bit for bit, and sentences for what is broken."""

from __future__ import annotations

import csv
import io
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.reader_cases import assert_agreement, opened, refuses, values
from tests.training.record_strategies import column_sets, csv_lines
from trainer.job.columns import Column, Layout
from trainer.job.errors import DataError
from trainer.training import reader
from trainer.training.csv_reader import CsvReader

COLUMNS = {"number": Column("int64"), "size": Column("float32"), "text": Column("string")}
INT, FLOAT, TEXT = ({"a": Column(kind)} for kind in ("int64", "float32", "string"))
HOSTILE = ["a b.csv", 'it\'s "so".csv', "; echo x.csv", "a[1].csv", "ü 日本.csv", "$HOME & co.csv"]


UNWRITABLE = "\r\n" if sys.version_info >= (3, 11) else "\r\n\0"  # Python 3.10's csv module writes no NUL
text = st.text(st.characters(exclude_characters=UNWRITABLE, exclude_categories=["Cs"]), max_size=8)
numbers = st.integers(-(2**63), 2**63 - 1)
floats = st.floats(width=32, allow_subnormal=False)  # TensorFlow flushes those to zero
rows = st.lists(st.tuples(numbers, floats, text), min_size=1, max_size=12)


@settings(max_examples=60, deadline=None)
@given(
    table=rows,
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    end=st.sampled_from(["\n", "\r\n"]),
    delimiter=st.sampled_from(",;|\t^]"),
)
def test_what_the_csv_module_writes_comes_back_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory,
    table: list[tuple[int, float, str]],
    quoting: int,
    end: str,
    delimiter: str,
) -> None:
    out = io.StringIO()
    writer = csv.writer(out, quoting=quoting, lineterminator=end, delimiter=delimiter)
    writer.writerow(COLUMNS)
    writer.writerows(table)
    found = opened(tmp_path_factory.getbasetemp(), out.getvalue(), names=["table.csv"], delimiter=delimiter)
    found.check_sample(COLUMNS)
    parsed = found.parse(next(iter(found.all_blocks())), COLUMNS)
    assert found.rows == len(table)
    assert parsed["number"].numpy().tolist() == [number for number, _, _ in table]
    np.testing.assert_array_equal(parsed["size"].numpy(), np.array([size for _, size, _ in table], np.float32))
    assert [value.decode() for value in parsed["text"].numpy()] == [each for _, _, each in table]
    assert [row["text"] for row in found.first_values(COLUMNS, 99)] == [each for _, _, each in table]


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_python_and_tensorflow_read_the_same(data: st.DataObject) -> None:
    separator, count = data.draw(st.sampled_from(",;|\t:^]#e&~")), data.draw(st.integers(1, 4))
    names = tuple("abcd"[:count])
    found = CsvReader(("x.csv",), names, Layout("csv", (), separator))
    columns = {name: each for name, each in data.draw(column_sets()).items() if name in names}
    lines = data.draw(st.lists(csv_lines(separator, count), min_size=1, max_size=8))
    assert_agreement(found, lines, columns or {"a": Column("float32")})


@pytest.mark.parametrize(
    "field", ["0x10", "-0X1", "  ", "\t", '"  "', '" \t"', "1e39", "-1e400", "caf\u00e9 0x", "1_0", "\u0663", "9" * 32]
)
@pytest.mark.parametrize("other", ["x", "0", "", "0x10", " "])
def test_what_tensorflow_alone_would_take_for_a_number_is_refused_beside_any_neighbour(field: str, other: str) -> None:
    found = CsvReader(("x.csv",), ("b", "a", "c"), Layout("csv", (), ","))
    assert refuses(found, f"{other},{field},{other}".encode(), FLOAT)


@pytest.mark.parametrize(
    "raw", [b"\xed\xa0\x80", b"\xe0\x80\x80", b"\xf4\x90\x80\x80", b"\xc0\x80", b"caf\xe9", b"\xff"]
)
@pytest.mark.parametrize("columns", [INT, TEXT, {"b": Column("string")}])
def test_what_is_no_utf8_is_refused_with_an_error_that_can_be_shown(raw: bytes, columns: dict[str, Column]) -> None:
    """TensorFlow's own error would have the bytes in its message, which Python cannot make text of."""
    found = CsvReader(("x.csv",), ("a", "b"), Layout("csv", (), ","))
    for line in (raw + b",x", b"1," + raw):
        assert refuses(found, line, columns)
        assert not found.good(tf.constant([line]), columns).numpy().any()


BROKEN = [
    pytest.param("1,0.5", "found 2 fields where there are 3 columns", id="too few fields"),
    pytest.param("1", "found 1 field where there are 3 columns", id="one field"),
    pytest.param("1,0.5,a,b", "found 4 fields where there are 3 columns", id="too many fields"),
    pytest.param("one,0.5,a", "column number: found 'one' where a whole number is needed", id="a word for an integer"),
    pytest.param("1.5,0.5,a", "column number: found '1.5' where a whole number is needed", id="a fraction"),
    pytest.param("1_0,0.5,a", "column number: found '1_0' where a whole number is needed", id="an underscore"),
    pytest.param(f"{2**63},0.5,a", f"column number: found '{2**63}' where a whole number", id="too large"),
    pytest.param(",0.5,a", "column number: found nothing where a whole number is needed", id="a missing integer"),
    pytest.param("1,n/a,a", "column size: found 'n/a' where a number is needed", id="a word for a number"),
    pytest.param('1,"0,5",a', "column size: found '0,5' where a number is needed", id="a decimal comma"),
    pytest.param("1,,a", "column size: found nothing where a number is needed", id="a missing number"),
    pytest.param("1, ,a", "column size: found ' ' where a number is needed", id="a blank for a number"),
    pytest.param("1,0x1F,a", "column size: found '0x1F' where a number is needed", id="hexadecimal digits"),
    pytest.param("1,1e39,a", "column size: found '1e39', which is too large for float32, where", id="infinite"),
    pytest.param(f"1,0.{'3' * 40},a", "column size: found '0.3333", id="a long number"),
    pytest.param(
        f"1,{'x' * 99},a", f"found '{'x' * 57}...', which is longer than 31 characters, where", id="long text"
    ),
    pytest.param('1,0.5,5" pipe', "found a quote in the middle of a field", id="a lone quote"),
    pytest.param('1,0.5,"a" b', "found a quote in the middle of a field", id="text after a quote"),
    pytest.param(b"1,0.5,caf\xe9", "this is not UTF-8 text", id="latin-1"),
    pytest.param(b"1,0\0,a", "column size: found '0\\x00' where a number is needed", id="NUL"),
    pytest.param(",,", "column number: found nothing", id="separators only"),
]


@pytest.mark.parametrize(("row", "words"), BROKEN)
@pytest.mark.parametrize("good", [0, 2])
def test_a_broken_row_is_named_by_file_and_line(tmp_path: Path, row: str | bytes, words: str, good: int) -> None:
    row = row.encode() if isinstance(row, str) else row
    table = b"number,size,text\n" + b"7,0.5,a\n" * good + b"\n" + row + b"\n7,0.5,a\n"
    found = opened(tmp_path, "number,size,text\n1,1,b\n", table, names=["fine.csv", "it's broken.csv"])
    for check in (found.check_sample, found.find_bad_row):
        with pytest.raises(DataError) as raised:
            check(COLUMNS)
        assert f"it's broken.csv, line {good + 3}" in str(raised.value)
        assert words in str(raised.value)
    with pytest.raises(tf.errors.InvalidArgumentError):
        values(found, COLUMNS)


def test_only_the_whole_search_goes_beyond_the_first_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "SAMPLE_ROWS", 5)
    found = opened(tmp_path, "a\n" + "1\n" * 5 + "x\n")
    found.check_sample(INT)
    with pytest.raises(DataError, match="line 7, column a: found 'x'"):
        found.find_bad_row(INT)


def test_a_column_that_nobody_reads_may_hold_anything(tmp_path: Path) -> None:
    found = opened(tmp_path, "a,b\n1,\n2,x\n3, 0x\n")
    found.find_bad_row(INT)
    assert values(found, INT) == {"a": [1, 2, 3]}


def test_declared_defaults_stand_for_empty_fields(tmp_path: Path) -> None:
    found = opened(tmp_path, 'i,f,s\n,,\n"","",""\n1,2.5,x\n')
    columns = {"i": Column("int64", (), -1), "f": Column("float32", (), 0.1), "s": Column("string", (), "none")}
    tenth = float(np.float32(0.1))
    assert values(found, columns) == {"i": [-1, -1, 1], "f": [tenth, tenth, 2.5], "s": [b"none", b"none", b"x"]}
    assert [row["f"] for row in found.first_values(columns, 9)] == [0.1, 0.1, 2.5]
    assert values(found, {"s": Column("string")}) == {"s": [b"", b"", b"x"]}


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        pytest.param(["1", "-2", "30"], "int64", id="whole numbers"),
        pytest.param(["1", "2.5", "-3e5"], "float32", id="fractions"),
        pytest.param(["1"] * 30 + ["2.5"], "float32", id="one fraction among whole numbers"),
        pytest.param(["1.5", "nan", "inf"], "float32", id="nan and inf"),
        pytest.param(["1", "x"], "string", id="half of it words"),
        pytest.param(["x"], "string", id="words"),
        pytest.param(["1"] * 20 + ["x"], "int64", id="a few words, which check_sample names"),
        pytest.param(["1"] * 9 + ["x"], "string", id="a tenth of it words"),
        pytest.param(["1", "", ""], "int64", id="missing values do not count"),
        pytest.param(["", ""], "string", id="nothing but missing values"),
        pytest.param(["2024-01-01"], "string", id="a date"),
        pytest.param(["1_000", "2_000"], "string", id="underscores"),
    ],
)
def test_a_column_is_what_most_of_its_first_fields_are(tmp_path: Path, fields: list[str], kind: str) -> None:
    lines = "".join(f"{field},\n" for field in fields)
    assert opened(tmp_path, "a,b\n" + lines).column("a") == Column(kind)


def test_a_column_without_rows_is_nothing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"0\.csv holds no example: write it again"):
        opened(tmp_path, "a,b\n").column("a")


def test_bad_rows_among_the_first_do_not_hide_what_a_column_holds(tmp_path: Path) -> None:
    found = opened(tmp_path, b'a,b\n\xff,1\n1,5" x\n2\n3,4\n4,5\n')
    assert (found.column("a"), found.column("b")) == (Column("int64"), Column("int64"))
    with pytest.raises(DataError, match=r"0\.csv, line 2: this is not UTF-8 text"):
        found.check_sample(INT)
    with pytest.raises(DataError, match=r"0\.csv, line 2: this is not UTF-8 text"):
        opened(tmp_path, b"a,b\n\xff,1\n\xff,2\n").column("a")


def test_find_other_value_names_the_first_unknown_one(tmp_path: Path) -> None:
    found = opened(tmp_path, "a,b\n1,x\n2,y\n", "a,b\n3,x\n4,z\n")
    found.find_other_value("b", {"x", "y", "z"})
    with pytest.raises(DataError, match=r"1\.csv, line 3, column b: found 'z', a label that the training files"):
        found.find_other_value("b", {"x", "y"})


@pytest.mark.parametrize("columns", [784, 3000])
def test_wide_rows(tmp_path: Path, columns: int) -> None:
    names = [f"p{number}" for number in range(columns)]
    row = [str(number / 4) for number in range(columns)]
    found = opened(tmp_path, "\n".join([",".join(names), *[",".join(row)] * 30]))
    wanted = {name: Column("float32") for name in names}
    parsed = found.parse(next(iter(found.all_blocks())), wanted)
    np.testing.assert_array_equal(
        np.stack([parsed[name].numpy() for name in names], 1), np.array([row] * 30, np.float32)
    )
    assert refuses(found, ",".join([*row[:-1], "1e39"]).encode(), wanted)
    assert refuses(found, ",".join([*row[:-1], "0x1"]).encode(), wanted)
