"""One job from its flags to its verified exports."""

from __future__ import annotations

import logging
import time
from typing import Any

from trainer.job.environment import Environment
from trainer.job.errors import Interrupted
from trainer.job.flags import Parsed
from trainer.job.paths import JobPaths
from trainer.training.checkpoints import find_start
from trainer.training.crew import Crew
from trainer.training.devices import device_table, find_devices
from trainer.training.estimators import Engine, build_engine
from trainer.training.explanations import storage_explained, training_explained
from trainer.training.exporters import check_export_dir, publish_export
from trainer.training.hooks import StoppedWhileEvaluating
from trainer.training.html_report import write_report_at_end
from trainer.training.jobdir import held
from trainer.training.prepare import Plan, prepare, put_manifest
from trainer.training.records import put_json_as_holder, read_evaluations, read_json
from trainer.training.report import build_result, print_finished, print_report, resume_command
from trainer.training.stopping import StopRequest
from trainer.training.strategies import choose, per_replica_batch_size
from trainer.training.tensorboard import session_shown
from trainer.training.tuner import open_tuner
from trainer.training.verification import verify_exports

LOG = logging.getLogger("trainer")


def train_and_evaluate(parsed: Parsed, environment: Environment, stop: StopRequest) -> int:
    """Run the job, as the only process or as the chief; the exit code 0. Raises one of the errors of `job.errors`."""
    paths = JobPaths.of(parsed.job, environment.trial_id)
    started = time.perf_counter()
    with storage_explained(paths), held(paths):
        check_export_dir(parsed.job.output.export_dir)
        spread = choose(parsed.job.distribution, environment.cluster)
        crew = Crew.of(parsed.job, environment.cluster, paths, spread)
        tuner = open_tuner(environment, parsed.job.evaluation, tells=crew.evaluates)
        plan = prepare(parsed, paths, spread)
        tuner.repeat(plan)
        if is_finished(plan):
            crew.say_finished(plan)
            print_finished(plan, read_json(paths.result))
            write_report_at_end(paths, parsed.job.output.report, anew=False)
            tuner.check_told()
            return 0
        put_manifest(plan)
        for line in describe_start(plan):
            LOG.info("%s", line)
        with session_shown(plan), training_explained(plan.inputs, paths):
            engine = build_engine(plan, tuner, environment.cluster)
            with crew.at_work(engine, stop) as engine:
                result = _run(engine, crew, stop, environment.command, started)
        tuner.check_told()
        report = write_report_at_end(paths, parsed.job.output.report)
        print_report(plan, result, environment.command, report)
    return 0


def _run(engine: Engine, crew: Crew, stop: StopRequest, command: str, started: float) -> dict[str, Any]:
    """Train, have it evaluated and exported, verify the exports; what came out. Raises Interrupted after a stop."""
    plan, paths = engine.plan, engine.plan.paths
    if engine.evaluates:
        engine.exports.remove_unfinished()
        if is_evaluation_missing(plan):
            engine.evaluate_and_export(final=plan.is_trained)
    examples_per_sec = _train(engine, stop)
    step = find_start(paths.checkpoints).step
    if stop.requested:
        secs = time.perf_counter() - started
        put_json_as_holder(paths.result, build_result(engine, "stopped", step, examples_per_sec, secs))
        raise Interrupted(_stopped_sentence(plan, step, command), stop.signum or 0)
    crew.say_trained(step)
    crew.wait_for_evaluator(engine, step)
    verify_exports([path for kind in plan.job.evaluation.exporters for path in engine.exports.list(kind)])
    _publish(engine)
    result = build_result(engine, "finished", step, examples_per_sec, time.perf_counter() - started)
    put_json_as_holder(paths.result, result)
    return result


def describe_start(plan: Plan) -> list[str]:
    """What the job computes on and how, in lines."""
    spread, batch_size = plan.spread, plan.job.data.batch_size
    replicas, part = spread.in_step, per_replica_batch_size(spread, batch_size)
    effective = plan.manifest["effective"]
    return device_table(find_devices(), f"{spread.name} ({spread.why})", replicas, part, effective)


def is_finished(plan: Plan) -> bool:
    """Whether an earlier run did all of this: the last step, its evaluation, its exports, their verification."""
    result = read_json(plan.paths.result) or {}
    wanted = set(plan.job.evaluation.exporters)
    return (
        plan.is_trained
        and result.get("status") == "finished"
        and result.get("global_step") == plan.start.step
        and wanted <= set(result.get("exports", {}))
    )


def is_evaluation_missing(plan: Plan) -> bool:
    """Whether a run was killed between a checkpoint and the evaluation that was due at it."""
    step, schedule = plan.start.step, plan.schedule
    if plan.is_trained:
        return True  # a finished job does not come here
    due = schedule.eval_every_steps is not None and step % schedule.eval_every_steps == 0
    return step > 0 and due and step not in read_evaluations(plan.paths.evaluations)


def _train(engine: Engine, stop: StopRequest) -> float | None:
    """Train to the last step, or to the one in which a stop was asked for; examples/s."""
    if engine.plan.is_trained:
        return None
    with stop.saving():
        try:
            return engine.train(stop)
        except StoppedWhileEvaluating:
            LOG.debug("left an evaluation")
            return None


def _stopped_sentence(plan: Plan, step: int, command: str) -> str:
    return (
        f"stopped at step {step} of {plan.schedule.total_steps}; its checkpoint is in {plan.paths.checkpoints}. "
        f"Go on with: {resume_command(plan.job, command)}"
    )


def _publish(engine: Engine) -> None:
    """Put the final export where a managed service looks for the model."""
    target, exports = engine.plan.job.output.export_dir, engine.exports.list("final")
    if target and exports:
        publish_export(exports[-1], target)
