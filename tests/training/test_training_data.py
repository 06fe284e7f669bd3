"""What `analyze(data)` is given: rows to iterate over, and analyzers that share one pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.training.analysis_lab import (
    COLUMNS,
    Analyze,
    assets,
    by_analyzers,
    module,
    record,
    training_set,
    write_files,
)
from trainer.job.columns import Column
from trainer.job.errors import DataError, ModelError
from trainer.job.paths import JobPaths
from trainer.training import analysis
from trainer.training.analysis import (
    TrainingSet,
    find_assets,
    read_lines,
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


def test_a_pass_sees_every_row_of_the_training_files_once(training: TrainingSet, paths: JobPaths) -> None:
    seen: list[tuple[bytes, float, int]] = []

    def analyze(data: Any) -> dict[str, list[str]]:
        for batch in data:
            assert set(batch) == set(COLUMNS)
            assert (batch["size"].dtype, batch["count"].dtype) == (np.float32, np.int64)
            seen.extend(zip(batch["word"].tolist(), batch["size"].tolist(), batch["count"].tolist(), strict=True))
        return {"words": ["b", " ", "ü"], "sizes": ["0.5"]}

    found = find_assets(module(analyze), COLUMNS, training)
    assert seen == [(b"b", 0.5, 1), ("ü".encode(), 1.5, 2), (b"a, b", 2.5, 3)]
    assert found == {name: f"{paths.assets}/{name}.txt" for name in ("words", "sizes")}
    assert Path(found["words"]).read_bytes() == "b\n \nü\n".encode()
    assert read_lines(found["words"]) == ["b", " ", "ü"]
    assert record(paths)["rows"] == 3


def test_analyzers_give_lines_and_facts(training: TrainingSet, paths: JobPaths) -> None:
    assert assets(by_analyzers, training) == {
        "words": ["a, b", "b"],
        "size": ["1.5", repr(2 / 3)],
        "count": ["2.0"],
        "ends": ["1.0", "3.0"],
        "own": ["a line"],
    }
    kept = record(paths)
    assert kept["rows"] == 3
    assert list(kept["results"]) == sorted(kept["results"])
    words = kept["results"]["words"]
    assert {name: words[name] for name in ("column", "top", "counts", "distinct", "cut_off", "missing")} == {
        "column": "word",
        "top": 2,
        "counts": {"a, b": 1, "b": 1},
        "distinct": 3,
        "cut_off": 1,
        "missing": 0,
    }
    assert {name: kept["results"]["size"][name] for name in ("analyzer", "column", "count", "missing")} == {
        "analyzer": "moments",
        "column": "size",
        "count": 3,
        "missing": 0,
    }


def test_analyzers_read_no_other_columns(files: list[str], paths: JobPaths) -> None:
    Path(files[1]).write_text("count,word,size,other\nx,c,y,x\n")
    assert assets(lambda data: {"words": data.vocabulary("word")}, training_set(files, paths)) == {
        "words": ["b", "c", "ü"]
    }
    with pytest.raises(DataError, match=r"1\.csv, line 2, column size: found 'y' where a number is needed"):
        assets(lambda data: {"size": data.moments("size")}, training_set(files, paths))


def test_one_pass_does_for_all_analyzers(
    training: TrainingSet, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """And a second one for who iterates himself as well, which is said."""
    passes: list[set[str]] = []
    batches = analysis.column_batches

    def counted(reader: Any, columns: Any) -> Any:
        passes.append(set(columns))
        return batches(reader, columns)

    monkeypatch.setattr("trainer.training.training_data.column_batches", counted)
    assets(by_analyzers, training)
    assert passes == [{"word", "size", "count"}]
    assert not caplog.messages

    def both(data: Any) -> Any:
        return {"rows": [str(sum(len(batch["word"]) for batch in data))], "words": data.vocabulary("word")}

    assert assets(both, training) == {"rows": ["3"], "words": ["a, b", "b", "ü"]}
    assert passes[1:] == [{"word", "size", "count"}, {"word"}]
    assert "the files are read once more" in caplog.text


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_missing_numbers_with_a_default_are_counted_apart(tmp_path: Path, paths: JobPaths, suffix: str) -> None:
    texts = {
        "csv": "n,x,w\n4,1.5,a\n,,b\n6,2.5,b\n",
        "jsonl": '{"n": 4, "x": 1.5, "w": "a"}\n{"w": "b"}\n{"n": 6, "x": 2.5, "w": "b"}\n',
    }
    path = tmp_path / f"data.{suffix}"
    path.write_text(texts[suffix])
    columns = {"n": Column("int64", default=0), "x": Column("float32", default=-1.0), "w": Column("string")}

    def analyze(data: Any) -> Any:
        seen = [batch["n"].tolist() + batch["x"].tolist() for batch in data]
        assert seen == [[4, 0, 6, 1.5, -1.0, 2.5]], "who iterates gets what the model gets"
        return {"n": data.range("n"), "x": data.moments("x"), "words": data.vocabulary("n")}

    found = find_assets(module(analyze), columns, training_set([str(path)], paths))
    lines = {name: read_lines(each) for name, each in found.items()}
    assert lines == {"n": ["4.0", "6.0"], "x": ["2.0", "0.25"], "words": ["0", "4", "6"]}
    assert [record(paths)["results"][name]["missing"] for name in ("n", "x", "words")] == [1, 1, 1]


MISTAKES: list[tuple[Analyze, str]] = [
    (
        lambda data: {"a": data.vocabulary("wrod")},
        "data.vocabulary('wrod'): there is no such feature column; there are word, size, count.",
    ),
    (
        lambda data: {"a": data.moments("other")},
        "data.moments('other'): there is no such feature column; there are word, size, count.",
    ),
    (
        lambda data: {"a": data.range("word")},
        "data.range('word'): the column holds text, where whole numbers or numbers are needed: ask for another column, "
        "or declare its kind in FEATURES.",
    ),
    (
        lambda data: {"a": data.vocabulary("size")},
        "data.vocabulary('size'): the column holds numbers, where text or whole numbers are needed: ask for another "
        "column, or declare its kind in FEATURES.",
    ),
    (
        lambda data: {"a": data.quantiles("size", 1)},
        "data.quantiles('size', parts=1): give a whole number from 2 on.",
    ),
    (
        lambda data: {"a": data.vocabulary("word", top=0)},
        "data.vocabulary('word', top=0): give a whole number from 1 on.",
    ),
    (
        lambda data: {"a": data.vocabulary("word", min_count=1.5)},
        "data.vocabulary('word', min_count=1.5): give a whole number from 1 on.",
    ),
]


@pytest.mark.parametrize(("analyze", "words"), MISTAKES)
def test_a_mistake_in_a_request_is_told_before_anything_is_read(
    training: TrainingSet, paths: JobPaths, analyze: Analyze, words: str
) -> None:
    line = analyze.__code__.co_firstlineno
    with pytest.raises(ModelError) as raised:
        assets(analyze, training)
    assert str(raised.value) == f"{__file__}:{line}: {words}"
    assert not Path(paths.assets).exists()
