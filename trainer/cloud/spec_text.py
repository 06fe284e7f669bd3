"""YAML or JSON text to plain values, as strictly as money asks for: what a reader would let pass in silence is said."""

from __future__ import annotations

import json
import math
from collections.abc import Hashable, Iterator
from typing import Any, NoReturn

import yaml

from trainer.cloud.wording import shown
from trainer.job.errors import UsageError

MAX_VALUES = 100_000  # a few lines of anchors that name each other could stand for billions
MAX_KEYS, MAX_MERGED = 1000, 100  # and so could keys that are merged from merged ones
_OTHER_TAGS = {"timestamp": "a date", "binary": "binary data", "set": "a set", "omap": "pairs", "pairs": "pairs"}


def parse(path: str, text: str) -> Any:
    """The values that the text spells: mappings with text as keys, lists, text, numbers, true, false and null.

    Raises:
      UsageError: it is not YAML (JSON where the path ends in .json), a key stands twice, a value is none of the above.
    """
    try:
        content = _json(path, text) if path.endswith(".json") else _Loader(path, text).get_single_data()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", line {mark.line + 1}" if mark else ""
        raise UsageError(f"{path}{where} is not YAML: {error.problem or error.context}.") from None
    except (yaml.YAMLError, ValueError) as error:
        kind = "JSON" if path.endswith(".json") else "YAML"
        raise UsageError(f"{path} is not {kind}: {' '.join(str(error).split())}.") from None
    except RecursionError:
        raise UsageError(f"{path} is nested too deeply to be a job: nothing in a job is 20 levels deep.") from None
    _check_values(path, content)
    return content


class _Loader(yaml.SafeLoader):
    """The safe loader, but a key stands once, and there is nothing that JSON could not say."""

    def __init__(self, path: str, text: str) -> None:
        super().__init__(text)
        self.path = path

    def compose_mapping_node(self, anchor: Any) -> Any:
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if str(key.value) in seen:
                raise UsageError(f"{self.path}, line {_line(key)}: {shown(key.value)} stands there twice; keep one.")
            seen.add(str(key.value))
        return node

    def flatten_mapping(self, node: Any) -> None:
        merged = [value for key, value in node.value if key.tag == "tag:yaml.org,2002:merge"]
        if any(len(value.value) > MAX_MERGED for value in merged if isinstance(value, yaml.SequenceNode)):
            raise UsageError(f"{self.path}, line {_line(node)}: more than {MAX_MERGED} mappings are merged here.")
        super().flatten_mapping(node)
        if len(node.value) > MAX_KEYS:
            raise UsageError(f"{self.path}, line {_line(node)}: a mapping of more than {MAX_KEYS} keys is no job's.")

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        found = super().construct_mapping(node, deep)
        for key, _ in node.value:
            if key.tag != "tag:yaml.org,2002:str":
                raise UsageError(f"{self.path}, line {_line(key)}: the key {shown(key.value)} is no text: quote it.")
        return found

    def finite(self, node: Any) -> float:
        value = self.construct_yaml_float(node)
        if not math.isfinite(value):
            raise UsageError(f"{self.path}, line {_line(node)}: {shown(node.value)} is no finite number.")
        return value

    def refuse(self, node: Any) -> NoReturn:
        meant = _OTHER_TAGS[node.tag.rpartition(":")[2]]
        written = f": quote {shown(node.value)} if it is text" if isinstance(node, yaml.ScalarNode) else ""
        raise UsageError(f"{self.path}, line {_line(node)}: YAML reads {meant} here{written}.")


_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.finite)
for _tag in _OTHER_TAGS:
    _Loader.add_constructor(f"tag:yaml.org,2002:{_tag}", _Loader.refuse)


def _line(node: Any) -> int:
    return node.start_mark.line + 1


def _json(path: str, text: str) -> Any:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        twice = next((key for at, (key, _) in enumerate(pairs) if key in dict(pairs[:at])), None)
        if len(found) < len(pairs):
            others = ", ".join(key for key in found if key != twice)
            raise UsageError(f"{path}: {shown(twice)} stands twice beside {shown(others) or 'nothing'}.")
        return found

    def refuse(word: str) -> NoReturn:
        raise UsageError(f"{path}: {word} is no finite number.")

    return json.loads(text, object_pairs_hook=once, parse_constant=refuse)


def _check_values(path: str, content: Any) -> None:
    """Bound what anchors expand to; refuse text that no UTF-8 file could hold. Raises UsageError."""
    for count, value in enumerate(_walk(content, [])):
        if count > MAX_VALUES:
            raise UsageError(f"{path} stands for more than {MAX_VALUES:,} values: no job is that large.")
        if isinstance(value, str) and not value.isascii() and any("\ud800" <= each <= "\udfff" for each in value):
            raise UsageError(f"{path}: {shown(value)} is not valid text.")
        if isinstance(value, float) and not math.isfinite(value):
            raise UsageError(f"{path}: a number is too large to be a finite one.")


def _walk(content: Any, todo: list[Any]) -> Iterator[Any]:
    """Every value and key, the shared ones as often as they stand there."""
    todo.append(content)
    while todo:
        value = todo.pop()
        yield value
        if isinstance(value, dict):
            todo += [*value, *value.values()]
        elif isinstance(value, list):
            todo += value
