"""The command line of a door that has flags of its own and passes the rest on to the trainer."""

from __future__ import annotations

from collections.abc import Sequence

from trainer.job.options import Option, setting_options
from trainer.job.settings import Group

ASKED = ("-h", "--help", "--version")


def split_argv(argv: Sequence[str], groups: Sequence[type[Group]]) -> tuple[list[str], list[str]]:
    """A door's own words and the trainer's; behind a word `--` all are the trainer's.

    A word that no flag stands before is the trainer's too, whose parser knows what to say to it.
    """
    own: list[str] = []
    rest: list[str] = []
    options = {spelling: option for option in _options(groups) for spelling in option.spellings}
    taker, wanted = rest, 0
    for place, word in enumerate(argv):
        if word == "--":
            return own, [*rest, *argv[place + 1 :]]
        if word.startswith("-"):
            name, equals, _ = word.partition("=")
            is_own = name in options or word in ASKED
            taker, wanted = (own, _values(options.get(name), bool(equals))) if is_own else (rest, len(argv))
        elif taker is own and not wanted:
            taker, wanted = rest, len(argv)
        else:
            wanted -= 1
        taker.append(word)
    return own, rest


def own_spellings(groups: Sequence[type[Group]]) -> list[str]:
    """Every spelling of a door's own flags."""
    return [spelling for option in _options(groups) for spelling in option.spellings]


def _options(groups: Sequence[type[Group]]) -> list[Option]:
    return [option for options in setting_options(groups).values() for option in options]


def _values(option: Option | None, given: bool) -> int:
    """How many of the words behind it may be its values."""
    if option is None or option.negation or (given and not option.kind.many):
        return 0
    return 2**31 if option.kind.many else 1
