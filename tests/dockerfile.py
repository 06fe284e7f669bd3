"""Read a Dockerfile and a .dockerignore, as far as ours use their languages; Docker itself is not on every machine."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import re
from collections.abc import Mapping

VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})")


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One instruction, its continued lines made one; `line` is where it begins."""

    word: str
    value: str
    line: int

    @property
    def exec_form(self) -> list[str] | None:
        """The words of ENTRYPOINT ["a", "b"]; None in the shell's form."""
        return [str(word) for word in json.loads(self.value)] if self.value.startswith("[") else None

    def assignments(self, known: Mapping[str, str]) -> dict[str, str]:
        """What ENV or ARG sets, with the variables known so far put in."""
        pairs = (word.partition("=") for word in self.value.split())
        return {name: expand(value.strip('"'), known) for name, _, value in pairs}


def read_dockerfile(path: pathlib.Path) -> list[Instruction]:
    """All instructions in order; comments are left out."""
    found: list[Instruction] = []
    begun: tuple[int, list[str]] | None = None
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line.lstrip().startswith("#") or not (begun or line.strip()):
            continue
        first, parts = begun or (number, [])
        parts.append(line.rstrip("\\").strip())
        begun = (first, parts) if line.endswith("\\") else None
        if begun is None:
            word, _, value = " ".join(parts).partition(" ")
            found.append(Instruction(word, value.strip(), first))
    assert begun is None, f"{path} ends in the middle of an instruction"
    return found


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Put variables into an instruction's text; one that is not set is nothing."""
    return VARIABLE.sub(lambda found: variables.get(found[1] or found[2], ""), text)


def is_sent(path: str, ignore_file: pathlib.Path) -> bool:
    """Whether a .dockerignore lets a file, relative to the context, into it: the last pattern that matches decides."""
    sent = True
    for line in ignore_file.read_text(encoding="utf-8").splitlines():
        pattern = line.strip()
        if not pattern or pattern.startswith("#"):
            continue
        again = pattern.startswith("!")
        if _matches(pattern.removeprefix("!").strip("/"), path):
            sent = again
    return sent


def _matches(pattern: str, path: str) -> bool:
    """A pattern matches a file, or a folder above it."""
    tokens = re.findall(r"\*\*/|\*\*|\*|\?|[^*?]+", pattern)
    known = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    expression = "".join(known.get(token, re.escape(token)) for token in tokens)
    return re.fullmatch(f"{expression}(?:/.*)?", path) is not None
