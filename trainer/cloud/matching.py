"""Which objects in Cloud Storage a name or a pattern means, by one list of those that begin alike.

TensorFlow's `glob` and `isdir` ask three times for each object: a thousand shards would take minutes before a job
begins.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from trainer.cloud.asking import TRAINING_SECS
from trainer.cloud.storage import objects_below

WILD = re.compile(r"[*?\[\\]")
TOKEN = re.compile(r"\*|\?|\\(?P<literal>.)|\[(?P<but>[!^]?)(?P<letters>\]?(?:\\.|[^\]\\])*)\]|(?P<other>.)", re.DOTALL)
NOTHING = "(?!)"
LETTER = re.compile(r"\\?(.)(?:-\\?(.))?", re.DOTALL)  # one, or a range


def match_objects(pattern: str) -> tuple[list[str], bool]:
    """URLs of the objects that a name or a pattern means, sorted, and whether it means a folder.

    Patterns are those of `fnmatch(3)`, as in `tf.io.gfile.glob`: nothing but "/" stands for "/". A name that exists is
    taken literally.

    Raises UsageError, StorageFailed.
    """
    wild = WILD.search(pattern)
    fixed = pattern[: wild.start()] if wild else pattern.rstrip("/")
    urls = [each.url for each in objects_below(fixed, TRAINING_SECS)]
    if pattern in urls and not pattern.endswith("/"):
        return [pattern], False
    parts = [_expression(part) for part in pattern.rstrip("/").split("/")]
    meant = [names for names in (url.split("/") for url in urls) if _begins(names, parts)]
    files = sorted("/".join(names) for names in meant if len(names) == len(parts))
    return files, len(files) < len(meant)


def _begins(names: Sequence[str], parts: Sequence[re.Pattern[str]]) -> bool:
    """Whether a pattern means this name, or a folder it lies in. An empty name, as in "folder/", is none."""
    pairs = list(zip(names, parts, strict=False))
    return len(pairs) == len(parts) and all(
        part.fullmatch(name) and bool(name) == bool(part.pattern) for name, part in pairs
    )


def _expression(part: str) -> re.Pattern[str]:
    """What stands between two slashes of a pattern. Python's own fnmatch knows neither escapes nor [^...]."""
    return re.compile("".join(map(_translated, TOKEN.finditer(part))), re.DOTALL)


def _translated(token: re.Match[str]) -> str:
    if token[0] in ("*", "?"):
        return ".*" if token[0] == "*" else "."
    if token["letters"] is None:
        return re.escape(token["literal"] or token["other"])
    ranges = [(found[1], found[2] or found[1]) for found in LETTER.finditer(token["letters"])]
    letters = "".join(f"{re.escape(first)}-{re.escape(last)}" for first, last in ranges if first <= last)
    if not letters:
        return "." if token["but"] else NOTHING
    return f"[^{letters}]" if token["but"] else f"[{letters}]"
