"""The command line of a door that has flags of its own and passes the rest on to the trainer."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TypeVar

from trainer.job.environment import Environment
from trainer.job.flags import Parsed, parse, parse_groups
from trainer.job.options import Option, setting_options
from trainer.job.settings import Group

G = TypeVar("G", bound=Group)
ASKED = ("-h", "--help", "--version")


def parse_own(argv: Sequence[str], kind: type[G], prog: str, description: str, epilog: str) -> tuple[G, list[str]]:
    """A door's own settings, and the words that are the trainer's.

    Raises:
      HelpRequested: for --help and --version.
      UsageError: a flag cannot be used as given.
    """
    from trainer.job.commandline import Page

    own, rest = split_argv(argv, [kind])
    return kind(**parse_groups(own, prog, [kind], Page(description, epilog))), rest


def parse_rest(
    words: Sequence[str],
    environment: Environment,
    kind: type[Group],
    prog: str,
    below: Sequence[str],
    elsewhere: Collection[str] = (),
) -> Parsed:
    """The job that the trainer's words say, and below them the args of a file; `elsewhere` as for `flags.parse`.

    Raises:
      UsageError: a flag cannot be used as given; those of the door itself are proposed too.
      ModelError: the model's source does not tell its parameters.
    """
    return parse(words, environment, prog, below, own_spellings([kind]), elsewhere=elsewhere)


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
