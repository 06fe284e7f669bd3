"""Every setting of a rehearsal, said once; what is none of them is the trainer's and goes to each process."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from trainer.job.doors import parse_own, parse_rest
from trainer.job.environment import Environment
from trainer.job.flags import Parsed
from trainer.job.settings import Group, at_least, not_empty, setting

PROG = "python -m trainer.rehearse"
KILL = re.compile(r"(chief|worker|ps|evaluator)(\d{0,3})@(\d{1,12})", re.ASCII)
PAUSE = re.compile(KILL.pattern + r":(\d{1,6}(?:\.\d{1,3})?)", re.ASCII)
EPILOG = """\
All other flags are the trainer's and go to each process, those behind -- too (such as its
own --config); see python -m trainer.task --help. What the file says in its args, a flag
replaces. A job directory in Cloud Storage becomes runs/rehearsal-NAME.

Each replica of the file's worker pools is a process of python -m trainer.task here, with
the TF_CONFIG that the cloud would give it; all share the CPUs. When one dies, it is started
again as its kind of cluster needs it: workers that average gradients all together, a worker
of parameter servers alone. JOB_DIR/cluster/logs has what each of them said, and
JOB_DIR/cluster/verdict.json what came of it. The same command, started again after a stop
or a kill, goes on.

ROLE is chief, worker0, worker1, ..., ps0, ... or evaluator. A fault happens when the job,
as its processes tell it, has reached the step.

exit codes:
  0        finished, and the verdict is all green
  2        a flag, the file, the model, the data or the job folder cannot be used as given
  3        training failed, a process died too often, or the verdict is not green
  4        an export does not predict what the model predicts
  5        disk full, a folder not writable, no checkpoint that can be read
  130,143  stopped by Ctrl-C or SIGTERM; what could be saved was saved

examples:
  {prog} --workers=1 --evaluator --epochs=1      (the sample)
  {prog} --workers=2 --ps=1 --evaluator --kill=worker0@400
  {prog} --config=config.yaml --chaos=1 --model=mine.py --train-files='data/*.csv'
"""


def kills(value: tuple[str, ...]) -> str | None:
    """Check for entries ROLE@STEP."""
    return None if all(map(KILL.fullmatch, value)) else "ROLE@STEP, such as worker0@40"


def pauses(value: tuple[str, ...]) -> str | None:
    """Check for entries ROLE@STEP:SECS."""
    found = [PAUSE.fullmatch(each) for each in value]
    return None if all(each and float(each[4]) > 0 for each in found) else "ROLE@STEP:SECS, such as worker0@40:5"


@dataclass(frozen=True)
class Rehearsal(Group):
    """Rehearsal"""

    spec: str | None = setting(
        None,
        help="the file whose worker pools are rehearsed, a config.yaml or hptuning_config.yaml",
        check=not_empty,
        unset="config.yaml where there is one, else a chief alone",
        flags=("--config",),
    )
    workers: int | None = setting(
        None, help="how many workers, beside the chief", check=at_least(0), unset="as many as the file has"
    )
    ps: int | None = setting(
        None, help="how many parameter servers", check=at_least(0), unset="as many as the file has"
    )
    evaluator: bool | None = setting(None, help="whether a process of its own evaluates", unset="as the file has it")
    max_restarts: int = setting(
        3,
        help="how often a process, or those that only start together, may be started again; each --kill adds one",
        check=at_least(0),
    )
    kill: tuple[str, ...] = setting(
        (), help="kill -9 a process on purpose, each as ROLE@STEP", check=kills, unset="nobody is killed"
    )
    pause: tuple[str, ...] = setting(
        (), help="stop a process for some seconds, each as ROLE@STEP:SECS", check=pauses, unset="nobody is stopped"
    )
    chaos: int | None = setting(
        None,
        help="kill one process at one moment, both chosen by this seed",
        check=at_least(0, below=2**31),
        unset="no chaos",
    )


def parse_rehearsal(argv: Sequence[str]) -> tuple[Rehearsal, list[str]]:
    """See `parse_own`."""
    return parse_own(argv, Rehearsal, PROG, "Rehearse a cluster on this machine: each replica is a process.", EPILOG)


def parse_rehearsed(words: Sequence[str], below: Sequence[str], elsewhere: Collection[str] = ()) -> Parsed:
    """The job that all processes train: flags given here, and below them the file's. Raises UsageError, ModelError."""
    return parse_rest(words, Environment(), Rehearsal, PROG, below, elsewhere)
