"""The fields of a job of the old AI Platform Training (its v1 API), as a table; a key that is none of them is refused.

Types are said as in trainer.cloud.schema: a message, an enum or a kind of value, with [] for a list. A test holds the
names against the messages that gcloud still ships.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from trainer.cloud.wording import printable, shown
from trainer.job.errors import UsageError
from trainer.job.mistakes import closest, proposal

MAX_WHOLE = 2**31 - 1
MAX_SECS = 315_576_000_000  # ten thousand years, the longest duration of the API
ENUMS: dict[str, tuple[str, ...]] = {
    "ScaleTier": ("BASIC", "STANDARD_1", "PREMIUM_1", "BASIC_GPU", "BASIC_TPU", "CUSTOM"),
    "Accelerator": (
        "ACCELERATOR_TYPE_UNSPECIFIED", "NVIDIA_TESLA_K80", "NVIDIA_TESLA_P100", "NVIDIA_TESLA_V100",
        "NVIDIA_TESLA_P4", "NVIDIA_TESLA_T4", "NVIDIA_TESLA_A100", "TPU_V2", "TPU_V3", "TPU_V2_POD", "TPU_V3_POD",
        "TPU_V4_POD",
    ),
    "Strategy": ("STRATEGY_UNSPECIFIED", "ON_DEMAND", "LOW_COST"),
    "Goal": ("GOAL_TYPE_UNSPECIFIED", "MAXIMIZE", "MINIMIZE"),
    "Algorithm": ("ALGORITHM_UNSPECIFIED", "GRID_SEARCH", "RANDOM_SEARCH", "POPULATION_BASED_TRAINING"),
    "ParameterType": ("PARAMETER_TYPE_UNSPECIFIED", "DOUBLE", "INTEGER", "CATEGORICAL", "DISCRETE"),
    "Scale": ("NONE", "UNIT_LINEAR_SCALE", "UNIT_LOG_SCALE", "UNIT_REVERSE_LOG_SCALE"),
}  # fmt: skip
OF_PREDICTION = ("predictionInput", "predictionOutput", "explanationInput", "explanationOutput")
OF_THE_SERVICE = (
    "createTime", "startTime", "endTime", "state", "errorMessage", "etag", "jobPosition", "trainingOutput",
)  # fmt: skip
FIELDS: dict[str, dict[str, str]] = {
    "Job": {
        "jobId": "text",
        "labels": "map",
        "trainingInput": "TrainingInput",
        **dict.fromkeys((*OF_PREDICTION, *OF_THE_SERVICE), "any"),
    },
    "TrainingInput": {
        "scaleTier": "ScaleTier",
        "masterType": "text",
        "masterConfig": "ReplicaConfig",
        "workerType": "text",
        "workerCount": "whole",
        "workerConfig": "ReplicaConfig",
        "parameterServerType": "text",
        "parameterServerCount": "whole",
        "parameterServerConfig": "ReplicaConfig",
        "evaluatorType": "text",
        "evaluatorCount": "whole",
        "evaluatorConfig": "ReplicaConfig",
        "packageUris": "text[]",
        "pythonModule": "text",
        "args": "text[]",
        "region": "text",
        "jobDir": "text",
        "runtimeVersion": "text",
        "pythonVersion": "text",
        "scheduling": "Scheduling",
        "network": "text",
        "serviceAccount": "text",
        "encryptionConfig": "EncryptionConfig",
        "enableWebAccess": "flag",
        "useChiefInTfConfig": "flag",
        "hyperparameters": "Hyperparameters",
        "nasJobSpec": "any",
    },
    "ReplicaConfig": {
        "acceleratorConfig": "AcceleratorConfig",
        "imageUri": "text",
        "containerCommand": "text[]",
        "containerArgs": "text[]",
        "diskConfig": "DiskConfig",
        "tpuTfVersion": "text",
    },
    "AcceleratorConfig": {"count": "whole", "type": "Accelerator"},
    "DiskConfig": {"bootDiskType": "text", "bootDiskSizeGb": "whole"},
    "EncryptionConfig": {"kmsKeyName": "text"},
    "Scheduling": {
        "maxRunningTime": "secs",
        "maxWaitTime": "secs",
        "resilientToWorkerRestart": "flag",
        "priority": "whole",
        "strategy": "Strategy",
    },
    "Hyperparameters": {
        "goal": "Goal",
        "hyperparameterMetricTag": "text",
        "maxTrials": "whole",
        "maxParallelTrials": "whole",
        "maxFailedTrials": "whole",
        "enableTrialEarlyStopping": "flag",
        "algorithm": "Algorithm",
        "resumePreviousJobId": "text",
        "params": "Parameter[]",
    },
    "Parameter": {
        "parameterName": "text",
        "type": "ParameterType",
        "minValue": "number",
        "maxValue": "number",
        "categoricalValues": "text[]",
        "discreteValues": "number[]",
        "scaleType": "Scale",
    },
}


@dataclass
class Notes:
    """What a conversion has to say: `assumptions` it made, and fields `without_twin`, a sentence each."""

    assumptions: list[str] = field(default_factory=list)
    without_twin: list[str] = field(default_factory=list)

    def assume(self, sentence: str) -> None:
        """Say something once that the user should look at."""
        if printable(sentence) not in self.assumptions:
            self.assumptions.append(printable(sentence))

    def drop(self, where: str, value: Any, reason: str) -> None:
        """Say which field no key of the new files stands for, and why."""
        self.without_twin.append(printable(f"{where}={shown(value)}: {reason}"))


def read_job(content: Mapping[str, Any], notes: Notes) -> dict[str, Any]:
    """The fields that are set, each value of its type: numbers that YAML took for text are numbers again.

    Raises:
      UsageError: a key that the old service never had, or a value of another type, named by its path.
    """
    return _message("Job", "", content, notes)


def _message(message: str, where: str, value: Any, notes: Notes) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise _wrong(where, value, f"a mapping of {', '.join(FIELDS[message])}")
    found = {}
    for key, each in value.items():
        path = f"{where}.{key}" if where else str(key)
        if key not in FIELDS[message]:
            near = closest(str(key), FIELDS[message])
            keys = proposal(near) if near else f"its keys were {', '.join(FIELDS[message])}."
            raise UsageError(f"unknown key {shown(path)}: the old service had none of that name; {keys}")
        if each not in (None, "", []):  # the old service could not tell these from a field that is not there
            found[key] = _value(FIELDS[message][key], path, each, notes)
    return found


def _value(kind: str, where: str, value: Any, notes: Notes) -> Any:
    if kind.endswith("[]"):
        if not isinstance(value, list):
            raise _wrong(where, value, "a list")
        return [_value(kind[:-2], f"{where}[{number}]", each, notes) for number, each in enumerate(value)]
    if kind in FIELDS:
        return _message(kind, where, value, notes)
    if kind in ENUMS:
        if value not in ENUMS[kind]:
            near = closest(value, ENUMS[kind]) if isinstance(value, str) else []
            raise _wrong(where, value, " or ".join(near) if near else f"one of {', '.join(ENUMS[kind])}")
        return value
    return _READ[kind](where, value, notes)


def _text(where: str, value: Any, notes: Notes) -> str:
    if isinstance(value, str):
        return value
    if not isinstance(value, (bool, int, float)):
        raise _wrong(where, value, "text")
    text = json.dumps(value)
    notes.assume(f"{where}: YAML reads {text} as a {_NAMES[type(value)]}; it is taken as the text {text!r}.")
    return text


def _whole(where: str, value: Any, notes: Notes) -> int:
    number = _number_or_none(value)
    if number is None or number != int(number) or not 0 <= number <= MAX_WHOLE:
        raise _wrong(where, value, f"a whole number from 0 to {MAX_WHOLE}")
    return int(number)


def _number(where: str, value: Any, notes: Notes) -> float:
    number = _number_or_none(value)
    if number is None:
        raise _wrong(where, value, "a finite number")
    return number


def _number_or_none(value: Any) -> float | None:
    """YAML 1.1 reads 1e-4 as text, and JSON writes long integers as text."""
    try:
        number = value if type(value) is int else float(value) if isinstance(value, (str, float)) else None
        return number if number is not None and math.isfinite(number) else None
    except (ValueError, OverflowError):
        return None


def _flag(where: str, value: Any, notes: Notes) -> bool:
    if type(value) is not bool and (not isinstance(value, str) or value not in ("true", "false")):
        raise _wrong(where, value, "true or false")
    return value in (True, "true")


def _secs(where: str, value: Any, notes: Notes) -> str:
    text = str(value) if isinstance(value, (int, str)) and type(value) is not bool else ""
    found = re.fullmatch(r"([0-9]{1,12})(\.[0-9]{1,9})?(s?)", text)
    if not found or int(found[1]) >= MAX_SECS:
        raise _wrong(where, value, "seconds such as 7200s")
    if not found[3]:
        notes.assume(f"{where}={text}: without a unit it is taken for seconds, {text}s.")
    return f"{text.removesuffix('s')}s"


def _map(where: str, value: Any, notes: Notes) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise _wrong(where, value, "a mapping of names to text")
    return {key: _text(f"{where}.{key}", each, notes) for key, each in value.items()}


def _any(where: str, value: Any, notes: Notes) -> Any:
    return value


def _wrong(where: str, value: Any, expected: str) -> UsageError:
    return UsageError(f"{printable(where)}={shown(value)}: expected {expected}.")


_READ = {"text": _text, "whole": _whole, "number": _number, "flag": _flag, "secs": _secs, "map": _map, "any": _any}
_NAMES = {bool: "true or false", int: "number", float: "number"}
