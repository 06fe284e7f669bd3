"""All that a report says of a job, collected from its job directory, its event files, its best export and its data.

What is not there (an unfinished job, files that moved) is left empty, with a sentence why; how it looks is decided
elsewhere.
"""

from __future__ import annotations

import contextlib
import dataclasses
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf

from trainer.cloud.probing import Place, places_to_read, prove
from trainer.cloud.storage import failure_in, is_remote
from trainer.job.columns import Layout
from trainer.job.errors import DataError, JobDirError, TrainerError
from trainer.job.manifest import unknown_settings
from trainer.job.paths import JobPaths
from trainer.job.reporting import DEFAULT_ROWS
from trainer.job.settings import split_names
from trainer.training.event_files import Point, read_scalars
from trainer.training.failures import in_words
from trainer.training.records import read_evaluations, read_json
from trainer.training.report_predictions import Predictions, predict_rows
from trainer.training.verification import RESULT_FILE

KINDS = ("best", "final", "latest")  # the first that there is makes the predictions


@dataclasses.dataclass(frozen=True)
class Export:
    """One kind's newest SavedModel: its path and its verification.json, None where it was not verified yet."""

    kind: str
    path: str
    verification: Mapping[str, Any] | None


@dataclasses.dataclass(frozen=True)
class ReportData:
    """A job as found on disk.

    Attributes:
      manifest, result: the files of those names; the result is None for a job that never came to an end.
      evaluations: global step -> metrics.
      training: tag -> points, of the training's own event files (`loss`, `examples_per_sec`).
      best: the contents of best.json.
      predictions: of `predicted_by` over the first rows of `files`; None where there is a sentence in `missing`.
      missing: what the report lacks, and why.
    """

    paths: JobPaths
    manifest: Mapping[str, Any]
    result: Mapping[str, Any] | None
    evaluations: Mapping[int, Mapping[str, float]]
    training: Mapping[str, Sequence[Point]]
    exports: tuple[Export, ...]
    best: Mapping[str, Any] | None
    predicted_by: Export | None
    predictions: Predictions | None
    held_out: bool
    missing: tuple[str, ...]

    def setting(self, name: str) -> Any:
        """The value of a setting of the job."""
        return self.manifest["settings"][name]["value"]


def paths_of(job_dir: str) -> JobPaths:
    """The paths of a job that has run, wherever its directory is now.

    Raises:
      JobDirError: there is no such directory, or no job has made it.
    """
    job_dir = job_dir.rstrip("/") or job_dir
    manifest = read_json(JobPaths(job_dir).manifest)
    if manifest is None:
        what = "holds no manifest.json, so no job has made it" if tf.io.gfile.isdir(job_dir) else "is not there"
        raise JobDirError(f"{job_dir} {what}: give the --job-dir of a job that has begun to train.")
    if not isinstance(manifest, dict) or not {"settings", "data", "hyperparameters"} <= set(manifest):
        raise JobDirError(f"{job_dir}/manifest.json is not one that a job wrote: give the --job-dir of a job.")
    settings = {name: each["value"] for name, each in manifest["settings"].items()}
    checkpoints, logs = settings.get("checkpoint_dir"), settings.get("log_dir")
    return JobPaths(job_dir, checkpoints and checkpoints.rstrip("/"), logs)


def collect(paths: JobPaths, rows: int = DEFAULT_ROWS, proves: bool = False) -> ReportData:
    """Read everything; run the best export over the first `rows` rows.

    Args:
      proves: try data and logs in buckets before they are read: TensorFlow waits minutes for one that is silent.

    Raises:
      JobDirError: a file is damaged.
    """
    manifest = read_json(paths.manifest)
    exports = tuple(export for kind in KINDS if (export := _newest(paths, kind)))
    missing = [f"This version does not know the setting {name}." for name in unknown_settings(manifest)]
    predictions, training = None, dict[str, list[Point]]()
    with _missed("No curves of the training", missing):
        moved = paths.log_dir or paths.checkpoint_dir
        _prove([Place("--log-dir", moved, writes=False, is_folder=True)] if proves and moved else [])
        training = read_scalars(paths.logs)
    with _missed("No predictions", missing):
        predictions = _predictions(manifest, exports, rows, proves)
    return ReportData(
        paths=paths,
        manifest=manifest,
        result=read_json(paths.result),
        evaluations=read_evaluations(paths.evaluations),
        training=training,
        exports=exports,
        best=read_json(paths.best),
        predicted_by=exports[0] if exports else None,
        predictions=predictions,
        held_out=bool(manifest["data"].get("eval")),
        missing=tuple(missing),
    )


@contextlib.contextmanager
def _missed(what: str, missing: list[str]) -> Iterator[None]:
    """Within this context, what keeps a file from being read becomes one of the sentences."""
    try:
        yield
    except (TrainerError, OSError, tf.errors.OpError) as error:
        told = error if isinstance(error, TrainerError) else failure_in(str(error))
        missing.append(f"{what}: {told or in_words(error)}")


def _predictions(manifest: Mapping[str, Any], exports: Sequence[Export], rows: int, proves: bool) -> Predictions:
    """What the first export says of the evaluation files, or else of the training files. Raises what prevents it."""
    data = manifest["data"]
    if "input_fn" in data:
        raise DataError(
            "this module reads its data with its own input_fn, so there are no files whose rows could be shown."
        )
    if not exports:
        raise DataError("there is no export yet.")
    side = "eval" if data.get("eval") else "train"
    files = data.get(side) or []
    paths = [file["path"] for file in files]
    _prove(places_to_read(f"--{side}-files", paths) if proves else [])
    for file in files:
        _refuse_changed(file["path"], file["bytes"])
    return predict_rows(exports[0].path, paths, _layout(manifest), rows)


def _prove(places: Sequence[Place]) -> None:
    prove([place for place in places if place.is_remote])


def _refuse_changed(path: str, size: int) -> None:
    """Raises DataError for a file that is not what the job has read."""
    if not tf.io.gfile.exists(path):
        here = "" if posixpath.isabs(path) or is_remote(path) else " (seen from the current folder)"
        raise DataError(f"{path} is not there any more{here}; put it back and make the report again.")
    if tf.io.gfile.stat(path).length != size:
        raise DataError(f"{path} has changed since the job read it, so they would not be the job's.")


def _newest(paths: JobPaths, kind: str) -> Export | None:
    folder = paths.export(kind)
    names = [name.rstrip("/") for name in (tf.io.gfile.listdir(folder) if tf.io.gfile.isdir(folder) else [])]
    stamps = sorted(name for name in names if name.isdigit())
    if not stamps:
        return None
    path = f"{folder}/{stamps[-1]}"
    return Export(kind, path, read_json(f"{path}/{RESULT_FILE}"))


def _layout(manifest: Mapping[str, Any]) -> Layout:
    """How the files are written; manifests of before there was a choice have CSV."""
    defaults = {"format": "auto", "columns": (), "delimiter": "auto"}
    said = {**defaults, **{name: each["value"] for name, each in manifest["settings"].items() if name in defaults}}
    return Layout(said["format"], split_names(said["columns"]), said["delimiter"])
