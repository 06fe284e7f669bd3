"""The kinds of values a flag can hold: whole numbers, numbers, text, true/false, a choice; each optional or many.

One grammar for settings and hyperparameters, from the command line, a config file or Python:

    scalar     64   1e-3   adam   true          numbers are finite; true/false is never a number
    optional   none
    many       64,32   64 32                    text is never split at commas: file names may hold them

Hyperparameters also read JSON, `"none"` for the text none and `[64, 32]` for many; settings hold file names, which
may look like anything, so their text always stands for itself (`Kind.json`).
"""

from __future__ import annotations

import json
import math
import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

BOOL_WORDS = {"true": True, "false": False, "yes": True, "no": False, "on": True, "off": False, "1": True, "0": False}
NONE_WORDS = ("none", "None", "null")
_NOUNS = {
    int: ("a whole number", "whole numbers"),
    float: ("a finite number", "finite numbers"),
    str: ("text", "words"),
    bool: ("true or false", "true or false"),
}


@dataclass(frozen=True)
class Kind:
    """What one value may be; `base` is int, float, str or bool, or `object` where `choices` tell."""

    base: type
    choices: tuple[Any, ...] = ()
    optional: bool = False
    many: bool = False
    container: type = tuple
    json: bool = True

    @property
    def expected(self) -> str:
        """What is allowed, to stand behind "expected"."""
        listed = ", ".join(map(str, self.choices))
        if self.many:
            phrase = f"some of {listed} (or none)" if self.choices else f"one or more {_NOUNS[self.base][1]}"
        else:
            phrase = f"one of {listed}" if self.choices else _NOUNS[self.base][0]
        return f"{phrase}, or none" if self.optional else phrase

    @property
    def metavar(self) -> str:
        """The short form for a help page."""
        one = (
            "|".join(map(str, self.choices))
            or {int: "INT", float: "NUMBER", str: "TEXT", bool: "true|false"}[self.base]
        )
        if not self.many:
            return one
        return f"{one}[,...]" if self.choices or self.base is not str else f"{one} ..."


def kind_of_hint(hint: Any) -> Kind | None:
    """The kind of a resolved type hint; None where a command line has no spelling for it."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        inner = [argument for argument in arguments if argument is not type(None)]
        kind = kind_of_hint(inner[0]) if len(inner) == 1 else None
        return kind and Kind(kind.base, kind.choices, True, kind.many, kind.container)
    if origin is typing.Literal:
        return kind_of_choices(arguments)
    if origin in (tuple, list):
        one = {argument for argument in arguments if argument is not Ellipsis}
        element = kind_of_hint(one.pop()) if len(one) == 1 else None
        usable = element and not element.many and not element.optional
        return Kind(element.base, element.choices, False, True, origin) if element and usable else None
    return Kind(hint) if hint in (int, float, str, bool) else None


def kind_of_choices(choices: Sequence[Any]) -> Kind | None:
    """The kind of a Literal; `None` among its values makes it optional."""
    values = tuple(choice for choice in choices if choice is not None)
    bases = {type(value) for value in values}
    if not values or not bases <= {int, float, str, bool}:
        return None
    return Kind(bases.pop() if len(bases) == 1 else object, values, optional=len(values) < len(choices))


def kind_of_value(value: Any) -> Kind | None:
    """The kind of a parameter without annotation, from its default."""
    if isinstance(value, (tuple, list)):
        bases = {type(item) for item in value}
        base = float if bases == {int, float} else bases.pop() if len(bases) == 1 else None
        return Kind(base, many=True, container=type(value)) if base in (int, float, str, bool) else None
    return Kind(type(value)) if type(value) in (int, float, str, bool) else None


def from_texts(kind: Kind, texts: Sequence[str]) -> Any:
    """The value that one flag's words on a command line spell; ValueError (without a useful message) if none."""
    if kind.optional and len(texts) == 1 and texts[0] in NONE_WORDS:
        return None
    if kind.many and texts:
        return tuple(item for text in texts for item in _items(kind, text))
    if len(texts) != 1:
        raise ValueError(texts)
    return _scalar(kind, texts[0])


def setting_texts(kind: Kind, value: Any) -> list[str]:
    """The words, one a flag, that `from_texts` reads as this value again, for a kind without JSON."""
    if not kind.many:
        return [_word(value)]
    words = [_word(item) for item in value]
    return words if kind.base is str and not kind.choices else [",".join(words) or "none"]


def json_text(value: Any) -> str:
    """The word that `from_texts` reads as this value again, for every kind with JSON that the value is of."""
    if value is None:
        return "none"
    if isinstance(value, (tuple, list)):
        return json.dumps(list(value), separators=(",", ":"))
    text = _word(value)
    return json.dumps(text) if isinstance(value, str) and (text in NONE_WORDS or text.startswith('"')) else text


def from_value(kind: Kind, value: Any) -> Any:
    """The value that a config file or Python code gives, a list made a tuple; ValueError if it is of another kind.

    YAML 1.1 reads `1e-3` as text, so text that spells a number is taken as the number.
    """
    if value is None and kind.optional:
        return None
    if kind.many:
        if isinstance(value, str) and (kind.base is not str or kind.choices):
            return from_texts(kind, [value])
        return tuple(_one(kind, item) for item in (value if isinstance(value, (list, tuple)) else [value]))
    return _one(kind, value)


def _one(kind: Kind, value: Any) -> Any:
    if isinstance(value, str) and kind.base in (int, float, bool) and not kind.choices:
        return _scalar(kind, value)
    if kind.choices:
        same = [choice for choice in kind.choices if type(choice) is type(value) and choice == value]  # 1 is not True
        return same[0] if same else _fail(value)
    if kind.base is float and type(value) is int:
        value = _finite(value)
    if type(value) is not kind.base:
        raise ValueError(value)
    return _finite(value) if kind.base is float else value


def _fail(value: Any) -> NoReturn:
    raise ValueError(value)


def _items(kind: Kind, text: str) -> list[Any]:
    listed = _json_or_none(text, list) if kind.json else None
    if listed is not None:
        return [_one(kind, item) for item in listed]
    if kind.base is str and not kind.choices:
        return [text]
    if kind.choices and text == "none" and "none" not in kind.choices:
        return []
    return [_scalar(kind, part.strip()) for part in text.split(",")]


def _scalar(kind: Kind, text: str) -> Any:
    quoted = _json_or_none(text, str) if kind.json and kind.base in (str, object) else None
    text = text if quoted is None else quoted
    if kind.choices:
        by_text = {_word(choice): choice for choice in kind.choices}
        return by_text[text] if text in by_text else _fail(text)
    if kind.base is bool:
        word = text.strip().lower()
        return BOOL_WORDS[word] if word in BOOL_WORDS else _fail(text)
    if kind.base is str:
        return text
    return _finite(float(text)) if kind.base is float else int(text)


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _json_or_none(text: str, wanted: type) -> Any:
    """The JSON list or string this text is, else None; only tried where it looks like one."""
    if not text.startswith("[" if wanted is list else '"'):
        return None
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, wanted) else None


def _finite(value: Any) -> float:
    try:
        number = float(value)
    except OverflowError:
        raise ValueError(value) from None
    if not math.isfinite(number):
        raise ValueError(value)
    return number
