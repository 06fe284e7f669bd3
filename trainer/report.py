"""Show what happened in a job, on one page: `python -m trainer.report --help`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from trainer.job.errors import TrainerError
from trainer.job.flags import HelpRequested
from trainer.job.reporting import parse_reporting


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the flags, write the page, return the exit code (the help page lists them)."""
    argv = sys.argv[1:] if argv is None else list(argv)
    try:
        settings = parse_reporting(argv)
        from trainer import quiet  # what follows takes seconds: parsing and --help do without

        quiet.set_up("info")
        from trainer.training.html_report import write_report

        print(write_report(str(settings.job_dir), settings.output, settings.rows))
    except HelpRequested as asked:
        sys.stdout.write(asked.text)
    except TrainerError as error:
        print(f"trainer.report: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
