"""What goes over the wire to a service, what is tried again, and what the user reads of a refusal."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.oauth2.credentials import Credentials

from tests.cloud.requests_lab import IMPATIENT, PARENT, custom_job
from tests.vertex_rig import Vertex
from trainer.cloud.rest import Rest
from trainer.cloud.transport import endpoint
from trainer.cloud.vertex import NotFound, Unanswered
from trainer.job.errors import CloudError, TrainerError, UsageError

TOKEN = "ya29.planted-secret_token"
CREATE = "POST .*customJobs$"


@pytest.fixture
def vertex(monkeypatch: pytest.MonkeyPatch) -> Iterator[Vertex]:
    with Vertex() as service:
        for name, value in service.env.items():
            monkeypatch.setenv(name, value)
        yield service


@pytest.fixture
def rest() -> Iterator[Rest]:
    with Rest(patience=IMPATIENT) as sender:
        yield sender


REFUSALS = [
    pytest.param(
        400,
        "List of found errors:\n1.Field: job_spec.worker_pool_specs[0].machine_spec.machine_type;"
        " Message: Machine type is not supported.",
        UsageError,
        "Vertex AI refused the request (400: List of found errors: 1.Field: job_spec.worker_pool_specs[0].machine_spec."
        "machine_type; Message: Machine type is not supported): mend what it names.",
        id="400",
    ),
    pytest.param(
        403,
        "Permission 'aiplatform.customJobs.create' denied on resource '//aiplatform.googleapis.com/projects/x'.",
        UsageError,
        "Vertex AI refused the request (403: Permission 'aiplatform.customJobs.create' denied on resource "
        "'//aiplatform.googleapis.com/projects/x'): ask who administers the project for a role that has the permission "
        "aiplatform.customJobs.create.",
        id="403",
    ),
    pytest.param(
        403,
        "The caller does not have permission",
        UsageError,
        "Vertex AI refused the request (403: The caller does not have permission): check --project, and which account "
        "is logged in with `gcloud auth list`.",
        id="403 without a name",
    ),
    pytest.param(
        404,
        "Project not found.",
        NotFound,
        "Vertex AI refused the request (404: Project not found): check the job's ID, --project and --region.",
        id="404",
    ),
    pytest.param(409, "Aborted.", CloudError, "Vertex AI refused the request (409: Aborted).", id="409"),
]


@pytest.mark.parametrize(("status", "message", "kind", "sentence"), REFUSALS)
def test_a_refusal_is_shown_in_the_services_words_and_not_repeated(
    vertex: Vertex, rest: Rest, status: int, message: str, kind: type[TrainerError], sentence: str
) -> None:
    vertex.fail(CREATE, status, message=message)
    with pytest.raises(TrainerError) as caught:
        rest.create(custom_job())
    assert (type(caught.value), str(caught.value)) == (kind, sentence)
    assert len(vertex.requests) == 1


@pytest.mark.parametrize(
    ("token", "said"),
    [
        pytest.param("opaque-planted-secret", "Denied to opaque-planted-secret", id="ours, of any form"),
        pytest.param(TOKEN, "Denied to ya29.another-secret_one", id="one that looks like Google's"),
        pytest.param(TOKEN, "Denied to Authorization: Bearer eyJ.secret", id="one in a header"),
    ],
)
def test_credentials_are_sent_and_never_shown(
    vertex: Vertex, caplog: pytest.LogCaptureFixture, token: str, said: str
) -> None:
    """The worst case: the service repeats a token in what it says."""
    caplog.set_level(logging.DEBUG)
    vertex.fail(CREATE, 403, message=said)
    vertex.fail("GET", 503, times=99, message=said)
    with Rest(Credentials(token), IMPATIENT) as rest:
        with pytest.raises(UsageError, match=r"\[hidden\]") as refused:
            rest.create(custom_job())
        with pytest.raises(Unanswered, match=r"\[hidden\]") as unanswered:
            rest.get(f"{PARENT}/customJobs/1")
        shown = [str(refused.value), str(unanswered.value), repr(refused.value), repr(rest.api("us-central1"))]
    assert vertex.requests[0].authorization == f"Bearer {token}"
    assert "secret" not in " ".join([*shown, caplog.text])


def test_a_token_that_the_service_does_not_take_is_a_login_that_is_missing(vertex: Vertex) -> None:
    vertex.fail(CREATE, 401, message="Request had invalid authentication credentials.")
    with Rest(Credentials(TOKEN), IMPATIENT) as rest, pytest.raises(UsageError) as caught:
        rest.create(custom_job())
    assert "log in with `gcloud auth application-default login`" in str(caught.value)
    assert TOKEN not in str(caught.value)


@pytest.mark.usefixtures("vertex")
def test_without_credentials_nothing_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRAINER_VERTEX_ENDPOINT")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))
    with Rest(patience=IMPATIENT) as rest, pytest.raises(UsageError) as caught:
        rest.create(custom_job())
    assert str(caught.value) == (
        f"no credentials for Google Cloud (File {tmp_path}/key.json was not found): log in with `gcloud auth "
        "application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS to a key file."
    )


def test_no_server_at_all_is_said_in_the_systems_words(monkeypatch: pytest.MonkeyPatch) -> None:
    with Vertex() as gone:
        url = gone.url
    monkeypatch.setenv("TRAINER_VERTEX_ENDPOINT", url)
    with Rest(patience=IMPATIENT) as rest, pytest.raises(Unanswered) as caught:
        rest.get(f"{PARENT}/customJobs/1")
    assert str(caught.value) == f"no answer from Vertex AI at {url} (Connection refused)."


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/",
        "http://localhost.example.com/",
        "http://10.0.0.1:80/",
        "ftp://127.0.0.1/",
        "x",
        "https://",
    ],
)
def test_no_request_goes_to_another_machine_in_plain_text(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("TRAINER_VERTEX_ENDPOINT", url)
    with pytest.raises(UsageError, match=r"expected https://HOST/, or http://127.0.0.1:PORT/ for a test"):
        endpoint("TRAINER_VERTEX_ENDPOINT", "https://x/")


def test_a_redirect_is_not_followed(vertex: Vertex) -> None:
    vertex.fail("GET", 307, headers={"Location": f"{vertex.url}elsewhere"})
    with Rest(Credentials(TOKEN), IMPATIENT) as rest, pytest.raises(CloudError, match="307"):
        rest.get(f"{PARENT}/customJobs/1")
    assert len(vertex.requests) == 1


def test_an_address_that_answers_with_a_page_is_said(vertex: Vertex, rest: Rest) -> None:
    with pytest.raises(NotFound, match=r"\(404: Not Found\)"):
        rest.api("us-central1").call("GET", "nowhere")
    assert len(vertex.requests) == 1


def test_a_busy_service_is_asked_again_when_it_says(vertex: Vertex) -> None:
    patience = type(IMPATIENT)(tries=2, first_secs=0.001, longest_secs=1.0)
    vertex.fail("GET", 503, headers={"Retry-After": "1"})
    started = time.monotonic()
    with Rest(patience=patience) as rest:
        assert rest.list_jobs("customJobs", "my-project", "us-central1", {}) == []
    assert time.monotonic() - started >= 1.0


def test_a_proxy_is_not_asked_for_a_server_on_this_machine(
    vertex: Vertex, rest: Rest, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/")
    assert rest.create(custom_job()) in vertex.jobs
