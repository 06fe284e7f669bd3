"""Small files in Cloud Storage: the one place that knows gs:// (training itself reads and writes through TensorFlow).

Credentials come from Google's default chain and nowhere else; with STORAGE_EMULATOR_HOST set none are needed. Every
call ends, and `patience` is for how many seconds a request that fails is tried again: see asking.py.
"""

from __future__ import annotations

import base64
import contextlib
import os
import re
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from trainer.cloud.asking import ask, patiently
from trainer.cloud.refusals import message_of, of_tensorflow
from trainer.job.errors import StorageFailed, TrainerError, UsageError

if TYPE_CHECKING:
    from google.cloud.storage import Blob, Client

URL = re.compile(r"gs://(?P<bucket>[a-z0-9][a-z0-9._-]{1,220}[a-z0-9])(?:/(?P<name>[^\r\n]*))?")
BLOCK_BYTES = 1 << 20
PART_BYTES = 32 << 20  # of what is larger than 8 MiB: so much is held in memory, and each part is a request


@dataclass(frozen=True)
class Stored:
    """An object as it is: `crc32c` is the base64 that Cloud Storage shows; each write of a name has a `generation`."""

    url: str
    size: int
    crc32c: str
    generation: int


@dataclass(frozen=True)
class Uploaded:
    """An object that is whole: `crc32c` is the base64 that Cloud Storage shows, `created` whether it is new."""

    url: str
    size: int
    crc32c: str
    created: bool


def is_remote(path: str) -> bool:
    """Whether a path is no local one."""
    return "://" in path


def split(url: str) -> tuple[str, str]:
    """Bucket and name of an object; the name is "" for a bucket itself. Raises UsageError."""
    found = URL.fullmatch(url)
    if found is None or len((found["name"] or "").encode()) > 1024:
        raise UsageError(f"{url} is no place in Cloud Storage: expected gs://BUCKET/NAME, such as gs://my-bucket/jobs.")
    return found["bucket"], found["name"] or ""


def path_below(folder: str, name: str) -> str | None:
    """The local path of an object's name below a folder; None for a name that would lead out of it."""
    parts = name.split("/")
    leads_out = not {"", ".", ".."}.isdisjoint(parts) or any("\\" in part or "\0" in part for part in parts)
    return None if leads_out else os.path.join(folder, *parts)


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

    It is looked for first: what a job was staged with before is not sent again.

    Raises:
      UsageError: the bucket does not exist, or nobody or somebody without the permission asks.
      StorageFailed: no answer, damage on the way, or other content under this name.
    """
    bucket, name = split(url)
    size, crc32c = os.path.getsize(path), crc32c_of(path)

    def send(client: Client) -> tuple[bool, str | None]:
        from google.api_core.exceptions import Forbidden, PreconditionFailed

        with contextlib.suppress(Forbidden):  # who may only write has it sent again
            there = client.bucket(bucket).get_blob(name, **patiently())
            if there is not None:
                return False, there.crc32c
        blob = client.bucket(bucket).blob(name)
        try:
            blob.upload_from_filename(path, if_generation_match=0, checksum="crc32c", **patiently())
        except PreconditionFailed:  # another was faster, or the answer to our own upload was lost on its way
            blob.reload(**patiently())
            return False, blob.crc32c
        return True, blob.crc32c

    created, found = ask(url, "storage.objects.create", send, size)
    if found != crc32c:
        what = "arrived damaged" if created else "is there already with other content"
        raise StorageFailed(f"{url} {what} (crc32c {found}, of {path} {crc32c}): remove that object, then try again.")
    return Uploaded(url, size, crc32c, created)


def put(url: str, content: IO[bytes], patience: float | None = None) -> None:
    """Write an object in place of whatever has its name: it is there whole, or as it was before.

    Args:
      content: is read from its beginning; it may be written again after a failure.

    Raises:
      UsageError: the bucket does not exist, or nobody or somebody without the permission asks.
      StorageFailed: no answer, or damage on the way.
    """
    size = content.seek(0, os.SEEK_END)

    def send(client: Client) -> None:
        blob = blob_of(client, url)
        blob.chunk_size = PART_BYTES
        blob.upload_from_file(content, rewind=True, size=size, checksum="crc32c", **patiently(patience))

    ask(url, "storage.objects.create", send, size, patience)


def download(url: str, path: str) -> None:
    """Fetch an object into a local file, which appears whole or not at all.

    Raises:
      UsageError: there is no such object, or nobody or somebody without the permission asks.
      StorageFailed: no answer, damage on the way, or the file cannot be written.
    """
    blob = ask(url, "storage.objects.get", lambda client: _known(client, url))
    unfinished = f"{path}.{os.getpid()}.part"

    def fetch(client: Client) -> None:
        blob.download_to_filename(unfinished, if_generation_match=blob.generation, checksum="crc32c", **patiently())

    try:
        ask(url, "storage.objects.get", fetch, blob.size)
        if (found := crc32c_of(unfinished)) != blob.crc32c:
            raise StorageFailed(f"{url} arrived damaged (crc32c {found}, there {blob.crc32c}): try again.")
        os.replace(unfinished, path)
    finally:
        if os.path.exists(unfinished):
            os.remove(unfinished)


def read_text(url: str) -> str:
    """The content of a small UTF-8 object. Raises UsageError, StorageFailed."""

    def read(client: Client) -> bytes:
        content: bytes = blob_of(client, url).download_as_bytes(checksum="crc32c", **patiently())
        return content

    try:
        return ask(url, "storage.objects.get", read).decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"{url} is not UTF-8 text (byte {error.start}): give a text file.") from None


def read_version(url: str, patience: float | None = None) -> tuple[bytes, int] | None:
    """The content of a small object and its generation, which tells it from others of its name; None without one.

    Raises UsageError, StorageFailed.
    """

    def read(client: Client) -> tuple[bytes, int] | None:
        from google.api_core.exceptions import NotFound

        blob = blob_of(client, url)
        try:
            content = blob.download_as_bytes(checksum="crc32c", **patiently(patience))
        except NotFound as error:
            if "bucket does not exist" in message_of(error):
                raise
            return None
        return content, int(blob.generation)

    return ask(url, "storage.objects.get", read, patience=patience)


def put_version(url: str, content: bytes, generation: int, patience: float | None = None) -> int | None:
    """Write a small object in place of one generation of it, 0 for none; the new one's, None where another is there.

    That other one may be our own, where the answer to the upload was lost on its way: read what it says.
    Raises UsageError, StorageFailed.
    """

    def send(client: Client) -> int | None:
        from google.api_core.exceptions import PreconditionFailed

        blob = blob_of(client, url)
        try:
            blob.upload_from_string(content, if_generation_match=generation, checksum="crc32c", **patiently(patience))
        except PreconditionFailed:
            return None
        new: int = blob.generation
        return new

    return ask(url, "storage.objects.create", send, patience=patience)


def remove_version(url: str, generation: int) -> None:
    """Remove an object, unless it is not of this generation any more. Raises UsageError, StorageFailed."""

    def remove(client: Client) -> None:
        from google.api_core.exceptions import NotFound, PreconditionFailed

        with contextlib.suppress(NotFound, PreconditionFailed):
            blob_of(client, url).delete(if_generation_match=generation, **patiently())

    ask(url, "storage.objects.delete", remove)


def exists(url: str) -> bool:
    """Whether there is such an object, or for a bucket's URL the bucket. Raises UsageError, StorageFailed."""
    bucket, name = split(url)

    def look(client: Client) -> bool:
        there = blob_of(client, url) if name else client.bucket(bucket)
        return bool(there.exists(**patiently()))

    return ask(url, "storage.objects.get" if name else "storage.buckets.get", look)


def objects_below(url: str, patience: float | None = None) -> list[Stored]:
    """All objects whose names begin with this one. Raises UsageError, StorageFailed."""
    bucket, name = split(url)
    wanted = "items(name,size,crc32c,generation),nextPageToken"

    def walk(client: Client) -> list[Stored]:
        found = client.list_blobs(bucket, prefix=name, fields=wanted, **patiently(patience))
        return [Stored(f"gs://{bucket}/{each.name}", each.size, each.crc32c, each.generation) for each in found]

    return ask(url, "storage.objects.list", walk, patience=patience)


def bucket_location(bucket: str) -> str | None:
    """A bucket's region or multi-region in lower case, such as europe-west4 or us; None where we may not ask.

    Raises:
      UsageError: there is no such bucket, or no credentials.
      StorageFailed: no answer.
    """

    def look(client: Client) -> str | None:
        from google.api_core.exceptions import Forbidden

        try:
            location: str | None = client.get_bucket(bucket, **patiently()).location
        except Forbidden:  # who may write objects often may not look at the bucket
            return None
        return location and location.lower()

    return ask(f"gs://{bucket}", "storage.buckets.get", look)


def failure_in(said: str) -> TrainerError | None:
    """The error that a message of TensorFlow's tells of an object; None where it is about something else."""
    url = re.search(r"gs://[^\n'\"]+", said)
    return of_tensorflow(said, url[0].strip(), "storage.objects.get") if url else None


def blob_of(client: Client, url: str, generation: int | None = None) -> Blob:
    """What google-cloud-storage calls an object."""
    bucket, name = split(url)
    return client.bucket(bucket).blob(name, generation=generation)


def _known(client: Client, url: str) -> Blob:
    blob = blob_of(client, url)
    blob.reload(**patiently())
    return blob
