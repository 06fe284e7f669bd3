"""The machines of the old AI Platform Training, and what stands for them on Vertex AI."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trainer.cloud.legacy_fields import Notes
from trainer.cloud.wording import shown
from trainer.job.errors import UsageError
from trainer.job.mistakes import closest, proposal

K80, P100, V100, T4 = (f"NVIDIA_TESLA_{name}" for name in ("K80", "P100", "V100", "T4"))
TPU_MACHINE = "cloud-tpu"
MAX_T4 = 4


@dataclass(frozen=True)
class Machine:
    """A Compute Engine machine and its accelerators; `sure` where a published list had exactly this row."""

    machine_type: str
    accelerator: str = ""
    count: int = 0
    sure: bool = True


# Legacy machine type -> Compute Engine. What is not `sure` had its GPUs in the API's reference, but its machine only in
# a list that is no longer published.
TYPES: dict[str, Machine] = {
    "standard": Machine("n1-standard-4"),
    "large_model": Machine("n1-highmem-8"),
    "complex_model_s": Machine("n1-highcpu-8"),
    "complex_model_m": Machine("n1-highcpu-16"),
    "complex_model_l": Machine("n1-highcpu-32"),
    "standard_gpu": Machine("n1-standard-8", K80, 1),
    "complex_model_m_gpu": Machine("n1-standard-16", K80, 4, sure=False),
    "complex_model_l_gpu": Machine("n1-standard-32", K80, 8, sure=False),
    "standard_p100": Machine("n1-standard-8", P100, 1),
    "complex_model_m_p100": Machine("n1-standard-16", P100, 4, sure=False),
    "standard_v100": Machine("n1-standard-8", V100, 1, sure=False),
    "large_model_v100": Machine("n1-highmem-8", V100, 1, sure=False),
    "complex_model_m_v100": Machine("n1-standard-16", V100, 4, sure=False),
    "complex_model_l_v100": Machine("n1-standard-32", V100, 8, sure=False),
    "cloud_tpu": Machine(TPU_MACHINE, "TPU_V2", 8),
}
# Scale tier -> role, replicas, machine; CUSTOM has the file's own.
TIERS: dict[str, tuple[tuple[str, int, str], ...]] = {
    "BASIC": (("master", 1, "n1-standard-4"),),
    "BASIC_GPU": (("master", 1, "standard_gpu"),),
    "BASIC_TPU": (("master", 1, "n1-standard-4"), ("worker", 1, "cloud_tpu")),
    "STANDARD_1": (
        ("master", 1, "n1-highcpu-8"),
        ("worker", 4, "n1-highcpu-8"),
        ("parameterServer", 3, "n1-standard-4"),
    ),
    "PREMIUM_1": (
        ("master", 1, "n1-highcpu-16"),
        ("worker", 19, "n1-highcpu-16"),
        ("parameterServer", 11, "n1-highmem-8"),
    ),
}
COMPUTE_ENGINE = re.compile(r"[a-z][a-z0-9]*-[a-z0-9]+(-[a-z0-9]+)*")


def machine_spec(type_: str, config: Mapping[str, Any], where: str, notes: Notes) -> dict[str, Any]:
    """The machineSpec for a legacy machine type and a ReplicaConfig; `where` is the type's field.

    Raises:
      UsageError: the type is neither an old one nor looks like one of Compute Engine's.
    """
    machine = _machine(type_, where, notes)
    wanted = config.get("acceleratorConfig") or {}
    if (
        wanted.get("type", "ACCELERATOR_TYPE_UNSPECIFIED") != "ACCELERATOR_TYPE_UNSPECIFIED"
        and wanted.get("count") != 0
    ):
        machine = _with_accelerators(machine, wanted, where, notes)
    elif wanted:
        at = where.removesuffix("Type") + "Config.acceleratorConfig"
        notes.drop(at, wanted, "it names no accelerator or none of it, so it asks for nothing.")
    machine = _available(machine, where, notes)
    found: dict[str, Any] = {"machineType": machine.machine_type}
    if machine.count:
        found |= {"acceleratorType": machine.accelerator, "acceleratorCount": machine.count}
    return found


def _machine(type_: str, where: str, notes: Notes) -> Machine:
    if type_ not in TYPES:
        if not COMPUTE_ENGINE.fullmatch(type_):
            near = closest(type_, TYPES)
            meant = proposal(near) if near else f"the old types were {', '.join(TYPES)}."
            raise UsageError(
                f"{where}={shown(type_)} is no machine type, neither an old one nor such as n1-standard-8: {meant}"
            )
        return Machine(type_)
    machine = TYPES[type_]
    gpus = f" with {machine.count} x {machine.accelerator}" if machine.count else ""
    unsure = "" if machine.sure else "; no published list confirms this row any more, so compare it with an old job"
    notes.assume(f"{where}={type_} is taken for {machine.machine_type}{gpus}{unsure}.")
    return machine


def _with_accelerators(machine: Machine, wanted: Mapping[str, Any], where: str, notes: Notes) -> Machine:
    kind, at = wanted["type"], where.removesuffix("Type") + "Config.acceleratorConfig"
    if machine.count and machine.machine_type != TPU_MACHINE:
        notes.assume(f"{at} takes the place of the accelerators that {where} brings.")
    if not kind.startswith("TPU"):
        if "count" not in wanted:
            notes.assume(f"{at}.count is not said: 1 is assumed.")
        return Machine(machine.machine_type, kind, wanted.get("count", 1))
    if machine.machine_type != TPU_MACHINE:
        notes.assume(
            f"{at}.type={kind}: the machine is {TPU_MACHINE}, as Vertex AI asks for, not {machine.machine_type}."
        )
    if "count" not in wanted:
        notes.assume(f"{at}.count is not said: 8 is assumed, a whole TPU.")
    return Machine(TPU_MACHINE, _tpu(kind, at, notes), wanted.get("count", 8))


def _tpu(kind: str, at: str, notes: Notes) -> str:
    if kind in ("TPU_V2_POD", "TPU_V3_POD"):
        notes.assume(
            f"{at}.type={kind} is {kind[:-4]} on Vertex AI, where the count alone says that it is a part of a pod."
        )
        return kind[:-4]
    if kind == "TPU_V4_POD":
        notes.assume(
            f"{at}.type={kind} is kept; Vertex AI asks for another machineType and a tpuTopology with it: add them."
        )
    return kind


def _available(machine: Machine, where: str, notes: Notes) -> Machine:
    """K80s are gone; a T4 is the nearest that is offered, four of them at most."""
    if machine.accelerator != K80:
        return machine
    count = min(machine.count, MAX_T4)
    fewer = f"; {count} are the most that one machine takes" if count < machine.count else ""
    notes.assume(
        f"{where}: Google offers no K80 any more, so {machine.count} x {K80} becomes {count} x {T4}{fewer}; "
        "memory and speed differ."
    )
    return Machine(machine.machine_type, T4, count)
