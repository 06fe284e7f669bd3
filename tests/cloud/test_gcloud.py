"""The gcloud sender: the real program against a loopback Vertex, and what its errors become."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cloud.requests_lab import IMPATIENT, JOB_SPEC, POOL, STUDY, custom_job, submission_of, tuning_job
from tests.vertex_rig import Vertex
from tests.vertex_schema import normal
from trainer.cloud.gcloud import Gcloud, environment, error_of, find_program
from trainer.cloud.request import Request
from trainer.cloud.rest import Rest
from trainer.cloud.vertex import NotFound, Unanswered
from trainer.job.errors import CloudError, TrainerError, UsageError

installed = pytest.mark.skipif(find_program() is None, reason="gcloud is not installed, and no package registry has it")


@pytest.fixture
def vertex(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Vertex]:
    with Vertex() as service:
        monkeypatch.setenv("TRAINER_VERTEX_ENDPOINT", service.url)  # it is gcloud's too
        monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "gcloud"))
        monkeypatch.setenv("CLOUDSDK_CORE_DISABLE_USAGE_REPORTING", "true")
        yield service


@installed
@pytest.mark.parametrize("request_", [custom_job(), tuning_job()], ids=["custom job", "tuning job"])
def test_both_ways_make_equal_jobs(vertex: Vertex, request_: Request) -> None:
    """And no program's spelling is in between: the arguments have quotes, blanks, commas and an accent."""
    sender = Gcloud(patience=IMPATIENT)
    with Rest(patience=IMPATIENT) as rest:
        names = [sender.create(request_), rest.create(request_)]
    assert list(vertex.jobs) == names
    by_gcloud, by_rest = (normal(request_.kind, each.body) for each in vertex.posts())
    labels = [submission_of(by_gcloud), submission_of(by_rest)]
    assert labels[0] != labels[1]
    for each in (by_gcloud, by_rest):
        del each["labels"]["trainer-submission"]
    pool = {**POOL, "replicaCount": "1"}
    spec = {**JOB_SPEC, "workerPoolSpecs": [pool]}
    if request_.kind == "customJobs":
        expected = {"displayName": "place names", "labels": {"team": "blue"}, "jobSpec": spec}
    else:
        learning_rate, layers = STUDY["parameters"]
        [condition] = layers["conditionalParameterSpecs"]
        expected = {
            "displayName": "study",
            "labels": {},
            "maxTrialCount": 8,
            "parallelTrialCount": 2,
            "trialJobSpec": spec,
            "studySpec": {
                "metrics": STUDY["metrics"],
                "parameters": [
                    learning_rate,
                    {
                        "parameterId": "layers",
                        "integerValueSpec": {"minValue": "1", "maxValue": "3"},
                        "conditionalParameterSpecs": [{**condition, "parentIntValues": {"values": ["2", "3"]}}],
                    },
                ],
            },
        }
    assert by_gcloud == by_rest == expected


@installed
def test_a_job_is_described_listed_and_cancelled(vertex: Vertex) -> None:
    sender = Gcloud(patience=IMPATIENT)
    with Rest(patience=IMPATIENT) as rest:
        name = rest.create(custom_job())
        rest.create(custom_job(labels={}))
        assert sender.get(name) == rest.get(name)
        assert sender.list_jobs("customJobs", "my-project", "us-central1", {"team": "blue"}) == [rest.get(name)]
    sender.cancel(name)
    assert vertex.jobs[name]["state"] == "JOB_STATE_CANCELLED"


@installed
def test_what_gcloud_sends_twice_leaves_one_job(vertex: Vertex) -> None:
    """gcloud repeats a create that had no answer, and so makes a twin: it is cancelled."""
    vertex.fail("POST .*customJobs$", "lost")
    name = Gcloud(patience=IMPATIENT).create(custom_job())
    assert len(vertex.posts()) == 2
    assert {each: job["state"] for each, job in vertex.jobs.items()} == {
        name: "JOB_STATE_QUEUED",
        name[:-1] + "2": "JOB_STATE_CANCELLED",
    }


@installed
def test_refusals_are_those_of_the_service(vertex: Vertex) -> None:
    sender = Gcloud(patience=IMPATIENT)
    vertex.fail("POST", 403, message="Permission 'aiplatform.customJobs.create' denied on resource.")
    with pytest.raises(UsageError) as denied:
        sender.create(custom_job())
    first, last = str(denied.value).split(". This command is unauthenticated")  # gcloud says whose login it was
    assert first == "Vertex AI refused the request (403: Permission 'aiplatform.customJobs.create' denied on resource"
    assert last.endswith(
        "): ask who administers the project for a role that has the permission aiplatform.customJobs.create."
    )
    with pytest.raises(NotFound, match="does not exist"):
        sender.get("projects/my-project/locations/us-central1/customJobs/42")
    with pytest.raises(UsageError, match=r"but found \[mars-central1\]\): mend what it names, or say --via=rest"):
        sender.list_jobs("customJobs", "my-project", "mars-central1", {})


ERRORS = [
    pytest.param(
        "INFO: x\nERROR: (gcloud.ai.custom-jobs.create) INVALID_ARGUMENT: Machine type is not supported.\n- '@x': y\n",
        1,
        UsageError,
        "Vertex AI refused the request (400: Machine type is not supported): mend what it names.",
        id="the service's",
    ),
    pytest.param(
        "ERROR: (gcloud.ai.custom-jobs.create) UNAVAILABLE: Try again.\n",
        1,
        Unanswered,
        "Vertex AI answered UNAVAILABLE: Try again.",
        id="busy",
    ),
    pytest.param(
        "ERROR: (gcloud.ai.custom-jobs.list) You do not currently have an active account selected.\nPlease run:\n\n"
        "  $ gcloud auth login\n",
        1,
        UsageError,
        "gcloud has no credentials that can be used (You do not currently have an active account selected): log in "
        "with `gcloud auth login`.",
        id="no login",
    ),
    pytest.param(
        "ERROR: (gcloud.ai.custom-jobs.create) argument --labels: Bad syntax for dict arg: [x].\n",
        2,
        UsageError,
        "gcloud refused the request (argument --labels: Bad syntax for dict arg: [x]): mend what it names, or say "
        "--via=rest.",
        id="its own flags",
    ),
    pytest.param(
        "ERROR: (gcloud.ai.custom-jobs.list) The value of ``--project'' flag was set to Project number.\n",
        1,
        UsageError,
        "gcloud refused the request (The value of ``--project'' flag was set to Project number): mend what it names, "
        "or say --via=rest.",
        id="a project's number",
    ),
    pytest.param(  # what gcloud 528 says after its fifth try
        "ERROR: (gcloud.ai.custom-jobs.list) HttpError accessing <http://x/v1/projects/p/locations/r/customJobs?alt=json>:"
        " response: <{'content-type': 'application/json', 'content-length': '68', 'status': 503}>, content "
        '<{"error": {"code": 503, "message": "down", "status": "UNAVAILABLE"}}>\nThis may be due to network issues.\n',
        1,
        Unanswered,
        "Vertex AI answered 503: down.",
        id="busy to the end",
    ),
    pytest.param(
        "ERROR: gcloud crashed (ConnectionError): HTTPConnectionPool(host='127.0.0.1', port=9): Max retries exceeded "
        "with url: /v1/x (Caused by NewConnectionError('<urllib3.connection.HTTPConnection object>: Failed to "
        "establish a new connection: [Errno 111] Connection refused'))\n\nIf you would like to report this issue\n",
        1,
        Unanswered,
        "no answer from Vertex AI through gcloud (Connection refused).",
        id="no answer",
    ),
    pytest.param(
        "Traceback ...\nERROR: gcloud crashed (AttributeError): 'NoneType' object has no attribute 'x'\n",
        1,
        CloudError,
        "gcloud failed: gcloud crashed (AttributeError): 'NoneType' object has no attribute 'x'.",
        id="a crash",
    ),
    pytest.param("", -9, CloudError, "gcloud failed: gcloud ended with exit code -9 and said nothing.", id="killed"),
    pytest.param(
        "DEBUG: Authorization: Bearer ya29.secret\nERROR: (gcloud.x) NOT_FOUND: no ya29.secret here\n",
        1,
        NotFound,
        "Vertex AI refused the request (404: no [hidden] here): check the job's ID, --project and --region.",
        id="a token",
    ),
]


@pytest.mark.parametrize(("stderr", "exit_code", "kind", "sentence"), ERRORS)
def test_an_error_becomes_a_sentence(stderr: str, exit_code: int, kind: type[TrainerError], sentence: str) -> None:
    error = error_of(stderr, exit_code)
    assert (type(error), str(error)) == (kind, sentence)


def test_an_empty_pool_is_for_rest_only() -> None:
    request = custom_job(jobSpec={**JOB_SPEC, "workerPoolSpecs": [POOL, {}, {}, POOL]})
    with pytest.raises(UsageError) as caught:
        Gcloud("gcloud-is-never-called").create(request)
    assert str(caught.value) == (
        "workerPoolSpecs[1] is an empty placeholder, which gcloud refuses in a file: say --via=rest."
    )


def test_what_its_flags_cannot_say_is_for_rest_only() -> None:
    with pytest.raises(UsageError, match=r"^webAccessUris is no part of what .* say --via=rest"):
        Gcloud("gcloud-is-never-called").create(custom_job(webAccessUris={"a": "b"}))
    with pytest.raises(UsageError, match=r"^the label team=a,b has a comma"):
        Gcloud("gcloud-is-never-called").create(custom_job(labels={"team": "a,b"}))


def test_a_gcloud_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="no gcloud is on PATH: install the Google Cloud CLI, or say --via=rest"):
        Gcloud()
    with pytest.raises(UsageError, match=r"cannot be run \(No such file or directory\)"):
        Gcloud(str(tmp_path / "gcloud")).get("projects/p/locations/us-central1/customJobs/1")


def test_its_credentials_never_go_to_a_server_of_a_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLOUDSDK_AUTH_DISABLE_CREDENTIALS", raising=False)
    assert "CLOUDSDK_AUTH_DISABLE_CREDENTIALS" not in environment()
    monkeypatch.setenv("TRAINER_VERTEX_ENDPOINT", "http://127.0.0.1:8080")
    own = environment()
    assert own["CLOUDSDK_AUTH_DISABLE_CREDENTIALS"] == "true"
    assert own["CLOUDSDK_API_ENDPOINT_OVERRIDES_AIPLATFORM"] == "http://127.0.0.1:8080/"
    monkeypatch.setenv("TRAINER_VERTEX_ENDPOINT", "http://example.com/")
    with pytest.raises(UsageError, match="expected https"):
        environment()
