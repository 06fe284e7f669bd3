"""What Cloud Storage and the libraries around it say when they refuse, in a user's words."""

from __future__ import annotations

import re
from typing import Any

from trainer.job.credentials import without_secrets
from trainer.job.errors import DataError, StorageFailed, TrainerError, UsageError

LOGIN = "run gcloud auth application-default login, or name a service account's file in GOOGLE_APPLICATION_CREDENTIALS"


def in_words(error: BaseException, url: str, permission: str) -> Exception:
    """The error that says what happened and what to do; one of our own bugs stays what it is."""
    import requests
    from google.api_core.exceptions import GoogleAPICallError, RetryError
    from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError, TransportError
    from google.cloud.storage.exceptions import DataCorruption, InvalidResponse

    if isinstance(error, RetryError) and error.cause is not None:
        error = error.cause
    if isinstance(error, DefaultCredentialsError):
        return UsageError(f"{url}: no Google credentials were found ({_short(error).partition('. ')[0]}); {LOGIN}.")
    if isinstance(error, GoogleAPICallError):
        return refusal(int(error.code or 0), message_of(error), url, permission)
    if isinstance(error, InvalidResponse):  # what the last of many tries at a download ends with
        return refusal(error.response.status_code, message_of(error), url, permission)
    if isinstance(error, DataCorruption):
        return StorageFailed(f"{url} arrived damaged ({_short(error)}): try again.")
    if isinstance(error, (TransportError, requests.RequestException, ConnectionError, TimeoutError)):
        return StorageFailed(unreachable(url, _network_reason(error)))
    if isinstance(error, GoogleAuthError):
        return UsageError(f"{url}: the Google credentials are not accepted ({_short(error)}); {LOGIN}.")
    if isinstance(error, OSError):
        return StorageFailed(f"{url}: {error.filename or 'the local file'}: {error.strerror or error}.")
    return error if isinstance(error, Exception) else StorageFailed(unreachable(url, _short(error)))


def refusal(code: int, said: str, url: str, permission: str) -> TrainerError:
    """The error for a status of the server's, and for what it said; `permission`: what the request needed."""
    bucket, _, name = url.removeprefix("gs://").partition("/")
    if code == 401 and "Anonymous" in said:
        return UsageError(f"{url}: no Google credentials were found ({said}); {LOGIN}.")
    if code == 401:
        return UsageError(f"{url}: the Google credentials are not accepted ({said}); {LOGIN}.")
    if code == 403:
        wanted = re.search(r"storage\.\w+\.\w+", said)
        return UsageError(
            f"{url}: access denied; ask for {wanted[0] if wanted else permission} on gs://{bucket}, which the role "
            f"Storage Object Admin (roles/storage.objectAdmin) has ({said})."
        )
    if code == 404 and name and permission == "storage.objects.get" and "bucket does not exist" not in said:
        return UsageError(f"{url}: there is no such object; gcloud storage ls gs://{bucket} shows what there is.")
    if code == 404:
        return UsageError(
            f"{url}: there is no bucket {bucket}; make it with gcloud storage buckets create gs://{bucket}."
        )
    return StorageFailed(f"{url}: Cloud Storage answers {code} ({said}); try again later.")


def of_tensorflow(said: str, url: str, permission: str, attempt: str = "no more was said") -> TrainerError | None:
    """The error for what TensorFlow's file system says; None where it is not about an answer or the network.

    Args:
      attempt: what is told where the server gave no reason.
    """
    said = without_secrets(said)
    code = re.search(r"HTTP response code (\d+)", said)
    message = re.search(r'"message":\s*"((?:[^"\\]|\\.)*)"', said)
    changed = re.search(r"File contents are inconsistent for file: (gs://.+) @ \d+", said)  # shorter than it was
    network = re.search(r"libcurl code \d+ meaning '(.*?)', error details: (.*)", said)
    if code:
        return refusal(int(code[1]), (message[1] if message else attempt).rstrip(". "), url, permission)
    if changed:
        return DataError(f"{changed[1]} was replaced or changed while it was read: start again when it is at rest.")
    if network:
        return StorageFailed(unreachable(url, (network[2].partition(" when ")[0] or network[1]).rstrip(". ")))
    return None


def message_of(error: Any) -> str:
    """What the server said, without the request around it."""
    try:
        return _short(error.response.json()["error"]["message"])
    except (AttributeError, KeyError, TypeError, ValueError):  # no JSON, or not Google's
        return _short(getattr(error, "message", error))


def unreachable(url: str, why: str) -> str:
    """The sentence for a Cloud Storage that does not answer."""
    return f"{url}: Cloud Storage cannot be reached ({why}); check the network and its proxy, then try again."


def _network_reason(error: BaseException) -> str:
    """Who did not answer, and how, out of three libraries' messages around the one that counts."""
    text = str(error)
    host = re.search(r"host='([^']+)'", text)
    system = re.search(r"\[Errno -?\d+\] ([^'\")]+)", text)
    reason = system[1].strip() if system else "no answer in time" if "timed out" in text else _short(text)
    return f"{host[1]}: {reason}" if host else reason


def _short(error: object) -> str:
    """One line of a library's message, which may be long and never ends in a dot of its own."""
    text = without_secrets(" ".join(str(error).split()))
    return (text if len(text) <= 200 else text[:197] + "...").rstrip(". ")
