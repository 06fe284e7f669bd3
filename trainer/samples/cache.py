"""Where the samples keep the files that they write: a folder for each, which appears whole or not at all."""

from __future__ import annotations

import importlib.metadata
import os
import pathlib
import shutil
import tempfile
from collections.abc import Callable


def cached_folder(sample: str, package: str, write: Callable[[pathlib.Path], None]) -> pathlib.Path:
    """The folder of a sample's files, made of the installed version of a package; `write` fills it, once."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    folder = pathlib.Path(cache, "keras-trainer", f"{sample}-{importlib.metadata.version(package)}")
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished = tempfile.mkdtemp(prefix=folder.name, dir=folder.parent)
        write(pathlib.Path(unfinished))
        try:
            os.rename(unfinished, folder)
        except OSError:  # another process was faster, and its files are the same
            shutil.rmtree(unfinished)
    return folder
