"""One request makes one job, whatever happens on the way; and what names a job."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cloud.requests_lab import IMPATIENT, custom_job, submission_of, tuning_job
from tests.vertex_rig import Vertex
from trainer.cloud.request import Request
from trainer.cloud.rest import Rest
from trainer.cloud.vertex import KINDS, JobName, NotFound, find_job, job_names
from trainer.job.errors import CloudError, Interrupted, UsageError

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


@pytest.mark.parametrize("how", [429, 500, 502, 503, 504, "reset", "lost"])
def test_one_job_is_made_whatever_happens_to_the_request(vertex: Vertex, rest: Rest, how: int | str) -> None:
    vertex.fail(CREATE, how)
    name = rest.create(custom_job())
    assert list(vertex.jobs) == [name]
    assert len(vertex.posts()) == (1 if how == "lost" else 2)


def test_an_answer_that_takes_too_long_is_a_lost_one(vertex: Vertex) -> None:
    vertex.fail(CREATE, "slow", secs=1.0)
    with Rest(patience=type(IMPATIENT)(tries=3, first_secs=1.0, longest_secs=2.0, answer_secs=0.2)) as rest:
        name = rest.create(custom_job())
    assert list(vertex.jobs) == [name]


def test_a_list_that_lags_behind_makes_no_second_job(vertex: Vertex, rest: Rest) -> None:
    """The look after the lost answer finds nothing; the twin that the second try makes is cancelled."""
    vertex.fail(CREATE, "lost")
    lagging = list(rest.list_jobs("customJobs", "my-project", "us-central1", {}))
    seen = iter([lagging])
    look = rest.list_jobs
    rest.list_jobs = lambda *where: next(seen, None) or look(*where) if vertex.posts()[1:] else []  # type: ignore[method-assign]
    name = rest.create(custom_job())
    states = {each: job["state"] for each, job in vertex.jobs.items()}
    first, second = states
    assert name == first
    assert states == {first: "JOB_STATE_QUEUED", second: "JOB_STATE_CANCELLED"}


def test_a_service_that_stays_away_is_said_with_the_number_of_tries(vertex: Vertex, rest: Rest) -> None:
    vertex.fail(CREATE, 503, times=99, message="The service is currently unavailable.")
    with pytest.raises(CloudError) as caught:
        rest.create(custom_job())
    assert str(caught.value) == (
        "Vertex AI answered 503: The service is currently unavailable; no job is listed after 4 tries: submit again "
        "later."
    )
    assert (len(vertex.posts()), vertex.jobs, caught.value.exit_code) == (4, {}, 6)


def test_where_nobody_can_say_whether_there_is_a_job_the_label_is_told(vertex: Vertex, rest: Rest) -> None:
    vertex.fail(CREATE, "lost")
    vertex.fail("GET", 403, times=99, message="Permission 'aiplatform.customJobs.list' denied on resource")
    with pytest.raises(CloudError) as caught:
        rest.create(custom_job())
    [job] = vertex.jobs.values()
    assert f"trainer-submission={submission_of(job)}" in str(caught.value)
    assert "project my-project, region us-central1" in str(caught.value)


def test_ctrl_c_while_submitting_tells_the_label(vertex: Vertex, rest: Rest, monkeypatch: pytest.MonkeyPatch) -> None:
    def ctrl_c(*_: object) -> None:
        raise KeyboardInterrupt

    vertex.fail(CREATE, "lost")
    monkeypatch.setattr("time.sleep", ctrl_c)
    with pytest.raises(Interrupted) as caught:
        rest.create(custom_job())
    [job] = vertex.jobs.values()
    assert f"trainer-submission={submission_of(job)}." in str(caught.value)
    assert caught.value.exit_code == 130


@pytest.mark.parametrize(
    ("project", "region", "flag"),
    [
        ("my-project", "evil.example.com/", "--region"),
        ("my-project", "us-central1@evil.example", "--region"),
        ("my-project", "us-central1-a", "--region"),
        ("../x", "us-central1", "--project"),
        ("", "us-central1", "--project"),
    ],
)
def test_a_place_that_would_lead_elsewhere_is_refused(
    vertex: Vertex, rest: Rest, project: str, region: str, flag: str
) -> None:
    with pytest.raises(UsageError, match=f"^{flag}="):
        rest.create(Request("customJobs", project, region, custom_job().body))
    assert vertex.requests == []


def test_an_id_may_be_that_of_a_tuning_job(vertex: Vertex, rest: Rest) -> None:
    name = rest.create(tuning_job())
    assert "/hyperparameterTuningJobs/" in name
    assert find_job(rest, name.rpartition("/")[2], "my-project", "us-central1").name == name
    [body] = [each.body for each in vertex.posts()]
    assert body == {**tuning_job().body, "labels": {"trainer-submission": submission_of(body)}}


@pytest.mark.usefixtures("vertex")
def test_an_unknown_id_is_looked_for_as_both_kinds(rest: Rest) -> None:
    with pytest.raises(NotFound) as caught:
        find_job(rest, "42", "my-project", "us-central1")
    assert str(caught.value) == (
        "there is no job 42 in project my-project and region us-central1, neither a custom job nor a tuning job: check "
        "the ID, --project and --region."
    )


@given(
    st.from_regex(
        rf"projects/[a-z0-9-]{{1,30}}/locations/[a-z]{{2,9}}-[a-z]{{3,9}}[0-9]{{1,2}}/({'|'.join(KINDS)})/[0-9]{{1,19}}",
        fullmatch=True,
    )
)
def test_a_name_is_written_as_it_was_read(text: str) -> None:
    name = JobName.parse(f" {text}\n")
    assert str(name) == text
    assert job_names(name.id, name.project, name.region)[KINDS.index(name.kind)] == name


@pytest.mark.parametrize(
    ("text", "project", "region", "words"),
    [
        ("42", None, "us-central1", "42 is the ID of a job, and --project is missing"),
        ("42", None, None, "--project and --region are missing"),
        ("\u0664\u0662", "my-project", "us-central1", "\u0664\u0662 is no name of a job"),
        ("my job", "my-project", "us-central1", "my job is no name of a job"),
        ("", "my-project", "us-central1", "an empty name is no name of a job"),
        ("projects/p/locations/evil.com/customJobs/1", None, None, "--region=evil.com"),
        ("projects/p/locations/us-central1/customJobs/1/../2", None, None, "no name of a job"),
        ("projects/p/locations/us-central1/models/1", None, None, "no name of a job"),
    ],
)
def test_what_names_no_job_is_refused(text: str, project: str | None, region: str | None, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        job_names(text, project, region)
    assert words in str(caught.value)
