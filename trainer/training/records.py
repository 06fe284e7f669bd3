"""The JSON files of a job directory: written whole or not at all, local or gs://."""

from __future__ import annotations

import json
from typing import Any

import tensorflow as tf

from trainer.job.errors import JobDirError


def put_json(path: str, value: Any) -> None:
    """Write a JSON file in one step: a reader, or a kill, sees the old one or the new one."""
    put_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: str) -> Any:
    """The content of a JSON file; None where there is none. Raises JobDirError for one that is damaged."""
    if not tf.io.gfile.exists(path):
        return None
    try:
        return json.loads(_text(path))
    except ValueError as error:
        raise JobDirError(f"{path} is not JSON ({error}): mend it, or start anew with --fresh.") from error


def read_evaluations(path: str) -> dict[int, dict[str, float]]:
    """Global step -> metrics, of all evaluations so far, in the order of their steps. Raises JobDirError."""
    if not tf.io.gfile.exists(path):
        return {}
    try:
        lines = [json.loads(line) for line in _text(path).splitlines()]
        return {line.pop("global_step"): line for line in sorted(lines, key=lambda line: line["global_step"])}
    except (ValueError, KeyError, TypeError) as error:
        raise JobDirError(
            f"{path} does not hold one evaluation a line ({error}): mend it, or start anew with --fresh."
        ) from error


def put_evaluation(path: str, step: int, metrics: dict[str, float]) -> None:
    """Add an evaluation; one of the same step, from before a restart, gives way."""
    known = {**read_evaluations(path), step: metrics}
    lines = [json.dumps({"global_step": step, **known[step]}) for step in sorted(known)]
    put_text(path, "".join(line + "\n" for line in lines))


def copy_folder(source: str, target: str) -> None:
    """Copy a folder so that `target` appears whole or not at all."""
    unfinished = target.rstrip("/") + ".unfinished"
    if tf.io.gfile.exists(unfinished):
        tf.io.gfile.rmtree(unfinished)
    copy_files(source, unfinished)
    tf.io.gfile.rename(unfinished, target)


def copy_files(source: str, target: str) -> None:
    """Copy all files below a folder into another one."""
    for folder, _, files in tf.io.gfile.walk(source):
        below = target.rstrip("/") + folder[len(source.rstrip("/")) :]
        tf.io.gfile.makedirs(below)
        for name in files:
            tf.io.gfile.copy(f"{folder.rstrip('/')}/{name}", f"{below.rstrip('/')}/{name}", overwrite=True)


def put_text(path: str, text: str) -> None:
    """Write a file in one step."""
    with tf.io.gfile.GFile(path + ".unfinished", "wb") as file:
        file.write(text.encode())
    tf.io.gfile.rename(path + ".unfinished", path, overwrite=True)


def _text(path: str) -> str:
    with tf.io.gfile.GFile(path, "rb") as file:
        return str(file.read().decode())
