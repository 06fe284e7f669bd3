"""A job that looks into two small files, for the tests of what it finds there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from trainer.job.columns import Column
from trainer.job.paths import JobPaths
from trainer.training.analysis import TrainingSet, find_assets, read_lines
from trainer.training.files import describe_files
from trainer.training.readers import open_reader

Analyze = Callable[[Any], Any]
COLUMNS = {"word": Column("string"), "size": Column("float32"), "count": Column("int64")}


def write_files(folder: Path) -> list[str]:
    """Two files of words, sizes and counts."""
    (folder / "0.csv").write_text("count,word,size,other\n1,b,0.5,x\n2,ü,1.5,x\n", encoding="utf-8")
    (folder / "1.csv").write_text('count,word,size,other\n3,"a, b",2.5,x\n', encoding="utf-8")
    return [str(folder / "0.csv"), str(folder / "1.csv")]


def training_set(files: list[str], paths: JobPaths, has_steps: bool = False) -> TrainingSet:
    """A job over some files."""
    return TrainingSet(open_reader(files), describe_files(files), paths, has_steps)


def module(analyze: Analyze) -> ModuleType:
    """A model module with an `analyze`."""
    made = ModuleType("model_file")
    made.__file__ = analyze.__code__.co_filename
    made.__dict__["analyze"] = analyze
    return made


def assets(analyze: Analyze, training: TrainingSet) -> dict[str, list[str]]:
    """Name -> lines."""
    return {name: read_lines(path) for name, path in find_assets(module(analyze), COLUMNS, training).items()}


def record(paths: JobPaths, name: str = "analysis") -> Any:
    """The content of a JSON file beside the assets."""
    return json.loads(Path(paths.assets, f"{name}.json").read_text(encoding="utf-8"))


def snapshot(paths: JobPaths) -> dict[str, tuple[bytes, int]]:
    """Name -> content and time of change."""
    return {each.name: (each.read_bytes(), each.stat().st_mtime_ns) for each in Path(paths.assets).iterdir()}


def by_analyzers(data: Any) -> Any:
    """One of each kind, and lines of its own."""
    return {
        "words": data.vocabulary("word", top=2),
        "size": data.moments("size"),
        "count": data.quantiles("count", 2),
        "ends": data.range("count"),
        "own": ["a line"],
    }
