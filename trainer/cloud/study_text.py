"""Values of a study's file as its format (the JSON of a proto) allows them: numbers may stand there as text."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from trainer.job.errors import UsageError


def mapping(given: Any, where: str) -> Mapping[str, Any]:
    """Names to values. Raises UsageError."""
    if not isinstance(given, dict):
        raise UsageError(f"{where}: expected names and values below it, found {_shown(given)}.")
    return given


def listed(given: Any, where: str) -> list[Any]:
    """A list. Raises UsageError."""
    if not isinstance(given, list):
        raise UsageError(f"{where}: expected a list, found {_shown(given)}.")
    return given


def text(given: Any, where: str) -> str:
    """Text that is not empty. Raises UsageError: YAML makes numbers and truths of words without quotes."""
    if not isinstance(given, str) or not given:
        raise UsageError(f'{where}: expected text, found {_shown(given)}: write it in quotes, such as "16".')
    return given


def number(given: Any, where: str) -> float:
    """A finite number, also as text (YAML 1.1 takes 1e-3 for text). Raises UsageError."""
    try:
        value = math.nan if isinstance(given, bool) else float(given)
    except (TypeError, ValueError, OverflowError):
        value = math.nan
    if not math.isfinite(value):
        raise UsageError(f"{where}: expected a number, found {_shown(given)}.")
    return value


def whole(given: Any, where: str) -> int:
    """A whole number, also as text, as JSON writes 64 bits. Raises UsageError."""
    value = number(given, where)
    if not value.is_integer():
        raise UsageError(f"{where}: expected a whole number, found {_shown(given)}.")
    return int(given) if isinstance(given, (int, str)) and str(given).lstrip("+-").isdigit() else int(value)


def truth(given: Any, where: str) -> bool:
    """True or false; nothing is false. Raises UsageError."""
    if given not in (None, True, False):
        raise UsageError(f"{where}: expected true or false, found {_shown(given)}.")
    return bool(given)


def _shown(given: Any) -> str:
    return "nothing" if given is None else repr(given)
