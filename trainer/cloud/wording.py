"""How a value from a file stands in a sentence: one line, not too long, nothing that a terminal would obey."""

from __future__ import annotations

import json
from typing import Any

WIDTH = 100


def shown(value: Any) -> str:
    """A value in one short line: text as it is, all else as JSON."""
    text = value if isinstance(value, str) else json.dumps(value)
    return printable(text if len(text) <= WIDTH else f"{text[: WIDTH - 3]}...")


def printable(text: str) -> str:
    """Text with its line breaks and control characters as escapes, such as \\n."""
    return "".join(each if each.isprintable() else json.dumps(each)[1:-1] for each in text)
