"""The Estimator of a job, and one call that trains, evaluates and exports it."""

from __future__ import annotations

import dataclasses
import logging
from typing import Any

import tensorflow as tf

from trainer.training.converter import convert
from trainer.training.exporters import BestValue, Exports, build_exporters
from trainer.training.hooks import AbandonEvaluationHook, FiniteLossHook, SaveAndEvaluateHook, StopHook
from trainer.training.prepare import Plan
from trainer.training.progress import ProgressHook, metrics_line
from trainer.training.records import put_evaluation
from trainer.training.serving import plan_serving, with_serving_outputs
from trainer.training.stopping import StopRequest
from trainer.training.strategies import STRATEGIES
from trainer.training.tensorboard import show_evaluation
from trainer.training.tuner import Tuner

LOG = logging.getLogger("trainer")


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
    """An Estimator with what its job does at each evaluation."""

    plan: Plan
    estimator: tf.estimator.Estimator
    exporters: tuple[tf.estimator.Exporter, ...]
    exports: Exports
    best: BestValue

    def train(self, stop: StopRequest) -> float | None:
        """Train up to the last step, evaluating and exporting on the way; examples/s. Returns early on a stop."""
        plan, schedule = self.plan, self.plan.schedule
        saver = SaveAndEvaluateHook(plan.paths.checkpoints, schedule, plan.start.step, stop)
        progress = ProgressHook(schedule, plan.start.step, plan.job.data.batch_size, saver, plan.paths.logs)
        hooks = [FiniteLossHook(), progress, saver, StopHook(stop)]
        try:
            tf.estimator.train_and_evaluate(
                self.estimator,
                tf.estimator.TrainSpec(self._train_dataset, schedule.total_steps, hooks),
                self._eval_spec(stop),
            )
        finally:
            progress.close()
        return progress.examples_per_sec

    def evaluate_and_export(self) -> None:
        """Do for the last checkpoint what a killed run left undone."""
        checkpoint = self.estimator.latest_checkpoint()
        metrics = self.estimator.evaluate(
            self.plan.inputs.eval_dataset, self.plan.job.evaluation.eval_steps, checkpoint_path=checkpoint
        )
        final = bool(metrics["global_step"] >= self.plan.schedule.total_steps)
        for exporter in self.exporters:
            exporter.export(self.estimator, "", checkpoint, metrics, final)

    def _train_dataset(self) -> tf.data.Dataset:
        """The order of the examples depends on the seed alone; dropout gets other masks after each restart."""
        seed = self.plan.job.training.seed
        tf.compat.v1.set_random_seed(seed)
        dataset = self.plan.inputs.train_dataset(self.plan.start.step)
        tf.compat.v1.set_random_seed(seed + self.plan.start.step)
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


def build_engine(plan: Plan, tuner: Tuner) -> Engine:
    """Convert the model and set up what is exported, kept and told."""
    evaluation = plan.job.evaluation
    serving = plan_serving(plan.model, plan.inputs)
    wrap = with_serving_outputs(serving)
    estimator = convert(plan.model, plan.paths.checkpoints, build_run_config(plan), wrap)
    exports = Exports(plan.paths, plan.inputs, evaluation.keep_exports, serving.spec)
    best = BestValue(plan.paths, evaluation.best_metric, plan.best_direction)
    exports.remove_unfinished()
    # the record comes last: an evaluation whose exports a kill has cut short counts as not done
    exporters = (*build_exporters(evaluation.exporters, exports, best), RecordEvaluation(plan, tuner))
    return Engine(plan, estimator, exporters, exports, best)


def build_run_config(plan: Plan) -> tf.estimator.RunConfig:
    """The Estimator's own saving, logging and summaries are off: the hooks of this package do that."""
    return tf.estimator.RunConfig(
        model_dir=plan.paths.checkpoints,
        tf_random_seed=plan.job.training.seed,
        train_distribute=STRATEGIES[plan.job.training.strategy](),
        keep_checkpoint_max=plan.job.output.keep_checkpoints,
        save_checkpoints_steps=None,
        save_checkpoints_secs=None,
        save_summary_steps=None,
        log_step_count_steps=None,
    )
