"""What a request has to keep beyond its schema, found before it is sent: pure, nothing is asked of anyone."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date
from typing import Any

from trainer.cloud.pool_rules import check_pools
from trainer.cloud.schema import unknown_fields, wrong_values
from trainer.cloud.schema_values import duration_secs
from trainer.cloud.specs import Spec
from trainer.cloud.study_rules import check_study
from trainer.job.findings import Finding
from trainer.job.options import Option

REGION = re.compile(r"[a-z]+(-[a-z]+)+[0-9]+")
ZONE = re.compile(rf"({REGION.pattern})-[a-z]")
BUCKET = re.compile(r"gs://[a-z0-9][a-z0-9._-]{1,220}[a-z0-9](/.*)?")
CONTINENTS = {"us": ("us-",), "eu": ("europe-",), "asia": ("asia-",)}  # Cloud Storage's multi-regions
LABEL_LIMIT, LABEL_LENGTH = 64, 63
OLD_STRATEGIES = {"LOW_COST": "SPOT", "ON_DEMAND": "STANDARD"}


def check_spec(
    spec: Spec,
    *,
    region: str | None,
    parameters: Mapping[str, Option] | None,
    metrics: Collection[str] | None,
    today: date,
    arguments: Sequence[str] | None = None,
    bucket_location: str | None = None,
    via: str | None = None,
) -> list[Finding]:
    """Hold a file against the schema and the rules; what is not known (None) is not held against anything.

    Args:
      region: where the job shall run, such as us-central1.
      parameters: every name that a trial's flag may have, without its dashes, and what that flag takes.
      metrics: what the model reports.
      today: for images that are past their availability.
      arguments: what the container will be called with; the file's own unless given.
      bucket_location: where the bucket of the results is, as Cloud Storage says it (US-CENTRAL1, EU).
      via: `gcloud` or `rest`: who will send it.
    """
    if spec.kind == "legacy":
        return [_legacy(spec)]
    wrong = unknown_fields(spec.content, spec.kind) + wrong_values(spec.content, spec.kind)
    content = _without_empty(spec.content)
    is_study = spec.kind == "tuning_job"
    inside = "trialJobSpec." if is_study else ""
    job_spec = content.get("trialJobSpec") if is_study else content
    found = [*_missing_job(job_spec), *check_region(region, bucket_location)]
    if isinstance(job_spec, Mapping):
        found += check_pools(job_spec, inside, today, via)
        found += [*_scheduling(job_spec, inside), *_output(job_spec, inside)]
    if is_study:
        found += check_study(content, parameters, metrics, arguments)
        found += check_labels(content.get("labels"))
    known = {each.where for each in wrong if each.level == "error"}
    found = [each for each in found if each.where not in known]  # one word about a place is enough
    said = {each.where for each in found}
    return [each for each in wrong if each.level == "error" or each.where not in said] + found


def check_region(region: str | None, bucket_location: str | None = None) -> list[Finding]:
    """A zone or a typing error for a region, and a bucket that is elsewhere."""
    if region is None:
        return []
    where = f"--region={region}"
    zone = ZONE.fullmatch(region)
    if zone:
        return [Finding("error", where, "is a zone, and Vertex AI runs jobs in regions", f"write --region={zone[1]}")]
    if not REGION.fullmatch(region):
        return [Finding("error", where, "is no region", "write one such as --region=us-central1")]
    there = (bucket_location or region).lower()
    if there == region:
        return []
    near = region.startswith(CONTINENTS.get(there, ()))
    problem = f"the bucket of the results is in {there}, " + (
        "which some of Vertex AI's services refuse"
        if near
        else "and Vertex AI works with buckets of its own region: it refuses the job, or a study never starts"
    )
    remedy = f"use a bucket in {region}, as Vertex AI's documentation asks for, or another --region"
    return [Finding("warning" if near else "error", where, problem, remedy)]


def check_labels(labels: Any, where: str = "labels") -> list[Finding]:
    """Names and values as Google Cloud takes them: small letters of any alphabet, digits, - and _."""
    if not isinstance(labels, Mapping):
        return []
    found = [each for name, value in labels.items() for each in _label(name, value, f"{where}.{name}")]
    if len(labels) > LABEL_LIMIT:
        found.append(Finding("error", where, f"{len(labels)} labels, and a job takes {LABEL_LIMIT}", "leave some out"))
    return found


def _label(name: Any, value: Any, where: str) -> Iterator[Finding]:
    for text, what in ((str(name), "name"), (str(value), "value")):
        fits = all((each.isalnum() and each == each.lower()) or each in "-_" for each in text)
        if not fits or len(text) > LABEL_LENGTH:
            allowed = f"up to {LABEL_LENGTH} small letters, digits, - and _"
            proposed = re.sub(r"[^\w-]", "-", text.lower())[:LABEL_LENGTH]
            yield Finding("error", where, f"the {what} {text!r} is not {allowed}", f"write it as {proposed}")
    if not str(name)[:1].isalpha():
        yield Finding("error", where, "the name of a label begins with a letter", f"write it as label-{name}")


def _without_empty(value: Any) -> Any:
    """A copy without the fields behind which nothing stands: to the service they are missing."""
    if isinstance(value, Mapping):
        return {key: _without_empty(each) for key, each in value.items() if each is not None}
    return [_without_empty(each) for each in value] if isinstance(value, list) else value


def _legacy(spec: Spec) -> Finding:
    return Finding(
        "error",
        spec.path,
        "is a trainingInput of AI Platform Training, which was shut down on 2025-01-31",
        f"convert it: python -m trainer.submit --convert-legacy={spec.path}",
    )


def _missing_job(job_spec: Any) -> list[Finding]:
    if job_spec is not None:
        return []
    return [Finding("error", "trialJobSpec", "is missing: it says what a trial runs on", "add it: a CustomJobSpec")]


def _scheduling(job_spec: Mapping[str, Any], inside: str) -> Iterator[Finding]:
    scheduling = job_spec.get("scheduling")
    scheduling = scheduling if isinstance(scheduling, Mapping) else {}
    where = f"{inside}scheduling"
    if "timeout" not in scheduling:
        each = "a trial" if inside else "a job"
        yield Finding(
            "warning",
            f"{where}.timeout",
            f"is not set, and {each} that hangs is paid for 7 days, Vertex AI's default",
            'say how long it may take at most, such as timeout: "7200s"',
        )
    elif duration_secs(scheduling["timeout"]) == 0:
        yield Finding("error", f"{where}.timeout", "leaves no time at all", 'write some, such as timeout: "7200s"')
    strategy = str(scheduling.get("strategy"))
    if strategy in OLD_STRATEGIES:
        remedy = f"write {OLD_STRATEGIES[strategy]}"
        yield Finding("warning", f"{where}.strategy", f"{strategy} is Vertex AI's old name", remedy)


def _output(job_spec: Mapping[str, Any], inside: str) -> Iterator[Finding]:
    folder = job_spec.get("baseOutputDirectory")
    uri = folder.get("outputUriPrefix") if isinstance(folder, Mapping) else None
    where = f"{inside}baseOutputDirectory.outputUriPrefix"
    if isinstance(folder, Mapping) and uri is None:
        yield Finding("error", where, "is missing", "write where the results go, such as gs://my-bucket/first")
    if isinstance(uri, str) and not BUCKET.fullmatch(uri):
        is_elsewhere = not uri.startswith("gs://")
        known = "is no folder in Cloud Storage" if is_elsewhere else "names no bucket yet, which has small letters"
        yield Finding("error", where, f"{uri} {known}", "write it as gs://my-bucket/first")
    account = job_spec.get("serviceAccount")
    if isinstance(account, str) and not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", account):
        remedy = "write it as NAME@PROJECT.iam.gserviceaccount.com"
        yield Finding("error", f"{inside}serviceAccount", f"{account} is no address of an account", remedy)
