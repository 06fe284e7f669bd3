"""What tells whether a user's function still does the same, in another process too."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from types import CodeType, FunctionType
from typing import Any

PLAIN = (type(None), bool, int, float, str, bytes)


def code_digest(function: FunctionType) -> str:
    """The SHA-256 of a function's code, its defaults, and the functions and plain constants of its module it names.

    Comments and line numbers do not count. What it takes from other modules is not looked into.
    """
    described = _function(function, function.__globals__, set())
    return hashlib.sha256(json.dumps(described).encode()).hexdigest()


def _function(function: FunctionType, home: dict[str, Any], seen: set[str]) -> list[Any]:
    codes = list(_codes(function.__code__))
    names = sorted({name for code in codes for name in code.co_names if name in home} - seen)
    seen.update(names)
    cells = [cell.cell_contents for cell in function.__closure__ or ()]
    values = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values(), *cells]
    return [
        [_code(code) for code in codes],
        [_value(value, home, seen) for value in values],
        {name: _value(home[name], home, seen) for name in names},
    ]


def _codes(code: CodeType) -> Iterator[CodeType]:
    """A function's code, and that of the functions inside."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _code(code: CodeType) -> list[Any]:
    constants = [_plain(each) for each in code.co_consts if not isinstance(each, CodeType)]
    return [code.co_code.hex(), list(code.co_names), list(code.co_varnames), constants]


def _value(value: Any, home: dict[str, Any], seen: set[str]) -> Any:
    if isinstance(value, FunctionType) and value.__globals__ is home:
        return _function(value, home, seen)
    return _plain(value)


def _plain(value: Any) -> Any:
    """The repr of plain values and of what is made of them, sets in order; of anything else the name of its type."""
    if isinstance(value, PLAIN):
        return repr(value)
    if isinstance(value, dict):
        return [[_plain(key), _plain(each)] for key, each in value.items()]
    if isinstance(value, (set, frozenset)):
        return sorted(map(str, map(_plain, value)))
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return type(value).__name__
