"""What all doors do around their work: stop when asked to, and end with a sentence and an exit code."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Callable, Sequence

from trainer.job.credentials import without_secrets
from trainer.job.errors import Interrupted, TrainerError
from trainer.job.flags import HelpRequested
from trainer.training.stopping import StopRequest

Run = Callable[[list[str], StopRequest], int]


def answer(door: str, run: Run, argv: Sequence[str] | None, interrupted: str) -> int:
    """Run a door's work and return its exit code.

    Args:
      door: its name, for messages.
      argv: the process's own words if None.
      interrupted: what to say where a signal ends it at once.
    """
    stop = StopRequest()
    try:
        with stop.listening():
            return run(sys.argv[1:] if argv is None else list(argv), stop)
    except HelpRequested as asked:
        sys.stdout.write(asked.text)
        return 0
    except TrainerError as error:
        return _say(door, error)
    except KeyboardInterrupt:
        return _say(door, Interrupted(interrupted, stop.signum or 2))


def _say(door: str, error: TrainerError) -> int:
    """One sentence on stderr; where debugging was asked for, also where it comes from."""
    if logging.getLogger("trainer").isEnabledFor(logging.DEBUG):
        sys.stderr.write(without_secrets("".join(traceback.format_exception(error))))
    print(f"{door}: {without_secrets(str(error))}", file=sys.stderr)
    return error.exit_code
