"""The scalars of TensorBoard event files, as curves; what a killed run wrote past its last checkpoint is left out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import tensorflow as tf

PREFIX = "events.out.tfevents."


@dataclasses.dataclass(frozen=True)
class Point:
    """One scalar: the global step, the seconds since 1970 at which it was written, the value."""

    step: int
    at_secs: float
    value: float


def read_scalars(folder: str) -> dict[str, list[Point]]:
    """Tag -> its points in the order of their steps, of the files in this folder alone.

    A run that resumes at a step replaces what earlier ones wrote from that step on.
    """
    curves: dict[str, list[Point]] = {}
    for path in _event_files(folder):
        found: dict[str, list[Point]] = {}
        for tag, point in _scalars(path):
            found.setdefault(tag, []).append(point)
        for tag, points in found.items():
            kept = [point for point in curves.get(tag, []) if point.step < points[0].step]
            curves[tag] = kept + points
    return curves


def _event_files(folder: str) -> list[str]:
    """Oldest first: the name goes on with the second in which the file was made."""
    names = tf.io.gfile.listdir(folder) if tf.io.gfile.isdir(folder) else []
    return [f"{folder}/{name}" for name in sorted(names) if name.startswith(PREFIX)]


def _scalars(path: str) -> Iterator[tuple[str, Point]]:
    try:
        for record in tf.data.TFRecordDataset(path).as_numpy_iterator():
            event = tf.compat.v1.Event.FromString(record)
            for value in event.summary.value:
                if value.HasField("simple_value"):
                    yield value.tag, Point(event.step, event.wall_time, value.simple_value)
    except tf.errors.DataLossError:  # a kill cuts the last record in half; those before it are whole
        return
