"""Studies, and plans whose trials are `fake_task.py`."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Mapping
from typing import Any

from trainer.cloud.study import Study
from trainer.sweeps.plan import SweepPlan

FAKE = pathlib.Path(__file__).with_name("fake_task.py")
X = {"parameterId": "x", "doubleValueSpec": {"minValue": 0.0, "maxValue": 1.0}}


def content(*parameters: Mapping[str, Any], trials: int = 6, parallel: int = 2, **spec: Any) -> dict[str, Any]:
    """A HyperparameterTuningJob that maximizes `score`."""
    failed = {"maxFailedTrialCount": spec.pop("failed")} if "failed" in spec else {}
    return {
        "displayName": "a study",
        "maxTrialCount": trials,
        "parallelTrialCount": parallel,
        **failed,
        "studySpec": {
            "metrics": [{"metricId": "score", "goal": "MAXIMIZE"}],
            "parameters": list(parameters or (X,)),
            **spec,
        },
        "trialJobSpec": {"workerPoolSpecs": [{"replicaCount": 1, "containerSpec": {"imageUri": "image"}}]},
    }


def plan_of(folder: pathlib.Path, study: Mapping[str, Any], *args: str) -> SweepPlan:
    """What `make_plan` would decide, but for the trainer's flags."""
    read = Study.of(study)
    return SweepPlan(
        study=read,
        folder=str(folder),
        args=args,
        environ=dict(os.environ),
        max_trials=read.max_trials,
        parallel_trials=read.parallel_trials,
        threads=1,
        entry=(str(FAKE),),
    )
