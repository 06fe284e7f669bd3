"""Logs as lines: all of them, in order, none twice, until the job is over."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator

import pytest

from tests.cloud.requests_lab import IMPATIENT, PARENT
from tests.vertex_rig import Vertex
from trainer.cloud import logs
from trainer.cloud.logs import follow_logs, lines_of, logging_api, read_logs
from trainer.cloud.rest import Rest
from trainer.cloud.transport import Api
from trainer.cloud.vertex import Unanswered
from trainer.job.errors import UsageError

NAME = f"{PARENT}/customJobs/7"
NOON = datetime.datetime(2026, 11, 24, 12, tzinfo=datetime.timezone.utc)


@pytest.fixture
def vertex(monkeypatch: pytest.MonkeyPatch) -> Iterator[Vertex]:
    with Vertex() as service:
        for name, value in service.env.items():
            monkeypatch.setenv(name, value)
        yield service


@pytest.fixture
def api(vertex: Vertex) -> Iterator[Api]:
    with Rest(patience=IMPATIENT) as rest:
        yield logging_api(rest, "us-central1")


def after(secs: float) -> datetime.datetime:
    return NOON + datetime.timedelta(seconds=secs)


def test_lines_come_in_order_whatever_order_they_arrived_in(vertex: Vertex, api: Api) -> None:
    vertex.logs.add("7", "epoch 2", at=after(2))
    vertex.logs.add("8", "of another job", at=after(1))
    vertex.logs.add("7", "epoch 1\nof two", at=after(1))
    vertex.logs.add("7", "Job is preparing.", at=NOON, task="service", is_text=True)
    vertex.logs.add("7", "epoch 1", at=after(1.5), task="workerpool1-0")
    assert list(read_logs(api, NAME)) == ["Job is preparing.", "epoch 1", "of two", "workerpool1-0: epoch 1", "epoch 2"]
    [seen] = vertex.requests
    assert (seen.method, seen.path, seen.body) == (
        "POST",
        "/v2/entries:list",
        {
            "resourceNames": ["projects/my-project"],
            "filter": 'resource.type="ml_job" AND resource.labels.job_id="7"',
            "orderBy": "timestamp asc",
            "pageSize": 1000,
        },
    )


def test_all_pages_are_read(vertex: Vertex, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "PAGE_SIZE", 3)
    for at in range(10):
        vertex.logs.add("7", f"line {at}", at=after(at))
    assert list(read_logs(api, NAME)) == [f"line {at}" for at in range(10)]
    assert [each.body.get("pageToken") for each in vertex.requests] == [None, "3", "6", "9"]


def script(*scenes: Callable[[], object]) -> tuple[Callable[[], bool], Callable[[float], object]]:
    """What happens while the log is followed: a scene at each pause, and the job is over after the last."""
    ahead = list(scenes)
    return lambda: not ahead, lambda _secs: ahead.pop(0)() if ahead else None


def test_following_shows_each_entry_once_and_ends_with_the_job(vertex: Vertex, api: Api) -> None:
    """Entries that arrive late, with an earlier time than those that were shown, included."""

    def add(message: str, secs: float) -> Callable[[], None]:
        return lambda: vertex.logs.add("7", message, at=after(secs))

    def several() -> None:
        for secs in (301, 302, 302):
            vertex.logs.add("7", f"at {secs}", at=after(secs))

    add("first", 0)()
    is_over, sleep = script(add("second", 300), lambda: None, add("late", 250), several, add("last", 400))
    lines = list(follow_logs(api, NAME, is_over, sleep=sleep))
    assert lines == ["first", "second", "late", "at 301", "at 302", "at 302", "last"]
    assert "timestamp>=" not in vertex.requests[0].body["filter"]
    assert 'timestamp>="2026-11-24T12:04:40.000000Z"' in vertex.requests[-1].body["filter"]


def test_what_was_on_its_way_when_the_job_ended_is_shown(vertex: Vertex, api: Api) -> None:
    pauses = iter([lambda: vertex.logs.add("7", "last words", at=NOON)])
    lines = list(follow_logs(api, NAME, lambda: True, sleep=lambda _: next(pauses, lambda: None)()))
    assert lines == ["last words"]


def test_following_outlives_a_service_that_is_busy(vertex: Vertex, api: Api) -> None:
    vertex.logs.add("7", "only", at=NOON)
    vertex.fail("entries:list", 429)
    vertex.fail("entries:list", "reset")
    vertex.fail("entries:list", "lost")
    assert list(follow_logs(api, NAME, lambda: True, sleep=lambda _: None)) == ["only"]


def test_following_waits_an_outage_out_and_shows_nothing_twice(vertex: Vertex, api: Api) -> None:
    """The outage begins in the middle of a list, and the job's state cannot be had either."""
    vertex.logs.add("7", "first", at=NOON)
    vertex.logs.add("7", "second", at=after(1))
    vertex.page_size = 1
    outages = iter([True, False, True])
    vertex.fail("entries:list", 503, times=2 * IMPATIENT.tries, skip=1)

    def is_over() -> bool:
        if next(outages, False):
            raise Unanswered("no answer.")
        return True

    lines = list(follow_logs(api, NAME, is_over, sleep=lambda _: None))
    assert lines == ["first", "second"]


def test_following_ends_when_nobody_answers_for_long(vertex: Vertex, api: Api) -> None:
    vertex.fail("entries:list", 503, times=1000)
    clock = iter(range(0, 10_000, 100))
    with pytest.raises(Unanswered, match="Cloud Logging answered 503"):
        list(follow_logs(api, NAME, lambda: True, lambda _: None, lambda: next(clock)))
    assert next(clock) == 1100


def test_no_permission_to_read_is_said_with_its_name(vertex: Vertex, api: Api) -> None:
    vertex.fail("entries:list", 403, message="Permission 'logging.logEntries.list' denied on 'projects/my-project'.")
    with pytest.raises(UsageError, match=r"a role that has the permission logging\.logEntries\.list"):
        list(read_logs(api, NAME))


def test_credentials_do_not_follow_to_a_server_of_a_test(vertex: Vertex) -> None:
    """And where both are Google's, or both are here, one session serves both."""
    with Rest(patience=IMPATIENT) as rest:
        own = rest.api("us-central1")
        assert own.sibling("x", vertex.url).session is own.session
    far = Api("Vertex AI", "https://us-central1-aiplatform.googleapis.com/", own.session)
    near = far.sibling("Cloud Logging", vertex.url)
    assert near.session is not far.session
    assert near.session.credentials.token is None  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("entry", "lines"),
    [
        ({"textPayload": "a\nb"}, ["a", "b"]),
        ({"jsonPayload": {"message": "a"}}, ["a"]),
        ({"jsonPayload": {"code": 1}}, []),
        ({"protoPayload": {}}, []),
        ({"textPayload": ""}, []),
        ({"textPayload": "a", "resource": {"labels": {"task_name": "workerpool0-0"}}}, ["a"]),
        ({"textPayload": "a\nb", "resource": {"labels": {"task_name": "ps"}}}, ["ps: a", "ps: b"]),
    ],
)
def test_an_entry_is_its_message(entry: dict[str, object], lines: list[str]) -> None:
    assert lines_of(entry) == lines
