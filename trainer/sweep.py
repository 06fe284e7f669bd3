"""Run a study on this machine: `python -m trainer.sweep --help`."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Sequence

from trainer.job.errors import Interrupted, TrainerError
from trainer.job.flags import HelpRequested
from trainer.job.sweeping import parse_sweeping
from trainer.training.stopping import StopRequest


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the flags, run the trials, return the exit code (the help page lists them)."""
    argv = sys.argv[1:] if argv is None else list(argv)
    stop = StopRequest()
    try:
        with stop.listening():
            return run(argv, stop)
    except HelpRequested as asked:
        sys.stdout.write(asked.text)
        return 0
    except TrainerError as error:
        return say(error)
    except KeyboardInterrupt:
        return say(
            Interrupted("stopped at once, trials at work were killed: the same command goes on.", stop.signum or 2)
        )


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
    records = run_sweep(plan, stop, Table(plan, is_quiet))
    for line in end_sweep(plan, records, is_quiet):
        print(line)
    return 0


def say(error: TrainerError) -> int:
    """One sentence on stderr; where debugging was asked for, also where it comes from."""
    if logging.getLogger("trainer").isEnabledFor(logging.DEBUG):
        traceback.print_exception(error)
    print(f"trainer.sweep: {error}", file=sys.stderr)
    return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
