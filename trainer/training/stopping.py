"""Ctrl-C and SIGTERM: finish the step, save, and say how to go on.

No TensorFlow here: the door installs the handlers before it imports anything slow.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
import types
from collections.abc import Iterator

SIGNALS = (signal.SIGINT, signal.SIGTERM)
SAME_REQUEST_SECS = 1.0  # `timeout` and process managers signal a process and its group: two signals, one request


class StopRequest:
    """Whether somebody asked this process to stop, and with which signal."""

    def __init__(self) -> None:
        self.signum: int | None = None
        self._at = 0.0
        self._saves = False

    @property
    def requested(self) -> bool:
        """Whether to stop at the end of this step."""
        return self.signum is not None

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Handle the signals within this context. Raises KeyboardInterrupt where no step has to be finished."""
        before = {each: signal.signal(each, self._handle) for each in SIGNALS}
        try:
            yield
        finally:
            for each, handler in before.items():
                # a second signal of the same request must not turn the exit code into that of a kill
                signal.signal(each, signal.SIG_IGN if self.requested else handler)

    @contextlib.contextmanager
    def saving(self) -> Iterator[None]:
        """Within this context a signal only sets `requested`; a second one interrupts at once."""
        self._saves = True
        try:
            yield
        finally:
            self._saves = False

    def _handle(self, signum: int, frame: types.FrameType | None) -> None:
        again = self.signum is not None
        if again and time.monotonic() - self._at < SAME_REQUEST_SECS:
            return
        self.signum, self._at = signum, time.monotonic()
        if again or not self._saves:
            raise KeyboardInterrupt
        # os.write, as print is not safe inside a handler: it may interrupt another print
        os.write(sys.stderr.fileno(), b"\nstopping: finishing the step and saving a checkpoint ...\n")
