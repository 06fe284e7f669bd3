"""The command line <-> a job: `parse` and `to_argv`, such that parse(to_argv(job), Environment()).job == job.

Each value comes from the first that speaks: flag, environment, config file, default. The model's hyperparameters are
flags too, so the model is looked up first, its source read (not run), and then the whole line is parsed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import trainer
from trainer.job.config import EXCLUSIVE, Job, all_settings, refuse_unread
from trainer.job.configfile import ConfigFile, read_config
from trainer.job.environment import Environment
from trainer.job.errors import UsageError
from trainer.job.kinds import json_text, setting_texts
from trainer.job.options import CONFIG, OWN_FLAGS, Option, config_option, model_options, setting_options
from trainer.job.settings import shown
from trainer.job.signature import ModelSignature, read_signature

if TYPE_CHECKING:
    from trainer.job.commandline import Given, Page
    from trainer.job.settings import Group

PROG = "python -m trainer.task"


class HelpRequested(Exception):
    """The user asked for the help page or the version: `text` is for stdout, the exit code is 0."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


@dataclass(frozen=True)
class Parsed:
    """A job, who said what, and the signature of its model.

    `sources` has every setting and every hyperparameter: "flag", "environment", "config", "below" or "default".
    """

    job: Job
    sources: Mapping[str, str]
    signature: ModelSignature


@dataclass
class _Values:
    """What was said so far, the strongest source first, so that a later one never replaces a value."""

    values: dict[str, Any] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)

    def add(self, source: str, said: Mapping[str, Any]) -> None:
        for name, value in said.items():
            if name not in self.values and not self._excluded(name, source):
                self.values[name], self.sources[name] = value, source

    def _excluded(self, name: str, source: str) -> bool:
        """--epochs as a flag puts train_steps of a config file aside; two of one source are the user's mistake."""
        partners = [other for pair in EXCLUSIVE if name in pair for other in pair if other != name]
        return any(self.sources.get(partner, source) != source for partner in partners)


def parse(
    argv: Sequence[str],
    environment: Environment,
    prog: str = PROG,
    below: Sequence[str] = (),
    others: Sequence[str] = (),
    fetch: Callable[[str], str] | None = None,
    elsewhere: Collection[str] = (),
) -> Parsed:
    """Parse a command line.

    Args:
      below: a second command line, of a file, for what neither `argv` nor the environment says.
      others: flags of another door, to propose for one that nobody knows.
      fetch: for a model in Cloud Storage, see `read_signature`.
      elsewhere: hyperparameters that get their values later, such as a study's: no default is needed for them.

    Raises:
      HelpRequested: for --help and --version.
      UsageError: a flag, the config file or the environment cannot be used as given.
      ModelError: the model's source does not tell its parameters.
    """
    if "--version" in argv:
        raise HelpRequested(f"trainer {trainer.__version__}\n")
    config = _config(argv)
    signature = read_signature(_model(argv, config, below), fetch)
    from trainer.job.commandline import build_parser  # the flag library: only a parse pays for it

    groups = setting_options() | {_heading(signature): model_options(signature)}
    options = [option for group in groups.values() for option in group]
    parser = build_parser(prog, groups, {_heading(signature): _note(signature)})
    words = _words(parser, argv, others, lambda: _refuse_unsettable([*argv, *below], config, signature))
    said = _Values()
    said.add("flag", _of_flags(words, options))
    said.add("environment", _of_environment(environment, options))
    said.add("config", _of_config(config, options, signature))
    said.add("below", _of_flags(_words_below(parser, below), options))
    return _parsed(said, signature, elsewhere)


def parse_groups(argv: Sequence[str], prog: str, groups: Sequence[type[Group]], page: Page) -> dict[str, Any]:
    """The values that the flags of a door without a model give, setting name -> value, for those that were given.

    Raises:
      HelpRequested: for --help and --version.
      UsageError: a flag cannot be used as given.
    """
    if "--version" in argv:
        raise HelpRequested(f"trainer {trainer.__version__}\n")
    options = setting_options(groups)
    from trainer.job.commandline import build_parser

    words = _words(build_parser(prog, options, {}, page), argv)
    return _of_flags(words, [option for group in options.values() for option in group])


def to_argv(job: Job) -> list[str]:
    """The shortest command line of a job: what differs from the defaults, as `--flag=value`."""
    values = job.values
    argv = [
        f"{each.flag}={text}"
        for name, each in all_settings().items()
        if values[name] != each.default
        for text in setting_texts(each.kind, values[name])
    ]
    return argv + [f"--{name.replace('_', '-')}={json_text(value)}" for name, value in job.hyperparameters]


def _words(
    parser: Any, argv: Sequence[str], others: Sequence[str] = (), check: Callable[[], None] = lambda: None
) -> dict[str, list[Given]]:
    """What was typed for each name; `check` has its say after --help and before unknown flags."""
    from trainer.job.commandline import read_words

    if "--help" in argv or "-h" in argv:
        raise HelpRequested(parser.format_help())
    check()
    words = read_words(parser, argv, others)
    if {"help", "version"} & set(words):  # with a value, such as -h3
        raise HelpRequested(parser.format_help())
    return words


def _words_below(parser: Any, below: Sequence[str]) -> dict[str, list[Given]]:
    from trainer.job.commandline import read_words

    words = read_words(parser, below)
    for name in OWN_FLAGS:
        if name in words:
            raise UsageError(
                f"{words[name][0]} stands in a file's args, and says nothing of the job: leave it out there."
            )
    return words


def _parsed(said: _Values, signature: ModelSignature, elsewhere: Collection[str]) -> Parsed:
    if said.sources.get("export_dir") == "environment" and "final" not in said.values.get("exporters", ("final",)):
        del said.values["export_dir"], said.sources["export_dir"]  # every cloud job has one, read or not
    names = [each.name for each in signature.parameters]
    for each in signature.parameters:
        if each.required and each.name not in said.values and each.name not in elsewhere:
            expected = each.kind.expected if each.kind else "a value"
            raise UsageError(
                f"{each.flag} is missing: {signature.function} in {signature.defined_in} has no default for it; "
                f"expected {expected}."
            )
    settings = {name: value for name, value in said.values.items() if name not in names}
    job = Job.of(settings, {name: said.values[name] for name in names if name in said.values})
    refuse_unread(job, {name for name, source in said.sources.items() if source == "flag"})
    return Parsed(job, {name: said.sources.get(name, "default") for name in [*all_settings(), *names]}, signature)


def _peek(argv: Sequence[str], option: Option) -> str | None:
    """The value of a flag that decides which other flags there are; its other mistakes are found by the parser."""
    for word, following in zip(argv, [*argv, "-"][1:], strict=True):
        if word == option.flag:
            return option.read_texts(word, [] if following.startswith("-") else [following])
        if word.startswith(option.flag + "="):
            return option.read_texts(option.flag, [word[len(option.flag) + 1 :]])
    return None


def _config(argv: Sequence[str]) -> ConfigFile:
    path = _peek(argv, config_option())
    return ConfigFile("", {}) if path is None else read_config(path)


def _model(argv: Sequence[str], config: ConfigFile, below: Sequence[str]) -> str:
    option = next(option for option in setting_options()["Model"] if option.name == "model")
    return _peek(argv, option) or config.read(option) or _peek(below, option) or all_settings()["model"].default


def _of_flags(words: Mapping[str, Sequence[Given]], options: Sequence[Option]) -> dict[str, Any]:
    by_name = {option.name: option for option in [config_option(), *options]}
    read = {name: _read_given(by_name[name], given) for name, given in words.items()}
    return {name: value for name, value in read.items() if name != CONFIG}


def _read_given(option: Option, given: Sequence[Given]) -> Any:
    values = [option.read_texts(each.spelling, each.texts) for each in given]
    if option.kind.many:
        return _joined(option, values)
    for each, value in zip(given, values, strict=True):
        if value != values[0]:
            raise UsageError(f"{given[0]} and {each} contradict each other: keep one.")
    return values[0]


def _joined(option: Option, values: Sequence[Any]) -> Any:
    """A list flag given several times is one list."""
    if len(values) == 1:
        return values[0]
    whole = tuple(item for value in values for item in value or ())
    expected = option.problem(whole)
    if expected:
        raise UsageError(f"{option.flag}={shown(whole)}: expected {expected}.")
    return whole


def _of_environment(environment: Environment, options: Sequence[Option]) -> dict[str, Any]:
    variables = environment.settings
    named = {name: each.env for name, each in all_settings().items() if each.env in variables}
    return {
        option.name: option.read_value(str(named[option.name]), variables[str(named[option.name])])
        for option in options
        if option.name in named
    }


def _of_config(config: ConfigFile, options: Sequence[Option], signature: ModelSignature) -> dict[str, Any]:
    """The file's values; a hyperparameter that a manifest took from the module's default stays the module's."""
    config.refuse_unknown([*options])
    said = {}
    for option in options:
        if config.named(option):
            value = config.read(option)
            if value is not None or option.group == "hyperparameters":
                said[option.name] = value
    defaults = {each.name: each.default for each in signature.parameters}
    return {
        name: value
        for name, value in said.items()
        if not (name in defaults and name in config.derived and value == defaults[name])
    }


def _refuse_unsettable(argv: Sequence[str], config: ConfigFile, signature: ModelSignature) -> None:
    """A parameter that has no flag must say why, not look unknown."""
    reasons = {each.name: each.obstacle for each in signature.parameters if each.kind is None}
    if signature.takes_assets:
        reasons["assets"] = "the trainer fills it with the files that analyze wrote"
    words = {word.partition("=")[0] for word in argv if word.startswith("--")}
    for name, reason in reasons.items():
        given = next((word for word in words if word[2:].replace("-", "_") == name), None)
        if given or (name in config.entries and name not in config.derived):
            where = given or f"{config.path}: {name}"
            raise UsageError(f"{where}: no flag can set {name} of {signature.function}: {reason}.")


def _heading(signature: ModelSignature) -> str:
    return f"Hyperparameters: {signature.function} of {signature.ref}"


def _note(signature: ModelSignature) -> str:
    lines = [f"{each.name} has no flag: {each.obstacle}." for each in signature.parameters if each.kind is None]
    return "\n".join(lines or ([] if signature.parameters else ["It takes none."]))
