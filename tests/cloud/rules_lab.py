"""A right job and a right study, and ways to break them in one place, for the tests of the rules."""

from __future__ import annotations

import copy
import functools
import pathlib
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

from trainer.cloud.rules import check_spec
from trainer.cloud.specs import Spec
from trainer.job.checking import tunable
from trainer.job.findings import Finding
from trainer.job.options import Option
from trainer.job.signature import read_signature

TODAY = date(2026, 11, 24)
METRICS = ("loss", "accuracy")
Content = dict[str, Any]
Change = Callable[[Content], Any]
POOL: Content = {
    "machineSpec": {"machineType": "n1-standard-4"},
    "replicaCount": 1,
    "containerSpec": {
        "imageUri": "us-central1-docker.pkg.dev/my-project/my-repo/keras-trainer:1",
        "args": ["--epochs=4", "--train-files=gs://my-bucket/data/*.csv"],
    },
}
JOB: Content = {
    "workerPoolSpecs": [POOL],
    "scheduling": {"timeout": "7200s", "strategy": "SPOT"},
    "baseOutputDirectory": {"outputUriPrefix": "gs://my-bucket/first"},
    "serviceAccount": "trainer@my-project.iam.gserviceaccount.com",
}
STUDY: Content = {
    "displayName": "study",
    "maxTrialCount": 20,
    "parallelTrialCount": 2,
    "maxFailedTrialCount": 3,
    "labels": {"team": "vision"},
    "studySpec": {
        "metrics": [{"metricId": "accuracy", "goal": "MAXIMIZE"}],
        "measurementSelectionType": "BEST_MEASUREMENT",
        "medianAutomatedStoppingSpec": {"useElapsedDuration": False},
        "parameters": [
            {
                "parameterId": "learning_rate",
                "doubleValueSpec": {"minValue": "1e-4", "maxValue": 0.1},
                "scaleType": "UNIT_LOG_SCALE",
            },
            {"parameterId": "units", "integerValueSpec": {"minValue": 8, "maxValue": "256"}},
            {"parameterId": "batch-size", "discreteValueSpec": {"values": [64, 128, 256.0]}},
            {
                "parameterId": "activation",
                "categoricalValueSpec": {"values": ["relu", "tanh"]},
                "conditionalParameterSpecs": [
                    {
                        "parentCategoricalValues": {"values": ["relu"]},
                        "parameterSpec": {
                            "parameterId": "dropout",
                            "doubleValueSpec": {"minValue": 0.0, "maxValue": 0.5},
                        },
                    }
                ],
            },
        ],
    },
    "trialJobSpec": JOB,
}


@functools.cache
def model_parameters() -> Mapping[str, Option]:
    """What a study of the model in rules_model.py may tune."""
    return tunable(read_signature(str(pathlib.Path(__file__).with_name("rules_model.py"))))


def check(content: Content, parameters: Any = None, **more: Any) -> list[Finding]:
    kind = "tuning_job" if "studySpec" in content or "trialJobSpec" in content else "custom_job"
    known = {"region": "us-central1", "parameters": parameters, "metrics": METRICS, "today": TODAY, **more}
    return check_spec(Spec("config.yaml", kind, content), **known)


def put(*path: Any, to: Any) -> Change:
    """Change one place of a file."""

    def change(content: Content) -> None:
        for step in path[:-1]:
            content = content[step]
        content[path[-1]] = to

    return change


def drop(*path: Any) -> Change:
    """Take one place out of a file."""

    def change(content: Content) -> None:
        for step in path[:-1]:
            content = content[step]
        del content[path[-1]]

    return change


def changed(content: Content, change: Change) -> Content:
    content = copy.deepcopy(content)
    change(content)
    return content


def pools(*counts: int | None, **more: Any) -> Change:
    """As many pools of machines as there are counts; None for a placeholder."""
    made = [{**POOL, "replicaCount": count, **more} if count is not None else {} for count in counts]
    return put("workerPoolSpecs", to=made)


def machine(**spec: Any) -> Change:
    return put("workerPoolSpecs", 0, "machineSpec", to=spec)


def image(uri: str) -> Change:
    return put("workerPoolSpecs", 0, "containerSpec", "imageUri", to=uri)


POOLS, CONTAINER = "workerPoolSpecs", "workerPoolSpecs[0].containerSpec"
MACHINE = "workerPoolSpecs[0].machineSpec"


PARAMETERS = "studySpec.parameters"


def parameter(number: int, **spec: Any) -> Change:
    return put("studySpec", "parameters", number, to=spec)


def double(name: str, low: Any = 0.1, high: Any = 0.5, **more: Any) -> Content:
    return {"parameterId": name, "doubleValueSpec": {"minValue": low, "maxValue": high}, **more}


def child(*, parent: Content, **condition: Any) -> Change:
    """A parameter with one that depends on it, in the place of all others."""
    spec = {**condition, "parameterSpec": double("dropout")}
    return put("studySpec", "parameters", to=[{**parent, "conditionalParameterSpecs": [spec]}])


ACTIVATION: Content = {"parameterId": "activation", "categoricalValueSpec": {"values": ["relu", "tanh"]}}
UNITS: Content = {"parameterId": "units", "integerValueSpec": {"minValue": 8, "maxValue": 64}}
CHILD = f"{PARAMETERS}[0].conditionalParameterSpecs[0]"
