"""The loopback Vertex's Cloud Logging: entries of jobs, filtered and paged as `entries:list` does."""

from __future__ import annotations

import datetime
import re
import threading
from collections.abc import Mapping
from typing import Any

from tests.vertex_schema import Invalid
from trainer.cloud.times import format_time, parse_time

CONDITION = re.compile(r'\s*(?:AND\s+)?([\w.]+)\s*(>=|=)\s*"([^"]*)"')
FIELDS = ("resource.type", "resource.labels.job_id", "resource.labels.task_name", "timestamp")


class Logs:
    """What the jobs of one project wrote."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: list[dict[str, Any]] = []

    def add(
        self,
        job_id: str,
        message: str,
        *,
        task: str = "workerpool0-0",
        severity: str = "INFO",
        at: datetime.datetime | None = None,
        is_text: bool = False,
    ) -> None:
        """Write an entry; the service's own are text, those of containers JSON."""
        at = at or datetime.datetime.now(datetime.timezone.utc)
        payload = {"textPayload": message} if is_text else {"jsonPayload": {"message": message, "levelname": severity}}
        labels = {"job_id": job_id, "project_id": "my-project", "task_name": task}
        with self._lock:
            entry = {
                "insertId": f"i{len(self._entries):06d}",
                "logName": f"projects/my-project/logs/{task}",
                "resource": {"type": "ml_job", "labels": labels},
                "severity": severity,
                "timestamp": format_time(at),
                **payload,
            }
            self._entries.append(entry)

    def list(self, body: Mapping[str, Any], page_size: int) -> dict[str, Any]:
        """The answer to `entries:list`. Raises Invalid."""
        unknown = set(body) - {"resourceNames", "filter", "orderBy", "pageSize", "pageToken"}
        if unknown or not body.get("resourceNames"):
            raise Invalid(f"Invalid JSON payload received. Unknown names, or no resource names: {sorted(unknown)}")
        conditions = parse_filter(body.get("filter", ""))
        with self._lock:
            found = [entry for entry in self._entries if all(_holds(entry, *each) for each in conditions)]
        found.sort(key=lambda entry: (entry["timestamp"], entry["insertId"]))
        if body.get("orderBy") != "timestamp asc":
            found.reverse()
        return page(found, "entries", min(int(body.get("pageSize", 50)), page_size), body.get("pageToken", ""))


def parse_filter(text: str) -> list[tuple[str, str, str]]:
    """Field, operator and value of each condition. Raises Invalid."""
    conditions, at = [], 0
    while text[at:].strip():
        found = CONDITION.match(text, at)
        if found is None or found[1] not in FIELDS or (found[2] == ">=") != (found[1] == "timestamp"):
            raise Invalid(f"Unparseable filter: {text[at:]}")
        conditions.append((found[1], found[2], found[3]))
        at = found.end()
    return conditions


def page(found: list[dict[str, Any]], field: str, size: int, token: str) -> dict[str, Any]:
    """One page of a list. Raises Invalid."""
    if token and not token.isdecimal():
        raise Invalid(f"Page token is not valid: {token}")
    start = int(token or 0)
    rest = {"nextPageToken": str(start + size)} if start + size < len(found) else {}
    return ({field: found[start : start + size]} if found[start:] else {}) | rest


def _holds(entry: Mapping[str, Any], field: str, operator: str, value: str) -> bool:
    if operator == ">=":
        since = parse_time(value)
        if since is None:
            raise Invalid(f"Unparseable filter: {value}")
        return parse_time(entry["timestamp"]) >= since
    have: Any = entry
    for part in field.split("."):
        have = have.get(part, {})
    return have == value
