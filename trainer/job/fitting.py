"""Which strategy fits which cluster: asked before a job is sent, and by each of its processes."""

from __future__ import annotations

from trainer.job.cluster import Cluster
from trainer.job.errors import UsageError

ON_ONE_MACHINE = ("none", "one_device", "mirrored", "central_storage", "tpu")
IN_A_CLUSTER = ("multi_worker_mirrored", "parameter_server")


def refuse_unfit(name: str, cluster: Cluster | None) -> None:
    """Raise UsageError where a strategy, other than auto, is none for who takes part.

    `cluster` is None for a machine that nobody else trains with, or one in which the chief trains alone.
    """
    if name == "auto":
        return
    if cluster is not None and cluster.is_alone:
        cluster = None
    if cluster is None and name in IN_A_CLUSTER:
        raise UsageError(
            f"--strategy={name} needs a cluster, and there is one machine: give the job more machines, try it with "
            "python -m trainer.rehearse, or say --strategy=auto."
        )
    if cluster is not None and name in ON_ONE_MACHINE:
        raise UsageError(
            f"--strategy={name} is for one machine, and {cluster.trainers} train, beside {len(cluster.ps)} parameter "
            "servers: say --strategy=auto, or give the job one machine."
        )
    if cluster is not None and (name == "parameter_server") != bool(cluster.ps):
        has = "has no parameter server" if not cluster.ps else "has parameter servers"
        raise UsageError(f"--strategy={name}, and the cluster {has}: say --strategy=auto, or change the cluster.")
