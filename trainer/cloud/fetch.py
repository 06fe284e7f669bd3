"""In the container: a model module that trainer.submit has staged, back on a disk with the neighbours it imports."""

from __future__ import annotations

import os
import re
import sys

from trainer.cloud import storage
from trainer.cloud.package import HASH_DIGITS, digest_of
from trainer.job.errors import UsageError

STAGED = re.compile(rf"(?P<folder>gs://.+/models/(?P<digest>[0-9a-f]{{{HASH_DIGITS}}}))/(?P<target>.+)")
AGAIN = "submit the job again with python -m trainer.submit, which stages it"


def fetch_model(ref: str, folder: str) -> str:
    """Download a staged module and its neighbours into a folder, and return the local reference.

    A module of a package is put on sys.path, as it was found there where it was staged from. What arrives is what was
    staged, or nothing is returned: each file's checksum and the digest of all of them are compared.

    Args:
      ref: gs://BUCKET/PREFIX/models/HASH/my_model.py or .../package.module, :FUNCTION behind it or not.
      folder: is made where it does not exist.

    Raises:
      UsageError: the reference is no staged module, or it is not whole.
      StorageFailed: no answer, damage on the way, or the folder cannot be written.
    """
    staged = STAGED.fullmatch(ref)
    if staged is None:
        raise UsageError(f"--model={ref} is no module that was staged for a job: give a local file; {AGAIN}.")
    files = _download(staged["folder"], folder)
    if digest_of(files) != staged["digest"]:
        raise UsageError(f"--model={ref}: its files in {staged['folder']}/ are not those that were staged; {AGAIN}.")
    source, colon, function = _split(staged["target"])
    if source.endswith(".py"):
        return os.path.join(folder, source) + colon + function
    if folder not in sys.path:
        sys.path.insert(0, folder)
    return staged["target"]


def _split(target: str) -> tuple[str, str, str]:
    """Module, colon and function; a file's name may hold a colon too."""
    source, colon, function = target.rpartition(":")
    return (source, colon, function) if colon and not target.endswith(".py") else (target, "", "")


def _download(url: str, folder: str) -> list[tuple[str, str]]:
    """Fetch all objects below a URL; their (relative path, local path)."""
    names = [each.url.removeprefix(f"{url}/") for each in storage.objects_below(f"{url}/")]
    files = [(name, _local_path(url, name, folder)) for name in names if not name.endswith("/") and name]
    for name, path in files:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        storage.download(storage.join(url, name), path)
    return files


def _local_path(url: str, name: str, folder: str) -> str:
    path = storage.path_below(folder, name)
    if path is None:
        raise UsageError(f"{url} holds {name!r}, which would be written outside of {folder}: remove it; {AGAIN}.")
    return path
