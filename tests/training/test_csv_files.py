"""CSV files as users have them: headers, lines that are rows and lines that are none, separators, names of files."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import pytest

from tests.training.reader_cases import opened, values
from trainer.job.columns import Column
from trainer.job.errors import DataError
from trainer.training import line_reader

INT, FLOAT, TEXT = ({"a": Column(kind)} for kind in ("int64", "float32", "string"))
HOSTILE = ["a b.csv", 'it\'s "so".csv', "; echo x.csv", "a[1].csv", "ü 日本.csv", "$HOME & co.csv"]


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
        pytest.param(["\n1,2\n"], "0.csv begins with a blank line", id="a blank first line"),
        pytest.param(["a,b\n1,2\n", "b,a\n1,2\n"], "1.csv has the columns b, a where", id="another order"),
        pytest.param(["a,b\n1,2\n", "a\n1\n"], "1.csv has the columns a where", id="fewer columns"),
        pytest.param(["a,b\n1,2\n", "1,2\n"], "1.csv has the columns 1, 2 where", id="no header in the second file"),
        pytest.param(["a,b\n1,2\n", ""], "1.csv is empty", id="an empty shard"),
        pytest.param(["gr\u00f6\u00dfe,b\n".encode("latin-1")], "0.csv, line 1: this is not UTF-8", id="latin-1"),
        pytest.param(["a,b\n".encode("utf-16")], "0.csv, line 1: this is not UTF-8", id="utf-16"),
        pytest.param(
            ["a,b\n".encode("utf-16-le")], "line 1: found a NUL character, as in UTF-16", id="utf-16, no mark"
        ),
        pytest.param(['a,"b\n1,2\n'], "0.csv, line 1: found a quote", id="a quote that is never closed"),
    ],
)
def test_a_wrong_header_is_named(tmp_path: Path, contents: list[str | bytes], words: str) -> None:
    with pytest.raises(DataError, match=re.escape(words)):
        opened(tmp_path, *contents)


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        pytest.param("a,b\n1,2\n3,4\n", 2, id="final newline"),
        pytest.param("a,b\n1,2\n3,4", 2, id="no final newline"),
        pytest.param("a,b\r\n1,2\r\n3,4\r\n", 2, id="CRLF"),
        pytest.param("a,b\r\n1,2\r\n3,4", 2, id="CRLF, no final newline"),
        pytest.param("a,b\n1,2\r\n\r", 1, id="a carriage return last"),
        pytest.param("a,b\n1,2\n\n3,4\n", 2, id="a blank line"),
        pytest.param("a,b\n\n\n1,2\n3,4\n\n\n", 2, id="blank lines first and last"),
        pytest.param("a,b\r\n1,2\r\n\r\n3,4\r\n\r\n", 2, id="blank lines, CRLF"),
        pytest.param("a,b\n1,2\n\r\r\n3,4", 2, id="a line of carriage returns"),
        pytest.param('a,b\n"1",2\n3,"4"\n', 2, id="quotes"),
        pytest.param('a,b\n"1",2\n\n3,"4"\n\n', 2, id="quotes and blank lines"),
        pytest.param('a,b\n"1","""2"""', 1, id="doubled quotes"),
        pytest.param('a,b\n1,5" pipe\n2,x\n', 2, id="a lone quote, which makes a bad row"),
        pytest.param(",,\n,,\n,,\n".replace(",,\n", "a,b\n", 1), 2, id="lines of separators only"),
    ],
)
def test_rows_are_what_is_read(tmp_path: Path, content: str, rows: int) -> None:
    found = opened(tmp_path, content)
    assert found.rows == rows
    assert sum(len(block) for block in found.all_blocks()) == rows
    assert len(list(found.read_rows({}))) == rows


@pytest.mark.parametrize("content", ["a,b\n", "a,b", "a,b\r\n\r\n\n"])
def test_a_file_without_rows_is_refused(tmp_path: Path, content: str) -> None:
    with pytest.raises(DataError, match=r"1\.csv holds no example: write it again, or leave it out"):
        assert opened(tmp_path, "a,b\n1,2\n", content).rows


@pytest.mark.parametrize("chunk", range(1, 9))
def test_a_blank_line_across_two_chunks_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(line_reader, "CHUNK_BYTES", chunk)
    for content in ("a,b\n1,2\n\n3,4\n", "a,b\r\n1,2\r\n\r\n3,4", "a,b\n1,2\n\r\r\n3,4", "a,b\n1,2\n3,4\n\r"):
        found = opened(tmp_path, content)
        assert found.rows == 2
        assert values(found, {"b": Column("int64")}) == {"b": [2, 4]}


def test_the_value_of_an_only_column_may_be_blank_space(tmp_path: Path) -> None:
    found = opened(tmp_path, 'a\n \n"x"\n""\n\n')
    assert found.rows == 3
    assert values(found, TEXT) == {"a": [b" ", b"x", b""]}


@pytest.mark.parametrize(
    ("content", "line"), [('a,b\n1,"x\ny"\n', 2), ('a,b\r\n1,2\r\n"x\r\n",3\r\n', 3), ('a,b\n"1""\n2,3\n",4\n', 2)]
)
def test_a_field_over_several_lines_is_refused_with_its_line(tmp_path: Path, content: str, line: int) -> None:
    """Also where bad rows are left out: the lines in its middle look like rows."""
    with pytest.raises(DataError, match=rf"0\.csv, line {line}: a quoted field goes on in the next line"):
        assert opened(tmp_path, content).rows


@pytest.mark.parametrize("name", HOSTILE)
def test_files_of_any_name_are_read(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "with 'quotes'; [1] ü"
    folder.mkdir()
    found = opened(folder, "a,b\n1,x\n", names=[name])
    assert found.rows == 1
    assert values(found, {"a": Column("int64"), "b": Column("string")}) == {"a": [1], "b": [b"x"]}
    with pytest.raises(DataError) as raised:
        found.find_bad_row({"b": Column("int64")})
    assert str(folder / name) in str(raised.value)


@pytest.mark.parametrize("sizes", [(1,), (3, 2), (1, 1, 1, 1, 1, 1), (100, 30, 70, 1, 65)])
def test_every_row_of_every_file_once_in_a_fixed_order(tmp_path: Path, sizes: tuple[int, ...]) -> None:
    names = iter(range(sum(sizes)))
    found = opened(tmp_path, *("a\n" + "".join(f"{next(names)}\n" for _ in range(size)) for size in sizes))
    assert values(found, INT)["a"] == list(range(found.rows))


def test_the_first_64_parsed_are_the_first_64_values(tmp_path: Path) -> None:
    """`FileInputs.sample_request` and `sample_dataset` have to mean the same rows."""
    rng = random.Random(0)
    for sizes in ([rng.choice([1, 3, 30, 63, 64, 65, 200]) for _ in range(6)] for _ in range(6)):
        names = iter(range(sum(sizes)))
        found = opened(tmp_path, *("a\n" + "".join(f"{next(names)}\n" for _ in range(size)) for size in sizes))
        assert values(found, INT)["a"][:64] == [row["a"] for row in found.first_values(INT, 64)]


@pytest.mark.parametrize(
    ("name", "layout", "content"),
    [
        pytest.param("x.csv", {}, 'a,b\n1,x y\n2,"x,y"\n', id="commas"),
        pytest.param("x.tsv", {}, "a\tb\n1\tx y\n2\tx,y\n", id="tabs by the suffix"),
        pytest.param("x.csv", {"delimiter": "tab"}, "a\tb\n1\tx y\n2\tx,y\n", id="tabs by the flag"),
        pytest.param("x.tsv", {"delimiter": ","}, 'a,b\n1,x y\n2,"x,y"\n', id="the flag comes first"),
        pytest.param("x.csv", {"delimiter": ";"}, "a;b\n1;x y\n2;x,y\n", id="semicolons"),
        pytest.param("x.csv", {"delimiter": "|"}, "a|b\n1|x y\n2|x,y\n", id="bars"),
        pytest.param("x.csv", {"delimiter": "]"}, "a]b\n1]x y\n2]x,y\n", id="a bracket"),
        pytest.param("x.csv", {"delimiter": "^"}, "a^b\n1^x y\n2^x,y\n", id="a caret"),
        pytest.param("x.csv", {"delimiter": "\\t"}, "a\tb\n1\tx y\n2\tx,y\n", id="a tab as it is written"),
        pytest.param("x.csv", {"columns": ("a", "b")}, '1,x y\n2,"x,y"\n', id="names by the flag"),
        pytest.param("x.csv", {"columns": ("a", "b")}, '\n1,x y\n\n2,"x,y"', id="names by the flag, blank lines"),
        pytest.param("x.data", {"format": "csv"}, 'a,b\r\n1,x y\r\n2,"x,y"', id="the format by the flag"),
    ],
)
def test_layouts(tmp_path: Path, name: str, layout: dict[str, Any], content: str) -> None:
    found = opened(tmp_path, content, names=[name], **layout)
    assert (found.columns, found.rows) == (("a", "b"), 2)
    columns = {name: found.column(name) for name in "ab"}
    assert columns == {"a": Column("int64"), "b": Column("string")}
    assert values(found, columns) == {"a": [1, 2], "b": [b"x y", b"x,y"]}
    assert found.first_values(columns, 9) == [{"a": 1, "b": "x y"}, {"a": 2, "b": "x,y"}]


@pytest.mark.parametrize(
    ("names", "layout", "contents", "words"),
    [
        (["x.csv"], {"columns": ("a", "b")}, ["a,b\n1,2\n"], "the first line of .*x.csv names the columns itself"),
        (["x.csv"], {"columns": ("a", "b")}, ['"a",b\r\n1,2\n'], "the first line of .*x.csv names the columns itself"),
        (["x.csv"], {"columns": ("a", "b")}, [b"\xef\xbb\xbf1,2\n"], "x.csv begins with a byte order mark"),
        (["x.csv"], {"columns": ("a", "b")}, ["1,2\n".encode("utf-16")], "x.csv, line 1: this is not UTF-8"),
        (["x.csv"], {"columns": ("a", "b")}, [b"1\0,2\0\n"], "x.csv, line 1: found a NUL character"),
        (["x.csv", "y.tsv"], {}, ["a,b\n1,2\n", "a\tb\n1\t2\n"], "y.tsv and .*x.csv have different separators by"),
    ],
)
def test_layouts_that_do_not_go_with_the_files(
    tmp_path: Path, names: list[str], layout: dict[str, Any], contents: list[str | bytes], words: str
) -> None:
    with pytest.raises(DataError, match=words):
        opened(tmp_path, *contents, names=names, **layout)


def test_names_by_the_flag_have_to_be_as_many_as_the_fields(tmp_path: Path) -> None:
    found = opened(tmp_path, "1,2,3\n", columns=("a", "b"))
    with pytest.raises(DataError, match=r"0\.csv, line 1: found 3 fields where there are 2 columns"):
        found.check_sample(INT)
