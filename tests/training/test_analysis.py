"""Vocabularies, statistics and classes: found in one pass, a line each, read back by every later run."""

from __future__ import annotations

import itertools
import os
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import tensorflow as tf

from tests.training.analysis_lab import (
    COLUMNS,
    assets,
    by_analyzers,
    module,
    record,
    snapshot,
    training_set,
    write_files,
)
from trainer.job.columns import Column
from trainer.job.errors import DataError, JobDirError, ModelError
from trainer.job.paths import JobPaths
from trainer.training.analysis import (
    TrainingSet,
    class_counts,
    count_classes,
    find_assets,
    find_classes,
    read_lines,
    write_lines,
)


@pytest.fixture
def paths(tmp_path: Path) -> JobPaths:
    """A job directory with a name that needs care."""
    return JobPaths(str(tmp_path / "it's; a job ü"))


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Two files of words, sizes and counts."""
    return write_files(tmp_path)


@pytest.fixture
def training(files: list[str], paths: JobPaths) -> TrainingSet:
    """A job that has not begun."""
    return training_set(files, paths)


def test_analyze_runs_once_in_the_life_of_a_job(training: TrainingSet) -> None:
    calls = itertools.count()

    def analyze(data: Any) -> Any:
        next(calls)
        return {"words": data.vocabulary("word")}

    first = find_assets(module(analyze), COLUMNS, training)
    before = snapshot(training.paths)
    assert find_assets(module(analyze), COLUMNS, training) == first
    assert (next(calls), snapshot(training.paths)) == (1, before)


LEAST = 1


def with_a_constant(data: Any) -> Any:
    return {"words": data.vocabulary("word", min_count=LEAST), "all": ["x"]}


def test_another_request_or_other_data_are_looked_into_again(
    files: list[str], paths: JobPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(files[0]).write_text("count,word,size,other\n1,b,0.5,x\n2,b,1.5,x\n")
    assert assets(with_a_constant, training_set(files, paths))["words"] == ["b", "a, b"]
    monkeypatch.setitem(globals(), "LEAST", 2)
    assert assets(with_a_constant, training_set(files, paths))["words"] == ["b"]
    Path(files[0]).write_text("count,word,size,other\n1,c,0.5,x\n2,c,1.5,x\n")
    assert assets(with_a_constant, training_set(files, paths))["words"] == ["c"]
    assert assets(lambda data: {"other": ["y"]}, training_set(files, paths)) == {"other": ["y"]}
    assert {each.name for each in Path(paths.assets).iterdir()} == {"analysis.json", "other.txt"}, "no leftovers"


def test_the_same_files_at_another_place_are_the_same_data(files: list[str], paths: JobPaths, tmp_path: Path) -> None:
    assets(by_analyzers, training_set(files, paths))
    before = snapshot(paths)
    (tmp_path / "moved").mkdir()
    moved = [str(Path(path).rename(tmp_path / "moved" / Path(path).name)) for path in files]
    assets(by_analyzers, training_set(moved, paths))
    assert snapshot(paths) == before


def test_a_job_with_steps_goes_on_with_what_it_found(
    files: list[str], paths: JobPaths, caplog: pytest.LogCaptureFixture
) -> None:
    assets(with_a_constant, training_set(files, paths))
    before = snapshot(paths)
    under_way = training_set(files, paths, has_steps=True)
    assert assets(with_a_constant, under_way)["words"] == ["a, b", "b", "ü"]
    assert not caplog.messages
    assert assets(by_analyzers, under_way)["words"] == ["a, b", "b", "ü"]
    assert "has changed since this job began; it goes on with what it found then, --fresh starts anew" in caplog.text
    assert snapshot(paths) == before


class Killed(BaseException):
    """What no code catches."""


@pytest.mark.parametrize("write", range(7))
@pytest.mark.parametrize("again", [False, True])
def test_a_pass_that_was_killed_leaves_nothing_that_counts(
    files: list[str], paths: JobPaths, monkeypatch: pytest.MonkeyPatch, write: int, again: bool
) -> None:
    """Killed before its n-th file: in an empty folder, or where the results of other data are."""
    if again:
        assets(by_analyzers, training_set(files, paths))
        Path(files[0]).write_text("count,word,size,other\n7,c,8,x\n")
    replace, writes = os.replace, itertools.count()

    def killed(*arguments: Any, **more: Any) -> None:
        if next(writes) == write:
            raise Killed
        replace(*arguments, **more)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        if write < 6:
            with pytest.raises(Killed):
                assets(by_analyzers, training_set(files, paths))
        else:
            assets(by_analyzers, training_set(files, paths))
            assert next(writes) == 6, "there are more files than this test knows of"
    undisturbed = JobPaths(paths.job_dir + "_undisturbed")
    expected = assets(by_analyzers, training_set(files, undisturbed))
    assert assets(by_analyzers, training_set(files, paths)) == expected
    assert record(paths) == record(undisturbed)


def test_a_damaged_file_is_found_again(training: TrainingSet, paths: JobPaths) -> None:
    first = assets(by_analyzers, training)
    Path(paths.assets, "words.txt").write_text("b\n")
    assert assets(by_analyzers, training) == first
    Path(paths.assets, "own.txt").unlink()
    assert assets(by_analyzers, training) == first


def test_classes_are_not_among_the_assets(training: TrainingSet) -> None:
    classes = find_classes("word", training)
    assert set(assets(lambda data: {"words": ["a"]}, training)) == {"words"}
    assert set(assets(lambda data: {"words": ["b"]}, training)) == {"words"}
    assert read_lines(classes) == ["a, b", "b", "ü"]


def test_without_analyze_there_are_no_assets(training: TrainingSet, paths: JobPaths) -> None:
    assert find_assets(ModuleType("model_file"), COLUMNS, training) == {}
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
def test_what_analyze_must_not_return(training: TrainingSet, paths: JobPaths, found: Any, words: str) -> None:
    def analyze(data: Any) -> Any:
        return found

    line = analyze.__code__.co_firstlineno
    with pytest.raises(ModelError, match=re.escape(words)) as raised:
        assets(analyze, training)
    assert str(raised.value).startswith(f"{__file__}:{line}: ")
    assert not Path(paths.assets).exists()


def test_an_error_in_analyze_is_told_with_its_line(training: TrainingSet) -> None:
    def analyze(data: Any) -> dict[str, list[str]]:
        raise KeyError("wrod")

    line = analyze.__code__.co_firstlineno + 1
    with pytest.raises(ModelError, match=rf"test_analysis\.py:{line}: analyze raised KeyError: 'wrod'"):
        assets(analyze, training)


def test_classes_are_sorted_and_counted(files: list[str], paths: JobPaths) -> None:
    Path(files[1]).write_text("count,word,size,other\n1,b,1,x\n3,a,1,x\n3,b,1,x\n", encoding="utf-8")
    training = training_set(files, paths)
    path = find_classes("word", training)
    assert read_lines(path) == ["a", "b", "ü"]
    assert Path(path).is_absolute()
    assert class_counts(paths) == {"a": 1, "b": 3, "ü": 1}
    assert (record(paths, "classes")["rows"], list(class_counts(paths))) == (5, ["a", "b", "ü"])
    before = snapshot(paths)
    assert find_classes("word", training) == path
    assert snapshot(paths) == before
    assert count_classes("count", Column("int64"), training, "classes_count") == {"1": 2, "2": 1, "3": 2}
    with pytest.raises(JobDirError, match=r"assets/classes_more\.json is missing"):
        class_counts(paths, "classes_more")


def test_classes_of_another_column_or_other_data_are_found_anew(files: list[str], paths: JobPaths) -> None:
    assert read_lines(find_classes("word", training_set(files, paths))) == ["a, b", "b", "ü"]
    assert read_lines(find_classes("other", training_set(files, paths))) == ["x"]
    Path(files[1]).write_text("count,word,size,other\n3,c,1,y\n")
    assert read_lines(find_classes("other", training_set(files, paths))) == ["x", "y"]


def test_a_label_that_is_no_line_is_refused(tmp_path: Path, paths: JobPaths) -> None:
    """An empty one is the caller's business: he can say where it stands."""
    path = tmp_path / "data.jsonl"
    path.write_text('{"label": "a"}\n{"label": "b\\nc"}\n')
    with pytest.raises(DataError, match=r"column label holds the label b'b\\nc': a label has to be UTF-8 text of one"):
        find_classes("label", training_set([str(path)], paths))
    path.write_text('{"label": "a"}\n{"label": ""}\n')
    assert read_lines(find_classes("label", training_set([str(path)], paths))) == ["", "a"]


def test_a_relative_job_dir_gives_absolute_paths(
    files: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The graph keeps the path, and the verifying process may run elsewhere."""
    monkeypatch.chdir(tmp_path)
    training = training_set(files, JobPaths("runs/a"))
    found = find_assets(module(lambda data: {"words": ["a"]}), COLUMNS, training)
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
