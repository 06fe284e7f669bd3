"""The REST sender against a loopback Vertex: what arrives, and what is read."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.cloud.requests_lab import IMPATIENT, JOB_SPEC, JOBS_PATH, PARENT, custom_job, submission_of
from tests.runner import ROOT
from tests.vertex_rig import Vertex
from trainer.cloud.rest import Rest, oldest_first
from trainer.cloud.vertex import JobState, find_job
from trainer.job.errors import UsageError


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


def test_a_request_arrives_as_it_is_with_a_label(vertex: Vertex, rest: Rest) -> None:
    request = custom_job()
    name = rest.create(request)
    [seen] = vertex.requests
    assert (seen.method, seen.path, seen.query, seen.authorization) == ("POST", JOBS_PATH, {}, None)
    assert seen.body == {
        "displayName": "place names",
        "labels": {"team": "blue", "trainer-submission": submission_of(seen.body)},
        "jobSpec": JOB_SPEC,
    }
    assert list(vertex.jobs) == [name]
    assert request == custom_job(), "the sender changed what it was given"


def test_a_field_that_the_service_does_not_know_is_named(vertex: Vertex, rest: Rest) -> None:
    with pytest.raises(UsageError, match=r'no field named "workerPoolSpec" at "CustomJob.jobSpec"'):
        rest.create(custom_job(jobSpec={"workerPoolSpec": []}))
    assert vertex.jobs == {}


def test_a_job_is_found_watched_and_cancelled(vertex: Vertex, rest: Rest) -> None:
    name = rest.create(custom_job())
    number = name.rpartition("/")[2]
    queued = find_job(rest, number, "my-project", "us-central1")
    assert queued == find_job(rest, name) == rest.get(name)
    assert queued == JobState(name, "JOB_STATE_QUEUED", "place names", queued.created)
    vertex.set_state(name, "JOB_STATE_RUNNING")
    running = rest.get(name)
    assert (running.word, running.is_over, running.ended) == ("running", False, None)
    assert running.started is not None
    assert running.created is not None
    assert running.created <= running.started
    rest.cancel(name)
    rest.cancel(name)
    ended = rest.get(name)
    assert (ended.state, ended.is_over, ended.succeeded) == ("JOB_STATE_CANCELLED", True, False)


def test_lists_are_read_to_their_end_oldest_first(rest: Rest, monkeypatch: pytest.MonkeyPatch) -> None:
    with Vertex(page_size=2) as vertex:
        monkeypatch.setenv("TRAINER_VERTEX_ENDPOINT", vertex.url)
        names = [rest.create(custom_job(labels={"number": str(at % 2)})) for at in range(7)]
        assert [each.name for each in rest.list_jobs("customJobs", "my-project", "us-central1", {})] == names
        odd = rest.list_jobs("customJobs", "my-project", "us-central1", {"number": "1"})
        assert [each.name for each in odd] == names[1::2]
        assert [each.query for each in vertex.requests[-2:]] == [
            {"pageSize": "100", "filter": 'labels.number="1"'},
            {"pageSize": "100", "filter": 'labels.number="1"', "pageToken": "2"},
        ]
        assert rest.list_jobs("hyperparameterTuningJobs", "my-project", "us-central1", {}) == []


def test_a_job_without_the_label_is_nobodys_whatever_a_filter_let_through() -> None:
    jobs = [
        {"name": f"{PARENT}/customJobs/{at}", "createTime": f"2026-11-24T00:00:0{at}Z", "labels": labels}
        for at, labels in enumerate([{"a": "1", "b": "1"}, {"b": "1"}, {"a": "2"}, {"a": "1"}])
    ]
    jobs.append({"name": f"{PARENT}/customJobs/4", "createTime": "2026-11-24T00:00:04Z"})
    found = oldest_first(reversed(jobs), {"a": "1"})
    assert [each.name[-1] for each in found] == ["0", "3"]


def test_importing_the_senders_loads_no_library() -> None:
    """Doors that answer --help at once may import them."""
    code = (
        "import sys, trainer.cloud.rest, trainer.cloud.gcloud, trainer.cloud.logs, trainer.cloud.watch\n"
        "print(sorted({'google', 'requests', 'urllib3', 'yaml', 'numpy', 'tensorflow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-S", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
