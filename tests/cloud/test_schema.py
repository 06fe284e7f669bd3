"""The table of fields against the real messages of google-cloud-aiplatform, and what it says of a file."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.cloud import schema
from trainer.cloud.schema import ENUMS, LEFT_OUT, MESSAGES, ONE_OF, ROOTS, unknown_fields, wrong_values

aiplatform = pytest.importorskip("google.cloud.aiplatform_v1", reason="google-cloud-aiplatform is not installed")

SCALARS = {1: "double", 3: "int64", 5: "int32", 8: "bool", 9: "string"}  # numbers of FieldDescriptor.TYPE_*
WELL_KNOWN = {
    "google.protobuf.Duration": "duration",
    "google.protobuf.Timestamp": "timestamp",
    "google.protobuf.BoolValue": "bool",
    "google.protobuf.Int32Value": "int32",
}


def descriptor(kind: str) -> Any:
    message = getattr(aiplatform, ROOTS[kind])
    return message.pb(message()).DESCRIPTOR


def enum_name(enum: Any) -> str:
    return "ReservationAffinityType" if enum.full_name.endswith("ReservationAffinity.Type") else enum.name


def type_of(field: Any) -> str:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return "map"
    if field.message_type is not None:
        name = WELL_KNOWN.get(field.message_type.full_name, field.message_type.name)
    else:
        name = enum_name(field.enum_type) if field.enum_type is not None else SCALARS[field.type]
    return name + "[]" * (field.label == field.LABEL_REPEATED)


def reachable() -> dict[str, Any]:
    """Name -> descriptor of every message that a request can hold; what only the service fills in leads nowhere."""
    found: dict[str, Any] = {}
    todo = [descriptor(kind) for kind in ROOTS]
    while todo:
        message = todo.pop()
        assert found.setdefault(message.name, message) is message, f"two messages are called {message.name}"
        fields = [field for field in message.fields if field.json_name not in LEFT_OUT.get(message.name, ())]
        inner = [field.message_type for field in fields if field.message_type is not None]
        known = [each for each in inner if each.full_name not in WELL_KNOWN and not each.GetOptions().map_entry]
        todo += [each for each in known if each.name not in found]
    return found


def test_the_table_has_every_field_of_the_real_messages_and_no_other() -> None:
    real = {
        name: {field.json_name: type_of(field) for field in message.fields if field.json_name not in left_out(name)}
        for name, message in reachable().items()
    }
    assert real == MESSAGES


def left_out(name: str) -> tuple[str, ...]:
    return LEFT_OUT.get(name, ())


def test_what_is_left_out_is_there_and_said_by_the_service() -> None:
    for name, fields in LEFT_OUT.items():
        real = {field.json_name for field in reachable()[name].fields}
        assert set(fields) <= real


def test_the_enums_are_the_real_ones() -> None:
    real = {
        enum_name(field.enum_type): tuple(value.name for value in field.enum_type.values)
        for name, message in reachable().items()
        for field in message.fields
        if field.enum_type is not None and field.json_name not in left_out(name)
    }
    assert real == ENUMS


def test_fields_that_exclude_each_other_are_the_real_ones() -> None:
    real = {}
    for name, message in reachable().items():
        groups = [each for each in message.oneofs if not each.name.startswith("_")]  # those are optional fields
        if groups:
            real[name] = tuple(tuple(sorted(field.json_name for field in group.fields)) for group in groups)
    assert real == {name: tuple(tuple(sorted(group)) for group in groups) for name, groups in ONE_OF.items()}


MINIMAL: dict[str, Any] = {
    "workerPoolSpecs": [
        {"machineSpec": {"machineType": "n1-standard-4"}, "replicaCount": 1, "containerSpec": {"imageUri": "a/b"}}
    ]
}


def custom(**pool: Any) -> dict[str, Any]:
    return {"workerPoolSpecs": [{**MINIMAL["workerPoolSpecs"][0], **pool}]}


def study(**parameter: Any) -> dict[str, Any]:
    return {"studySpec": {"parameters": [parameter]}, "trialJobSpec": MINIMAL}


@pytest.mark.parametrize(
    ("content", "kind", "where", "words"),
    [
        pytest.param(
            custom(machineSpec={"acceleratorcount": 1}),
            "custom_job",
            "workerPoolSpecs[0].machineSpec.acceleratorcount",
            "MachineSpec has no such field; did you mean acceleratorCount?",
            id="case",
        ),
        pytest.param(
            custom(container_spec={}),
            "custom_job",
            "workerPoolSpecs[0].container_spec",
            "did you mean containerSpec?",
            id="snake case",
        ),
        pytest.param(
            custom(diskSpec={"sizeOfIt": 1}),
            "custom_job",
            "workerPoolSpecs[0].diskSpec.sizeOfIt",
            "its fields are bootDiskType, bootDiskSizeGb.",
            id="nothing like it",
        ),
        pytest.param(
            {**MINIMAL, "labels": {"a": "b"}},
            "custom_job",
            "labels",
            "belongs to the job around this, not here; say --labels=NAME=VALUE to trainer.submit instead.",
            id="of the job around",
        ),
        pytest.param(
            {"studySpec": {}, "trialJobSpec": MINIMAL, "trials": []},
            "tuning_job",
            "trials",
            "Vertex AI fills this in itself; leave it out.",
            id="of the service",
        ),
        pytest.param(
            study(parameterId="a", doubleValueSpec={"min": 0}),
            "tuning_job",
            "studySpec.parameters[0].doubleValueSpec.min",
            "did you mean minValue?",
            id="within a list",
        ),
        pytest.param(
            {"studySpec": {}, "trialJobSpec": {"schedulling": {}}},
            "tuning_job",
            "trialJobSpec.schedulling",
            "did you mean scheduling?",
            id="in the trial's job",
        ),
    ],
)
def test_unknown_fields(content: dict[str, Any], kind: str, where: str, words: str) -> None:
    [found] = unknown_fields(content, kind)
    assert (found.level, found.where) == ("error", where)
    assert found.said.endswith(words)


@pytest.mark.parametrize(
    ("content", "kind", "said"),
    [
        pytest.param(
            custom(containerSpec={"imageUri": "a/b", "args": ["--epochs=4", 0.1]}),
            "custom_job",
            'workerPoolSpecs[0].containerSpec.args[1]: 0.1 is a number for YAML, where text is expected; write "0.1".',
            id="a number among args",
        ),
        pytest.param(
            custom(containerSpec={"imageUri": "a/b", "args": [True]}),
            "custom_job",
            "workerPoolSpecs[0].containerSpec.args[0]: true is true/false for YAML, where text is expected; "
            'write "true".',
            id="true among args",
        ),
        pytest.param(
            custom(containerSpec={"imageUri": "a/b", "args": [{"--epochs": 4}]}),
            "custom_job",
            'workerPoolSpecs[0].containerSpec.args[0]: {"--epochs": 4} is a mapping, where text is expected; '
            'write "--epochs=4".',
            id="a mapping among args",
        ),
        pytest.param(
            custom(containerSpec={"imageUri": "a/b", "args": "--epochs=4"}),
            "custom_job",
            'workerPoolSpecs[0].containerSpec.args: "--epochs=4" is no list; begin each entry of args with a dash, as '
            'in - "--epochs=4".',
            id="text for args",
        ),
        pytest.param(
            custom(containerSpec={"imageUri": "a/b", "env": [{"name": "A", "value": 1}]}),
            "custom_job",
            'workerPoolSpecs[0].containerSpec.env[0].value: 1 is a number for YAML, where text is expected; write "1".',
            id="a number in the environment",
        ),
        pytest.param(
            custom(containerSpec=None),
            "custom_job",
            "workerPoolSpecs[0].containerSpec: nothing stands behind it; give it a value, or leave the line out.",
            id="nothing",
        ),
        pytest.param(
            {"workerPoolSpecs": MINIMAL["workerPoolSpecs"][0]},
            "custom_job",
            "workerPoolSpecs: a mapping, where a list is expected (gcloud takes it for a list of this one entry); "
            "begin each entry with a dash, as in - machineSpec:.",
            id="a mapping of pools",
        ),
        pytest.param(
            custom(machineSpec="n1-standard-4"),
            "custom_job",
            'workerPoolSpecs[0].machineSpec: "n1-standard-4" stands where a mapping of fields is expected; write lines '
            "such as field: value, indented.",
            id="text for fields",
        ),
        pytest.param(
            custom(machineSpec={"acceleratorType": "nvidia-tesla-t4"}),
            "custom_job",
            'workerPoolSpecs[0].machineSpec.acceleratorType: "nvidia-tesla-t4" is no name that Vertex AI knows here; '
            "did you mean NVIDIA_TESLA_T4?",
            id="an enum's case",
        ),
        pytest.param(
            custom(replicaCount=1.0),
            "custom_job",
            "workerPoolSpecs[0].replicaCount: 1.0 is no whole number that fits here; write 1.",
            id="a float for a count",
        ),
        pytest.param(
            custom(replicaCount="two"),
            "custom_job",
            'workerPoolSpecs[0].replicaCount: "two" is no whole number that fits here; write one.',
            id="a word for a count",
        ),
        pytest.param(
            {**MINIMAL, "scheduling": {"timeout": 7200}},
            "custom_job",
            'scheduling.timeout: 7200 is no duration, which is seconds with an s; write "7200s".',
            id="seconds without an s",
        ),
        pytest.param(
            {**MINIMAL, "scheduling": {"timeout": "2h"}},
            "custom_job",
            'scheduling.timeout: "2h" is no duration, which is seconds with an s; write "7200s".',
            id="hours",
        ),
        pytest.param(
            {**MINIMAL, "scheduling": {"timeout": "soon"}},
            "custom_job",
            'scheduling.timeout: "soon" is no duration, which is seconds with an s; write such as "7200s".',
            id="no time at all",
        ),
        pytest.param(
            {**MINIMAL, "enableWebAccess": "yes"},
            "custom_job",
            'enableWebAccess: "yes" is neither true nor false; write true or false.',
            id="yes",
        ),
        pytest.param(
            study(parameterId="a", doubleValueSpec={"minValue": "1e", "maxValue": float("inf")}),
            "tuning_job",
            'studySpec.parameters[0].doubleValueSpec.minValue: "1e" is no finite number; write one such as 0.001.|'
            "studySpec.parameters[0].doubleValueSpec.maxValue: Infinity is no finite number; write one such as 0.001.",
            id="no numbers",
        ),
        pytest.param(
            study(parameterId="a", doubleValueSpec={}, integerValueSpec={}),
            "tuning_job",
            "studySpec.parameters[0]: doubleValueSpec and integerValueSpec exclude each other; keep one of them.",
            id="two kinds of values",
        ),
    ],
)
def test_wrong_values(content: dict[str, Any], kind: str, said: str) -> None:
    assert [each.said for each in wrong_values(content, kind)] == said.split("|")
    assert unknown_fields(content, kind) == []


def sample(declared: str, depth: int = 0) -> st.SearchStrategy[Any]:
    """Values that the table takes for a type."""
    if declared.endswith("[]"):
        return st.lists(sample(declared[:-2], depth), max_size=2)
    if declared in ENUMS:
        return st.sampled_from(ENUMS[declared])
    if declared in MESSAGES:
        return messages(declared, depth + 1)
    return {
        "string": st.text(max_size=5),
        "bool": st.booleans(),
        "double": st.sampled_from(["1e-4", "-2.5E+3", "7", ".5"])
        | st.floats(allow_nan=False, allow_infinity=False, min_value=-1e200, max_value=1e200)
        | st.integers(-9, 9),
        "int32": st.integers(-(2**31), 2**31 - 1),
        "int64": st.integers(-(2**63), 2**63 - 1) | st.integers(-(2**63), 2**63 - 1).map(str),
        "duration": st.decimals(0, 300_000_000_000, places=9).map(lambda secs: f"{secs:f}s"),
        "timestamp": st.just("2030-01-31T12:00:00.5Z") | st.just("2030-01-31T12:00:00+02:00"),
        "map": st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2),
    }[declared]


@st.composite
def messages(draw: st.DrawFn, name: str, depth: int = 0) -> dict[str, Any]:
    """A message of which any field may be missing, but no two that exclude each other are there."""
    fields = MESSAGES[name]
    chosen = draw(st.sets(st.sampled_from(sorted(fields)), max_size=4)) if depth < 6 else set()
    for group in ONE_OF.get(name, ()):
        chosen -= set(sorted(chosen & set(group))[1:])
    return {key: draw(sample(fields[key], depth)) for key in sorted(chosen)}


@settings(deadline=None)
@given(st.sampled_from(sorted(ROOTS)).flatmap(lambda kind: st.tuples(st.just(kind), messages(ROOTS[kind]))))
def test_what_the_table_takes_the_real_messages_take(pair: tuple[str, dict[str, Any]]) -> None:
    kind, content = pair
    assert unknown_fields(content, kind) + wrong_values(content, kind) == []
    message = getattr(aiplatform, ROOTS[kind])
    json_format.ParseDict(content, message.pb(message()), ignore_unknown_fields=False)


JUNK = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4)).map(json.dumps)
JUNK |= st.sampled_from(["[]", "{}", '{"a": 1}', "[null]"])


@settings(deadline=None)
@given(st.data())
def test_what_the_real_messages_refuse_the_table_refuses(data: st.DataObject) -> None:
    """One value anywhere in a message replaced by anything."""
    kind = data.draw(st.sampled_from(sorted(ROOTS)))
    content = data.draw(messages(ROOTS[kind]).filter(bool))
    slots = list(slots_of(content))
    owner, key = slots[data.draw(st.integers(0, len(slots) - 1))]
    owner[key] = json.loads(data.draw(JUNK))
    message = getattr(aiplatform, ROOTS[kind])
    try:
        json_format.ParseDict(content, message.pb(message()), ignore_unknown_fields=False)
    except (json_format.ParseError, TypeError, ValueError, OverflowError):
        assert unknown_fields(content, kind) + wrong_values(content, kind)


def slots_of(value: Any) -> Any:
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in list(pairs):
        yield value, key
        yield from slots_of(each)


def test_places_are_those_of_the_file() -> None:
    wheres = [place.where for place in schema.places(MINIMAL, "custom_job")]
    assert wheres == [
        "workerPoolSpecs",
        "workerPoolSpecs[0]",
        "workerPoolSpecs[0].machineSpec",
        "workerPoolSpecs[0].machineSpec.machineType",
        "workerPoolSpecs[0].replicaCount",
        "workerPoolSpecs[0].containerSpec",
        "workerPoolSpecs[0].containerSpec.imageUri",
    ]
