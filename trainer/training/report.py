"""What a job says at its end: result.json for programs, a short table and the next commands for a person."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from trainer.job.config import Job
from trainer.job.flags import to_argv
from trainer.training.prepare import Plan
from trainer.training.progress import format_secs
from trainer.training.records import read_evaluations, read_json
from trainer.training.verification import RESULT_FILE

if TYPE_CHECKING:
    from trainer.training.estimators import Engine

SIDES = {"eval_files": " (held out)", "train_files": " (on the training files)", "input_fn": ""}


def build_result(
    engine: Engine, status: str, step: int, examples_per_sec: float | None, wall_secs: float
) -> dict[str, Any]:
    """What came of the job so far, JSON-able.

    Args:
      status: `finished` or `stopped`.
      step: the global step of the last checkpoint; the metrics are those of the last evaluation.
      examples_per_sec: None where this run had no step to do.
      wall_secs: this run's seconds, evaluations included.
    """
    plan = engine.plan
    evaluations = read_evaluations(plan.paths.evaluations)
    exports = {kind: engine.exports.list(kind) for kind in plan.job.evaluation.exporters}
    return {
        "status": status,
        "global_step": step,
        "metrics": evaluations[max(evaluations)] if evaluations else {},
        "evaluated_on": _evaluated_on(plan.manifest["data"]),
        "best": engine.best.record if "best" in plan.job.evaluation.exporters else None,
        "exports": {kind: paths[-1] for kind, paths in exports.items() if paths},
        "bad_rows": {side: plan.manifest["data"].get(f"{side}_bad_rows", 0) for side in ("train", "eval")},
        "examples_per_sec": examples_per_sec,
        "wall_secs": wall_secs,
    }


def print_report(plan: Plan, result: Mapping[str, Any], command: str, report: str | None = None) -> None:
    """The table at the end, unless the user wants quiet; `report` is the path of the page."""
    if plan.job.output.verbosity == "quiet":
        return
    rows = [("step", f"{result['global_step']} of {plan.schedule.total_steps}"), *_metric_rows(plan, result)]
    if result["best"]:
        best = result["best"]
        rows.append(("best", f"{best['metric']} {best['value']:.4f} at step {best['global_step']}"))
    rows += [(f"{kind} export", f"{path} ({_verified(path)})") for kind, path in result["exports"].items()]
    if any(result["bad_rows"].values()):
        left_out = result["bad_rows"]
        rows.append(("bad rows", f"{left_out['train']} of training, {left_out['eval']} of evaluation left out"))
    if report:
        rows.append(("report", report))
    rows.append(("wall time", format_secs(result["wall_secs"])))
    if result["examples_per_sec"]:
        rows.append(("speed", f"{result['examples_per_sec']:,.0f} examples/s"))
    width = max(len(name) for name, _ in rows)
    print("\nfinished")
    for name, value in rows:
        print(f"  {name:{width}}  {value}")
    print("next:")
    for line in _next_commands(plan, result, command):
        print(f"  {line}")


def print_finished(plan: Plan, result: Mapping[str, Any]) -> None:
    """A finished job says so, also to the quiet."""
    print(
        f"already finished: step {result['global_step']} of {plan.schedule.total_steps}, "
        f"{', '.join(f'{name} {value:.4f}' for name, value in result['metrics'].items())}; "
        f"go on with more --epochs or --train-steps, or start anew with --fresh."
    )


def resume_command(job: Job, command: str) -> str:
    """The shell command that goes on with a job: --fresh would move it aside."""
    return _shell(dataclasses.replace(job, output=dataclasses.replace(job.output, fresh=False)), command)


def _shell(job: Job, command: str) -> str:
    return " ".join([command, *map(shlex.quote, to_argv(job))])


def _verified(export: str) -> str:
    record = read_json(f"{export}/{RESULT_FILE}")
    return "verified" if record["passed"] else f"not verified: {record['why']}"


def _evaluated_on(data: Mapping[str, Any]) -> str:
    if "input_fn" in data:
        return "input_fn"
    return "eval_files" if data["eval"] else "train_files"


def _metric_rows(plan: Plan, result: Mapping[str, Any]) -> list[tuple[str, str]]:
    side = SIDES[result["evaluated_on"]]
    return [(name, f"{value:.4f}{side}") for name, value in sorted(result["metrics"].items())]


def _next_commands(plan: Plan, result: Mapping[str, Any], command: str) -> list[str]:
    longer = dataclasses.replace(plan.job.training, epochs=None, train_steps=2 * plan.schedule.total_steps)
    commands = [resume_command(dataclasses.replace(plan.job, training=longer), command) + "  # train on"]
    commands.append(f"tensorboard --logdir={shlex.quote(plan.paths.logs)}")
    if result["exports"]:
        path = next(reversed(result["exports"].values()))
        commands.append(f"saved_model_cli show --all --dir={shlex.quote(path)}")
    return commands
