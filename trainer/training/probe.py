"""The process that uses buckets as a job does, to see whether it can; started and understood by probing.py.

    python -m trainer.training.probe '[{"flag": "--job-dir", "url": "gs://bucket/job", "writes": true}]'

It is TensorFlow that asks, as it is what trains: it has its own way to credentials. A line of JSON says each step
before it is made; the last one says what went wrong, or that nothing did.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import json
import os
import re
import sys
import types
import uuid
from collections.abc import Callable, Generator, Sequence

from trainer.cloud.probing import MARK, Place

Steps = Generator[tuple[str, Callable[[], object]], None, None]
WILDCARDS = re.compile(r"[*?\[\\]")  # as TensorFlow's glob has them
PACKAGES = ("", ".python", ".python.framework", ".python.lib", ".python.platform", ".python.util", ".python.eager")


def _stand_in_packages() -> None:
    """Let TensorFlow's file system be imported without the rest, which takes six times as long.

    The packages are there, but what their own `__init__` would do is not done; the modules below do not need it.
    """
    [folder] = importlib.util.find_spec("tensorflow").submodule_search_locations  # type: ignore[union-attr, misc]
    for name in PACKAGES:
        package = types.ModuleType(f"tensorflow{name}")
        package.__path__ = [os.path.join(folder, *name.split(".")[1:])]
        sys.modules[package.__name__] = package


_stand_in_packages()
from tensorflow.python.framework import errors  # noqa: E402 - once the packages stand there
from tensorflow.python.lib.io import file_io  # noqa: E402


def main(places: Sequence[Place]) -> int:
    """Use one place after the other; 1 where one cannot be used."""
    for number, place in enumerate(places):
        steps = _uses(place.url) if place.writes else _looks(place)
        for name, act in steps:
            said: dict[str, object] = {"place": number, "step": name}
            print(json.dumps(said), flush=True)
            try:
                act()
            except (errors.OpError, ValueError) as error:
                steps.close()  # before it is said, as nobody waits for this process any longer then
                words = " ".join(str(getattr(error, "message", error)).split())
                print(json.dumps({**said, "error": words[:1000]}), flush=True)
                return 1
    print(json.dumps({"done": True}), flush=True)
    return 0


def _uses(folder: str) -> Steps:
    """What a job does in a folder; the object is removed even where a step before that fails."""
    path = f"{folder.rstrip('/')}/{MARK}{uuid.uuid4().hex}"
    yield "create", functools.partial(_write, path, b"made before training")
    try:
        yield "read", functools.partial(_read, path)
        yield "list", functools.partial(_list, folder.rstrip("/"))
        yield "overwrite", functools.partial(_write, path, b"to see whether it can be")
        yield "delete", functools.partial(file_io.delete_file_v2, path)
    except GeneratorExit:
        with contextlib.suppress(errors.OpError):
            file_io.delete_file_v2(path)
        raise


def _looks(place: Place) -> Steps:
    """What a job does with files that it reads. That there are none is said where they are opened.

    Who may not read is told so of an object that is not there, too: of a folder or a pattern no file is known yet.
    """
    fixed = WILDCARDS.split(place.url)[0]
    folder = (place.url if place.is_folder else fixed.rpartition("/")[0]).rstrip("/")
    one_file = fixed == place.url and not place.is_folder
    yield "list", functools.partial(_list, folder)
    yield "read", functools.partial(_read_if_there, place.url if one_file else f"{folder}/{MARK}{uuid.uuid4().hex}")


def _list(folder: str) -> None:
    """Have one name listed: a whole folder may have millions, and a bucket itself is asked for by other permissions.

    TensorFlow lists up to one name to see whether there is a folder. That there is none is no error of the storage.
    """
    try:
        file_io._pywrap_file_io.IsDirectory(f"{folder}/{MARK}{uuid.uuid4().hex}")
    except errors.NotFoundError as error:
        if "HTTP response code" in str(error):
            raise


def _read_if_there(path: str) -> None:
    with contextlib.suppress(errors.NotFoundError):
        _read(path)


def _write(path: str, content: bytes) -> None:
    with file_io.FileIO(path, "wb") as file:
        file.write(content)


def _read(path: str) -> None:
    with file_io.FileIO(path, "rb") as file:
        file.read(1)


if __name__ == "__main__":
    sys.exit(main([Place(**each) for each in json.loads(sys.argv[1])]))
