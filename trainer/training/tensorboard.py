"""What TensorBoard shows beside the Estimator's own scalars: the HParams page, histograms of weights, an evaluation
whose event files the Estimator would write elsewhere.

All of it is written as protos: in a job the graph is final while these are written, and there is no eager execution.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import tensorflow as tf
from tensorboard.plugins.histogram.summary_v2 import histogram_pb
from tensorboard.plugins.hparams import api_pb2
from tensorboard.plugins.hparams.summary import experiment_pb, session_end_pb, session_start_pb

from trainer.job.errors import Interrupted
from trainer.training.evaluation_metrics import evaluation_metric_names
from trainer.training.prepare import Plan

SESSION_SUFFIX = ".hparams"
SETTINGS = ("batch_size", "seed")  # that count as hyperparameters, beside the builder's own
Summary = tf.compat.v1.Summary


@contextlib.contextmanager
def session_shown(plan: Plan) -> Iterator[None]:
    """Show the job on the HParams page: with its hyperparameters, the metrics of its evaluations, and how it ended.

    A stopped job has no end yet: it will be resumed.
    """
    _remove_earlier_session(plan)
    with _session_writer(plan) as writer:
        writer.add_summary(_experiment(plan))
        writer.add_summary(session_start_pb(hyperparameters(plan.manifest)))
        try:
            yield
        except (Interrupted, KeyboardInterrupt):
            raise
        except BaseException:
            writer.add_summary(session_end_pb(api_pb2.STATUS_FAILURE))
            raise
        writer.add_summary(session_end_pb(api_pb2.STATUS_SUCCESS))


def hyperparameters(manifest: Mapping[str, Any]) -> dict[str, bool | int | float | str]:
    """The values in use, defaults of the signature included, in the types that TensorBoard has."""
    settings = {name: manifest["settings"][name]["value"] for name in SETTINGS}
    given = {name: each["value"] for name, each in manifest["hyperparameters"].items()}
    return {
        name: value if isinstance(value, (bool, int, float, str)) else str(value)
        for name, value in {**settings, **given}.items()
    }


def _experiment(plan: Plan) -> tf.compat.v1.Summary:
    """The columns of the page. Without it TensorBoard looks for metrics itself, and not in the folder below."""
    infos = [api_pb2.HParamInfo(name=name, type=_type(value)) for name, value in hyperparameters(plan.manifest).items()]
    names = ["loss", *(evaluation_metric_names(plan.model) or [])]
    metrics = [
        api_pb2.MetricInfo(
            name=api_pb2.MetricName(group="eval", tag=name),
            display_name=f"{name} (evaluation)",
            dataset_type=api_pb2.DATASET_VALIDATION,
        )
        for name in names
    ]
    return experiment_pb(infos, metrics)


def _type(value: bool | int | float | str) -> int:
    if isinstance(value, bool):
        return int(api_pb2.DATA_TYPE_BOOL)
    return int(api_pb2.DATA_TYPE_STRING if isinstance(value, str) else api_pb2.DATA_TYPE_FLOAT64)


def show_evaluation(plan: Plan, step: int, metrics: Mapping[str, float], checkpoint: str) -> None:
    """Write what the Estimator does not: histograms where they are asked for; scalars where --log-dir is elsewhere."""
    if plan.job.output.histograms:
        _put(plan.paths.logs, step, _histograms(plan.model, checkpoint))
    if plan.paths.logs != plan.paths.checkpoints:
        _put(f"{plan.paths.logs}/eval", step, [_scalars(metrics)])


def _histograms(model: tf.keras.Model, checkpoint: str) -> Iterator[tf.compat.v1.Summary]:
    """One for each trainable variable, from the checkpoint: the session that holds them is not ours."""
    reader = tf.train.load_checkpoint(checkpoint)
    for name in (variable.name.partition(":")[0] for variable in model.trainable_variables):
        if reader.has_tensor(name):
            summary = histogram_pb(f"weights/{name}", reader.get_tensor(name))
            yield Summary.FromString(summary.SerializeToString())


def _scalars(metrics: Mapping[str, float]) -> tf.compat.v1.Summary:
    return Summary(value=[Summary.Value(tag=name, simple_value=value) for name, value in metrics.items()])


def _put(folder: str, step: int, summaries: Iterable[tf.compat.v1.Summary]) -> None:
    with tf.Graph().as_default():  # the writer refuses to be made where execution is eager
        writer = tf.compat.v1.summary.FileWriterCache.get(folder)
    for summary in summaries:
        writer.add_summary(summary, step)
    writer.flush()


@contextlib.contextmanager
def _session_writer(plan: Plan) -> Iterator[tf.compat.v1.summary.FileWriter]:
    """A file of its own: the writers of this process that others share are closed with their sessions."""
    with tf.Graph().as_default():
        writer = tf.compat.v1.summary.FileWriter(plan.paths.logs, filename_suffix=SESSION_SUFFIX, flush_secs=5)
    with contextlib.closing(writer):
        yield writer


def _remove_earlier_session(plan: Plan) -> None:
    """TensorBoard believes the first start and the first end that it finds; a resumed job has new ones."""
    logs = plan.paths.logs
    for name in tf.io.gfile.listdir(logs) if tf.io.gfile.isdir(logs) else []:
        if name.endswith(SESSION_SUFFIX):
            tf.io.gfile.remove(f"{logs}/{name}")
