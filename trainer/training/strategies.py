"""How the work is spread over devices and machines: which strategy, why, and how it is made."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Callable, Iterator, Mapping

import tensorflow as tf

from trainer.job.cluster import Cluster
from trainer.job.config import Distribution, Job
from trainer.job.errors import UsageError
from trainer.job.fitting import refuse_unfit
from trainer.training.multi_worker import multi_worker_mirrored


@dataclasses.dataclass(frozen=True)
class Spread:
    """A strategy decided.

    Attributes:
      name, why: one of the keys of STRATEGIES, and why that one.
      workers: processes that train in step; each has `replicas` devices. Asynchronous workers count as one.
      position: this process's place among those that train.
      trainers: processes that train, in step or not.
      sums: whether the model's loss is a sum over examples instead of their mean.
      adds_rows: whether the optimizer sees the same in gradients of a table's rows once equal ones are added up.
    """

    name: str
    why: str
    replicas: int = 1
    workers: int = 1
    position: int = 0
    trainers: int = 1
    sums: bool = False
    adds_rows: bool = False

    @property
    def in_step(self) -> int:
        """Parts that the global batch is cut into."""
        return self.replicas * self.workers

    @property
    def is_async(self) -> bool:
        """Whether each worker does steps of its own."""
        return self.name == "parameter_server"


ALONE = Spread("none", "nothing else was said")


def _devices() -> list[str]:
    gpus = tf.config.list_logical_devices("GPU")
    return [each.name for each in gpus or tf.config.list_logical_devices("CPU")]


def _one_device(_: Spread) -> tf.distribute.Strategy:
    return tf.distribute.OneDeviceStrategy(_devices()[0])


def _mirrored(_: Spread) -> tf.distribute.Strategy:
    """On CPUs the default way to add up gradients hangs in the first step (measured on TensorFlow 2.15.1)."""
    on_gpus = bool(tf.config.list_logical_devices("GPU"))
    return tf.distribute.MirroredStrategy(
        _devices(), cross_device_ops=None if on_gpus else tf.distribute.ReductionToOneDevice()
    )


def _central_storage(_: Spread) -> tf.distribute.Strategy:
    return tf.distribute.experimental.CentralStorageStrategy(_devices(), parameter_device="/cpu:0")


STRATEGIES: dict[str, Callable[[Spread], tf.distribute.Strategy | None]] = {
    "none": lambda _: None,
    "one_device": _one_device,
    "mirrored": _mirrored,
    "central_storage": _central_storage,
    "multi_worker_mirrored": lambda spread: multi_worker_mirrored(adds_rows=spread.adds_rows),
    "parameter_server": lambda _: None,  # the Estimator's own: each worker sends its updates to the servers
    "tpu": lambda _: None,  # see tpu.py
}


def choose(distribution: Distribution, cluster: Cluster | None) -> Spread:
    """Decide on a strategy. Raises UsageError where the one that was asked for does not fit what there is."""
    together = cluster if cluster is not None and not cluster.is_alone else None
    asked = distribution.strategy
    name, why = _fitting(together) if asked == "auto" else (asked, "as asked for")
    refuse_unfit(name, together)
    if together is None:
        return Spread(name, why, _replicas(name))
    workers = 1 if name == "parameter_server" else together.trainers
    return Spread(name, why, _replicas(name), workers, together.position, together.trainers)


def _fitting(cluster: Cluster | None) -> tuple[str, str]:
    if cluster is not None and cluster.ps:
        return "parameter_server", "the cluster has parameter servers"
    if cluster is not None:
        return "multi_worker_mirrored", f"{cluster.trainers} machines train, without parameter servers"
    gpus = len(tf.config.list_logical_devices("GPU"))
    cpus = len(tf.config.list_logical_devices("CPU"))
    if gpus > 1 or (not gpus and cpus > 1):
        return "mirrored", f"there are {gpus or cpus} {'GPUs' if gpus else 'logical CPUs'}"
    return "none", f"there is one {'GPU' if gpus else 'CPU device'}"


def _replicas(name: str) -> int:
    """Of one machine; one of a cluster has a replica on each GPU, and a single one where it has none."""
    if name == "multi_worker_mirrored":
        return len(tf.config.list_logical_devices("GPU")) or 1
    return len(_devices()) if name in ("mirrored", "central_storage") else 1


def per_replica_batch_size(spread: Spread, batch_size: int) -> int:
    """The part of the global batch that one device computes. Raises UsageError where it does not divide evenly."""
    if batch_size % spread.in_step:
        near = [each for each in (batch_size // spread.in_step, batch_size // spread.in_step + 1) if each]
        proposed = " or ".join(str(each * spread.in_step) for each in near)
        raise UsageError(
            f"--batch-size={batch_size} is that of all {spread.in_step} replicas together and does not divide by "
            f"{spread.in_step}: say --batch-size={proposed}."
        )
    return batch_size // spread.in_step


def build_strategy(spread: Spread) -> tf.distribute.Strategy | None:
    """The strategy itself; to be called in `in_cluster` where there is one."""
    return STRATEGIES[spread.name](spread)


@contextlib.contextmanager
def in_cluster(cluster: Cluster | None) -> Iterator[None]:
    """Let TensorFlow see the cluster within this context, and only here: exports and evaluations have none.

    In a graph of its own: outside of one, MultiWorkerMirroredStrategy insists on being the first thing that happens in
    the process, and the copies that an Estimator makes of it fail ("unknown device", TensorFlow 2.15.1).
    """
    if cluster is None or cluster.is_alone:
        yield
        return
    os.environ["TF_CONFIG"] = json.dumps(cluster.tf_config())
    try:
        with tf.Graph().as_default():
            yield
    finally:
        os.environ.pop("TF_CONFIG", None)


def describe(spread: Spread, job: Job) -> Mapping[str, object]:
    """For the manifest: what came of --strategy and --batch-size."""
    return {
        "strategy": spread.name,
        "replicas": spread.in_step,
        "workers": spread.trainers,
        "per_replica_batch_size": per_replica_batch_size(spread, job.data.batch_size),
    }
