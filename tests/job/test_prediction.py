"""The flags of `trainer.predict`."""

from __future__ import annotations

import re

import pytest

from trainer.job.columns import Layout
from trainer.job.config import Data, Output
from trainer.job.errors import UsageError
from trainer.job.flags import HelpRequested
from trainer.job.prediction import Prediction, parse_prediction
from trainer.job.settings import settings_of

NEEDED = ["--export=runs/first", "--files=data/*.csv", "--output=out"]
SHARED = {"format": Data, "columns": Data, "delimiter": Data, "max_bad_rows": Data, "verbosity": Output}


def test_defaults() -> None:
    found = parse_prediction(NEEDED)
    assert (found.export, found.files, found.output) == ("runs/first", ("data/*.csv",), "out")
    assert (found.part, found.wanted_outputs, found.layout) == ((1, 1), (), Layout())


def test_every_spelling() -> None:
    more = ["--shard=2/5", "--columns=a,b", "--delimiter=;", "--format=csv", "--key-column=id", "--batch_size=7"]
    files = ["--files", "1.csv", "2;'.csv", "--output=o", "--output_format=csv", "--outputs=class,scores"]
    found = parse_prediction(["--export", "a b", *files, *more])
    assert found.files == ("1.csv", "2;'.csv")
    assert (found.part, found.wanted_outputs) == ((2, 5), ("class", "scores"))
    assert found.layout == Layout("csv", ("a", "b"), ";")
    assert (found.output_format, found.key_column, found.batch_size) == ("csv", "id", 7)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--files=a", "--output=b"], "--export is missing: it says what predicts"),
        (["--export=a", "--output=b"], "--files is missing"),
        (["--export=a", "--files=b"], "--output is missing"),
        ([*NEEDED, "--expot=x"], "unknown flag --expot=x: did you mean --export"),
        ([*NEEDED, "--config=x"], "unknown flag --config=x"),
        ([*NEEDED, "--shard=0/3"], "--shard=0/3: expected I/N for machine I of N, from 1/N to N/N"),
        ([*NEEDED, "--shard=4/3"], "--shard=4/3"),
        ([*NEEDED, "--shard=2"], "--shard=2"),
        ([*NEEDED, "--shard=1/3x"], "--shard=1/3x"),
        ([*NEEDED, "--outputs=a,a"], "--outputs=a,a: expected names of outputs, each once"),
        ([*NEEDED, "--output-format=parquet"], "--output-format=parquet: expected one of jsonl, csv"),
        ([*NEEDED, "--max-bad-rows=-1"], "--max-bad-rows=-1: expected a whole number of at least 0"),
        ([*NEEDED, "--batch-size=0"], "--batch-size=0"),
        ([*NEEDED, "--export="], "--export="),
        ([*NEEDED, "--export=other"], "contradict each other"),
        (["stray", *NEEDED], "unexpected stray"),
    ],
)
def test_mistakes(words: list[str], sentence: str) -> None:
    with pytest.raises(UsageError, match=re.escape(sentence)):
        parse_prediction(words)


def test_help_shows_every_flag(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    with pytest.raises(HelpRequested) as caught:
        parse_prediction(["--help"])
    text = caught.value.text
    for each in settings_of(Prediction):
        assert re.search(rf"^  {each.flag} [^\n]*\n?\s*{re.escape(each.help)}", text, re.MULTILINE), each.name
    assert text.count("(required)") == 3
    assert "python -m trainer.predict --export=runs/first" in text
    assert "--config" not in text


@pytest.mark.parametrize("name", SHARED)
def test_what_a_job_has_too_is_the_same(name: str) -> None:
    [own] = [each for each in settings_of(Prediction) if each.name == name]
    [other] = [each for each in settings_of(SHARED[name]) if each.name == name]
    assert (own.kind, own.default, own.check, own.flags) == (other.kind, other.default, other.check, other.flags)
