"""The rules of a study's parameters by a table: ranges, flags that take the values, conditions."""

from __future__ import annotations

import pytest

from tests.cloud.rules_lab import (
    ACTIVATION,
    CHILD,
    PARAMETERS,
    POOLS,
    STUDY,
    UNITS,
    Change,
    changed,
    check,
    child,
    double,
    drop,
    model_parameters,
    parameter,
    put,
)

BROKEN_PARAMETERS = [
    pytest.param(put("studySpec", "parameters", to=[]), PARAMETERS, "there is nothing to tune", id="no parameters"),
    pytest.param(
        parameter(1, integerValueSpec={"minValue": 1, "maxValue": 2}),
        f"{PARAMETERS}[1].parameterId",
        "name a parameter of build_model",
        id="no parameterId",
    ),
    pytest.param(
        put("studySpec", "parameters", 1, "parameterId", to="unit"),
        f"{PARAMETERS}[1].parameterId",
        "no flag --unit reaches the trainer or the model; did you mean units?",
        id="no parameter of the model",
    ),
    pytest.param(
        put("studySpec", "parameters", 1, "parameterId", to="learning-rate"),
        f"{PARAMETERS}[1].parameterId",
        "learning-rate stands there twice, first in studySpec.parameters[0]",
        id="the same flag twice",
    ),
    pytest.param(
        put("trialJobSpec", POOLS, 0, "containerSpec", "args", to=["--units=32"]),
        f"{PARAMETERS}[1].parameterId",
        "the args already have --units",
        id="a parameter that the args set",
    ),
    pytest.param(
        parameter(1, parameterId="units"), f"{PARAMETERS}[1]", "has no values to choose from", id="no kind of values"
    ),
    pytest.param(
        parameter(1, **double("units", 8.0, 64.0)),
        f"{PARAMETERS}[1].doubleValueSpec",
        "trials would fail at --units=8.0: expected a whole number; write integerValueSpec in place of doubleValueSpec",
        id="a double for whole numbers",
    ),
    pytest.param(
        parameter(1, parameterId="units", discreteValueSpec={"values": [8, 16.5]}),
        f"{PARAMETERS}[1].discreteValueSpec",
        "trials would fail at --units=16.5: expected a whole number",
        id="a fraction for whole numbers",
    ),
    pytest.param(
        parameter(1, parameterId="batch_size", integerValueSpec={"minValue": 0, "maxValue": 64}),
        f"{PARAMETERS}[1].integerValueSpec",
        "trials would fail at --batch_size=0: expected a whole number of at least 1; choose values that the flag takes",
        id="out of a flag's range",
    ),
    pytest.param(
        parameter(3, parameterId="activation", categoricalValueSpec={"values": ["relu", "gelu"]}),
        f"{PARAMETERS}[3].categoricalValueSpec",
        'trials would fail at --activation=gelu: expected one of relu, tanh; choose from "relu", "tanh" in a',
        id="no choice of the flag's",
    ),
    pytest.param(
        parameter(3, **double("batch_norm")),
        f"{PARAMETERS}[3].doubleValueSpec",
        'choose from "true", "false" in a categoricalValueSpec',
        id="a double for true or false",
    ),
    pytest.param(
        parameter(3, parameterId="activation", categoricalValueSpec={"values": []}),
        f"{PARAMETERS}[3].categoricalValueSpec.values",
        "is empty",
        id="no categories",
    ),
    pytest.param(
        parameter(3, parameterId="units", categoricalValueSpec={"values": [8, 16]}),
        f"{PARAMETERS}[3].categoricalValueSpec.values[0]",
        'write "8"',
        id="categories that are numbers",
    ),
    pytest.param(
        parameter(2, parameterId="batch-size", discreteValueSpec={"values": [128, 64]}),
        f"{PARAMETERS}[2].discreteValueSpec.values",
        "does not ascend, as Vertex AI wants it; write 64, 128.",
        id="descending",
    ),
    pytest.param(
        parameter(2, parameterId="batch-size", discreteValueSpec={}),
        f"{PARAMETERS}[2].discreteValueSpec.values",
        "list the values to try",
        id="no discrete values",
    ),
    pytest.param(
        parameter(2, parameterId="batch-size", discreteValueSpec={"values": [64, 64]}),
        f"{PARAMETERS}[2].discreteValueSpec.values",
        "holds a value twice",
        id="a value twice",
    ),
    pytest.param(
        parameter(0, **double("learning_rate", 0.1, 0.001)),
        f"{PARAMETERS}[0].doubleValueSpec",
        "minValue 0.1 is not below maxValue 0.001; write the smaller number as minValue.",
        id="min above max",
    ),
    pytest.param(
        put("studySpec", "parameters", 1, "integerValueSpec", to={"minValue": 8}),
        f"{PARAMETERS}[1].integerValueSpec.maxValue",
        "add maxValue",
        id="no maximum",
    ),
    pytest.param(
        parameter(0, **double("learning_rate", "tiny", 0.1)),
        f"{PARAMETERS}[0].doubleValueSpec.minValue",
        '"tiny" is no finite number; write one such as 0.001.',
        id="a word for a number",
    ),
    pytest.param(
        parameter(0, **double("dropout", 0.0, 0.5, scaleType="UNIT_LOG_SCALE")),
        f"{PARAMETERS}[0].scaleType",
        "UNIT_LOG_SCALE, and 0 has no logarithm",
        id="the logarithm of 0",
    ),
    pytest.param(
        put("studySpec", "parameters", 0, "doubleValueSpec", "defaultValue", to=0.01),
        f"{PARAMETERS}[0].doubleValueSpec.defaultValue",
        "tuning jobs do not support it; leave it out.",
        id="a default",
    ),
    pytest.param(
        child(parent=ACTIVATION, parentCategoricalValues={"values": ["selu"]}),
        f"{CHILD}.parentCategoricalValues.values",
        '"selu" is no value of activation; choose from relu, tanh.',
        id="no value of the parent",
    ),
    pytest.param(
        child(parent=UNITS, parentIntValues={"values": ["16", 65]}),
        f"{CHILD}.parentIntValues.values",
        "65 is no value of units; choose from 8 to 64.",
        id="no number of the parent",
    ),
    pytest.param(
        child(parent=ACTIVATION, parentIntValues={"values": [1]}),
        f"{CHILD}.parentIntValues",
        "activation has a categoricalValueSpec; write parentCategoricalValues.",
        id="another kind of parent",
    ),
    pytest.param(child(parent=ACTIVATION), CHILD, "says not for which values of activation", id="no condition"),
    pytest.param(
        child(parent=ACTIVATION, parentCategoricalValues={}),
        f"{CHILD}.parentCategoricalValues.values",
        "is empty, so the parameter would never be used",
        id="an empty condition",
    ),
    pytest.param(
        child(parent=double("learning_rate"), parentDiscreteValues={"values": [0.1]}),
        CHILD,
        "nothing can depend on learning_rate, which is a double",
        id="a double for a parent",
    ),
    pytest.param(
        put("studySpec", "parameters", 3, "conditionalParameterSpecs", 0, "parameterSpec", "parameterId", to="drop"),
        f"{PARAMETERS}[3].conditionalParameterSpecs[0].parameterSpec.parameterId",
        "did you mean dropout?",
        id="a child that is no parameter",
    ),
    pytest.param(
        drop("studySpec", "parameters", 3, "conditionalParameterSpecs", 0, "parameterSpec"),
        f"{PARAMETERS}[3].conditionalParameterSpecs[0].parameterSpec",
        "add the parameter",
        id="no child",
    ),
]


@pytest.mark.parametrize(("change", "where", "words"), BROKEN_PARAMETERS)
def test_broken_parameters(change: Change, where: str, words: str) -> None:
    found = [each for each in check(changed(STUDY, change), model_parameters()) if each.level == "error"]
    assert [each.said for each in found if each.where == where and words in each.said], found
