"""Rehearse a cluster on this machine, each replica a process: `python -m trainer.rehearse --help`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from trainer.door import answer
from trainer.job.rehearsing import Rehearsal, parse_rehearsal
from trainer.training.stopping import StopRequest

if TYPE_CHECKING:
    from trainer.cloud.specs import Spec
    from trainer.cluster.plan import Plan

FILE = "config.yaml"


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the flags, run the cluster, return the exit code (the help page lists them)."""
    interrupted = "stopped at once, all processes were killed: the same command goes on from the last checkpoint."
    return answer("trainer.rehearse", run, argv, interrupted)


def run(argv: list[str], stop: StopRequest) -> int:
    """Rehearse what the flags describe. Raises TrainerError, HelpRequested or KeyboardInterrupt."""
    settings, words = parse_rehearsal(argv)
    from trainer.cluster.plan import make_plan  # what follows takes a while: parsing and --help do without

    spec, notes = read_file(settings)
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return rehearse(make_plan(settings, words, spec, os.environ, cpus), stop, notes)


def rehearse(plan: Plan, stop: StopRequest, notes: Sequence[str] = ()) -> int:
    """Run a plan, and say its verdict; 0 where that is all green. Raises TrainerError or KeyboardInterrupt."""
    from trainer.cluster.closing import close_rehearsal, last_words, stopped_sentence
    from trainer.cluster.holding import held
    from trainer.cluster.screen import Screen
    from trainer.cluster.supervisor import Supervisor
    from trainer.job.errors import Interrupted

    screen = Screen([each.name for each in plan.members], plan.job.output.verbosity == "quiet")
    for note in [*notes, *plan.notes]:
        screen.own(f"{note}.")
    with held(plan, screen.own) as lock, stop.saving():
        outcome = Supervisor(plan, screen, lock).run(stop)
    if outcome.is_stopped:
        raise Interrupted(stopped_sentence(outcome), stop.signum or 0)
    if outcome.fail:
        screen.say(outcome.fail.name, last_words(outcome, 10), is_error=True)
    lines, error = close_rehearsal(plan, outcome)
    print("\n".join(lines), flush=True)
    if error:
        raise error
    return 0


def read_file(settings: Rehearsal) -> tuple[Spec | None, list[str]]:
    """The file with the worker pools, and what to say of it. Raises UsageError where it cannot be read."""
    from trainer.cloud.specs import read_spec

    if settings.spec is None and not os.path.exists(FILE):
        return None, [f"there is no {FILE} here: the flags alone say who takes part"]
    return read_spec(settings.spec or FILE), []


if __name__ == "__main__":
    sys.exit(main())
