"""Every setting of a sweep on this machine, said once; what is none of them is the trainer's and goes to each trial."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from trainer.job.config import Output
from trainer.job.doors import parse_own, parse_rest
from trainer.job.environment import Environment
from trainer.job.flags import Parsed
from trainer.job.prediction import shared
from trainer.job.settings import Group, at_least, not_empty, setting

PROG = "python -m trainer.sweep"
EPILOG = """\
All other flags are the trainer's and go to each trial, those behind -- too; see
python -m trainer.task --help. What the file says in its args, a flag replaces.

Trials are jobs like others, in SWEEP_DIR/trials/1, 2, ..., each with its trial.log; they
share the CPUs. The same command, started again after a stop or a kill, goes on: trials at
work keep their number and values and resume. --max-trials, --parallel-trials and the
file's counts may differ from the first time, all else must not.

A study's median stopping begins when 3 trials are completed. maxFailedTrialCount failed
trials end the sweep; where it is 0 or missing, 3 do if no trial has succeeded by then.

exit codes:
  0        done
  2        a flag, the study, the model or the sweep's folder cannot be used as given
  3        too many trials failed
  5        disk full, a folder not writable
  130,143  stopped by Ctrl-C or SIGTERM; trials at work were saved, the same command goes on

examples:
  {prog}                                    (tunes the sample)
  {prog} --study=my_study.yaml --parallel-trials=4 --model=mine.py \\
      --train-files='data/*.csv'
"""


@dataclass(frozen=True)
class Sweeping(Group):
    """Sweep"""

    study: str = setting(
        "hptuning_config.yaml", help="what to try, the file of a Vertex AI HyperparameterTuningJob", check=not_empty
    )
    sweep_dir: str | None = setting(
        None,
        help="folder of everything the sweep writes; a sweep resumes from it",
        check=not_empty,
        unset="runs/sweep-NAME_OF_THE_MODEL",
    )
    max_trials: int | None = setting(
        None, help="how many trials, failed ones included", check=at_least(1), unset="maxTrialCount"
    )
    parallel_trials: int | None = setting(
        None, help="how many at a time", check=at_least(1), unset="parallelTrialCount"
    )
    approximate: bool = setting(False, help="run a study of which this machine cannot do all, and say what it leaves")
    sampler_seed: int = setting(
        0, help="seed of the choice of values; the trials' own is --seed", check=at_least(0, below=2**31)
    )
    verbosity: Literal["quiet", "info", "debug"] = shared(Output, "verbosity", help="how much to print")


def parse_sweeping(argv: Sequence[str]) -> tuple[Sweeping, list[str]]:
    """See `parse_own`."""
    return parse_own(
        argv, Sweeping, PROG, "Run a study on this machine: many jobs, to find what suits a model.", EPILOG
    )


def parse_trial(words: Sequence[str], flags: Sequence[str], below: Sequence[str]) -> Parsed:
    """The job of a trial: words of the command line and flags of the study, below them the file's args.

    Raises:
      UsageError: a flag cannot be used as given; those that the sweep has itself are proposed too.
      ModelError: the model's source does not tell its parameters.
    """
    return parse_rest([*words, *flags], Environment(), Sweeping, PROG, below)
