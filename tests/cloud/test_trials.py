"""Hyperparameters without a default that only a study sets: the request leaves them open, the checks need them."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest

from trainer.cloud.specs import Spec
from trainer.cloud.trials import first_trial, tuned
from trainer.job.environment import Environment
from trainer.job.errors import UsageError
from trainer.job.flags import Parsed, parse, to_argv

UNITS = {"parameterId": "top-units", "integerValueSpec": {"minValue": 2, "maxValue": 16}}
DECAY = {"parameterId": "decay", "doubleValueSpec": {"minValue": 0.0, "maxValue": 0.5}}
OPTIMIZER = {"parameterId": "optimizer", "categoricalValueSpec": {"values": ["sgd", "adam"]}}
MODEL = "def build_model(top_units: int, optimizer: str = 'sgd', decay: float = 0.1):\n    return None\n"


def study(*parameters: dict[str, Any]) -> Spec:
    metrics = [{"metricId": "loss", "goal": "MINIMIZE"}]
    return Spec("s.yaml", "tuning_job", {"studySpec": {"metrics": metrics, "parameters": list(parameters)}})


def given(value: str, child: dict[str, Any]) -> dict[str, Any]:
    """OPTIMIZER, with a parameter that only some trials have."""
    condition = {"parentCategoricalValues": {"values": [value]}, "parameterSpec": child}
    return {**OPTIMIZER, "conditionalParameterSpecs": [condition]}


@pytest.fixture
def parsed(tmp_path: pathlib.Path) -> Parsed:
    (tmp_path / "mine.py").write_text(MODEL)
    return parse([f"--model={tmp_path / 'mine.py'}", "--epochs=3"], Environment(), elsewhere={"top_units"})


def test_names_at_every_depth_as_python_spells_them() -> None:
    assert tuned(study(given("sgd", UNITS), DECAY)) == {"optimizer", "top_units", "decay"}
    assert tuned(None) == tuned(Spec("c.yaml", "custom_job", {"studySpec": {"parameters": [DECAY]}})) == frozenset()
    assert tuned(Spec("s.yaml", "tuning_job", {"studySpec": "nonsense"})) == frozenset()


def test_what_is_set_elsewhere_is_no_flag_of_the_request(parsed: Parsed, tmp_path: pathlib.Path) -> None:
    assert to_argv(parsed.job) == [f"--model={tmp_path / 'mine.py'}", "--epochs=3"]
    with pytest.raises(UsageError, match=r"--top-units is missing: build_model in .* has no default for it"):
        parse(to_argv(parsed.job), Environment())
    assert dict(parse([*to_argv(parsed.job), "--top-units=4"], Environment()).job.hyperparameters)["top_units"] == 4


def test_a_first_trial_has_the_least_of_what_was_left_open_and_defaults_else(parsed: Parsed) -> None:
    tried, found = first_trial(study(UNITS, OPTIMIZER, DECAY), parsed)
    assert tried is not None
    assert found == []
    assert dict(tried.job.hyperparameters) == {"top_units": 2}
    assert tried.job.training == parsed.job.training


def test_a_job_with_values_for_all_is_tried_as_it_is(tmp_path: pathlib.Path) -> None:
    (tmp_path / "mine.py").write_text(MODEL)
    whole = parse([f"--model={tmp_path / 'mine.py'}", "--top-units=9"], Environment())
    assert first_trial(None, whole) == (whole, [])
    assert first_trial(study(OPTIMIZER), whole) == (whole, [])


def test_trials_without_a_value_are_an_error(parsed: Parsed) -> None:
    tried, [found] = first_trial(study(DECAY, given("sgd", UNITS)), parsed)
    assert tried is None
    assert (found.level, found.where) == ("error", "studySpec.parameters")
    assert found.problem == "a trial with --decay=0.0 --optimizer=adam would have no --top-units"
    assert found.remedy == "let all trials have one, or give it a default in build_model"


def test_a_study_that_cannot_be_read_is_said(parsed: Parsed) -> None:
    tried, [found] = first_trial(study({"parameterId": "top-units"}), parsed)
    assert tried is None
    assert found.level == "warning"
    assert "not tried: studySpec.parameters[0]" in found.said
