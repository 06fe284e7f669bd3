"""sweep.html: a sweep to look at, one file that loads nothing from anywhere. The figures are optuna's own."""

from __future__ import annotations

import html
import math
import os
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from trainer.cloud.study import Study
from trainer.cloud.study_parameters import Parameter, belonging
from trainer.sweeps.ledger import Record
from trainer.sweeps.plan import SweepPlan
from trainer.sweeps.table import best_of, ended, in_words, shown

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; } th, td { padding: .2rem .8rem .2rem 0; text-align: left; }
th { border-bottom: 1px solid #bbb; } td.number { text-align: right; font-variant-numeric: tabular-nums; }
tr.best { font-weight: 600; } pre { background: #f4f4f4; padding: .6rem; white-space: pre-wrap; }
.figure { height: 28rem; }
"""


def write_page(plan: SweepPlan, records: Sequence[Record]) -> str:
    """Write the page of what is there; its path. It appears whole or not at all."""
    text = _page(plan, records)
    with open(plan.page + ".unfinished", "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(plan.page + ".unfinished", plan.page)
    return plan.page


def _page(plan: SweepPlan, records: Sequence[Record]) -> str:
    from plotly.offline import get_plotlyjs

    name = html.escape(os.path.basename(plan.folder))
    return "".join(
        [
            f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{name}</title>',
            f"<style>{STYLE}</style><script>{get_plotlyjs()}</script></head><body><h1>{name}</h1>",
            _summary(plan, records),
            *_figures(plan.study, records),
            "<h2>Trials</h2>",
            _trials(plan, records),
            "</body></html>\n",
        ]
    )


def _summary(plan: SweepPlan, records: Sequence[Record]) -> str:
    best, study = best_of(records, plan.study.sign), plan.study
    goal = "more" if study.sign > 0 else "less"
    about = f"<p>{len(records)} trials, compared by {html.escape(study.metric)}: {goal} is better.</p>"
    if best is None:
        return f"{about}<p>No trial has a value yet.</p>"
    command = html.escape(plan.command(best.number, best.values))
    return f"{about}<p>Best: trial {best.number}, {shown(best.value)}. Its command:</p><pre>{command}</pre>"


def _figures(study: Study, records: Sequence[Record]) -> list[str]:
    """History, parallel coordinates, importance: of the completed trials, in the study's own values."""
    shown_study = to_optuna(study, records)
    completed = sum(each.state == TrialState.COMPLETE for each in shown_study.trials)
    figures: list[tuple[str, int, Callable[..., Any]]] = [
        ("History", 1, _history),
        ("Parallel coordinates", 1, optuna.visualization.plot_parallel_coordinate),
        ("Importance of the parameters", 3, optuna.visualization.plot_param_importances),
    ]
    parts = []
    for title, fewest, plot in figures:
        parts.append(f"<h2>{title}</h2>")
        if completed < fewest:
            parts.append(f"<p>Needs {fewest} completed trials with finite values; there are {completed}.</p>")
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about parameters that few trials have
            figure = plot(shown_study, target_name=study.metric)
        figure.update_layout(title=None, margin={"t": 30})
        body = figure.to_html(full_html=False, include_plotlyjs=False, include_mathjax=False)
        parts.append(f'<div class="figure">{body}</div>')
    return parts


def to_optuna(study: Study, records: Sequence[Record]) -> optuna.Study:
    """The trials as a study of optuna's, in memory; those without a finite value only hold their place."""
    made = optuna.create_study(direction="maximize" if study.sign > 0 else "minimize")
    for each in records:
        is_shown = each.state == "completed" and each.value is not None and math.isfinite(each.value)
        made.add_trial(
            optuna.trial.create_trial(
                state=TrialState.COMPLETE if is_shown else TrialState.FAIL,
                params=each.values,
                distributions={one.name: _distribution(one) for one in belonging(study.parameters, each.values)},
                value=each.value if is_shown else None,
            )
        )
    return made


def _history(study: optuna.Study, target_name: str) -> Any:
    """optuna counts trials from 0."""
    figure = optuna.visualization.plot_optimization_history(study, target_name=target_name)
    for line in figure.data:
        line.x = [number + 1 for number in line.x]
    return figure


def _distribution(parameter: Parameter) -> BaseDistribution:
    if parameter.kind == "categorical":
        return CategoricalDistribution(parameter.values)
    log = parameter.scale == "log"
    if parameter.kind == "integer":
        return IntDistribution(int(parameter.low), int(parameter.high), log=log)
    return FloatDistribution(parameter.low, parameter.high, log=log)


def _trials(plan: SweepPlan, records: Sequence[Record]) -> str:
    best = best_of(records, plan.study.sign)
    lines = ["<table><tr><th>trial</th><th>outcome</th><th>seconds</th><th>parameters</th></tr>"]
    for each in records:
        mark = ' class="best"' if best and best.number == each.number else ""
        outcome = "running" if each.state == "running" else ended(each, plan.study.metric)
        cells = f"<td>{html.escape(outcome)}</td><td class=number>{each.secs:.0f}</td>"
        values = html.escape(in_words(each.values))
        lines.append(f"<tr{mark}><td class=number>{each.number}</td>{cells}<td>{values}</td></tr>")
    return "".join([*lines, "</table>"])
