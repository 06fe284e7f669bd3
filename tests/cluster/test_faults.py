"""Which process is killed or stopped, and when."""

from __future__ import annotations

from collections import Counter

from trainer.cluster.faults import CHAOS_DELAY_SECS, Fault, Moment, Timetable, draw_fault, read_faults

NAMES = ["chief", "worker 0", "worker 1", "ps 0", "evaluator"]


def test_faults_are_read() -> None:
    found = read_faults(["chief@3", "worker@4", "worker1@5"], ["ps0@6:1.5", "evaluator@7:2"], None, NAMES)
    assert found == [
        Fault("chief", Moment(step=3)),
        Fault("worker 0", Moment(step=4)),
        Fault("worker 1", Moment(step=5)),
        Fault("ps 0", Moment(step=6), 1.5),
        Fault("evaluator", Moment(step=7), 2.0),
    ]
    assert [each.kind for each in found] == ["kill", "kill", "kill", "pause", "pause"]


def test_a_seed_draws_the_same_fault_each_time_and_all_get_their_share() -> None:
    faults = [draw_fault(seed, NAMES) for seed in range(300)]
    assert faults == [draw_fault(seed, NAMES) for seed in range(300)]
    assert all(each.is_chaos and each.kind == "kill" for each in faults)
    assert min(Counter(each.name for each in faults).values()) > 30
    kinds = Counter(
        "start" if each.moment.part is None else "end" if each.moment.part == 1 else "middle" for each in faults
    )
    assert min(kinds.values()) > 40
    assert len(kinds) == 3


def test_a_fault_is_due_from_its_moment_on_until_it_is_done() -> None:
    at_step, at_part = Fault("chief", Moment(step=10)), Fault("ps 0", Moment(part=0.5, delay_secs=2.0))
    table = Timetable([at_step, at_part])
    assert table.due(0.0, None, None) == []
    assert table.due(1.0, 9, None) == []
    assert table.due(2.0, 10, None) == [at_step]
    assert table.due(3.0, 11, 20) == [at_step]
    table.done(at_step)
    assert table.due(4.9, 12, 20) == []
    assert table.due(5.0, 5, 20) == [at_part]  # the steps may go back after a restart
    assert table.missed == [at_part]
    table.done(at_part)
    assert table.due(99.0, 20, 20) == table.missed == []


def test_the_start_needs_no_step() -> None:
    fault = Fault("chief", Moment(delay_secs=CHAOS_DELAY_SECS))
    table = Timetable([fault])
    assert table.due(100.0, None, None) == []
    assert table.due(100.0 + CHAOS_DELAY_SECS, None, None) == [fault]


def test_the_same_fault_may_happen_twice() -> None:
    fault = Fault("chief", Moment(step=1))
    table = Timetable([fault, fault])
    assert table.due(0.0, 1, 2) == [fault, fault]
    table.done(fault)
    assert table.due(1.0, 1, 2) == [fault]


def test_faults_in_words() -> None:
    assert str(Fault("chief", Moment(step=3))) == "kill chief at step 3"
    assert str(Fault("ps 0", Moment(part=0.25, delay_secs=1.25))) == "kill ps 0 1.2 s after 25% of the steps"
    assert str(Fault("worker 1", Moment(delay_secs=3.0), 2.0)) == "pause worker 1 for 2 s 3.0 s after the start"
