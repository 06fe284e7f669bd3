"""Train, evaluate and export the Keras model you have: `python -m trainer.task --help`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from trainer.door import answer
from trainer.job.environment import Environment, scratch_folder
from trainer.job.flags import parse
from trainer.job.paths import JobPaths
from trainer.training.stopping import StopRequest


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the flags, run the job, return the exit code (the README lists them)."""
    interrupted = "stopped at once: the same command goes on from the last checkpoint, or starts where there is none."
    return answer("trainer.task", run, argv, interrupted)


def run(argv: list[str], stop: StopRequest) -> int:
    """Run the job that the flags describe. Raises TrainerError, HelpRequested or KeyboardInterrupt."""
    environment = Environment.from_environ(os.environ)
    parsed = parse(argv, environment, fetch=fetch_staged)
    os.environ.pop("TF_CONFIG", None)  # the Estimator reads it too: it gets it where it is to, in its canonical form
    from trainer import quiet  # what follows takes seconds: parsing and --help do without
    from trainer.cloud.probing import places_of, prove

    quiet.set_up(parsed.job.output.verbosity)
    prove([each for each in places_of(parsed.job, JobPaths.of(parsed.job, environment.trial_id)) if each.is_remote])
    from trainer.training.roles import take_part

    return take_part(parsed, environment, stop)


def fetch_staged(ref: str) -> str:
    """A local copy of a model module that trainer.submit has put into Cloud Storage; it goes when the process ends."""
    from trainer.cloud.fetch import fetch_model

    return fetch_model(ref, scratch_folder("model"))


if __name__ == "__main__":
    sys.exit(main())
