"""The rules of a study: what Vertex AI takes, and what the trainer's flags and metrics make of it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from trainer.cloud.parameter_rules import check_parameters
from trainer.cloud.schema_values import whole
from trainer.job.findings import Finding
from trainer.job.mistakes import closest, proposal
from trainer.job.options import Option

RESERVED_METRICS = ("global_step", "trial", "timestamp", "checkpoint_path")  # cloudml-hypertune's own keys
DEFAULT_METRIC = "training/hptuning/metric"  # of AI Platform
BETTER = {"MAXIMIZE": ("accuracy", "auc", "precision", "recall"), "MINIMIZE": ("loss", "error", "mae", "mse", "rmse")}


def check_study(
    content: Mapping[str, Any],
    parameters: Mapping[str, Option] | None,
    metrics: Collection[str] | None,
    arguments: Sequence[str] | None,
) -> list[Finding]:
    """Check the study of a HyperparameterTuningJob; the last three as for `rules.check_spec`."""
    found = [*_counts(content)]
    study = content.get("studySpec")
    if study is None:
        found.append(Finding("error", "studySpec", "is missing: it says what to tune and by which metric", "add it"))
    if not isinstance(study, Mapping):
        return found
    if "observationNoise" in study:
        found.append(Finding("error", "studySpec.observationNoise", "tuning jobs do not support it", "leave it out"))
    found += _metrics(study.get("metrics"), metrics)
    args = _arguments(content) if arguments is None else arguments
    return found + check_parameters(study, parameters, args)


def _counts(content: Mapping[str, Any]) -> Iterator[Finding]:
    most, parallel, failed = (
        whole(content.get(key)) for key in ("maxTrialCount", "parallelTrialCount", "maxFailedTrialCount")
    )
    for key, example in (("maxTrialCount", "20"), ("parallelTrialCount", "2")):
        count = whole(content.get(key))
        if key not in content:
            yield Finding("error", key, "is missing, and Vertex AI has no default for it", f"add {key}: {example}")
        elif count is not None and count < 1:
            yield Finding("error", key, f"{count}, where at least 1 is needed", f"write {key}: {example}")
    if most and parallel and parallel > most > 0:
        problem = f"{parallel} trials at once, of {most} in all"
        yield Finding("error", "parallelTrialCount", problem, f"write at most {most}")
    if failed is not None and failed < 0:
        remedy = "write 0, which leaves it to Vertex AI, or how many may fail"
        yield Finding("error", "maxFailedTrialCount", f"{failed} is below 0", remedy)


def _metrics(said: Any, reported: Collection[str] | None) -> Iterator[Finding]:
    where = "studySpec.metrics"
    if said in (None, []):
        yield Finding("error", where, "is missing: trials are compared by a metric", "add one with metricId and goal")
    for number, metric in enumerate(said if isinstance(said, list) else []):
        if isinstance(metric, Mapping):
            yield from _metric(metric, f"{where}[{number}]", reported)
    if isinstance(said, list) and len(said) > 1:
        problem = f"{len(said)} metrics, and with more than one no trial is the best"
        yield Finding("warning", where, problem, "keep the one that decides; python -m trainer.sweep takes one only")


def _metric(metric: Mapping[str, Any], where: str, reported: Collection[str] | None) -> Iterator[Finding]:
    name, goal = metric.get("metricId"), metric.get("goal")
    if goal in (None, "GOAL_TYPE_UNSPECIFIED"):
        remedy = "add goal: MAXIMIZE or goal: MINIMIZE"
        yield Finding("error", f"{where}.goal", "is missing: it says which of two trials is better", remedy)
    if name in (None, ""):
        yield Finding("error", f"{where}.metricId", "is missing", "name a metric that the model reports, such as loss")
    elif isinstance(name, str):
        yield from _name(name, f"{where}.metricId", reported)
        worse = [
            aim for aim, ends in BETTER.items() if name.lower().endswith(ends) and str(goal) in BETTER and aim != goal
        ]
        if worse:
            yield Finding("warning", f"{where}.goal", f"{goal} looks for the worst {name}", f"write goal: {worse[0]}")


def _name(name: str, where: str, reported: Collection[str] | None) -> Iterator[Finding]:
    if name in RESERVED_METRICS:
        problem = f"{name} is a name that cloudml-hypertune keeps for itself, so the value never arrives"
        yield Finding("error", where, problem, "give the model's metric another name")
    elif reported and name not in reported:
        near = [DEFAULT_METRIC] if name == DEFAULT_METRIC else closest(name, reported)
        remedy = proposal(near) if near and near != [DEFAULT_METRIC] else f"it reports {', '.join(sorted(reported))}"
        yield Finding("error", where, f"the model reports no {name}", remedy)


def _arguments(content: Mapping[str, Any]) -> list[str]:
    """What the trials' containers are called with, as far as the file can be read."""
    job_spec = content.get("trialJobSpec")
    pools = job_spec.get("workerPoolSpecs") if isinstance(job_spec, Mapping) else None
    programs = [
        pool.get(key)
        for pool in (pools if isinstance(pools, list) else [])
        if isinstance(pool, Mapping)
        for key in ("containerSpec", "pythonPackageSpec")
    ]
    args = [program.get("args") for program in programs if isinstance(program, Mapping)]
    return [arg for each in args if isinstance(each, list) for arg in each if isinstance(arg, str)]
