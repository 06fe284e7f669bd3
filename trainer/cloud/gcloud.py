"""Jobs through the gcloud program: its login, its proxies and its settings are the user's own."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.cloud.rest import ENDPOINT_VARIABLE, oldest_first
from trainer.cloud.transport import AGAIN, endpoint, is_loopback, message_of, one_line, refusal
from trainer.cloud.vertex import (
    PATIENCE,
    SUBMISSION_LABEL,
    JobName,
    JobState,
    Patience,
    Unanswered,
    create_one,
    settle,
)
from trainer.job.errors import CloudError, TrainerError, UsageError

if TYPE_CHECKING:
    from trainer.cloud.request import Kind, Request

GROUPS: dict[Kind, str] = {"customJobs": "custom-jobs", "hyperparameterTuningJobs": "hp-tuning-jobs"}
SPOKEN_BY_FLAGS = ("displayName", "labels", "encryptionSpec")
DEADLINE_SECS = 600.0  # gcloud's own tries, a minute apart at most
REPEATED = "Retrying request to url"
ERROR = re.compile(r"^ERROR: (?:\([\w.-]+\) )?(.*)$", re.MULTILINE)
CRASHED = re.compile(r"gcloud crashed \((\w*(?:Connection|Timeout|ServerNotFound|Transport)\w*)\)")
SYSTEM_ERROR = re.compile(r"\[Errno -?\d+\] ([\w ,]+)")
HTTP_ERROR = re.compile(r"HttpError accessing .*'status': '?(\d+)'?.*content <(.*)>$")
# The words that stand before a message when it is the service's, and the status that they mean.
STATUSES = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
}
BUSY = ("RESOURCE_EXHAUSTED", "UNAVAILABLE", "INTERNAL", "DEADLINE_EXCEEDED", "ABORTED")
# gcloud asks five times by itself, in half a minute.
GCLOUD_PATIENCE = dataclasses.replace(PATIENCE, tries=2)
LOGIN = "log in with `gcloud auth login`"


def find_program() -> str | None:
    """Where gcloud is; None where it is not installed."""
    return shutil.which("gcloud")


class Gcloud:
    """A Sender."""

    def __init__(self, program: str | None = None, patience: Patience = GCLOUD_PATIENCE) -> None:
        """Use the program given, or the one that PATH has. Raises UsageError where there is none."""
        found = program or find_program()
        if found is None:
            raise UsageError("--via=gcloud: no gcloud is on PATH: install the Google Cloud CLI, or say --via=rest.")
        self._program = found
        self._patience = patience

    def create(self, request: Request) -> str:
        """Make one job, however often that takes; its full name.

        Raises:
          UsageError: the service refuses it, or gcloud has no way to say it.
          CloudError: it fails.
        """
        refuse_unspeakable(request)
        return create_one(self, request, self._patience)

    def send_once(self, request: Request) -> str:
        """Call `gcloud ai ... create`; the job's full name. Raises UsageError, CloudError or Unanswered.

        gcloud repeats by itself what had no answer, and so may make a second job: that one is cancelled.
        """
        with tempfile.TemporaryDirectory(prefix="trainer-submit-") as folder:  # readable for its owner only
            path = Path(folder) / "request.json"
            path.write_text(json.dumps(spec_of(request)), encoding="utf-8")
            flags = [f"--config={path}", *_flags(request), f"--region={request.region}", f"--project={request.project}"]
            answer, repeated = self._run(request.kind, ["create", *flags])
        name = JobState.from_resource(answer).name
        return settle(self, request, name) if repeated and SUBMISSION_LABEL in request.body["labels"] else name

    def get(self, name: str) -> JobState:
        """What the service says of it now. Raises UsageError (NotFound for an unknown name) or CloudError."""
        return JobState.from_resource(self._run_on(name, "describe"))

    def cancel(self, name: str) -> None:
        """Ask for its end. Raises UsageError (NotFound for an unknown name) or CloudError."""
        self._run_on(name, "cancel")

    def list_jobs(self, kind: Kind, project: str, region: str, labels: Mapping[str, str]) -> list[JobState]:
        """The jobs that have all these labels, oldest first. Raises UsageError or CloudError."""
        wanted = " AND ".join(f"labels.{key}={value}" for key, value in labels.items())
        flags = [f"--filter={wanted}"] if wanted else []
        found, _ = self._run(kind, ["list", *flags, f"--region={region}", f"--project={project}"])
        return oldest_first(found, labels)

    def _run_on(self, name: str, verb: str) -> Any:
        return self._run(JobName.parse(name).kind, [verb, name])[0]  # in full: --project takes no project's number

    def _run(self, kind: Kind, words: Sequence[str]) -> tuple[Any, bool]:
        """What gcloud prints as JSON, and whether it sent a request more than once."""
        argv = [self._program, "ai", GROUPS[kind], *words, "--format=json", "--quiet", "--verbosity=debug"]
        try:
            done = subprocess.run(
                argv,
                env=environment(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=DEADLINE_SECS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise Unanswered(f"gcloud was not done after {DEADLINE_SECS:.0f} s.") from None
        except OSError as error:
            raise UsageError(f"{self._program} cannot be run ({error.strerror}): mend it, or say --via=rest.") from None
        if done.returncode != 0:
            raise error_of(done.stderr, done.returncode)
        return _read(done.stdout), REPEATED in done.stderr


def environment() -> dict[str, str]:
    """That of this process; an endpoint of ours is gcloud's too, and one on this machine gets no credentials."""
    own = dict(os.environ)
    if os.environ.get(ENDPOINT_VARIABLE):
        url = endpoint(ENDPOINT_VARIABLE, "")
        own["CLOUDSDK_API_ENDPOINT_OVERRIDES_AIPLATFORM"] = url
        if is_loopback(url):
            own["CLOUDSDK_AUTH_DISABLE_CREDENTIALS"] = "true"
            own |= {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    return own


def refuse_unspeakable(request: Request) -> None:
    """Refuse what gcloud's file and flags cannot say. Raises UsageError."""
    pools = request.job_spec.get("workerPoolSpecs") or []
    empty = next((at for at, pool in enumerate(pools) if not pool), None)
    if empty is not None:
        raise UsageError(
            f"workerPoolSpecs[{empty}] is an empty placeholder, which gcloud refuses in a file: say --via=rest."
        )
    known = {"jobSpec", *SPOKEN_BY_FLAGS}
    for key in request.body if request.kind == "customJobs" else ():
        if key not in known:
            raise UsageError(f"{key} is no part of what `gcloud ai custom-jobs create` can say: say --via=rest.")
    for key, value in (request.body.get("labels") or {}).items():
        if set(f"{key}{value}") & set(",=^"):
            raise UsageError(
                f"the label {key}={value} has a comma, an equals sign or a caret, which no label may have."
            )


def spec_of(request: Request) -> Any:
    """What stands in gcloud's file; the rest is said in flags."""
    if request.kind == "customJobs":
        return request.body["jobSpec"]
    return {key: value for key, value in request.body.items() if key not in SPOKEN_BY_FLAGS}


def error_of(stderr: str, exit_code: int) -> TrainerError:
    """gcloud's last ERROR line as an error of ours, with what to do."""
    lines = ERROR.findall(stderr)
    words = one_line(lines[-1]) if lines else f"gcloud ended with exit code {exit_code} and said nothing"
    unanswered = _unanswered(lines[-1] if lines else "")
    if unanswered:
        return unanswered
    status, colon, message = words.partition(": ")
    if colon and status in STATUSES:
        return refusal("Vertex AI", STATUSES[status], message)
    if colon and status in BUSY:
        return Unanswered(f"Vertex AI answered {status}: {message}.")
    if "auth login" in stderr or "active account" in words or "credentials" in words:
        return UsageError(f"gcloud has no credentials that can be used ({words}): {LOGIN}.")
    if exit_code == 2 or "Invalid value" in words or "--" in words:
        return UsageError(f"gcloud refused the request ({words}): mend what it names, or say --via=rest.")
    return CloudError(f"gcloud failed: {words}.")


def _unanswered(line: str) -> Unanswered | None:
    """What gcloud says, in its libraries' words, after its last try."""
    gone = CRASHED.match(line)
    if gone:
        why = SYSTEM_ERROR.search(line)
        return Unanswered(f"no answer from Vertex AI through gcloud ({one_line(why[1]) if why else gone[1]}).")
    busy = HTTP_ERROR.match(line)
    if busy and int(busy[1]) in AGAIN:
        return Unanswered(f"Vertex AI answered {busy[1]}: {one_line(message_of(busy[2]) or 'no reason given')}.")
    return None


def _flags(request: Request) -> list[str]:
    body = request.body
    labels = ",".join(f"{key}={value}" for key, value in (body.get("labels") or {}).items())
    key = (body.get("encryptionSpec") or {}).get("kmsKeyName")
    flags = {"--display-name": body.get("displayName"), "--labels": labels, "--kms-key": key}
    return [f"{flag}={value}" for flag, value in flags.items() if value]


def _read(stdout: str) -> Any:
    if not stdout.strip():
        return {}
    try:
        return json.loads(stdout)
    except ValueError:
        raise CloudError("gcloud answered with something that is no JSON: say --via=rest.") from None
