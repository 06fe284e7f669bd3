"""The median rule, in the words of Vertex AI's medianAutomatedStoppingSpec:

    "stops a pending Trial if the Trial's best objective_value is strictly below the median 'performance' of all
    completed Trials reported up to the Trial's last measurement"; performance is "the running average of the objective
    values reported by the Trial in each measurement".

"Below" means worse. How many trials have to be completed first, nobody says: here they are `FEWEST`.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Literal

from trainer.sweeps.measurements import Measurement

FEWEST = 3


def is_to_stop(
    running: Sequence[Measurement],
    completed: Sequence[Sequence[Measurement]],
    by: Literal["step", "secs"],
    sign: int,
) -> bool:
    """Whether the median rule stops a trial with these measurements.

    Args:
      completed: the measurements of each trial that ran to its end.
      by: what tells how far a trial is: its global step, or the seconds since its start.
      sign: 1 where more is better, else -1.
    """
    if not running:
        return False
    here = getattr(running[-1], by)
    so_far = [[sign * each.value for each in trial if getattr(each, by) <= here] for trial in completed]
    averages = [statistics.fmean(values) for values in so_far if values]
    best = max(sign * each.value for each in running)
    return len(averages) >= FEWEST and best < statistics.median(averages)
