"""What the worker pools are to the trainer: a cluster that its strategy has to fit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from trainer.cloud.schema_values import whole
from trainer.job.cluster import Cluster
from trainer.job.errors import UsageError
from trainer.job.findings import Finding
from trainer.job.fitting import refuse_unfit

MOST = 1000  # replicas, as far as this looks


def check_cluster(pools: Sequence[Mapping[str, Any]], strategy: str) -> Iterator[Finding]:
    """Hold --strategy against the pools of a CustomJobSpec: chief, worker, parameter server, evaluator."""
    counts = [min(whole(pool.get("replicaCount")) or 0, MOST) for pool in pools[:4]]
    workers, ps = ([f"host:{number}" for number in range(count)] for count in [*counts[1:3], 0, 0][:2])
    try:
        refuse_unfit(strategy, Cluster("chief:1", tuple(workers), tuple(ps)))
    except UsageError as error:
        problem, _, remedy = str(error).rstrip(".").rpartition(": ")
        yield Finding("error", "workerPoolSpecs", problem, remedy)
