"""Show what happened in a job, on one page: `python -m trainer.report --help`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from trainer.door import answer
from trainer.job.reporting import parse_reporting
from trainer.training.stopping import StopRequest


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the flags, write the page, return the exit code (the help page lists them)."""
    return answer("trainer.report", run, argv, "stopped: no page was written.")


def run(argv: list[str], stop: StopRequest) -> int:
    """Write the page that the flags describe. Raises TrainerError, HelpRequested or KeyboardInterrupt."""
    settings = parse_reporting(argv)
    from trainer import quiet  # what follows takes seconds: parsing and --help do without
    from trainer.cloud.probing import places_of_report, prove

    quiet.set_up("info")
    prove([each for each in places_of_report(settings) if each.is_remote])
    from trainer.training.html_report import write_report

    print(write_report(str(settings.job_dir), settings.output, settings.rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
