"""What a setting is: a field of a frozen group that also holds its help, its check and its further spellings."""

from __future__ import annotations

import dataclasses
import functools
import typing
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

from trainer.job.errors import UsageError
from trainer.job.kinds import Kind, from_value, kind_of_hint

Check = Callable[[Any], "str | None"]  # a value of the right type -> what is allowed instead, or None


def at_least(minimum: int, below: int | None = None) -> Check:
    """Check for a whole number of at least `minimum`."""
    phrase = f"a whole number of at least {minimum}" + (f" and below {below}" if below else "")
    return lambda value: None if minimum <= value and (below is None or value < below) else phrase


def more_than_zero(value: float) -> str | None:
    """Check for a number of seconds."""
    return None if value > 0 else "a number of seconds above 0"


def not_empty(value: str) -> str | None:
    """Check for text that names something."""
    return None if value.strip() else "a value that is not empty"


def files(value: tuple[str, ...]) -> str | None:
    """Check for a list of file names or patterns."""
    return None if all(name.strip() for name in value) else "file names that are not empty"


def local_folder(value: str) -> str | None:
    """Check for a folder that is not in a bucket."""
    is_local = value.strip() and "://" not in value and not value.startswith("gs:")
    return None if is_local else "a local folder"


def different(value: tuple[str, ...]) -> str | None:
    """Check for a list that names nothing twice."""
    return None if len(set(value)) == len(value) else "each name once"


def column_maps(value: tuple[str, ...]) -> str | None:
    """Check for entries INPUT=COLUMN[+COLUMN...], no input twice."""
    pairs = [entry.partition("=") for entry in value]
    complete = all(name and all(columns.split("+")) for name, _, columns in pairs)
    once = len({name for name, _, _ in pairs}) == len(pairs)
    return None if complete and once else "INPUT=COLUMN or INPUT=COLUMN+COLUMN, each input once"


def column_names(value: tuple[str, ...]) -> str | None:
    """Check for names of columns, each once; `a,b` in one entry are two."""
    names = split_names(value)
    return None if all(names) and len(set(names)) == len(names) else "names of columns, each once"


def split_names(value: tuple[str, ...]) -> tuple[str, ...]:
    """The names in a list whose entries may hold several, with commas between them."""
    return tuple(name.strip() for entry in value for name in entry.split(","))


def separator(value: str) -> str | None:
    """Check for what can stand between two fields: TensorFlow's parser knows one byte and no quote."""
    single = len(value) == 1 and value.isascii() and value.isprintable() and value not in '"0123456789+-. xX'
    return None if single or value in ("auto", "tab", "\t") else "one character such as ; or |, or tab"


def weights_of_classes(value: tuple[str, ...]) -> str | None:
    """Check for `balanced`, or entries CLASS=WEIGHT, each class once, each weight a number of at least 0."""
    if value in ((), ("balanced",)):
        return None
    pairs = [entry.rpartition("=") for entry in value]
    once = len({name for name, _, _ in pairs}) == len(pairs)
    fits = once and all(name and _is_weight(weight) for name, _, weight in pairs)
    return None if fits else "'balanced', or CLASS=WEIGHT for each class that does not weigh 1"


def _is_weight(text: str) -> bool:
    try:
        return 0 <= float(text) < float("inf")
    except ValueError:
        return False


def setting(
    default: Any,
    *,
    help: str,
    check: Check | None = None,
    unset: str = "",
    flags: tuple[str, ...] = (),
    env: str | None = None,
    replayed: bool = True,
) -> Any:
    """Declare a field of a group.

    Args:
      default: the value if nobody speaks.
      help: one line or two for the help page, without type and default.
      check: called with a value of the right type; returns what is allowed if this value is not.
      unset: what a default of None or () means, for the help page.
      flags: further spellings of the flag, with their dashes.
      env: the environment variable that may set it.
      replayed: False for what is done once and not repeated when a manifest is the config.
    """
    metadata = {"help": help, "check": check, "unset": unset, "flags": flags, "env": env, "replayed": replayed}
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Setting:
    """One setting as declared; `kind` is its type, an unset one (None) apart."""

    name: str
    group: str
    kind: Kind
    default: Any
    help: str
    check: Check | None
    unset: str
    flags: tuple[str, ...]
    env: str | None
    replayed: bool

    @property
    def flag(self) -> str:
        """The spelling used in messages, help and `to_argv`."""
        return "--" + self.name.replace("_", "-")

    def problem(self, value: Any) -> str | None:
        """What is expected instead of this value; None where it is allowed."""
        if value is None:
            return None if self.default is None else self.expected
        try:
            converted = from_value(self.kind, value)
        except ValueError:
            return self.expected
        if isinstance(value, (str, list)) and type(converted) is not type(value):
            return self.expected  # a parser's business; here a value has its type
        return self.check(value) if self.check else None

    @property
    def expected(self) -> str:
        """The strictest phrase known: the check's if it has one for a value out of every range."""
        if self.check and self.kind.base in (int, float) and not self.kind.choices:
            return self.check(-1) or self.kind.expected
        return self.kind.expected


class Group:
    """Base of the groups: every value is checked however the object is made."""

    def __post_init__(self) -> None:
        for each in settings_of(type(self)):
            value = getattr(self, each.name)
            expected = each.problem(value)
            if expected:
                raise UsageError(f"{each.flag}={shown(value)}: expected {expected}.")


def _declared(group: type) -> tuple[Setting, ...]:
    hints = typing.get_type_hints(group)
    return tuple(
        Setting(each.name, group.__name__.lower(), _kind(hints[each.name]), each.default, **each.metadata)
        for each in dataclasses.fields(group)
    )


_cached = functools.cache(_declared)


def settings_of(group: type[Group]) -> tuple[Setting, ...]:
    """The settings of one group in the order of their declaration."""
    return _cached(typing.cast("Hashable", group))


def _kind(hint: Any) -> Kind:
    """None means "not set" for a setting, which is no value to give, so the kind is that of the other member."""
    kind = kind_of_hint(hint)
    assert kind is not None, hint
    return dataclasses.replace(kind, optional=False, json=False)


def shown(value: Any) -> str:
    """A value as the user would type it."""
    if isinstance(value, (tuple, list)):
        return " ".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
