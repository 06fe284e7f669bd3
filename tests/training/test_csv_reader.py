"""CSV files as users have them: headers, rows that count, values bit for bit, and sentences for what is broken."""

from __future__ import annotations

import csv
import io
import random
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.job.errors import DataError
from trainer.training import csv_reader
from trainer.training.csv_reader import CsvReader

KINDS = {"number": "int64", "size": "float32", "text": "string"}
HOSTILE = ["a b.csv", 'it\'s "so".csv', "; echo x.csv", "a[1].csv", "ü 日本.csv", "$HOME & co.csv"]


def opened(folder: Path, *contents: str | bytes, names: Sequence[str] = ()) -> CsvReader:
    """A reader of files with these contents."""
    paths = [folder / name for name in names or [f"{number}.csv" for number in range(len(contents))]]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return CsvReader.open([str(path) for path in paths])


def values(reader: CsvReader, kinds: dict[str, str]) -> dict[str, list[object]]:
    """Everything the reader parses, column -> values."""
    found: dict[str, list[object]] = {name: [] for name in kinds}
    for batch in reader.lines().batch(3).map(lambda lines: reader.parse(lines, kinds)).as_numpy_iterator():
        for name, column in batch.items():
            found[name] += column.tolist()
    return found


@pytest.mark.parametrize(
    ("content", "columns"),
    [
        pytest.param("a,b\n1,2\n", ("a", "b"), id="plain"),
        pytest.param(b"\xef\xbb\xbfa,b\n1,2\n", ("a", "b"), id="byte order mark"),
        pytest.param(b'\xef\xbb\xbf"a",b\r\n1,2\r\n', ("a", "b"), id="mark, quote and CRLF"),
        pytest.param("a,b", ("a", "b"), id="a header alone, without a newline"),
        pytest.param('"a, b","say ""x"""\n1,2\n', ("a, b", 'say "x"'), id="quoted names"),
        pytest.param(",a\n0,1\n", ("", "a"), id="the index column that pandas writes"),
        pytest.param("größe,名\n1,2\n", ("größe", "名"), id="letters"),
    ],
)
def test_the_first_line_names_the_columns(tmp_path: Path, content: str | bytes, columns: tuple[str, ...]) -> None:
    assert opened(tmp_path, content).columns == columns


@pytest.mark.parametrize(
    ("contents", "words"),
    [
        pytest.param(["a,b,a\n1,2,3\n"], "0.csv names the column a twice", id="a column twice"),
        pytest.param([""], "0.csv is empty", id="an empty file"),
        pytest.param(["\n1,2\n"], "0.csv is empty", id="a blank first line"),
        pytest.param(["a,b\n1,2\n", "b,a\n1,2\n"], "1.csv has the columns b, a where", id="another order"),
        pytest.param(["a,b\n1,2\n", "a\n1\n"], "1.csv has the columns a where", id="fewer columns"),
        pytest.param(["a,b\n1,2\n", "1,2\n"], "1.csv has the columns 1, 2 where", id="no header in the second file"),
        pytest.param(["gr\u00f6\u00dfe,b\n".encode("latin-1")], "0.csv, line 1: this is not UTF-8", id="latin-1"),
        pytest.param(["a,b\n".encode("utf-16")], "0.csv, line 1: this is not UTF-8", id="utf-16"),
    ],
)
def test_a_wrong_header_is_named(tmp_path: Path, contents: list[str | bytes], words: str) -> None:
    with pytest.raises(DataError, match=re.escape(words)):
        opened(tmp_path, *contents)


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        pytest.param("a,b\n", 0, id="none"),
        pytest.param("a,b", 0, id="none, no final newline"),
        pytest.param("a,b\n1,2\n3,4\n", 2, id="final newline"),
        pytest.param("a,b\n1,2\n3,4", 2, id="no final newline"),
        pytest.param("a,b\r\n1,2\r\n3,4\r\n", 2, id="CRLF"),
        pytest.param("a,b\r\n1,2\r\n3,4", 2, id="CRLF, no final newline"),
        pytest.param("a,b\n1,2\n\n3,4\n", 2, id="a blank line"),
        pytest.param("a,b\n\n\n1,2\n3,4\n\n\n", 2, id="blank lines first and last"),
        pytest.param("a,b\r\n1,2\r\n\r\n3,4\r\n\r\n", 2, id="blank lines, CRLF"),
        pytest.param('a,b\n"1",2\n3,"4"\n', 2, id="quotes"),
        pytest.param('a,b\n"1",2\n\n3,"4"\n\n', 2, id="quotes and blank lines"),
        pytest.param('a,b\n"1","""2"""', 1, id="doubled quotes"),
    ],
)
def test_rows_are_what_is_read(tmp_path: Path, content: str, rows: int) -> None:
    reader = opened(tmp_path, content)
    assert reader.rows == rows
    assert len(list(reader.lines())) == rows
    assert len(reader.sample) == rows


@pytest.mark.parametrize("chunk", range(2, 9))
def test_a_blank_line_across_two_chunks_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(csv_reader, "CHUNK_BYTES", chunk)
    for content in ("a,b\n1,2\n\n3,4\n", "a,b\r\n1,2\r\n\r\n3,4"):
        assert opened(tmp_path, content).rows == 2


def test_the_value_of_an_only_column_may_be_blank_space(tmp_path: Path) -> None:
    reader = opened(tmp_path, 'a\n \n"x"\n""\n\n')
    assert reader.rows == 3
    assert values(reader, {"a": "string"}) == {"a": [b" ", b"x", b""]}


UNWRITABLE = "\r\n" if sys.version_info >= (3, 11) else "\r\n\0"  # Python 3.10's csv module writes no NUL
text = st.text(st.characters(exclude_characters=UNWRITABLE, exclude_categories=["Cs"]), max_size=8)
numbers = st.integers(-(2**63), 2**63 - 1)
floats = st.floats(width=32, allow_subnormal=False)  # TensorFlow flushes those to zero
rows = st.lists(st.tuples(numbers, floats, text), min_size=1, max_size=12)


@settings(max_examples=60, deadline=None)
@given(table=rows, quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]), end=st.sampled_from(["\n", "\r\n"]))
def test_what_the_csv_module_writes_comes_back_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, table: list[tuple[int, float, str]], quoting: int, end: str
) -> None:
    out = io.StringIO()
    writer = csv.writer(out, quoting=quoting, lineterminator=end)
    writer.writerow(KINDS)
    writer.writerows(table)
    reader = opened(tmp_path_factory.getbasetemp(), out.getvalue(), names=["table.csv"])
    reader.check_sample(KINDS)
    parsed = reader.parse(tf.constant(list(reader.lines().as_numpy_iterator())), KINDS)
    assert reader.rows == len(table)
    assert parsed["number"].numpy().tolist() == [number for number, _, _ in table]
    np.testing.assert_array_equal(parsed["size"].numpy(), np.array([size for _, size, _ in table], np.float32))
    assert [value.decode() for value in parsed["text"].numpy()] == [each for _, _, each in table]
    assert [row["text"] for row in reader.sample] == [each for _, _, each in table]


fields = st.one_of(
    st.text(st.sampled_from("0123456789+-.eEinfaNty_ xX\t٣\u00a0"), max_size=8),
    numbers.map(str),
    st.integers().map(str),
    st.floats().map(repr),
    st.integers(29, 34).map("1".zfill),
    st.sampled_from(["Infinity", "1_000", "0x10", "1e400", "-nan", "+inf", " 5 ", "+5", "5.", ".5", "9" * 30]),
)


@settings(max_examples=400, deadline=None)
@given(value=fields, kind=st.sampled_from(["int64", "float32"]))
def test_the_check_takes_what_tensorflow_takes(value: str, kind: str) -> None:
    """Else a job would start and stumble later, without a row to name."""
    reader = CsvReader(("x.csv",), ("a",))
    try:
        reader.parse(tf.constant([f'"{value}"']), {"a": kind})
        taken = True
    except tf.errors.InvalidArgumentError:
        taken = False
    generous = kind == "float32" and ("x" in value.lower() or not value.strip())  # 0x10 is 16.0 to it, and a space 0.0
    assert csv_reader._fits(kind, value) == (taken and not generous)


@pytest.mark.parametrize(
    ("content", "line"), [('a,b\n1,"x\ny"\n', 2), ('a,b\r\n1,2\r\n"x\r\n",3\r\n', 3), ('a,"b\n",c\n1,2,3\n', 1)]
)
def test_a_field_over_two_lines_is_refused_with_its_line(tmp_path: Path, content: str, line: int) -> None:
    with pytest.raises(DataError, match=rf"0\.csv, line {line}:"):
        assert opened(tmp_path, content).rows


BROKEN = [
    pytest.param("1,0.5", "found 2 fields where the header names 3 columns", id="too few fields"),
    pytest.param("1,0.5,a,b", "found 4 fields where the header names 3 columns", id="too many fields"),
    pytest.param("one,0.5,a", "column number: found 'one' where a whole number is needed", id="a word for an integer"),
    pytest.param("1.5,0.5,a", "column number: found '1.5' where a whole number is needed", id="a fraction"),
    pytest.param("1_0,0.5,a", "column number: found '1_0' where a whole number is needed", id="an underscore"),
    pytest.param(f"{2**63},0.5,a", f"column number: found '{2**63}' where a whole number", id="too large"),
    pytest.param(",0.5,a", "column number: found nothing where a whole number is needed", id="a missing integer"),
    pytest.param("1,n/a,a", "column size: found 'n/a' where a number is needed", id="a word for a number"),
    pytest.param('1,"0,5",a', "column size: found '0,5' where a number is needed", id="a decimal comma"),
    pytest.param("1,,a", "column size: found nothing where a number is needed", id="a missing number"),
    pytest.param('1,0.5,5" pipe', "found a quote in the middle of a field", id="a lone quote"),
    pytest.param('1,0.5,"a" b', "found a quote in the middle of a field", id="text after a quote"),
    pytest.param(b"1,0.5,caf\xe9", "this is not UTF-8 text", id="latin-1"),
]


@pytest.mark.parametrize(("row", "words"), BROKEN)
@pytest.mark.parametrize("good", [0, 2])
def test_a_broken_row_is_named_by_file_and_line(tmp_path: Path, row: str | bytes, words: str, good: int) -> None:
    row = row.encode() if isinstance(row, str) else row
    table = b"number,size,text\n" + b"7,0.5,a\n" * good + b"\n" + row + b"\n7,0.5,a\n"
    reader = opened(tmp_path, "number,size,text\n1,1,b\n", table, names=["fine.csv", "it's broken.csv"])
    for check in (reader.check_sample, reader.find_bad_row):
        with pytest.raises(DataError) as raised:
            check(KINDS)
        assert f"it's broken.csv, line {good + 3}" in str(raised.value)
        assert words in str(raised.value)


def test_only_the_whole_search_goes_beyond_the_first_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_reader, "SAMPLE_ROWS", 5)
    reader = opened(tmp_path, "a\n" + "1\n" * 5 + "x\n")
    reader.check_sample({"a": "int64"})
    with pytest.raises(DataError, match="line 7, column a: found 'x'"):
        reader.find_bad_row({"a": "int64"})


def test_a_column_that_nobody_reads_may_hold_anything(tmp_path: Path) -> None:
    reader = opened(tmp_path, "a,b\n1,\n2,x\n")
    reader.find_bad_row({"a": "int64"})
    assert values(reader, {"a": "int64"}) == {"a": [1, 2]}


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
        pytest.param([], "string", id="no row"),
        pytest.param(["2024-01-01"], "string", id="a date"),
        pytest.param(["1_000", "2_000"], "string", id="underscores"),
    ],
)
def test_a_column_is_what_most_of_its_first_fields_are(tmp_path: Path, fields: list[str], kind: str) -> None:
    rows = "".join(f"{field},\n" for field in fields)
    assert opened(tmp_path, "a,b\n" + rows).kind("a") == kind


def test_find_other_value_names_the_first_unknown_one(tmp_path: Path) -> None:
    reader = opened(tmp_path, "a,b\n1,x\n2,y\n", "a,b\n3,x\n4,z\n")
    reader.find_other_value("b", {"x", "y", "z"})
    with pytest.raises(DataError, match=r"1\.csv, line 3, column b: found 'z', a label that the training files"):
        reader.find_other_value("b", {"x", "y"})


@pytest.mark.parametrize("name", HOSTILE)
def test_files_of_any_name_are_read(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "with 'quotes'; [1] ü"
    folder.mkdir()
    reader = opened(folder, "a,b\n1,x\n", names=[name])
    assert reader.rows == 1
    assert values(reader, {"a": "int64", "b": "string"}) == {"a": [1], "b": [b"x"]}
    with pytest.raises(DataError) as raised:
        reader.find_bad_row({"b": "int64"})
    assert str(folder / name) in str(raised.value)


@pytest.mark.parametrize("sizes", [(1,), (3, 0, 2), (0, 1, 1, 1, 1, 1), (100, 30, 70, 1, 65)])
def test_every_row_of_every_file_once_in_a_fixed_order(tmp_path: Path, sizes: tuple[int, ...]) -> None:
    names = iter(range(sum(sizes)))
    reader = opened(tmp_path, *("a\n" + "".join(f"{next(names)}\n" for _ in range(size)) for size in sizes))
    found = values(reader, {"a": "int64"})["a"]
    assert sorted(found) == list(range(reader.rows))
    assert found == values(reader, {"a": "int64"})["a"]


def test_the_first_64_lines_are_the_first_64_rows_of_the_sample(tmp_path: Path) -> None:
    """`FileInputs.sample_request` and `sample_dataset` have to mean the same rows."""
    rng = random.Random(0)
    for sizes in ([rng.choice([0, 1, 3, 30, 63, 64, 65, 200]) for _ in range(6)] for _ in range(12)):
        names = iter(range(sum(sizes)))
        reader = opened(tmp_path, *("a\n" + "".join(f"{next(names)}\n" for _ in range(size)) for size in sizes))
        by_lines = values(reader, {"a": "int64"})["a"][:64]
        assert by_lines == [int(row["a"]) for row in reader.sample[:64]]
