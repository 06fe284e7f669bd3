"""Which files a batch prediction reads, what it writes for each, and whether a folder of predictions is its own."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import os
import pathlib
import posixpath
import re
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from trainer.cloud import folders
from trainer.cloud.storage import is_remote
from trainer.job.errors import UsageError
from trainer.job.prediction import Prediction
from trainer.job.serving import SPEC_FILE
from trainer.job.settings import settings_of, shown
from trainer.training.files import describe_files, match_files
from trainer.training.prediction_rows import TABLES
from trainer.training.records import put_text, read_bytes

RECORD_FILE = "predictions.json"
FORMAT = 1
SUFFIXES = tuple(table.suffix for table in TABLES.values())
WILD = re.compile(r"[*?\[\\]")
DECIDE = ("files", "format", "columns", "delimiter", "key_column", "outputs", "output_format")  # what the bytes are


@dataclasses.dataclass(frozen=True)
class Shard:
    """One input file: `name` is what the pattern leaves open of its path, `output` the file of its predictions."""

    path: str
    name: str
    output: str

    @property
    def bad_rows(self) -> str:
        """The file of the rows that could not be read."""
        folder, _, name = self.output.rpartition("/")
        return f"{folder}/bad_rows-{name.partition('.predictions.')[0]}.jsonl"


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is to be done by one machine.

    Attributes:
      files: how many input files there are for all machines.
      shards: those of this machine, by name.
      done: outputs that are there.
      has_predictions: whether the folder holds any file of predictions.
    """

    files: int
    shards: tuple[Shard, ...]
    done: frozenset[str]
    has_predictions: bool

    @property
    def missing(self) -> tuple[Shard, ...]:
        """The shards whose predictions are not there."""
        return tuple(shard for shard in self.shards if shard.output not in self.done)

    @property
    def outdated(self) -> tuple[Shard, ...]:
        """The local shards whose input was written after its predictions."""
        return tuple(shard for shard in self.shards if shard.output in self.done and _is_outdated(shard))


def make_plan(settings: Prediction) -> Plan:
    """Look for the input files, and for what is there already.

    Raises:
      DataError: no file is found.
      UsageError: two files would be written to one, or an input lies in the output folder.
    """
    output = str(settings.output).rstrip("/") or "/"
    suffix = TABLES[settings.output_format].suffix
    shards = [Shard(path, name, f"{output}/{name}{suffix}") for path, name in _named(settings.files).items()]
    shards.sort(key=lambda shard: shard.name)
    _refuse_twins(shards)
    _refuse_inputs_inside(shards, output)
    index, count = settings.part
    there = _files_below(output)
    return Plan(
        len(shards),
        tuple(shards[index - 1 :: count]),
        frozenset(shard.output for shard in shards if shard.output in there),
        any(path.endswith(SUFFIXES) for path in there),
    )


def describe(settings: Prediction, export: str) -> dict[str, Any]:
    """What makes predictions what they are, the same on every machine; the content of predictions.json."""
    values = {name: getattr(settings, name) for name in DECIDE}
    values["files"] = [_absolute(pattern) for pattern in settings.files]
    decide = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
    return {"format": FORMAT, "export": {"path": _absolute(export), "sha256": _fingerprint(export)}, "settings": decide}


def refuse_other_run(output: str, record: Mapping[str, Any], plan: Plan) -> None:
    """Refuse a folder whose predictions were made otherwise. Raises UsageError with the difference."""
    if not plan.has_predictions:
        return  # whatever was begun there, nothing came of it
    there = read_record(output)
    if there is None:
        raise UsageError(
            f"--output={output} holds predictions but no {RECORD_FILE} that tells what made them: name another folder."
        )
    found = differences(there, record)
    if found:
        raise UsageError(
            f"--output={output} holds predictions of another run: {'; '.join(found)}. Name another folder, or give "
            "what was given then."
        )


def put_record(output: str, record: Mapping[str, Any]) -> None:
    """Write predictions.json in one step. Several machines may do so at once, all the same."""
    if read_record(output) == record:
        return
    path, text = _record_path(output), json.dumps(record, indent=2, ensure_ascii=False) + "\n"
    if is_remote(path):
        put_text(path, text)
        return
    os.makedirs(output, exist_ok=True)
    unfinished = f"{path}.{uuid.uuid4().hex}.unfinished"
    pathlib.Path(unfinished).write_text(text, encoding="utf-8")
    os.replace(unfinished, path)


def read_record(output: str) -> Any:
    """What made the predictions of a folder; None where nobody has said so, or not so that it can be read."""
    content = read_bytes(_record_path(output))
    try:
        record = json.loads(content) if content is not None else None
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _record_path(output: str) -> str:
    return f"{output.rstrip('/')}/{RECORD_FILE}"


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What two runs differ in, in words."""
    if old.get("format") != FORMAT:
        return [f"{RECORD_FILE} is of another version of this program"]
    found = []
    if old["export"]["sha256"] != new["export"]["sha256"]:
        was, now = old["export"]["path"], new["export"]["path"]
        found.append(f"the export {now} was another one then" if was == now else f"the export was {was}, is {now}")
    flags = {each.name: each.flag for each in settings_of(Prediction)}
    for name, value in new["settings"].items():
        before = old["settings"].get(name)
        if before != value:
            found.append(f"{flags[name]} was {_said(before)}, is {_said(value)}")
    return found


def _files_below(folder: str) -> set[str]:
    """The paths of all files; in a bucket by its list, which has a thousand names a page."""
    if is_remote(folder):
        return {each.url for each in folders.files_below(folder).values()}
    return {f"{below.rstrip('/')}/{name}" for below, _, names in os.walk(folder) for name in names}


def _said(value: Any) -> str:
    return shown(value) if value else "not given"


def _named(patterns: Sequence[str]) -> dict[str, str]:
    """Path -> name of each file, the first pattern that finds a file naming it. Raises DataError."""
    found: dict[str, str] = {}
    seen: set[str] = set()
    for pattern in patterns:
        for path in match_files([pattern], "--files"):
            if _absolute(path) not in seen:
                seen.add(_absolute(path))
                found[path] = _open_part(pattern, path)
    return found


def _open_part(pattern: str, path: str) -> str:
    """What the pattern leaves open of a path, from the first folder with a wildcard on; else the file's name."""
    if path == pattern:
        return posixpath.basename(path)
    wild = WILD.search(pattern)
    fixed = pattern[: wild.start() if wild else None].rpartition("/")[0]
    name = posixpath.relpath(path, fixed or ("/" if path.startswith("/") else "."))
    return posixpath.basename(path) if name.startswith("..") else name


def _refuse_twins(shards: Sequence[Shard]) -> None:
    for one, other in itertools.pairwise(shards):
        if one.name == other.name:
            raise UsageError(
                f"--files: {one.path} and {other.path} would both be written to {one.output}: name them by one "
                "pattern in quotes that leaves open where they differ, as in --files='data/*/*.csv', or give each a "
                "folder of its own with --output."
            )


def _refuse_inputs_inside(shards: Sequence[Shard], output: str) -> None:
    folder = _absolute(output).rstrip("/") + "/"
    inside = next((shard.path for shard in shards if _absolute(shard.path).startswith(folder)), None)
    if inside:
        raise UsageError(f"--output={output} holds {inside}, which --files names: give predictions their own folder.")


def _absolute(path: str) -> str:
    return path.rstrip("/") if is_remote(path) else os.path.abspath(path)


def _is_outdated(shard: Shard) -> bool:
    if is_remote(shard.path) or is_remote(shard.output):
        return False  # clocks of two services tell nothing
    return os.stat(shard.path).st_mtime_ns > os.stat(shard.output).st_mtime_ns


def _fingerprint(export: str) -> str:
    """One hash of all that decides what an export predicts, so that a copy of it is the same."""
    paths = [f"{export}/saved_model.pb", f"{export}/assets.extra/{SPEC_FILE}"]
    for name in ("variables", "assets"):
        for folder, _, files in tf.io.gfile.walk(f"{export}/{name}"):
            paths += [f"{folder.rstrip('/')}/{each}" for each in files]
    there = sorted(path for path in paths if tf.io.gfile.exists(path))
    described = [{**each, "path": str(each["path"])[len(export) :]} for each in describe_files(there)]
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()
