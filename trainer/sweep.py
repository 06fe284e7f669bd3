"""Run a study on this machine: `python -m trainer.sweep --help`."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence

from trainer.door import answer
from trainer.job.sweeping import parse_sweeping
from trainer.training.stopping import StopRequest


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the flags, run the trials, return the exit code (the help page lists them)."""
    return answer("trainer.sweep", run, argv, "stopped at once, trials at work were killed: the same command goes on.")


def run(argv: list[str], stop: StopRequest) -> int:
    """Run the study that the flags describe. Raises TrainerError, HelpRequested or KeyboardInterrupt."""
    settings, words = parse_sweeping(argv)
    from trainer import quiet  # what follows takes a while: parsing and --help do without

    quiet.set_up(settings.verbosity)
    from trainer.sweeps.plan import make_plan

    plan = make_plan(settings, words, os.environ)
    from trainer.sweeps.closing import end_sweep
    from trainer.sweeps.sweep import run_sweep
    from trainer.sweeps.table import Table

    log, is_quiet = logging.getLogger("trainer"), settings.verbosity == "quiet"
    for note in plan.notes:
        log.info("%s.", note)
    table = Table(plan, is_quiet)
    records = run_sweep(plan, stop, table)
    for line in end_sweep(plan, records, is_quiet or table.is_whole):
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
