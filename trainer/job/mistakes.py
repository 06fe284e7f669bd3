"""Proposals for what a user may have meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from trainer.job.errors import UsageError


def closest(word: str, names: Iterable[str], limit: int = 3) -> list[str]:
    """The names that look like a word, best first; dashes, underscores and case do not count.

    `lr` finds learning-rate by its initials, `batch` finds batch-size as its beginning, `learning-rte` by likeness.
    """
    by_form: dict[str, str] = {}
    for name in names:
        by_form.setdefault(_form(name), name)
    form = _form(word)
    inside = [each for each in by_form if len(form) > 2 and form in each]
    found = [each for each in by_form if "".join(part[:1] for part in each.split("-")) == form]
    found += sorted(inside, key=lambda each: not each.startswith(form))
    found += difflib.get_close_matches(form, by_form, n=limit, cutoff=0.85 if found else 0.6)
    return [by_form[each] for each in dict.fromkeys(found)][:limit]


def proposal(found: Sequence[str]) -> str:
    """The question behind an error, or where to look."""
    if not found:
        return "--help lists all flags."
    return f"did you mean {found[0] if len(found) == 1 else ', '.join(found[:-1]) + ' or ' + found[-1]}?"


def unknown_word(word: str, flags: Iterable[str]) -> UsageError:
    """The error for a word of the command line that no flag has read: an unknown flag or a forgotten `--`."""
    name, equals, value = word.partition("=")
    flags = [flag for flag in flags if flag.startswith("--no") <= word.startswith("--no")]  # no-x is x, but for a no
    if word.startswith("-") and word.lstrip("-"):
        return UsageError(f"unknown flag {word}: {proposal(closest(name, flags))}")
    near = closest(name, flags) if equals else []
    if near:
        return UsageError(f"unexpected {word}: {proposal([f'{flag}={value}' for flag in near])}")
    return UsageError(
        f"unexpected {word or 'empty word'}: expected flags such as --batch-size=128; --help lists them all."
    )


def _form(name: str) -> str:
    return name.lstrip("-").replace("_", "-").lower()
