"""What is a number in text: one grammar, for Python and for TensorFlow's regular expressions.

TensorFlow's parser decides what is possible. Python's int() and float() also take 1_000, other digits and Infinity; it
refuses these, but takes hexadecimal digits and blanks, which are no numbers here, and makes infinity of what is too
large. (It also makes 0 of what is closer to 0 than any normal float32, 1.2e-38.)
"""

from __future__ import annotations

import decimal
import math
import re

import tensorflow as tf

LONGEST_FLOAT = 31  # TensorFlow refuses a longer text (kFastToBufferSize in its numbers.cc)
BLANKS = " \t\v\f"  # what TensorFlow's parser strips
LARGEST = {"": "9223372036854775807", "-": "9223372036854775808"}
INFINITE = decimal.Decimal(2**128 - 2**103)  # from here on the nearest float32 is infinity


def _up_to(largest: str) -> str:
    """A pattern for the whole numbers from 0 to `largest`."""
    below = [
        f"{largest[:place]}[0-{int(digit) - 1}][0-9]{{{len(largest) - place - 1}}}"
        for place, digit in enumerate(largest)
        if digit != "0"
    ]
    return f"0*(?:[0-9]{{1,{len(largest) - 1}}}|{'|'.join(below)}|{largest})"


WHOLE = f"(?:{_up_to(LARGEST[''])}|-{_up_to(LARGEST['-'])})"
FLOAT = "(?:[+-]?(?:[0-9]+\\.?[0-9]*|\\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[+-]?(?:[iI][nN][fF]|[nN][aA][nN]))"
PATTERN = {"int64": f"[{BLANKS}]*{WHOLE}[{BLANKS}]*", "float32": f"[{BLANKS}]*{FLOAT}[{BLANKS}]*"}
NUMBER = {kind: re.compile(pattern) for kind, pattern in PATTERN.items()}
IS_INFINITY = f"[{BLANKS}]*[+-]?[iI][nN][fF][{BLANKS}]*"


def fits(kind: str, text: str) -> bool:
    """Whether a text is a number of this kind."""
    return problem_of(kind, text) is None


def problem_of(kind: str, text: str) -> str | None:
    """Why a text is no number of this kind, in words, which may be empty; None where it is one."""
    if kind == "float32" and len(text) > LONGEST_FLOAT:  # before the pattern, whose time grows with the square
        return f", which is longer than {LONGEST_FLOAT} characters,"
    if not NUMBER[kind].fullmatch(text):
        return ""
    return ", which is too large for float32," if kind == "float32" and _is_overflow(text) else None


def value_of(kind: str, text: str) -> int | float:
    """The number that a fitting text stands for."""
    return _whole(text) if kind == "int64" else float(text)


def is_overflow(texts: tf.Tensor, are_numbers: tf.Tensor) -> tf.Tensor:
    """Which texts of numbers are too long for TensorFlow's parser, or too large for float32: bool, [batch]."""
    too_long = tf.strings.length(texts) > LONGEST_FLOAT
    values = tf.strings.to_number(tf.where(are_numbers & ~too_long, texts, "0"))
    infinite = tf.math.is_inf(values) & ~tf.strings.regex_full_match(texts, IS_INFINITY)
    return are_numbers & (too_long | infinite)


def _is_overflow(text: str) -> bool:
    """Exactly: by way of float64, some of the largest numbers would be rounded twice."""
    value = float(text)
    if abs(value) < 3.4e38 or "n" in text.lower():  # inf and nan
        return False
    return math.isinf(value) or abs(decimal.Decimal(text.strip())) >= INFINITE


def _whole(text: str) -> int:
    """int() refuses more than 4300 digits, leading zeros included."""
    digits = text.strip()
    sign = "-" if digits.startswith("-") else ""
    return int(sign + (digits.lstrip("-").lstrip("0") or "0"))
