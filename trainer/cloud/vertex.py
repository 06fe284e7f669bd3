"""What a sender of jobs can do, and what both have in common: names, states, and a create that makes one job only."""

from __future__ import annotations

import dataclasses
import datetime
import random
import re
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

from trainer.cloud.times import parse_time
from trainer.job.errors import CloudError, Interrupted, TrainerError, UsageError

if TYPE_CHECKING:
    from trainer.cloud.request import Kind, Request

OUTAGE_SECS = 900.0  # a job of hours outlives a service, or a laptop's network, that is away for minutes
KINDS = ("customJobs", "hyperparameterTuningJobs")
SUBMISSION_LABEL = "trainer-submission"
SUCCEEDED = ("JOB_STATE_SUCCEEDED", "JOB_STATE_PARTIALLY_SUCCEEDED")
OVER = (*SUCCEEDED, "JOB_STATE_FAILED", "JOB_STATE_CANCELLED", "JOB_STATE_EXPIRED")
NAME = re.compile(rf"projects/([^/\s]+)/locations/([^/\s]+)/({'|'.join(KINDS)})/([0-9]+)")
# They become part of a host's name and a path, and a token goes there.
REGION = re.compile(r"[a-z]+(-[a-z]+)+[0-9]+")
PROJECT = re.compile(r"([a-z0-9.-]+:)?[a-z0-9-]+")


class Unanswered(CloudError):
    """Nobody knows whether the service did what it was asked: no answer came, or one that says to try again.

    Attributes:
      wait_secs: how long the service asked to be left alone, 0 where it said nothing.
    """

    wait_secs = 0.0


class NotFound(UsageError):
    """The service knows no job, project or region of that name."""


@dataclass(frozen=True)
class Patience:
    """How long to wait for a service that does not answer, and how often to ask it again.

    Pauses double from `first_secs` up to `longest_secs`, give or take a half at random: five of them are 31 s.
    """

    tries: int = 6
    first_secs: float = 1.0
    longest_secs: float = 30.0
    connect_secs: float = 10.0
    answer_secs: float = 60.0

    def pause(self, failures: int, at_least_secs: float = 0.0) -> None:
        """Wait after so many failures, and as long as the service asked for (within `longest_secs`)."""
        doubled = self.first_secs * 2 ** (failures - 1)
        asked = min(at_least_secs, self.longest_secs)
        time.sleep(max(min(doubled, self.longest_secs) * random.uniform(0.5, 1.5), asked))


PATIENCE = Patience()


@dataclass(frozen=True)
class JobName:
    """The full name of a job: `projects/P/locations/R/customJobs/ID`."""

    project: str
    region: str
    kind: Kind
    id: str

    def __str__(self) -> str:
        return f"projects/{self.project}/locations/{self.region}/{self.kind}/{self.id}"

    @classmethod
    def parse(cls, text: str) -> JobName:
        """Read a full name. Raises UsageError."""
        found = NAME.fullmatch(text.strip())
        if found is None:
            raise UsageError(
                f"{text or 'an empty name'} is no name of a job: give its ID, digits as in 1234567890, or its full "
                "name, as in projects/PROJECT/locations/REGION/customJobs/1234567890."
            )
        project, region, kind, number = found.groups()
        check_place(project, region)
        return cls(project, region, cast("Kind", kind), number)


@dataclass(frozen=True)
class JobState:
    """What the service says of a job at one moment; times are in UTC, None where it did not come to that yet.

    Attributes:
      name: its full name.
      state: the service's own word, such as JOB_STATE_RUNNING.
      error: why it failed, in the service's words; empty where it says nothing.
    """

    name: str
    state: str
    display_name: str = ""
    created: datetime.datetime | None = None
    started: datetime.datetime | None = None
    ended: datetime.datetime | None = None
    error: str = ""

    @classmethod
    def from_resource(cls, resource: Mapping[str, Any]) -> JobState:
        """Read the JSON of a CustomJob or a HyperparameterTuningJob. Raises CloudError where it is neither."""
        name = resource.get("name")
        if not isinstance(name, str) or NAME.fullmatch(name) is None:
            raise CloudError(f"Vertex AI answered with something that is no job (its name is {name!r}): try again.")
        created, started, ended = (parse_time(resource.get(key)) for key in ("createTime", "startTime", "endTime"))
        error = " ".join(str((resource.get("error") or {}).get("message") or "").split())
        state = str(resource.get("state") or "JOB_STATE_UNSPECIFIED")
        return cls(name, state, str(resource.get("displayName") or ""), created, started, ended, error)

    @property
    def is_over(self) -> bool:
        """Whether it will not change any more."""
        return self.state in OVER

    @property
    def succeeded(self) -> bool:
        return self.state in SUCCEEDED

    @property
    def word(self) -> str:
        """The state in a word: running, succeeded."""
        return self.state.removeprefix("JOB_STATE_").lower().replace("_", " ")


class Sender(Protocol):
    """A way to the service: REST or the gcloud program.

    Every method raises UsageError where the service refuses what the user gave (NotFound for a name that it does not
    know), and CloudError where it fails.
    """

    def create(self, request: Request) -> str:
        """Make one job, however often that takes; its full name."""
        ...

    def send_once(self, request: Request) -> str:
        """Try once to make a job; its full name. Raises Unanswered where it may exist all the same."""
        ...

    def get(self, name: str) -> JobState: ...

    def cancel(self, name: str) -> None:
        """Ask for a job's end; nothing happens to one that is over."""
        ...

    def list_jobs(self, kind: Kind, project: str, region: str, labels: Mapping[str, str]) -> list[JobState]:
        """The jobs of a kind that have all these labels, oldest first."""
        ...


def check_place(project: str, region: str) -> None:
    """Raises UsageError for what can be neither a project nor a region."""
    if not PROJECT.fullmatch(project):
        raise UsageError(f"--project={project}: expected the ID of a project, as in my-project-123.")
    if not REGION.fullmatch(region):
        raise UsageError(f"--region={region}: expected a region of Google Cloud, as in us-central1.")


def job_names(text: str, project: str | None, region: str | None) -> list[JobName]:
    """What a user's word for a job may name: one full name, or an ID as a custom job and as a tuning job.

    Raises:
      UsageError: it is neither, or an ID without a project and a region.
    """
    if not re.fullmatch("[0-9]+", text.strip()):
        return [JobName.parse(text)]
    missing = [flag for flag, value in (("--project", project), ("--region", region)) if not value]
    if not project or not region:
        raise UsageError(
            f"{text} is the ID of a job, and {' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing: "
            "say where it is, or give its full name, as in projects/PROJECT/locations/REGION/customJobs/ID."
        )
    check_place(project, region)
    return [JobName(project, region, cast("Kind", kind), text.strip()) for kind in KINDS]


def find_job(sender: Sender, text: str, project: str | None = None, region: str | None = None) -> JobState:
    """The job that a user names by ID or in full. Raises UsageError (NotFound where there is none) or CloudError."""
    names = job_names(text, project, region)
    for name in names:
        try:
            return sender.get(str(name))
        except NotFound:
            if len(names) == 1:
                raise
    raise NotFound(
        f"there is no job {text} in project {project} and region {region}, neither a custom job nor a tuning job: "
        "check the ID, --project and --region."
    )


def create_one(sender: Sender, request: Request, patience: Patience) -> str:
    """Make one job and not two, though an answer may be lost: Vertex AI takes no id of ours that would tell them apart.

    So each submission has a label of its own, and after a try that had no answer, the job that has it is looked for
    first. What is listed may lag behind, and gcloud repeats requests by itself: where several are found in the end,
    the oldest stays.

    Raises:
      UsageError: the service refuses the request.
      CloudError: it fails again and again; the message says whether a job may exist.
      Interrupted: Ctrl-C came while nobody knew whether there is a job.
    """
    check_place(request.project, request.region)
    labels = {**_labels(request), SUBMISSION_LABEL: uuid.uuid4().hex}
    labelled = dataclasses.replace(request, body={**request.body, "labels": labels})
    try:
        return _create(sender, labelled, patience)
    except KeyboardInterrupt:
        raise Interrupted(
            f"stopped while a job was submitted, and it may have been made: {_where(labelled)}."
        ) from None


def _create(sender: Sender, request: Request, patience: Patience) -> str:
    for failures in range(1, patience.tries + 1):
        try:
            name = sender.send_once(request)
        except Unanswered as error:
            last = error
        else:
            return name if failures == 1 else settle(sender, request, name)
        patience.pause(failures, last.wait_secs)
        found = _look(sender, request, last)
        if found:
            return found
    raise CloudError(f"{str(last).rstrip('.')}; no job is listed after {patience.tries} tries: submit again later.")


def _labels(request: Request) -> Mapping[str, str]:
    return request.body.get("labels") or {}


def settle(sender: Sender, request: Request, name: str) -> str:
    """Keep one of the jobs that a request made, when it may have been sent more than once; its full name."""
    try:
        return _keep_oldest(sender, request) or name
    except TrainerError:
        return name  # it is there, and a twin is unlikely: no reason to tell the user that nothing was submitted


def _look(sender: Sender, request: Request, lost: Unanswered) -> str | None:
    try:
        return _keep_oldest(sender, request)
    except TrainerError as error:
        raise CloudError(
            f"{str(lost).rstrip('.')}, and whether the job was made could not be seen either: {_where(request)}."
        ) from error


def _where(request: Request) -> str:
    return (
        f"before you submit again, look in project {request.project}, region {request.region}, for a job with the "
        f"label {SUBMISSION_LABEL}={_labels(request)[SUBMISSION_LABEL]}"
    )


def _keep_oldest(sender: Sender, request: Request) -> str | None:
    label = {SUBMISSION_LABEL: _labels(request)[SUBMISSION_LABEL]}
    found = sender.list_jobs(request.kind, request.project, request.region, label)
    for twin in found[1:]:
        sender.cancel(twin.name)
    return found[0].name if found else None
