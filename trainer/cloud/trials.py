"""What a study means for a job that is not a trial yet: some hyperparameters have no value before a trial gives one."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from trainer.cloud.specs import Spec
from trainer.cloud.study import Study
from trainer.job.environment import Environment
from trainer.job.errors import UsageError
from trainer.job.findings import Finding
from trainer.job.flags import Parsed, parse, to_argv

WHERE = "studySpec.parameters"


def tuned(spec: Spec | None) -> frozenset[str]:
    """The hyperparameters that a file's study sets, as Python spells them; as far as the file can be read."""
    if spec is None or spec.kind != "tuning_job":
        return frozenset()
    return frozenset(each.replace("-", "_") for each in _names(spec.content.get("studySpec")))


def first_trial(spec: Spec | None, parsed: Parsed) -> tuple[Parsed | None, list[Finding]]:
    """The job with a value for everything, so that it can be tried out.

    Returns:
      The job; where parameters of the model without default are left to the study, with values of a trial that has
      the least of each. None where the study does not tell them, and why, unless the checks of the file say it.
    """
    unset = {each.name for each in parsed.signature.parameters if each.required} - {*dict(parsed.job.hyperparameters)}
    if spec is None or not unset:
        return parsed, []
    try:
        study = Study.of(spec.content)
    except UsageError as error:
        return None, [Finding("warning", "model", f"not tried: {error}", "mend the study, and check again")]
    trials = [{name.replace("-", "_"): flag for name, flag in _flags(study, values)} for values in study.samples()]
    for trial in trials:
        for name in sorted(unset - set(trial)):
            problem = f"a trial with {' '.join(trial.values())} would have no --{name.replace('_', '-')}"
            remedy = f"let all trials have one, or give it a default in {parsed.signature.function}"
            return None, [Finding("error", WHERE, problem, remedy)]
    flags = [flag for name, flag in trials[0].items() if name in unset]
    try:
        job = parse([*to_argv(parsed.job), *flags], Environment()).job
    except UsageError:  # the check of each parameter's values names it
        return None, []
    return dataclasses.replace(parsed, job=job), []


def _flags(study: Study, values: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for flag in study.flags(values):
        yield flag[2:].partition("=")[0], flag


def _names(given: Any) -> Iterator[str]:
    """Every parameterId, at any depth."""
    if isinstance(given, dict):
        if isinstance(given.get("parameterId"), str):
            yield given["parameterId"]
        for each in given.values():
            yield from _names(each)
    elif isinstance(given, list):
        for each in given:
            yield from _names(each)
