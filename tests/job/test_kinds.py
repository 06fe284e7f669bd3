"""One grammar of values, whether they come from a command line, a config file or Python."""

from __future__ import annotations

from typing import Any, Literal, Optional

import pytest

from trainer.job.kinds import Kind, from_texts, from_value, json_text, kind_of_hint, kind_of_value

INT, FLOAT, BOOL, TEXT = Kind(int), Kind(float), Kind(bool), Kind(str)
INTS, TEXTS = Kind(int, many=True), Kind(str, many=True)
CHOICE = Kind(str, ("relu", "none"))
NAMES = Kind(str, ("latest", "best"), many=True)
FILES = Kind(str, many=True, json=False)

READ: dict[str, tuple[Kind, list[str], Any]] = {
    "int": (INT, ["3"], 3),
    "underscores in a number": (INT, ["10_000"], 10000),
    "float": (FLOAT, ["1e-3"], 0.001),
    "int for float": (FLOAT, ["3"], 3.0),
    "true": (BOOL, ["True"], True),
    "off": (BOOL, ["off"], False),
    "zero as false": (BOOL, ["0"], False),
    "text": (TEXT, [" a=b,c "], " a=b,c "),
    "text none": (TEXT, ["none"], "none"),
    "no text": (TEXT, [""], ""),
    "quoted text": (TEXT, ['"none"'], "none"),
    "half a quote": (TEXT, ['"none'], '"none'),
    "optional": (Kind(int, optional=True), ["none"], None),
    "optional text": (Kind(str, optional=True), ["null"], None),
    "optional text none": (Kind(str, optional=True), ['"none"'], "none"),
    "choice": (CHOICE, ["none"], "none"),
    "choice of numbers": (Kind(int, (1, 2)), ["2"], 2),
    "choice of several types": (Kind(object, (1, "a", True)), ["true"], True),
    "commas": (INTS, ["1,2"], (1, 2)),
    "spaces": (INTS, ["1", "2,3"], (1, 2, 3)),
    "brackets": (INTS, ["[1, 2]"], (1, 2)),
    "no number": (INTS, ["[]"], ()),
    "text is not split": (TEXTS, ["a,b", "c d"], ("a,b", "c d")),
    "text in brackets": (TEXTS, ['["a,b"]'], ("a,b",)),
    "a file in brackets": (FILES, ["[1]", '"a"'], ("[1]", '"a"')),
    "names": (NAMES, ["latest,best"], ("latest", "best")),
    "no name": (NAMES, ["none"], ()),
}

UNREADABLE: dict[str, tuple[Kind, list[str]]] = {
    "float for int": (INT, ["3.0"]),
    "exponent for int": (INT, ["1e3"]),
    "bool for int": (INT, ["true"]),
    "two words": (INT, ["3", "4"]),
    "nan": (FLOAT, ["nan"]),
    "inf": (FLOAT, ["-inf"]),
    "too large": (FLOAT, ["1e999"]),
    "number for bool": (BOOL, ["2"]),
    "none where it must be": (INT, ["none"]),
    "unknown choice": (CHOICE, ["tanh"]),
    "empty item": (INTS, ["1,,2"]),
    "items of another type": (INTS, ['["a"]']),
    "nested": (INTS, ["[[1]]"]),
}

# id: kind, given, value or None where it is refused
VALUES: dict[str, tuple[Kind, Any, Any]] = {
    "YAML 1.1 reads 1e-3 as text": (FLOAT, "1e-3", 0.001),
    "int for float": (FLOAT, 3, 3.0),
    "list": (TEXTS, ["a", "b"], ("a", "b")),
    "one for many": (TEXTS, "a,b", ("a,b",)),
    "brackets for text stay": (TEXTS, "[a]", ("[a]",)),
    "names in one text": (NAMES, "latest,best", ("latest", "best")),
    "bool for int": (INT, True, None),
    "float for int": (INT, 3.0, None),
    "int for text": (TEXT, 3, None),
    "int for bool": (BOOL, 1, None),
    "mapping": (TEXT, {"a": 1}, None),
    "list for one": (INT, [1], None),
    "true is not 1": (Kind(int, (1, 2)), True, None),
    "huge": (FLOAT, 10**400, None),
}

HINTS: dict[str, tuple[Any, Kind | None]] = {
    "int": (int, INT),
    "optional": (Optional[int], Kind(int, optional=True)),  # noqa: UP045 - as users write it
    "or none": (float | None, Kind(float, optional=True)),
    "literal": (Literal["a", "b"], Kind(str, ("a", "b"))),
    "literal none": (Literal["a", None], Kind(str, ("a",), optional=True)),
    "tuple": (tuple[int, ...], INTS),
    "pair": (tuple[int, int], INTS),
    "list": (list[str], Kind(str, many=True, container=list)),
    "tuple of choices": (tuple[Literal["latest", "best"], ...], NAMES),
    "dict": (dict[str, int], None),
    "union": (int | str, None),
    "tuple of two types": (tuple[int, str], None),
    "nested": (list[list[int]], None),
    "object": (object, None),
}


@pytest.mark.parametrize(("kind", "texts", "value"), READ.values(), ids=READ)
def test_read(kind: Kind, texts: list[str], value: Any) -> None:
    read = from_texts(kind, texts)
    assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize(("kind", "texts"), UNREADABLE.values(), ids=UNREADABLE)
def test_unreadable(kind: Kind, texts: list[str]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the caller words the error
        from_texts(kind, texts)


@pytest.mark.parametrize(("kind", "given", "value"), VALUES.values(), ids=VALUES)
def test_values(kind: Kind, given: Any, value: Any) -> None:
    if value is None:
        with pytest.raises(ValueError):  # noqa: PT011 - the caller words the error
            from_value(kind, given)
    else:
        read = from_value(kind, given)
        assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize(("hint", "kind"), HINTS.values(), ids=HINTS)
def test_hints(hint: Any, kind: Kind | None) -> None:
    assert kind_of_hint(hint) == kind


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (3, INT),
        (True, BOOL),
        ("a", TEXT),
        ((1, 2), INTS),
        ([1, 0.5], Kind(float, many=True, container=list)),
        ([], None),
        ([1, "a"], None),
        ({}, None),
        (None, None),
    ],
    ids=str,
)
def test_kind_of_a_default(value: Any, kind: Kind | None) -> None:
    assert kind_of_value(value) == kind


@pytest.mark.parametrize("text", ["none", "null", '"none"', '"', '""', "a\nb", "[1]", "--x", "", "é\ud800"])
def test_text_survives(text: str) -> None:
    for kind in (TEXT, Kind(str, optional=True), Kind(str, (text, "other"))):
        assert from_texts(kind, [json_text(text)]) == text
    assert from_texts(TEXTS, [json_text((text, text))]) == (text, text)
