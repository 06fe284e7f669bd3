"""What Vertex AI would say to the JSON of a job: Google's own messages, read as strictly as the service reads them."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping
from typing import Any

REQUIRED = {
    "customJobs": ("displayName", "jobSpec"),
    "hyperparameterTuningJobs": ("displayName", "studySpec", "maxTrialCount", "parallelTrialCount", "trialJobSpec"),
}
NAMES = {"customJobs": "CustomJob", "hyperparameterTuningJobs": "HyperparameterTuningJob"}
SET_BY_THE_SERVICE = ("name", "state", "createTime", "startTime", "endTime", "updateTime", "error", "trials")


class Invalid(Exception):
    """The service would answer 400 with these words."""


def normal(kind: str, body: object, version: str = "v1") -> dict[str, Any]:
    """The JSON of a job as the service writes it: camelCase, int64 as strings, nothing empty. Raises Invalid.

    Two bodies that mean the same are equal in this form, whatever spelling their senders chose.
    """
    from google.protobuf import json_format

    if not isinstance(body, dict):
        raise Invalid("Invalid JSON payload received. Expected an object.")
    try:
        message = json_format.ParseDict(body, _new_message(kind, version)(), ignore_unknown_fields=False)
    except json_format.ParseError as error:
        raise Invalid(f"Invalid JSON payload received. {error}") from None
    read: dict[str, Any] = json_format.MessageToDict(message)
    own = {key: value for key, value in read.items() if key not in SET_BY_THE_SERVICE}
    _check(kind, own)
    return own


def _check(kind: str, job: Mapping[str, Any]) -> None:
    missing = [key for key in REQUIRED[kind] if not job.get(key)]
    if missing:
        raise Invalid(f"Required field is not set: {missing[0]}.")
    spec = job["jobSpec"] if kind == "customJobs" else job["trialJobSpec"]
    if not spec.get("workerPoolSpecs"):
        raise Invalid("CustomJobSpec must have at least one worker pool spec.")
    if not spec["workerPoolSpecs"][0]:
        raise Invalid("The first worker pool spec must not be empty.")


@functools.cache
def _new_message(kind: str, version: str) -> Callable[[], Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # seconds of imports, and what they have to say is not about this project
        if version == "v1":
            from google.cloud import aiplatform_v1 as aiplatform
        else:
            from google.cloud import aiplatform_v1beta1 as aiplatform
    wrapper = getattr(aiplatform, NAMES[kind])
    return lambda: wrapper.pb(wrapper())
