"""Quantiles of a stream: exact while it is short, never further off than is said, the same every time."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.training.quantiles import BLOCK, QuantileSketch

NUMBERS = st.lists(st.one_of(st.integers(-5, 5).map(float), st.floats(-1e300, 1e300)), min_size=1, max_size=400)


def filled(batches: list[np.ndarray], block: int = BLOCK) -> QuantileSketch:
    sketch = QuantileSketch(block)
    for batch in batches:
        sketch.add(batch)
    return sketch


def distance(numbers: np.ndarray, value: float, share: float) -> float:
    """How far the ranks that a value has are from a share of all numbers."""
    lowest, highest = (numbers < value).mean(), (numbers <= value).mean()
    return float(max(lowest - share, share - highest, 0))


@given(NUMBERS, st.integers(2, 20))
@settings(max_examples=100, deadline=None)
def test_short_streams_give_what_numpy_gives(numbers: list[float], parts: int) -> None:
    values = np.array(numbers)
    shares = np.arange(1, parts) / parts
    sketch = filled([values])
    assert sketch.rank_error == 0
    for value, share in zip(sketch.boundaries(parts), shares, strict=True):
        assert value in numbers
        assert distance(values, value, share) < 1e-12
    if len(numbers) % parts == 0:
        return  # i/parts of all is a whole number of them, which numpy's own rounding may miss
    assert sketch.boundaries(parts) == np.quantile(values, shares, method="inverted_cdf").tolist()


@given(NUMBERS, st.integers(2, 20), st.sampled_from([2, 4, 8]))
@settings(max_examples=200, deadline=None)
def test_long_streams_keep_within_the_error_that_is_said(numbers: list[float], parts: int, block: int) -> None:
    values = np.array(numbers)
    sketch = filled([values], block)
    for part, value in enumerate(sketch.boundaries(parts), start=1):
        assert value in numbers
        assert distance(values, value, part / parts) <= sketch.rank_error + 1e-12
    assert sketch.rank_error <= max(np.log2(len(values) / block), 0) / (2 * block)
    assert (sketch.rank_error == 0) == (len(values) < 2 * block)


@given(NUMBERS, st.lists(st.integers(0, 400), max_size=5), st.integers(2, 9))
@settings(max_examples=100, deadline=None)
def test_how_the_stream_is_cut_does_not_matter(numbers: list[float], cuts: list[int], parts: int) -> None:
    values = np.array(numbers)
    places = [0, *sorted(min(cut, len(values)) for cut in cuts), len(values)]
    pieces = [values[start:end] for start, end in itertools.pairwise(places)]
    assert filled(pieces, 8).boundaries(parts) == filled([values], 8).boundaries(parts)


@pytest.mark.parametrize("order", ["up", "down", "mixed"])
def test_a_million_numbers_are_known_to_a_few_in_a_hundred_thousand(order: str) -> None:
    values = np.arange(1_000_000, dtype=np.float64)
    values = {"up": values, "down": values[::-1], "mixed": np.random.default_rng(0).permutation(values)}[order]
    sketch = filled(np.array_split(values, 977))
    assert 0 < sketch.rank_error < 0.00003
    found = np.array(sketch.boundaries(100))
    assert np.abs(found - np.arange(10_000, 1_000_000, 10_000)).max() <= 1_000_000 * sketch.rank_error + 1
    assert sum(block.nbytes for block in sketch._sorted.values()) < 4 * 2**20
