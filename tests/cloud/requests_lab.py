"""Requests that the tests of both senders submit, and what the service should have of them."""

from __future__ import annotations

from typing import Any

from trainer.cloud.request import Request
from trainer.cloud.vertex import SUBMISSION_LABEL, Patience

PARENT = "projects/my-project/locations/us-central1"
JOBS_PATH = f"/v1/{PARENT}/customJobs"
IMPATIENT = Patience(tries=4, first_secs=0.01, longest_secs=0.05, connect_secs=2.0, answer_secs=5.0)

POOL: dict[str, Any] = {
    "machineSpec": {"machineType": "n1-standard-4", "acceleratorType": "NVIDIA_TESLA_T4", "acceleratorCount": 1},
    "replicaCount": 1,
    "diskSpec": {"bootDiskType": "pd-ssd", "bootDiskSizeGb": 100},
    "containerSpec": {
        "imageUri": "us-docker.pkg.dev/my-project/images/keras-trainer:1",
        "args": ["--job-dir=gs://my-bucket/runs/a b", "--dropout=0.1", "--class-names=x,y", '--note=it\'s "é" & $HOME'],
        "env": [{"name": "MODE", "value": "1"}],
    },
}
JOB_SPEC: dict[str, Any] = {
    "workerPoolSpecs": [POOL],
    "scheduling": {"timeout": "7200s", "strategy": "SPOT"},
    "baseOutputDirectory": {"outputUriPrefix": "gs://my-bucket/runs/a b"},
    "serviceAccount": "trainer@my-project.iam.gserviceaccount.com",
}
STUDY: dict[str, Any] = {
    "metrics": [{"metricId": "accuracy", "goal": "MAXIMIZE"}],
    "parameters": [
        {
            "parameterId": "learning_rate",
            "doubleValueSpec": {"minValue": 0.0001, "maxValue": 0.1},
            "scaleType": "UNIT_LOG_SCALE",
        },
        {
            "parameterId": "layers",
            "integerValueSpec": {"minValue": 1, "maxValue": 3},
            "conditionalParameterSpecs": [
                {
                    "parentIntValues": {"values": [2, 3]},
                    "parameterSpec": {"parameterId": "units", "discreteValueSpec": {"values": [16, 32]}},
                }
            ],
        },
    ],
}


def custom_job(**more: Any) -> Request:
    """A job of one machine."""
    body = {"displayName": "place names", "labels": {"team": "blue"}, "jobSpec": JOB_SPEC, **more}
    return Request("customJobs", "my-project", "us-central1", body)


def tuning_job() -> Request:
    """A study with a conditional parameter."""
    body = {
        "displayName": "study",
        "studySpec": STUDY,
        "maxTrialCount": 8,
        "parallelTrialCount": 2,
        "trialJobSpec": JOB_SPEC,
    }
    return Request("hyperparameterTuningJobs", "my-project", "us-central1", body)


def submission_of(body: dict[str, Any]) -> str:
    """The label of a submission, a hex number of its own."""
    label: str = body["labels"][SUBMISSION_LABEL]
    assert len(label) == 32
    assert int(label, 16) > 0
    return label
