"""Read a `--config` file: YAML or JSON, setting names to values; or the manifest.json of an earlier run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trainer.job.config import all_settings
from trainer.job.errors import UsageError
from trainer.job.mistakes import closest, proposal
from trainer.job.options import Option


@dataclass(frozen=True)
class ConfigFile:
    """The entries of one file, keys as written; `derived` are keys whose value a manifest took from a default."""

    path: str
    entries: Mapping[str, Any]
    derived: frozenset[str] = frozenset()

    def named(self, option: Option) -> dict[str, Any]:
        """Key -> value of the entries that mean this option."""
        forms = {spelling[2:] for spelling in option.spellings if not spelling.startswith(("--no-", "--no_"))}
        forms.add(option.name)
        return {key: value for key, value in self.entries.items() if key in forms}

    def read(self, option: Option) -> Any:
        """The option's value; None where the file does not say. Raises UsageError naming file and key."""
        named = self.named(option)
        if len(named) > 1:
            raise UsageError(f"{self.path}: {' and '.join(named)} are the same setting; keep one.")
        for key, value in named.items():
            if value is None and option.group != "hyperparameters" and option.problem(None) is None:
                return None
            return option.read_value(f"{self.path}: {key}", value)
        return None

    def refuse_unknown(self, options: list[Option]) -> None:
        """Raise UsageError for the first key that no option reads."""
        known = {key for option in options for key in self.named(option)}
        for key in self.entries:
            if key == "config":
                raise UsageError(f"{self.path}: config cannot name a further config file; write its settings here.")
            if key not in known and key not in self.derived:
                near = closest(key, [_like(key, option) for option in options])
                raise UsageError(f"{self.path}: unknown setting {key}: {proposal(near)}")


def read_config(path: str) -> ConfigFile:
    """Read and parse a config file.

    Raises:
      UsageError: it is missing, not YAML or JSON, or not a flat mapping of names to values.
    """
    try:
        with open(path, encoding="utf-8") as file:
            content = _parsed(path, file.read())
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(f"--config={path}: no such file; give a YAML or JSON file of settings.") from None
    except OSError as error:
        raise UsageError(f"--config={path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise UsageError(f"--config={path} is not UTF-8 text: give a YAML or JSON file of settings.") from None
    if content is None:
        return ConfigFile(path, {})
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise UsageError(f"--config={path}: expected a mapping of setting names to values, such as batch_size: 128.")
    return _of_manifest(path, content) if isinstance(content.get("settings"), dict) else ConfigFile(path, content)


def _of_manifest(path: str, content: dict[str, Any]) -> ConfigFile:
    """The values of a manifest that make the run again: not another machine's folders, not what is done once."""
    said = {**content["settings"], **(content.get("hyperparameters") or {})}
    if not all(isinstance(each, dict) and {"value", "source"} <= set(each) for each in said.values()):
        raise UsageError(f"--config={path}: expected each entry of settings to hold a value and a source.")
    once = {name for name, each in all_settings().items() if not each.replayed}
    kept = {
        name: each["value"]
        for name, each in said.items()
        if each["source"] != "environment" and name not in once and not _unset(name, each)
    }
    return ConfigFile(path, kept, frozenset(name for name in kept if said[name]["source"] == "default"))


def _unset(name: str, entry: Mapping[str, Any]) -> bool:
    """None is no value of a setting, but one of a hyperparameter, unless it stands for a computed default."""
    return entry["value"] is None and (name in all_settings() or entry["source"] == "default")


def _parsed(path: str, text: str) -> Any:
    if path.endswith(".json"):
        try:
            return json.loads(text)
        except ValueError as error:
            raise UsageError(f"--config={path} is not JSON: {error}.") from None
    import yaml  # only a run with a config file pays for it

    try:
        _refuse_twice(path, yaml.compose(text, Loader=yaml.SafeLoader))
        return yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", line {mark.line + 1}" if mark else ""
        raise UsageError(f"--config={path}{where} is not YAML: {error.problem or error.context}.") from None
    except (yaml.YAMLError, ValueError) as error:
        raise UsageError(f"--config={path} is not YAML: {' '.join(str(error).split())}.") from None


def _refuse_twice(path: str, node: Any) -> None:
    """YAML's reader lets the last of two equal keys win silently."""
    seen: set[str] = set()
    for key, _ in node.value if node is not None and node.id == "mapping" else []:
        if str(key.value) in seen:
            raise UsageError(f"{path}, line {key.start_mark.line + 1}: {key.value} stands there twice; keep one.")
        seen.add(str(key.value))


def _like(key: str, option: Option) -> str:
    return option.flag[2:] if "-" in key else option.name
