"""Whether a value of a YAML or JSON file is what a field's type takes, and how to write it if not."""

from __future__ import annotations

import datetime
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from trainer.job.mistakes import closest, proposal

Problem = tuple[str, str]  # what was found and is expected; what to do

DURATION = re.compile(r"([0-9]+)(\.[0-9]{1,9})?s")
OTHER_UNITS = re.compile(r"([0-9]+)\s*(s|secs?|seconds?|m|mins?|minutes?|h|hours?|d|days?)?", re.IGNORECASE)
UNIT_SECS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
MOST_SECS = 315_576_000_000  # of google.protobuf.Duration
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)")
BITS = {"int32": 31, "int64": 63}


def whole(value: Any) -> int | None:
    """The whole number that a value is, as text too (so JSON writes an int64); None if it is none."""
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,19}", value):
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def number(value: Any) -> float | None:
    """The finite number that a value is, as text too (1e-4 is text for YAML 1.1); None if it is none."""
    if isinstance(value, str):
        value = float(value) if NUMBER.fullmatch(value) else None
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if is_number and abs(value) < 1e300 and math.isfinite(value) else None


def duration_secs(value: Any) -> float | None:
    """The seconds of a duration such as "7200s"; None if it is none."""
    secs = float(value[:-1]) if isinstance(value, str) and DURATION.fullmatch(value) else None
    return secs if secs is None or secs <= MOST_SECS else None


def shown(value: Any) -> str:
    """A value as a file has it, in one line, no longer than a line can be read."""
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."


def problem_of(value: Any, declared: str, enums: Mapping[str, Sequence[str]], key: str) -> Problem | None:
    """What is wrong with a value for a field of the declared type; None if nothing is.

    Args:
      value: as read from the file.
      declared: a type of schema.MESSAGES, an enum, a message, each with [] for a list of them.
      enums: enum -> its names.
      key: the field, for examples.
    """
    if value is None:
        return "nothing stands behind it", "give it a value, or leave the line out"
    if declared.endswith("[]"):
        return None if isinstance(value, list) else _no_list(value, key)
    if declared in enums:
        return _enum(value, enums[declared])
    return KINDS.get(declared, _message)(value)


def _no_list(value: Any, key: str) -> Problem:
    if isinstance(value, Mapping):
        first = next(iter(value), "...")
        return (
            "a mapping, where a list is expected (gcloud takes it for a list of this one entry)",
            f"begin each entry with a dash, as in - {first}:",
        )
    return f"{shown(value)} is no list", f"begin each entry of {key} with a dash, as in - {_quoted(value)}"


def _enum(value: Any, names: Sequence[str]) -> Problem | None:
    if value in names:
        return None
    known = [name for name in names if not name.endswith("_UNSPECIFIED")]
    same = [name for name in known if name == re.sub("[- ]", "_", str(value)).upper()]
    near = same or closest(str(value), known)
    remedy = proposal(near) if near else f"choose from {', '.join(known)}"
    return f"{shown(value)} is no name that Vertex AI knows here", remedy


def _string(value: Any) -> Problem | None:
    if isinstance(value, str):
        return None
    if isinstance(value, Mapping) and len(value) == 1:
        [(name, each)] = value.items()
        return f"{shown(value)} is a mapping, where text is expected", f"write {_quoted(f'{name}={_plain(each)}')}"
    if isinstance(value, (Mapping, list)):
        return f"{shown(value)} stands where text is expected", "write text in quotes"
    kind = "true/false" if isinstance(value, bool) else "a number" if isinstance(value, (int, float)) else "a date"
    return f"{shown(value)} is {kind} for YAML, where text is expected", f"write {_quoted(value)}"


def _duration(value: Any) -> Problem | None:
    if duration_secs(value) is not None:
        return None
    found = OTHER_UNITS.fullmatch(str(value).strip()) if isinstance(value, (str, int)) else None
    secs = int(found[1]) * UNIT_SECS[(found[2] or "")[:1].lower()] if found else 7200
    return f"{shown(value)} is no duration, which is seconds with an s", f'write {"" if found else "such as "}"{secs}s"'


def _timestamp(value: Any) -> Problem | None:
    fits = isinstance(value, str) and TIMESTAMP.fullmatch(value)
    return None if fits else (f"{shown(value)} is no time", 'write a time in quotes, such as "2030-01-31T12:00:00Z"')


def _int(bits: int) -> Callable[[Any], Problem | None]:
    def check(value: Any) -> Problem | None:
        found = whole(value)
        if found is not None and -(2**bits) <= found < 2**bits:
            return None
        near = number(value)
        remedy = f"write {near:.0f}" if near is not None and near == int(near) and found is None else "write one"
        return f"{shown(value)} is no whole number that fits here", remedy

    return check


def _double(value: Any) -> Problem | None:
    return None if number(value) is not None else (f"{shown(value)} is no finite number", "write one such as 0.001")


def _bool(value: Any) -> Problem | None:
    return None if isinstance(value, bool) else (f"{shown(value)} is neither true nor false", "write true or false")


def _map(value: Any) -> Problem | None:
    return None if isinstance(value, Mapping) else (f"{shown(value)} is no mapping", "write lines such as name: value")


def _message(value: Any) -> Problem | None:
    if isinstance(value, Mapping):
        return None
    return f"{shown(value)} stands where a mapping of fields is expected", "write lines such as field: value, indented"


KINDS: dict[str, Callable[[Any], Problem | None]] = {
    "string": _string,
    "duration": _duration,
    "timestamp": _timestamp,
    "int32": _int(BITS["int32"]),
    "int64": _int(BITS["int64"]),
    "double": _double,
    "bool": _bool,
    "map": _map,
}


def _plain(value: Any) -> str:
    if isinstance(value, (datetime.date, datetime.datetime)):
        return value.isoformat()
    return json.dumps(value) if isinstance(value, bool) else str(value)


def _quoted(value: Any) -> str:
    return json.dumps(_plain(value), ensure_ascii=False)
