"""A rehearsal decided: from a file and a command line to what each process is started with. Pure."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from trainer.cloud.request import MODULE, file_arguments
from trainer.cloud.specs import Spec
from trainer.cloud.trials import first_trial, tuned
from trainer.cluster.faults import Fault, read_faults
from trainer.cluster.pools import Pools, read_pools
from trainer.job.cluster import ROLES, Role
from trainer.job.config import Job, all_settings
from trainer.job.errors import UsageError
from trainer.job.flags import Parsed, to_argv
from trainer.job.paths import JobPaths, default_job_dir
from trainer.job.rehearsing import Rehearsal, parse_rehearsed

SPOKEN_BY_THE_CLOUD = ("AIP_", "CLOUD_ML_", "TF_CONFIG", "CLUSTER_SPEC")
REMOTE = ("gs://", "/gcs/")  # the second is where Vertex AI mounts buckets
FOLDERS = ("job_dir", "checkpoint_dir", "export_dir", "log_dir")
MARK = "TRAINER_REHEARSAL"  # in the environment of each process and of all that it starts: REHEARSAL/NAME/


@dataclass(frozen=True)
class Member:
    """One process of the cluster."""

    role: Role
    index: int = 0

    @property
    def name(self) -> str:
        """What it is called in sentences and flags."""
        return self.role if self.role in ("chief", "evaluator") else f"{self.role} {self.index}"

    @property
    def entry(self) -> str:
        """The stem of its file on the board."""
        return self.name.replace(" ", "-")

    @property
    def file(self) -> str:
        """The stem of its own files."""
        return f"{self.role}-{self.index}"


@dataclass(frozen=True)
class Plan:
    """What to run.

    Attributes:
      parsed: the job that all processes train; its job directory is on this machine.
      environ: of every process, without what is its own.
      env: role -> further variables.
      threads: how many each process computes with.
      max_restarts: of one process, or of those that only start together.
      notes: what the user should know before it starts, a sentence without full stop each.
      entry: what a process runs: Python's own arguments before the flags.
    """

    parsed: Parsed
    members: tuple[Member, ...]
    environ: Mapping[str, str]
    env: Mapping[Role, Mapping[str, str]]
    threads: int
    faults: tuple[Fault, ...] = ()
    max_restarts: int = 3
    notes: tuple[str, ...] = ()
    entry: tuple[str, ...] = ("-m", MODULE)

    @property
    def job(self) -> Job:
        """The job."""
        return self.parsed.job

    @property
    def job_dir(self) -> str:
        """Where the job works."""
        return str(self.job.output.job_dir)

    @property
    def board(self) -> str:
        """The folder by which the processes of a job know of each other, and where a rehearsal keeps its own files."""
        return JobPaths.of(self.job).cluster

    def member(self, name: str) -> Member:
        """The member that is called so."""
        return next(member for member in self.members if member.name == name)

    def log(self, member: Member) -> str:
        """What a process prints."""
        return posixpath.join(self.board, "logs", f"{member.file}.log")

    @property
    def is_synchronous(self) -> bool:
        """Whether those that train only start together: they average gradients, and no server keeps the weights."""
        return not any(member.role == "ps" for member in self.members)

    def argv(self, again: bool = False) -> list[str]:
        """The flags, the same for all; a process that is started `again` goes on, whatever the user wanted at first."""
        output = replace(self.job.output, fresh=self.job.output.fresh and not again)
        return to_argv(replace(self.job, output=output))

    def environ_of(self, member: Member, ports: Mapping[Member, int], mark: str = "") -> dict[str, str]:
        """The variables of a process, where each member listens on its port; `mark` tells this rehearsal's apart."""
        inter_op = str(max(2, self.threads))  # one operation may wait for another process: let a second one run
        shared = {"OMP_NUM_THREADS": str(self.threads), "TF_NUM_INTRAOP_THREADS": str(self.threads)}
        return {
            **shared,
            "TF_NUM_INTEROP_THREADS": inter_op,
            "PYTHONUNBUFFERED": "1",  # its log is read while it is written
            **self.environ,
            **self.env.get(member.role, {}),
            **told_by_the_cloud(member, self.members, ports),
            MARK: self.mark_of(member, mark),
        }

    def mark_of(self, member: Member, mark: str) -> str:
        """What tells a process, and all that it starts, from all others."""
        return f"{mark}/{member.file}/"


def told_by_the_cloud(member: Member, members: Sequence[Member], ports: Mapping[Member, int]) -> dict[str, str]:
    """TF_CONFIG and CLUSTER_SPEC as Vertex AI sets them: the first only for more than one replica.

    The evaluator is never in TF_CONFIG's cluster, but a worker pool like all others.
    """
    at = {role: [f"127.0.0.1:{ports[each]}" for each in members if each.role == role] for role in ROLES}
    pools = {f"workerpool{place}": at[role] for place, role in enumerate(ROLES) if at[role]}
    cluster = {role: at[role] for role in ROLES if at[role] and role != "evaluator"}
    own = f"workerpool{ROLES.index(member.role)}"
    said = {"CLUSTER_SPEC": _told(pools, own, member.index)}
    return said if len(members) == 1 else {"TF_CONFIG": _told(cluster, member.role, member.index), **said}


def _told(cluster: Mapping[Any, Sequence[str]], kind: str, index: int) -> str:
    return json.dumps({"cluster": cluster, "environment": "cloud", "task": {"type": kind, "index": index}})


def make_plan(
    settings: Rehearsal, words: Sequence[str], spec: Spec | None, environ: Mapping[str, str], cpus: int = 1
) -> Plan:
    """Decide what to run; nothing is written.

    Args:
      words: the trainer's part of the command line.
      spec: the file with the worker pools; None for a chief alone.
      cpus: how many this process may use.

    Raises:
      UsageError: a flag or the file cannot be used as given.
      ModelError: the model's source does not tell its parameters.
    """
    pools = read_pools(spec, settings)
    members = tuple(Member(role, index) for role in ROLES for index in range(pools.counts[role]))
    parsed, untuned = _parsed(words, spec)
    parsed, moved = _on_this_machine(parsed)
    computing = sum(1 for member in members if member.role != "ps")
    return Plan(
        parsed=parsed,
        members=members,
        environ={name: value for name, value in environ.items() if not name.startswith(SPOKEN_BY_THE_CLOUD)},
        env=pools.env,
        threads=max(1, cpus // computing),
        faults=tuple(read_faults(settings.kill, settings.pause, settings.chaos, [each.name for each in members])),
        max_restarts=settings.max_restarts + len(settings.kill) + (settings.chaos is not None),
        notes=(_counted(pools), *pools.notes, *untuned, *moved),
    )


def _parsed(words: Sequence[str], spec: Spec | None) -> tuple[Parsed, list[str]]:
    """The job; where a study gives values to parameters without default, with those of a first trial."""
    parsed = parse_rehearsed(words, file_arguments(spec) if spec else [], tuned(spec))
    tried, untold = first_trial(spec, parsed)
    if tried is None:
        raise UsageError(untold[0].said if untold else "the study gives the model no values that it takes.")
    given = {*tried.job.hyperparameters} - {*parsed.job.hyperparameters}
    said = " ".join(f"--{name.replace('_', '-')}={value}" for name, value in sorted(given, key=lambda pair: pair[0]))
    return tried, [f"a trial is rehearsed that has {said}"] if said else []


def _on_this_machine(parsed: Parsed) -> tuple[Parsed, list[str]]:
    """The job with folders of this machine. Raises UsageError for another one that was typed."""
    output, notes = parsed.job.output, []
    for name in FOLDERS:
        path = getattr(output, name)
        if not str(path or "").startswith(REMOTE):
            continue
        flag = all_settings()[name].flag
        if parsed.sources[name] == "flag":
            raise UsageError(f"{flag}={path}: a rehearsal is on this machine, so name a folder of it, or leave it out.")
        local = default_rehearsal_dir(parsed.job) if name == "job_dir" else None
        notes.append(f"{flag}={path} is {f'{flag}={local} here' if local else 'left out here'}")
        moved: dict[str, Any] = {name: local}
        output = replace(output, **moved)
    if output.job_dir is None:
        output = replace(output, job_dir=default_rehearsal_dir(parsed.job))
    output = replace(output, job_dir=str(output.job_dir).rstrip("/") or "/")
    return replace(parsed, job=replace(parsed.job, output=output)), notes


def default_rehearsal_dir(job: Job) -> str:
    """`runs/rehearsal-NAME`, where `runs/NAME` is what a job alone would take."""
    folder, name = posixpath.split(default_job_dir(job.model.model))
    return posixpath.join(folder, f"rehearsal-{name}")


def _counted(pools: Pools) -> str:
    return f"the cluster has {in_words(pools.counts)}"


def in_words(counts: Mapping[Role, int]) -> str:
    """`a chief, 2 workers and an evaluator`."""
    words = list(_words(counts))
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _words(counts: Mapping[Role, int]) -> Iterator[str]:
    for role, count in counts.items():
        if count == 1:
            yield f"{'an' if role == 'evaluator' else 'a'} {role}"
        elif count:
            yield f"{count} {role}{'' if role == 'ps' else 's'}"
