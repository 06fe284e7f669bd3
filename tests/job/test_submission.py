"""Flags of a submission, and the trainer's beside them."""

from __future__ import annotations

import re

import pytest

from trainer.job.environment import Environment
from trainer.job.errors import UsageError
from trainer.job.flags import HelpRequested, parse
from trainer.job.submission import Submission, parse_following, parse_sent, parse_submission, project_and_region


def test_what_is_not_of_the_submission_is_the_trainers() -> None:
    settings, words = parse_submission(["--spot", "--labels", "team=blue,run=1", "--timeout=90m", "--epochs=2"])
    assert settings == Submission(spot=True, labels=("team=blue,run=1",), timeout="90m")
    assert (settings.label_of, settings.timeout_secs, words) == ({"team": "blue", "run": "1"}, 5400, ["--epochs=2"])


@pytest.mark.parametrize(("text", "secs"), [("7200s", 7200), ("15", 15), ("12h", 43200), ("2d", 172800)])
def test_times(text: str, secs: int) -> None:
    assert Submission(timeout=text).timeout_secs == secs


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--timeout=2w"], "--timeout=2w: expected a time such as 7200s, 90m, 12h or 2d."),
        (["--timeout=0"], "--timeout=0: expected a time"),
        (["--labels=Team=x"], "--labels=Team=x: expected NAME=VALUE in small letters"),
        (["--labels=a=1,a=2"], "each name once"),
        (["--via=carrier-pigeon"], "--via=carrier-pigeon: expected one of auto, gcloud, rest."),
    ],
)
def test_flags_that_cannot_be_used(argv: list[str], words: str) -> None:
    with pytest.raises(UsageError, match=re.escape(words)):
        parse_submission(argv)


def test_flags_given_now_stand_over_those_of_the_file() -> None:
    below = ["--epochs=2", "--batch-size=32", "--units=8", "--model=trainer.samples.digits"]
    with pytest.raises(UsageError, match="unknown flag --units"):
        parse_sent([], below)
    parsed = parse_sent(["--epochs=3", "--seed=1"], below[:2])
    assert parsed.job == parse(["--epochs=3", "--seed=1", "--batch-size=32"], Environment()).job
    assert (parsed.sources["epochs"], parsed.sources["batch_size"]) == ("flag", "below")
    # one of two that exclude each other: the stronger source's
    assert parse_sent(["--train-steps=9"], below[:2]).job.training.epochs is None


def test_the_files_model_decides_which_flags_there_are() -> None:
    parsed = parse_sent(["--lstm-units=32"], ["--model=trainer.samples.place_names"])
    assert parsed.job.hyperparameters == (("lstm_units", 32),)
    assert parse_sent([], ["--model=trainer.samples.digits"]).job.model.model == "trainer.samples.digits"


def test_a_flag_that_nobody_knows_may_have_been_the_submissions() -> None:
    with pytest.raises(UsageError, match=r"unknown flag --regoin=x: did you mean --region\?"):
        parse_sent(["--regoin=x"], [])


def test_the_environment_names_project_and_region() -> None:
    environ = {"CLOUDSDK_CORE_PROJECT": "a", "GOOGLE_CLOUD_PROJECT": "b", "CLOUDSDK_AI_REGION": "c"}
    assert project_and_region(None, None, environ) == ("b", "c")
    assert project_and_region("mine", "here", environ) == ("mine", "here")
    assert project_and_region(None, None, {"GOOGLE_CLOUD_PROJECT": ""}) == (None, None)


def test_a_job_is_named_with_or_without_its_flag() -> None:
    assert parse_following("status", ["123", "--project=p"]) == parse_following("status", ["--project=p", "--job=123"])
    assert parse_following("logs", ["--no-follow", "123"]).follow is False
    with pytest.raises(UsageError, match="no job named"):
        parse_following("cancel", ["--region=us-central1"])
    with pytest.raises(UsageError, match="unknown flag --reigon"):
        parse_following("cancel", ["1", "--reigon=x"])
    with pytest.raises(HelpRequested, match="Print the log of a job"):
        parse_following("logs", ["--help"])
