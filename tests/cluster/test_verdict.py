"""The verdict: facts -> lines, which of them are red, and what is written."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from trainer.cluster.board import Run
from trainer.cluster.faults import Fault, Moment
from trainer.cluster.verdict import Facts, MemberFacts, examples_needed, judge

RUN = Run("a", "finished", 40, 40, "multi_worker_mirrored", "evaluator", start_step=0, train_examples=200)
KILL = Fault("worker 0", Moment(step=9))
CHAOS = Fault("worker 0", Moment(part=0.5), is_chaos=True)
FACTS = Facts(
    failure="",
    run=RUN,
    is_synchronous=True,
    batch_size=30,  # 7 steps an epoch, the last one of 20
    members=(
        MemberFacts("chief", "chief", "ended", 40, 575, 575, (0, 2)),
        MemberFacts("worker 0", "worker", "ended", 40, 675, 575, (1, 2), 1, 2.5),
        MemberFacts("evaluator", "evaluator", "ended", 40),
    ),
    exports={"latest": {"1700000001": True}, "final": {"1700000002": True, "1700000003": True}},
    wanted_exports=("latest", "final"),
    evaluated_steps=(7, 14, 40),
    lost_secs=2.5,
    secs=12.0,
)


def facts(**changes: Any) -> Facts:
    run = {name: changes.pop(name) for name in list(changes) if name in {each.name for each in dataclasses.fields(Run)}}
    worker = {name[7:]: changes.pop(name) for name in list(changes) if name.startswith("worker_")}
    chief, member, evaluator = FACTS.members
    members = (chief, dataclasses.replace(member, **worker), evaluator)
    return dataclasses.replace(FACTS, **{"run": dataclasses.replace(RUN, **run), "members": members, **changes})


def test_all_is_green() -> None:
    verdict = judge(FACTS)
    assert verdict.red == []
    assert verdict.table() == [
        "           state  step  examples   share  restarts  secs lost",
        "chief      ended    40       575  1 of 2",
        "worker 0   ended    40       675  2 of 2         1        2.5",
        "evaluator  ended    40",
        "",
        "ok   finished     step 40 of 40, multi_worker_mirrored",
        "ok   examples     the 2 shares are disjoint and complete; 1,150 in the last run's steps, as many as they have",
        "ok   exports      1 latest, 2 final, each verified",
        "ok   evaluations  3, the last one at step 40",
        "ok   restarts     worker 0 1; 2.5 s lost",
        "all green",
    ]
    written = json.loads(json.dumps(verdict.as_json(0)))
    assert (written["verdict"], written["finished"], written["step"]) == ("all green", True, 40)
    assert written["members"]["worker 0"] == {
        "state": "ended", "step": 40, "examples": 675, "share": [1, 2], "restarts": 1, "secs_lost": 2.5,
    }  # fmt: skip


RED: dict[str, tuple[Facts, str, str]] = {
    "it failed": (
        facts(state="running", failure="chief died"),
        "finished",
        "step 40 of 40, multi_worker_mirrored; chief died",
    ),
    "nobody told anything": (facts(run=None, failure="chief died"), "finished", "chief died"),
    "a step is missing": (facts(step=39), "finished", "step 39 of 40, multi_worker_mirrored; the chief says finished"),
    "it was stopped": (facts(state="stopped"), "finished", "the chief says stopped"),
    "a share is missing": (facts(worker_share=None), "examples", "worker 0 told no share of the data"),
    "a share is there twice": (facts(worker_share=(0, 2)), "examples", "one each: worker 0 has 1 of 2"),
    "a share is of another number": (facts(worker_share=(1, 3)), "examples", "worker 0 has 2 of 3"),
    "examples are missing": (facts(worker_last_examples=574), "examples", "1,149 in the last run's steps, which have"),
    "a kind of export is missing": (
        facts(wanted_exports=("latest", "best")),
        "exports",
        "none of the kind best; 1 latest, 2 final",
    ),
    "an export is wrong": (facts(exports={"latest": {"17": False}, "final": {"18": True}}), "exports", "latest/17"),
    "an export was not verified": (facts(exports={"latest": {"1": None}, "final": {"2": True}}), "exports", "latest/1"),
    "there was no evaluation": (facts(evaluated_steps=()), "evaluations", "none"),
    "the last evaluation is missing": (facts(evaluated_steps=(7, 35)), "evaluations", "2, the last one at step 35"),
    "a kill did not happen": (facts(missed=(KILL,)), "faults", "kill worker 0 at step 9 (the job had ended before)"),
}  # fmt: skip


@pytest.mark.parametrize(("found", "name", "words"), RED.values(), ids=RED)
def test_a_broken_promise_is_red(found: Facts, name: str, words: str) -> None:
    verdict = judge(found)
    assert verdict.red == [name]
    [line] = [line for line in verdict.lines if not line.is_kept]
    assert words in line.words
    assert verdict.table()[-1] == f"red: {name}"


GREEN: dict[str, tuple[Facts, str]] = {
    "stopped early": (
        facts(
            step=35,
            total_steps=80,
            early=True,
            why="loss got no better",
            evaluated_steps=(35,),
            worker_last_examples=425,
        ),
        "step 35 of 80, stopped early: loss got no better, multi_worker_mirrored",
    ),
    "nothing was left to do": (facts(start_step=40, worker_share=None), "no step was left to train"),
    "resumed": (facts(start_step=7, worker_last_examples=375), "950 in the last run's steps"),
    "the steps of servers": (
        facts(is_synchronous=False, step=41, evaluated_steps=(41,), worker_last_examples=1),
        "the 2 shares are disjoint and complete; 1,250 in all",
    ),
    "a worker that came back too late": (
        facts(is_synchronous=False, worker_share=None),
        "the 2 shares are disjoint and complete; 1,250 in all",
    ),
    "a worker that was killed after the last step": (
        facts(worker_last_examples=500, worker_examples=500, worker_ended_well=False),
        "the 2 shares are disjoint and complete; 1,075 in all",
    ),
    "an own input_fn, whose examples nobody counts": (facts(train_examples=None), "1,250 in all"),
    "no exports are wanted": (facts(wanted_exports=(), exports={}), "the last one at step 40"),
    "a kill happened": (facts(done=(KILL,)), "kill worker 0 at step 9: done"),
    "chaos came too late": (facts(missed=(CHAOS,)), "kill worker 0 at 50% of the steps (the job had ended before)"),
}


@pytest.mark.parametrize(("found", "words"), GREEN.values(), ids=GREEN)
def test_what_is_as_it_should_be_is_green(found: Facts, words: str) -> None:
    verdict = judge(found)
    assert verdict.red == []
    assert any(words in line.words for line in verdict.lines), verdict.lines


@pytest.mark.parametrize(
    ("start", "end", "examples"), [(0, 1, 30), (0, 7, 200), (6, 7, 20), (0, 14, 400), (7, 7, 0), (13, 15, 50)]
)
def test_steps_have_so_many_examples(start: int, end: int, examples: int) -> None:
    assert examples_needed(dataclasses.replace(RUN, start_step=start, step=end), 30) == examples
