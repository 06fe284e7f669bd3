"""A job's logs as they are written: Cloud Logging, asked again and again, no entry twice."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from trainer.cloud.rest import Rest
from trainer.cloud.times import format_time, parse_time
from trainer.cloud.transport import Api, endpoint
from trainer.cloud.vertex import OUTAGE_SECS, JobName
from trainer.job.errors import CloudError

SERVICE = "Cloud Logging"
ENDPOINT_VARIABLE = "TRAINER_LOGGING_ENDPOINT"
POLL_SECS = 5.0  # a project may ask 60 times a minute
PAGE_SIZE = 1000
# Entries arrive late and out of order: those of the last minutes are asked for again, and known ones left out.
OVERLAP = datetime.timedelta(minutes=2)
LAST_LOOKS = 2  # after a job's end, for entries that are still on their way
CHIEF = "workerpool0-0"

Key = tuple[str, str, str]


def logging_api(rest: Rest, region: str) -> Api:
    """Cloud Logging through the session of a sender. Raises UsageError without credentials."""
    return rest.api(region).sibling(SERVICE, endpoint(ENDPOINT_VARIABLE, "https://logging.googleapis.com/"))


def read_logs(api: Api, name: str) -> Iterator[str]:
    """The lines that are there now, oldest first. Raises UsageError or CloudError."""
    for entry in _entries(api, JobName.parse(name), None):
        yield from lines_of(entry)


def follow_logs(
    api: Api,
    name: str,
    is_over: Callable[[], bool],
    sleep: Callable[[float], object] = time.sleep,
    now: Callable[[], float] = time.monotonic,
) -> Iterator[str]:
    """The lines of a job's logs until it is over and nothing more comes.

    Args:
      is_over: asked before each look, so that the look after a yes finds what was written until then.

    Raises:
      UsageError: no permission to read logs, or no credentials.
      CloudError: no answer for 15 minutes.
    """
    job, tail, looks, answered = JobName.parse(name), _Tail(), 0, now()
    while looks < LAST_LOOKS:
        is_quiet = True
        try:
            over = is_over()
            for entry in _entries(api, job, tail.since):
                if tail.is_new(entry):
                    is_quiet = False
                    yield from lines_of(entry)
        except CloudError:
            if now() - answered > OUTAGE_SECS:
                raise
        else:
            answered = now()
            looks = looks + 1 if over and is_quiet else 0
            tail.forget()
        if looks < LAST_LOOKS:
            sleep(POLL_SECS)


def lines_of(entry: Mapping[str, Any]) -> list[str]:
    """What an entry says, line by line; those of other replicas than the chief with the replica's name before them."""
    payload = entry.get("jsonPayload") or {}
    message = str(entry.get("textPayload") or payload.get("message") or "")
    task = str(((entry.get("resource") or {}).get("labels") or {}).get("task_name") or CHIEF)
    prefix = "" if task in (CHIEF, "service") else f"{task}: "
    return [prefix + line for line in message.splitlines()]


class _Tail:
    """Which entries were seen, as far back as they are asked for again."""

    def __init__(self) -> None:
        self._seen: dict[Key, datetime.datetime] = {}
        self._latest: datetime.datetime | None = None

    @property
    def since(self) -> datetime.datetime | None:
        """The time from which on to ask; None at the beginning."""
        return self._latest - OVERLAP if self._latest else None

    def is_new(self, entry: Mapping[str, Any]) -> bool:
        """Whether it was not seen before; from now on it was."""
        stamp = str(entry.get("timestamp"))
        key = str(entry.get("logName")), stamp, str(entry.get("insertId"))
        at = parse_time(stamp) or datetime.datetime.min.replace(tzinfo=datetime.timezone.utc)
        self._latest = max(self._latest or at, at)
        if key in self._seen:
            return False
        self._seen[key] = at
        return True

    def forget(self) -> None:
        """Drop what is never asked for again."""
        since = self.since
        if since:
            self._seen = {key: at for key, at in self._seen.items() if at >= since}


def _entries(api: Api, job: JobName, since: datetime.datetime | None) -> Iterator[dict[str, Any]]:
    wanted = f'resource.type="ml_job" AND resource.labels.job_id="{job.id}"'
    if since:
        wanted += f' AND timestamp>="{format_time(since)}"'
    body = {
        "resourceNames": [f"projects/{job.project}"],
        "filter": wanted,
        "orderBy": "timestamp asc",
        "pageSize": PAGE_SIZE,
    }
    return api.pages("POST", "v2/entries:list", "entries", {}, body)
