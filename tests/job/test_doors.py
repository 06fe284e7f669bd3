"""A door's own flags and the trainer's are told apart on one command line."""

from __future__ import annotations

import pytest

from trainer.job.doors import own_spellings, split_argv
from trainer.job.submission import Submission


@pytest.mark.parametrize(
    ("argv", "own", "rest"),
    [
        ([], [], []),
        (["--project=p", "--epochs=2"], ["--project=p"], ["--epochs=2"]),
        (["--project", "p", "--epochs", "2"], ["--project", "p"], ["--epochs", "2"]),
        (["--dry-run", "--dry_run_format=json", "--no-wait"], ["--dry-run", "--dry_run_format=json", "--no-wait"], []),
        (["--dry-run", "word"], ["--dry-run"], ["word"]),
        (["--project", "p", "word"], ["--project", "p"], ["word"]),
        (["--project=p", "word"], ["--project=p"], ["word"]),
        (["--labels", "a=1", "b=2", "--fresh"], ["--labels", "a=1", "b=2"], ["--fresh"]),
        (["--labels=a=1", "b=2", "--train-files", "x", "y"], ["--labels=a=1", "b=2"], ["--train-files", "x", "y"]),
        (["--wait", "--", "--project=p", "-x"], ["--wait"], ["--project=p", "-x"]),
        (["--epochs=2", "--help"], ["--help"], ["--epochs=2"]),
        (["--projct=p"], [], ["--projct=p"]),
    ],
)
def test_words_go_to_whose_flag_stands_before_them(argv: list[str], own: list[str], rest: list[str]) -> None:
    assert split_argv(argv, [Submission]) == (own, rest)


def test_own_spellings_are_there_for_proposals() -> None:
    assert {"--project", "--dry-run", "--dry_run", "--no-dry-run"} <= set(own_spellings([Submission]))
