"""A session that fails ends the job: it is not made anew behind its back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tensorflow.python.training import monitored_session


@contextlib.contextmanager
def without_recovery() -> Iterator[None]:
    """Within this context UnavailableError and AbortedError come out of a session's run, as all other errors do.

    `_RecoverableSession` (monitored_session.py, TensorFlow 2.15.1) takes them for a parameter server that is gone: it
    restores the last checkpoint, or the first weights, and goes on for ever without a word. On one machine they come
    from a storage that is away, and the data would go on from another place than the weights.
    """
    known = monitored_session._PREEMPTION_ERRORS
    monitored_session._PREEMPTION_ERRORS = ()
    try:
        yield
    finally:
        monitored_session._PREEMPTION_ERRORS = known
