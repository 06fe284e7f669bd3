"""Jobs over Vertex AI's REST API, with google-auth's session: needs no program and no large library."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from trainer.cloud.transport import Api, endpoint, open_session
from trainer.cloud.vertex import PATIENCE, JobName, JobState, Patience, create_one
from trainer.job.errors import CloudError

if TYPE_CHECKING:
    from trainer.cloud.request import Kind, Request

SERVICE = "Vertex AI"
ENDPOINT_VARIABLE = "TRAINER_VERTEX_ENDPOINT"
PAGE_SIZE = "100"


class Rest:
    """A Sender; nothing is opened before it is needed. Close it, or use it in a `with`."""

    def __init__(self, credentials: Any = None, patience: Patience = PATIENCE) -> None:
        """Use the default chain of credentials if none are given (none at all on a loopback address)."""
        self._credentials = credentials
        self._patience = patience
        self._first: Api | None = None

    def __enter__(self) -> Rest:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        if self._first is not None:
            self._first.session.close()

    def api(self, region: str) -> Api:
        """The service in a region, for other callers too. Raises UsageError without credentials."""
        url = endpoint(ENDPOINT_VARIABLE, f"https://{region}-aiplatform.googleapis.com/")
        if self._first is None:
            self._first = Api(SERVICE, url, open_session(url, self._credentials), self._patience)
        return self._first.sibling(SERVICE, url)

    def create(self, request: Request) -> str:
        """Make one job, however often that takes; its full name. Raises UsageError or CloudError."""
        return create_one(self, request, self._patience)

    def send_once(self, request: Request) -> str:
        """POST it once; the job's full name. Raises UsageError, CloudError, or Unanswered where it may exist."""
        answer = self.api(request.region).call("POST", request.url_path, body=request.body, tries=1)
        return JobState.from_resource(answer).name

    def get(self, name: str) -> JobState:
        """What the service says of it now. Raises UsageError (NotFound for an unknown name) or CloudError."""
        return JobState.from_resource(self._at(name).call("GET", f"v1/{name}"))

    def cancel(self, name: str) -> None:
        """Ask for its end. Raises UsageError (NotFound for an unknown name) or CloudError."""
        self._at(name).call("POST", f"v1/{name}:cancel", body={})

    def list_jobs(self, kind: Kind, project: str, region: str, labels: Mapping[str, str]) -> list[JobState]:
        """The jobs that have all these labels, oldest first. Raises UsageError or CloudError."""
        wanted = " AND ".join(f'labels.{key}="{value}"' for key, value in labels.items())
        params = {"pageSize": PAGE_SIZE, **({"filter": wanted} if wanted else {})}
        found = self.api(region).pages("GET", f"v1/projects/{project}/locations/{region}/{kind}", kind, params)
        return oldest_first(found, labels)

    def _at(self, name: str) -> Api:
        return self.api(JobName.parse(name).region)


def oldest_first(resources: Any, labels: Mapping[str, str]) -> list[JobState]:
    """States of the resources that have the labels: a service that ignored a filter must not have a job adopted."""
    own = [each for each in resources if labels.items() <= (each.get("labels") or {}).items()]
    states = [JobState.from_resource(each) for each in own]
    if any(state.created is None for state in states):
        raise CloudError(f"{SERVICE} listed a job without the time of its creation: try again.")
    return sorted(states, key=lambda state: (state.created, state.name))
