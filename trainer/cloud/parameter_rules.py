"""The rules of a study's parameters: their ranges, and whether the flag each becomes would take its values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trainer.cloud.schema_values import number, shown, whole
from trainer.job.errors import UsageError
from trainer.job.findings import Finding
from trainer.job.mistakes import closest, proposal
from trainer.job.options import Option

INNER = 0.3819660113  # a place within a range where no whole number hides a parameter that takes only those
RANGES = {"doubleValueSpec": number, "integerValueSpec": whole}
LISTS = ("discreteValueSpec", "categoricalValueSpec")
PARENTS = {
    "parentIntValues": "integerValueSpec",
    "parentDiscreteValues": "discreteValueSpec",
    "parentCategoricalValues": "categoricalValueSpec",
}
LOG_SCALES = ("UNIT_LOG_SCALE", "UNIT_REVERSE_LOG_SCALE")


@dataclass
class _Study:
    """What all parameters are held against; `seen` has the flags of those before."""

    parameters: Mapping[str, Option] | None
    given: frozenset[str]
    grid: bool
    seen: dict[str, str] = field(default_factory=dict)


def check_parameters(
    study: Mapping[str, Any], parameters: Mapping[str, Option] | None, arguments: Sequence[str]
) -> list[Finding]:
    """Check the `parameters` of a StudySpec, conditional ones included; the last two as for `rules.check_spec`."""
    said = study.get("parameters")
    if said in (None, []):
        return [Finding("error", "studySpec.parameters", "is missing: there is nothing to tune", "add a parameter")]
    given = frozenset(_flag(word[2:].partition("=")[0]) for word in arguments if word.startswith("--"))
    known = _Study(parameters, given, study.get("algorithm") == "GRID_SEARCH")
    each = enumerate(said if isinstance(said, list) else [])
    return [found for index, one in each for found in _parameter(one, f"studySpec.parameters[{index}]", known)]


def _parameter(one: Any, where: str, study: _Study) -> Iterator[Finding]:
    if not isinstance(one, Mapping):
        return
    yield from _name(one, where, study)
    kinds = [key for key in (*RANGES, *LISTS) if isinstance(one.get(key), Mapping)]
    if not any(key in one for key in (*RANGES, *LISTS)):
        problem = "has no values to choose from"
        yield Finding("error", where, problem, f"add one of {', '.join([*RANGES, *LISTS])}")
    for kind in kinds[:1]:
        problems = [*_values(kind, one[kind], f"{where}.{kind}"), *_scale(one, kind, where)]
        yield from problems
        if study.grid and kind == "doubleValueSpec":
            problem = "GRID_SEARCH has no grid of a doubleValueSpec"
            yield Finding("error", f"{where}.{kind}", problem, "list its values in a discreteValueSpec")
        if not any(each.level == "error" for each in problems):
            yield from _fit(one, kind, f"{where}.{kind}", study)
    yield from _children(one, kinds, where, study)


def _name(one: Mapping[str, Any], where: str, study: _Study) -> Iterator[Finding]:
    name, where = one.get("parameterId"), f"{where}.parameterId"
    if not isinstance(name, str) or not name:
        if name in (None, ""):
            yield Finding("error", where, "is missing", "name a parameter of build_model, or a flag of the trainer")
        return
    flag = _flag(name)
    if flag in study.seen:
        problem = f"{name} stands there twice, first in {study.seen[flag]}"
        yield Finding("error", where, problem, "keep one, with the values of both")
    study.seen.setdefault(flag, where.removesuffix(".parameterId"))
    if study.parameters is not None and name not in study.parameters:
        near = closest(name, [each for each in study.parameters if "-" not in each or "-" in name])
        remedy = proposal(near) if near else "name a parameter of build_model, or a flag of the trainer"
        yield Finding("error", where, f"no flag --{name} reaches the trainer or the model", remedy)
    if flag in study.given:
        problem = f"the args already have --{name}, and each trial would get a second one that contradicts it"
        yield Finding("error", where, problem, f"take --{name} out of the args and the flags")


def _values(kind: str, spec: Mapping[str, Any], where: str) -> Iterator[Finding]:
    if "defaultValue" in spec:
        yield Finding("error", f"{where}.defaultValue", "tuning jobs do not support it", "leave it out")
    if kind in RANGES:
        yield from _range(spec, where, RANGES[kind])
    else:
        yield from _listed(kind, spec.get("values"), f"{where}.values")


def _range(spec: Mapping[str, Any], where: str, read: Any) -> Iterator[Finding]:
    for key in ("minValue", "maxValue"):
        if key not in spec:
            yield Finding("error", f"{where}.{key}", "is missing", f"add {key}")
    low, high = read(spec.get("minValue")), read(spec.get("maxValue"))
    if low is not None and high is not None and low >= high:
        remedy = "write the smaller number as minValue" if low > high else "give a range, or leave the parameter out"
        yield Finding("error", where, f"minValue {low} is not below maxValue {high}", remedy)


def _listed(kind: str, values: Any, where: str) -> Iterator[Finding]:
    if values in (None, []):
        yield Finding("error", where, "is empty", "list the values to try")
    if not isinstance(values, list):
        return
    if len({str(value) for value in values}) < len(values):
        yield Finding("error", where, "holds a value twice", "list each once")
    elif kind == "discreteValueSpec":
        found = [each for each in map(number, values) if each is not None]
        if found != sorted(found):
            remedy = f"write {', '.join(f'{each:g}' for each in sorted(found))}"
            yield Finding("error", where, "does not ascend, as Vertex AI wants it", remedy)


def _scale(one: Mapping[str, Any], kind: str, where: str) -> Iterator[Finding]:
    scale, spec, where = one.get("scaleType"), one[kind], f"{where}.scaleType"
    if scale in (None, "SCALE_TYPE_UNSPECIFIED"):
        return
    if kind == "categoricalValueSpec":
        yield Finding("warning", where, "categories have no scale", "leave it out")
    elif scale in LOG_SCALES:
        values = spec.get("values") if kind in LISTS else [spec.get("minValue")]
        least = [low for low in map(number, values if isinstance(values, list) else []) if low is not None]
        if least and min(least) <= 0:
            problem = f"{scale}, and {min(least):g} has no logarithm"
            yield Finding("error", where, problem, "let the values begin above 0, or write UNIT_LINEAR_SCALE")


def _fit(one: Mapping[str, Any], kind: str, where: str, study: _Study) -> Iterator[Finding]:
    """Whether the flag takes what a trial may give it: asked of the flag itself."""
    name = one.get("parameterId")
    option = (study.parameters or {}).get(name) if isinstance(name, str) else None
    for text in _samples(kind, one[kind]) if option else ():
        try:
            option.read_texts(f"--{name}", [text])  # type: ignore[union-attr]
        except UsageError as error:
            yield Finding("error", where, f"trials would fail at {str(error).rstrip('.')}", _better(option, kind))
            return


def _samples(kind: str, spec: Mapping[str, Any]) -> list[str]:
    """Values as flags get them: a double always with its point, whole numbers of the other kinds without."""
    if kind == "doubleValueSpec":
        low, high = (number(spec[key]) for key in ("minValue", "maxValue"))
        return [] if low is None or high is None else [repr(low), repr(high), repr(low + (high - low) * INNER)]
    if kind == "integerValueSpec":
        return [str(spec["minValue"]), str(spec["maxValue"])]
    values = spec["values"] if isinstance(spec["values"], list) else []
    if kind == "categoricalValueSpec":
        return [value for value in values if isinstance(value, str)]
    found = [each for each in map(number, values) if each is not None]
    return [f"{each:.0f}" if each.is_integer() else repr(each) for each in found]


def _better(option: Option | None, kind: str) -> str:
    assert option is not None
    if option.kind.base is int and not option.kind.many and kind == "doubleValueSpec":
        return "write integerValueSpec in place of doubleValueSpec"
    if option.kind.choices or option.kind.base is bool:
        choices = ", ".join(f'"{choice}"' for choice in option.kind.choices or ("true", "false"))
        return f"choose from {choices} in a categoricalValueSpec"
    return "choose values that the flag takes"


def _children(one: Mapping[str, Any], kinds: list[str], where: str, study: _Study) -> Iterator[Finding]:
    children = one.get("conditionalParameterSpecs")
    for index, child in enumerate(children if isinstance(children, list) else []):
        place = f"{where}.conditionalParameterSpecs[{index}]"
        if not isinstance(child, Mapping):
            continue
        yield from _condition(one, kinds, child, place)
        if "parameterSpec" not in child:
            yield Finding("error", f"{place}.parameterSpec", "is missing", "add the parameter that this depends on")
        yield from _parameter(child.get("parameterSpec"), f"{place}.parameterSpec", study)


def _condition(one: Mapping[str, Any], kinds: list[str], child: Mapping[str, Any], where: str) -> Iterator[Finding]:
    name, kind = one.get("parameterId"), kinds[0] if kinds else None
    said = next((key for key in PARENTS if key in child), None)
    if kind == "doubleValueSpec":
        problem = f"nothing can depend on {name}, which is a double"
        yield Finding("error", where, problem, "let it depend on an integer, discrete or categorical parameter")
    elif said is None:
        remedy = f"add {next((key for key, value in PARENTS.items() if value == kind), 'parentCategoricalValues')}"
        yield Finding("error", where, f"says not for which values of {name} it counts", remedy)
    elif kind and PARENTS[said] != kind:
        right = next(key for key, value in PARENTS.items() if value == kind)
        yield Finding("error", f"{where}.{said}", f"{name} has a {kind}", f"write {right}")
    elif kind:
        yield from _parent_values(one, kind, child[said], f"{where}.{said}.values")


def _parent_values(one: Mapping[str, Any], kind: str, condition: Any, where: str) -> Iterator[Finding]:
    wanted = condition.get("values") if isinstance(condition, Mapping) else None
    if wanted in (None, []) and isinstance(condition, Mapping):
        yield Finding("error", where, "is empty, so the parameter would never be used", "list values of the parent")
    spec = one[kind]
    for value in wanted if isinstance(wanted, list) else []:
        if kind == "integerValueSpec":
            low, high, there = whole(spec.get("minValue")), whole(spec.get("maxValue")), whole(value)
            missing = None not in (low, high, there) and not low <= there <= high  # type: ignore[operator]
            allowed = f"{low} to {high}"
        else:
            values = spec.get("values") if isinstance(spec.get("values"), list) else []
            read = number if kind == "discreteValueSpec" else str
            missing = bool(values) and read(value) not in map(read, values)
            allowed = ", ".join(map(str, values))
        if missing:
            problem = f"{shown(value)} is no value of {one.get('parameterId')}"
            yield Finding("error", where, problem, f"choose from {allowed}")


def _flag(name: str) -> str:
    """What is the same flag to the trainer: dashes and underscores do not count."""
    return name.replace("_", "-")
