"""Studies that the service would take: nested parameters of every kind and scale."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

SCALES = ("UNIT_LINEAR_SCALE", "UNIT_LOG_SCALE", "UNIT_REVERSE_LOG_SCALE")
SMALL = st.floats(1e-6, 1e6)


@st.composite
def parameters(draw: st.DrawFn, grid: bool = False, depth: int = 0, names: Iterator[int] | None = None) -> list[Any]:
    """A list for `studySpec.parameters`; for a grid few values and no double."""
    names = iter(range(100)) if names is None else names
    return [draw(parameter(grid, depth, names)) for _ in range(draw(st.integers(1, 2 if grid else 3)))]


@st.composite
def parameter(draw: st.DrawFn, grid: bool, depth: int, names: Iterator[int]) -> dict[str, Any]:
    """One parameter, perhaps with children of its own."""
    kind = draw(st.sampled_from(["integer", "discrete", "categorical", *([] if grid else ["double"])]))
    made: dict[str, Any] = {"parameterId": f"p{next(names)}"}
    if kind == "double":
        low, high = sorted((draw(SMALL), draw(SMALL)))
        values, own = [], {"minValue": low, "maxValue": high}
    elif kind == "integer":
        low_whole, room = draw(st.integers(1, 50)), draw(st.integers(0, 2 if grid else 10**6))
        values = [low_whole, low_whole + room]
        own = {"minValue": draw(st.sampled_from([low_whole, str(low_whole)])), "maxValue": str(low_whole + room)}
    elif kind == "discrete":
        values = sorted(draw(st.sets(st.one_of(SMALL, st.integers(1, 1000)), min_size=1, max_size=3)))
        own = {"values": values}
    else:
        values = sorted(draw(st.sets(st.text("ab =\"'é", min_size=1, max_size=4), min_size=1, max_size=3)))
        own = {"values": values}
    made[f"{kind}ValueSpec"] = own
    if kind != "categorical":
        made["scaleType"] = draw(st.sampled_from(SCALES))
    if kind != "double" and depth < 2 and draw(st.booleans()):
        key = {"integer": "Int", "discrete": "Discrete", "categorical": "Categorical"}[kind]
        made["conditionalParameterSpecs"] = [
            {
                f"parent{key}Values": {"values": draw(st.lists(st.sampled_from(values), min_size=1, unique=True))},
                "parameterSpec": draw(parameter(grid, depth + 1, names)),
            }
        ]
    return made
