"""latest, best and final: SavedModels that carry what is needed to verify and to call them.

Each holds `assets.extra/verification_rows.json`: some rows as a client sends them, and what the Estimator predicts for
them at this checkpoint; `verification.verify_exports` compares the two in a fresh process. An export is made whole in a
folder of its own before it gets its name, the time: on this machine, where it is to lie in a bucket, which has no
renaming. It gets its saved_model.pb last and loses it first, so what has one is whole.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf

from trainer.cloud.folders import files_below
from trainer.cloud.storage import is_remote
from trainer.job.config import Evaluation
from trainer.job.errors import UsageError
from trainer.job.paths import JobPaths
from trainer.job.serving import ServingSpec
from trainer.training.handouts import HANDOUTS, put_handouts, to_json
from trainer.training.inputs import Inputs
from trainer.training.records import (
    copy_files,
    put_folder,
    put_json_as_holder,
    put_text,
    read_json,
    remove_folder,
    remove_parts,
)
from trainer.training.served import GRAPH_FILE
from trainer.training.signatures import finish_signatures
from trainer.training.verification import RESULT_FILE, ROWS_FILE

LOG = logging.getLogger("trainer")
VERIFICATION_ROWS = 64
PARTS = {GRAPH_FILE, "fingerprint.pb", "variables", "assets", "assets.extra", RESULT_FILE, *HANDOUTS}
WORK = "temp-export"  # no time, so a kill leaves nothing that counts as an export
KINDS = ("latest", "best", "final")
LEFT_OVER = re.compile(r"temp-.*|.*\.unfinished|\d+")  # of ours; what else lies there is somebody's
SMALLER = (
    "loss",
    "error",
    "mae",
    "mse",
    "mape",
    "msle",
    "rmse",
    "logcosh",
    "kullback_leibler",
    "poisson",
    "hinge",
    "crossentropy",
    "false_",
)
LARGER = ("acc", "auc", "precision", "recall", "true_", "iou", "io_u", "cosine_similarity", "f1", "fbeta", "r2")

Metrics = Mapping[str, float]


def best_direction(evaluation: Evaluation, metric_names: list[str] | None) -> str:
    """`min` or `max` for --best-metric, checked against what an evaluation of this model reports.

    Raises:
      UsageError: the model has no such metric, or its name does not tell the direction and --best-mode neither.
    """
    name, mode = evaluation.best_metric, evaluation.best_mode
    if metric_names is not None and name not in (*metric_names, "loss"):
        raise UsageError(
            f"--best-metric={name}: the model reports {', '.join(sorted({*metric_names, 'loss'}))}; name one of these."
        )
    direction = known_direction(name) if mode == "auto" else mode
    if direction is None:
        raise UsageError(f"--best-metric={name}: say whether less or more of it is better with --best-mode=min or max.")
    return direction


def known_direction(name: str) -> str | None:
    """Whether less or more of a metric is better, `min` or `max`; None where its name does not tell."""
    words = name.lower()
    smaller, larger = (any(word in words for word in known) for known in (SMALLER, LARGER))
    if smaller == larger:
        return None
    return "min" if smaller else "max"


class BestValue:
    """The best value of the metric so far; it lies beside the exports, and so survives a restart."""

    def __init__(self, paths: JobPaths, metric: str, direction: str) -> None:
        self._path, self._metric, self._direction = paths.best, metric, direction

    @property
    def record(self) -> dict[str, Any] | None:
        """Metric, direction, value, global_step and export of the best evaluation; None before the first."""
        kept = read_json(self._path)
        return kept if kept and (kept["metric"], kept["direction"]) == (self._metric, self._direction) else None

    def is_beaten_by(self, metrics: Metrics) -> bool:
        """Whether this evaluation is better than all before it, also those of earlier runs."""
        value, kept = metrics[self._metric], self.record
        if kept is None or math.isnan(kept["value"]):  # nothing would ever be better than NaN
            return True
        return bool(value < kept["value"] if self._direction == "min" else value > kept["value"])

    def put(self, metrics: Metrics, export: str) -> None:
        """Keep a new best value."""
        record = {"metric": self._metric, "direction": self._direction, "value": float(metrics[self._metric])}
        put_json_as_holder(self._path, {**record, "global_step": int(metrics["global_step"]), "export": export})


class Exports:
    """Writes SavedModels below JOB_DIR/export; one checkpoint is turned into one only once, then copied."""

    def __init__(self, paths: JobPaths, inputs: Inputs, keep: int, spec: ServingSpec) -> None:
        self._paths, self._inputs, self._keep, self._spec = paths, inputs, keep, spec
        self._made: tuple[str, str] = ("", "")

    def write(self, kind: str, estimator: tf.estimator.Estimator, checkpoint: str) -> str:
        """Export a checkpoint as one of this kind, remove the oldest ones above the number to keep; its path."""
        folder, whole = self._paths.export(kind), whole_exports(self._paths.exports)
        if self._made[0] == checkpoint and self._made[1] in whole:
            path = f"{folder}/{_time(self._made[1])}"
            if path not in whole:
                put_folder(self._made[1], path, GRAPH_FILE)
        else:
            path = self._export(folder, estimator, checkpoint, whole)
            self._made = (checkpoint, path)
        of_kind = sorted({each for each in (*whole, path) if each.rpartition("/")[0] == folder}, key=_time)
        for old in of_kind[: -self._keep]:
            remove_folder(old, GRAPH_FILE)
        return path

    def remove_unfinished(self) -> None:
        """Remove what a kill in the middle of an export, or of the removal of one, left."""
        for place, is_whole in _places(self._paths.exports).items():
            if not is_whole and LEFT_OVER.fullmatch(place.rpartition("/")[2]):
                remove_folder(f"{self._paths.exports}/{place}")

    def list(self, kind: str) -> list[str]:
        """The exports of a kind that are whole, the oldest first."""
        folder = self._paths.export(kind)
        return [path for path in whole_exports(self._paths.exports) if path.rpartition("/")[0] == folder]

    def _export(self, folder: str, estimator: tf.estimator.Estimator, checkpoint: str, whole: Sequence[str]) -> str:
        with _work_folder(folder) as work:
            made = estimator.export_saved_model(work, self._inputs.receiver, checkpoint_path=checkpoint).decode()
            rows = self._verification_rows(estimator, checkpoint)
            put_handouts(made, self._spec, rows["request"], finish_signatures(made))
            put_text(f"{made}/assets.extra/{ROWS_FILE}", json.dumps(rows, ensure_ascii=False))
            # a copy keeps its time, and the newest must be the last of its kind
            path = f"{folder}/{max([_time(made), *(_time(each) + 1 for each in whole)])}"
            if is_remote(path):
                put_folder(made, path, GRAPH_FILE)
            else:
                os.rename(made, path)
        return path

    def _verification_rows(self, estimator: tf.estimator.Estimator, checkpoint: str) -> dict[str, Any]:
        predictions = list(
            estimator.predict(
                lambda: self._inputs.sample_dataset(VERIFICATION_ROWS),
                checkpoint_path=checkpoint,
                yield_single_examples=False,
            )
        )
        outputs = {name: [row for batch in predictions for row in batch[name].tolist()] for name in predictions[0]}
        request = self._inputs.sample_request(VERIFICATION_ROWS)
        known = request and {name: to_json(values) for name, values in request.items()}
        return {"request": known, "predictions": {name: to_json(values) for name, values in outputs.items()}}


@contextlib.contextmanager
def _work_folder(folder: str) -> Iterator[str]:
    """A folder beside the exports that counts as none; for those in a bucket one on this machine."""
    if is_remote(folder):
        with tempfile.TemporaryDirectory(prefix="keras-trainer-export-") as work:
            yield work
        return
    work = f"{folder}/{WORK}"
    remove_folder(work)
    os.makedirs(work)
    yield work
    remove_folder(work)


def whole_exports(folder: str) -> list[str]:
    """The paths KIND/TIME below a folder of exports that are whole, the oldest first; in a bucket, by one listing."""
    found = [f"{folder}/{place}" for place, is_whole in _places(folder).items() if is_whole]
    return sorted(found, key=_time)


def _places(folder: str) -> dict[str, bool]:
    """KIND/NAME of each folder where exports are made, and whether it is a whole one."""
    if is_remote(folder):
        names = set(files_below(folder))
        places = {"/".join(name.split("/")[:2]) for name in names if name.count("/") > 1}
    else:
        places = {f"{kind}/{name}" for kind in KINDS for name in _listed(f"{folder}/{kind}")}
        names = {each for place in places if os.path.exists(f"{folder}/{(each := f'{place}/{GRAPH_FILE}')}")}
    return {
        place: place.rpartition("/")[2].isdigit() and f"{place}/{GRAPH_FILE}" in names
        for place in sorted(places)
        if place.partition("/")[0] in KINDS
    }


def _time(export: str) -> int:
    return int(export.rpartition("/")[2])


def _listed(folder: str) -> list[str]:
    return os.listdir(folder) if os.path.isdir(folder) else []


class JobExporter(tf.estimator.Exporter):
    """One kind of export, as `tf.estimator.EvalSpec` wants it: `wanted` decides, `Exports` writes."""

    def __init__(
        self,
        kind: str,
        wanted: Callable[[Metrics, bool], bool],
        exports: Exports,
        written: Callable[[Metrics, str], None],
    ) -> None:
        self._kind, self._wanted, self._exports, self._written = kind, wanted, exports, written

    @property
    def name(self) -> str:
        """See Exporter."""
        return self._kind

    def export(
        self, estimator: Any, export_path: str, checkpoint_path: str, eval_result: Metrics, is_the_final_export: bool
    ) -> str | None:
        """See Exporter; the path is the job directory's, not Estimator's below model_dir."""
        if not self._wanted(eval_result, is_the_final_export):
            return None
        path = self._exports.write(self._kind, estimator, checkpoint_path)
        self._written(eval_result, path)
        return path


def build_exporters(kinds: tuple[str, ...], exports: Exports, best: BestValue) -> list[JobExporter]:
    """The exporters a job asks for. One is written by table: what it wants, and what it keeps of it."""
    nothing: Callable[[Metrics, str], None] = lambda metrics, path: None  # noqa: E731
    table: dict[str, tuple[Callable[[Metrics, bool], bool], Callable[[Metrics, str], None]]] = {
        "latest": (lambda metrics, final: True, nothing),
        "best": (lambda metrics, final: best.is_beaten_by(metrics), best.put),
        "final": (lambda metrics, final: final, nothing),
    }
    return [JobExporter(kind, table[kind][0], exports, table[kind][1]) for kind in table if kind in kinds]


def check_export_dir(folder: str | None) -> None:
    """Refuse a second place for the export that holds anything but an export. Raises UsageError."""
    names = tf.io.gfile.listdir(folder) if folder and tf.io.gfile.isdir(folder) else []
    others = sorted({name.rstrip("/") for name in names} - PARTS)
    if others:
        raise UsageError(
            f"--export-dir={folder} holds {others[0]}, which is no part of an export: name a folder that is empty or "
            "not there yet."
        )


def publish_export(export: str, folder: str) -> None:
    """Copy an export into `folder`, in the place of an older one."""
    remove_parts(folder, PARTS, GRAPH_FILE)
    copy_files(export, folder, GRAPH_FILE)
