"""Every setting of the check's door, said once; what is none of them is the trainer's."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from trainer.job.doors import parse_own, parse_rest
from trainer.job.environment import Environment
from trainer.job.flags import Parsed
from trainer.job.options import Option, model_options, setting_options
from trainer.job.settings import Group, not_empty, setting
from trainer.job.signature import ModelSignature

PROG = "python -m trainer.check"
EPILOG = """\
All other flags are the trainer's, those behind -- too; see python -m trainer.task --help.
What the file says in its args, a flag replaces.

Without --spec: does this job work on this machine? The model builds, the data is there and
matches its inputs, a step of training runs, the job directory is writable. With --spec the
same for the job in the file, and: would the cloud take the file, and what can it cost?
Nothing is sent, and nothing is trained but one step, in a folder that is gone afterwards.

exit codes:
  0        no errors; warnings are advice
  2        errors, each with its place and what to do; or a flag cannot be used as given
  130,143  stopped by Ctrl-C or SIGTERM

examples:
  {prog} --model=mine.py --train-files='data/*.csv'
  {prog} --spec=config.yaml --region=us-central1 --job-dir=gs://BUCKET/first
  {prog} --spec=hptuning_config.yaml --prices=prices.yaml --no-local

prices.yaml has what you pay an hour, for an upper bound of the cost:
  currency: EUR
  machines: {n1-standard-4: 0.25}
  accelerators: {NVIDIA_TESLA_T4: 0.40}
"""


@dataclass(frozen=True)
class Checking(Group):
    """Check"""

    spec: str | None = setting(
        None,
        help="the file to be submitted: config.yaml or hptuning_config.yaml",
        check=not_empty,
        unset="none, the job on this machine only",
    )
    region: str | None = setting(
        None, help="where it shall run, such as us-central1", check=not_empty, unset="not checked"
    )
    prices: str | None = setting(
        None,
        help="a YAML file of your machines' prices, for an upper bound of the cost",
        check=not_empty,
        unset="hours only",
    )
    via: Literal["auto", "gcloud", "rest"] = setting(
        "auto", help="who will send it: gcloud refuses some files that the REST API takes"
    )
    local: bool = setting(True, help="build the model and train a step here; --no-local only reads files")


def parse_checking(argv: Sequence[str]) -> tuple[Checking, list[str]]:
    """See `parse_own`."""
    return parse_own(argv, Checking, PROG, "Check a job before time or money is spent on it.", EPILOG)


def parse_checked(
    words: Sequence[str], environment: Environment, below: Sequence[str], elsewhere: Collection[str] = ()
) -> Parsed:
    """The job to be checked: flags given here, and below them the file's. Raises UsageError, ModelError."""
    return parse_rest(words, environment, Checking, PROG, below, elsewhere)


def tunable(signature: ModelSignature) -> dict[str, Option]:
    """Every name that a trial's flag may have, without its dashes, and the option that reads its value."""
    options = [*model_options(signature), *(each for group in setting_options().values() for each in group)]
    return {spelling[2:]: each for each in options for spelling in each.spellings if not _is_negation(spelling, each)}


def _is_negation(spelling: str, option: Option) -> bool:
    return option.negation is not None and spelling.replace("_", "-") == option.negation
