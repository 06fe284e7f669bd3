"""The worker pools of a job against --strategy, by a table."""

from __future__ import annotations

from typing import Any

import pytest

from trainer.cloud.cluster_rules import check_cluster
from trainer.job.findings import Finding

ONE_MACHINE = "say --strategy=auto, or give the job one machine"

# counts of the pools (None: a placeholder), strategy -> problem and remedy, None where all is well
CASES: dict[str, tuple[list[Any], str, tuple[str, str] | None]] = {
    "auto, a chief": ([1], "auto", None),
    "auto, workers and servers": ([1, 2, 1], "auto", None),
    "mirrored, a chief": ([1], "mirrored", None),
    "mirrored, a chief and placeholders": ([1, None, None], "mirrored", None),
    "mirrored, an evaluator": ([1, None, None, 1], "mirrored", None),
    "multi_worker_mirrored, workers": ([1, 2], "multi_worker_mirrored", None),
    "multi_worker_mirrored, counts as text": ([1, "2"], "multi_worker_mirrored", None),
    "parameter_server, workers and servers": ([1, 2, 1, 1], "parameter_server", None),
    "parameter_server, servers alone": ([1, None, 2], "parameter_server", None),
    "mirrored, workers": (
        [1, 2],
        "mirrored",
        ("--strategy=mirrored is for one machine, and 3 train, beside 0 parameter servers", ONE_MACHINE),
    ),
    "none, more workers than anybody has": (
        [1, 10**12],
        "none",
        ("--strategy=none is for one machine, and 1001 train, beside 0 parameter servers", ONE_MACHINE),
    ),
    "multi_worker_mirrored, an evaluator only": (
        [1, None, None, 1],
        "multi_worker_mirrored",
        (
            "--strategy=multi_worker_mirrored needs a cluster, and there is one machine",
            "give the job more machines, try it with python -m trainer.rehearse, or say --strategy=auto",
        ),
    ),
    "parameter_server, no servers": (
        [1, 2],
        "parameter_server",
        (
            "--strategy=parameter_server, and the cluster has no parameter server",
            "say --strategy=auto, or change the cluster",
        ),
    ),
    "multi_worker_mirrored, servers": (
        [1, 2, 1],
        "multi_worker_mirrored",
        (
            "--strategy=multi_worker_mirrored, and the cluster has parameter servers",
            "say --strategy=auto, or change the cluster",
        ),
    ),
    "counts that are none": ([1, "many", -1], "mirrored", None),  # the rules of pools speak of them
    "no pools": ([], "mirrored", None),
}


def pools(counts: list[Any]) -> list[dict[str, Any]]:
    return [{} if count is None else {"replicaCount": count} for count in counts]


@pytest.mark.parametrize(("counts", "strategy", "said"), CASES.values(), ids=CASES)
def test_pools_and_strategy(counts: list[Any], strategy: str, said: tuple[str, str] | None) -> None:
    found = list(check_cluster(pools(counts), strategy))
    assert found == ([Finding("error", "workerPoolSpecs", *said)] if said else [])
