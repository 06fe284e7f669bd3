"""The command line as typed: words to (option, spelling, words) by jsonargparse, and the help page."""

from __future__ import annotations

import argparse
import shutil
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jsonargparse import ArgumentParser

from trainer.job.errors import UsageError
from trainer.job.mistakes import unknown_word
from trainer.job.options import Option, config_option

MARKED = "\0--"  # argparse drops a value that is "--", even behind "=" (python/cpython#109475)
DEST = "flag_"  # a hyperparameter called `keys` must not meet a method of the parser's namespace

EPILOG = """\
Underscores are read as well (--batch_size=128). A flag wins over the environment,
the environment over the config file, the config file over the default.

exit codes:
  0        done, or the job was already finished
  2        a flag, the model, the data or the job folder cannot be used as given
  3        training failed, such as by a NaN loss
  4        an export does not predict what the model predicts
  5        disk full, a folder not writable, no checkpoint that can be read
  134      one of several processes has done no step for --stall-secs
  130,143  stopped by Ctrl-C or SIGTERM; the same command resumes

examples:
  {prog}                                    (trains the sample)
  {prog} --model=mine.py --train-files 'data/*.csv'
  {prog} --model=mine.py --help             (the model's flags too)
  {prog} --config=runs/first/manifest.json  (runs it again)
"""


@dataclass(frozen=True)
class Page:
    """What a door's help page says around its flags; `{prog}` in `epilog` is the door.

    Attributes:
      description: what the door does, a sentence.
      epilog: exit codes and examples.
      help: what `--help` shows.
      config: whether there is a `--config`.
    """

    description: str
    epilog: str
    help: str = "this page"
    config: bool = False


TASK = Page(
    "Train, evaluate and export a Keras model.", EPILOG, "this page; with --model=..., its flags too", config=True
)


@dataclass(frozen=True)
class Given:
    """One flag as typed."""

    spelling: str
    texts: list[str]

    def __str__(self) -> str:
        return f"{self.spelling}={' '.join(self.texts)}" if self.texts else self.spelling


class _Record(argparse.Action):
    """Keep what was typed: which spelling, which words, how often."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        texts = [] if values is None else [values] if isinstance(values, str) else list(values)
        texts = ["--" if text == MARKED else text for text in texts]
        namespace[self.dest] = [*(namespace.get(self.dest) or []), Given(str(option_string), texts)]


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """One line a flag: the dashed spelling and its type; the others are said once at the end of the page."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=34, width=max(shutil.get_terminal_size().columns - 2, 40))

    def _format_action_invocation(self, action: argparse.Action) -> str:
        flags = [flag for flag in action.option_strings if "_" not in flag]
        whole = ", ".join(flags) + (f" {action.metavar}" if action.metavar else "")
        if len(whole) + 2 <= self._width:
            return whole
        lines = textwrap.wrap(whole.replace("|", "| "), self._width - 6, break_on_hyphens=False)  # many choices
        return "\n      ".join(line.replace("| ", "|") for line in lines)


def build_parser(
    prog: str, groups: Mapping[str, Sequence[Option]], notes: Mapping[str, str], page: Page = TASK
) -> ArgumentParser:
    """A parser of all options by heading; `notes` are texts under a heading."""
    parser = ArgumentParser(
        prog=prog,
        usage="%(prog)s [--FLAG=VALUE ...]",
        description=page.description,
        epilog=page.epilog.replace("{prog}", prog),
        formatter_class=_Formatter,
        add_help=False,
        allow_abbrev=False,
        exit_on_error=False,
    )
    own = parser.add_argument_group("Command line")
    own.add_argument("-h", "--help", dest=DEST + "help", action=_Record, nargs="?", help=page.help)
    own.add_argument("--version", dest=DEST + "version", action=_Record, nargs="?", help="the version")
    if page.config:
        _add(own, config_option())
    for heading, options in groups.items():
        group = parser.add_argument_group(heading, notes.get(heading))
        for option in options:
            _add(group, option)
    return parser


def _add(group: Any, option: Option) -> None:
    """Any number of words is fine for the parser: the option itself says what is missing or too much."""
    group.add_argument(
        *option.spellings,
        dest=DEST + option.name,
        action=_Record,
        nargs="*" if option.kind.many else "?",
        metavar=option.kind.metavar,
        help=option.help.replace("%", "%%"),
    )


def read_words(parser: ArgumentParser, argv: Sequence[str], others: Sequence[str] = ()) -> dict[str, list[Given]]:
    """Name -> what was typed for it, in order. Raises UsageError for the first word that no flag reads.

    `others` are flags that are read elsewhere: the user may have meant one of them.
    """
    try:
        marked = [word[:-2] + MARKED if word.partition("=")[2] == "--" else word for word in argv]
        namespace = parser.parse_args(marked, defaults=False)
    except argparse.ArgumentError as error:
        flags = [*(flag for action in parser._actions for flag in action.option_strings), *others]
        raise _unread(argv, error.message, flags) from None
    return {dest[len(DEST) :]: given for dest, given in vars(namespace).items() if dest.startswith(DEST)}


def _unread(argv: Sequence[str], message: str, flags: Sequence[str]) -> UsageError:
    """The only complaint left to the parser, as our options take any number of words, is about words that are left."""
    _, known, left = message.partition("unrecognized arguments: ")
    words = [word for word in argv if left.replace(MARKED, "--").startswith(word)]
    return unknown_word(max(words, key=len), flags) if known and words else UsageError(f"{message}.")
