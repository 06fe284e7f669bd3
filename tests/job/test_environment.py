"""What cloud services say to a process."""

from __future__ import annotations

import os

import pytest

from trainer.job.cluster import Cluster
from trainer.job.environment import Environment
from trainer.job.errors import UsageError


def test_nothing_set_is_the_empty_environment() -> None:
    assert Environment.from_environ({"HOME": "/root"}) == Environment()
    empty = {"AIP_MODEL_DIR": "", "TF_CONFIG": " ", "CLOUD_ML_TRIAL_ID": "", "CLOUD_ML_HP_METRIC_FILE": ""}
    assert Environment.from_environ(empty) == Environment()
    assert not Environment().has_tuner


def test_everything_set() -> None:
    environment = Environment.from_environ(
        {
            "AIP_CHECKPOINT_DIR": "gs://b/checkpoints",
            "AIP_MODEL_DIR": "gs://b/model/",
            "AIP_TENSORBOARD_LOG_DIR": "gs://b/logs",
            "CLOUD_ML_TRIAL_ID": "7",
            "CLOUD_ML_HP_METRIC_FILE": "/var/hypertune/output.metrics",
            "TF_CONFIG": '{"cluster": {"chief": ["a:1"], "worker": ["b:1"]}, "task": {"type": "worker", "index": 0}}',
        }
    )
    assert environment.trial_id == "7"
    assert environment.hp_metric_file == "/var/hypertune/output.metrics"
    assert environment.cluster == Cluster("a:1", ("b:1",), role="worker")
    assert environment.settings == {
        "AIP_CHECKPOINT_DIR": "gs://b/checkpoints",
        "AIP_MODEL_DIR": "gs://b/model/",
        "AIP_TENSORBOARD_LOG_DIR": "gs://b/logs",
    }


@pytest.mark.parametrize(("name", "value"), [("CLOUD_ML_TRIAL_ID", "7"), ("CLOUD_ML_HP_METRIC_FILE", "output.metrics")])
def test_either_variable_tells_of_a_tuner(name: str, value: str) -> None:
    assert Environment.from_environ({name: value}).has_tuner


def test_a_bare_metric_file_is_one_of_this_folder() -> None:
    found = Environment.from_environ({"CLOUD_ML_HP_METRIC_FILE": "output.metrics"})
    assert found.hp_metric_file == os.path.join(os.getcwd(), "output.metrics")


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        pytest.param("TF_CONFIG", "{", "TF_CONFIG is not JSON", id="broken JSON"),
        pytest.param("TF_CONFIG", "[1]", "TF_CONFIG=[1]: expected a JSON object", id="no object"),
        pytest.param("CLOUD_ML_TRIAL_ID", "../7", "CLOUD_ML_TRIAL_ID=../7: expected a plain name", id="a path"),
        pytest.param(
            "CLOUD_ML_HP_METRIC_FILE",
            "gs://b/m",
            "CLOUD_ML_HP_METRIC_FILE=gs://b/m: metrics are handed to the tuner in a local file",
            id="a bucket",
        ),
        pytest.param("CLOUD_ML_TRIAL_ID", "..", "expected a plain name", id="the parent"),
    ],
)
def test_refused(name: str, value: str, sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        Environment.from_environ({name: value})
    assert sentence in str(caught.value)
