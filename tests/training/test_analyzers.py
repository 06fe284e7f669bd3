"""What analyzers count: the same numbers that a look at the whole column gives, however it is cut into batches."""

from __future__ import annotations

import collections
import itertools
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.job.columns import Column
from trainer.job.errors import DataError
from trainer.training import analyzers
from trainer.training.analyzers import (
    MISSING_INT,
    Analyzer,
    Moments,
    Quantiles,
    Range,
    Result,
    Vocabulary,
    is_line,
    term_text,
)

CUTS = st.lists(st.integers(0, 200), max_size=6)
FLOATS = st.floats(-(2.0**60), 2.0**60, width=32)
WORDS = st.lists(st.sampled_from([b"a", b"b", b"B", "ü".encode(), b"ab", b" ", b"", b"x\ny", b"\xff"]), max_size=200)


def pieces(values: np.ndarray, cuts: list[int]) -> list[np.ndarray]:
    places = [0, *sorted(min(cut, len(values)) for cut in cuts), len(values)]
    return [values[start:end] for start, end in itertools.pairwise(places)]


def result(wanted: Analyzer, batches: list[np.ndarray], column: Column | None = None) -> Result:
    tally = wanted.start(column or Column("float32"))
    for batch in batches:
        tally.add(batch)
    found = tally.finish()
    json.dumps(found.facts)  # or it could not be kept
    return found


def numbers(found: Result) -> list[float]:
    return [float(line) for line in found.lines]


@given(st.lists(FLOATS, min_size=1, max_size=200), CUTS)
@settings(max_examples=200, deadline=None)
def test_moments_are_numpys_for_any_batches(values: list[float], cuts: list[int]) -> None:
    column = np.array(values, np.float32)
    exact = column.astype(np.float64)
    found = result(Moments("x"), pieces(column, cuts))
    scale = np.abs(exact).max()
    np.testing.assert_allclose(numbers(found)[0], exact.mean(), rtol=1e-12, atol=1e-13 * scale)
    np.testing.assert_allclose(numbers(found)[1], exact.var(), rtol=1e-9, atol=1e-13 * scale**2)
    assert numbers(found)[1] >= 0
    assert (found.facts["count"], found.facts["missing"]) == (len(values), 0)


def test_moments_see_a_small_variance_beside_a_large_mean() -> None:
    """The mean of the squares less the square of the mean would be off by a hundred here."""
    column = 10**9 + np.random.default_rng(0).integers(0, 3, 10_000)
    mean, variance = numbers(result(Moments("x"), np.array_split(column, 10), Column("int64")))
    assert mean == pytest.approx(column.astype(float).mean(), rel=1e-15)
    assert variance == pytest.approx((column - 10**9).var(), rel=1e-6)


@given(st.lists(st.sampled_from([1.5, -2.0, np.nan, np.inf, -np.inf]), min_size=1, max_size=50), CUTS)
@settings(max_examples=100, deadline=None)
def test_what_is_no_number_is_counted_apart(values: list[float], cuts: list[int]) -> None:
    column = np.array(values, np.float32)
    kept = column[np.isfinite(column)]
    wanted: list[tuple[Analyzer, list[float]]] = [
        (Moments("x"), [kept.mean(), kept.var()] if len(kept) else []),
        (Range("x"), [kept.min(), kept.max()] if len(kept) else []),
        (Quantiles("x", 2), [np.quantile(kept, 0.5, method="inverted_cdf")] if len(kept) else []),
    ]
    for analyzer, expected in wanted:
        if not len(kept):
            with pytest.raises(DataError, match=f"column x holds no number, so there is no {analyzer.name} of it"):
                result(analyzer, pieces(column, cuts))
            continue
        found = result(analyzer, pieces(column, cuts))
        np.testing.assert_allclose(numbers(found), expected, rtol=1e-6, atol=1e-6)
        assert found.facts["missing"] == len(column) - len(kept)
        assert found.facts["count"] == len(kept)


def test_missing_whole_numbers_are_counted_apart() -> None:
    column = np.array([7, MISSING_INT, 9], np.int64)
    assert result(Range("x"), [column], Column("int64", default=0)).lines == ["7.0", "9.0"]
    assert result(Moments("x"), [column], Column("int64", default=0)).facts["missing"] == 1


def test_columns_with_a_shape_are_taken_all_together() -> None:
    column = np.arange(6, dtype=np.float32).reshape(3, 2)
    assert result(Moments("x"), [column[:1], column[1:]]).lines == ["2.5", repr(35 / 12)]
    words = np.array([[b"a", b"b"], [b"b", b"c"]], object)
    assert result(Vocabulary("w"), [words], Column("string", (2,))).lines == ["b", "a", "c"]


@given(WORDS, CUTS, st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_a_vocabulary_is_the_same_for_any_order_and_any_batches(
    words: list[bytes], cuts: list[int], random: Any
) -> None:
    usable = [word.decode() for word in words if word not in (b"", b"x\ny", b"\xff")]
    mixed = random.sample(words, len(words))
    if not usable:
        with pytest.raises(DataError, match="no term of column w occurs 1 times or more"):
            result(Vocabulary("w"), [np.array(words, object)], Column("string"))
        return
    first = result(Vocabulary("w"), [np.array(words, object)], Column("string"))
    assert result(Vocabulary("w"), pieces(np.array(mixed, object), cuts), Column("string")) == first
    counts = collections.Counter(usable)
    assert first.facts["counts"] == counts
    assert list(first.facts["counts"]) == first.lines == sorted(counts, key=lambda word: (-counts[word], word))
    assert first.facts["missing"] == words.count(b"")
    assert first.facts["unusable"] == words.count(b"x\ny") + words.count(b"\xff")


LETTERS = np.array([each.encode() for each in "aaaabbbccdde"], object)


@pytest.mark.parametrize(
    ("wanted", "lines", "cut_off"),
    [
        pytest.param(Vocabulary("w"), ["a", "b", "c", "d", "e"], 0, id="all"),
        pytest.param(Vocabulary("w", top=2), ["a", "b"], 3, id="the first two"),
        pytest.param(Vocabulary("w", top=3), ["a", "b", "c"], 2, id="a tie is cut by the text"),
        pytest.param(Vocabulary("w", top=9), ["a", "b", "c", "d", "e"], 0, id="more than there are"),
        pytest.param(Vocabulary("w", min_count=2), ["a", "b", "c", "d"], 1, id="twice"),
        pytest.param(Vocabulary("w", top=1, min_count=4), ["a"], 4, id="both"),
    ],
)
def test_caps_of_a_vocabulary(wanted: Vocabulary, lines: list[str], cut_off: int) -> None:
    found = result(wanted, [LETTERS], Column("string"))
    assert (found.lines, found.facts["cut_off"], found.facts["distinct"]) == (lines, cut_off, 5)
    assert list(found.facts["counts"]) == lines


def test_a_vocabulary_of_whole_numbers_has_their_digits() -> None:
    column = np.array([3, -1, 3, MISSING_INT, 10], np.int64)
    assert result(Vocabulary("n"), [column], Column("int64")).lines == ["3", "-1", "10"]
    counted = result(Vocabulary("n"), [column], Column("int64", default=10))
    assert counted.facts["counts"] == {"10": 2, "3": 2, "-1": 1}
    assert counted.facts["missing"] == 1


def test_a_key_is_no_vocabulary(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(analyzers, "MAX_TERMS", 100)
    with pytest.raises(DataError, match="column id holds more than 100 different values: that is a key"):
        result(Vocabulary("id"), [np.arange(101)], Column("int64"))


def test_terms_as_text() -> None:
    assert [term_text(term) for term in (b"a", "ü".encode(), b"", 3, 3.0, 0.5, b"\xff")] == [
        *("a", "ü", "", "3", "3", "0.5"),
        None,
    ]
    assert [text for text in ("a", " ", "", "a\n", "\r", None, 1, "\u2028") if is_line(text)] == ["a", " ", "\u2028"]
