"""Vocabularies and classes: found once, a line each, read back by every later run."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from trainer.job.errors import ModelError
from trainer.job.paths import JobPaths
from trainer.training.analysis import find_assets, find_classes, read_lines, write_lines
from trainer.training.csv_reader import CsvReader

Batches = Iterator[dict[str, np.ndarray]]
KINDS = {"word": "string", "size": "float32", "count": "int64"}


@pytest.fixture
def paths(tmp_path: Path) -> JobPaths:
    """A job directory with a name that needs care."""
    return JobPaths(str(tmp_path / "it's; a job ü"))


@pytest.fixture
def reader(tmp_path: Path) -> CsvReader:
    """Two files of words, sizes and counts."""
    (tmp_path / "0.csv").write_text("count,word,size,other\n1,b,0.5,x\n2,ü,1.5,x\n", encoding="utf-8")
    (tmp_path / "1.csv").write_text('count,word,size,other\n3,"a, b",2.5,x\n', encoding="utf-8")
    return CsvReader.open([str(tmp_path / "0.csv"), str(tmp_path / "1.csv")])


def module(analyze: Callable[[Batches], Any]) -> ModuleType:
    made = ModuleType("model_file")
    made.__file__ = __file__
    made.__dict__["analyze"] = analyze
    return made


def test_analyze_sees_every_row_of_the_training_files_once(reader: CsvReader, paths: JobPaths) -> None:
    seen: list[tuple[bytes, float, int]] = []

    def analyze(batches: Batches) -> dict[str, list[str]]:
        for batch in batches:
            assert set(batch) == set(KINDS)
            assert (batch["size"].dtype, batch["count"].dtype) == (np.float32, np.int64)
            seen.extend(zip(batch["word"].tolist(), batch["size"].tolist(), batch["count"].tolist(), strict=True))
        return {"words": ["b", " ", "ü"], "sizes": ["0.5"]}

    found = find_assets(module(analyze), reader, KINDS, paths)
    assert sorted(seen) == [(b"a, b", 2.5, 3), (b"b", 0.5, 1), ("ü".encode(), 1.5, 2)]
    assert found == {name: f"{paths.assets}/{name}.txt" for name in ("words", "sizes")}
    assert Path(found["words"]).read_bytes() == "b\n \nü\n".encode()
    assert read_lines(found["words"]) == ["b", " ", "ü"]


def test_analyze_runs_once_in_the_life_of_a_job(reader: CsvReader, paths: JobPaths) -> None:
    first = find_assets(module(lambda batches: {"words": ["a"]}), reader, KINDS, paths)
    again = find_assets(module(lambda batches: pytest.fail("analyze ran again")), reader, KINDS, paths)
    assert again == first
    assert read_lines(again["words"]) == ["a"]


def test_classes_are_not_among_the_assets(reader: CsvReader, paths: JobPaths) -> None:
    find_classes(reader, "word", paths)
    assert set(find_assets(module(lambda batches: {"words": ["a"]}), reader, KINDS, paths)) == {"words"}
    assert set(find_assets(module(lambda batches: {"words": ["b"]}), reader, KINDS, paths)) == {"words"}


def test_without_analyze_there_are_no_assets(reader: CsvReader, paths: JobPaths) -> None:
    assert find_assets(ModuleType("model_file"), reader, KINDS, paths) == {}
    assert not Path(paths.assets).exists()


WRONG = [
    pytest.param(None, "analyze returned NoneType: return lists of lines by name", id="nothing"),
    pytest.param(["a"], "analyze returned list: return lists of lines by name", id="a list"),
    pytest.param({"a b": ["x"]}, "analyze returned dict: return lists of lines by name", id="a name with a space"),
    pytest.param({"../a": ["x"]}, "analyze returned dict: return lists of lines by name", id="a path"),
    pytest.param({1: ["x"]}, "analyze returned dict: return lists of lines by name", id="a number for a name"),
    pytest.param({"classes": ["x"]}, "analyze returned dict", id="a name of ours"),
    pytest.param({"words": "abc"}, "analyze gave str for 'words': give a list of strings", id="a string"),
    pytest.param({"words": None}, "analyze gave NoneType for 'words': give a list of strings", id="nothing by name"),
    pytest.param({"words": iter(["a"])}, "for 'words': give a list of strings", id="an iterator"),
    pytest.param({"words": []}, "analyze gave no line for 'words'", id="no line"),
    pytest.param({"words": ["a", 1]}, "analyze gave the line 1 for 'words'", id="a number"),
    pytest.param({"words": [b"a"]}, "analyze gave the line b'a' for 'words'", id="bytes"),
    pytest.param({"words": ["a\nb"]}, r"analyze gave the line 'a\nb' for 'words'", id="two lines in one"),
    pytest.param({"words": ["a", ""]}, "analyze gave the line '' for 'words'", id="an empty line"),
    pytest.param({"words": ["\r"]}, r"analyze gave the line '\r' for 'words'", id="a carriage return"),
]


@pytest.mark.parametrize(("found", "words"), WRONG)
def test_what_analyze_must_not_return(reader: CsvReader, paths: JobPaths, found: Any, words: str) -> None:
    def analyze(batches: Batches) -> Any:
        return found

    line = analyze.__code__.co_firstlineno
    with pytest.raises(ModelError, match=re.escape(words)) as raised:
        find_assets(module(analyze), reader, KINDS, paths)
    assert str(raised.value).startswith(f"{__file__}:{line}: ")
    assert not Path(paths.assets).exists()


def test_an_error_in_analyze_is_told_with_its_line(reader: CsvReader, paths: JobPaths) -> None:
    def analyze(batches: Batches) -> dict[str, list[str]]:
        raise KeyError("wrod")

    line = analyze.__code__.co_firstlineno + 1
    with pytest.raises(ModelError, match=rf"test_analysis\.py:{line}: analyze raised KeyError: 'wrod'"):
        find_assets(module(analyze), reader, KINDS, paths)


def test_classes_are_sorted_and_each_there_once(reader: CsvReader, paths: JobPaths) -> None:
    path = find_classes(reader, "word", paths)
    assert read_lines(path) == ["a, b", "b", "ü"]
    assert Path(path).is_absolute()


def test_a_relative_job_dir_gives_absolute_paths(
    reader: CsvReader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The graph keeps the path, and the verifying process may run elsewhere."""
    monkeypatch.chdir(tmp_path)
    found = find_assets(module(lambda batches: {"words": ["a"]}), reader, KINDS, JobPaths("runs/a"))
    assert found == {"words": f"{tmp_path}/runs/a/assets/words.txt"}


LINES = ["a", " ", "ü", "a\u2028b", "\x85", "\x1c", "日本", "'", '"', "\\", "\t"]


def test_any_line_comes_back_and_is_one_to_tensorflow_too(paths: JobPaths) -> None:
    path = write_lines(paths, "words", LINES)
    assert read_lines(path) == LINES
    initializer = tf.lookup.TextFileInitializer(
        path, tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER
    )
    table = tf.lookup.StaticHashTable(initializer, -1)
    assert table.lookup(tf.constant(LINES)).numpy().tolist() == list(range(len(LINES)))
    assert [each.name for each in Path(paths.assets).iterdir()] == ["words.txt"]
