"""Ctrl-C and SIGTERM: finish the step, save, and say how to go on.

No TensorFlow here: the door installs the handlers before it imports anything slow.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
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
        self._reader: int | None = None
        self._arrived = list[int]()
        self._lock = threading.RLock()  # a handler may interrupt who holds it, in the same thread

    @property
    def requested(self) -> bool:
        """Whether to stop at the end of this step."""
        return self.signum is not None

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Handle the signals within this context. Raises KeyboardInterrupt where no step has to be finished."""
        self._reader, writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(writer, False)
        former = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        before = {each: signal.signal(each, self._handle) for each in SIGNALS}
        try:
            yield
        finally:
            signal.set_wakeup_fd(former)
            reader, self._reader = self._reader, None
            os.close(reader)
            os.close(writer)
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

    def unheard(self) -> list[int]:
        """Signals that the main thread has not got to yet; one thread of a process may ask.

        Python runs handlers in the main thread, between two of its instructions: not while that waits in a call of
        TensorFlow's. The interpreter writes each signal into a pipe at once (signal.set_wakeup_fd).
        """
        with self._lock:
            if self._reader is not None:
                with contextlib.suppress(BlockingIOError):
                    self._arrived += [each for each in os.read(self._reader, 64) if each in SIGNALS]
            return list(self._arrived)

    def _handle(self, signum: int, frame: types.FrameType | None) -> None:
        with self._lock:  # Python calls this once for several of a kind that came while the main thread was away
            self._arrived = [each for each in self.unheard() if each != signum]
        again = self.signum is not None
        if again and time.monotonic() - self._at < SAME_REQUEST_SECS:
            return
        self.signum, self._at = signum, time.monotonic()
        if again or not self._saves:
            raise KeyboardInterrupt
        # os.write, as print is not safe inside a handler: it may interrupt another print
        os.write(sys.stderr.fileno(), b"\nstopping: finishing the step and saving a checkpoint ...\n")


class UnheardSignals:
    """What another thread makes of signals while the main one waits for a step that may never end."""

    def __init__(self, stop: StopRequest) -> None:
        self._stop = stop
        self._since, self._of_one_request, self._is_said = 0.0, 0, False

    def look(self, said: str, is_stuck: bool) -> int | None:
        """The signal for which this process has to end now; to be called several times a second.

        Args:
          said: what is printed, once, where the main thread does not hear soon.
          is_stuck: whether it is no use to wait; a second signal ends the process in any case.
        """
        signals = self._stop.unheard()
        if not signals:
            self._since, self._is_said = 0.0, False
            return None
        now = time.monotonic()
        self._since = self._since or now
        if now - self._since < SAME_REQUEST_SECS:
            self._of_one_request = len(signals)
            return None
        if not self._is_said:
            self._is_said = True
            os.write(sys.stderr.fileno(), f"\n{said}; a second signal ends it at once ...\n".encode())
        is_second = self._stop.requested or len(signals) > self._of_one_request
        return signals[-1] if is_second or is_stuck else None
