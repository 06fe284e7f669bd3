"""The rules of machines: types, accelerators and how many of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from trainer.cloud.schema_values import whole
from trainer.job.findings import Finding

MACHINE_TYPE = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)+")
TPU_MACHINE = re.compile(r"cloud-tpu|ct[0-9].*")
# Which machines an accelerator stands in (docs.cloud.google.com, "Configure compute resources for training"); Google
# adds to it, so a warning.
FAMILIES = {
    "NVIDIA_TESLA_P100": "n1-",
    "NVIDIA_TESLA_V100": "n1-",
    "NVIDIA_TESLA_P4": "n1-",
    "NVIDIA_TESLA_T4": "n1-",
    "NVIDIA_TESLA_A100": "a2-",
    "NVIDIA_A100_80GB": "a2-ultragpu-",
    "NVIDIA_L4": "g2-",
    "NVIDIA_H100_80GB": "a3-",
    "NVIDIA_H100_MEGA_80GB": "a3-megagpu-",
    "NVIDIA_H200_141GB": "a3-ultragpu-",
    "NVIDIA_B200": "a4-",
}
OLD_TPUS = ("TPU_V2", "TPU_V3")  # the machine type of these is cloud-tpu


def is_tpu(machine: Any) -> bool:
    """Whether a machineSpec, right or wrong, asks for TPUs."""
    if not isinstance(machine, Mapping):
        return False
    accelerator = str(machine.get("acceleratorType") or "")
    return accelerator.startswith("TPU_") or bool(TPU_MACHINE.fullmatch(str(machine.get("machineType") or "")))


def check_machine(machine: Mapping[str, Any], where: str) -> Iterator[Finding]:
    """Check a machineSpec."""
    name = machine.get("machineType")
    if name in (None, ""):
        yield Finding("error", f"{where}.machineType", "is missing", "add one, such as machineType: n1-standard-4")
    elif isinstance(name, str) and not MACHINE_TYPE.fullmatch(name):
        remedy = "write one such as n1-standard-4 (AI Platform's own names, such as complex_model_m, are gone)"
        yield Finding("error", f"{where}.machineType", f"{name} is no type of machine", remedy)
    yield from _accelerators(machine, where)
    if is_tpu(machine):
        yield from _tpu(machine, where)
    elif "tpuTopology" in machine:
        yield Finding("error", f"{where}.tpuTopology", "is for TPUs, and this machine has none", "leave it out")


def _accelerators(machine: Mapping[str, Any], where: str) -> Iterator[Finding]:
    kind, count = machine.get("acceleratorType"), whole(machine.get("acceleratorCount"))
    has_kind = kind not in (None, "", "ACCELERATOR_TYPE_UNSPECIFIED")
    if has_kind and "acceleratorCount" not in machine:
        yield Finding("error", f"{where}.acceleratorCount", f"is missing beside {kind}", "add acceleratorCount: 1")
    if count and not has_kind:
        remedy = "add acceleratorType, such as NVIDIA_TESLA_T4, or leave the count out"
        yield Finding("error", f"{where}.acceleratorType", f"is missing beside acceleratorCount: {count}", remedy)
    if count is not None and (count < 0 or count & (count - 1) or (has_kind and count == 0)):
        problem = f"{count}, and a machine takes 1, 2, 4, 8 or 16 accelerators (TPUs more)"
        yield Finding("error", f"{where}.acceleratorCount", problem, f"write {_powers(count)}")
    if kind == "NVIDIA_TESLA_K80":
        problem = "NVIDIA_TESLA_K80 has reached its end: there is no such machine any more"
        yield Finding("error", f"{where}.acceleratorType", problem, "take NVIDIA_TESLA_T4")
    yield from _family(kind, machine.get("machineType"), f"{where}.machineType")


def _family(kind: Any, name: Any, where: str) -> Iterator[Finding]:
    family = FAMILIES.get(kind) if isinstance(kind, str) else None
    if family and isinstance(name, str) and not name.startswith(family) and MACHINE_TYPE.fullmatch(name):
        problem = f"{name} beside {kind}, which as far as is known stands in machines {family}... only"
        yield Finding("warning", where, problem, f"take one of {family}..., or another accelerator")


def _tpu(machine: Mapping[str, Any], where: str) -> Iterator[Finding]:
    name, kind = machine.get("machineType"), machine.get("acceleratorType")
    if name == "cloud-tpu" and kind not in OLD_TPUS:
        remedy = f"write {' or '.join(OLD_TPUS)}, with acceleratorCount: 8"
        yield Finding("error", f"{where}.acceleratorType", f"{kind or 'nothing'} beside the machine cloud-tpu", remedy)
    if isinstance(name, str) and kind in OLD_TPUS and name != "cloud-tpu":
        yield Finding("error", f"{where}.machineType", f"{name} has no {kind}", "write machineType: cloud-tpu")


def _powers(count: int) -> str:
    """The powers of two on both sides of a number that is none."""
    below = 1 << (max(count, 1).bit_length() - 1)
    return f"{below} or {2 * below}" if count > 0 else "1"
