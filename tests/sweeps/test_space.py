"""Values chosen by optuna are values of the study, in every algorithm, and a resumed sweep does not repeat itself."""

from __future__ import annotations

import math
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.cloud.study_strategies import parameters
from tests.sweeps.lab import content
from trainer.cloud.study import Study
from trainer.cloud.study_parameters import Value, belonging
from trainer.sweeps.space import choose, decode, encode, make_sampler

optuna.logging.set_verbosity(optuna.logging.WARNING)
WIDE = {"doubleValueSpec": {"minValue": 0.001, "maxValue": 1000.0}}


def chosen(study: Study, trials: int, seed: int = 0) -> list[dict[str, Value]]:
    """The values of so many trials in a row, each completed with some value."""
    book = optuna.create_study()
    found = []
    for number in range(1, trials + 1):
        book.sampler = make_sampler(study, seed, number, trials)
        trial = book.ask()
        found.append(choose(study, trial))
        book.tell(trial, number % 3)
    return found


@settings(max_examples=30, deadline=None)
@given(parameters(), st.sampled_from(["RANDOM_SEARCH", None]), st.integers(0, 2**31 - 1))
def test_every_chosen_trial_fits_its_study(given_parameters: list[Any], algorithm: str | None, seed: int) -> None:
    study = Study.of(content(*given_parameters, algorithm=algorithm))
    for values in chosen(study, 6, seed):
        assert study.admits(values), values


@settings(max_examples=30, deadline=None)
@given(parameters(grid=True))
def test_a_grid_is_run_point_by_point(given_parameters: list[Any]) -> None:
    study = Study.of(content(*given_parameters, algorithm="GRID_SEARCH"))
    trials = min(study.grid_size, 12)
    assert chosen(study, trials) == [point for point, _ in zip(study.grid(), range(trials), strict=False)]


@given(parameters())
def test_encoding_is_undone_by_decoding(given_parameters: list[Any]) -> None:
    study = Study.of(content(*given_parameters))
    for values in study.samples():
        for each in belonging(study.parameters, values):
            back = decode(each, encode(each, values[each.name]))
            near = pytest.approx(back, abs=1e-12 * each.high) if each.kind == "double" else back
            assert (values[each.name], type(values[each.name])) == (near, type(back))


@pytest.mark.parametrize(
    ("scale", "share_below_1"),
    [("UNIT_LINEAR_SCALE", 0.001), ("UNIT_LOG_SCALE", 0.5), ("UNIT_REVERSE_LOG_SCALE", 0.0)],
)
def test_scales_spread_values_as_they_say(scale: str, share_below_1: float) -> None:
    one = {"parameterId": "x", "scaleType": scale, **WIDE}
    study = Study.of(content(one, algorithm="RANDOM_SEARCH"))
    values = [float(each["x"]) for each in chosen(study, 300)]
    assert sum(value < 1 for value in values) / 300 == pytest.approx(share_below_1, abs=0.09)
    near_the_top = sum(value > 999 for value in values) / 300
    assert near_the_top == pytest.approx(0.5 if scale == "UNIT_REVERSE_LOG_SCALE" else 0.0, abs=0.09)


def test_each_trial_has_a_seed_of_its_own() -> None:
    """With one seed for all, a sweep that is started again would choose again what it has tried."""
    study = Study.of(content({"parameterId": "x", **WIDE}, algorithm="RANDOM_SEARCH"))
    values = [float(each["x"]) for each in chosen(study, 50)]
    assert len(set(values)) == 50
    assert chosen(study, 3) == [{"x": value} for value in values[:3]]
    assert chosen(study, 3, seed=1) != chosen(study, 3)


def test_tpe_finds_better_values_than_chance() -> None:
    study = Study.of(content({"parameterId": "x", "scaleType": "UNIT_LOG_SCALE", **WIDE}, trials=40))
    book = optuna.create_study()
    losses = []
    for number in range(1, 41):
        book.sampler = make_sampler(study, 0, number, 40)
        trial = book.ask()
        losses.append(abs(math.log10(float(choose(study, trial)["x"])) - 1.5))
        book.tell(trial, losses[-1])
    assert sum(losses[-15:]) / 15 < 0.5 * sum(losses[:10]) / 10
