"""A submission from flags to a job that runs: decide (pure, in request.py), check, stage, send, wait."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass

from trainer.cloud import storage
from trainer.cloud.following import command
from trainer.cloud.package import ModelFiles, build_sdist, package_url, project_root, stage_model, stage_package
from trainer.cloud.request import Request, Wishes, build_request, file_arguments, with_job_dir
from trainer.cloud.schema import wrong_values
from trainer.cloud.specs import Spec, read_spec
from trainer.cloud.trials import tuned
from trainer.cloud.vertex import JobName
from trainer.job.config import Job
from trainer.job.errors import UsageError
from trainer.job.findings import Finding, errors_of
from trainer.job.flags import Parsed
from trainer.job.submission import Submission, insist, now, parse_sent, project_and_region

PLACEHOLDERS = ("PROJECT", "REGION")
REMOTE = ("gs://", "/gcs/")  # the second is where Vertex AI mounts buckets


@dataclass(frozen=True)
class Plan:
    """What will be sent, and what has to be in Cloud Storage before.

    Attributes:
      parsed: the job as this machine sees it.
      request: complete; it names the staged files as they will be called.
      staging: the folder in Cloud Storage for what the job needs of this machine.
      model: the model's own files; none for a module of an image or a package.
      package: a local sdist of this project, where the job installs one.
    """

    settings: Submission
    spec: Spec
    parsed: Parsed
    request: Request
    staging: str
    model: ModelFiles
    package: str | None

    @property
    def sent_spec(self) -> Spec:
        """The file as it will be sent, for the checks."""
        content = self.request.job_spec if self.spec.kind == "custom_job" else self.request.body
        return Spec(self.spec.path, self.spec.kind, content)


def plan(settings: Submission, words: list[str], environ: Mapping[str, str], scratch: str) -> Plan:
    """Decide what to send.

    Args:
      words: the trainer's part of the command line.
      scratch: a folder for the package, if one has to be made.

    Raises:
      UsageError: a flag or the file cannot be used as given.
      ModelError: the model's source does not tell its parameters.
    """
    spec = read_spec(settings.spec)
    refuse_unreadable(spec)
    parsed = parse_sent(words, file_arguments(spec), tuned(spec))
    job = with_job_dir(spec, parsed.job, replaces=parsed.sources["job_dir"] == "flag")
    staging = (settings.staging or f"{job.output.job_dir}/staging").rstrip("/")
    model = ModelFiles.of(job.model.model)
    sent = dataclasses.replace(job, model=dataclasses.replace(job.model, model=model.url(staging)))
    package = build_sdist(project_root(), scratch) if needs_package(spec) else None
    packages = (package_url(package, staging),) if package else ()
    request = build_request(spec, sent, wishes_of(settings, environ, packages))
    return Plan(settings, spec, dataclasses.replace(parsed, job=job), request, staging, model, package)


def refuse_unreadable(spec: Spec) -> None:
    """Raise UsageError for a value of another type than its field has: the request could not be made of it."""
    wrong = errors_of(wrong_values(spec.content, spec.kind)) if spec.kind != "legacy" else []
    if wrong:
        more = f" ({len(wrong) - 1} more: python -m trainer.check --spec={spec.path})" if len(wrong) > 1 else ""
        raise UsageError(f"{spec.path}: {wrong[0].said.rstrip('.')}{more}.")


def needs_package(spec: Spec) -> bool:
    """Whether a pool installs our code and the file does not say from where."""
    packages = [pool["pythonPackageSpec"] for pool in spec.pools if pool.get("pythonPackageSpec")]
    return any(not package.get("packageUris") for package in packages)


def wishes_of(settings: Submission, environ: Mapping[str, str], packages: tuple[str, ...]) -> Wishes:
    """What the flags say about the request. Raises UsageError for a project or a region that nobody says."""
    project, region = project_and_region(settings.project, settings.region, environ)
    if not settings.dry_run:
        project, region = insist(project, "--project", "my-project"), insist(region, "--region", "us-central1")
    return Wishes(
        project or PLACEHOLDERS[0],
        region or PLACEHOLDERS[1],
        now(),
        settings.display_name,
        settings.label_of,
        settings.service_account,
        settings.spot,
        settings.timeout_secs,
        settings.image,
        packages,
    )


def bucket_location(plan: Plan) -> str | None:
    """Where the bucket of the results is; None for what is no bucket, which the checks name. Raises StorageFailed."""
    folder = str(plan.parsed.job.output.job_dir)
    return storage.bucket_location(storage.split(folder)[0]) if storage.URL.fullmatch(folder) else None


def images(plan: Plan) -> list[str]:
    """The images that containers of the request run."""
    containers = [pool.get("containerSpec") or {} for pool in plan.request.job_spec["workerPoolSpecs"]]
    return [container["imageUri"] for container in containers if container.get("imageUri")]


def stage(plan: Plan) -> None:
    """Put into Cloud Storage what the job needs of this machine. Raises UsageError, StorageFailed."""
    if plan.model.files:
        stage_model(plan.model, plan.staging)
    if plan.package:
        stage_package(plan.package, plan.staging)


def unreachable(job: Job) -> list[Finding]:
    """Files of this machine that the flags name: no machine of the cloud has them."""
    named = {"--train-files": job.data.train_files, "--eval-files": job.data.eval_files}
    single = {"--checkpoint-dir": job.output.checkpoint_dir, "--export-dir": job.output.export_dir}
    named |= {flag: (path,) for flag, path in {**single, "--log-dir": job.output.log_dir}.items() if path}
    return [
        Finding(
            "error",
            f"{flag}={path}",
            "is on this machine, where a job in the cloud does not see it",
            f"copy it with gcloud storage cp, and write {flag}=gs://BUCKET/...",
        )
        for flag, paths in named.items()
        for path in paths
        if not path.startswith(REMOTE)
    ]


def render(request: Request, kind: str) -> str:
    """The request as --dry-run shows it: what is POSTed where."""
    if kind == "json":
        return json.dumps(request.body, indent=2, ensure_ascii=False) + "\n"
    import yaml

    where = f"# POST https://{request.region}-aiplatform.googleapis.com/{request.url_path}\n"
    return where + str(yaml.safe_dump(request.body, sort_keys=False, allow_unicode=True, width=10_000))


def next_steps(name: str) -> list[str]:
    """What to say of a job that was just made."""
    job = JobName.parse(name)
    page = "training" if job.kind == "customJobs" else "hyperparameter-tuning"
    console = f"https://console.cloud.google.com/vertex-ai/locations/{job.region}/{page}/{job.id}?project={job.project}"
    verbs = {"state": "status", "log": "logs", "end it": "cancel"}
    return [
        f"submitted {name}",
        *(f"  {what:7} {command(verb, name)}" for what, verb in verbs.items()),
        f"  page    {console}",
    ]
