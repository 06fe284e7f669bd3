"""What is said of a file as a whole: right ones, legacy ones, any junk; regions, buckets and labels."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.cloud.rules_lab import JOB, PARAMETERS, STUDY, TODAY, Content, changed, check, model_parameters, put
from trainer.cloud.rules import check_labels, check_region, check_spec
from trainer.cloud.specs import Spec


@pytest.mark.parametrize("content", [JOB, STUDY], ids=["job", "study"])
def test_a_right_file_is_told_nothing(content: Content) -> None:
    before = copy.deepcopy(content)
    assert check(content, model_parameters()) == []
    assert content == before


@pytest.mark.parametrize(("content", "message"), [(JOB, "CustomJobSpec"), (STUDY, "HyperparameterTuningJob")])
def test_a_right_file_is_one_for_the_real_messages_too(content: Content, message: str) -> None:
    aiplatform = pytest.importorskip("google.cloud.aiplatform_v1", reason="google-cloud-aiplatform is not installed")
    made = getattr(aiplatform, message)
    json_format.ParseDict(content, made.pb(made()), ignore_unknown_fields=False)


def test_a_legacy_file_is_one_finding() -> None:
    spec = Spec("old.yaml", "legacy", {"trainingInput": {}})
    [found] = check_spec(spec, region=None, parameters=None, metrics=None, today=TODAY)
    assert found.said == (
        "old.yaml: is a trainingInput of AI Platform Training, which was shut down on 2025-01-31; convert it: "
        "python -m trainer.submit --convert-legacy=old.yaml."
    )


def test_what_is_not_known_is_not_held_against_a_file() -> None:
    content = changed(STUDY, put("studySpec", "metrics", 0, "metricId", to="whatever"))
    content = changed(content, put("studySpec", "parameters", 1, "parameterId", to="whatever"))
    assert check(content, None, metrics=None, region=None) == []


def test_arguments_are_those_of_the_request_where_they_are_known() -> None:
    [found] = check(STUDY, model_parameters(), arguments=["--model=mine.py", "--learning-rate=0.01"])
    assert found.where == f"{PARAMETERS}[0].parameterId"
    assert "take --learning_rate out of the args and the flags" in found.said


@pytest.mark.parametrize(
    ("region", "bucket", "level", "words"),
    [
        pytest.param("us-central1-a", None, "error", "is a zone, and Vertex AI runs jobs in regions; write "
                     "--region=us-central1.", id="a zone"),
        pytest.param("Iowa", None, "error", "is no region; write one such as --region=us-central1.", id="a place"),
        pytest.param("us-central1", "EUROPE-WEST4", "error", "is in europe-west4, and Vertex AI works with", id="far"),
        pytest.param("us-central1", "EU", "error", "is in eu, and Vertex AI works with", id="another continent"),
        pytest.param("us-central1", "US", "warning", "is in us, which some of Vertex AI's services refuse", id="multi"),
    ],
)  # fmt: skip
def test_region_and_bucket(region: str, bucket: str | None, level: str, words: str) -> None:
    [found] = check_region(region, bucket)
    assert (found.level, found.where) == (level, f"--region={region}")
    assert words in found.said


def test_a_bucket_in_the_region() -> None:
    assert check_region("us-central1", "US-CENTRAL1") == check_region(None, "EU") == check_region("europe-west4") == []


def test_labels() -> None:
    assert check_labels({"team": "vision", "été-1_a": "", "x" * 63: "9"}) == []
    long = "x" * 64
    found = check_labels({"Team": "a b", "9lives": "cat", long: "y"})
    assert [each.said for each in found] == [
        "labels.Team: the name 'Team' is not up to 63 small letters, digits, - and _; write it as team.",
        "labels.Team: the value 'a b' is not up to 63 small letters, digits, - and _; write it as a-b.",
        "labels.9lives: the name of a label begins with a letter; write it as label-9lives.",
        f"labels.{long}: the name '{long}' is not up to 63 small letters, digits, - and _; write it as {long[:63]}.",
    ]
    [found_many] = check_labels({f"label-{number}": "a" for number in range(65)})
    assert found_many.said == "labels: 65 labels, and a job takes 64; leave some out."


def slots(value: Any) -> list[tuple[Any, Any]]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [slot for key, each in list(pairs) for slot in [(value, key), *slots(each)]]


JUNK = st.one_of(
    st.one_of(st.integers(-2, 9), st.floats(), st.text(max_size=4)).map(json.dumps),
    st.sampled_from(["null", "true", '"1"', '"-1"', '"gs://"', '"7s"', "[]", "{}", "[[]]", "[{}]", "[null]"]),
    st.sampled_from(['{"": null}', '{"values": ["a"]}', '{"minValue": true}', "1e308"]),
)


@settings(max_examples=500, deadline=None)
@given(data=st.data())
def test_no_file_is_so_broken_that_the_rules_fail(data: st.DataObject) -> None:
    """Whatever stands wherever, it becomes findings and no traceback."""
    content = copy.deepcopy(STUDY if data.draw(st.booleans()) else JOB)
    for _ in range(data.draw(st.integers(1, 3))):
        places = slots(content)
        owner, key = places[data.draw(st.integers(0, len(places) - 1))] if places else (content, "workerPoolSpecs")
        owner[key] = json.loads(data.draw(JUNK))
    for each in check(content, model_parameters()):
        assert each.where
        assert each.problem
        assert each.remedy
