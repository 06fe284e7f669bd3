"""The verdict of a rehearsal: what was promised, what came of it, line by line. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainer.cluster.board import Run
from trainer.cluster.faults import Fault
from trainer.cluster.screen import table
from trainer.job.cluster import Role

GREEN = "all green"
HEADS = ("", "state", "step", "examples", "share", "restarts", "secs lost")


@dataclass(frozen=True)
class MemberFacts:
    """What became of one process.

    Attributes:
      examples: those that all its runs trained on; `last_examples` those of its last run.
      share: its position among those that train, and how many they are, as it told them.
      ended_well: whether its last run ended by itself, and so has told all of its examples.
    """

    name: str
    role: Role
    state: str = "ended"
    step: int | None = None
    examples: int | None = None
    last_examples: int | None = None
    share: tuple[int, int] | None = None
    restarts: int = 0
    lost_secs: float = 0.0
    ended_well: bool = True


@dataclass(frozen=True)
class Facts:
    """All that the verdict goes by.

    Attributes:
      failure: why it did not finish, a clause; empty where it did.
      run: what the chief said last.
      batch_size: of all that train together.
      exports: kind -> time of an export -> whether its verification passed, None where there is none.
      wanted_exports: the kinds that the job was asked for.
      evaluated_steps: the steps of all evaluations.
      lost_secs: in which somebody was missing, counted once where several were.
    """

    failure: str
    run: Run | None
    is_synchronous: bool
    batch_size: int
    members: tuple[MemberFacts, ...]
    exports: Mapping[str, Mapping[str, bool | None]]
    wanted_exports: tuple[str, ...]
    evaluated_steps: tuple[int, ...]
    done: tuple[Fault, ...] = ()
    missed: tuple[Fault, ...] = ()
    lost_secs: float = 0.0
    secs: float = 0.0

    @property
    def trainers(self) -> tuple[MemberFacts, ...]:
        """Those that train, by position."""
        return tuple(each for each in self.members if each.role in ("chief", "worker"))

    @property
    def is_complete(self) -> bool:
        """Whether the chief says that the job is finished, and it is."""
        run = self.run
        return run is not None and run.state == "finished" and not self.failure and (run.early or _is_at_end(run))


@dataclass(frozen=True)
class Line:
    """One promise: whether it was kept, and what was found."""

    name: str
    is_kept: bool
    words: str

    def __str__(self) -> str:
        return f"{'ok ' if self.is_kept else 'RED'}  {self.name:12} {self.words}"


@dataclass(frozen=True)
class Verdict:
    """All promises."""

    facts: Facts
    lines: tuple[Line, ...]

    @property
    def red(self) -> list[str]:
        """The names of those that were not kept."""
        return [line.name for line in self.lines if not line.is_kept]

    @property
    def summary(self) -> str:
        """`all green`, or what is red."""
        return f"red: {', '.join(self.red)}" if self.red else GREEN

    def table(self) -> list[str]:
        """What a person reads."""
        rows = [_cells(each) for each in self.facts.members]
        return [*table([HEADS, *rows]), "", *map(str, self.lines), self.summary]

    def as_json(self, exit_code: int) -> dict[str, Any]:
        """What a program reads."""
        facts, run = self.facts, self.facts.run
        return {
            "verdict": self.summary,
            "red": self.red,
            "exit_code": exit_code,
            "finished": facts.is_complete,
            "step": run.step if run else None,
            "total_steps": run.total_steps if run else None,
            "early": bool(run and run.early),
            "strategy": run.strategy if run else None,
            "secs": round(facts.secs, 1),
            "lost_secs": round(facts.lost_secs, 1),
            "members": {each.name: _member_json(each) for each in facts.members},
            "exports": facts.exports,
            "evaluations": list(facts.evaluated_steps),
            "faults": [str(each) for each in facts.done],
            "missed_faults": [str(each) for each in facts.missed],
            "lines": [{"name": each.name, "kept": each.is_kept, "words": each.words} for each in self.lines],
        }


def judge(facts: Facts) -> Verdict:
    """Hold what was found against what was promised; of a job that is not finished no more was."""
    found = (check(facts) for check in CHECKS)
    return Verdict(facts, tuple(line for line in found if line))


def examples_needed(run: Run, batch_size: int) -> int | None:
    """How many examples the steps of the chief's last run have; None where it does not tell enough."""
    if run.start_step is None or not run.train_examples:
        return None
    steps_per_epoch = -(-run.train_examples // batch_size)

    def until(step: int) -> int:
        epochs, rest = divmod(step, steps_per_epoch)
        return epochs * (run.train_examples or 0) + rest * batch_size

    return until(run.step) - until(run.start_step)


def _finished(facts: Facts) -> Line:
    run = facts.run
    if run is None:
        return Line("finished", False, facts.failure or "the chief said nothing of the job")
    at = f"step {run.step} of {'an unknown number' if run.total_steps is None else run.total_steps}"
    early = f", stopped early: {run.why or 'no reason told'}" if run.early else ""
    how = f"{at}{early}{f', {run.strategy}' if run.strategy else ''}"
    if facts.is_complete:
        return Line("finished", True, how)
    return Line("finished", False, f"{how}; {facts.failure or f'the chief says {run.state or chr(39) * 2}'}")


def _examples(facts: Facts) -> Line | None:
    run = facts.run
    if run is None or not facts.is_complete:
        return None
    if run.start_step is not None and run.start_step >= run.step:
        return Line("examples", True, "no step was left to train")
    late = [each for each in facts.trainers if each.restarts and not facts.is_synchronous]  # the others went on
    silent = [each.name for each in facts.trainers if each.share is None and each not in late]
    if silent:
        return Line("examples", False, f"{' and '.join(silent)} told no share of the data")
    count = len(facts.trainers)
    wrong = [each for place, each in enumerate(facts.trainers) if each.share not in (None, (place, count))]
    if wrong:
        told = " and ".join(f"{each.name} has {_share(each)}" for each in wrong)
        return Line("examples", False, f"the shares are not 1 to {count} of {count}, one each: {told}")
    return _sum(facts, f"the {count} shares are disjoint and complete" if count > 1 else "all are one process's")


def _sum(facts: Facts, shares: str) -> Line:
    trained = sum(each.last_examples or 0 for each in facts.trainers)
    needed = examples_needed(facts.run, facts.batch_size) if facts.run and facts.is_synchronous else None
    if needed is None or not all(each.ended_well for each in facts.trainers):
        return Line("examples", True, f"{shares}; {sum(each.examples or 0 for each in facts.trainers):,} in all")
    if trained == needed:
        return Line("examples", True, f"{shares}; {trained:,} in the last run's steps, as many as they have")
    return Line("examples", False, f"{trained:,} in the last run's steps, which have {needed:,}")


def _exports(facts: Facts) -> Line | None:
    if not facts.wanted_exports or not facts.is_complete:
        return None
    missing = [kind for kind in facts.wanted_exports if not facts.exports.get(kind)]
    failed = [f"{kind}/{time}" for kind, found in facts.exports.items() for time, passed in found.items() if not passed]
    counts = ", ".join(f"{len(found)} {kind}" for kind, found in facts.exports.items() if found)
    if missing:
        return Line("exports", False, f"none of the kind {' and '.join(missing)}{f'; {counts}' if counts else ''}")
    if failed:
        return Line("exports", False, f"not verified: {', '.join(failed)}")
    return Line("exports", True, f"{counts}, each verified")


def _evaluations(facts: Facts) -> Line | None:
    if not facts.is_complete:
        return None
    steps = facts.evaluated_steps
    last = f"the last one at step {steps[-1]}" if steps else "none"
    is_kept = bool(steps) and facts.run is not None and steps[-1] == facts.run.step
    return Line("evaluations", is_kept, f"{len(steps)}, {last}" if steps else last)


def _faults(facts: Facts) -> Line | None:
    """A kill that the user planned and that did not happen has shown nothing; chaos may come too late."""
    if not facts.done and not facts.missed:
        return None
    missed = [f"{each} (the job had ended before)" for each in facts.missed]
    is_kept = all(each.is_chaos for each in facts.missed)
    return Line("faults", is_kept, "; ".join([*(f"{each}: done" for each in facts.done), *missed]))


def _restarts(facts: Facts) -> Line:
    told = ", ".join(f"{each.name} {each.restarts}" for each in facts.members if each.restarts)
    return Line("restarts", True, f"{told}; {facts.lost_secs:.1f} s lost" if told else "none")


CHECKS: tuple[Callable[[Facts], Line | None], ...] = (_finished, _examples, _exports, _evaluations, _faults, _restarts)


def _is_at_end(run: Run) -> bool:
    return run.total_steps is not None and run.step >= run.total_steps


def _share(each: MemberFacts) -> str:
    return f"{each.share[0] + 1} of {each.share[1]}" if each.share else ""


def _cells(each: MemberFacts) -> Sequence[str]:
    numbers = ("" if value is None else f"{value:,}" for value in (each.step, each.examples))
    lost = f"{each.lost_secs:.1f}" if each.lost_secs else ""
    return (each.name, each.state, *numbers, _share(each), str(each.restarts or ""), lost)


def _member_json(each: MemberFacts) -> dict[str, Any]:
    return {
        "state": each.state,
        "step": each.step,
        "examples": each.examples,
        "share": each.share,
        "restarts": each.restarts,
        "secs_lost": round(each.lost_secs, 1),
    }
