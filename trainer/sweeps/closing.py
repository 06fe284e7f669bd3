"""What a sweep says at its end: the best trial, how to run it again, where to look."""

from __future__ import annotations

import glob
import json
import os
import shlex
from collections import Counter
from collections.abc import Sequence

from trainer.job.errors import TrainingFailed
from trainer.sweeps.ledger import Record, storage_explained
from trainer.sweeps.page import write_page
from trainer.sweeps.plan import SweepPlan
from trainer.sweeps.table import best_of, in_words, rows, shown

BY_SELECTION = {"last": ("final", "best", "latest"), "best": ("best", "final", "latest")}


def end_sweep(plan: SweepPlan, records: Sequence[Record], brief: bool) -> list[str]:
    """Write sweep.json and sweep.html; the end's words, `brief` without table. Raises TrainingFailed, StorageFailed."""
    with storage_explained(plan.folder):
        put_summary(plan, records)
        write_page(plan, records)
    return closing_lines(plan, records, brief)


def closing_lines(plan: SweepPlan, records: Sequence[Record], brief: bool) -> list[str]:
    """The end's words. Raises TrainingFailed where no trial has a value."""
    best = best_of(records, plan.study.sign)
    counts = Counter(each.state for each in records)
    told = ", ".join(f"{count} {state}" for state, count in counts.items())
    if best is None:
        raise TrainingFailed(
            f"no trial has a finite {plan.study.metric} ({told}): see the logs in {plan.trials_dir}/*/trial.log."
        )
    table = [] if brief else [*(f"  {line}" for line in rows(plan, records)), ""]
    facts = [
        ("parameters", in_words(best.values)),
        ("export", export_of(plan, best) or "none"),
        ("command", plan.command(best.number, best.values)),
        ("page", plan.page),
        ("look at it", shlex.join(["tensorboard", f"--logdir={plan.trials_dir}"])),
    ]
    head = f"best of {len(records)} trials ({told}): trial {best.number}, {plan.study.metric} {shown(best.value)}"
    return [*table, head, *(f"  {name:10}  {value}" for name, value in facts)]


def export_of(plan: SweepPlan, best: Record) -> str | None:
    """The newest export of the kind that fits the study's choice of measurement: of the last, or of the best one."""
    folder = os.path.join(plan.trial_dir(best.number), "export")
    for kind in BY_SELECTION[plan.study.selection]:
        found = sorted(path for path in glob.glob(os.path.join(glob.escape(folder), kind, "*")) if os.path.isdir(path))
        whole = [path for path in found if os.path.basename(path).isdigit()]
        if whole:
            return whole[-1]
    return None


def put_summary(plan: SweepPlan, records: Sequence[Record]) -> None:
    """Write SWEEP_DIR/sweep.json for programs, whole or not at all."""
    best = best_of(records, plan.study.sign)
    content = {
        "metric": plan.study.metric,
        "goal": plan.study.goal,
        "best": best.number if best else None,
        "trials": [
            {
                "trial": each.number,
                "state": each.state,
                "value": each.value,
                "values": each.values,
                "secs": round(each.secs, 1),
                "why": each.why,
                "measurements": [[point.step, point.value] for point in each.measurements],
                "command": plan.command(each.number, each.values),
            }
            for each in records
        ],
    }
    path = os.path.join(plan.folder, "sweep.json")
    with open(path + ".unfinished", "w", encoding="utf-8") as file:
        json.dump(content, file, indent=2, ensure_ascii=False)
    os.replace(path + ".unfinished", path)
