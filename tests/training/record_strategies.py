"""Records as they come and as nobody wants them, for hypothesis: lines of CSV and JSON, tf.Examples, and columns."""

from __future__ import annotations

import json
from collections.abc import Sequence

import tensorflow as tf
from hypothesis import strategies as st

from tests.training.reader_cases import feature
from trainer.job.columns import KINDS, Column

whole_numbers = st.integers(-(2**63), 2**63 - 1)
floats = st.floats(width=32)
ODD_NUMBERS = ["Infinity", "1_000", "0x10", "0X1p3", "-0x0", "1e39", "-1e39", "1e400", "-1e-400", "-nan", "+inf"]
ODD_NUMBERS += ["-INF", "nan", " 5 ", "+5", "- 5", "5.", ".5", ".", "9" * 30, "00", "-0", "-0.0", "1e5", "1E+05", "  "]
ODD_NUMBERS += ["\t", " \v\f", "5\0", str(2**63 - 1), str(2**63), str(-(2**63)), str(-(2**63) - 1), "0" * 40 + "7"]
ODD_NUMBERS += ["1e-45", "0.1" + "0" * 28, "0.1" + "0" * 29, "3.4028235677973366e38", "3.40282356779733661e38"]
ODD_NUMBERS += ["3.40282356779733662e38", "3.4028234663852886e38"]
numbers = st.one_of(
    st.text(st.sampled_from("0123456789+-.eEinfaNty_ xX\t\v\0٣\u00a0"), max_size=8),
    whole_numbers.map(str),
    st.integers(-(2**65), 2**65).map(str),
    st.floats().map(repr),
    floats.map(repr),
    st.integers(29, 34).map("1".zfill),
    st.sampled_from(ODD_NUMBERS),
)
words = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=8)
nasty_bytes = st.one_of(
    st.binary(max_size=6),
    st.sampled_from([b"\xff", b"caf\xe9", b"\xed\xa0\x80", b"\xe0\x80\x80", b"\xf4\x90\x80\x80", b"\xc0\x80"])
    | st.sampled_from(["\u2028".encode(), "\u0085".encode(), b"\xef\xbb\xbf", b"\xef\xbf\xbf", b"\0"]),
)


@st.composite
def column_sets(draw: st.DrawFn, shapes: Sequence[tuple[int, ...]] = ((),)) -> dict[str, Column]:
    """Some of the columns a to d, each of any kind, with and without a default."""
    found = {}
    for name in draw(st.lists(st.sampled_from("abcd"), min_size=1, max_size=4, unique=True)):
        kind = draw(st.sampled_from(KINDS))
        default = draw(st.none() | {"int64": whole_numbers, "float32": floats, "string": words}[kind])
        found[name] = Column(kind, draw(st.sampled_from(list(shapes))), default)
    return found


@st.composite
def mutated(draw: st.DrawFn, whole: bytes) -> bytes:
    """These bytes with some taken out, put in or changed."""
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(whole)))
        end = min(len(whole), start + draw(st.integers(0, 4)))
        whole = whole[:start] + draw(nasty_bytes) + whole[end:]
    return whole


def csv_field(separator: str) -> st.SearchStrategy[str]:
    """Fields, quoted well or not."""
    texts = st.one_of(numbers, words, st.text(st.sampled_from(f'"{separator} a0x'), max_size=5), st.just(""))
    return st.one_of(texts, texts.map(lambda text: '"' + text.replace('"', '""') + '"'))


@st.composite
def csv_lines(draw: st.DrawFn, separator: str, columns: int) -> bytes:
    """A line of CSV, mostly with the right number of fields; never a blank one."""
    count = draw(st.sampled_from([columns] * 6 + [columns - 1, columns + 1]))
    fields = draw(st.lists(csv_field(separator), min_size=count, max_size=count))
    line = separator.join(fields).encode()
    if draw(st.integers(0, 4)) == 0:
        line = draw(mutated(line))
    return line.replace(b"\n", b"").replace(b"\r", b"") or b"x"


LITERALS = [
    "true",
    "false",
    "null",
    "NaN",
    "Infinity",
    "-Infinity",
    "1e400",
    "-1e39",
    "1e39",
    "1E5",
    "0.1",
    "-0",
    "-0.0",
]
LITERALS += [
    "9" * 25,
    "9" * 31,
    "9" * 32,
    "1" * 5000,
    str(2**63),
    str(-(2**63)),
    "0.1" + "0" * 29,
    "01",
    "+1",
    ".5",
    "1.",
]
LITERALS += [
    '"\\ud800"',
    '"\\ud83d\\ude00"',
    '"\\u0000"',
    '"\\u2028"',
    '"a\\nb"',
    '"5"',
    '"nan"',
    '""',
    "{}",
    '{"a": 1}',
]
LITERALS += [
    "[]",
    "[1]",
    "[1, 2]",
    "[1, 2.5]",
    "[[1, 2], [3, 4]]",
    "[[1], [2, 3]]",
    "[1, null]",
    "[true, 2]",
    '["a", "b"]',
]
LITERALS += [
    "[[1, 2], [3, 4.5]]",
    "[" * 200 + "]" * 200,
    "[" * 99 + "]" * 99,
    "3.40282356779733661e38",
    "3.40282356779733662e38",
]
LITERALS += ['{"a": 1, "a": 2}', "1_0", "'a'", "1 2", ""]


@st.composite
def json_lines(draw: st.DrawFn) -> bytes:
    """A line that is about a JSON object with the keys a to d."""
    scalars = st.one_of(
        st.sampled_from(LITERALS),
        whole_numbers.map(str),
        floats.map(json.dumps),
        words.map(json.dumps),
        numbers.map(json.dumps),
    )
    items = st.one_of(scalars, st.lists(scalars, max_size=3).map(lambda each: f"[{', '.join(each)}]"))
    pairs = draw(st.lists(st.tuples(st.sampled_from("abcd"), items), max_size=5))
    line = ("{" + ", ".join(f'"{name}": {item}' for name, item in pairs) + "}").encode()
    if draw(st.integers(0, 4)) == 0:
        line = draw(mutated(line))
    return line.replace(b"\n", b"").replace(b"\r", b"") or b"x"


@st.composite
def example_records(draw: st.DrawFn) -> bytes:
    """A tf.Example with some of the features a to d, or something else."""
    found = {}
    for name in draw(st.lists(st.sampled_from("abcd"), max_size=4, unique=True)):
        kind = draw(st.sampled_from([*KINDS, ""]))
        item = {"int64": whole_numbers, "float32": floats, "string": st.binary(max_size=4) | words, "": st.nothing()}[
            kind
        ]
        size = draw(st.sampled_from([0, 1, 1, 1, 2, 2, 3, 4])) if kind else 0
        found[name] = feature(draw(st.lists(item, min_size=size, max_size=size)), kind)
    whole = tf.train.Example(features=tf.train.Features(feature=found)).SerializeToString(deterministic=True)
    # other bytes than these are not for `assert_agreement`: TensorFlow's parser goes on where an example is damaged,
    # or stops where protobuf's does not; in a file, checksums stop both
    return draw(st.just(whole) | st.sampled_from([b"text", b"{}", b"\x81\n\x00", b"\xff"]))
