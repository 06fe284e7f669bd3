"""Settings are checked however a job is made, and frozen."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from trainer.job.config import Data, Evaluation, Job, Training, all_settings
from trainer.job.errors import UsageError

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "zero": ({"batch_size": 0}, "--batch-size=0: expected a whole number of at least 1."),
    "negative": ({"train_steps": -5}, "--train-steps=-5: expected a whole number of at least 1."),
    "float for int": ({"epochs": 2.0}, "--epochs=2.0: expected a whole number of at least 1."),
    "bool for int": ({"batch_size": True}, "--batch-size=true: expected a whole number of at least 1."),
    "text for int": ({"batch_size": "3"}, "--batch-size=3: expected a whole number of at least 1."),
    "nan": (
        {"save_checkpoints_secs": float("nan")},
        "--save-checkpoints-secs=nan: expected a number of seconds above 0.",
    ),
    "inf": ({"eval_every_secs": float("inf")}, "--eval-every-secs=inf: expected a number of seconds above 0."),
    "zero secs": ({"eval_every_secs": 0.0}, "--eval-every-secs=0.0: expected a number of seconds above 0."),
    "too large a seed": (
        {"seed": 2**31},
        "--seed=2147483648: expected a whole number of at least 0 and below 2147483648.",
    ),
    "negative seed": ({"seed": -1}, "--seed=-1: expected a whole number of at least 0 and below 2147483648."),
    "unknown choice": ({"cache": "sometimes"}, "--cache=sometimes: expected one of auto, always, never."),
    "unknown exporter": (
        {"exporters": ("newest",)},
        "--exporters=newest: expected some of latest, best, final (or none).",
    ),
    "exporter twice": ({"exporters": ("best", "best")}, "--exporters=best best: expected each name once."),
    "empty text": ({"job_dir": ""}, "--job-dir=: expected a value that is not empty."),
    "blank text": ({"best_metric": " "}, "--best-metric= : expected a value that is not empty."),
    "empty file name": ({"train_files": ("a", "")}, "--train-files=a : expected file names that are not empty."),
    "half a feature map": ({"feature_map": ("a=",)}, "--feature-map=a=: expected INPUT=COLUMN or INPUT=COLUMN+COLUMN"),
    "an input twice": ({"feature_map": ("a=b", "a=c")}, "each input once"),
    "none where a value must be": ({"batch_size": None}, "--batch-size=None: expected a whole number"),
    "steps and epochs": ({"train_steps": 3, "epochs": 2}, "--train-steps=3 and --epochs=2: give only one of the two."),
    "two evaluation rhythms": ({"eval_every_steps": 3, "eval_every_secs": 2.0}, "give only one"),
    "two saving rhythms": ({"save_checkpoints_steps": 3, "save_checkpoints_secs": 2.0}, "give only one"),
    "a metric nothing reads": (
        {"exporters": ("latest",), "best_metric": "accuracy"},
        "--best-metric=accuracy is read by the best exporter only: add --exporters=latest,best or leave",
    ),
    "a number nothing reads": ({"exporters": (), "keep_exports": 9}, "--keep-exports=9 is read by exporters only"),
    "a folder nothing writes": (
        {"exporters": ("best",), "export_dir": "x"},
        "--export-dir=x is read by the final exporter",
    ),
}


@pytest.mark.parametrize(("values", "sentence"), REFUSED.values(), ids=REFUSED)
def test_refused(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        Job.of(values)
    assert sentence in str(caught.value)


def test_defaults() -> None:
    assert Job.of({}) == Job()
    assert (Job().data.batch_size, Job().training.epochs, Job().output.job_dir) == (256, None, None)
    assert Job().evaluation.exporters == ("latest", "best", "final")


def test_a_group_alone_is_checked_too() -> None:
    with pytest.raises(UsageError, match="--batch-size=0"):
        dataclasses.replace(Data(), batch_size=0)


def test_a_whole_number_of_seconds_is_a_number() -> None:
    assert Evaluation(eval_every_secs=30).eval_every_secs == 30


def test_frozen_and_hashable() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Training().seed = 3  # type: ignore[misc]
    assert hash(Job()) == hash(Job.of({}))


def test_hyperparameters_have_one_form() -> None:
    one = Job(hyperparameters=(("units", [1, 2]), ("dropout", 0.5)))
    assert one == Job.of({}, {"dropout": 0.5, "units": (1, 2)})
    assert one.hyperparameters == (("dropout", 0.5), ("units", (1, 2)))


def test_a_misspelled_name_is_our_bug() -> None:
    with pytest.raises(TypeError, match="bach_size"):
        Job.of({"bach_size": 3})


def test_values_name_every_setting() -> None:
    assert list(Job().values) == list(all_settings())
    assert Job.of({"seed": 7}).values["seed"] == 7


def test_columns_of_input() -> None:
    data = Data(feature_map=("text=title+body", "odd=a=b"))
    assert data.columns_of_input == {"text": ("title", "body"), "odd": ("a=b",)}


@pytest.mark.parametrize("each", all_settings().values(), ids=list(all_settings()))
def test_every_setting_is_documented(each: Any) -> None:
    assert len(each.help) > 10
    assert not each.help.endswith(".")
    assert each.default not in (None, ()) or each.unset, "the help page must say what no value means"
    assert each.problem(each.default) is None
