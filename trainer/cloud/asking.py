"""Questions to Cloud Storage that end: with an answer, or with a sentence by a deadline.

A name that does not resolve, a network that swallows packets and a metadata server that is not there would take minutes
or for ever. `patience` is for how many seconds a request that fails is tried again: RETRY_SECS if nothing is said, as a
person waits, TRAINING_SECS in a job, which a storage that is away for a minute must not end. A large file gets so much
longer as SLOWEST_BYTES_PER_SEC gives it.
"""

from __future__ import annotations

import functools
import logging
import os
import queue
import threading
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from trainer.cloud.refusals import in_words, unreachable
from trainer.job.errors import StorageFailed

if TYPE_CHECKING:
    from google.cloud.storage import Client

RETRY_SECS = 10.0
TRAINING_SECS = 200.0  # as long as TensorFlow's own file system, which makes ten attempts
LAST_ATTEMPT_SECS = 8.0
SLOWEST_BYTES_PER_SEC = 200_000
CONNECT_AND_READ_SECS = (4.0, 8.0)
Result = TypeVar("Result")


def patiently(patience: float | None = None) -> dict[str, Any]:
    """How long one request may take, and for how long it is tried again: after 408, 429, 5xx and broken connections."""
    from google.cloud.storage.retry import DEFAULT_RETRY

    secs = RETRY_SECS if patience is None else patience
    longest = max(3.0, secs / 10)
    retry = DEFAULT_RETRY.with_delay(initial=0.2, maximum=longest, multiplier=2.0).with_timeout(secs)
    return {"timeout": CONNECT_AND_READ_SECS, "retry": retry}


@functools.cache
def _client(emulator: str | None) -> Client:
    """The one client of this process; another place to talk to, which only tests have, is another client."""
    os.environ.setdefault("DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA", "true")  # else it asks for each bucket too
    logging.getLogger("google.auth").setLevel(logging.ERROR)  # it warns thrice before it says there are no credentials
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of this Python's age, of credentials without a quota project: no news here
        from google.cloud import storage

        return storage.Client(project=None)


def ask(
    url: str, permission: str, question: Callable[[Client], Result], size: int = 0, patience: float | None = None
) -> Result:
    """The answer to a question, or a sentence, by the deadline: the thread that asks may hang beyond any time-out.

    A question may be asked again from its beginning, see `_was_cut_off`.
    """
    answers: queue.SimpleQueue[tuple[Result | None, Exception | None]] = queue.SimpleQueue()
    emulator = os.environ.get("STORAGE_EMULATOR_HOST")

    def find() -> None:
        try:
            client = _client(emulator)
            again = patiently(patience)["retry"].with_predicate(_was_cut_off)
            answers.put((again(question)(client), None))
        except Exception as error:  # raised again below, in words
            answers.put((None, error))

    threading.Thread(target=find, name=f"storage: {url}", daemon=True).start()
    secs = (RETRY_SECS if patience is None else patience) + LAST_ATTEMPT_SECS + size / SLOWEST_BYTES_PER_SEC
    try:
        answer, error = answers.get(timeout=secs)
    except queue.Empty:
        raise StorageFailed(unreachable(url, f"no answer within {secs:.0f} s")) from None
    if error is not None:
        raise in_words(error, url, permission) from error
    return answer  # type: ignore[return-value]


def _was_cut_off(error: BaseException) -> bool:
    """Whether a refusal broke off in the middle, such as a 404 without its end.

    google-cloud-storage (3.17) reads what a refusal says after its own tries are over, where nothing is tried again;
    what those have tried to their end is a RetryError.
    """
    import requests

    return isinstance(error, (requests.ConnectionError, requests.exceptions.ChunkedEncodingError))
