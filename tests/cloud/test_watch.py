"""Waiting for a job's end."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.cloud.requests_lab import IMPATIENT, custom_job
from tests.vertex_rig import Vertex
from trainer.cloud.rest import Rest
from trainer.cloud.vertex import OUTAGE_SECS, JobState, NotFound, Unanswered
from trainer.cloud.watch import LONGEST_SECS, exit_code_of, watch
from trainer.job.errors import CloudError


@pytest.fixture
def vertex(monkeypatch: pytest.MonkeyPatch) -> Iterator[Vertex]:
    with Vertex() as service:
        monkeypatch.setenv("TRAINER_VERTEX_ENDPOINT", service.url)
        yield service


@pytest.fixture
def rest() -> Iterator[Rest]:
    with Rest(patience=IMPATIENT) as sender:
        yield sender


class Clock:
    """Time that passes in pauses only; `scenes` happen one at each."""

    def __init__(self, *scenes: Callable[[], object]) -> None:
        self.secs, self.pauses, self._scenes = 0.0, list[float](), list(scenes)

    def now(self) -> float:
        return self.secs

    def sleep(self, secs: float) -> None:
        self.secs += secs
        self.pauses.append(secs)
        if self._scenes:
            self._scenes.pop(0)()


def test_each_state_is_told_once_until_the_end(vertex: Vertex, rest: Rest) -> None:
    name = rest.create(custom_job())

    def move(state: str) -> Callable[[], None]:
        return lambda: vertex.set_state(name, f"JOB_STATE_{state}")

    def stay() -> None:
        pass

    scenes = [stay, move("PENDING"), move("RUNNING"), *[stay] * 12, move("SUCCEEDED")]
    clock = Clock(*scenes)
    states = list(watch(rest, name, clock.sleep, clock.now))
    assert [each.word for each in states] == ["queued", "pending", "running", "succeeded"]
    last = states[-1]
    assert last.created is not None
    assert last.started is not None
    assert last.ended is not None
    assert last.created <= last.started <= last.ended
    assert exit_code_of(last) == 0
    assert clock.pauses[:4] == [2.0, 3.0, 2.0, 2.0], "after a change it is asked again soon"
    assert clock.pauses[-1] == LONGEST_SECS
    assert len(clock.pauses) == len(scenes)


def test_a_job_that_failed_is_an_error_with_its_reason(vertex: Vertex, rest: Rest) -> None:
    name = rest.create(custom_job())
    vertex.set_state(
        name, "JOB_STATE_FAILED", "The replica workerpool0-0 exited with a non-zero status of 3.\nSee logs."
    )
    [state] = watch(rest, name)
    with pytest.raises(CloudError) as caught:
        exit_code_of(state)
    why = "The replica workerpool0-0 exited with a non-zero status of 3. See logs"
    assert str(caught.value) == f"the job {name} failed: {why}; its logs say more."
    assert caught.value.exit_code == 6


@pytest.mark.parametrize(("state", "words"), [("CANCELLED", "was cancelled"), ("EXPIRED", "expired")])
def test_an_end_that_is_no_success_is_an_error(state: str, words: str) -> None:
    with pytest.raises(CloudError, match=f"^the job j {words}; its logs say more"):
        exit_code_of(JobState("j", f"JOB_STATE_{state}"))


def test_an_outage_of_minutes_is_waited_out(vertex: Vertex, rest: Rest) -> None:
    name = rest.create(custom_job())
    vertex.fail("GET", 503, times=5 * IMPATIENT.tries, skip=1)
    clock = Clock(*[lambda: None] * 5, lambda: vertex.set_state(name, "JOB_STATE_SUCCEEDED"))
    assert [each.word for each in watch(rest, name, clock.sleep, clock.now)] == ["queued", "succeeded"]
    assert len(clock.pauses) == 6


def test_outages_are_not_added_up(vertex: Vertex, rest: Rest) -> None:
    """Each of ten is 12 minutes long, with an answer after it."""
    name = rest.create(custom_job())
    for _ in range(10):
        vertex.fail("GET", 503, times=IMPATIENT.tries, skip=1)
    passing = iter(range(0, 1_000_000, 720))
    clock = Clock(*[lambda: None] * 19, lambda: vertex.set_state(name, "JOB_STATE_SUCCEEDED"))
    states = list(watch(rest, name, clock.sleep, lambda: next(passing)))
    assert [each.word for each in states] == ["queued", "succeeded"]


def test_an_outage_without_end_is_an_error(vertex: Vertex, rest: Rest) -> None:
    name = rest.create(custom_job())
    vertex.fail("GET", "reset", times=10_000, skip=1)
    clock = Clock()
    with pytest.raises(Unanswered, match="no answer from Vertex AI"):
        list(watch(rest, name, clock.sleep, clock.now))
    assert OUTAGE_SECS < clock.secs < OUTAGE_SECS + 2 * LONGEST_SECS


@pytest.mark.usefixtures("vertex")
def test_an_unknown_job_is_no_outage(rest: Rest) -> None:
    with pytest.raises(NotFound):
        list(watch(rest, "projects/my-project/locations/us-central1/customJobs/42"))


def test_ctrl_c_while_waiting_leaves_the_job_alone(vertex: Vertex, rest: Rest) -> None:
    name = rest.create(custom_job())

    def ctrl_c(_secs: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(watch(rest, name, ctrl_c))
    assert [each.method for each in vertex.requests] == ["POST", "GET"]
    assert vertex.jobs[name]["state"] == "JOB_STATE_QUEUED"
