"""What a check has to say: all of it in one list, each with its remedy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from trainer.job.errors import TrainerError

Level = Literal["error", "warning"]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong (`error`: nothing is sent), or that the user should know (`warning`).

    Attributes:
      where: a place in a file (`workerPoolSpecs[0].replicaCount`), a flag (`--region=us-east1`), or a part (`model`).
      problem: what was found and what is allowed.
      remedy: what to do; empty where the problem says it, as an error's sentence does.
    """

    level: Level
    where: str
    problem: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.level}: {self.said}"

    @property
    def said(self) -> str:
        """The sentence without its level."""
        sentence = f"{self.where}: {self.problem}{'; ' if self.remedy else ''}{self.remedy}"
        return sentence if sentence.endswith("?") else f"{sentence}."

    @classmethod
    def of_error(cls, where: str, error: TrainerError) -> Finding:
        """A finding with an error's own sentence, which has the remedy in it."""
        return cls("error", where, str(error).rstrip("."), "")


def errors_of(findings: Sequence[Finding]) -> list[Finding]:
    """Those for which nothing is sent."""
    return [each for each in findings if each.level == "error"]


def listed(findings: Sequence[Finding]) -> list[str]:
    """The lines of a list: errors and warnings apart, each under its heading, in the order they were found."""
    lines = []
    for level in ("error", "warning"):
        said = [each.said for each in findings if each.level == level]
        lines += [f"{level}s:", *(f"  {each}" for each in said)] if said else []
    return lines


def counted(findings: Sequence[Finding]) -> str:
    """How many of each, in words."""
    counts = [(sum(each.level == level for each in findings), level) for level in ("error", "warning")]
    return ", ".join(f"{count or 'no'} {level}{'' if count == 1 else 's'}" for count, level in counts)
