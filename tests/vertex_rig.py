"""A Vertex AI and a Cloud Logging on a loopback port: strict, with faults on demand, and able to run what it is sent.

    with Vertex(buckets={"my-bucket": folder}, runs=folder) as vertex:
        subprocess.run([...], env={**os.environ, **vertex.env})

Requests are read with Google's own messages (`vertex_schema`), jobs run as processes (`vertex_jobs`).
"""

from __future__ import annotations

import datetime
import re
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.vertex_jobs import Replica, container_of
from tests.vertex_logs import Logs, page
from tests.vertex_schema import Invalid, normal
from tests.vertex_server import Fault, Refusal, Seen, Server
from trainer.cloud.times import format_time

ROUTE = re.compile(
    r"/(?P<version>v1|v1beta1)/projects/[^/]+/locations/(?P<region>[^/]+)"
    r"/(?P<kind>customJobs|hyperparameterTuningJobs)(?:/(?P<id>\d+))?(?::(?P<verb>\w+))?"
)
PROJECT_NUMBER = "123456789012"  # what the service calls a project in the names of its jobs, whatever it was called
CONDITION = re.compile(r'\s*(?:AND\s+)?(state|display_name|labels\.[\w-]+)\s*=\s*"([^"]*)"')
OVER = ("JOB_STATE_SUCCEEDED", "JOB_STATE_FAILED", "JOB_STATE_CANCELLED")


class Vertex:
    """The server; `requests` is its log, `jobs` what it keeps, by full name."""

    def __init__(
        self, buckets: Mapping[str, Path] | None = None, runs: Path | None = None, page_size: int = 1000
    ) -> None:
        """Listen on a free port.

        Args:
          buckets: folders in place of buckets, for the jobs that run.
          runs: where custom jobs run; they stay queued if None.
          page_size: the most that a page of a list has, whatever a client asks for.
        """
        self.buckets, self.runs, self.page_size = dict(buckets or {}), runs, page_size
        self.jobs: dict[str, dict[str, Any]] = {}
        self.requests: list[Seen] = []
        self.logs = Logs()
        self._faults: list[Fault] = []
        self._replicas: dict[str, Replica] = {}
        self._threads: list[threading.Thread] = []
        self._is_closing = False
        self.lock = threading.RLock()
        self._server = Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/"

    @property
    def env(self) -> dict[str, str]:
        """What leads clients here, gcloud included (give it a CLOUDSDK_CONFIG of its own)."""
        return {
            "TRAINER_VERTEX_ENDPOINT": self.url,
            "TRAINER_LOGGING_ENDPOINT": self.url,
            "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_AIPLATFORM": self.url,
            "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "true",
        }

    def __enter__(self) -> Vertex:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """End what runs, close the port."""
        with self.lock:
            self._is_closing = True
            running = list(self._replicas.values())
        for replica in running:
            replica.stop()
        for thread in self._threads:
            thread.join()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def fail(self, match: str, how: int | str, **more: Any) -> None:
        """Have the next requests that match fail (see Fault)."""
        with self.lock:
            self._faults.append(Fault(match, how, **more))

    def posts(self) -> list[Seen]:
        """The requests that wanted to make a job."""
        return [each for each in self.requests if each.method == "POST" and each.path.endswith("Jobs")]

    def wait_for(self, name: str, *states: str, deadline_secs: float = 150.0) -> dict[str, Any]:
        """Wait until a job is in one of these states; the job."""
        end = time.monotonic() + deadline_secs
        while self.jobs[name]["state"] not in states:
            assert time.monotonic() < end, f"not within {deadline_secs} s: {states}, but {self.jobs[name]['state']}"
            time.sleep(0.02)
        return self.jobs[name]

    def set_state(self, name: str, state: str, error: str = "") -> None:
        """Move a job on, with the times that belong to it."""
        with self.lock:
            job, now = self.jobs[name], format_time(datetime.datetime.now(datetime.timezone.utc))
            job |= {"state": state, "updateTime": now}
            if state == "JOB_STATE_RUNNING":
                job["startTime"] = now
            if state in OVER:
                job["endTime"] = now
            if error:
                job["error"] = {"code": 3, "message": error}

    def take_fault(self, request: str) -> Fault | None:
        """The fault for a request, counted."""
        with self.lock:
            for fault in self._faults:
                if fault.times and re.search(fault.match, request):
                    if fault.skip:
                        fault.skip -= 1
                        return None
                    fault.times -= 1
                    return fault
        return None

    def answer(self, seen: Seen) -> dict[str, Any]:
        """Do what a request asks for. Raises Refusal or Invalid."""
        if seen.path == "/v2/entries:list" and seen.method == "POST":
            return self.logs.list(seen.body, self.page_size)
        route = ROUTE.fullmatch(seen.path)
        if route is None:
            raise Refusal(404, "")
        collection = f"projects/{PROJECT_NUMBER}/locations/{route['region']}/{route['kind']}"
        with self.lock:
            if route["id"] is None and seen.method == "POST":
                return self._create(route, collection, seen.body)
            if route["id"] is None:
                return self._list(route["kind"], collection, seen.query)
            name = f"{collection}/{route['id']}"
            if name not in self.jobs:
                raise Refusal(404, f"The {route['kind'][:-1]} does not exist: {name}.")
            if seen.method == "DELETE":
                del self.jobs[name]
                return {"name": f"{name}/operations/1", "done": True}
            if route["verb"] == "cancel" and seen.method == "POST":
                self._cancel(name)
                return {}
            return self.jobs[name]

    def _create(self, route: re.Match[str], collection: str, body: object) -> dict[str, Any]:
        job = normal(route["kind"], body, route["version"])
        number = str(1_000_000_000_000_000_001 + len(self.jobs))
        name = f"{collection}/{number}"
        now = format_time(datetime.datetime.now(datetime.timezone.utc))
        self.jobs[name] = {"name": name, **job, "state": "JOB_STATE_QUEUED", "createTime": now, "updateTime": now}
        if self.runs is not None and route["kind"] == "customJobs":
            thread = threading.Thread(target=self._run, args=(name, number, self.runs))
            self._threads.append(thread)
            thread.start()
        return self.jobs[name]

    def _list(self, kind: str, collection: str, query: Mapping[str, str]) -> dict[str, Any]:
        conditions, text, at = [], query.get("filter", ""), 0
        while text[at:].strip():
            found = CONDITION.match(text, at)
            if found is None:
                raise Invalid(f"Invalid filter: {text[at:]}")
            conditions.append((found[1], found[2]))
            at = found.end()
        jobs = [job for name, job in self.jobs.items() if name.startswith(f"{collection}/")]
        fitting = [job for job in jobs if all(_value(job, field) == value for field, value in conditions)]
        size = min(int(query.get("pageSize", self.page_size)), self.page_size)
        return page(list(reversed(fitting)), kind, size, query.get("pageToken", ""))  # newest first

    def _cancel(self, name: str) -> None:
        if self.jobs[name]["state"] in OVER:
            return
        replica = self._replicas.get(name)
        self.set_state(name, "JOB_STATE_CANCELLING" if replica or self.runs else "JOB_STATE_CANCELLED")
        if replica:
            thread = threading.Thread(target=replica.stop)
            self._threads.append(thread)
            thread.start()

    def _run(self, name: str, number: str, folder: Path) -> None:
        """A job from queued to its end."""
        self.logs.add(number, "Waiting for job to be provisioned.", task="service", is_text=True)
        with self.lock:
            if self._is_closing or self.jobs[name]["state"] == "JOB_STATE_CANCELLING":
                return self.set_state(name, "JOB_STATE_CANCELLED")
            container = container_of(self.jobs[name], PROJECT_NUMBER, number, self.buckets)
            replica = Replica(
                container,
                folder,
                lambda line, is_error: self.logs.add(number, line, severity="ERROR" if is_error else "INFO"),
            )
            self._replicas[name] = replica
            self.set_state(name, "JOB_STATE_RUNNING")
        exit_code = replica.wait()
        with self.lock:
            del self._replicas[name]
            cancelled = self.jobs[name]["state"] == "JOB_STATE_CANCELLING"
            if cancelled:
                return self.set_state(name, "JOB_STATE_CANCELLED", "CANCELED")
            if exit_code == 0:
                self.logs.add(number, "Job completed successfully.", task="service", is_text=True)
                return self.set_state(name, "JOB_STATE_SUCCEEDED")
            said = f"The replica workerpool0-0 exited with a non-zero status of {exit_code}."
            return self.set_state(name, "JOB_STATE_FAILED", said)


def _value(job: Mapping[str, Any], field: str) -> object:
    if field.startswith("labels."):
        return job.get("labels", {}).get(field.removeprefix("labels."))
    return job["displayName" if field == "display_name" else field]
