"""The parameters of a study as values: what each may be, how it is spelled as a flag, which depend on which."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from trainer.cloud.study_text import listed, mapping, number, text, whole
from trainer.job.errors import UsageError

Kind = Literal["double", "integer", "discrete", "categorical"]
Scale = Literal["linear", "log", "reverse_log"]
Value = float | int | str

KINDS: dict[str, Kind] = {
    "doubleValueSpec": "double",
    "integerValueSpec": "integer",
    "discreteValueSpec": "discrete",
    "categoricalValueSpec": "categorical",
}
SCALES: dict[str | None, Scale] = {
    None: "linear",
    "SCALE_TYPE_UNSPECIFIED": "linear",
    "UNIT_LINEAR_SCALE": "linear",
    "UNIT_LOG_SCALE": "log",
    "UNIT_REVERSE_LOG_SCALE": "reverse_log",
}
PARENTS: dict[str, tuple[Kind, Callable[[Any, str], Value]]] = {
    "parentDiscreteValues": ("discrete", number),
    "parentIntValues": ("integer", whole),
    "parentCategoricalValues": ("categorical", text),
}


@dataclass(frozen=True)
class Parameter:
    """One parameter; `low` and `high` (both included) are of double and integer, `values` of the other two kinds.

    `children` are pairs: values of this parameter, and a parameter that exists in trials with one of these.
    """

    name: str
    kind: Kind
    low: float = 0
    high: float = 0
    values: tuple[Value, ...] = ()
    scale: Scale = "linear"
    children: tuple[tuple[tuple[Value, ...], Parameter], ...] = ()

    def flag(self, value: Value) -> str:
        """As the service passes it: 64 for a discrete 64.0, for `type=int` reads no 64.0; floats by their repr."""
        if self.kind == "discrete" and float(value).is_integer():
            value = int(value)
        return f"--{self.name}={value if isinstance(value, str) else repr(value)}"

    def admits(self, value: Value) -> bool:
        """Whether a trial may have this value."""
        if self.kind in ("discrete", "categorical"):
            return value in self.values
        fits = type(value) is (int if self.kind == "integer" else float)
        return fits and self.low <= float(value) <= self.high

    def branches(self, value: Value) -> list[Parameter]:
        """The parameters that exist because this one has this value."""
        return [child for values, child in self.children if value in values]

    def points(self) -> Sequence[Value]:
        """Every value, in order. A double has none to count: not to be asked."""
        return range(int(self.low), int(self.high) + 1) if self.kind == "integer" else self.values

    def tried(self) -> list[Value]:
        """Every listed value; of a range its ends and what children depend on."""
        if self.kind in ("discrete", "categorical"):
            return list(self.values)
        kind = int if self.kind == "integer" else float
        asked = {value for values, _ in self.children for value in values}
        return sorted({kind(self.low), kind(self.high), *asked})


def walk(parameters: Iterable[Parameter], choose: Callable[[Parameter], Value]) -> dict[str, Value]:
    """One trial's values: each parameter's is chosen, and then those of the parameters that it brings in."""
    values: dict[str, Value] = {}
    for parameter in parameters:
        values[parameter.name] = value = choose(parameter)
        values |= walk(parameter.branches(value), choose)
    return values


def belonging(parameters: Iterable[Parameter], values: Mapping[str, Value]) -> list[Parameter]:
    """The parameters that a trial with these values has, in order; those below one without a value are left out."""
    found = []
    for each in parameters:
        found.append(each)
        if each.name in values:
            found += belonging(each.branches(values[each.name]), values)
    return found


def grid(parameters: Sequence[Parameter]) -> Iterator[dict[str, Value]]:
    """Every trial there can be, the first parameter changing last; only what is asked for is made."""
    if not parameters:
        yield {}
        return
    first, rest = parameters[0], parameters[1:]
    for value in first.points():
        for below in grid(first.branches(value)):
            for others in grid(rest):
                yield {first.name: value, **below, **others}


def grid_size(parameters: Sequence[Parameter]) -> int:
    """How many trials `grid` has."""
    return math.prod(
        sum(grid_size(each.branches(value)) for value in each.points()) if each.children else len(each.points())
        for each in parameters
    )


def samples(parameters: Sequence[Parameter]) -> list[dict[str, Value]]:
    """As few trials as show every value that `tried` has, of every parameter."""
    columns = [
        [{each.name: value, **below} for value in each.tried() for below in samples(each.branches(value))]
        for each in parameters
    ]
    rows = max(map(len, columns), default=1)
    return [
        {name: value for column in columns for name, value in column[row % len(column)].items()} for row in range(rows)
    ]


def read_parameters(given: Any, where: str) -> tuple[Parameter, ...]:
    """From `studySpec.parameters`. Raises UsageError for what the service would not take either."""
    parameters = tuple(_parameter(mapping(each, place), place) for place, each in _placed(listed(given, where), where))
    seen: set[str] = set()
    for each in _all(parameters):
        if each.name in seen:
            raise UsageError(f"{where}: two parameters are called {each.name}: give each a parameterId of its own.")
        seen.add(each.name)
    return parameters


def _parameter(given: Mapping[str, Any], where: str) -> Parameter:
    name = text(given.get("parameterId"), f"{where}.parameterId")
    kinds = [key for key in KINDS if given.get(key) is not None]
    if len(kinds) != 1:
        found = " and ".join(kinds) or "none of them"
        raise UsageError(f"{where} ({name}): expected one of {', '.join(KINDS)}, found {found}.")
    [key] = kinds
    spec, place = mapping(given[key], f"{where}.{key}"), f"{where}.{key}"
    scale = given.get("scaleType")
    if scale not in SCALES:
        known = ", ".join(name for name in SCALES if name)
        raise UsageError(f"{where}.scaleType={scale}: expected one of {known}.")
    parameter = READERS[KINDS[key]](Parameter(name, KINDS[key], scale=SCALES[scale]), spec, place)
    if parameter.scale != "linear" and parameter.low <= 0:
        raise UsageError(f"{where}.scaleType={scale}: a logarithm needs values above 0, and {name} has others.")
    children = _children(given.get("conditionalParameterSpecs"), parameter, f"{where}.conditionalParameterSpecs")
    return replace(parameter, children=children)


def _range(unset: Parameter, spec: Mapping[str, Any], where: str) -> Parameter:
    read: Callable[[Any, str], float] = whole if unset.kind == "integer" else number
    low, high = (read(spec.get(key, 0), f"{where}.{key}") for key in ("minValue", "maxValue"))
    if low > high:
        raise UsageError(f"{where}: minValue {low} is above maxValue {high}: exchange them.")
    return replace(unset, low=low, high=high)


def _discrete(unset: Parameter, spec: Mapping[str, Any], where: str) -> Parameter:
    values = tuple(number(value, place) for place, value in _placed(listed(spec.get("values"), where), where))
    if not values or list(values) != sorted(set(values)):
        raise UsageError(f"{where}.values: expected rising numbers, each once.")
    return replace(unset, low=values[0], high=values[-1], values=values)


def _categorical(unset: Parameter, spec: Mapping[str, Any], where: str) -> Parameter:
    values = tuple(text(value, place) for place, value in _placed(listed(spec.get("values"), where), where))
    if not values or len(set(values)) != len(values):
        raise UsageError(f"{where}.values: expected at least one text, each once.")
    return replace(unset, values=values, scale="linear")


READERS: dict[Kind, Callable[[Parameter, Mapping[str, Any], str], Parameter]] = {
    "double": _range,
    "integer": _range,
    "discrete": _discrete,
    "categorical": _categorical,
}


def _children(given: Any, parent: Parameter, where: str) -> tuple[tuple[tuple[Value, ...], Parameter], ...]:
    found = []
    for place, each in _placed(listed(given or [], where), where):
        spec = mapping(each, place)
        child = _parameter(mapping(spec.get("parameterSpec"), f"{place}.parameterSpec"), f"{place}.parameterSpec")
        found.append((_parent_values(spec, parent, place), child))
    return tuple(found)


def _parent_values(spec: Mapping[str, Any], parent: Parameter, where: str) -> tuple[Value, ...]:
    keys = [key for key in PARENTS if spec.get(key) is not None]
    wanted = [key for key, (kind, _) in PARENTS.items() if kind == parent.kind]
    if keys != wanted:
        expected = wanted[0] if wanted else "a parent that is no double"
        raise UsageError(f"{where}: {parent.name} is {parent.kind}: expected {expected}, found {keys or 'nothing'}.")
    place = f"{where}.{keys[0]}.values"
    given = listed(mapping(spec[keys[0]], where).get("values"), place)
    values = tuple(PARENTS[keys[0]][1](value, place) for value in given)
    for value in values:
        if not parent.admits(value):
            raise UsageError(f"{place}: {parent.name} never is {value!r}: name one of its own values.")
    return values


def _placed(items: Sequence[Any], where: str) -> list[tuple[str, Any]]:
    return [(f"{where}[{place}]", item) for place, item in enumerate(items)]


def _all(parameters: Iterable[Parameter]) -> Iterator[Parameter]:
    for each in parameters:
        yield each
        yield from _all(child for _, child in each.children)
