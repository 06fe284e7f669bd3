"""parse(to_argv(job)) is the job, whatever its values are."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trainer.job.config import Job, all_settings, check_job
from trainer.job.environment import Environment
from trainer.job.errors import UsageError
from trainer.job.flags import parse, to_argv
from trainer.job.kinds import Kind

LETTERS = st.characters(exclude_categories=("Cs",), exclude_characters="\0")  # an argument cannot hold NUL
TEXT = st.text(LETTERS, max_size=8) | st.sampled_from(
    [
        "none",
        "null",
        "--seed=3",
        "-h",
        "--help",
        "a b",
        "a=b",
        "a,b",
        "[1]",
        '["a"]',
        '"q"',
        '"',
        "'",
        "; rm",
        "é",
        "--",
        "\n",
    ]
)
HYPERPARAMETERS: dict[str, st.SearchStrategy[Any]] = {
    "units": st.integers(),
    "dropout": st.floats(allow_nan=False, allow_infinity=False),
    "activation": st.sampled_from(["relu", "none", "a,b"]),
    "title": st.none() | TEXT,
    "suffix": TEXT,
    "layers": st.lists(st.integers()).map(tuple),
    "words": st.lists(TEXT).map(tuple),
    "batch_norm": st.booleans(),
    "clip": st.none() | st.floats(allow_nan=False, allow_infinity=False),
    "keys": st.integers(0, 9),
}


def values_of(kind: Kind) -> st.SearchStrategy[Any]:
    """Values that the kind allows; the checks of the settings are left to `Job`."""
    if kind.choices:
        one: st.SearchStrategy[Any] = st.sampled_from(kind.choices)
    else:
        one = {
            int: st.integers(0, 2**31 - 1),
            float: st.floats(0, 1e9),
            str: TEXT,
            bool: st.booleans(),
        }[kind.base]
    return st.lists(one, max_size=4, unique=bool(kind.choices)).map(tuple) if kind.many else one


SETTINGS = {name: values_of(each.kind) for name, each in all_settings().items() if name not in ("model", "feature_map")}
FEATURE_MAPS = st.lists(
    st.builds("{}={}".format, st.sampled_from("ab c"), st.sampled_from(["x", "y+z", "a=b"])), max_size=3
)


@pytest.fixture(scope="module")
def module_path(tmp_path_factory: pytest.TempPathFactory, model_source: str) -> str:
    path: pathlib.Path = tmp_path_factory.mktemp("modules") / "a model.py"
    path.write_text(model_source, encoding="utf-8")
    return str(path)


@given(
    said=st.fixed_dictionaries({}, optional=SETTINGS),
    feature_map=FEATURE_MAPS.map(tuple),
    hyperparameters=st.fixed_dictionaries({}, optional=HYPERPARAMETERS),
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_round_trip(
    module_path: str, said: dict[str, Any], feature_map: tuple[str, ...], hyperparameters: dict[str, Any]
) -> None:
    allowed: dict[str, Any] = {"model": module_path}
    for name, value in [*said.items(), ("feature_map", feature_map)]:
        try:  # a value that the checks refuse, alone or beside the others, makes no job
            check_job(Job.of({**allowed, name: value}))
        except UsageError:
            continue
        allowed[name] = value
    job = Job.of(allowed, hyperparameters)
    again = parse(to_argv(job), Environment()).job
    assert again == job
    assert [type(value) for _, value in again.hyperparameters] == [type(value) for _, value in job.hyperparameters]
