"""The end of a rehearsal: look at what the job has left, judge, write the verdict, and say it."""

from __future__ import annotations

import contextlib
import json
import os
import posixpath
from collections.abc import Iterator
from typing import Any

from trainer.cluster.plan import Plan
from trainer.cluster.rules import OVER
from trainer.cluster.seat import Seat, total_secs
from trainer.cluster.supervisor import Outcome
from trainer.cluster.verdict import Facts, MemberFacts, Verdict, judge
from trainer.job.errors import StorageFailed, TrainerError, TrainingFailed, UsageError, VerificationFailed
from trainer.job.paths import JobPaths

ERRORS: dict[int, type[TrainerError]] = {2: UsageError, 3: TrainingFailed, 4: VerificationFailed, 5: StorageFailed}


def close_rehearsal(plan: Plan, outcome: Outcome) -> tuple[list[str], TrainerError | None]:
    """Judge, and write verdict.json.

    Returns:
      The lines of the verdict, and what the door has to end with; None where all is green.
    """
    verdict = judge(gather(plan, outcome))
    error = failure_of(plan, outcome, verdict)
    with contextlib.suppress(OSError):  # of a full disk, say: it is said all the same
        put_verdict(plan, verdict, error.exit_code if error else 0)
    return verdict.table(), error


def gather(plan: Plan, outcome: Outcome) -> Facts:
    """What there is to be judged."""
    paths = JobPaths.of(plan.job)
    return Facts(
        failure=outcome.fail.why if outcome.fail else "",
        run=outcome.run,
        is_synchronous=plan.is_synchronous,
        batch_size=plan.job.data.batch_size,
        members=tuple(_facts_of(seat) for seat in outcome.seats),
        exports={kind: dict(_exports(paths.export(kind))) for kind in plan.job.evaluation.exporters},
        wanted_exports=plan.job.evaluation.exporters,
        evaluated_steps=tuple(sorted(_evaluated_steps(paths.evaluations))),
        done=tuple(outcome.done),
        missed=tuple(outcome.missed),
        lost_secs=total_secs([each for seat in outcome.seats for each in seat.lost]),
        secs=outcome.secs,
    )


def failure_of(plan: Plan, outcome: Outcome, verdict: Verdict) -> TrainerError | None:
    """The sentence to end with: what ended the job, or what is red."""
    if outcome.fail:
        words = last_words(outcome, 1)[0].strip().rstrip(".")
        log = plan.log(plan.member(outcome.fail.name))
        return ERRORS[outcome.fail.exit_code](f"{outcome.fail.why}; its last words: {words}. See {log}.")
    if verdict.red:
        return TrainingFailed(f"the verdict is {verdict.summary}; see {plan.board}/verdict.json.")
    return None


def last_words(outcome: Outcome, count: int) -> list[str]:
    """The last lines of the process whose end ended the job; none where none did."""
    named = [seat.process for seat in outcome.seats if outcome.fail and seat.member.name == outcome.fail.name]
    return [line for process in named if process for line in process.last_lines(count)]


def stopped_sentence(outcome: Outcome) -> str:
    """What to say after a signal."""
    saved = outcome.run is not None and outcome.run.state in ("stopped", *OVER)
    where = f"at step {outcome.step}, with a checkpoint" if saved else f"around step {outcome.step}, without saving"
    return f"stopped {where}; the same command goes on."


def put_verdict(plan: Plan, verdict: Verdict, exit_code: int) -> None:
    """Write JOB_DIR/cluster/verdict.json, whole or not at all. Raises OSError."""
    path = posixpath.join(plan.board, "verdict.json")
    os.makedirs(plan.board, exist_ok=True)
    with open(path + ".unfinished", "w", encoding="utf-8") as file:
        json.dump(verdict.as_json(exit_code), file, indent=2, ensure_ascii=False)
    os.replace(path + ".unfinished", path)


def _facts_of(seat: Seat) -> MemberFacts:
    entry = seat.entry
    return MemberFacts(
        name=seat.member.name,
        role=seat.member.role,
        state=seat.state,
        step=entry.step if entry else None,
        examples=seat.examples,
        last_examples=entry.examples if entry else None,
        share=seat.share,
        ended_well=seat.exit_code == 0,
        restarts=seat.restarts,
        lost_secs=total_secs(seat.lost),
    )


def _exports(folder: str) -> Iterator[tuple[str, bool | None]]:
    """Time of an export -> whether it passed; a module whose receiver nobody can ask passes, as in the job itself."""
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
        if name.isdigit():
            record = _json(posixpath.join(folder, name, "verification.json"))
            yield name, record["passed"] is not False if isinstance(record, dict) and "passed" in record else None


def _evaluated_steps(path: str) -> Iterator[int]:
    try:
        with open(path, encoding="utf-8") as file:
            lines = file.read().splitlines()
    except OSError:
        return
    for line in lines:
        with contextlib.suppress(ValueError, KeyError, TypeError):
            yield int(json.loads(line)["global_step"])


def _json(path: str) -> Any:
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError):
        return None
