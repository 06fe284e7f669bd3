"""Which files a pattern means, and what tells one set of files from another."""

from __future__ import annotations

import contextlib
import hashlib
import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies

from trainer.cloud import matching
from trainer.cloud.storage import Stored
from trainer.job.errors import DataError
from trainer.training import files
from trainer.training.files import describe_files, match_files

HOSTILE = [
    "a 0.csv",
    "it's.csv",
    'say "x".csv',
    "; echo.csv",
    "a[1].csv",
    "a*.csv",
    "ü 日本.csv",
    "$HOME.csv",
    "-x.csv",
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with train-0.csv to train-2.csv, eval.csv and a folder of its own."""
    for name in ("train-2.csv", "train-0.csv", "train-1.csv", "eval.csv"):
        (tmp_path / name).write_text(name)
    (tmp_path / "train-old.csv").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        pytest.param(["eval.csv"], ["eval.csv"], id="a name"),
        pytest.param(["train-*.csv"], ["train-0.csv", "train-1.csv", "train-2.csv"], id="a pattern, without folders"),
        pytest.param(["train-[02].csv"], ["train-0.csv", "train-2.csv"], id="brackets"),
        pytest.param(["train-?.csv"], ["train-0.csv", "train-1.csv", "train-2.csv"], id="a question mark"),
        pytest.param(["*-1.csv", "eval.csv", "train-1.csv"], ["eval.csv", "train-1.csv"], id="each once, in order"),
    ],
)
def test_patterns(folder: Path, patterns: list[str], names: list[str]) -> None:
    found = match_files([str(folder / pattern) for pattern in patterns], "--train-files")
    assert found == [str(folder / name) for name in names]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_that_exists_is_taken_literally(tmp_path: Path, name: str) -> None:
    for each in (name, "a1.csv", "ab.csv"):
        (tmp_path / each).write_text("x")
    assert match_files([str(tmp_path / name)], "--train-files") == [str(tmp_path / name)]


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("absent.csv", "absent.csv matches no file: give existing files, as in --eval-files='data/*.csv'."),
        ("test-*.csv", "test-*.csv matches no file"),
        ("train-old.csv", "train-old.csv is a folder: name files, as in --eval-files='"),
        ("*-old.csv", "is a folder: name files"),
        ("", "is a folder: name files"),
    ],
)
def test_a_pattern_without_files_is_said(folder: Path, pattern: str, words: str) -> None:
    with pytest.raises(DataError, match=re.escape(words)) as raised:
        match_files([str(folder / "eval.csv"), f"{folder}/{pattern}"], "--eval-files")
    assert f"--eval-files={folder}/{pattern}" in str(raised.value)


def test_a_description_has_path_size_and_hash(tmp_path: Path) -> None:
    path = tmp_path / "a b.csv"
    path.write_bytes(b"abc\xff")
    described = describe_files([str(path)])
    assert described == [{"path": str(path), "bytes": 4, "sha256": hashlib.sha256(b"abc\xff").hexdigest()}]


def test_a_large_file_is_told_by_size_and_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "WHOLE_BYTES", 20)
    monkeypatch.setattr(files, "END_BYTES", 4)
    contents = [b"head" + b"m" * 20 + b"tail", b"HEAD" + b"m" * 20 + b"tail", b"head" + b"m" * 20 + b"TAIL",
                b"head" + b"m" * 21 + b"tail", b"head" + b"n" * 20 + b"tail"]  # fmt: skip
    paths = [tmp_path / str(number) for number in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    first, *others, same_ends = [
        {name: value for name, value in each.items() if name != "path"}
        for each in describe_files([str(path) for path in paths])
    ]
    assert first == {"bytes": 28, "sha256_of_ends": hashlib.sha256(b"headtail").hexdigest()}
    assert first not in others
    assert first == same_ends, "the price of not reading it all"


LETTERS = "ab-[]*\\"
TOKENS = (
    *"ab-]*?",
    "[ab]",
    "[!a]",
    "[^a]",
    "[a-b]",
    "[b-a]",
    "[]a]",
    "[!]]",
    r"[\]a]",
    "[-a]",
    r"\*",
    r"\[",
    r"\a",
    r"\\",
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    names=strategies.lists(strategies.lists(strategies.text(LETTERS, min_size=1), min_size=1, max_size=2), max_size=6),
    pattern=strategies.lists(
        strategies.lists(strategies.sampled_from(TOKENS), min_size=1).map("".join), min_size=1, max_size=2
    ),
)
def test_a_pattern_means_in_a_bucket_what_it_means_on_a_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: list[list[str]], pattern: list[str]
) -> None:
    folder = Path(tempfile.mkdtemp(dir=tmp_path))
    for parts in names:
        with contextlib.suppress(OSError):  # what is a folder already
            folder.joinpath(*parts).parent.mkdir(exist_ok=True)
            folder.joinpath(*parts).write_text("x")
    there = [f"gs://b/{path.relative_to(folder)}" for path in folder.rglob("*") if path.is_file()]
    begin_alike = lambda url, patience: [Stored(each, 1, "", 1) for each in there if each.startswith(url)]  # noqa: E731
    monkeypatch.setattr(matching, "objects_below", begin_alike)
    on_disk = found_as("/".join([str(folder), *pattern]), str(folder))
    assert found_as("/".join(["gs://b", *pattern]), "gs://b") == on_disk


def found_as(pattern: str, folder: str) -> list[str] | bool:
    """Names below a folder; without one, whether it is said that a folder was found."""
    try:
        return [name.removeprefix(folder) for name in match_files([pattern], "--train-files")]
    except DataError as error:
        return "is a folder" in str(error)
