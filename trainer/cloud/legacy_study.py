"""The hyperparameters of an old job as the study of a Vertex AI HyperparameterTuningJob."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from trainer.cloud.legacy_fields import Notes
from trainer.cloud.wording import shown
from trainer.job.errors import UsageError

WHERE = "trainingInput.hyperparameters"
DEFAULT_TAG = "training/hptuning/metric"
READ_BY_TYPE = {
    "DOUBLE": ("minValue", "maxValue", "scaleType"),
    "INTEGER": ("minValue", "maxValue", "scaleType"),
    "CATEGORICAL": ("categoricalValues",),
    "DISCRETE": ("discreteValues", "scaleType"),
}


def convert_study(tuning: Mapping[str, Any], notes: Notes) -> dict[str, Any]:
    """The keys studySpec, maxTrialCount, parallelTrialCount and maxFailedTrialCount.

    Raises:
      UsageError: a parameter lacks what its type needs, or two have one name.
    """
    study: dict[str, Any] = {"metrics": [_metric(tuning, notes)], "parameters": _parameters(tuning, notes)}
    algorithm = tuning.get("algorithm", "ALGORITHM_UNSPECIFIED")
    if algorithm == "POPULATION_BASED_TRAINING":
        notes.drop(f"{WHERE}.algorithm", algorithm, "Vertex AI has none such; its default, Bayesian, searches instead.")
    elif algorithm != "ALGORITHM_UNSPECIFIED":
        study["algorithm"] = algorithm
    if tuning.get("enableTrialEarlyStopping"):
        study["medianAutomatedStoppingSpec"] = {"useElapsedDuration": False}
        notes.assume(
            f"{WHERE}.enableTrialEarlyStopping=true becomes medianAutomatedStoppingSpec, which stops a trial that is "
            "below the median of the others at its step: near to what the old service did, not the same."
        )
    trials = {
        "maxTrialCount": _count(tuning, "maxTrials", notes),
        "parallelTrialCount": _count(tuning, "maxParallelTrials", notes),
    }
    if tuning.get("maxFailedTrials"):
        trials["maxFailedTrialCount"] = tuning["maxFailedTrials"]
    return {**trials, "studySpec": study}


def _count(tuning: Mapping[str, Any], name: str, notes: Notes) -> int:
    count: int = tuning.get(name, 0)
    if not count:
        notes.assume(f"{WHERE}.{name} is not said: 1 is assumed, the old service's default.")
    return count or 1


def _metric(tuning: Mapping[str, Any], notes: Notes) -> dict[str, Any]:
    goal, tag = tuning.get("goal", "GOAL_TYPE_UNSPECIFIED"), tuning.get("hyperparameterMetricTag")
    if goal == "GOAL_TYPE_UNSPECIFIED":
        notes.assume(f"{WHERE}.goal is not said: MAXIMIZE is assumed, the old service's default.")
        goal = "MAXIMIZE"
    if tag is None:
        notes.assume(f"{WHERE}.hyperparameterMetricTag is not said: {DEFAULT_TAG} is assumed, the old default.")
        tag = DEFAULT_TAG
    if not tag.isidentifier():
        spaces = "; Vertex AI takes no spaces in it" if any(each.isspace() for each in tag) else ""
        notes.assume(
            f"metricId keeps {shown(tag)}, but this trainer reports metrics by the model's names, such as accuracy: "
            f"put one of them there{spaces}."
        )
    return {"metricId": tag, "goal": goal}


def _parameters(tuning: Mapping[str, Any], notes: Notes) -> list[dict[str, Any]]:
    if not tuning.get("params"):
        raise UsageError(f"{WHERE}.params is missing: say at least one parameter to tune.")
    found = [_parameter(each, f"{WHERE}.params[{at}]", notes) for at, each in enumerate(tuning["params"])]
    names = [each["parameterId"] for each in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"{WHERE}.params has {shown(twice)} twice: keep one.")
    return found


def _parameter(parameter: Mapping[str, Any], where: str, notes: Notes) -> dict[str, Any]:
    kind = parameter.get("type", "PARAMETER_TYPE_UNSPECIFIED")
    name = _needed(parameter, "parameterName", where, "every parameter")
    if kind not in READ_BY_TYPE:
        raise UsageError(f"{where}.type of {shown(name)} is missing: give one of {', '.join(READ_BY_TYPE)}.")
    for field in parameter:
        if field not in ("parameterName", "type", *READ_BY_TYPE[kind]):
            notes.drop(f"{where}.{field}", parameter[field], f"a parameter of type {kind}, such as {name}, has none.")
    scale = parameter.get("scaleType", "NONE") if "scaleType" in READ_BY_TYPE[kind] else "NONE"
    scaled = {} if scale == "NONE" else {"scaleType": scale}
    return {"parameterId": name, **_VALUES[kind](parameter, where, notes), **scaled}


def _needed(parameter: Mapping[str, Any], field: str, where: str, whose: str) -> Any:
    if field not in parameter:
        raise UsageError(f"{where}.{field} is missing: {whose} needs it.")
    return parameter[field]


def _range(parameter: Mapping[str, Any], where: str) -> dict[str, Any]:
    kind = f"a parameter of type {parameter['type']}"
    found = {field: _needed(parameter, field, where, kind) for field in ("minValue", "maxValue")}
    if found["minValue"] > found["maxValue"]:
        raise UsageError(
            f"{where}.minValue={found['minValue']} is above maxValue={found['maxValue']}: exchange the two."
        )
    return found


def _double(parameter: Mapping[str, Any], where: str, notes: Notes) -> dict[str, Any]:
    return {"doubleValueSpec": _range(parameter, where)}


def _integer(parameter: Mapping[str, Any], where: str, notes: Notes) -> dict[str, Any]:
    found = _range(parameter, where)
    for field, value in found.items():
        if value != int(value) or abs(value) >= 2**63:
            raise UsageError(f"{where}.{field}={value}: expected a whole number, as the type is INTEGER.")
    return {"integerValueSpec": {field: int(value) for field, value in found.items()}}


def _categorical(parameter: Mapping[str, Any], where: str, notes: Notes) -> dict[str, Any]:
    return {"categoricalValueSpec": {"values": _needed(parameter, "categoricalValues", where, "type CATEGORICAL")}}


def _discrete(parameter: Mapping[str, Any], where: str, notes: Notes) -> dict[str, Any]:
    values = _needed(parameter, "discreteValues", where, "type DISCRETE")
    rising = sorted(set(values))
    if rising != values:
        notes.assume(f"{where}.discreteValues={shown(values)} are put into rising order, each once, as the API asks.")
    return {"discreteValueSpec": {"values": rising}}


_VALUES: dict[str, Callable[[Mapping[str, Any], str, Notes], dict[str, Any]]] = {
    "DOUBLE": _double,
    "INTEGER": _integer,
    "CATEGORICAL": _categorical,
    "DISCRETE": _discrete,
}
