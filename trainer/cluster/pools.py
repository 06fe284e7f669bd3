"""What the worker pools of a file say of a rehearsal: how many processes of each role, and their variables. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from trainer.cloud.request import MODULE, container_of
from trainer.cloud.schema import wrong_values
from trainer.cloud.schema_values import whole
from trainer.cloud.specs import Spec
from trainer.job.cluster import ROLES, Role
from trainer.job.errors import UsageError
from trainer.job.findings import errors_of
from trainer.job.rehearsing import Rehearsal

MOST_PROCESSES = 16  # each takes a quarter of a gigabyte before it has read any data
ONE_AT_MOST: tuple[Role, ...] = ("chief", "evaluator")


@dataclass(frozen=True)
class Pools:
    """Role -> how many processes, and role -> the variables that its containers have. `notes` are clauses."""

    counts: Mapping[Role, int]
    env: Mapping[Role, Mapping[str, str]]
    notes: tuple[str, ...] = ()


def read_pools(spec: Spec | None, settings: Rehearsal) -> Pools:
    """The pools of a file, as the flags scale them.

    Raises:
      UsageError: the file cannot be read as it is written, has pools that no job has, or asks for too many processes.
    """
    pools = _pools(spec) if spec else {}
    counts = _scaled({role: _replicas(pools.get(role, {}), role, spec) for role in ROLES}, settings)
    total = sum(counts.values())
    if total > MOST_PROCESSES:
        raise UsageError(
            f"{spec.path if spec else 'the flags'} and flags make {total} processes: expected {MOST_PROCESSES} at most "
            "on one machine, so scale it down with --workers and --ps."
        )
    env = {role: dict(_variables(pools.get(role, {}))) for role in ROLES}
    return Pools(counts, env, tuple(_notes(pools)))


def _pools(spec: Spec) -> dict[Role, Mapping[str, Any]]:
    """Role -> its pool, those that have a replica."""
    wrong = errors_of(wrong_values(spec.content, spec.kind)) if spec.kind != "legacy" else []
    if wrong:
        more = f" ({len(wrong) - 1} more: python -m trainer.check --spec={spec.path})" if len(wrong) > 1 else ""
        raise UsageError(f"{spec.path}: {wrong[0].said.rstrip('.')}{more}.")
    if len(spec.pools) > len(ROLES):
        raise UsageError(
            f"{spec.path} has {len(spec.pools)} worker pools: expected four at most, by position: {', '.join(ROLES)}."
        )
    found: dict[Role, Mapping[str, Any]] = {role: pool for role, pool in zip(ROLES, spec.pools, strict=False) if pool}
    if "chief" not in found:
        raise UsageError(f"{spec.path} has no first worker pool: describe the chief's machine there.")
    return found


def _replicas(pool: Mapping[str, Any], role: Role, spec: Spec | None) -> int:
    if not pool:
        return 1 if role == "chief" and spec is None else 0
    count = whole(pool.get("replicaCount", 1))
    if count is None or count < 1 or (role in ONE_AT_MOST and count > 1):
        allowed = "1: a job has one" if role in ONE_AT_MOST else "at least 1"
        place = ROLES.index(role)
        raise UsageError(
            f"{spec.path if spec else ''}: workerPoolSpecs[{place}].replicaCount={pool['replicaCount']} of the {role} "
            f"pool: expected {allowed}."
        )
    return count


def _scaled(counts: dict[Role, int], settings: Rehearsal) -> dict[Role, int]:
    evaluators = None if settings.evaluator is None else int(settings.evaluator)
    said: dict[Role, int | None] = {"worker": settings.workers, "ps": settings.ps, "evaluator": evaluators}
    return {**counts, **{role: count for role, count in said.items() if count is not None}}


def _variables(pool: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for each in container_of(pool).get("env") or ():
        yield str(each.get("name")), str(each.get("value", ""))


def _notes(pools: Mapping[Role, Mapping[str, Any]]) -> Iterator[str]:
    """What a container would do and a process here does not."""
    for role, pool in pools.items():
        container = container_of(pool)
        if container.get("command"):
            yield f"the {role} pool's command is not run: {MODULE} runs in its place"
        if container.get("pythonModule", MODULE) != MODULE:
            yield f"the {role} pool's module {container['pythonModule']} is not run: {MODULE} runs in its place"
        accelerator = (pool.get("machineSpec") or {}).get("acceleratorType")
        if accelerator:
            yield f"the {role} pool's {accelerator} is not here: processes compute with what this machine has"
