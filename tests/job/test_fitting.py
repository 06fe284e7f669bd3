"""Which strategy fits which cluster, by a table, and what is said where none does."""

from __future__ import annotations

from typing import get_args, get_type_hints

import pytest

from trainer.job.cluster import Cluster
from trainer.job.config import Distribution
from trainer.job.errors import UsageError
from trainer.job.fitting import IN_A_CLUSTER, ON_ONE_MACHINE, refuse_unfit

PAIR = Cluster("a:1", ("b:1",))
SERVED = Cluster("a:1", ("b:1", "c:1"), ("d:1",))
SERVED_ALONE = Cluster("a:1", (), ("d:1",))
NEEDS = "needs a cluster, and there is one machine: give the job more machines"

# strategy, cluster -> what is said, None where it fits
CASES: dict[str, tuple[str, Cluster | None, str | None]] = {
    "auto alone": ("auto", None, None),
    "auto, a pair": ("auto", PAIR, None),
    "auto, served": ("auto", SERVED, None),
    "none alone": ("none", None, None),
    "one_device alone": ("one_device", None, None),
    "mirrored alone": ("mirrored", None, None),
    "central_storage alone": ("central_storage", None, None),
    "tpu alone": ("tpu", None, None),
    "multi_worker_mirrored alone": ("multi_worker_mirrored", None, NEEDS),
    "parameter_server alone": ("parameter_server", None, NEEDS),
    "none, a pair": ("none", PAIR, "is for one machine, and 2 train, beside 0 parameter servers: say --strategy=auto"),
    "one_device, a pair": ("one_device", PAIR, "is for one machine"),
    "mirrored, a pair": ("mirrored", PAIR, "is for one machine"),
    "central_storage, served": ("central_storage", SERVED, "and 3 train, beside 1 parameter servers"),
    "mirrored, a chief with a server": ("mirrored", SERVED_ALONE, "and 1 train, beside 1 parameter servers"),
    "tpu, a pair": ("tpu", PAIR, "is for one machine"),
    "multi_worker_mirrored, a pair": ("multi_worker_mirrored", PAIR, None),
    "multi_worker_mirrored, served": ("multi_worker_mirrored", SERVED, "the cluster has parameter servers"),
    "parameter_server, a pair": ("parameter_server", PAIR, "the cluster has no parameter server"),
    "parameter_server, served": ("parameter_server", SERVED, None),
    "parameter_server, a chief with a server": ("parameter_server", SERVED_ALONE, None),
}


@pytest.mark.parametrize(("name", "cluster", "said"), CASES.values(), ids=CASES)
def test_a_strategy_fits_or_a_sentence_says_why_not(name: str, cluster: Cluster | None, said: str | None) -> None:
    if said is None:
        refuse_unfit(name, cluster)
        return
    with pytest.raises(UsageError) as caught:
        refuse_unfit(name, cluster)
    sentence = str(caught.value)
    assert sentence.startswith(f"--strategy={name}")
    assert said in sentence
    assert "--strategy=auto" in sentence


@pytest.mark.parametrize(("name", "cluster"), [(name, cluster) for name, cluster, said in CASES.values() if said])
def test_a_remedy_comes_after_the_only_colon(name: str, cluster: Cluster | None) -> None:
    """`check` takes it from there."""
    with pytest.raises(UsageError) as caught:
        refuse_unfit(name, cluster)
    problem, *remedies = str(caught.value).split(": ")
    assert len(remedies) == 1, caught.value
    assert len(problem.split()) > 4, "the problem is no sentence"


def test_every_strategy_has_its_place() -> None:
    names = get_args(get_type_hints(Distribution)["strategy"])
    assert sorted([*ON_ONE_MACHINE, *IN_A_CLUSTER, "auto"]) == sorted(names)
    assert {name for name, *_ in CASES.values()} == set(names)
