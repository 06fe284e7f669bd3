"""Folders and sets of files in Cloud Storage: put, copied, fetched, looked at and removed, with few requests.

Each file takes one, and each list one for a thousand names. A bucket has no folders and no renaming: a folder there is
whole when its last file is. `last` names the one whose presence tells that, saved_model.pb of an export: it is put
after all others, and removed before them. All of this happens in a job, and so with a job's patience.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from trainer.cloud.asking import TRAINING_SECS, ask, patiently
from trainer.cloud.storage import Stored, blob_of, crc32c_of, objects_below, path_below
from trainer.job.errors import StorageFailed, UsageError

if TYPE_CHECKING:
    from google.cloud.storage import Client

THREADS = 8  # requests at once: each waits for an answer most of the time


class Target(Protocol):
    """Something open that an object is written to."""

    def write(self, text: bytes, /) -> int:
        """Add what came next."""

    def seek(self, place: int, /) -> int:
        """Begin again, at 0, with an object that has to be sent once more."""


def files_below(url: str) -> dict[str, Stored]:
    """Relative name -> object, of a folder; empty for one that is not there. Raises UsageError, StorageFailed."""
    prefix = _prefix(url)
    found = {each.url.removeprefix(prefix): each for each in objects_below(prefix, TRAINING_SECS)}
    return {name: each for name, each in found.items() if name and not name.endswith("/")}


def find_objects(urls: Collection[str]) -> dict[str, Stored]:
    """URL -> object, of those that are there: a list for each folder, of the names that begin as its own all do.

    Raises UsageError, StorageFailed.
    """
    of_folder: dict[str, list[str]] = {}
    for url in urls:
        of_folder.setdefault(url.rpartition("/")[0], []).append(url)
    prefixes = [os.path.commonprefix(group) for group in of_folder.values()]  # noqa: RUF071 - of letters it has to be
    listed = [objects_below(prefix, TRAINING_SECS) for prefix in prefixes]
    wanted = set(urls)
    return {each.url: each for group in listed for each in group if each.url in wanted}


def put_folder(path: str, url: str, last: str) -> None:
    """Upload all files of a local folder, and see that what is there then has their checksums.

    Raises:
      UsageError: the bucket does not exist, or nobody or somebody without the permission asks.
      StorageFailed: no answer, or damage on the way.
    """
    paths = dict(_files_of(path))
    for names in _others_then(last, paths):
        pairs = [(paths[name], _prefix(url) + name) for name in names]

        def send(client: Client, pairs: list[tuple[str, str]] = pairs) -> None:
            from google.cloud.storage import transfer_manager

            transfer_manager.upload_many(
                [(path, blob_of(client, target)) for path, target in pairs],
                upload_kwargs={"checksum": "crc32c", **patiently(TRAINING_SECS)},
                worker_type=transfer_manager.THREAD,
                max_workers=THREADS,
                raise_exception=True,
            )

        size = sum(os.path.getsize(path) for path, _ in pairs)
        ask(url, "storage.objects.create", send, size, TRAINING_SECS)
    _compare(url, {name: crc32c_of(path) for name, path in paths.items()})


def copy_folder(source: str, url: str, last: str) -> None:
    """Copy a folder within Cloud Storage, whose bytes never leave it. Raises as `put_folder`."""
    files = files_below(source)

    def copy(client: Client) -> None:
        for name in [name for group in _others_then(last, files) for name in group]:
            target, token, done = blob_of(client, _prefix(url) + name), None, False
            while not done:
                token, *_ = target.rewrite(blob_of(client, files[name].url), token, **patiently(TRAINING_SECS))
                done = token is None

    ask(url, "storage.objects.create", copy, sum(each.size for each in files.values()), TRAINING_SECS)
    _compare(url, {name: each.crc32c for name, each in files.items()})


def fetch_folder(url: str, path: str) -> None:
    """Download a folder; what arrives has the checksums of what is there. Raises UsageError, StorageFailed."""
    files = files_below(url)
    paths = {name: _path_below(path, url, name) for name in files}
    for local in paths.values():
        os.makedirs(os.path.dirname(local), exist_ok=True)
    fetch_objects(url, [(each, paths[name]) for name, each in files.items()])
    for name, each in files.items():
        refuse_damaged(each, paths[name])


def fetch_objects(url: str, pairs: Sequence[tuple[Stored, str | Target]]) -> None:
    """Download objects, of the generations they have, into local files or other targets.

    Args:
      url: what a message calls all of them.

    Raises UsageError, StorageFailed.
    """

    def get(client: Client) -> None:
        from google.cloud.storage import transfer_manager

        for _, target in pairs:
            if not isinstance(target, str):
                target.seek(0)  # of an earlier attempt at all of them
        transfer_manager.download_many(
            [(blob_of(client, each.url, each.generation), target) for each, target in pairs],
            download_kwargs={"checksum": "crc32c", **patiently(TRAINING_SECS)},
            worker_type=transfer_manager.THREAD,
            max_workers=THREADS,
            raise_exception=True,
        )

    ask(url, "storage.objects.get", get, sum(each.size for each, _ in pairs), TRAINING_SECS)


def refuse_damaged(stored: Stored, path: str) -> None:
    """Compare a local copy with its object. Raises StorageFailed."""
    if (found := crc32c_of(path)) != stored.crc32c:
        raise StorageFailed(f"{stored.url} arrived damaged (crc32c {found}, there {stored.crc32c}): try again.")


def remove_folder(url: str, last: str = "", parts: Collection[str] | None = None) -> None:
    """Remove a folder, or some files and folders in it; one that is not there is no error.

    Raises UsageError, StorageFailed.
    """
    names = [each.url.removeprefix(_prefix(url)) for each in objects_below(_prefix(url), TRAINING_SECS)]
    names = [name for name in names if parts is None or name.partition("/")[0] in parts]
    marks = [name for name in names if name == last]

    def remove(client: Client) -> None:
        from google.api_core.exceptions import NotFound

        for name in [*marks, *(name for name in names if name != last)]:
            with contextlib.suppress(NotFound):  # the answer to our own request was lost
                blob_of(client, _prefix(url) + name).delete(**patiently(TRAINING_SECS))

    ask(url, "storage.objects.delete", remove, 0, TRAINING_SECS)


def _prefix(url: str) -> str:
    return url.rstrip("/") + "/"


def _path_below(folder: str, url: str, name: str) -> str:
    path = path_below(folder, name)
    if path is None:
        raise UsageError(f"{url} holds {name!r}, which would be written outside of {folder}: remove it.")
    return path


def _files_of(path: str) -> Iterable[tuple[str, str]]:
    for folder, _, names in os.walk(path):
        for name in names:
            whole = os.path.join(folder, name)
            yield os.path.relpath(whole, path).replace(os.sep, "/"), whole


def _others_then(last: str, names: Iterable[str]) -> list[list[str]]:
    """The names in two groups, of which the second is to be dealt with when the first is done."""
    listed = sorted(names)
    return [[name for name in listed if name != last], [name for name in listed if name == last]]


def _compare(url: str, expected: Mapping[str, str]) -> None:
    found = files_below(url)
    for name, crc32c in expected.items():
        there = found[name].crc32c if name in found else "missing"
        if there != crc32c:
            raise StorageFailed(f"{_prefix(url)}{name} arrived damaged (crc32c {there}, sent {crc32c}): try again.")
