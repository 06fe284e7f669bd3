"""Everything that is settled before the first step, so that what can go wrong goes wrong in the first seconds."""

from __future__ import annotations

import dataclasses
import logging
import os
import types
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from trainer.job.config import Job
from trainer.job.flags import Parsed
from trainer.job.manifest import (
    FORMAT,
    asset_difference,
    columns_difference,
    data_difference,
    describe_hyperparameters,
    describe_settings,
    git_commit,
    versions,
)
from trainer.job.paths import JobPaths
from trainer.job.schedule import Schedule, plan_schedule
from trainer.job.signature import ModelSignature
from trainer.training.checkpoints import PREFIX, Start, find_start
from trainer.training.conversion import check_conversion, evaluation_metric_names, watch_build
from trainer.training.converter import fresh_session
from trainer.training.data import open_data
from trainer.training.devices import check_precision, describe_devices, set_precision
from trainer.training.early_stopping import check_early_stopping, stopped_at
from trainer.training.effective import describe_effective
from trainer.training.exporters import best_direction
from trainer.training.files import describe_files
from trainer.training.fingerprint import describe_model, difference
from trainer.training.inputs import Inputs
from trainer.training.jobdir import move_aside, refuse_other_job
from trainer.training.models import build_model, load_module
from trainer.training.records import put_json_as_holder, read_evaluations, read_json
from trainer.training.replicas import fitted
from trainer.training.strategies import ALONE, Spread, describe, per_replica_batch_size
from trainer.training.weights import weights_difference

LOG = logging.getLogger("trainer")


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a job will do: all of it decided, nothing of it done."""

    job: Job
    paths: JobPaths
    model: tf.keras.Model
    inputs: Inputs
    schedule: Schedule
    start: Start
    best_direction: str
    manifest: Mapping[str, Any]
    spread: Spread = ALONE
    early_direction: str | None = None

    @property
    def stops_early_at(self) -> int | None:
        """The step of the evaluation after which --early-stop-metric ends training; None while it goes on."""
        name, training = self.job.training.early_stop_metric, self.job.training
        if name is None or self.early_direction is None:
            return None
        known = read_evaluations(self.paths.evaluations)
        return stopped_at(known, name, self.early_direction, training.early_stop_patience)

    @property
    def is_trained(self) -> bool:
        """Whether what it starts from is the end of training."""
        return self.start.step >= self.schedule.total_steps or self.stops_early_at is not None


def prepare(parsed: Parsed, paths: JobPaths, spread: Spread = ALONE) -> Plan:
    """Settle a job. Raises one of the errors of `trainer.job.errors`."""
    return prepare_loaded(load_module(parsed.signature), parsed, paths, spread=spread)


def prepare_to_follow(parsed: Parsed, paths: JobPaths, spread: Spread, step: int) -> Plan:
    """Settle what the chief has settled, for another process of its job, and change nothing on disk.

    Raises one of the errors of `trainer.job.errors`, such as JobDirError where this process was given another job.
    """
    job = dataclasses.replace(parsed.job, output=dataclasses.replace(parsed.job.output, fresh=False))
    start = Start(step, f"{paths.checkpoints}/{PREFIX}{step}", follows=True)
    return prepare_loaded(load_module(parsed.signature), dataclasses.replace(parsed, job=job), paths, start, spread)


def prepare_loaded(
    module: types.ModuleType,
    parsed: Parsed,
    paths: JobPaths,
    start: Start | None = None,
    spread: Spread = ALONE,
) -> Plan:
    """Settle a job whose module is loaded; `start` stands for what the checkpoints in `paths` say."""
    job, signature = parsed.job, parsed.signature
    per_replica_batch_size(spread, job.data.batch_size)
    data = open_data(module, job)
    described = data.described
    if job.output.fresh and (moved := move_aside(paths)):
        LOG.info("the earlier run was moved to %s", moved)
    old = read_json(paths.manifest)
    start = start or find_start(paths.checkpoints)
    if old and (changed := data_difference(old.get("data", {}), described)):
        _give_way(paths, start, old, changed)
    assets = data.find_assets(module, job, paths, bool(start.step))
    model, notes = build_checked(module, signature, job, assets, spread.name)
    hardware = describe_devices(job.distribution, model)
    spread = fitted(spread, model)
    inputs = data.plan(module, model, job, paths, assets, bool(start.step))
    facts = {
        "data": {**described, **data.counts, "columns": inputs.columns, "weights": inputs.weights.to_json()},
        "assets": _hashes(paths),
        "model": describe_model(model),
    }
    if old:
        _give_way(paths, start, old, _changed(old, facts), (paths.checkpoints,))
    metrics = evaluation_metric_names(model)
    direction = best_direction(job.evaluation, metrics) if "best" in job.evaluation.exporters else "min"
    early_direction = check_early_stopping(job, metrics)
    schedule = plan_schedule(job, data.examples(job))
    facts["effective"] = {**describe_effective(facts["model"], job, schedule), **describe(spread, job), **hardware}
    manifest = _manifest(parsed, signature, facts, notes)
    return Plan(job, paths, model, inputs, schedule, start, direction, manifest, spread, early_direction)


def put_manifest(plan: Plan) -> None:
    """Write what `--config=JOB_DIR/manifest.json` runs again."""
    put_json_as_holder(plan.paths.manifest, plan.manifest)


def build_checked(
    module: types.ModuleType,
    signature: ModelSignature,
    job: Job,
    assets: Mapping[str, str],
    strategy: str = ALONE.name,
) -> tuple[tf.keras.Model, list[str]]:
    """The model, and what its conversion would lose though the user allows it. Raises ModelError."""
    fresh_session(job.training.seed, deterministic=job.training.deterministic)
    set_precision(job.distribution)
    with watch_build() as notes:
        model = build_model(module, signature, dict(job.hyperparameters), assets)
    check_precision(job.distribution, model)
    warnings = check_conversion(
        model, allow_lossy=job.model.allow_lossy_conversion, strategy=strategy, build_notes=notes
    )
    for warning in warnings:
        LOG.warning("%s", warning)
    return model, warnings


def _hashes(paths: JobPaths) -> dict[str, str]:
    files = describe_files(sorted(tf.io.gfile.glob(f"{paths.assets}/*.txt")))
    return {os.path.basename(str(file["path"])).removesuffix(".txt"): str(file["sha256"]) for file in files}


def _give_way(
    paths: JobPaths, start: Start, old: Mapping[str, Any], changed: list[str], names: tuple[str, ...] | None = None
) -> None:
    """Refuse another job's folder once it holds steps; before that nothing is lost by moving its files aside."""
    if changed and (start.step or start.follows):
        refuse_other_job(paths, old, changed)
    elif changed:
        move_aside(paths, names)


def _changed(old: Mapping[str, Any], facts: Mapping[str, Any]) -> list[str]:
    """What makes this another job than that of an old manifest, in words."""
    columns, weights = facts["data"]["columns"], facts["data"]["weights"]
    changed = columns_difference(old["data"].get("columns", columns), columns)
    changed += weights_difference(old["data"].get("weights", {}), weights)
    return changed + asset_difference(old.get("assets", {}), facts["assets"]) + difference(old["model"], facts["model"])


def _manifest(parsed: Parsed, signature: ModelSignature, facts: Mapping[str, Any], notes: list[str]) -> dict[str, Any]:
    defaults = {each.name: each.default for each in signature.parameters}
    return {
        "format": FORMAT,
        "settings": describe_settings(parsed.job, parsed.sources),
        "hyperparameters": describe_hyperparameters(parsed.job, parsed.sources, defaults),
        "code": {
            "file": signature.path,
            "function": signature.function,
            "git": git_commit(os.path.dirname(signature.path)),
        },
        "versions": versions(),
        **facts,
        "lost_in_conversion": notes,
    }
