"""Find what is wrong with a job before time or money is spent on it: `python -m trainer.check --help`."""

from __future__ import annotations

import dataclasses
import datetime
import os
import re
import sys
from collections.abc import Sequence

from trainer.cloud.cluster_rules import check_cluster
from trainer.cloud.costs import Prices, machine_hours, price_lines, read_prices
from trainer.cloud.request import file_arguments, with_job_dir
from trainer.cloud.rules import BUCKET, check_spec
from trainer.cloud.schema import wrong_values
from trainer.cloud.specs import Spec, read_spec
from trainer.cloud.trials import first_trial, tuned
from trainer.door import answer
from trainer.job.checking import parse_checked, parse_checking, tunable
from trainer.job.config import without_copies
from trainer.job.environment import Environment
from trainer.job.errors import ModelError, UsageError
from trainer.job.findings import Finding, counted, errors_of, listed
from trainer.job.fitting import refuse_unfit
from trainer.job.flags import Parsed, to_argv
from trainer.training.stopping import StopRequest

TOP = r"(trialJobSpec|(trialJobSpec\.)?"
ARGS = re.compile(rf"{TOP}workerPoolSpecs(\[\d+\](\.(containerSpec|pythonPackageSpec)(\.args.*)?)?)?)")
NO_SETTINGS = ("-h", "--help", "--version", "--config")  # a config file would be one of this machine
OUTPUT = re.compile(rf"{TOP}baseOutputDirectory.*)")


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the flags, check, print what was found; 2 where that has errors, else 0."""
    return answer("trainer.check", run, argv, "stopped before the end: nothing was sent or kept.")


def run(argv: list[str], stop: StopRequest) -> int:
    """Check what the flags describe. Raises UsageError for flags, HelpRequested or KeyboardInterrupt."""
    try:
        exit_code = examine(argv, stop)
    except Exception as error:
        if stop.requested:  # TensorFlow may have made another error of the interrupt
            raise KeyboardInterrupt from error
        raise
    return exit_code


def examine(argv: list[str], stop: StopRequest) -> int:
    """Look at everything, and print what was found. Raises as `run` does."""
    settings, words = parse_checking(argv)
    prices = read_prices(settings.prices) if settings.prices else None
    spec, found = _read(settings.spec)
    environment = Environment() if spec else Environment.from_environ(os.environ)
    parsed = None if found else _parsed(words, spec, environment, found)
    if spec and parsed:
        spec, parsed = _with_job_dir(spec, parsed, found)
    via = None if settings.via == "auto" else settings.via
    found += check(spec, parsed, environment, region=settings.region, via=via, local=settings.local)
    if stop.requested:
        raise KeyboardInterrupt
    print(report(found, spec, prices))
    return 2 if errors_of(found) else 0


def report(found: Sequence[Finding], spec: Spec | None, prices: Prices | None) -> str:
    """All findings, what the job can cost at most, and the counts."""
    return "\n".join([*listed(found), *cost_lines(spec, prices), counted(found)])


def check(
    spec: Spec | None,
    parsed: Parsed | None,
    environment: Environment,
    *,
    region: str | None = None,
    bucket_location: str | None = None,
    via: str | None = None,
    local: bool = True,
) -> list[Finding]:
    """Everything that can be found about a job, and about the file it would be sent with.

    Args:
      spec: the file; None for a job on this machine.
      parsed: the job that the container would run; None where that cannot be told.
      environment: this machine's for a job that runs here, an empty one for a container's.
      region, bucket_location, via: as for `rules.check_spec`.
      local: whether to build the model and train a step here.
    """
    tried, untold = first_trial(spec, parsed) if parsed else (None, [])
    if tried and spec is not None:
        tried = dataclasses.replace(tried, job=without_copies(tried.job))
    here, metrics = _local(tried, environment) if local and tried else ([], ())
    if spec is None:
        return (_unfit_strategy(parsed, environment) if parsed else []) + here
    there = check_spec(
        spec,
        region=region,
        parameters=tunable(parsed.signature) if parsed else None,
        metrics=metrics or None,
        today=datetime.datetime.now(datetime.timezone.utc).date(),
        arguments=to_argv(parsed.job) if parsed else None,
        bucket_location=bucket_location,
        via=via,
    )
    if parsed and spec.kind != "legacy":
        there += check_cluster(spec.pools, parsed.job.distribution.strategy)
    return there + untold + here


def _unfit_strategy(parsed: Parsed, environment: Environment) -> list[Finding]:
    """Whether the job's strategy is one for this machine, or for the cluster that it belongs to."""
    try:
        refuse_unfit(parsed.job.distribution.strategy, environment.cluster)
    except UsageError as error:
        return [Finding.of_error("flags", error)]
    return []


def cost_lines(spec: Spec | None, prices: Prices | None) -> list[str]:
    """The upper bound of machine-hours, and of money by the user's prices; nothing where the file leaves it open."""
    if spec is None or spec.kind == "legacy":
        return []
    trials = spec.content.get("maxTrialCount", 0) if spec.kind == "tuning_job" else None
    bound = machine_hours(spec.job_spec, trials)
    return [str(bound), *price_lines(bound, prices)] if bound else []


def _read(path: str | None) -> tuple[Spec | None, list[Finding]]:
    """The file, and why its args cannot be read, without which nobody knows the job."""
    spec = None
    try:
        spec = read_spec(path) if path else None
        args = file_arguments(spec) if spec and spec.kind != "legacy" and not _unreadable(spec, ARGS) else []
    except UsageError as error:
        return spec, [Finding.of_error(f"--spec={path}", error)]
    no_settings = [arg for arg in args if arg.partition("=")[0] in NO_SETTINGS]
    remedy = "leave it out, and write the settings themselves"
    return spec, [Finding("error", "args", f"{arg} says nothing of the job", remedy) for arg in no_settings]


def _parsed(words: list[str], spec: Spec | None, environment: Environment, found: list[Finding]) -> Parsed | None:
    """The job; None where the file or the model's source does not tell. Raises UsageError for flags."""
    if spec and (spec.kind == "legacy" or _unreadable(spec, ARGS)):
        return None
    below = file_arguments(spec) if spec else []
    try:
        return parse_checked(words, environment, below, tuned(spec))
    except ModelError as error:
        found.append(Finding.of_error("--model", error))
    except UsageError:
        wrong = _mistake_in(below, environment, tuned(spec))
        if wrong is None:
            raise
        found.append(wrong)
    return None


def _mistake_in(args: list[str], environment: Environment, elsewhere: frozenset[str]) -> Finding | None:
    """What the trainer says to the file's args alone."""
    try:
        parse_checked([], environment, args, elsewhere)
    except (UsageError, ModelError) as error:
        return Finding.of_error("args", error)
    return None


def _with_job_dir(spec: Spec, parsed: Parsed, found: list[Finding]) -> tuple[Spec, Parsed]:
    """File and job with the folder that the request will name: a flag replaces the file's."""
    if parsed.sources["job_dir"] == "flag":
        job_spec = {**spec.job_spec, "baseOutputDirectory": {"outputUriPrefix": parsed.job.output.job_dir}}
        content = job_spec if spec.kind == "custom_job" else {**spec.content, "trialJobSpec": job_spec}
        return dataclasses.replace(spec, content=content), parsed
    if not _unreadable(spec, OUTPUT):
        try:
            return spec, dataclasses.replace(parsed, job=with_job_dir(spec, parsed.job))
        except UsageError as error:
            found.append(Finding.of_error("job directory", error))
    return spec, parsed


def _unreadable(spec: Spec, part: re.Pattern[str]) -> bool:
    """Whether a value of another type stands somewhere on the way to a part of the file; `check_spec` names it."""
    return any(part.fullmatch(each.where) for each in errors_of(wrong_values(spec.content, spec.kind)))


def _local(parsed: Parsed, environment: Environment) -> tuple[list[Finding], tuple[str, ...]]:
    """What building the model and training a step of it finds, and the metrics that it reports."""
    folder = parsed.job.output.job_dir or ""
    if folder.startswith("gs://") and not BUCKET.fullmatch(folder):
        remedy = "name the bucket, and check again"
        return [Finding("warning", "model", f"not tried, as {folder} is no place for its results", remedy)], ()
    from trainer import quiet  # what follows takes seconds: parsing and --help do without

    quiet.set_up(parsed.job.output.verbosity)
    from trainer.training.preflight import preflight

    return preflight(parsed, environment)


if __name__ == "__main__":
    sys.exit(main())
