"""What can stand on the command line: one Option for each setting and each hyperparameter of the chosen model."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from trainer.job.config import GROUPS
from trainer.job.errors import ModelError, UsageError
from trainer.job.kinds import Kind, from_texts, from_value
from trainer.job.settings import Group, Setting, settings_of, shown
from trainer.job.signature import ModelSignature, Parameter

CONFIG = "config"
REQUIRED = "required"  # the `unset` of a setting without which a door cannot begin
OWN_FLAGS = (CONFIG, "help", "version")  # the command line's own: no field of a job


@dataclass(frozen=True)
class Option:
    """A named value: where it comes from (`group`), what it may be, and how it is spelled and explained."""

    name: str
    group: str
    kind: Kind
    help: str
    aliases: tuple[str, ...] = ()
    problem: Callable[[Any], str | None] = lambda value: None
    expected: str = ""

    @property
    def flag(self) -> str:
        """The spelling used in messages, help and `to_argv`."""
        return "--" + self.name.replace("_", "-")

    @property
    def negation(self) -> str | None:
        """`--no-NAME` for what is true or false."""
        one_bool = self.kind.base is bool and not self.kind.many
        return "--no-" + self.name.replace("_", "-") if one_bool else None

    @property
    def spellings(self) -> tuple[str, ...]:
        """Every spelling, the first one `flag`: with dashes, with underscores, aliases, negations."""
        dashed = [self.flag, *self.aliases, *([self.negation] if self.negation else [])]
        scored = ["--" + flag[2:].replace("-", "_") for flag in [self.flag, *self.aliases]]
        if self.negation:
            scored += [f"--no-{self.name}", f"--no_{self.name}"]
        return tuple(dict.fromkeys([*dashed, *scored]))

    def read_texts(self, spelling: str, texts: list[str]) -> Any:
        """The value of words from the command line. Raises UsageError in the spelling the user chose."""
        if spelling[2:5] in ("no-", "no_") and spelling != self.flag and spelling[5:].replace("-", "_") == self.name:
            if texts:
                raise UsageError(f"{spelling}={texts[0]}: {spelling} takes no value; use {self.flag}={texts[0]}.")
            return False
        if not texts and self.negation:
            return True
        if not texts:
            raise UsageError(f"{spelling} needs a value: expected {self.expected}.")
        return self._checked(f"{spelling}={' '.join(texts)}", lambda: from_texts(self.kind, texts))

    def read_value(self, where: str, value: Any) -> Any:
        """The value of an entry of a config file or of an environment variable. Raises UsageError naming `where`."""
        return self._checked(f"{where}={shown(value)}", lambda: from_value(self.kind, value))

    def _checked(self, said: str, read: Callable[[], Any]) -> Any:
        try:
            value = read()
        except ValueError:
            raise UsageError(f"{said}: expected {self.expected}.") from None
        expected = self.problem(value)
        if expected:
            raise UsageError(f"{said}: expected {expected}.")
        return value


def config_option() -> Option:
    """`--config`, which is no setting: it names a file of them."""
    expected = "a YAML or JSON file of settings, or a manifest.json"
    return Option(
        CONFIG, CONFIG, Kind(str, json=False), expected, (), lambda path: None if path else expected, expected
    )


def setting_options(groups: Iterable[type[Group]] = tuple(GROUPS.values())) -> dict[str, list[Option]]:
    """Heading -> the options of that group's settings."""
    return {str(group.__doc__): [_of_setting(each) for each in settings_of(group)] for group in groups}


def model_options(signature: ModelSignature) -> list[Option]:
    """The options that the builder's parameters are.

    Raises:
      ModelError: a parameter has the name of a flag of the trainer.
    """
    taken = {spelling for options in setting_options().values() for option in options for spelling in option.spellings}
    taken |= {f"--{name}" for name in OWN_FLAGS}
    options: list[Option] = []
    for parameter in signature.parameters:
        if f"--{parameter.name}" in taken or parameter.flag in taken:
            raise ModelError(
                f"{signature.function} in {signature.defined_in} has a parameter {parameter.name}, but "
                f"{parameter.flag} is the trainer's own flag: rename the parameter, such as model_{parameter.name}."
            )
        if parameter.kind:
            options.append(_of_parameter(parameter, parameter.kind))
    return options


def _of_setting(each: Setting) -> Option:
    default = (
        each.unset if each.default in (None, ()) else ",".join(each.default) if each.kind.many else shown(each.default)
    )
    where = REQUIRED if each.unset == REQUIRED else f"default: {default}"
    told = f"{each.help} ({where}{'; environment: ' + each.env if each.env else ''})"
    return Option(each.name, each.group, each.kind, told, each.flags, each.problem, each.expected)


def _of_parameter(each: Parameter, kind: Kind) -> Option:
    joined = isinstance(each.default, tuple) and kind.base is not str
    literal = ",".join(map(shown, each.default)) if joined else shown(each.default)  # type: ignore[call-overload]
    default = each.default_text if each.computed else "none" if each.default is None else literal
    told = "required" if each.required else f"default: {default}"
    return Option(each.name, "hyperparameters", kind, f"{each.help} ({told})".strip(), expected=kind.expected)
