"""Which feature feeds which input: every rule of the convention, and the sentence of every mismatch."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.job.errors import DataError
from trainer.training.names import NUMBERS, Spec, base_name, map_inputs, width_of

FLOAT: Spec = ("float32", ())
INT: Spec = ("int64", ())
TEXT: Spec = ("string", ())


def row(*shape: int | None, dtype: str = "float32") -> Spec:
    """A spec of this shape."""
    return dtype, shape


Case = tuple[dict[str, Spec], dict[str, Spec], dict[str, tuple[str, ...]], dict[str, tuple[str, ...]]]
# inputs, features, feature map -> mapping
RULES = {
    "XYZ_input takes XYZ, as a Sequential model has it": (
        {"xyz_input": row(1)}, {"xyz": FLOAT, "other": FLOAT}, {}, {"xyz_input": ("xyz",)}
    ),
    "XYZ takes XYZ, as a functional Input has it": (
        {"xyz": row(1)}, {"xyz": FLOAT, "other": FLOAT}, {}, {"xyz": ("xyz",)}
    ),
    "its full name comes before its base name": (
        {"a_input": row(1)}, {"a": FLOAT, "a_input": FLOAT}, {}, {"a_input": ("a_input",)}
    ),
    "several inputs, each by its name": (
        {"a": row(1), "b_input": row(1)}, {"b": FLOAT, "a": FLOAT, "c": TEXT}, {}, {"a": ("a",), "b_input": ("b",)}
    ),
    "a single input takes a single feature whatever its name": (
        {"dense_input": row(1)}, {"x": FLOAT}, {}, {"dense_input": ("x",)}
    ),
    "a single input takes a single text": ({"words": row(1, dtype="string")}, {"x": TEXT}, {}, {"words": ("x",)}),
    "a single input takes what preprocess makes": (
        {"tokens_input": row(24)}, {"x": row(24, dtype="int64")}, {}, {"tokens_input": ("x",)}
    ),
    "a single input as wide as the columns takes them all, in the order of the file": (
        {"dense_input": row(3)}, {"b": FLOAT, "a": INT, "c": FLOAT}, {}, {"dense_input": ("b", "a", "c")}
    ),
    "numbered columns": (
        {"pixel_input": row(3)},
        {"pixel_2": FLOAT, "pixel_0": FLOAT, "pixel_1": FLOAT, "id": INT},
        {},
        {"pixel_input": ("pixel_0", "pixel_1", "pixel_2")},
    ),
    "a numbered column that is another input's": (
        {"p": row(2), "p_2": row(1)},
        {"p_0": FLOAT, "p_1": FLOAT, "p_2": FLOAT},
        {},
        {"p": ("p_0", "p_1"), "p_2": ("p_2",)},
    ),
    "the first of many numbered columns, when asked for": (
        {"p": row(2)}, {"p_0": FLOAT, "p_1": FLOAT, "p_2": FLOAT}, {"p": ("p_0", "p_1")}, {"p": ("p_0", "p_1")}
    ),
    "numbered columns of two inputs": (
        {"a": row(2), "b": row(1)},
        {"a_0": FLOAT, "a_1": FLOAT, "b_0": FLOAT},
        {},
        {"a": ("a_0", "a_1"), "b": ("b_0",)},
    ),
    "numbered columns by the full name": (
        {"a_input": row(2)}, {"a_input_0": FLOAT, "a_input_1": FLOAT, "x": FLOAT}, {},
        {"a_input": ("a_input_0", "a_input_1")},
    ),
    "a feature map comes before names": ({"a": row(1)}, {"a": FLOAT, "b": FLOAT}, {"a": ("b",)}, {"a": ("b",)}),
    "a feature map puts columns side by side in its own order": (
        {"a": row(2), "b": row(1)},
        {"x": FLOAT, "y": INT, "b": FLOAT},
        {"a": ("y", "x")},
        {"a": ("y", "x"), "b": ("b",)},
    ),
    "one feature may feed two inputs": (
        {"a": row(1), "b": row(1)}, {"x": FLOAT}, {"a": ("x",), "b": ("x",)}, {"a": ("x",), "b": ("x",)}
    ),
    "an input of scalars": ({"a": row()}, {"a": FLOAT, "b": FLOAT}, {}, {"a": ("a",)}),
    "an open width takes a number": ({"a": row(None)}, {"a": FLOAT, "b": FLOAT}, {}, {"a": ("a",)}),
    "an open width takes any row": (
        {"a": row(None, dtype="int64")}, {"a": row(7, dtype="int64"), "b": FLOAT}, {}, {"a": ("a",)}
    ),
    "a row of open width fits": ({"a": row(7)}, {"a": row(None), "b": FLOAT}, {}, {"a": ("a",)}),
    "a flat list of as many numbers as an image has": (
        {"image": row(28, 28)}, {"image": row(784), "b": FLOAT}, {}, {"image": ("image",)}
    ),
    "numbered columns of an image, row by row": (
        {"p": row(2, 2)}, {"p_3": INT, "p_2": INT, "p_1": INT, "p_0": INT}, {}, {"p": ("p_0", "p_1", "p_2", "p_3")}
    ),
    "all columns are an image": (
        {"p": row(2, 1)}, {"a": INT, "b": FLOAT}, {}, {"p": ("a", "b")}
    ),
    "a number for an image of one": ({"p": row(1, 1)}, {"p": INT, "b": FLOAT}, {}, {"p": ("p",)}),
    "images": ({"image": row(28, 28, 1)}, {"image": row(28, 28, 1)}, {}, {"image": ("image",)}),
    "whole numbers for a float input": ({"a": row(1)}, {"a": INT, "b": FLOAT}, {}, {"a": ("a",)}),
}  # fmt: skip


@pytest.mark.parametrize("case", RULES.values(), ids=RULES.keys())
def test_rules(case: Case) -> None:
    inputs, features, feature_map, mapping = case
    assert map_inputs(inputs, features, feature_map) == mapping


# inputs, features, feature map, the words of the sentence
MISMATCHES = {
    "another name": (
        {"size_input": row(1), "age": row(1)},
        {"sizes": FLOAT, "age": FLOAT},
        {},
        "nothing feeds the model's input size_input: its inputs are size_input, age, the features are sizes, age; name "
        "columns after the inputs, or try --feature-map size_input=sizes",
    ),
    "two names": (
        {"first": row(1), "second": row(1)},
        {"a_first": FLOAT, "a_second": FLOAT},
        {},
        "--feature-map first=a_first second=a_second",
    ),
    "too few columns": (
        {"dense_input": row(3)}, {"a": FLOAT, "b": FLOAT}, {}, "nothing feeds the model's input dense_input"
    ),
    "a text among the columns": (
        {"dense_input": row(2)}, {"a": FLOAT, "b": TEXT}, {}, "nothing feeds the model's input dense_input"
    ),
    "one number is missing": (
        {"p": row(3)}, {"p_0": FLOAT, "p_2": FLOAT}, {}, "its inputs are p, the features are p_0, p_2"
    ),
    "more numbered columns than places": (
        {"p_input": row(2), "q": row(1)}, {"p_0": FLOAT, "p_1": FLOAT, "p_2": FLOAT, "q": FLOAT, "p_x": TEXT}, {},
        "the model's input p_input takes 2 numbers in each row but the data has 3, p_0, p_1, ...: change the model's "
        "input shape, or name those that are meant with --feature-map=p_input=COLUMN+COLUMN.",
    ),
    "no feature at all": ({"a": row(1)}, {}, {}, "the features are none; name columns after the inputs, or try "
                          "--feature-map a=COLUMN"),
    "text for numbers": (
        {"a": row(1)}, {"a": TEXT, "b": FLOAT}, {},
        "the model's input a takes float32 but the feature a is string: convert it in preprocess, or feed another "
        "column with --feature-map=a=COLUMN",
    ),
    "numbers for text": ({"a": row(1, dtype="string")}, {"a": INT}, {}, "takes string but the feature a is int64"),
    "fractions for whole numbers": ({"a": row(1, dtype="int32")}, {"a": FLOAT}, {}, "takes int32 but the feature a is"),
    "another width": (
        {"a": row(24)}, {"a": row(20)}, {},
        "the model's input a has the shape (24,) in each row but a gives (20,): change the model's input shape",
    ),
    "a number for a row": ({"a": row(24)}, {"a": FLOAT, "b": FLOAT}, {}, "the shape (24,) in each row but a gives ()"),
    "another rank": ({"a": row(28, 28)}, {"a": row(783)}, {}, "has the shape (28, 28) in each row but a gives (783,)"),
    "an image for a flat list": ({"a": row(4)}, {"a": row(2, 2)}, {}, "the shape (4,) in each row but a gives (2, 2)"),
    "a turned image": ({"a": row(2, 3)}, {"a": row(3, 2)}, {}, "has the shape (2, 3) in each row but a gives (3, 2)"),
    "a row of open width for an image": ({"a": row(2, 2)}, {"a": row(None)}, {}, "the shape (2, 2) in each row but"),
    "a map of too few columns for an image": (
        {"a": row(2, 2)}, {"x": INT, "y": INT}, {"a": ("x", "y")}, "the shape (2, 2) in each row but x, y gives (2,)"
    ),
    "an open size": ({"a": row(None, 3)}, {"a": row(3)}, {}, "has the shape (any, 3) in each row but a gives (3,)"),
    "a map of too few columns": (
        {"a": row(3)}, {"x": FLOAT, "y": FLOAT}, {"a": ("x", "y")}, "has the shape (3,) in each row but x, y gives (2,)"
    ),
    "a map that stacks rows": (
        {"a": row(2)}, {"x": row(1), "y": FLOAT}, {"a": ("x", "y")},
        "--feature-map=a=x+y: x is not a single number in each row",
    ),
    "a map that names a column twice": (
        {"a": row()}, {"x": FLOAT, "y": FLOAT}, {"a": ("x", "y", "x")},
        "--feature-map=a=x+y+x: x stands there twice: name each column once.",
    ),
    "a map of an unknown input": (
        {"a": row(1)}, {"x": FLOAT}, {"b": ("x",)}, "--feature-map=b=x: the model has no input b; its inputs are a."
    ),
    "a map of an unknown column": (
        {"a": row(1)}, {"x": FLOAT}, {"a": ("y",)}, "--feature-map=a=y: there is no feature y; the features are x."
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", MISMATCHES.values(), ids=MISMATCHES.keys())
def test_a_mismatch_is_told_with_both_sides(
    case: tuple[dict[str, Spec], dict[str, Spec], dict[str, tuple[str, ...]], str],
) -> None:
    inputs, features, feature_map, words = case
    with pytest.raises(DataError, match=re.escape(words)):
        map_inputs(inputs, features, feature_map)


def test_a_proposal_is_a_mapping_that_works() -> None:
    inputs = {"size_input": row(1), "age_input": row(1)}
    features = {"sizes": FLOAT, "ages": FLOAT, "id": INT}
    with pytest.raises(DataError) as raised:
        map_inputs(inputs, features, {})
    proposed = str(raised.value).partition("--feature-map ")[2].split()
    feature_map = {name: (column,) for name, column in (each.split("=") for each in proposed)}
    assert map_inputs(inputs, features, feature_map) == {"size_input": ("sizes",), "age_input": ("ages",)}


shapes = st.lists(st.one_of(st.none(), st.integers(1, 3)), max_size=2).map(tuple)
specs = st.tuples(st.sampled_from(["float32", "int64", "string", "bool"]), shapes)
names = st.builds(
    "".join, st.tuples(st.sampled_from("ab"), st.sampled_from(["", "_input", "_0", "_1", "_2", "_input_0"]))
)


@given(
    inputs=st.dictionaries(names, specs, min_size=1, max_size=3),
    features=st.dictionaries(names, specs, max_size=5),
    feature_map=st.dictionaries(names, st.lists(names, min_size=1, max_size=3), max_size=2),
)
def test_a_mapping_loses_no_input_and_invents_no_feature(
    inputs: dict[str, Spec], features: dict[str, Spec], feature_map: dict[str, list[str]]
) -> None:
    try:
        mapping = map_inputs(inputs, features, feature_map)
    except DataError:
        return
    assert list(mapping) == list(inputs)
    for name, found in mapping.items():
        assert found
        assert set(found) <= set(features)
        assert list(found) == feature_map.get(name, list(found))
        strings = {features[each][0] == "string" for each in found}
        assert strings == {inputs[name][0] == "string"}
        if len(found) > 1:
            assert all(features[each][1] == () for each in found)
            assert width_of(inputs[name][1]) in (None, len(found))


@given(names=st.lists(st.from_regex(r"[a-z]{1,6}", fullmatch=True), min_size=1, max_size=5, unique=True))
def test_columns_named_like_the_layers_always_fit(names: list[str]) -> None:
    """The one convention to remember, whether the model is Sequential or functional."""
    features = dict.fromkeys(names, ("float32", ()))
    for suffix in ("", "_input"):
        inputs = {name + suffix: ("float32", (1,)) for name in names}
        assert map_inputs(inputs, features, {}) == {name + suffix: (name,) for name in names}


@pytest.mark.parametrize(("name", "base"), [("a_input", "a"), ("a", "a"), ("input_1", "input_1"), ("_input", "")])
def test_base_name(name: str, base: str) -> None:
    assert base_name(name) == base


@pytest.mark.parametrize(("shape", "width"), [((), 1), ((5,), 5), ((None,), None), ((2, 3), 6), ((None, 3), None)])
def test_width_of(shape: tuple[int | None, ...], width: int | None) -> None:
    assert width_of(shape) == width


def test_every_dtype_of_numbers_may_be_stacked() -> None:
    features = {dtype: (dtype, ()) for dtype in NUMBERS}
    assert map_inputs({"x": ("float32", (len(NUMBERS),))}, features, {}) == {"x": tuple(NUMBERS)}
