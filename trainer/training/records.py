"""The small files and the folders of a job directory: written whole or not at all, local or gs://."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from typing import Any

from trainer.cloud import folders
from trainer.cloud.small_files import SmallFiles
from trainer.cloud.storage import is_remote
from trainer.job.errors import JobDirError


def put_json(path: str, value: Any) -> None:
    """Write a JSON file in one step: a reader, or a kill, sees the old one or the new one."""
    put_text(path, _dumped(value))


def put_json_as_holder(path: str, value: Any) -> None:
    """The same for a file that only the holder of a job directory writes.

    Raises:
      JobDirError: in a bucket, another process has written it in the meantime.
    """
    _put_as_holder(path, _dumped(value))


def read_json(path: str) -> Any:
    """The content of a JSON file; None where there is none. Raises JobDirError for one that is damaged."""
    content = read_bytes(path)
    try:
        return None if content is None else json.loads(content)
    except ValueError as error:
        raise JobDirError(f"{path} is not JSON ({error}): mend it, or start anew with --fresh.") from error


def read_evaluations(path: str) -> dict[int, dict[str, float]]:
    """Global step -> metrics, of all evaluations so far, in the order of their steps. Raises JobDirError."""
    try:
        lines = [json.loads(line) for line in (read_bytes(path) or b"").decode().splitlines()]
        return {line.pop("global_step"): line for line in sorted(lines, key=lambda line: line["global_step"])}
    except (ValueError, KeyError, TypeError) as error:
        raise JobDirError(
            f"{path} does not hold one evaluation a line ({error}): mend it, or start anew with --fresh."
        ) from error


def put_evaluation(path: str, step: int, metrics: dict[str, float]) -> None:
    """Add an evaluation; one of the same step, from before a restart, gives way. Raises as `put_json_as_holder`."""
    known = {**read_evaluations(path), step: metrics}
    lines = [json.dumps({"global_step": step, **known[step]}) for step in sorted(known)]
    _put_as_holder(path, "".join(line + "\n" for line in lines))


def put_text(path: str, text: str) -> None:
    """Write a file in one step."""
    if is_remote(path):
        _bucket_files().put(path, text.encode())
        return
    with open(path + ".unfinished", "wb") as file:
        file.write(text.encode())
    os.replace(path + ".unfinished", path)


def put_folder(source: str, target: str, last: str) -> None:
    """Copy a folder so that `target`, which is not there, appears whole or not at all: with `last`, in a bucket."""
    if is_remote(target):
        copy_files(source, target, last)
        return
    unfinished = target.rstrip("/") + ".unfinished"
    remove_folder(unfinished)
    copy_files(source, unfinished)
    os.rename(unfinished, target)


def copy_files(source: str, target: str, last: str = "") -> None:
    """Copy all files below a folder into another one, in any mix of local and gs://; `last` when all others are."""
    if is_remote(target):
        (folders.copy_folder if is_remote(source) else folders.put_folder)(source, target, last)
    elif is_remote(source):
        folders.fetch_folder(source, target)
    else:
        top = source.rstrip("/")
        shutil.copytree(top, target, ignore=lambda folder, _: [last] if folder == top else [], dirs_exist_ok=True)
        if last:
            shutil.copy(os.path.join(source, last), os.path.join(target, last))


@contextlib.contextmanager
def local_copy(folder: str) -> Iterator[str]:
    """Within this context a folder is on this machine: fetched whole, since TensorFlow asks for each piece thrice."""
    if not is_remote(folder):
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="keras-trainer-copy-") as path:
        folders.fetch_folder(folder, path)
        yield path


def remove_folder(path: str, last: str = "") -> None:
    """Remove a folder, if it is there; first the file whose presence tells that it is whole."""
    if is_remote(path):
        folders.remove_folder(path, last)
    elif os.path.isdir(path):
        if last:
            remove_path(os.path.join(path, last))
        shutil.rmtree(path)


def remove_parts(folder: str, names: Iterable[str], last: str) -> None:
    """Remove some of the files and folders in a folder, as far as they are there, and `last` of them first."""
    if is_remote(folder):
        folders.remove_folder(folder, last, set(names))
        return
    for name in sorted(names, key=lambda name: name != last):
        remove_path(os.path.join(folder, name))


def remove_path(path: str) -> None:
    """Remove a local file or folder, if it is there."""
    if os.path.isdir(path):
        shutil.rmtree(path)
    elif os.path.exists(path):
        os.remove(path)


def _put_as_holder(path: str, text: str) -> None:
    if is_remote(path):
        _bucket_files().put_as_holder(path, text.encode())
    else:
        put_text(path, text)


def _dumped(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def read_bytes(path: str) -> bytes | None:
    """The content of a small file; None where there is none."""
    if is_remote(path):
        return _bucket_files().read(path)
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None


@functools.cache
def _bucket_files() -> SmallFiles:
    """Those of this process, which remembers what it has seen of each."""
    return SmallFiles()
