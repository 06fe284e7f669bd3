"""What is done when a process ends or falls silent: situation -> action, as a table."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from trainer.cluster.rules import Action, Dismiss, Fail, Finish, Kill, Move, Situation, Start, View, decide

GROUP = ("chief", "worker 0", "worker 1")


def situation(name: str, *told: Any, **more: Any) -> Situation:
    """One process: an exit code means that it ended a while ago, DONE that its part is done."""
    ended = [each for each in told if each != "done"]
    code = {"exit_code": ended[0], "ended_secs": 5.0} if ended else {}
    return Situation(**{"name": name, "role": name.split()[0], "is_done": "done" in told, **code, **more})


def synchronous(**told: Any) -> tuple[Situation, ...]:
    """Chief, two workers and an evaluator; a value is an exit code, or a whole situation."""
    return cluster(("chief", "worker_0", "worker_1", "evaluator"), told)


def with_servers(**told: Any) -> tuple[Situation, ...]:
    """The same, and a parameter server."""
    return cluster(("chief", "worker_0", "worker_1", "ps_0", "evaluator"), told)


def cluster(names: tuple[str, ...], told: dict[str, Any]) -> tuple[Situation, ...]:
    assert set(told) <= set(names)
    found = []
    for each in names:
        value, name = told.get(each, {}), each.replace("_", " ")
        if isinstance(value, dict):
            found.append(situation(name, **value))
        else:
            found.append(situation(name, *(value if isinstance(value, tuple) else (value,))))
    return tuple(found)


FINISHED = {"run_state": "finished"}
TOGETHER = Start(GROUP, "worker 0 was killed by signal 9")

CASES: dict[str, tuple[tuple[Situation, ...], dict[str, Any], Action | None]] = {
    "all is well": (synchronous(), {}, None),
    "all is well with servers": (with_servers(), {}, None),
    # without parameter servers all that train start together
    "a worker is killed": (synchronous(worker_0=-9), {}, TOGETHER),
    "a worker has just been killed": (synchronous(worker_0={"exit_code": -9, "ended_secs": 0.2}), {}, None),
    "the chief is killed": (synchronous(chief=-9), {}, Start(GROUP, "chief was killed by signal 9")),
    "a worker stalls": (synchronous(worker_1=134), {}, Start(GROUP, "worker 1 stalled (exit code 134)")),
    "the first death is the reason": (
        synchronous(chief=1, worker_0={"exit_code": -9, "ended_secs": 9.0}),
        {},
        TOGETHER,
    ),
    "somebody else stops the chief": (synchronous(chief=143), {}, Start(GROUP, "chief ended with exit code 143")),
    "a worker ends while the chief waits": (synchronous(worker_0=0), {}, None),
    "a worker is killed after its part": (synchronous(worker_0=-9), {"run_state": "trained"}, None),
    "the chief has failed and is ending": (synchronous(worker_0=3, worker_1=3), {"run_state": "failed"}, None),
    "the chief has failed": (
        synchronous(chief=1, worker_0=3, worker_1=3, evaluator=3),
        {"run_state": "failed"},
        Start(GROUP, "chief ended with exit code 1"),
    ),
    "the chief has failed for good": (
        synchronous(chief=5, worker_0=3, worker_1=3),
        {"run_state": "failed"},
        Fail(5, "chief", "chief ended with exit code 5"),
    ),
    "an evaluator ends as the chief fails": (
        synchronous(evaluator=3),
        {"run_state": ""},
        Fail(3, "evaluator", "evaluator ended with exit code 3"),
    ),
    "the chief is killed when the workers have ended": (
        synchronous(chief=-9, worker_0=(0, "done"), worker_1=(0, "done")),
        {},
        Start(GROUP, "chief was killed by signal 9"),
    ),
    "restarts are used up": (
        synchronous(chief={"restarts": 3}, worker_0={"exit_code": -9, "ended_secs": 5.0, "restarts": 3}),
        {},
        Fail(3, "worker 0", "worker 0 was killed by signal 9 after 3 restarts, and --max-restarts allows no more"),
    ),
    "a lone chief is killed": (
        cluster(("chief",), {"chief": -9}),
        {},
        Start(("chief",), "chief was killed by signal 9"),
    ),
    # with parameter servers each starts alone
    "a worker of servers is killed": (
        with_servers(worker_0=-9),
        {},
        Start(("worker 0",), "worker 0 was killed by signal 9"),
    ),
    "a chief of servers is killed": (with_servers(chief=-9), {}, Start(("chief",), "chief was killed by signal 9")),
    "a server is killed": (with_servers(ps_0=-9), {}, Start(("ps 0",), "ps 0 was killed by signal 9")),
    "a server ends too early": (
        with_servers(ps_0=0),
        {},
        Start(("ps 0",), "ps 0 ended before the job did", is_free=True),
    ),
    "a server ends as the job does": (with_servers(ps_0=0), FINISHED, None),
    "a server ends when all is trained": (with_servers(ps_0=0), {"run_state": "trained"}, None),
    "a server is killed when all is trained": (with_servers(ps_0=-9), {"run_state": "trained"}, None),
    "a chief of servers is killed when all was trained": (
        with_servers(chief=-9, worker_0=0, worker_1=-9, ps_0=0),
        {"run_state": "trained"},
        Start(("chief",), "chief was killed by signal 9"),
    ),
    "a worker of servers has done its part": (with_servers(worker_1=0), {}, None),
    "a worker of servers dies too often": (
        with_servers(worker_0={"exit_code": 1, "ended_secs": 5.0, "restarts": 3}),
        {},
        Fail(3, "worker 0", "worker 0 ended with exit code 1 after 3 restarts, and --max-restarts allows no more"),
    ),
    "others may have been started again often": (
        with_servers(worker_0=-9, worker_1={"restarts": 3}),
        {},
        Start(("worker 0",), "worker 0 was killed by signal 9"),
    ),
    # the evaluator
    "an evaluator loses its checkpoint": (
        synchronous(evaluator=1),
        {},
        Start(("evaluator",), "evaluator ended with exit code 1"),
    ),
    "an evaluator finds no checkpoint that it can read": (
        synchronous(evaluator=5),
        {},
        Start(("evaluator",), "evaluator ended with exit code 5"),
    ),
    "an evaluator dies after the chief": (
        synchronous(chief=0, worker_0=0, worker_1=0, evaluator=-9),
        FINISHED,
        Start(("evaluator",), "evaluator was killed by signal 9"),
    ),
    "an evaluator has just died after the chief": (
        synchronous(chief=0, worker_0=0, worker_1=0, evaluator={"exit_code": -9, "ended_secs": 0.1}),
        FINISHED,
        None,
    ),
    "an evaluator is killed after its part": (synchronous(evaluator=(-9, "done")), {}, None),
    "an evaluator ends too early": (
        synchronous(evaluator=0),
        {},
        Start(("evaluator",), "evaluator ended before the job did", is_free=True),
    ),
    "an evaluator has nothing to do": (synchronous(evaluator=0), {"evaluated_by": "chief"}, None),
    "an evaluator dies too often": (
        synchronous(evaluator={"exit_code": 1, "ended_secs": 5.0, "restarts": 3}),
        {},
        Fail(3, "evaluator", "evaluator ended with exit code 1 after 3 restarts, and --max-restarts allows no more"),
    ),
    # exit codes that would come again
    "a flag is wrong": (synchronous(worker_0=2), {}, Fail(2, "worker 0", "worker 0 ended with exit code 2")),
    "the loss is NaN": (with_servers(chief=3), {}, Fail(3, "chief", "chief ended with exit code 3")),
    "an export is wrong": (synchronous(evaluator=4), {}, Fail(4, "evaluator", "evaluator ended with exit code 4")),
    "the disk is full": (synchronous(chief=5), {}, Fail(5, "chief", "chief ended with exit code 5")),
    "the code that tells is not the first": (
        synchronous(chief=-9, worker_1=2),
        {},
        Fail(2, "worker 1", "worker 1 ended with exit code 2"),
    ),
    "a worker fails after the end": (
        synchronous(chief=0, worker_0=3, worker_1=0, evaluator=(0, "done")),
        FINISHED,
        Finish(),
    ),
    # ports
    "a port is taken": (
        synchronous(worker_0={"exit_code": 1, "ended_secs": 0.0, "has_clashed": True}),
        {},
        Move("the port of worker 0 was taken"),
    ),
    "a port is taken again": (
        synchronous(worker_0={"exit_code": 1, "ended_secs": 5.0, "has_clashed": True}),
        {"may_move": False},
        Start(GROUP, "worker 0 ended with exit code 1"),
    ),
    # silence
    "a worker is silent": (
        synchronous(worker_1={"silent_secs": 700.0}),
        {},
        Kill("worker 1", "no sign of life of worker 1 for 700 s"),
    ),
    "a silent worker has time to end itself": (synchronous(worker_1={"silent_secs": 610.0}), {}, None),
    "a worker takes long to start": (synchronous(worker_1={"silent_secs": 700.0, "has_beaten": False}), {}, None),
    "a worker never starts": (
        synchronous(worker_1={"silent_secs": 950.0, "has_beaten": False}),
        {},
        Kill("worker 1", "no sign of life of worker 1 for 950 s"),
    ),
    "a server is silent": (with_servers(ps_0={"silent_secs": 9999.0, "has_beaten": False}), {}, None),
    "a worker is silent after its part": (synchronous(worker_1={"silent_secs": 999.0, "is_done": True}), {}, None),
    "a shorter limit": (
        with_servers(chief={"silent_secs": 31.0}),
        {"stall_secs": 10.0},
        Kill("chief", "no sign of life of chief for 31 s"),
    ),
    # the end
    "the chief has ended, others are ending": (
        with_servers(chief={"exit_code": 0, "ended_secs": 1.0}, worker_0=(0, "done")),
        FINISHED,
        None,
    ),
    "a server does not end": (
        with_servers(chief={"exit_code": 0, "ended_secs": 30.0}, worker_0=0, worker_1=0, evaluator=(0, "done")),
        FINISHED,
        Dismiss(("ps 0",)),
    ),
    "a server was asked to end": (
        with_servers(
            chief={"exit_code": 0, "ended_secs": 30.0}, worker_0=0, worker_1=0, evaluator=0, ps_0={"is_leaving": True}
        ),
        FINISHED,
        None,
    ),
    "an evaluator is still at work": (
        synchronous(chief={"exit_code": 0, "ended_secs": 500.0}, worker_0=0, worker_1=0),
        FINISHED,
        None,
    ),
    "an evaluator that has done its part does not end": (
        synchronous(chief={"exit_code": 0, "ended_secs": 500.0}, worker_0=0, worker_1=0, evaluator={"is_done": True}),
        FINISHED,
        Dismiss(("evaluator",)),
    ),
    "all have ended": (with_servers(chief=0, worker_0=0, worker_1=0, ps_0=0, evaluator=0), FINISHED, Finish()),
    "a server had to be killed": (
        with_servers(chief=0, worker_0=0, worker_1=0, ps_0={"exit_code": -9, "is_leaving": True}, evaluator=0),
        FINISHED,
        Finish(),
    ),
}


@pytest.mark.parametrize(("members", "view", "action"), CASES.values(), ids=CASES)
def test_what_is_done(members: tuple[Situation, ...], view: dict[str, Any], action: Action | None) -> None:
    assert decide(View(members, **view)) == action


def test_no_limit_of_restarts_is_forgotten() -> None:
    """Whoever dies again and again ends the job, whatever else is true of it."""
    for make in (synchronous, with_servers):
        for place, each in enumerate(make()):
            members = list(make())
            members[place] = dataclasses.replace(each, exit_code=1, ended_secs=9.0, restarts=1)
            assert isinstance(decide(View(tuple(members), max_restarts=1)), Fail), each.name
