"""A study's parameters in optuna's terms, and who chooses their values.

optuna knows no reversed logarithm and no uneven steps: the first is a logarithm counted from the other end, the second
the place in the list. What trials get, and what is kept for people to read, are the study's own values.
"""

from __future__ import annotations

import bisect
import itertools
import warnings
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler

from trainer.cloud.study import Study
from trainer.cloud.study_parameters import Parameter, Value, walk

MOST_RANDOM_TRIALS = 10  # before TPE has something to go by


def decode(parameter: Parameter, sampled: Any) -> Value:
    """The parameter's value."""
    if parameter.kind == "discrete":
        return parameter.values[sampled]
    if parameter.scale == "reverse_log":  # rounding may lead past an end
        return min(max(parameter.low + parameter.high - sampled, parameter.low), parameter.high)
    found: Value = sampled
    return found


def encode(parameter: Parameter, value: Value) -> Any:
    """What `decode` makes the value of."""
    if parameter.kind == "discrete":
        return bisect.bisect_left(parameter.values, value)
    if parameter.scale == "reverse_log":
        return parameter.low + parameter.high - value  # type: ignore[operator]
    return value


def choose(study: Study, trial: optuna.Trial) -> dict[str, Value]:
    """The values of a trial. What was chosen before a kill stays: a trial suggests the same name once."""
    return walk(study.parameters, lambda each: decode(each, _suggest(each, trial)))


def _suggest(parameter: Parameter, trial: optuna.Trial) -> Any:
    log = parameter.scale != "linear"
    if parameter.kind == "categorical":
        return trial.suggest_categorical(parameter.name, parameter.values)
    if parameter.kind == "discrete":
        return trial.suggest_int(parameter.name, 0, len(parameter.values) - 1)
    if parameter.kind == "integer":
        return trial.suggest_int(parameter.name, int(parameter.low), int(parameter.high), log=log)
    return trial.suggest_float(parameter.name, parameter.low, parameter.high, log=log)


def make_sampler(study: Study, seed: int, number: int, trials: int) -> BaseSampler:
    """Who chooses for trial `number` of `trials`; a seed for each: a resumed sweep must not choose the same again."""
    own_seed = (seed * 1_000_003 + number) % 2**32
    if study.algorithm == "grid":
        return GridPoint(study, number)
    if study.algorithm == "random":
        return RandomSampler(seed=own_seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # group= has been one for years
        return TPESampler(
            seed=own_seed,
            multivariate=True,
            group=True,  # the parameters of each branch are a space of their own
            constant_liar=True,  # parallel trials keep away from each other
            n_startup_trials=min(MOST_RANDOM_TRIALS, max(3, trials // 3)),
        )


class GridPoint(BaseSampler):
    """Chooses one point of the grid. (optuna's GridSampler ends with an error where trials are asked for and told.)"""

    def __init__(self, study: Study, number: int) -> None:
        values = next(itertools.islice(study.grid(), number - 1, None))
        self._point: Mapping[str, Any] = _encoded(study, values)

    def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, BaseDistribution]:
        """See BaseSampler."""
        return {}

    def sample_relative(self, study: Any, trial: Any, search_space: Any) -> dict[str, Any]:
        """See BaseSampler."""
        return {}

    def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Any:
        """See BaseSampler."""
        return self._point[param_name]


def _encoded(study: Study, values: Mapping[str, Value]) -> dict[str, Any]:
    found: dict[str, Any] = {}

    def keep(parameter: Parameter) -> Value:
        found[parameter.name] = encode(parameter, values[parameter.name])
        return values[parameter.name]

    walk(study.parameters, keep)
    return found
