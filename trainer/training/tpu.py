"""Training on a TPU, through TPUEstimator, and the same rehearsed on the CPU.

Only the training is the TPU's. Evaluations, predictions and exports are made on the machine's CPU, by the Estimator
that the model was converted to, because

- an evaluation or a prediction on the TPU initialises the TPU's system (TPUInfeedOutfeedSessionHook), and in
  `train_and_evaluate` that happens under the training that goes on;
- it takes full batches only and reports the loss of its first core: here every metric is exact, the last short batch
  and all.

`--tpu=rehearse` takes the same way with `use_tpu=False`: batches of a fixed shape, the same model function, hooks and
exporters; the step runs on the CPU instead of in a loop on the TPU. Sources: tpu_estimator.py, tpu_context.py and
tpu_config.py of tensorflow_estimator 2.15.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlparse

import tensorflow as tf
from tensorflow_estimator.python.estimator.tpu.tpu_estimator import InstallSignalHandlerHook  # type: ignore[import-untyped]

from trainer.job.config import Job
from trainer.job.errors import UsageError
from trainer.training.devices import TPU_VARIABLES
from trainer.training.failures import in_words
from trainer.training.fit_semantics import ModelFn
from trainer.training.strategies import Spread, per_replica_batch_size
from trainer.training.tpu_batches import insist_on_fixed
from trainer.training.tpu_cores import mean_over_cores
from trainer.training.tpu_gradients import average_gradients

REHEARSE, LOCAL = "rehearse", "local"
CONNECT_SECS = 10.0
NAN = " is NaN : Tensor had "  # tpu_estimator.py checks all weights after each loop
_tpu = tf.compat.v1.estimator.tpu


class TpuEstimator(tf.compat.v1.estimator.tpu.TPUEstimator):
    """Trains on a TPU; evaluates, predicts and exports on the CPU, by the Estimator it is made from."""

    def __init__(self, host: tf.estimator.Estimator, config: Any, job: Job) -> None:
        self._host = host
        super().__init__(
            model_fn=_on_each_core(host.model_fn),
            config=config,
            use_tpu=config.cluster is not None,
            train_batch_size=job.data.batch_size,
            eval_on_tpu=False,
            export_to_tpu=False,
            params={},
        )

    def train(self, *arguments: Any, **named: Any) -> Any:
        """See Estimator. Raises NanLossDuringTrainingError also for weights that are NaN, which a TPU tells otherwise.

        The threads that feed a TPU fail too when the training does, and TPUEstimator raises what came first.
        """
        try:
            return super().train(*arguments, **named)
        except Exception as error:
            seen = self._rendezvous[tf.estimator.ModeKeys.TRAIN]._errors.get("training_loop")
            own = seen[1] if seen and not _is_followed(seen[1]) else error
            if isinstance(own, tf.errors.InvalidArgumentError) and NAN in own.message:
                raise tf.estimator.NanLossDuringTrainingError from own
            raise own from own.__cause__

    def evaluate(self, *arguments: Any, **named: Any) -> dict[str, Any]:
        """See Estimator; on the CPU."""
        return self._host.evaluate(*arguments, **named)

    def predict(self, *arguments: Any, **named: Any) -> Any:
        """See Estimator; on the CPU."""
        return self._host.predict(*arguments, **named)

    def export_saved_model(self, *arguments: Any, **named: Any) -> bytes:
        """See Estimator; for the CPU."""
        return self._host.export_saved_model(*arguments, **named)

    def validate(self) -> None:
        """See that there is a TPU, and that a batch can be divided among its cores.

        Raises:
          UsageError: it is not so, or the TPU has several hosts.
        """
        if self.config.cluster is None:
            return
        with self._ctx.with_mode(tf.estimator.ModeKeys.TRAIN) as context:
            cores, hosts = context.num_cores, context.num_hosts
        if not cores:
            raise UsageError(
                "no TPU core was found: run on a machine that has a TPU, name one with --tpu=NAME, or see with "
                f"--tpu={REHEARSE} how far the job comes without one."
            )
        if hosts > 1:
            raise UsageError(
                f"this TPU has {hosts} hosts, each of which would read all of the data: name one with a single host, "
                "such as a v3-8."
            )
        per_replica_batch_size(Spread("tpu", "", replicas=cores), self._ctx._train_batch_size)

    def _call_input_fn(self, input_fn: Callable[[], Any], mode: str, input_context: Any = None) -> Any:
        """TPUEstimator insists on an argument `params`, which input functions of ours do not need.

        Raises ModelError for batches that no TPU takes.
        """
        return super()._call_input_fn(lambda params: insist_on_fixed(input_fn()), mode, input_context)

    def _call_model_fn(self, features: Any, labels: Any, mode: str, config: Any) -> Any:
        """Leave out the hook that lets Ctrl-C end the process at once: a stop of ours saves first."""
        spec = super()._call_model_fn(features, labels, mode, config)
        kept = [hook for hook in spec.training_hooks if not isinstance(hook, InstallSignalHandlerHook)]
        return spec._replace(training_hooks=tuple(kept))

    def _assert_members_are_not_overridden(self) -> None:
        """Estimator's own way to let a subclass override something (estimator.py, the constructor)."""


def build_tpu_estimator(host: tf.estimator.Estimator, model: tf.keras.Model, job: Job) -> TpuEstimator:
    """The Estimator that trains a job with `--strategy=tpu`, from a checkpoint that `save_first_weights` has written.

    Args:
      host: what `convert` has made of the model.
      model: that model.

    Raises:
      UsageError: `--tpu` names none that can be used for this job.
      ModelError: the model's loss is a sum, which the cores' mean is not.
    """
    average_gradients(model)
    name = job.distribution.tpu
    cluster = None if name == REHEARSE else find_tpu(name)
    estimator = TpuEstimator(host, _run_config(host.config, cluster, job), job)
    estimator.validate()
    return estimator


def build_program(
    host: tf.estimator.Estimator, job: Job, input_fn: Callable[[], tf.data.Dataset], cores: int
) -> tf.Graph:
    """The graph that trains on a TPU of so many cores, built without one. Raises what the model's own code does."""
    cluster = tf.distribute.cluster_resolver.TPUClusterResolver(LOCAL)
    estimator = TpuEstimator(host, _run_config(host.config, cluster, job), job)
    metadata = tf.tpu.experimental.TPUSystemMetadata(cores, 1, cores, None, [])
    estimator._ctx._lazy_tpu_system_metadata_dict[estimator.config.master] = metadata
    mode = tf.estimator.ModeKeys.TRAIN
    estimator._rendezvous[mode] = None  # of the threads of a run
    with tf.Graph().as_default() as graph:
        estimator._create_and_assert_global_step(graph)
        estimator._call_model_fn(estimator._call_input_fn(input_fn, mode), None, mode, estimator.config)
    return graph


def find_tpu(name: str | None) -> Any:
    """The resolver of a TPU: `local`, a name, or an address grpc://HOST:PORT; None for what the machine has.

    Raises:
      UsageError: there is none, or it does not answer. TensorFlow itself would try for a day.
    """
    said = f"--tpu={name}" if name else "--strategy=tpu without --tpu"
    if name is None and not any(os.environ.get(variable) for variable in TPU_VARIABLES):
        name = LOCAL
    hint = f"name one that is ready, --tpu={LOCAL} on a machine with a TPU of its own, or --tpu={REHEARSE}"
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=name)
        address = urlparse(resolver.master())
        if address.hostname:
            socket.create_connection((address.hostname, address.port or 8470), CONNECT_SECS).close()
    except Exception as error:  # of the resolver's several clients and their transports, each has errors of its own
        raise UsageError(f"{said}: no TPU can be reached ({in_words(error)}): {hint}.") from error
    return resolver


def _is_followed(error: Exception) -> bool:
    """Whether an error says no more than that the session was closed, after another one."""
    return isinstance(error, tf.errors.CancelledError) or "closed" in str(error)


def _run_config(config: tf.estimator.RunConfig, cluster: Any, job: Job) -> Any:
    """The settings of a plain job, and what a TPU needs besides."""
    session_config = tf.compat.v1.ConfigProto()
    session_config.CopyFrom(config.session_config or session_config)
    session_config.allow_soft_placement = session_config.isolate_session_state = True  # TPU's RunConfig sets both
    made = _tpu.RunConfig(
        cluster=cluster,
        tpu_config=_tpu.TPUConfig(
            iterations_per_loop=job.distribution.iterations_per_loop, per_host_input_for_training=True
        ),
        model_dir=config.model_dir,
        tf_random_seed=config.tf_random_seed,
        keep_checkpoint_max=config.keep_checkpoint_max,
        session_config=session_config,
        save_checkpoints_steps=None,
        save_checkpoints_secs=None,
        save_summary_steps=None,
        log_step_count_steps=None,
    )
    # The TPU's worker is no member of the job: with it in the cluster, train_and_evaluate takes this process for one
    # worker among others and evaluates nothing.
    made._cluster_spec = tf.train.ClusterSpec({})
    return made


def _on_each_core(model_fn: ModelFn) -> Callable[..., Any]:
    """The model function of a TPU's training: what each core does with its part of the batch.

    The loss that is reported is that of the whole batch; TPUEstimator alone would report the first core's.
    """

    def run_model_fn(features: Any, labels: Any, mode: str, config: Any, params: Mapping[str, Any]) -> Any:
        if mode != tf.estimator.ModeKeys.TRAIN:
            return model_fn(features, labels, mode, config)
        with tf.compat.v1.variable_creator_scope(_read_in_each_step):
            made = model_fn(features, labels, mode, config)
        loss = mean_over_cores(tf.cast(made.loss, tf.float32))  # the loop's own type
        return _tpu.TPUEstimatorSpec(mode, loss=loss, train_op=made.train_op, training_hooks=made.training_hooks)

    return run_model_fn


def _read_in_each_step(make_variable: Callable[..., Any], **arguments: Any) -> Any:
    """A variable that is read in each step of a TPU's loop.

    Keras has the weights of recurrent cells read once, outside of it: all steps of a loop but the first would compute
    with old ones, without a word. It looks for loops of TensorFlow 1 only (keras/src/layers/rnn/rnn_utils.py,
    caching_device).
    """
    return make_variable(**{**arguments, "caching_device": None})
