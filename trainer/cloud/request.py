"""From a job and a file of the cloud's to the exact request: pure, nothing is read, asked or sent.

The file decides about machines, the job about flags. Every pool gets the same arguments, those of the shortest command
line that parses to the job: `flags.parse(request.arguments(), ...)` gives an equal job, and a test holds that.
"""

from __future__ import annotations

import copy
import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from trainer.cloud.specs import Spec
from trainer.job.config import Job
from trainer.job.errors import UsageError
from trainer.job.flags import to_argv
from trainer.job.sources import DEFAULT_FUNCTION, split_ref

Kind = Literal["customJobs", "hyperparameterTuningJobs"]
MODULE = "trainer.task"
KINDS: dict[str, Kind] = {"custom_job": "customJobs", "tuning_job": "hyperparameterTuningJobs"}


@dataclass(frozen=True)
class Wishes:
    """What flags say about the request and not about the job; None where they say nothing.

    Attributes:
      timeout_secs: the longest a job or trial may run.
      spot: whether machines may be taken away at any time, for less money.
      packages: gs:// of what is installed into a prebuilt image.
      now: for the name of a job that has none.
    """

    project: str
    region: str
    now: datetime.datetime
    display_name: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    service_account: str | None = None
    spot: bool = False
    timeout_secs: int | None = None
    image: str | None = None
    packages: tuple[str, ...] = ()


@dataclass(frozen=True)
class Request:
    """One POST to Vertex AI; `body` is the JSON of a CustomJob or a HyperparameterTuningJob."""

    kind: Kind
    project: str
    region: str
    body: dict[str, Any]

    @property
    def parent(self) -> str:
        """Where the job will be."""
        return f"projects/{self.project}/locations/{self.region}"

    @property
    def url_path(self) -> str:
        """The collection that takes the POST."""
        return f"v1/{self.parent}/{self.kind}"

    @property
    def job_spec(self) -> dict[str, Any]:
        """The CustomJobSpec within."""
        found: dict[str, Any] = self.body["jobSpec" if self.kind == "customJobs" else "trialJobSpec"]
        return found

    @property
    def arguments(self) -> list[str]:
        """What the first container is called with."""
        return container_of(self.job_spec["workerPoolSpecs"][0]).get("args", [])


def container_of(pool: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a worker pool that says what runs; the empty dict for a placeholder."""
    found: dict[str, Any] = pool.get("containerSpec") or pool.get("pythonPackageSpec") or {}
    return found


def file_arguments(spec: Spec) -> list[str]:
    """The arguments that the file gives to its pools. Raises UsageError where they differ from pool to pool."""
    own = [list(container_of(pool).get("args") or []) for pool in spec.pools if container_of(pool)]
    given = [args for args in own if args]
    for args in given:
        if args != given[0]:
            raise UsageError(
                f"{spec.path}: the args of the worker pools differ, but all replicas of a job train the same one: say "
                "them once, in the first pool."
            )
    return [_text(arg, spec.path) for arg in given[0]] if given else []


def build_request(spec: Spec, job: Job, wishes: Wishes) -> Request:
    """The request for a job, whose job directory is settled (`with_job_dir`), on the machines of a file."""
    content = copy.deepcopy(spec.content)
    job_spec = content if spec.kind == "custom_job" else content.setdefault("trialJobSpec", {})
    _fill(job_spec, job, wishes)
    name = wishes.display_name or content.get("displayName") or default_name(job, wishes.now)
    labels = {"labels": dict(wishes.labels)} if wishes.labels else {}
    if spec.kind == "custom_job":
        body = {"displayName": name, "jobSpec": job_spec, **labels}
    else:
        body = {**content, "displayName": name, **labels}
    return Request(KINDS[spec.kind], wishes.project, wishes.region, body)


def with_job_dir(spec: Spec, job: Job, replaces: bool = False) -> Job:
    """The job with the folder that its flags or the file's baseOutputDirectory say.

    `replaces`: the user typed --job-dir now, which counts more than what the file says.

    Raises:
      UsageError: nobody says where the job's results go, or the file says two different places.
    """
    base = str((spec.job_spec.get("baseOutputDirectory") or {}).get("outputUriPrefix") or "").rstrip("/")
    said = (job.output.job_dir or "").rstrip("/")
    if not base and not said:
        raise UsageError(
            f"--job-dir is missing, and {spec.path} has no baseOutputDirectory: say where in Cloud Storage the results "
            "go, such as --job-dir=gs://BUCKET/NAME; whatever a job writes on its machine is lost."
        )
    if base and said and base != said and not replaces:
        raise UsageError(
            f"{spec.path} has --job-dir={said} in args, and {base} in baseOutputDirectory, which Vertex AI tells the "
            "job too: they have to agree; leave one of them out."
        )
    return replace(job, output=replace(job.output, job_dir=said or base))


def default_name(job: Job, now: datetime.datetime) -> str:
    """The model's name and the time, such as place_names-20261124-093000."""
    source, function = split_ref(job.model.model)
    stem = source.rpartition("/")[2].removesuffix(".py").rpartition(".")[2]
    return f"{stem if function == DEFAULT_FUNCTION else f'{stem}-{function}'}-{now:%Y%m%d-%H%M%S}"


def _fill(job_spec: dict[str, Any], job: Job, wishes: Wishes) -> None:
    job_spec["baseOutputDirectory"] = {"outputUriPrefix": job.output.job_dir}
    if wishes.service_account:
        job_spec["serviceAccount"] = wishes.service_account
    scheduling = dict(job_spec.get("scheduling") or {})
    if wishes.timeout_secs is not None:
        scheduling["timeout"] = f"{wishes.timeout_secs}s"
    if wishes.spot:
        scheduling["strategy"] = "SPOT"
    if scheduling:
        job_spec["scheduling"] = scheduling
    for pool in job_spec.get("workerPoolSpecs") or []:
        _fill_pool(pool, to_argv(job), wishes)


def _fill_pool(pool: dict[str, Any], args: Sequence[str], wishes: Wishes) -> None:
    if pool.get("containerSpec"):
        pool["containerSpec"]["args"] = list(args)
        if wishes.image:
            pool["containerSpec"]["imageUri"] = wishes.image
    elif pool.get("pythonPackageSpec"):
        package = pool["pythonPackageSpec"]
        package["args"] = list(args)
        package.setdefault("pythonModule", MODULE)
        if wishes.packages and not package.get("packageUris"):
            package["packageUris"] = list(wishes.packages)
        if wishes.image:
            package["executorImageUri"] = wishes.image


def _text(arg: object, path: str) -> str:
    if isinstance(arg, str):
        return arg
    raise UsageError(f'{path}: the argument {arg!r} is no text for YAML: put it in quotes, as in "--epochs=4".')
