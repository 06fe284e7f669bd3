"""The Estimator of a job, and one call that trains, evaluates and exports it."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import functools
import logging
from contextlib import closing
from typing import Any

import tensorflow as tf

from trainer.job.cluster import Cluster
from trainer.training.checkpoints import PREFIX
from trainer.training.converter import convert, save_first_weights, with_config
from trainer.training.devices import session_config
from trainer.training.early_stopping import EarlyStopHook, EarlyStopWatch
from trainer.training.exporters import BestValue, Exports, build_exporters
from trainer.training.hooks import (
    AbandonEvaluationHook,
    DistinctVariablesHook,
    FiniteLossHook,
    SaveAndEvaluateHook,
    StopHook,
)
from trainer.training.inputs import Inputs
from trainer.training.member import Member, MemberHook
from trainer.training.prepare import Plan
from trainer.training.progress import ProgressHook, metrics_line
from trainer.training.records import put_evaluation
from trainer.training.serving import plan_serving, with_serving_outputs
from trainer.training.sessions import without_recovery
from trainer.training.stopping import StopRequest
from trainer.training.strategies import build_strategy, in_cluster
from trainer.training.tensorboard import show_evaluation
from trainer.training.tpu_batches import full_batches
from trainer.training.tuner import Tuner

LOG = logging.getLogger("trainer")
LOOK_EVERY_SECS = 5.0  # for the evaluator's evaluations


class CheckFiles(tf.estimator.Exporter):
    """Lets nothing be made of an evaluation in which a file was replaced: an exporter, since those are called after it.

    Raises DataError, UsageError, StorageFailed.
    """

    name = "files"

    def __init__(self, inputs: Inputs) -> None:
        self._inputs = inputs

    def export(
        self, estimator: Any, export_path: str, checkpoint_path: str, eval_result: Any, is_the_final_export: bool
    ) -> None:
        """See Exporter; writes no export."""
        self._inputs.check_files(training=False)


class RecordEvaluation(tf.estimator.Exporter):
    """Keeps, prints and tells the metrics of each evaluation: an exporter, since those are called after it."""

    name = "evaluations"

    def __init__(self, plan: Plan, tuner: Tuner) -> None:
        self._plan, self._tuner = plan, tuner

    def export(
        self, estimator: Any, export_path: str, checkpoint_path: str, eval_result: Any, is_the_final_export: bool
    ) -> None:
        """See Exporter; writes no export."""
        step = int(eval_result["global_step"])
        metrics = {name: float(value) for name, value in eval_result.items() if name != "global_step"}
        show_evaluation(self._plan, step, metrics, checkpoint_path)
        put_evaluation(self._plan.paths.evaluations, step, metrics)
        self._tuner.report(step, metrics)
        LOG.info("evaluation at step %d: %s", step, metrics_line(metrics))


@dataclasses.dataclass(frozen=True)
class Engine:
    """What trains and what evaluates, with what a job does at each evaluation.

    Attributes:
      estimator: evaluates and exports, on this machine alone; without a strategy it trains too.
      trainer: trains with a strategy; None without one.
      member: this process's part in a cluster; None for a machine alone.
      evaluates: whether this process does: not a worker, nor a chief that has an evaluator.
    """

    plan: Plan
    estimator: tf.estimator.Estimator
    exporters: tuple[tf.estimator.Exporter, ...]
    exports: Exports
    best: BestValue
    trainer: tf.estimator.Estimator | None = None
    cluster: Cluster | None = None
    member: Member | None = None
    evaluates: bool = True

    def train(self, stop: StopRequest) -> float | None:
        """Train up to the last step, evaluating and exporting on the way; examples/s. Returns early on a stop."""
        watch = self._early_stop()
        if self.trainer is None and self.member is None and watch is None:
            return self._train_plainly(stop)
        saver = self._saver(stop)
        if self.evaluates:
            saver._listeners.append(EvaluatingListener(self, stop, watch))
        with closing(self._progress(saver)) as progress:
            hooks = [FiniteLossHook(), *self._member_hooks(), progress, saver, StopHook(stop)]
            self._train_spread([*hooks, *([EarlyStopHook(watch.is_over)] if watch else [])])
        return progress.examples_per_sec

    def follow(self, stop: StopRequest | None) -> None:
        """Train as a worker: the chief saves. Returns early on a stop, unless that is the chief's to decide."""
        member, hooks = self.member, [FiniteLossHook(), *self._member_hooks()]
        if stop is not None and member is not None:
            hooks += [StopHook(stop), EarlyStopHook(lambda: member.told_to_end)]
        self._train_spread(hooks)

    def evaluate_and_export(
        self, stop: StopRequest | None = None, checkpoint: str | None = None, final: bool = False
    ) -> None:
        """Evaluate a checkpoint, the last one unless told otherwise, and write the exports that are due then.

        `final`: whether training ends with it, whatever its step.
        """
        checkpoint = checkpoint or self.estimator.latest_checkpoint()
        with without_recovery():
            metrics = self.estimator.evaluate(
                self.plan.inputs.eval_dataset,
                self.plan.job.evaluation.eval_steps,
                hooks=[AbandonEvaluationHook(stop)] if stop else None,
                checkpoint_path=checkpoint,
            )
            final = final or bool(metrics["global_step"] >= self.plan.schedule.total_steps)
            for exporter in self.exporters:
                exporter.export(self.estimator, "", checkpoint, metrics, final)

    def _train_plainly(self, stop: StopRequest) -> float | None:
        saver = self._saver(stop)
        with closing(self._progress(saver)) as progress, without_recovery():
            tf.estimator.train_and_evaluate(
                self.estimator,
                tf.estimator.TrainSpec(
                    self._train_dataset,
                    self.plan.schedule.total_steps,
                    [FiniteLossHook(), progress, saver, StopHook(stop)],
                ),
                self._eval_spec(stop),
            )
        return progress.examples_per_sec

    def _train_spread(self, hooks: list[tf.compat.v1.train.SessionRunHook]) -> None:
        """Train with a strategy, or as one of a cluster: evaluations are the hooks' business."""
        hooks = [DistinctVariablesHook(), *hooks]
        estimator, total_steps = self.trainer or self.estimator, self.plan.schedule.total_steps
        if self.cluster is None or self.cluster.is_alone:
            with without_recovery():
                estimator.train(self._train_dataset, hooks, max_steps=total_steps)
            return
        with in_cluster(self.cluster):
            tf.estimator.train_and_evaluate(
                estimator,
                tf.estimator.TrainSpec(self._train_dataset, total_steps, hooks),
                tf.estimator.EvalSpec(self.plan.inputs.eval_dataset),
            )

    def _early_stop(self) -> EarlyStopWatch | None:
        training, direction = self.plan.job.training, self.plan.early_direction
        if training.early_stop_metric is None or direction is None:
            return None
        look_every_secs = None if self.evaluates else LOOK_EVERY_SECS
        rule = training.early_stop_metric, direction, training.early_stop_patience
        return EarlyStopWatch(self.plan.paths.evaluations, *rule, look_every_secs)

    def _saver(self, stop: StopRequest) -> SaveAndEvaluateHook:
        plan, check = self.plan, functools.partial(self.plan.inputs.check_files, training=True)
        return SaveAndEvaluateHook(plan.paths.checkpoints, plan.schedule, plan.start.step, stop, check)

    def _progress(self, saver: SaveAndEvaluateHook) -> ProgressHook:
        plan, member = self.plan, self.member
        step_of = (lambda: member.step) if member else None
        batch_size = plan.job.data.batch_size
        return ProgressHook(plan.schedule, plan.start.step, batch_size, saver, plan.paths.logs, step_of)

    def _member_hooks(self) -> list[tf.compat.v1.train.SessionRunHook]:
        return [MemberHook(self.member)] if self.member else []

    def _train_dataset(self) -> tf.data.Dataset:
        """The order of the examples depends on the seed alone; dropout gets other masks after each restart."""
        plan = self.plan
        seed, start = plan.job.training.seed, plan.start.step
        first = start // plan.spread.trainers if plan.spread.is_async else start
        tf.compat.v1.set_random_seed(seed)
        if plan.spread.name == "tpu":
            dataset = full_batches(plan.inputs, first, plan.job.data.batch_size)
        else:
            dataset = plan.inputs.train_dataset(first, plan.spread)
        tf.compat.v1.set_random_seed(seed + start)
        return dataset

    def _eval_spec(self, stop: StopRequest) -> tf.estimator.EvalSpec:
        """The whole set unless told otherwise, and no waiting: the defaults are 100 steps every 10 minutes."""
        return tf.estimator.EvalSpec(
            self.plan.inputs.eval_dataset,
            steps=self.plan.job.evaluation.eval_steps,
            exporters=self.exporters,
            hooks=[AbandonEvaluationHook(stop)],
            start_delay_secs=0,
            throttle_secs=0,
        )


class EvaluatingListener(tf.compat.v1.train.CheckpointSaverListener):
    """Evaluates after a checkpoint, in a thread of its own: strategies, graphs and clusters are a thread's."""

    def __init__(self, engine: Engine, stop: StopRequest, watch: EarlyStopWatch | None) -> None:
        self._engine, self._stop, self._watch, self._calls = engine, stop, watch, 0

    def after_save(self, session: tf.compat.v1.Session, global_step_value: int) -> None:
        """Evaluate what was just saved, but not the weights that a run begins with."""
        self._calls += 1
        if self._calls > 1:
            self._evaluate(final=False)
            if self._watch is not None:
                self._watch.look()

    def end(self, session: tf.compat.v1.Session, global_step_value: int) -> None:
        """Evaluate the last checkpoint: the hook does not come here after a stop."""
        self._evaluate(final=True)

    def _evaluate(self, final: bool) -> None:
        member = self._engine.member
        told = member.doing("evaluating") if member else contextlib.nullcontext()
        with told, concurrent.futures.ThreadPoolExecutor(1, "evaluation") as thread:
            thread.submit(self._engine.evaluate_and_export, self._stop, final=final).result()


def build_engine(plan: Plan, tuner: Tuner, cluster: Cluster | None = None) -> Engine:
    """Convert the model and set up what is exported, kept and told."""
    evaluation, spread = plan.job.evaluation, plan.spread
    serving = plan_serving(plan.model, plan.inputs)
    wrap = with_serving_outputs(serving)
    estimator = convert(plan.model, plan.paths.checkpoints, build_run_config(plan), wrap, spread)
    exports = Exports(plan.paths, plan.inputs, evaluation.keep_exports, serving.spec)
    best = BestValue(plan.paths, evaluation.best_metric, plan.best_direction)
    # the record comes last: an evaluation whose exports a kill has cut short counts as not done
    exporters = (
        CheckFiles(plan.inputs),
        *build_exporters(evaluation.exporters, exports, best),
        RecordEvaluation(plan, tuner),
    )
    engine = Engine(plan, estimator, exporters, exports, best, cluster=cluster)
    return dataclasses.replace(engine, trainer=build_trainer(engine)) if needs_trainer(plan, cluster) else engine


def needs_trainer(plan: Plan, cluster: Cluster | None) -> bool:
    """Whether an Estimator of its own trains: with a strategy, or in a cluster."""
    return plan.spread.name != "none" or (cluster is not None and not cluster.is_alone)


def build_trainer(engine: Engine) -> tf.estimator.Estimator:
    """The Estimator with the strategy; the chief writes the weights that all begin with, where there are none yet."""
    plan, cluster = engine.plan, engine.cluster
    if (cluster is None or cluster.is_chief) and plan.start.checkpoint is None:
        save_first_weights(engine.estimator, f"{plan.paths.checkpoints}/{PREFIX.rstrip('-')}", engine._train_dataset)
    if plan.spread.name == "tpu":
        from trainer.training.tpu import build_tpu_estimator  # a second of imports that other jobs do without

        return build_tpu_estimator(engine.estimator, plan.model, plan.job)
    with in_cluster(cluster):
        return with_config(engine.estimator, build_run_config(plan, build_strategy(plan.spread)))


def build_run_config(plan: Plan, strategy: tf.distribute.Strategy | None = None) -> tf.estimator.RunConfig:
    """The Estimator's own saving, logging, summaries and waiting are off: the hooks of this package do that."""
    return tf.estimator.RunConfig(
        model_dir=plan.paths.checkpoints,
        tf_random_seed=plan.job.training.seed,
        train_distribute=strategy,
        session_config=session_config(plan.job.distribution, strategy),
        keep_checkpoint_max=plan.job.output.keep_checkpoints,
        save_checkpoints_steps=None,
        save_checkpoints_secs=None,
        save_summary_steps=None,
        log_step_count_steps=None,
        experimental_max_worker_delay_secs=0,
    )
