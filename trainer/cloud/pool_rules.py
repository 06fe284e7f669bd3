"""The rules of worker pools: their order, their replicas, and what runs in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

from trainer.cloud.images import availability, spelling
from trainer.cloud.machine_rules import check_machine, is_tpu
from trainer.cloud.schema_values import whole
from trainer.job.findings import Finding

ROLES = ("chief", "worker", "ps", "evaluator")  # by position: the API has no other name for them
ALONE = ("chief", "evaluator")
SET_BY_VERTEX = ("AIP_", "CLOUD_ML_", "TF_CONFIG")


def check_pools(job_spec: Mapping[str, Any], inside: str, today: date, via: str | None) -> Iterator[Finding]:
    """Check the `workerPoolSpecs` of a CustomJobSpec; `inside` is where that stands in the file, with its point."""
    where = f"{inside}workerPoolSpecs"
    pools = job_spec.get("workerPoolSpecs")
    if not pools and not isinstance(pools, Mapping):
        yield Finding("error", where, "is missing: it says on which machines the job runs", "add a pool for the chief")
    if not isinstance(pools, list):
        return
    if len(pools) > len(ROLES):
        problem = f"{len(pools)} pools, and there are four, by position: {', '.join(ROLES)}"
        yield Finding("error", where, problem, "put machines of one role into one pool by its replicaCount")
    for number, pool in enumerate(pools[: len(ROLES)]):
        if isinstance(pool, Mapping):
            yield from _pool(pool, number, f"{where}[{number}]", today, via)
    filled = [pool if isinstance(pool, Mapping) else {} for pool in pools[: len(ROLES)]]
    yield from _tpus(filled, where)


def _pool(pool: Mapping[str, Any], number: int, where: str, today: date, via: str | None) -> Iterator[Finding]:
    role = ROLES[number]
    if not pool:
        yield from _placeholder(role, where, via)
        return
    yield from _replicas(pool, role, f"{where}.replicaCount")
    yield from _program(pool, where, today)
    machine = pool.get("machineSpec")
    if machine is None:
        yield Finding("error", f"{where}.machineSpec", "is missing", "add machineSpec with a machineType")
    elif isinstance(machine, Mapping):
        yield from check_machine(machine, f"{where}.machineSpec")


def _placeholder(role: str, where: str, via: str | None) -> Iterator[Finding]:
    if role == "chief":
        yield Finding("error", where, "is empty, and no job runs without its chief", "describe the chief's machine")
    elif via != "rest":
        problem = f"an empty pool is right where there is no {role}, but gcloud refuses it in a file"
        yield Finding("error" if via == "gcloud" else "warning", where, problem, "submit it with --via=rest")


def _replicas(pool: Mapping[str, Any], role: str, where: str) -> Iterator[Finding]:
    count = whole(pool.get("replicaCount"))
    if "replicaCount" not in pool:
        yield Finding("error", where, "is missing: it says how many machines the pool has", "add replicaCount: 1")
    elif count is not None and count < 1:
        remedy = "write replicaCount: 1" if role == "chief" else "write {} in place of the pool to leave it out"
        yield Finding("error", where, f"{count}, where at least 1 is needed", remedy)
    elif count is not None and count > 1 and role in ALONE:
        more = ", and further machines into workerPoolSpecs[1]" if role == "chief" else ""
        problem = f"{count}, but by its position this pool is the {role}, of which there is one"
        yield Finding("error", where, problem, f"write replicaCount: 1{more}")


def _program(pool: Mapping[str, Any], where: str, today: date) -> Iterator[Finding]:
    container, package = pool.get("containerSpec"), pool.get("pythonPackageSpec")
    if "containerSpec" not in pool and "pythonPackageSpec" not in pool:
        yield Finding("error", where, "says nothing to run", "add containerSpec with an imageUri, or pythonPackageSpec")
    if isinstance(container, Mapping):
        yield from _image(container, f"{where}.containerSpec", "imageUri", today)
        yield from _variables(container, f"{where}.containerSpec.env")
    if isinstance(package, Mapping):
        yield from _image(package, f"{where}.pythonPackageSpec", "executorImageUri", today)
        yield from _variables(package, f"{where}.pythonPackageSpec.env")
        yield from _packages(package, f"{where}.pythonPackageSpec.packageUris")


def _image(program: Mapping[str, Any], where: str, key: str, today: date) -> Iterator[Finding]:
    uri = program.get(key)
    if uri in (None, ""):
        yield Finding("error", f"{where}.{key}", "is missing: it names the image to run", f"add {key}")
    elif isinstance(uri, str):
        found = spelling(uri, f"{where}.{key}") or availability(uri, today, f"{where}.{key}")
        if found:
            yield found


def _variables(program: Mapping[str, Any], where: str) -> Iterator[Finding]:
    env = program.get("env")
    names = [each.get("name") for each in env if isinstance(each, Mapping)] if isinstance(env, list) else []
    for number, name in enumerate(names):
        if not name:
            yield Finding("error", f"{where}[{number}].name", "is missing", "write name: and value: for each variable")
        elif name in names[:number]:
            yield Finding("error", f"{where}[{number}].name", f"{name} stands there twice", "keep one")
        elif str(name).startswith(SET_BY_VERTEX):
            yield Finding("error", f"{where}[{number}].name", f"{name} is set by Vertex AI itself", "leave it out")


def _packages(program: Mapping[str, Any], where: str) -> Iterator[Finding]:
    uris = program.get("packageUris")
    for number, uri in enumerate(uris if isinstance(uris, list) else []):
        if isinstance(uri, str) and not uri.startswith("gs://"):
            problem = f"{uri} is not in Cloud Storage, where the job's machines look"
            yield Finding("error", f"{where}[{number}]", problem, "leave packageUris out: trainer.submit fills it in")


def _tpus(pools: list[Mapping[str, Any]], where: str) -> Iterator[Finding]:
    filled = [number for number, pool in enumerate(pools) if pool]
    tpus = [number for number in filled if is_tpu(pools[number].get("machineSpec"))]
    if tpus and filled != [0]:
        problem = f"TPUs in {', '.join(f'pool {number}' for number in tpus)}, and a job on TPUs has one pool in all"
        yield Finding("error", where, problem, "keep the pool with the TPU alone, as the first, with replicaCount: 1")
