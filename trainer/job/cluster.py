"""Who takes part in a job, read from every shape of TF_CONFIG and CLUSTER_SPEC that services and users write.

TF_CONFIG is TensorFlow's: {"cluster": {role: addresses}, "task": {"type": role, "index": i}}. CLUSTER_SPEC is Vertex
AI's: the same with worker pools for roles; only it lists the evaluator there, and a single replica has only it
(cloud.google.com/vertex-ai/docs/training/distributed-training). Of the rest, `job` is read: it may count evaluators.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, get_args

from trainer.job.errors import UsageError
from trainer.job.mistakes import closest

Role = Literal["chief", "worker", "ps", "evaluator"]
ROLES: tuple[Role, ...] = get_args(Role)
# TensorFlow 1 and AI Platform say master; Vertex AI's pools are told apart by their place
NAMES: dict[str, Role] = {
    **{role: role for role in ROLES},
    "master": "chief",
    **{f"workerpool{place}": role for place, role in enumerate(ROLES)},
}
MEANT = {"parameter_server": "ps", "parameterserver": "ps", "parameter-server": "ps", "leader": "chief"}
ADDRESS = re.compile(r"(grpc://)?([\w.-]+|\[[\w:.%]+\]):(?P<port>\d{1,5})", re.ASCII)
TASK = {"type": "worker", "index": 0}  # as an example


@dataclass(frozen=True)
class Cluster:
    """Who takes part in a job, and which of them this process is.

    `chief` is an address, as those of `workers` and `ps` are; it is empty only for an evaluator that was told of nobody
    else. `index` counts among those of the same role. `has_evaluator` says whether a process of its own evaluates; it
    has no address, as nobody calls it. `notes` tell what was read otherwise than it was written, a clause each.
    """

    chief: str
    workers: tuple[str, ...] = ()
    ps: tuple[str, ...] = ()
    role: Role = "chief"
    index: int = 0
    has_evaluator: bool = False
    notes: tuple[str, ...] = ()

    @property
    def trainers(self) -> int:
        """How many processes train: the chief and the workers."""
        return 1 + len(self.workers)

    @property
    def position(self) -> int:
        """Where this process stands among those that train, from 0, the chief. Raises ValueError for the others."""
        if self.role not in ("chief", "worker"):
            raise ValueError(f"the {self.name} does not train")
        return 0 if self.is_chief else self.index + 1

    @property
    def is_chief(self) -> bool:
        """Whether this process writes checkpoints and says when the job is finished."""
        return self.role == "chief"

    @property
    def is_alone(self) -> bool:
        """Whether the chief trains without workers and parameter servers; an evaluator may still run beside it."""
        return not self.workers and not self.ps

    @property
    def name(self) -> str:
        """What to call this process in a sentence, such as `worker 1`."""
        return _name(self.role, self.index)

    def tf_config(self) -> dict[str, Any]:
        """What TensorFlow is told: the roles that somebody has, without the evaluator, and this process."""
        listed = {"chief": [self.chief] if self.chief else [], "worker": list(self.workers), "ps": list(self.ps)}
        cluster = {role: addresses for role, addresses in listed.items() if addresses}
        return {"cluster": cluster, "task": {"type": self.role, "index": self.index}}

    def table(self) -> list[str]:
        """A line for each process, to be logged, with an arrow at this one."""
        rows = [("chief", self.chief or "not told")]
        rows += [(_name("worker", index), address) for index, address in enumerate(self.workers)]
        rows += [(_name("ps", index), address) for index, address in enumerate(self.ps)]
        rows += [("evaluator", "reads checkpoints")] if self.has_evaluator else []
        width = max(len(name) for name, _ in rows)
        return [f"{'->' if name == self.name else '  '} {name:{width}}  {address}" for name, address in rows]


@dataclass(frozen=True)
class _Told:
    """What one variable says: names of roles -> addresses not yet checked, and which process this is."""

    source: str
    cluster: dict[str, Any]
    task: dict[str, Any]
    has_evaluator: bool


def read_cluster(tf_config: str | None, cluster_spec: str | None) -> Cluster | None:
    """The cluster that the two variables describe; where both do, TF_CONFIG decides, and either tells of an evaluator.

    Returns:
      None where neither names a process: this machine trains alone.

    Raises:
      UsageError: a variable is unreadable, or does not describe one chief, one evaluator at most, and this process.
    """
    told = [_load("TF_CONFIG", tf_config), _load("CLUSTER_SPEC", cluster_spec)]
    main = next((each for each in told if each.cluster), told[0])
    written = {name: _addresses(main.source, name, tasks) for name, tasks in main.cluster.items()}
    _refuse_contradictions(main.source, written)
    has_evaluator = any(each.has_evaluator for each in told)
    task = _task(main, written, has_evaluator) if written else _task_without_cluster(main)
    return _assembled(main.source, written, *task, has_evaluator) if task else None


def _load(source: str, text: str | None) -> _Told:
    try:
        said = json.loads(text) if text and text.strip() else {}
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{source} is not JSON ({error}): unset it to train on this machine alone.") from None
    if not isinstance(said, dict):
        raise UsageError(f"{source}={_shown(said)}: expected a JSON object; unset it to train on this machine alone.")
    if said.get("sparseCluster"):  # kubeflow issue 1763: no process is told how many there are
        raise UsageError(
            f"{source} has a sparseCluster, which does not tell all processes of each other: "
            "set enableDynamicWorker of the TFJob to false."
        )
    # A ClusterSpec without the key around it is what some put into CLUSTER_SPEC (TonY)
    cluster = said.get("cluster") or {name: said[name] for name in NAMES if isinstance(said.get(name), list | dict)}
    task = said.get("task") or {}
    for key, value, example in (("cluster", cluster, {"chief": ["host:2222"]}), ("task", task, TASK)):
        if not isinstance(value, dict):
            raise UsageError(f"{source}'s {key} is {_shown(value)}: expected an object such as {json.dumps(example)}.")
    cluster = {name: tasks for name, tasks in cluster.items() if tasks}
    task = {key: value for key, value in task.items() if value is not None}
    return _Told(source, cluster, task, _has_evaluator(source, cluster, said.get("job")))


def _has_evaluator(source: str, cluster: Mapping[str, Any], job: Any) -> bool:
    """Whether the cluster lists one, or `job` does: a TrainingInput or CustomJobSpec, which may be JSON in a text."""
    listed = [tasks for name, tasks in cluster.items() if NAMES.get(name) == "evaluator"]
    counts = [len(tasks) for tasks in listed if isinstance(tasks, list | dict)]
    if isinstance(job, str):
        with suppress(ValueError, RecursionError):  # whatever it is: nobody promised that it can be read
            job = json.loads(job)
    if isinstance(job, dict):
        pools = job.get("workerPoolSpecs") or job.get("worker_pool_specs")
        pool = pools[3] if isinstance(pools, list) and len(pools) > 3 and isinstance(pools[3], dict) else {}
        keys = [(job, "evaluatorCount"), (job, "evaluator_count"), (pool, "replicaCount"), (pool, "replica_count")]
        counts += [_whole(said.get(key)) or 0 for said, key in keys]
    _refuse_second_evaluator(source, max(counts, default=0))
    return any(counts)


def _refuse_second_evaluator(source: str, count: int) -> None:
    if count > 1:
        raise UsageError(f"{source} tells of {count} evaluators: one evaluates every checkpoint, so start only one.")


def _addresses(source: str, name: str, tasks: Any) -> list[str]:
    """Those of one role, from a list or TensorFlow's object of indices."""
    _role(source, name)
    if isinstance(tasks, dict):
        tasks = _in_order(source, name, tasks)
    if not isinstance(tasks, list):
        raise UsageError(f'{source} gives {name} as {_shown(tasks)}: expected a list such as ["host:2222"].')
    for index, address in enumerate(tasks):
        match = ADDRESS.fullmatch(address) if isinstance(address, str) else None
        if not match or not 0 < int(match["port"]) < 2**16:
            found = f"{source}'s {_name(name, index)} is {_shown(address)}"
            raise UsageError(f"{found}: expected an address with a port, such as host:2222.")
    return tasks


def _in_order(source: str, name: str, tasks: Mapping[str, Any]) -> list[Any]:
    """The addresses of an object of indices, without a gap.

    A gap is one process's own view (tensorflow pull request 48065): to close it would give each process another
    cluster, and several of them the part of the chief.
    """
    indices = {_whole(key): address for key, address in tasks.items()}
    if set(indices) != set(range(len(tasks))):
        raise UsageError(
            f"{source} gives {name} the indices {_shown(list(tasks))}: "
            "each process has to know all others, so list them from 0 on, without a gap."
        )
    return [indices[index] for index in range(len(tasks))]


def _refuse_contradictions(source: str, written: Mapping[str, Sequence[str]]) -> None:
    owners: dict[str, str] = {}
    for role in ROLES:
        names = [name for name in written if NAMES[name] == role]
        if len(names) > 1:
            raise UsageError(f"{source} names both {' and '.join(names)}, which are one role: keep only {names[0]}.")
        for index, address in enumerate(map(_bare, written[names[0]] if names else ())):
            if role == "chief" and index:
                raise UsageError(f"{source} names more than one {names[0]}: keep one, and make the others workers.")
            here = _name(names[0], index)
            if owners.setdefault(address, here) != here:
                raise UsageError(
                    f"{source} gives {owners[address]} and {here} the same address {address}: "
                    "each process needs its own host or port."
                )


def _task(told: _Told, written: Mapping[str, Sequence[str]], has_evaluator: bool) -> tuple[str, int]:
    """This process, which nobody has to name where it is the only one: its role, as written, and its index."""
    serving = [name for name, addresses in written.items() for _ in addresses if NAMES[name] != "evaluator"]
    processes = len(serving) + has_evaluator
    said = {"type": next(iter(written)), "index": 0, **told.task} if processes == 1 else told.task
    if missing := [key for key in ("type", "index") if key not in said]:
        raise UsageError(
            f"{told.source} tells of {processes} processes, but its task has no {' and no '.join(missing)}: "
            f"say which of them this one is, such as {json.dumps(TASK)}."
        )
    role, index = _role_and_index(told.source, said)
    if role != "evaluator" and index >= sum(NAMES[name] == role for name in serving):
        there = " and ".join(f"{len(addresses)} {name}" for name, addresses in written.items())
        raise UsageError(
            f"{told.source}'s task is {said['type']} {index}, but its cluster names {there}, counted from 0: "
            "make the task one of these, or add its address."
        )
    return said["type"], index


def _task_without_cluster(told: _Told) -> tuple[str, int] | None:
    """An evaluator needs no cluster, as TensorFlow's guide says; a chief or first worker without one is alone."""
    said = {"type": "chief", "index": 0, **told.task}
    role, index = _role_and_index(told.source, said)
    if role == "ps" or (index and role != "evaluator"):
        raise UsageError(
            f"{told.source}'s task is {said['type']} {index}, but it has no cluster: "
            "name all processes in it, or unset it to train on this machine alone."
        )
    return (said["type"], index) if role == "evaluator" else None


def _role_and_index(source: str, task: Mapping[str, Any]) -> tuple[Role, int]:
    role, index = _role(source, task["type"]), _whole(task["index"])
    if index is None:
        raise UsageError(f"{source}'s task has the index {_shown(task['index'])}: expected a whole number from 0 on.")
    if role == "evaluator":
        _refuse_second_evaluator(source, index + 1)
    return role, index


def _role(source: str, name: Any) -> Role:
    word = name if isinstance(name, str) else ""
    if word in NAMES:
        return NAMES[word]
    near = [MEANT[word.lower()]] if word.lower() in MEANT else closest(word, ROLES, limit=1)
    remedy = f"; did you mean {near[0]}?" if near else "."
    raise UsageError(f"{source} names the role {_shown(name)}: expected chief, worker, ps or evaluator{remedy}")


def _assembled(source: str, written: Mapping[str, Sequence[str]], name: str, index: int, evaluated: bool) -> Cluster:
    """The canonical cluster: where no chief is named, worker 0 is it, as everywhere in TensorFlow 2."""
    role, renamed = NAMES[name], [each for each in dict.fromkeys([*written, name]) if each not in ROLES]
    notes = ["CLUSTER_SPEC names the cluster, TF_CONFIG does not"] * (source == "CLUSTER_SPEC")
    notes += [f"{each} is read as {NAMES[each]}" for each in renamed]
    if any(address != _bare(address) for addresses in written.values() for address in addresses):
        notes.append("grpc:// is left out of addresses")
    listed = {NAMES[each]: tuple(map(_bare, addresses)) for each, addresses in written.items()}
    chief, workers, ps = (listed.get(each, ()) for each in ("chief", "worker", "ps"))
    if not chief and workers:
        notes.append("worker 0 is the chief, as none is named" + ", and later workers move down" * (len(workers) > 1))
        chief, workers = workers[:1], workers[1:]
        if role == "worker":
            role, index = ("worker", index - 1) if index else ("chief", 0)
    if not chief and ps:
        raise UsageError(f"{source} names neither a chief nor a worker: add one, as parameter servers do not train.")
    evaluated = evaluated or role == "evaluator"  # which no cluster has to list
    return Cluster(chief[0] if chief else "", workers, ps, role, index, evaluated, tuple(notes))


def _name(name: str, index: int) -> str:
    """Of the chief and the evaluator there is one, so only the others are counted."""
    return f"{name} {index}" if NAMES[name] in ("worker", "ps") else name


def _bare(address: str) -> str:
    return address.removeprefix("grpc://")


def _whole(value: Any) -> int | None:
    """A whole number from 0 on, also as text, as JSON writes keys and protocol buffers write 64 bits."""
    if isinstance(value, str) and re.fullmatch("[0-9]{1,9}", value):
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
