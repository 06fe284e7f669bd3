"""The check's own flags and the trainer's, and what a study may tune."""

from __future__ import annotations

import pathlib

import pytest

from trainer.job.checking import Checking, parse_checked, parse_checking, tunable
from trainer.job.environment import Environment
from trainer.job.errors import UsageError
from trainer.job.flags import HelpRequested
from trainer.job.signature import read_signature


def test_own_flags_are_told_from_the_trainers() -> None:
    settings, words = parse_checking(
        [
            "--epochs=4",
            "--spec",
            "config.yaml",
            "--region=us-east1",
            "--no-local",
            "--train-files",
            "a",
            "b",
            "--",
            "--via=x",
        ]
    )
    assert settings == Checking(spec="config.yaml", region="us-east1", local=False)
    assert words == ["--epochs=4", "--train-files", "a", "b", "--via=x"]


def test_the_files_args_count_where_no_flag_does() -> None:
    parsed = parse_checked(["--epochs=4"], Environment(), ["--train-steps=9", "--batch-size=8", "--lstm-units=7"])
    assert (parsed.job.training.epochs, parsed.job.training.train_steps) == (4, None)
    assert parsed.job.data.batch_size == 8
    assert parsed.job.hyperparameters == (("lstm_units", 7),)


def test_help_is_the_checks_own() -> None:
    with pytest.raises(HelpRequested) as asked:
        parse_checking(["--model=nowhere.py", "--help"])
    assert "usage: python -m trainer.check" in asked.value.text
    assert "--prices" in asked.value.text


def test_whose_flag_may_be_meant() -> None:
    with pytest.raises(UsageError, match=r"did you mean --region\?$"):
        parse_checked(["--regoin=x"], Environment(), [])


def test_every_spelling_of_a_flag_may_be_tuned_but_no_negation(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("def build_model(hidden_units: int = 8, norm: bool = True, no_bias: bool = False):\n    pass\n")
    names = tunable(read_signature(str(path)))
    assert {"hidden_units", "hidden-units", "norm", "no_bias", "no-bias", "batch_size", "batch-size"} <= set(names)
    assert not {"no-norm", "no_norm", "no-no-bias", "no-deterministic", "config", "help"} & set(names)
    assert names["hidden_units"].read_texts("--hidden_units", ["3"]) == 3
