"""Every setting of the report's door, said once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trainer.job.errors import UsageError
from trainer.job.flags import parse_groups
from trainer.job.options import REQUIRED
from trainer.job.settings import Group, at_least, not_empty, setting

PROG = "python -m trainer.report"
DEFAULT_ROWS = 20_000
EPILOG = """\
JOB_DIR may stand without its flag. The page has learning curves, what the best export
makes of the evaluation files (confusion or residuals, calibration, the worst mistakes with
their inputs), data, settings and exports. It is one file that loads nothing from anywhere.
A job that is not finished has a page of what is there; a finished one has made its own.

exit codes:
  0        done
  2        no job has made the folder, or a flag cannot be used as given
  5        disk full, a folder not writable
  130,143  stopped by Ctrl-C or SIGTERM

examples:
  {prog} runs/place_names
  {prog} runs/place_names --output=place_names.html --rows=100000
"""


@dataclass(frozen=True)
class Reporting(Group):
    """Report"""

    job_dir: str | None = setting(None, help="the folder of a job", check=not_empty, unset=REQUIRED)
    output: str | None = setting(None, help="the file to write", check=not_empty, unset="JOB_DIR/report.html")
    rows: int = setting(
        DEFAULT_ROWS, help="how many rows to predict, the first of the evaluation files", check=at_least(1)
    )


def parse_reporting(argv: Sequence[str], prog: str = PROG) -> Reporting:
    """Parse the command line of `trainer.report`.

    Raises:
      HelpRequested: for --help and --version.
      UsageError: a flag is missing or cannot be used as given.
    """
    from trainer.job.commandline import Page

    page = Page("Write the report of a job: what happened, on one page.", EPILOG)
    reporting = Reporting(**parse_groups(_with_flag(argv), prog, [Reporting], page))
    if reporting.job_dir is None:
        raise UsageError(f"no job directory given: name the folder of a job, as in {prog} runs/place_names.")
    return reporting


def _with_flag(argv: Sequence[str]) -> list[str]:
    """The command line with --job-dir before the words that are no flag's value."""
    flags = ["", *(word if word.startswith("--") and "=" not in word else "" for word in argv)]
    return [
        word if flag or word.startswith("-") else f"--job-dir={word}" for flag, word in zip(flags, argv, strict=False)
    ]
