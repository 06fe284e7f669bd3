"""The fields that Vertex AI's requests have, as a table: what no field reads is found before it is sent.

Names and types are those of google.cloud.aiplatform.v1 in its JSON form; a test holds the table against the real
messages. Only `custom-jobs create` lets unknown keys through to the server, whose answer names neither line nor place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from trainer.cloud.schema_values import problem_of
from trainer.job.findings import Finding
from trainer.job.mistakes import closest, proposal

ROOTS = {"custom_job": "CustomJobSpec", "tuning_job": "HyperparameterTuningJob"}
ENUMS: dict[str, tuple[str, ...]] = {
    "AcceleratorType": (
        "ACCELERATOR_TYPE_UNSPECIFIED", "NVIDIA_TESLA_K80", "NVIDIA_TESLA_P100", "NVIDIA_TESLA_V100",
        "NVIDIA_TESLA_P4", "NVIDIA_TESLA_T4", "TPU_V2", "TPU_V3", "NVIDIA_TESLA_A100", "NVIDIA_A100_80GB",
        "TPU_V4_POD", "NVIDIA_L4", "TPU_V5_LITEPOD", "NVIDIA_H100_80GB", "NVIDIA_H100_MEGA_80GB",
        "NVIDIA_H200_141GB", "NVIDIA_B200", "NVIDIA_GB200", "NVIDIA_RTX_PRO_6000",
    ),
    "Algorithm": ("ALGORITHM_UNSPECIFIED", "GRID_SEARCH", "RANDOM_SEARCH"),
    "GoalType": ("GOAL_TYPE_UNSPECIFIED", "MAXIMIZE", "MINIMIZE"),
    "MeasurementSelectionType": (
        "MEASUREMENT_SELECTION_TYPE_UNSPECIFIED", "LAST_MEASUREMENT", "BEST_MEASUREMENT",
    ),
    "ObservationNoise": ("OBSERVATION_NOISE_UNSPECIFIED", "LOW", "HIGH"),
    "ReservationAffinityType": ("TYPE_UNSPECIFIED", "NO_RESERVATION", "ANY_RESERVATION", "SPECIFIC_RESERVATION"),
    "ScaleType": ("SCALE_TYPE_UNSPECIFIED", "UNIT_LINEAR_SCALE", "UNIT_LOG_SCALE", "UNIT_REVERSE_LOG_SCALE"),
    "Strategy": ("STRATEGY_UNSPECIFIED", "ON_DEMAND", "LOW_COST", "STANDARD", "SPOT", "FLEX_START"),
}  # fmt: skip
MESSAGES: dict[str, dict[str, str]] = {  # a field's type: a message, an enum, or a kind of value; [] for a list
    "CustomJobSpec": {
        "persistentResourceId": "string",
        "workerPoolSpecs": "WorkerPoolSpec[]",
        "scheduling": "Scheduling",
        "serviceAccount": "string",
        "network": "string",
        "reservedIpRanges": "string[]",
        "pscInterfaceConfig": "PscInterfaceConfig",
        "baseOutputDirectory": "GcsDestination",
        "protectedArtifactLocationId": "string",
        "tensorboard": "string",
        "enableWebAccess": "bool",
        "enableDashboardAccess": "bool",
        "experiment": "string",
        "experimentRun": "string",
        "models": "string[]",
    },
    "WorkerPoolSpec": {
        "containerSpec": "ContainerSpec",
        "pythonPackageSpec": "PythonPackageSpec",
        "machineSpec": "MachineSpec",
        "replicaCount": "int64",
        "nfsMounts": "NfsMount[]",
        "lustreMounts": "LustreMount[]",
        "diskSpec": "DiskSpec",
    },
    "ContainerSpec": {"imageUri": "string", "command": "string[]", "args": "string[]", "env": "EnvVar[]"},
    "PythonPackageSpec": {
        "executorImageUri": "string",
        "packageUris": "string[]",
        "pythonModule": "string",
        "args": "string[]",
        "env": "EnvVar[]",
    },
    "EnvVar": {"name": "string", "value": "string"},
    "MachineSpec": {
        "machineType": "string",
        "acceleratorType": "AcceleratorType",
        "acceleratorCount": "int32",
        "gpuPartitionSize": "string",
        "tpuTopology": "string",
        "reservationAffinity": "ReservationAffinity",
    },
    "ReservationAffinity": {
        "reservationAffinityType": "ReservationAffinityType",
        "key": "string",
        "values": "string[]",
    },
    "NfsMount": {"server": "string", "path": "string", "mountPoint": "string"},
    "LustreMount": {"instanceIp": "string", "volumeHandle": "string", "filesystem": "string", "mountPoint": "string"},
    "DiskSpec": {"bootDiskType": "string", "bootDiskSizeGb": "int32"},
    "Scheduling": {
        "timeout": "duration",
        "restartJobOnWorkerRestart": "bool",
        "strategy": "Strategy",
        "disableRetries": "bool",
        "maxWaitDuration": "duration",
    },
    "PscInterfaceConfig": {"networkAttachment": "string", "dnsPeeringConfigs": "DnsPeeringConfig[]"},
    "DnsPeeringConfig": {"domain": "string", "targetProject": "string", "targetNetwork": "string"},
    "GcsDestination": {"outputUriPrefix": "string"},
    "EncryptionSpec": {"kmsKeyName": "string"},
    "HyperparameterTuningJob": {
        "displayName": "string",
        "studySpec": "StudySpec",
        "maxTrialCount": "int32",
        "parallelTrialCount": "int32",
        "maxFailedTrialCount": "int32",
        "trialJobSpec": "CustomJobSpec",
        "labels": "map",
        "encryptionSpec": "EncryptionSpec",
    },
    "StudySpec": {
        "decayCurveStoppingSpec": "DecayCurveAutomatedStoppingSpec",
        "medianAutomatedStoppingSpec": "MedianAutomatedStoppingSpec",
        "convexAutomatedStoppingSpec": "ConvexAutomatedStoppingSpec",
        "metrics": "MetricSpec[]",
        "parameters": "ParameterSpec[]",
        "algorithm": "Algorithm",
        "observationNoise": "ObservationNoise",
        "measurementSelectionType": "MeasurementSelectionType",
        "studyStoppingConfig": "StudyStoppingConfig",
    },
    "DecayCurveAutomatedStoppingSpec": {"useElapsedDuration": "bool"},
    "MedianAutomatedStoppingSpec": {"useElapsedDuration": "bool"},
    "ConvexAutomatedStoppingSpec": {
        "maxStepCount": "int64",
        "minStepCount": "int64",
        "minMeasurementCount": "int64",
        "learningRateParameterName": "string",
        "useElapsedDuration": "bool",
        "updateAllStoppedTrials": "bool",
    },
    "MetricSpec": {"metricId": "string", "goal": "GoalType", "safetyConfig": "SafetyMetricConfig"},
    "SafetyMetricConfig": {"safetyThreshold": "double", "desiredMinSafeTrialsFraction": "double"},
    "ParameterSpec": {
        "parameterId": "string",
        "doubleValueSpec": "DoubleValueSpec",
        "integerValueSpec": "IntegerValueSpec",
        "categoricalValueSpec": "CategoricalValueSpec",
        "discreteValueSpec": "DiscreteValueSpec",
        "scaleType": "ScaleType",
        "conditionalParameterSpecs": "ConditionalParameterSpec[]",
    },
    "DoubleValueSpec": {"minValue": "double", "maxValue": "double", "defaultValue": "double"},
    "IntegerValueSpec": {"minValue": "int64", "maxValue": "int64", "defaultValue": "int64"},
    "CategoricalValueSpec": {"values": "string[]", "defaultValue": "string"},
    "DiscreteValueSpec": {"values": "double[]", "defaultValue": "double"},
    "ConditionalParameterSpec": {
        "parentDiscreteValues": "DiscreteValueCondition",
        "parentIntValues": "IntValueCondition",
        "parentCategoricalValues": "CategoricalValueCondition",
        "parameterSpec": "ParameterSpec",
    },
    "DiscreteValueCondition": {"values": "double[]"},
    "IntValueCondition": {"values": "int64[]"},
    "CategoricalValueCondition": {"values": "string[]"},
    "StudyStoppingConfig": {
        "shouldStopAsap": "bool",
        "minimumRuntimeConstraint": "StudyTimeConstraint",
        "maximumRuntimeConstraint": "StudyTimeConstraint",
        "minNumTrials": "int32",
        "maxNumTrials": "int32",
        "maxNumTrialsNoProgress": "int32",
        "maxDurationNoProgress": "duration",
    },
    "StudyTimeConstraint": {"maxDuration": "duration", "endTime": "timestamp"},
}
LEFT_OUT = {  # what the service itself fills in: no request has it
    "HyperparameterTuningJob": (
        "name", "trials", "state", "createTime", "startTime", "endTime", "updateTime", "error", "satisfiesPzs",
        "satisfiesPzi",
    ),
}  # fmt: skip
ONE_OF: dict[str, tuple[tuple[str, ...], ...]] = {
    "WorkerPoolSpec": (("containerSpec", "pythonPackageSpec"),),
    "StudySpec": (("decayCurveStoppingSpec", "medianAutomatedStoppingSpec", "convexAutomatedStoppingSpec"),),
    "ParameterSpec": (("doubleValueSpec", "integerValueSpec", "categoricalValueSpec", "discreteValueSpec"),),
    "ConditionalParameterSpec": (("parentDiscreteValues", "parentIntValues", "parentCategoricalValues"),),
    "StudyTimeConstraint": (("maxDuration", "endTime"),),
}
OF_THE_JOB = {  # keys of CustomJob around the spec, which `custom-jobs create --config` does not read
    "displayName": "say --display-name=NAME to trainer.submit instead",
    "labels": "say --labels=NAME=VALUE to trainer.submit instead",
    "encryptionSpec": "leave it out: only a request by the API has it, beside jobSpec",
}


@dataclass(frozen=True)
class Place:
    """One entry of a file: a field's value, or one item of a list; `declared` is None where no field is meant."""

    where: str
    key: str
    owner: str
    declared: str | None
    value: Any
    is_inner: bool = False  # an item of a list or mapping, and no field


def places(content: Mapping[str, Any], kind: str) -> Iterator[Place]:
    """Every entry of a file, from the outside in; what does not have its type is not entered."""
    yield from _entries("", ROOTS[kind], content)


def unknown_fields(content: Mapping[str, Any], kind: str) -> list[Finding]:
    """The keys that no field reads, each with its close matches.

    Args:
      content: a CustomJobSpec (`custom_job`) or a HyperparameterTuningJob (`tuning_job`) as read from a file.
      kind: one of ROOTS.
    """
    return [_unknown(place) for place in places(content, kind) if place.declared is None]


def wrong_values(content: Mapping[str, Any], kind: str) -> list[Finding]:
    """The values of another type than their field's, and fields that exclude each other."""
    found = []
    for place in places(content, kind):
        problem = place.declared and problem_of(place.value, place.declared, ENUMS, place.key)
        if problem:
            is_empty = place.value is None and not place.is_inner  # the service takes the field for missing
            found.append(Finding("warning" if is_empty else "error", place.where, *problem))
        elif isinstance(place.value, Mapping):
            found += _contradictions(place)
    return found


def _entries(where: str, message: str, value: Mapping[Any, Any]) -> Iterator[Place]:
    fields = MESSAGES[message]
    for key, each in value.items():
        inner = f"{where}.{key}" if where else str(key)
        yield from _field(Place(inner, str(key), message, fields.get(key), each))


def _field(place: Place) -> Iterator[Place]:
    yield place
    declared = place.declared or ""
    if declared.endswith("[]") and isinstance(place.value, list):
        for number, each in enumerate(place.value):
            yield from _field(Place(f"{place.where}[{number}]", place.key, place.owner, declared[:-2], each, True))
    elif declared == "map" and isinstance(place.value, Mapping):
        for key, each in place.value.items():
            yield Place(f"{place.where}.{key}", str(key), place.owner, "string", each, True)
    elif declared in MESSAGES and isinstance(place.value, Mapping):
        yield from _entries(place.where, declared, place.value)


def _unknown(place: Place) -> Finding:
    if place.owner == "CustomJobSpec" and place.key in OF_THE_JOB:
        return Finding("error", place.where, "belongs to the job around this, not here", OF_THE_JOB[place.key])
    if place.key in LEFT_OUT.get(place.owner, ()):
        return Finding("error", place.where, "Vertex AI fills this in itself", "leave it out")
    fields = MESSAGES[place.owner]
    same = [name for name in fields if name.lower() == place.key.replace("_", "").lower()]
    near = same or closest(place.key, fields)
    remedy = proposal(near) if near else f"its fields are {', '.join(fields)}"
    return Finding("error", place.where, f"{place.owner} has no such field", remedy)


def _contradictions(place: Place) -> list[Finding]:
    exclusive = ONE_OF.get((place.declared or "").removesuffix("[]"), ())
    given = [[name for name in names if name in place.value] for names in exclusive]
    return [
        Finding("error", place.where, f"{' and '.join(names)} exclude each other", "keep one of them")
        for names in given
        if len(names) > 1
    ]
