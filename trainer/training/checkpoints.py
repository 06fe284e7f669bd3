"""Which checkpoint a job goes on from: the newest that can be read, and never silently step 0.

TensorFlow alone takes the newest whatever its state, has no fall-back, and takes a `checkpoint` file that is
garbage for no checkpoint at all.
"""

from __future__ import annotations

import dataclasses
import logging
import re

import tensorflow as tf

from trainer.job.errors import StorageFailed
from trainer.training.records import put_text

LOG = logging.getLogger("trainer")
PREFIX = "model.ckpt-"
STATE = "checkpoint"
DAMAGED = "damaged"
COMPLETE = re.compile(re.escape(PREFIX) + r"(\d+)\.index")
UNFINISHED = re.compile(re.escape(PREFIX) + r"\d+.*(_temp|\.tempstate\d+|\.tmp\w*)")


@dataclasses.dataclass(frozen=True)
class Start:
    """The global step a job starts at, and the checkpoint that holds it (None: a new job).

    `follows`: another process, the chief, has settled that, and the job directory is its.
    """

    step: int
    checkpoint: str | None
    follows: bool = False


def newest_step(folder: str) -> int:
    """The step of the newest checkpoint, whatever its state, or 0; the folder is left as it is."""
    names = tf.io.gfile.listdir(folder) if tf.io.gfile.isdir(folder) else []
    return max((int(match[1]) for match in map(COMPLETE.fullmatch, names) if match), default=0)


def find_start(folder: str) -> Start:
    """Find the newest checkpoint that can be read; set damaged ones aside and say so.

    Raises:
      StorageFailed: there were checkpoints but none can be read.
    """
    names = tf.io.gfile.listdir(folder) if tf.io.gfile.isdir(folder) else []
    names = [name.rstrip("/") for name in names]
    _remove_unfinished(folder, names)
    steps = sorted(int(match[1]) for match in map(COMPLETE.fullmatch, names) if match)
    recorded = _recorded(folder) if STATE in names else None
    if not steps:
        for trace in (STATE, DAMAGED):
            if trace in names:
                raise StorageFailed(
                    f"{folder}/{trace} says there were checkpoints, but none is there: put them back, or start anew "
                    "with --fresh."
                )
        return Start(0, None)
    good = _newest_readable(folder, steps, names)
    if recorded != good:
        _put_state(folder, [step for step in steps if step <= good], recorded)
    return Start(good, _prefix(folder, good))


def _newest_readable(folder: str, steps: list[int], names: list[str]) -> int:
    for step in reversed(steps):
        problem = read_problem(_prefix(folder, step), step)
        if problem is None:
            return step
        LOG.warning("checkpoint %s is damaged (%s): set aside in %s/%s", step, problem, folder, DAMAGED)
        _set_aside(folder, step, names)
    raise StorageFailed(
        f"no checkpoint in {folder} can be read: all are in {folder}/{DAMAGED} now; put back a copy, or start anew "
        "with --fresh."
    )


def read_problem(prefix: str, step: int) -> str | None:
    """Read every tensor of a checkpoint, which compares checksums; what is wrong with it, or None."""
    try:
        reader = tf.train.load_checkpoint(prefix)
        for name in reader.get_variable_to_shape_map():
            value = reader.get_tensor(name)
            if name == "global_step" and int(value) != step:
                return f"it holds step {int(value)}"
    except (tf.errors.OpError, LookupError, ValueError, RuntimeError, MemoryError) as error:  # IndexError: cut off
        return " ".join(str(error).split())[:160]
    return None


def _recorded(folder: str) -> int | None:
    """The step that the `checkpoint` file calls the newest; None where it is garbage."""
    try:
        state = tf.train.get_checkpoint_state(folder)
    except ValueError:  # an empty file, or bytes that are no text
        return None
    match = state and COMPLETE.fullmatch(state.model_checkpoint_path.rpartition("/")[2] + ".index")
    return int(match[1]) if match else None


def _put_state(folder: str, steps: list[int], recorded: int | None) -> None:
    newest = steps[-1]
    if recorded is None:
        LOG.warning(
            "%s/%s is missing or garbage: going on from checkpoint %s, the newest there is", folder, STATE, newest
        )
    paths = [f'all_model_checkpoint_paths: "{PREFIX}{step}"\n' for step in steps]
    # relative, so that the folder may move; TensorFlow's update_checkpoint_state writes absolute ones only
    put_text(f"{folder}/{STATE}", f'model_checkpoint_path: "{PREFIX}{newest}"\n' + "".join(paths))


def _remove_unfinished(folder: str, names: list[str]) -> None:
    """What a kill in the middle of a save leaves behind."""
    for name in names:
        if UNFINISHED.match(name):
            path = f"{folder}/{name}"
            tf.io.gfile.rmtree(path) if tf.io.gfile.isdir(path) else tf.io.gfile.remove(path)


def _set_aside(folder: str, step: int, names: list[str]) -> None:
    tf.io.gfile.makedirs(f"{folder}/{DAMAGED}")
    for name in names:
        if name.startswith(f"{PREFIX}{step}."):
            tf.io.gfile.rename(f"{folder}/{name}", f"{folder}/{DAMAGED}/{name}", overwrite=True)


def _prefix(folder: str, step: int) -> str:
    return f"{folder}/{PREFIX}{step}"
