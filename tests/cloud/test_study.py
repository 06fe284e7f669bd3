"""A HyperparameterTuningJob's file as a study: what is read, how values become flags, what has no twin here."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cloud.study_strategies import parameters
from trainer.cloud.study import Study
from trainer.cloud.study_parameters import Parameter, Value, walk
from trainer.job.errors import UsageError

DROPOUT = {"parameterId": "dropout", "doubleValueSpec": {"minValue": 0, "maxValue": "0.5"}}
PARAMETERS = [
    {
        "parameterId": "learning_rate",
        "doubleValueSpec": {"minValue": "1e-4", "maxValue": 0.1},
        "scaleType": "UNIT_LOG_SCALE",
    },
    {
        "parameterId": "units",
        "discreteValueSpec": {"values": [16, 64.0]},
        "scaleType": "UNIT_REVERSE_LOG_SCALE",
        "conditionalParameterSpecs": [{"parentDiscreteValues": {"values": [64]}, "parameterSpec": DROPOUT}],
    },
    {"parameterId": "layers", "integerValueSpec": {"minValue": "1", "maxValue": 3}},
    {"parameterId": "cell", "categoricalValueSpec": {"values": ["lstm", "gru"]}},
]
CONTENT: dict[str, Any] = {
    "displayName": "a study",
    "maxTrialCount": 8,
    "parallelTrialCount": 2,
    "maxFailedTrialCount": 3,
    "studySpec": {
        "metrics": [{"metricId": "accuracy", "goal": "MAXIMIZE"}],
        "parameters": PARAMETERS,
        "measurementSelectionType": "BEST_MEASUREMENT",
        "medianAutomatedStoppingSpec": {"useElapsedDuration": True},
        "algorithm": "RANDOM_SEARCH",
    },
    "trialJobSpec": {
        "workerPoolSpecs": [
            {
                "machineSpec": {"machineType": "n1-standard-4"},
                "replicaCount": "1",
                "containerSpec": {
                    "imageUri": "image:1",
                    "args": ["--epochs=4", ""],
                    "env": [{"name": "A", "value": "b"}],
                },
            }
        ],
        "scheduling": {"timeout": "7200s"},
    },
}


def with_(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """The content with a change made to it."""
    content = copy.deepcopy(CONTENT)
    change(content)
    return content


def test_everything_is_read() -> None:
    dropout = Parameter("dropout", "double", 0.0, 0.5)
    assert Study.of(CONTENT) == Study(
        name="a study",
        metric="accuracy",
        goal="MAXIMIZE",
        parameters=(
            Parameter("learning_rate", "double", 1e-4, 0.1, scale="log"),
            Parameter("units", "discrete", 16.0, 64.0, (16.0, 64.0), "reverse_log", (((64.0,), dropout),)),
            Parameter("layers", "integer", 1, 3),
            Parameter("cell", "categorical", values=("lstm", "gru")),
        ),
        algorithm="random",
        selection="best",
        max_trials=8,
        parallel_trials=2,
        max_failed=3,
        median="secs",
        timeout_secs=7200.0,
        args=("--epochs=4", ""),
        env=(("A", "b"),),
        without_twin=(),
        said=(),
    )


def test_a_short_file_has_the_defaults_of_the_service() -> None:
    spec = {"metrics": [{"metricId": "loss", "goal": "MINIMIZE"}], "parameters": [DROPOUT]}
    study = Study.of({"studySpec": spec, "trialJobSpec": {"workerPoolSpecs": [{}]}})
    assert (study.max_trials, study.parallel_trials, study.max_failed, study.median) == (1, 1, 0, None)
    assert (study.selection, study.algorithm, study.timeout_secs, study.sign) == ("last", "default", None, -1)
    assert ["TPE" in each for each in study.said] == [True]


def test_values_become_flags_as_the_service_writes_them() -> None:
    values: dict[str, Value] = {"learning_rate": 1e-05, "units": 64.0, "dropout": 0.1, "layers": 2, "cell": 'a "b" =c'}
    flags = ["--learning_rate=1e-05", "--units=64", "--dropout=0.1", "--layers=2", '--cell=a "b" =c']
    assert Study.of(CONTENT).flags(values) == flags


@pytest.mark.parametrize(
    ("values", "fits"),
    [
        ({"learning_rate": 0.1, "units": 64.0, "dropout": 0.1, "layers": 2, "cell": "gru"}, True),
        ({"learning_rate": 0.1, "units": 16.0, "layers": 2, "cell": "gru"}, True),
        ({"learning_rate": 0.1, "units": 16.0, "dropout": 0.1, "layers": 2, "cell": "gru"}, False),
        ({"learning_rate": 0.1, "units": 64.0, "layers": 2, "cell": "gru"}, False),
        ({"learning_rate": 0.2, "units": 16.0, "layers": 2, "cell": "gru"}, False),
        ({"learning_rate": 0.1, "units": 32.0, "layers": 2, "cell": "gru"}, False),
        ({"learning_rate": 0.1, "units": 16.0, "layers": 2.0, "cell": "gru"}, False),
        ({"learning_rate": 0.1, "units": 16.0, "layers": 2, "cell": "rnn"}, False),
        ({"units": 16.0, "layers": 2, "cell": "gru"}, False),
    ],
)
def test_what_fits_a_study(values: dict[str, Value], fits: bool) -> None:
    assert Study.of(CONTENT).admits(values) is fits


@given(parameters(), st.integers(0, 2**32))
def test_every_walk_through_a_study_fits_it(given_parameters: list[Any], seed: int) -> None:
    study = Study.of(with_(lambda content: content["studySpec"].update(parameters=given_parameters)))
    source = random.Random(seed)
    values = walk(study.parameters, lambda each: source.choice(each.tried()))
    assert study.admits(values)
    assert [flag.partition("=")[0][2:] for flag in study.flags(values)] == list(values)


@given(parameters())
def test_samples_show_every_listed_value(given_parameters: list[Any]) -> None:
    study = Study.of(with_(lambda content: content["studySpec"].update(parameters=given_parameters)))
    samples = study.samples()
    assert all(study.admits(values) for values in samples)

    def missing(each: Parameter) -> list[Value]:
        return [value for value in each.tried() if not any(values.get(each.name) == value for values in samples)]

    def everyone(some: tuple[Parameter, ...]) -> list[Parameter]:
        return [one for each in some for one in (each, *everyone(tuple(child for _, child in each.children)))]

    assert {each.name: missing(each) for each in everyone(study.parameters) if missing(each)} == {}


@given(parameters(grid=True))
def test_a_grid_has_every_point_once(given_parameters: list[Any]) -> None:
    study = Study.of(
        with_(lambda content: content["studySpec"].update(parameters=given_parameters, algorithm="GRID_SEARCH"))
    )
    points = list(study.grid())
    assert len({tuple(sorted(point.items())) for point in points}) == len(points) == study.grid_size
    assert all(study.admits(point) for point in points)


def test_a_large_grid_costs_nothing() -> None:
    wide = {"integerValueSpec": {"minValue": 0, "maxValue": 10**9}}
    names = [{"parameterId": name, **wide} for name in "abc"]
    study = Study.of(with_(lambda content: content["studySpec"].update(parameters=names, algorithm="GRID_SEARCH")))
    assert study.grid_size == (10**9 + 1) ** 3
    assert next(study.grid()) == {"a": 0, "b": 0, "c": 0}


POOLS = ("trialJobSpec", "workerPoolSpecs")
WITHOUT_TWIN = [
    (lambda c: c["studySpec"].update(decayCurveStoppingSpec={}), "studySpec.decayCurveStoppingSpec"),
    (lambda c: c["studySpec"].update(convexAutomatedStoppingSpec={}), "studySpec.convexAutomatedStoppingSpec"),
    (lambda c: c["studySpec"].update(studyStoppingConfig={}), "studySpec.studyStoppingConfig"),
    (lambda c: c["studySpec"].update(observationNoise="LOW"), "studySpec.observationNoise"),
    (lambda c: c["studySpec"].update(somethingNew=1), "studySpec.somethingNew"),
    (lambda c: c["studySpec"]["metrics"].append({"metricId": "b"}), "studySpec.metrics: {'metricId': 'b'}"),
    (lambda c: c["studySpec"]["metrics"][0].update(safetyConfig={"a": 1}), "studySpec.metrics[0].safetyConfig"),
    (lambda c: c["studySpec"]["parameters"][0]["doubleValueSpec"].update(defaultValue=1), "parameters[0]: default"),
    (lambda c: c[POOLS[0]][POOLS[1]].append({"replicaCount": 1}), "workerPoolSpecs[1]"),
    (lambda c: c[POOLS[0]][POOLS[1]][0].update(replicaCount="2"), "workerPoolSpecs[0].replicaCount=2"),
    (lambda c: c[POOLS[0]][POOLS[1]][0]["machineSpec"].update(acceleratorType="T4"), "acceleratorType=T4"),
    (lambda c: c[POOLS[0]][POOLS[1]][0]["containerSpec"].update(command=["sh"]), "containerSpec.command"),
]


@pytest.mark.parametrize(("change", "words"), WITHOUT_TWIN, ids=[words for _, words in WITHOUT_TWIN])
def test_what_has_no_twin_is_named(change: Callable[[dict[str, Any]], object], words: str) -> None:
    [named] = Study.of(with_(change)).without_twin
    assert words in named


def test_placeholders_and_an_absent_rule_are_nothing() -> None:
    def change(content: dict[str, Any]) -> None:
        content["studySpec"].update(decayCurveStoppingSpec=None, medianAutomatedStoppingSpec=None)
        content["trialJobSpec"]["workerPoolSpecs"] += [{}, {}]

    study = Study.of(with_(change))
    assert (study.without_twin, study.median) == ((), None)


def parameter(**change: Any) -> Callable[[dict[str, Any]], object]:
    """Change the first parameter."""
    return lambda content: content["studySpec"]["parameters"][0].update(change)


REFUSED = [
    (lambda c: c.pop("studySpec"), "studySpec: expected names and values below it, found nothing"),
    (lambda c: c["studySpec"].update(metrics=[]), "studySpec.metrics: expected the metric"),
    (lambda c: c["studySpec"]["metrics"][0].pop("goal"), "goal=None: expected MAXIMIZE or MINIMIZE"),
    (lambda c: c["studySpec"]["metrics"][0].update(metricId="trial"), "metricId=trial: a report uses that name"),
    (lambda c: c["studySpec"].update(algorithm="BAYES"), "algorithm=BAYES: expected one of ALGORITHM_UNSPECIFIED"),
    (lambda c: c["studySpec"].update(algorithm="GRID_SEARCH"), "learning_rate is a double"),
    (lambda c: c["studySpec"].update(parameters={}), "studySpec.parameters: expected a list, found {}"),
    (lambda c: c.update(maxTrialCount=-1), "maxTrialCount=-1: expected a whole number of at least 1"),
    (lambda c: c.update(maxTrialCount=1.5), "maxTrialCount: expected a whole number, found 1.5"),
    (lambda c: c["trialJobSpec"].update(scheduling={"timeout": "2h"}), 'expected seconds such as "7200s"'),
    (lambda c: c[POOLS[0]][POOLS[1]][0]["containerSpec"].update(args=[0.1]), "expected text, found 0.1"),
    (parameter(parameterId="units"), "two parameters are called units"),
    (parameter(parameterId=7), "parameters[0].parameterId: expected text, found 7"),
    (parameter(integerValueSpec={}), "found doubleValueSpec and integerValueSpec"),
    (parameter(doubleValueSpec=None), "found none of them"),
    (parameter(doubleValueSpec={"minValue": 2, "maxValue": 1}), "minValue 2.0 is above maxValue 1.0"),
    (parameter(doubleValueSpec={"minValue": "low", "maxValue": 1}), "minValue: expected a number, found 'low'"),
    (parameter(doubleValueSpec={"minValue": 0, "maxValue": 1}), "a logarithm needs values above 0"),
    (parameter(doubleValueSpec={"minValue": True, "maxValue": 1}), "expected a number, found True"),
    (parameter(scaleType="LOG"), "scaleType=LOG: expected one of SCALE_TYPE_UNSPECIFIED"),
    (parameter(doubleValueSpec=None, discreteValueSpec={"values": [2, 1]}), "expected rising numbers, each once"),
    (parameter(doubleValueSpec=None, categoricalValueSpec={"values": [16]}), 'in quotes, such as "16"'),
    (parameter(doubleValueSpec=None, categoricalValueSpec={"values": []}), "at least one text"),
    (
        parameter(conditionalParameterSpecs=[{"parentIntValues": {"values": [1]}, "parameterSpec": DROPOUT}]),
        "learning_rate is double: expected a parent that is no double",
    ),
    (
        lambda c: c["studySpec"]["parameters"][1]["conditionalParameterSpecs"][0].update(
            parentDiscreteValues={"values": [32]}
        ),
        "units never is 32.0: name one of its own values",
    ),
]


@pytest.mark.parametrize(("change", "words"), REFUSED, ids=[words for _, words in REFUSED])
def test_what_the_service_would_refuse_is_refused_with_its_place(
    change: Callable[[dict[str, Any]], object], words: str
) -> None:
    with pytest.raises(UsageError) as refused:
        Study.of(with_(change))
    assert words in str(refused.value)
