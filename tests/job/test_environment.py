"""What cloud services say to a process."""

from __future__ import annotations

import pytest

from trainer.job.environment import Environment
from trainer.job.errors import UsageError


def test_nothing_set_is_the_empty_environment() -> None:
    assert Environment.from_environ({"HOME": "/root"}) == Environment()
    assert Environment.from_environ({"AIP_MODEL_DIR": "", "TF_CONFIG": " ", "CLOUD_ML_TRIAL_ID": ""}) == Environment()


def test_everything_set() -> None:
    environment = Environment.from_environ(
        {
            "AIP_CHECKPOINT_DIR": "gs://b/checkpoints",
            "AIP_MODEL_DIR": "gs://b/model/",
            "AIP_TENSORBOARD_LOG_DIR": "gs://b/logs",
            "CLOUD_ML_TRIAL_ID": "7",
            "TF_CONFIG": '{"cluster": {"chief": ["a:1"]}}',
        }
    )
    assert environment.trial_id == "7"
    assert environment.tf_config == {"cluster": {"chief": ["a:1"]}}
    assert environment.settings == {
        "AIP_CHECKPOINT_DIR": "gs://b/checkpoints",
        "AIP_MODEL_DIR": "gs://b/model/",
        "AIP_TENSORBOARD_LOG_DIR": "gs://b/logs",
    }


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        pytest.param("TF_CONFIG", "{", "TF_CONFIG is not JSON", id="broken JSON"),
        pytest.param("TF_CONFIG", "[1]", "TF_CONFIG=[1]: expected a JSON object", id="no object"),
        pytest.param("CLOUD_ML_TRIAL_ID", "../7", "CLOUD_ML_TRIAL_ID=../7: expected a plain name", id="a path"),
        pytest.param("CLOUD_ML_TRIAL_ID", "..", "expected a plain name", id="the parent"),
    ],
)
def test_refused(name: str, value: str, sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        Environment.from_environ({name: value})
    assert sentence in str(caught.value)
