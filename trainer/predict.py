"""Predict every row of many files with an export: `python -m trainer.predict --help`."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Sequence

from trainer.job.errors import Interrupted, TrainerError
from trainer.job.flags import HelpRequested
from trainer.job.prediction import parse_prediction
from trainer.training.stopping import StopRequest


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the flags, predict, return the exit code (the help page lists them)."""
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
        return say(Interrupted("stopped: the same command goes on where it is.", stop.signum or 2))


def run(argv: list[str], stop: StopRequest) -> int:
    """Predict what the flags describe. Raises TrainerError, HelpRequested or KeyboardInterrupt."""
    settings = parse_prediction(argv)
    from trainer import quiet  # what follows takes seconds: parsing and --help do without

    quiet.set_up(settings.verbosity)
    from trainer.training.prediction import predict

    return predict(settings, stop)


def say(error: TrainerError) -> int:
    """One sentence on stderr; where debugging was asked for, also where it comes from."""
    if logging.getLogger("trainer").isEnabledFor(logging.DEBUG):
        traceback.print_exception(error)
    print(f"trainer.predict: {error}", file=sys.stderr)
    return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
