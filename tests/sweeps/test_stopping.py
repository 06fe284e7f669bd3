"""The median rule, case by case."""

from __future__ import annotations

import math
from typing import Literal

import pytest

from trainer.sweeps.measurements import Measurement
from trainer.sweeps.stopping import is_to_stop


def trial(*values: float, every_secs: float = 1.0) -> list[Measurement]:
    return [Measurement(10 * place, value, every_secs * place) for place, value in enumerate(values, 1)]


FLAT = [trial(0.2, 0.4), trial(0.5, 0.5), trial(0.8, 0.6)]  # averages at step 20: 0.3, 0.5, 0.7


@pytest.mark.parametrize(
    ("running", "completed", "by", "sign", "stops"),
    [
        pytest.param(trial(0.1, 0.49), FLAT, "step", 1, True, id="worse than the median"),
        pytest.param(trial(0.1, 0.5), FLAT, "step", 1, False, id="as good as the median"),
        pytest.param(trial(0.6, 0.1), FLAT, "step", 1, False, id="its best counts, not its last"),
        pytest.param(trial(0.45), FLAT, "step", 1, True, id="others count up to its step: 0.2, 0.5, 0.8"),
        pytest.param(trial(0.1, 0.49), FLAT, "step", -1, False, id="less is better"),
        pytest.param(trial(0.6, 0.7), FLAT, "step", -1, True, id="less is better, and it has more"),
        pytest.param(trial(0.1), FLAT[:2], "step", 1, False, id="too few"),
        pytest.param([], FLAT, "step", 1, False, id="nothing reported"),
        pytest.param([Measurement(5, 0.1, 0)], FLAT, "step", 1, False, id="no other was measured so early"),
        pytest.param(trial(0.45, every_secs=2.0), FLAT, "secs", 1, True, id="by seconds"),
        pytest.param(trial(0.1, every_secs=0.5), FLAT, "secs", 1, False, id="by seconds, too early"),
        pytest.param(trial(-math.inf), FLAT, "step", 1, True, id="NaN"),
        pytest.param(trial(0.1), [trial(-math.inf)] * 2 + FLAT[:1], "step", 1, False, id="most others were NaN"),
    ],
)
def test_the_median_rule(
    running: list[Measurement],
    completed: list[list[Measurement]],
    by: Literal["step", "secs"],
    sign: int,
    stops: bool,
) -> None:
    assert is_to_stop(running, completed, by, sign) is stops
