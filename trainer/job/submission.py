"""Every setting of a submission, said once; what is none of them is the trainer's and goes into the container."""

from __future__ import annotations

import datetime
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from trainer.job.doors import parse_own, parse_rest, split_argv
from trainer.job.environment import Environment
from trainer.job.errors import UsageError
from trainer.job.flags import Parsed, parse_groups
from trainer.job.options import REQUIRED
from trainer.job.prediction import shared
from trainer.job.settings import Group, not_empty, setting

PROG = "python -m trainer.submit"
PROJECT_VARIABLES = ("GOOGLE_CLOUD_PROJECT", "CLOUDSDK_CORE_PROJECT")
REGION_VARIABLES = ("GOOGLE_CLOUD_REGION", "CLOUDSDK_AI_REGION")
DURATION = re.compile(r"([0-9]{1,9})([smhd]?)")
UNIT_SECS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
LABEL = re.compile(r"[a-z][a-z0-9_-]{0,62}=[a-z0-9_-]{0,63}")
DOES = {"status": "Show the state of", "logs": "Print the log of", "cancel": "End"}
EPILOG = """\
All other flags are the trainer's and go into the container, those behind -- too; see
python -m trainer.task --help. What the file says in its args, a flag replaces.

  {prog} status|logs|cancel JOB   the job's state, its log as it grows, its end;
                                  JOB is a number or projects/.../customJobs/NUMBER

exit codes:
  0        submitted; with --wait, logs and status: the job has not failed
  2        a flag, a file, the model or the data cannot be used as given; nothing was sent
  5        Cloud Storage could not take what the job needs
  6        the service refused or failed; with --wait, logs and status: the job did
  130,143  stopped by Ctrl-C or SIGTERM; a job that runs goes on

examples:
  {prog} --dry-run --project=P --region=us-central1 --job-dir=gs://BUCKET/first
  {prog} --spec=hptuning_config.yaml --project=P --region=us-central1 \\
      --job-dir=gs://BUCKET/study --epochs=8
  {prog} --convert-legacy=old_config.yaml   (AI Platform's files to Vertex AI's)
"""


def duration(value: str) -> str | None:
    """Check for a time such as 90m."""
    found = DURATION.fullmatch(value)
    return None if found and int(found[1]) else "a time such as 7200s, 90m, 12h or 2d"


def labels_of(value: tuple[str, ...]) -> str | None:
    """Check for entries NAME=VALUE as Google Cloud takes them, each name once."""
    pairs = [each for entry in value for each in entry.split(",")]
    once = len({each.partition("=")[0] for each in pairs}) == len(pairs)
    fits = once and all(LABEL.fullmatch(each) for each in pairs)
    return None if fits else "NAME=VALUE in small letters, digits, - and _, each name once"


@dataclass(frozen=True)
class Submission(Group):
    """Submission"""

    spec: str = setting(
        "config.yaml",
        help="the machines: a CustomJobSpec, or with a studySpec a HyperparameterTuningJob",
        check=not_empty,
    )
    project: str | None = setting(
        None, help="the Google Cloud project", check=not_empty, unset=", ".join(PROJECT_VARIABLES)
    )
    region: str | None = setting(
        None, help="where to run, such as us-central1", check=not_empty, unset=", ".join(REGION_VARIABLES)
    )
    display_name: str | None = setting(
        None, help="what the job is called", check=not_empty, unset="the model's name and the time"
    )
    labels: tuple[str, ...] = setting((), help="labels, each as NAME=VALUE", check=labels_of, unset="none")
    service_account: str | None = setting(
        None, help="the account the job runs as", check=not_empty, unset="the file's, or the project's own"
    )
    image: str | None = setting(None, help="the image of all pools", check=not_empty, unset="the file's")
    spot: bool = setting(False, help="take machines that cost less and may be taken away; the job resumes")
    timeout: str | None = setting(
        None, help="the longest a job or a trial may run, such as 12h", check=duration, unset="the file's, or 7 days"
    )
    staging: str | None = setting(
        None,
        help="folder in Cloud Storage for what a job needs of this machine",
        check=not_empty,
        unset="JOB_DIR/staging",
    )
    prices: str | None = setting(
        None,
        help="a YAML file of your machines' prices, for an upper bound of the cost",
        check=not_empty,
        unset="hours only",
    )
    via: Literal["auto", "gcloud", "rest"] = setting(
        "auto", help="who sends: gcloud, or this program by the REST API; auto takes gcloud where it is installed"
    )
    wait: bool = setting(False, help="stay until the job ends, and end like it")
    check: bool = setting(True, help="check the model, the data and the request before anything is sent")
    dry_run: bool = setting(False, help="print the exact request and send nothing")
    dry_run_format: Literal["yaml", "json"] = setting("yaml", help="how --dry-run prints it")
    convert_legacy: str | None = setting(
        None, help="convert a file of AI Platform Training (trainingInput), and do nothing else", check=not_empty,
        unset="no file",
    )  # fmt: skip
    output: str | None = setting(
        None, help="folder for the converted files", check=not_empty, unset="the folder of the old file"
    )

    @property
    def timeout_secs(self) -> int | None:
        """`timeout` in seconds."""
        found = DURATION.fullmatch(self.timeout or "")
        return int(found[1]) * UNIT_SECS[found[2]] if found else None

    @property
    def label_of(self) -> dict[str, str]:
        """`labels` as a mapping."""
        pairs = (each.partition("=") for entry in self.labels for each in entry.split(","))
        return {name: value for name, _, value in pairs}


@dataclass(frozen=True)
class Following(Group):
    """Job"""

    job: str | None = setting(None, help="its number, or its full name", check=not_empty, unset=REQUIRED)
    project: str | None = shared(Submission, "project", help="the Google Cloud project of a number")
    region: str | None = shared(Submission, "region", help="the region of a number, such as us-central1")
    via: Literal["auto", "gcloud", "rest"] = shared(Submission, "via")
    follow: bool = setting(True, help="logs: go on until the job ends; --no-follow prints what is there")


def parse_following(verb: str, argv: Sequence[str]) -> Following:
    """The command line behind a verb: the job may stand without its flag.

    Raises:
      HelpRequested: for --help and --version.
      UsageError: no job is named, or a flag cannot be used as given.
    """
    from trainer.job.commandline import Page

    page = Page(f"{DOES[verb]} a job of Vertex AI.", EPILOG)
    own, rest = split_argv(argv, [Following])
    named = [f"--job={word}" if not word.startswith("-") else word for word in rest]
    following = Following(**parse_groups([*own, *named], f"{PROG} {verb}", [Following], page))
    if following.job is None:
        raise UsageError(f"no job named: give its number or its full name, as in {PROG} {verb} 1234567890.")
    return following


def parse_submission(argv: Sequence[str]) -> tuple[Submission, list[str]]:
    """See `parse_own`."""
    return parse_own(argv, Submission, PROG, "Send a training job, or a study of many, to Vertex AI.", EPILOG)


def parse_sent(words: Sequence[str], below: Sequence[str], elsewhere: Collection[str] = ()) -> Parsed:
    """The job of the container: flags given here, and below them the file's. Raises UsageError, ModelError."""
    return parse_rest(words, Environment(), Submission, PROG, below, elsewhere)


def project_and_region(
    project: str | None, region: str | None, environ: Mapping[str, str]
) -> tuple[str | None, str | None]:
    """As said by flags, or else by the environment."""
    of_project, of_region = (
        next((environ[name] for name in names if environ.get(name)), None)
        for names in (PROJECT_VARIABLES, REGION_VARIABLES)
    )
    return project or of_project, region or of_region


def insist(value: str | None, flag: str, example: str) -> str:
    """A value that nobody has a default for. Raises UsageError."""
    if not value:
        raise UsageError(f"{flag} is missing: give {flag}={example}, or set it in the environment (see --help).")
    return value


def now() -> datetime.datetime:
    """For names: the time in UTC."""
    return datetime.datetime.now(datetime.timezone.utc)
