"""Wait for a job's end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from trainer.cloud.vertex import OUTAGE_SECS, JobState, Sender
from trainer.job.errors import CloudError

FIRST_SECS = 2.0
LONGEST_SECS = 30.0
GROWTH = 1.5


def watch(
    sender: Sender,
    name: str,
    sleep: Callable[[float], object] = time.sleep,
    now: Callable[[], float] = time.monotonic,
) -> Iterator[JobState]:
    """The state of a job, and each one that is another, until it is over; the last one yielded is its end.

    Asks often after a change and ever less often while nothing changes. Ctrl-C passes through as KeyboardInterrupt,
    and does nothing to the job.

    Raises:
      UsageError: the job is unknown, or must not be read.
      CloudError: no answer for 15 minutes.
    """
    last, pause, answered = None, FIRST_SECS, now()
    while True:
        try:
            state = sender.get(name)
        except CloudError:
            if now() - answered > OUTAGE_SECS:
                raise
        else:
            answered = now()
            if state != last:
                last, pause = state, FIRST_SECS
                yield state
            if state.is_over:
                return
        sleep(pause)
        pause = min(pause * GROWTH, LONGEST_SECS)


def exit_code_of(state: JobState) -> int:
    """0 for a job that succeeded. Raises CloudError for one that is over and did not, with the service's reason."""
    if state.succeeded or not state.is_over:
        return 0
    if state.state == "JOB_STATE_CANCELLED":
        raise CloudError(f"the job {state.name} was cancelled; its logs say more.")
    why = f": {state.error.rstrip('.')}" if state.error else ""
    raise CloudError(f"the job {state.name} {state.word}{why}; its logs say more.")
