"""Would this job run? Its model, its data and one step of it tried out, in a folder that is gone afterwards."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import tempfile
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import tensorflow as tf

from trainer.cloud.probing import places_of, prove
from trainer.job.config import Job, without_copies
from trainer.job.environment import Environment
from trainer.job.errors import (
    DataError,
    JobDirError,
    ModelError,
    StorageFailed,
    TrainerError,
    TrainingFailed,
    UsageError,
)
from trainer.job.findings import Finding
from trainer.job.flags import Parsed
from trainer.job.paths import JobPaths
from trainer.training.checkpoints import Start, newest_step
from trainer.training.conversion import evaluation_metric_names
from trainer.training.estimators import Engine, build_engine
from trainer.training.explanations import storage_explained, training_explained
from trainer.training.exporters import check_export_dir
from trainer.training.failures import in_words
from trainer.training.jobdir import check_free
from trainer.training.models import load_module
from trainer.training.prepare import Plan, build_checked, prepare_loaded
from trainer.training.records import copy_files, put_json, read_json
from trainer.training.stopping import StopRequest
from trainer.training.strategies import ALONE, Spread
from trainer.training.tuner import Tuner

LOG = logging.getLogger("trainer")
NO_MATTER = "see that this is what you want"
PARTS: dict[type[TrainerError], str] = {  # the part of a job that an error speaks of
    UsageError: "flags",
    ModelError: "model",
    DataError: "data",
    JobDirError: "--job-dir",
    StorageFailed: "storage",
    TrainingFailed: "first step",
}


def preflight(parsed: Parsed, environment: Environment) -> tuple[list[Finding], tuple[str, ...]]:
    """Try out a job as far as one step of training and one batch of evaluation.

    The job directory and its neighbours are left as they are, but for a file in each that is made and removed.

    Returns:
      All that is wrong or worth knowing, and the names of the metrics that an evaluation reports, `loss` among them;
      no names where that cannot be told.
    """
    os.environ.pop("TF_CONFIG", None)  # the Estimator reads it: a step of this machine alone is tried
    paths = JobPaths.of(parsed.job, environment.trial_id)
    places = check_places(parsed.job, paths)
    if any(each.where in ("--train-files", "--eval-files") for each in places):
        return places, ()  # reading them may take minutes to fail
    with tempfile.TemporaryDirectory(prefix="trainer-check-") as folder, _warnings() as warnings:
        rehearsal = Rehearsal(parsed, paths, JobPaths(folder), any(each.where == "--job-dir" for each in places))
        rehearsal.run()
        found = [finding_of(error) for error in rehearsal.errors] + rehearsal.obstacles
        found += [
            Finding("warning", rehearsal.part_of(text), text.rstrip("."), NO_MATTER) for text in dict.fromkeys(warnings)
        ]
    return [*places, *(_renamed(each, folder, paths.job_dir) for each in found)], rehearsal.metrics


def check_places(job: Job, paths: JobPaths) -> list[Finding]:
    """Whether the folders that a job writes can be written, and are not another's, and buckets can be read."""
    found = list[Finding]()
    for place in places_of(job, paths):
        refused = _errors(prove, [place])
        found += [dataclasses.replace(each, where=place.flag) for each in refused]
    return found + _errors(check_free, paths) + _errors(check_export_dir, job.output.export_dir)


@dataclasses.dataclass
class Rehearsal:
    """A job tried out in the folder `spare`; `errors` has the first of each part that does not need what failed."""

    parsed: Parsed
    paths: JobPaths
    spare: JobPaths
    is_new: bool  # the job directory cannot be used, so nothing in it is looked at
    errors: list[TrainerError] = dataclasses.field(default_factory=list)
    metrics: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    obstacles: list[Finding] = dataclasses.field(default_factory=list)

    def run(self) -> None:
        """Load, prepare, and run a step."""
        try:
            with storage_explained(self.spare):
                plan = self._prepared(load_module(self.parsed.signature))
                if plan is not None:
                    self._know(plan.manifest["model"]["metrics"])
                    self.lost = tuple(plan.manifest["lost_in_conversion"])
                    engine = run_one_step(plan)
                    self.obstacles += tpu_obstacles(engine) if plan.job.distribution.strategy == "tpu" else []
        except TrainerError as error:
            self.errors.append(error)

    def part_of(self, warning: str) -> str:
        """What a warning speaks of."""
        return "model" if warning in self.lost or ".py:" in warning else "data"

    def _prepared(self, module: ModuleType) -> Plan | None:
        try:
            start = Start(0, None) if self.is_new or self.parsed.job.output.fresh else self._copy_earlier_run()
            parsed = dataclasses.replace(self.parsed, job=without_copies(self.parsed.job))
            return prepare_loaded(module, parsed, self.spare, start, tried_as(parsed.job))
        except ModelError:
            raise
        except TrainerError as error:
            self.errors.append(error)
        if not self.parsed.signature.takes_assets:
            model, notes = build_checked(module, self.parsed.signature, self.parsed.job, {})
            self.lost = tuple(notes)
            self._know(evaluation_metric_names(model))
        return None

    def _copy_earlier_run(self) -> Start:
        """Give the rehearsal what the job would be compared with, and what it has found in the data already."""
        manifest = read_json(self.paths.manifest)
        if manifest is not None:
            put_json(self.spare.manifest, manifest)
        if tf.io.gfile.isdir(self.paths.assets):
            copy_files(self.paths.assets, self.spare.assets)
        return Start(newest_step(self.paths.checkpoints), None)

    def _know(self, names: list[str] | None) -> None:
        self.metrics = () if names is None else ("loss", *names)


def tried_as(job: Job) -> Spread:
    """One replica, by the name of the strategy, which some models do not fit; a TPU's step is looked at apart."""
    name = job.distribution.strategy
    return ALONE if name in ("auto", "tpu") else Spread(name, "as asked for")


class Silent(tf.estimator.Exporter):
    """In the place of a job's exporters."""

    name = "none"

    def export(self, *arguments: Any, **named: Any) -> None:
        """See Exporter."""


def run_one_step(plan: Plan) -> Engine:
    """Convert the model, train a step and evaluate a batch, as the job does. Raises one of the errors of the tree."""
    evaluation = dataclasses.replace(plan.job.evaluation, eval_steps=1)
    schedule = dataclasses.replace(plan.schedule, total_steps=1, eval_every_steps=1, eval_every_secs=None)
    job = dataclasses.replace(plan.job, evaluation=evaluation)
    plan = dataclasses.replace(plan, job=job, schedule=schedule, start=Start(0, None))
    try:
        with storage_explained(plan.paths), training_explained(plan.inputs, plan.paths):
            engine = build_engine(plan, Tuner(None, evaluation))
            dataclasses.replace(engine, exporters=(Silent(),)).train(StopRequest())
        return engine
    except TrainerError as error:
        if isinstance(error.__cause__, tf.estimator.NanLossDuringTrainingError):
            raise TrainingFailed(
                "the loss of the very first step is NaN or infinite: lower the learning rate, or look for missing and "
                "huge values in the data."
            ) from error
        raise
    except Exception as error:  # in losses and metrics of the user's own, most likely: the job would end with it
        LOG.debug("the first step failed", exc_info=True)
        raise TrainingFailed(f"a step failed: {in_words(error)} (--verbosity=debug shows where)") from error
    finally:
        tf.compat.v1.summary.FileWriterCache.clear()  # their folder goes


def tpu_obstacles(engine: Engine) -> list[Finding]:
    """What stands against training on a TPU, of a job that trains on the CPU."""
    from trainer.training.tpu_readiness import find_obstacles  # a second of imports that other jobs do without

    return find_obstacles(engine.estimator, engine.plan.model, engine.plan.inputs, engine.plan.job)


def finding_of(error: TrainerError) -> Finding:
    """An error of the tree, with the part of the job that it speaks of."""
    return Finding.of_error(PARTS.get(type(error), "job"), error)


def _renamed(finding: Finding, spare: str, real: str) -> Finding:
    """Messages about the rehearsal's folder are about the job's."""
    return dataclasses.replace(finding, problem=finding.problem.replace(spare, real))


def _errors(check: Any, *arguments: Any) -> list[Finding]:
    try:
        check(*arguments)
    except TrainerError as error:
        return [finding_of(error)]
    return []


@contextlib.contextmanager
def _warnings() -> Iterator[list[str]]:
    """Collect the job's warnings instead of printing them, and leave its progress out; debugging goes on as it is."""
    collector = _Collector(LOG.handlers)
    before, LOG.handlers = LOG.handlers, [collector]
    try:
        yield collector.found
    finally:
        LOG.handlers = before


class _Collector(logging.Handler):
    """Keeps warnings and passes on what is for debugging."""

    def __init__(self, others: list[logging.Handler]) -> None:
        super().__init__()
        self._others = others
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """See logging.Handler."""
        if record.levelno >= logging.WARNING:
            self.found.append(record.getMessage())
        elif record.levelno <= logging.DEBUG:
            for each in self._others:
                each.handle(record)
