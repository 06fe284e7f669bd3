"""Train, evaluate and export the Keras model you have: `python -m trainer.task --help`."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Sequence

from trainer.job.environment import Environment
from trainer.job.errors import Interrupted, TrainerError
from trainer.job.flags import HelpRequested, parse
from trainer.training.stopping import StopRequest


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the flags, run the job, return the exit code (the README lists them)."""
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
        return say(
            Interrupted(
                "stopped at once: the same command goes on from the last checkpoint, or starts where there is none.",
                stop.signum or 2,
            )
        )


def run(argv: list[str], stop: StopRequest) -> int:
    """Run the job that the flags describe. Raises TrainerError, HelpRequested or KeyboardInterrupt."""
    environment = Environment.from_environ(os.environ)
    parsed = parse(argv, environment, fetch=fetch_staged)
    environment.refuse_cluster()
    # Estimator reads it too, and given a lone chief it trains without a single evaluation or export
    os.environ.pop("TF_CONFIG", None)
    from trainer import quiet  # what follows takes seconds: parsing and --help do without

    quiet.set_up(parsed.job.output.verbosity)
    from trainer.training.loop import train_and_evaluate

    return train_and_evaluate(parsed, environment, stop)


def fetch_staged(ref: str) -> str:
    """A local copy of a model module that trainer.submit has put into Cloud Storage; it goes when the process ends."""
    import atexit
    import shutil
    import tempfile

    from trainer.cloud.fetch import fetch_model

    folder = tempfile.mkdtemp(prefix="keras-trainer-model-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return fetch_model(ref, folder)


def say(error: TrainerError) -> int:
    """One sentence on stderr; where debugging was asked for, also where it comes from."""
    if logging.getLogger("trainer").isEnabledFor(logging.DEBUG):
        traceback.print_exception(error)
    print(f"trainer.task: {error}", file=sys.stderr)
    return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
