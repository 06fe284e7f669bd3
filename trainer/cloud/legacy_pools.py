"""The replicas of an old job as worker pools: pool 0 is the chief, 1 the workers, 2 parameter servers, 3 evaluators."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trainer.cloud.legacy_fields import Notes
from trainer.cloud.legacy_machines import TIERS, TPU_MACHINE, machine_spec
from trainer.cloud.legacy_programs import Programs
from trainer.cloud.wording import shown
from trainer.job.errors import UsageError

ROLES = ("master", "worker", "parameterServer", "evaluator")


@dataclass(frozen=True)
class Replicas:
    """The machines of one role; `config` is the role's ReplicaConfig."""

    role: str
    count: int
    machine_type: str
    config: Mapping[str, Any]

    @property
    def where(self) -> str:
        """The field that says the machine type."""
        return f"trainingInput.{self.role}Type"


def convert_pools(training: Mapping[str, Any], notes: Notes) -> list[dict[str, Any]]:
    """The workerPoolSpecs for a TrainingInput; {} holds the place of a role that has no machines.

    Raises:
      UsageError: the scale tier and the machines contradict each other, or a machine type is unknown.
    """
    replicas = _replicas(training, _tier(training, notes), notes)
    machines = {each.role: machine_spec(each.machine_type, each.config, each.where, notes) for each in replicas}
    replicas = _tpu_alone(replicas, machines, notes)
    programs = Programs(training, notes)
    pools = {
        each.role: {
            "machineSpec": machines[each.role],
            "replicaCount": each.count,
            **_disk(each.config),
            **programs.of(each.role, machines[each.role]),
        }
        for each in replicas
    }
    return _in_place(pools, len(replicas) == 1, notes)


def _tier(training: Mapping[str, Any], notes: Notes) -> str:
    typed = [name for role in ROLES for name in (f"{role}Type", f"{role}Count") if training.get(name)]
    if "scaleTier" not in training:
        tier = "CUSTOM" if typed else "BASIC"
        why = f"{typed[0]} is given" if typed else "the old command's default"
        notes.assume(f"trainingInput.scaleTier is not said: {tier} is assumed, {why}.")
        return tier
    tier = str(training["scaleTier"])
    if tier != "CUSTOM" and typed:
        raise UsageError(
            f"trainingInput.{typed[0]}={shown(training[typed[0]])} is for scaleTier CUSTOM only, and scaleTier is "
            f"{tier}: keep one of the two."
        )
    return tier


def _replicas(training: Mapping[str, Any], tier: str, notes: Notes) -> list[Replicas]:
    if tier == "CUSTOM":
        found = [each for role in ROLES if (each := _custom(role, training, notes))]
    else:
        rows = TIERS[tier]
        found = [Replicas(role, count, kind, training.get(f"{role}Config") or {}) for role, count, kind in rows]
        listed = ", ".join(f"{role} {count} x {kind}" for role, count, kind in rows)
        notes.assume(
            f"trainingInput.scaleTier={tier} is taken for {listed}; no published list confirms it any more, so compare "
            "it with an old job."
        )
    there = {each.role for each in found}
    for role in ROLES:
        if role not in there and training.get(f"{role}Config"):
            why = f"scaleTier {tier} has no {role}." if tier != "CUSTOM" else f"{role}Count is 0, so there is none."
            notes.drop(f"trainingInput.{role}Config", training[f"{role}Config"], why)
    return found


def _custom(role: str, training: Mapping[str, Any], notes: Notes) -> Replicas | None:
    count, kind = 1 if role == "master" else training.get(f"{role}Count", 0), training.get(f"{role}Type")
    if not count:
        if kind:
            notes.drop(f"trainingInput.{role}Type", kind, f"{role}Count is 0, so there is none.")
        return None
    if not kind:
        needs = "scaleTier CUSTOM" if role == "master" else f"{role}Count={count}"
        raise UsageError(
            f"trainingInput.{role}Type is missing: {needs} needs it; give a machine such as n1-standard-8."
        )
    return Replicas(role, count, kind, training.get(f"{role}Config") or {})


def _tpu_alone(replicas: list[Replicas], machines: Mapping[str, Any], notes: Notes) -> list[Replicas]:
    """On Vertex AI the program runs on the TPU's own machine: one pool of one replica, and nothing beside it."""
    tpus = [each for each in replicas if machines[each.role]["machineType"] == TPU_MACHINE]
    if not tpus:
        return replicas
    for each in replicas:
        if each is not tpus[0]:
            notes.drop(
                each.where,
                each.machine_type,
                f"on Vertex AI the program runs on the TPU's machine itself, so the {each.role} is left out.",
            )
    if tpus[0].count != 1:
        notes.drop(f"trainingInput.{tpus[0].role}Count", tpus[0].count, "Vertex AI runs one TPU pool of one replica.")
    return [Replicas(tpus[0].role, 1, tpus[0].machine_type, tpus[0].config)]


def _disk(config: Mapping[str, Any]) -> dict[str, Any]:
    return {"diskSpec": config["diskConfig"]} if config.get("diskConfig") else {}


def _in_place(pools: Mapping[str, dict[str, Any]], alone: bool, notes: Notes) -> list[dict[str, Any]]:
    """Pools say by their place what they are; the chief's is the first, whatever the role was called."""
    if alone:
        return list(pools.values())
    last = max(ROLES.index(role) for role in pools)
    empty = [str(place) for place, role in enumerate(ROLES[:last]) if role not in pools]
    if empty:
        notes.assume(
            f"workerPoolSpecs[{'], ['.join(empty)}] is an empty {{}} that holds a place, which tells pools apart: "
            "gcloud ai custom-jobs refuses it in a file, so send it with python -m trainer.submit --via=rest."
        )
    return [pools.get(role, {}) for role in ROLES[: last + 1]]
