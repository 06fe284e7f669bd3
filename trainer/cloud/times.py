"""Times as Google's services write them: `2026-11-24T02:18:06.123456789Z`."""

from __future__ import annotations

import datetime
import re

RFC3339 = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)")


def parse_time(text: object) -> datetime.datetime | None:
    """A time in UTC, to the microsecond; None for anything that is no time."""
    found = RFC3339.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        return None
    seconds, fraction, zone = found.groups()
    micros = (fraction or "").ljust(6, "0")[:6]
    at = datetime.datetime.fromisoformat(f"{seconds}.{micros}{'+00:00' if zone == 'Z' else zone}")
    return at.astimezone(datetime.timezone.utc)


def format_time(at: datetime.datetime) -> str:
    """The same time as the services read it."""
    return at.astimezone(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
