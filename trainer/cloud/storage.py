"""Small files in Cloud Storage: the one place that knows gs:// (training itself reads and writes through TensorFlow).

Credentials come from Google's default chain and nowhere else; with STORAGE_EMULATOR_HOST set none are needed. Every
call ends within DEADLINE_SECS, a large file's so much later as SLOWEST_BYTES_PER_SEC gives it: a name that does not
resolve, a network that swallows packets and a metadata server that is not there would each take minutes otherwise.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import logging
import os
import queue
import re
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from trainer.job.errors import StorageFailed, TrainerError, UsageError

if TYPE_CHECKING:
    from google.cloud.storage import Blob, Client

URL = re.compile(r"gs://(?P<bucket>[a-z0-9][a-z0-9._-]{1,220}[a-z0-9])(?:/(?P<name>[^\r\n]*))?")
DEADLINE_SECS = 18.0
SLOWEST_BYTES_PER_SEC = 200_000
RETRY_SECS = 10.0
CONNECT_AND_READ_SECS = (4.0, 8.0)
BLOCK_BYTES = 1 << 20
LOGIN = "run gcloud auth application-default login, or name a service account's file in GOOGLE_APPLICATION_CREDENTIALS"
Result = TypeVar("Result")


@dataclass(frozen=True)
class Uploaded:
    """An object that is whole: `crc32c` is the base64 that Cloud Storage shows, `created` whether it is new."""

    url: str
    size: int
    crc32c: str
    created: bool


def split(url: str) -> tuple[str, str]:
    """Bucket and name of an object; the name is "" for a bucket itself. Raises UsageError."""
    found = URL.fullmatch(url)
    if found is None or len((found["name"] or "").encode()) > 1024:
        raise UsageError(f"{url} is no place in Cloud Storage: expected gs://BUCKET/NAME, such as gs://my-bucket/jobs.")
    return found["bucket"], found["name"] or ""


def join(prefix: str, *names: str) -> str:
    """The URL of something below a prefix."""
    return "/".join([prefix.rstrip("/"), *names])


def crc32c_of(path: str) -> str:
    """The checksum of a local file, in Cloud Storage's spelling."""
    import google_crc32c

    checksum = google_crc32c.Checksum()
    with open(path, "rb") as file:
        while block := file.read(BLOCK_BYTES):
            checksum.update(block)
    return base64.b64encode(checksum.digest()).decode()


def upload(path: str, url: str) -> Uploaded:
    """Put a file under a name that stands for its content; one that is there already, the same, is left as it is.

    Raises:
      UsageError: the bucket does not exist, or nobody or somebody without the permission asks.
      StorageFailed: no answer, damage on the way, or other content under this name.
    """
    bucket, name = split(url)
    size, crc32c = os.path.getsize(path), crc32c_of(path)

    def send(client: Client) -> tuple[bool, str | None]:
        from google.api_core.exceptions import PreconditionFailed

        blob = client.bucket(bucket).blob(name)
        try:
            blob.upload_from_filename(path, if_generation_match=0, checksum="crc32c", **_patience())
        except PreconditionFailed:  # it was there, or the answer to our own upload was lost on its way
            blob.reload(**_patience())
            return False, blob.crc32c
        return True, blob.crc32c

    created, found = _ask(url, "storage.objects.create", send, size)
    if found != crc32c:
        what = "arrived damaged" if created else "is there already with other content"
        raise StorageFailed(f"{url} {what} (crc32c {found}, of {path} {crc32c}): remove that object, then try again.")
    return Uploaded(url, size, crc32c, created)


def download(url: str, path: str) -> None:
    """Fetch an object into a local file, which appears whole or not at all.

    Raises:
      UsageError: there is no such object, or nobody or somebody without the permission asks.
      StorageFailed: no answer, damage on the way, or the file cannot be written.
    """
    blob = _ask(url, "storage.objects.get", lambda client: _known(client, url))
    unfinished = f"{path}.{os.getpid()}.part"

    def fetch(client: Client) -> None:
        blob.download_to_filename(unfinished, if_generation_match=blob.generation, checksum="crc32c", **_patience())

    try:
        _ask(url, "storage.objects.get", fetch, blob.size)
        if (found := crc32c_of(unfinished)) != blob.crc32c:
            raise StorageFailed(f"{url} arrived damaged (crc32c {found}, there {blob.crc32c}): try again.")
        os.replace(unfinished, path)
    finally:
        if os.path.exists(unfinished):
            os.remove(unfinished)


def read_text(url: str) -> str:
    """The content of a small UTF-8 object. Raises UsageError, StorageFailed."""

    def read(client: Client) -> bytes:
        content: bytes = _blob(client, url).download_as_bytes(checksum="crc32c", **_patience())
        return content

    try:
        return _ask(url, "storage.objects.get", read).decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"{url} is not UTF-8 text (byte {error.start}): give a text file.") from None


def read_version(url: str) -> tuple[str, int] | None:
    """The content of a small UTF-8 object and its generation, which tells it from others of its name; None without one.

    Raises UsageError, StorageFailed.
    """

    def read(client: Client) -> tuple[str, int] | None:
        from google.api_core.exceptions import NotFound, PreconditionFailed

        blob = _blob(client, url)
        while True:
            try:
                blob.reload(**_patience())
                content = blob.download_as_bytes(if_generation_match=blob.generation, checksum="crc32c", **_patience())
            except PreconditionFailed:  # written anew between the two
                continue
            except NotFound as error:
                if "bucket does not exist" in _message(error):
                    raise
                return None
            return content.decode(errors="replace"), blob.generation

    return _ask(url, "storage.objects.get", read)


def put_version(url: str, text: str, generation: int) -> int | None:
    """Write a small object in place of one generation of it, 0 for none; the new one's, None where another is there.

    The answer to an upload may be lost on its way: then the object is there with our own text, and that is a success.
    Two writers must therefore never write the same text. Raises UsageError, StorageFailed.
    """

    def send(client: Client) -> bool:
        from google.api_core.exceptions import PreconditionFailed

        blob = _blob(client, url)
        try:
            blob.upload_from_string(text, if_generation_match=generation, checksum="crc32c", **_patience())
        except PreconditionFailed:
            return False
        sent.append(blob.generation)
        return True

    sent: list[int] = []
    if _ask(url, "storage.objects.create", send):
        return sent[0]
    found = read_version(url)
    return found[1] if found and found[0] == text else None


def remove_version(url: str, generation: int) -> None:
    """Remove an object, unless it is not of this generation any more. Raises UsageError, StorageFailed."""

    def remove(client: Client) -> None:
        from google.api_core.exceptions import NotFound, PreconditionFailed

        with contextlib.suppress(NotFound, PreconditionFailed):
            _blob(client, url).delete(if_generation_match=generation, **_patience())

    _ask(url, "storage.objects.delete", remove)


def exists(url: str) -> bool:
    """Whether there is such an object, or for a bucket's URL the bucket. Raises UsageError, StorageFailed."""
    bucket, name = split(url)

    def look(client: Client) -> bool:
        there = _blob(client, url) if name else client.bucket(bucket)
        return bool(there.exists(**_patience()))

    return _ask(url, "storage.objects.get" if name else "storage.buckets.get", look)


def names_below(url: str) -> list[str]:
    """The names of all objects that begin with this one. Raises UsageError, StorageFailed."""
    bucket, name = split(url)

    def walk(client: Client) -> list[str]:
        return [blob.name for blob in client.list_blobs(bucket, prefix=name, **_patience())]

    return _ask(url, "storage.objects.list", walk)


def bucket_location(bucket: str) -> str | None:
    """A bucket's region or multi-region in lower case, such as europe-west4 or us; None where we may not ask.

    Raises:
      UsageError: there is no such bucket, or no credentials.
      StorageFailed: no answer.
    """

    def look(client: Client) -> str | None:
        from google.api_core.exceptions import Forbidden

        try:
            location: str | None = client.get_bucket(bucket, **_patience()).location
        except Forbidden:  # who may write objects often may not look at the bucket
            return None
        return location and location.lower()

    return _ask(f"gs://{bucket}", "storage.buckets.get", look)


def _blob(client: Client, url: str) -> Blob:
    bucket, name = split(url)
    return client.bucket(bucket).blob(name)


def _known(client: Client, url: str) -> Blob:
    blob = _blob(client, url)
    blob.reload(**_patience())
    return blob


def _patience() -> dict[str, Any]:
    """How long one request may take, and for how long it is tried again: after 408, 429, 5xx and broken connections."""
    from google.cloud.storage.retry import DEFAULT_RETRY

    retry = DEFAULT_RETRY.with_delay(initial=0.2, maximum=3.0, multiplier=2.0).with_timeout(RETRY_SECS)
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


def _ask(url: str, permission: str, question: Callable[[Client], Result], size: int = 0) -> Result:
    """The answer to a question, or a sentence, by the deadline: the thread that asks may hang beyond any time-out."""
    answers: queue.SimpleQueue[tuple[Result | None, Exception | None]] = queue.SimpleQueue()
    emulator = os.environ.get("STORAGE_EMULATOR_HOST")

    def ask() -> None:
        try:
            answers.put((question(_client(emulator)), None))
        except Exception as error:  # raised again below, in words
            answers.put((None, error))

    threading.Thread(target=ask, name=f"storage: {url}", daemon=True).start()
    secs = DEADLINE_SECS + size / SLOWEST_BYTES_PER_SEC
    try:
        answer, error = answers.get(timeout=secs)
    except queue.Empty:
        raise StorageFailed(unreachable(url, f"no answer within {secs:.0f} s")) from None
    if error is not None:
        raise _in_words(error, url, permission) from error
    return answer  # type: ignore[return-value]


def _in_words(error: BaseException, url: str, permission: str) -> Exception:
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
        return refusal(int(error.code or 0), _message(error), url, permission)
    if isinstance(error, InvalidResponse):  # what the last of many tries at a download ends with
        return refusal(error.response.status_code, _message(error), url, permission)
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
    bucket, name = split(url)
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


def _message(error: Any) -> str:
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
    text = " ".join(str(error).split())
    return (text if len(text) <= 200 else text[:197] + "...").rstrip(". ")
