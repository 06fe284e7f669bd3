"""What is a number in text: as TensorFlow's parser has it, without what it takes for one and is none."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.training.reader_cases import is_nearest
from tests.training.record_strategies import floats, numbers, whole_numbers
from trainer.training.numbers import IS_INFINITY, LONGEST_FLOAT, PATTERN, fits, is_overflow, problem_of, value_of

LARGEST = "3.40282356779733661e38"  # rounds down to the largest float32, and up if it is made a float64 before
SEVERAL = st.lists(numbers, min_size=1, max_size=20)


def by_tensorflow(kind: str, text: str) -> float | None:
    """What TensorFlow's parser makes of a field; None where it refuses it."""
    try:
        return float(tf.io.decode_csv([f'"{text}"'], [tf.constant([], kind)])[0].numpy()[0])
    except tf.errors.InvalidArgumentError:
        return None


@settings(max_examples=300, deadline=None)
@given(text=numbers, kind=st.sampled_from(["int64", "float32"]))
@example(text=LARGEST, kind="float32")
def test_what_fits_is_what_tensorflow_takes(text: str, kind: str) -> None:
    """Else a job would start and stumble later, without a row to name."""
    found = by_tensorflow(kind, text)
    is_none = kind == "float32" and (
        "x" in text.lower()  # 0x10 is 16.0 to it
        or not text.strip()  # a blank is 0.0
        or (found is not None and np.isinf(found) and "inf" not in text.lower())  # 1e39 is infinite
    )
    assert fits(kind, text) == (found is not None and not is_none)
    if fits(kind, text) and kind == "float32":
        assert is_nearest(np.float32(found), text if "n" not in text.lower() else value_of(kind, text))


@settings(max_examples=60, deadline=None)
@given(texts=SEVERAL)
def test_regular_expressions_say_the_same(texts: list[str]) -> None:
    for kind in ("int64", "float32"):
        found = tf.strings.regex_full_match(texts, PATTERN[kind])
        found = found if kind == "int64" else found & ~is_overflow(tf.constant(texts), found)
        assert found.numpy().tolist() == [fits(kind, text) for text in texts]


@given(whole_numbers)
def test_whole_numbers_keep_all_their_digits(number: int) -> None:
    for text in (str(number), f" {number}\t", str(number).replace("-", "-000") if number < 0 else f"000{number}"):
        assert fits("int64", text)
        assert value_of("int64", text) == number


@given(st.integers(min_value=2**63) | st.integers(max_value=-(2**63) - 1))
def test_larger_ones_are_none(number: int) -> None:
    assert not fits("int64", str(number))


@given(floats)
def test_what_python_and_numpy_write_fits(number: float) -> None:
    for text in (repr(number), str(np.float32(number)), f"{number:e}", f"{number:.9g}"):
        assert fits("float32", text)
        assert np.float32(value_of("float32", text)).tobytes() == np.float32(text).tobytes()


@pytest.mark.parametrize(
    ("text", "fitting"),
    [
        (LARGEST, True),
        ("3.40282356779733662e38", False),
        ("-3.40282356779733661e38", True),
        ("1e38", True),
        ("1e39", False),
        ("1e400", False),
        ("-1e400", False),
        ("1e-400", True),
        ("inf", True),
        ("-INF", True),
        ("Infinity", False),
        ("1" * LONGEST_FLOAT, True),
        ("1" * (LONGEST_FLOAT + 1), False),
        ("1e99999999999999999999", False),
    ],
)
def test_the_edges_of_float32(text: str, fitting: bool) -> None:
    assert fits("float32", text) == fitting
    assert (by_tensorflow("float32", text) is not None) == (
        fitting or (len(text) <= LONGEST_FLOAT and text != "Infinity")
    )


def test_words_for_what_does_not_fit() -> None:
    assert problem_of("float32", "1e39") == ", which is too large for float32,"
    assert problem_of("float32", "0" * 99) == ", which is longer than 31 characters,"
    assert problem_of("float32", "x") == ""
    assert problem_of("int64", "x") == ""
    assert problem_of("int64", "0" * 9999 + "7") is None
    assert value_of("int64", "-" + "0" * 9999 + "7") == -7


def test_a_long_text_takes_no_long_time() -> None:
    """A pattern that goes back and forth would take minutes."""
    for text in ("1" * 200_000 + "x", "0" * 200_000 + "x", " " * 200_000 + "x"):
        assert not fits("float32", text)
        assert not fits("int64", text)


def test_infinity_is_told_from_overflow() -> None:
    texts = ["inf", " +InF\t", "1e39", "nan", "infinity"]
    assert tf.strings.regex_full_match(texts, IS_INFINITY).numpy().tolist() == [True, True, False, False, False]
