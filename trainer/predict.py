"""Predict every row of many files with an export: `python -m trainer.predict --help`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from trainer.door import answer
from trainer.job.prediction import parse_prediction
from trainer.training.stopping import StopRequest


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the flags, predict, return the exit code (the help page lists them)."""
    return answer("trainer.predict", run, argv, "stopped: the same command goes on where it is.")


def run(argv: list[str], stop: StopRequest) -> int:
    """Predict what the flags describe. Raises TrainerError, HelpRequested or KeyboardInterrupt."""
    settings = parse_prediction(argv)
    from trainer import quiet  # what follows takes seconds: parsing and --help do without
    from trainer.cloud.probing import places_of_prediction, prove

    quiet.set_up(settings.verbosity)
    prove([each for each in places_of_prediction(settings) if each.is_remote])
    from trainer.training.prediction import predict

    return predict(settings, stop)


if __name__ == "__main__":
    sys.exit(main())
