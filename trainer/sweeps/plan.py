"""A sweep decided: from the study's file and the command line to what each trial is started with."""

from __future__ import annotations

import os
import posixpath
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from trainer.cloud.specs import read_spec
from trainer.cloud.study import MODULE, Study
from trainer.cloud.study_parameters import Value
from trainer.job.config import Job, all_settings
from trainer.job.errors import UsageError
from trainer.job.flags import Parsed, to_argv
from trainer.job.paths import default_job_dir
from trainer.job.sweeping import Sweeping, parse_trial

OWN_OF_A_TRIAL = ("job_dir", "checkpoint_dir", "export_dir", "log_dir", "fresh")
SPOKEN_BY_THE_CLOUD = ("AIP_", "CLOUD_ML_", "TF_CONFIG")
THREADS = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")  # the user's own count, where set
UNREADABLE = re.compile(r"\[.*\]|\\")  # TensorFlow finds no checkpoint below such a name


@dataclass(frozen=True)
class SweepPlan:
    """What to run.

    Attributes:
      folder: the sweep's; `args` are the trainer's flags of every trial, without its folder and its own values.
      environ: of every trial, without its own variables.
      threads: how many each trial computes with.
      notes: what the user should know before it starts, a sentence without full stop each.
      entry: what a trial runs: Python's own arguments before the flags.
    """

    study: Study
    folder: str
    args: tuple[str, ...]
    environ: Mapping[str, str]
    max_trials: int
    parallel_trials: int
    threads: int
    seed: int = 0
    notes: tuple[str, ...] = ()
    entry: tuple[str, ...] = ("-m", MODULE)

    @property
    def trials_dir(self) -> str:
        """The folder of the trials' job directories; TensorBoard shows them side by side."""
        return posixpath.join(self.folder, "trials")

    def trial_dir(self, number: int) -> str:
        """Where a trial's job works: the trainer adds the trial's id to the job directory."""
        return posixpath.join(self.trials_dir, str(number))

    @property
    def storage(self) -> str:
        """The SQLite file that knows all trials."""
        return posixpath.join(self.folder, "study.db")

    @property
    def page(self) -> str:
        """What happened, to look at."""
        return posixpath.join(self.folder, "sweep.html")

    @property
    def identity(self) -> dict[str, Any]:
        """What has to be the same when a sweep goes on."""
        return {**self.study.identity, "args": list(self.args)}

    def argv(self, values: Mapping[str, Value]) -> list[str]:
        """The flags of a trial, its own behind the others, as the service appends them."""
        return [*self.args, f"--job-dir={self.trials_dir}", *self.study.flags(values)]

    def trial_environ(self, number: int) -> dict[str, str]:
        """The environment of a trial: the variables that a trial has in the cloud, and its share of the CPUs."""
        threads = {name: str(self.threads) for name in THREADS}
        own = {
            "CLOUD_ML_TRIAL_ID": str(number),
            "CLOUD_ML_HP_METRIC_FILE": os.path.abspath(posixpath.join(self.trial_dir(number), "hypertune.jsonl")),
        }
        return {**threads, **self.environ, **own}

    def command(self, number: int, values: Mapping[str, Value]) -> str:
        """What a person types to run a trial's job: the same flags, its folder said whole."""
        argv = [*self.args, *self.study.flags(values), f"--job-dir={self.trial_dir(number)}"]
        return shlex.join(["python", "-m", MODULE, *argv])


def make_plan(settings: Sweeping, words: Sequence[str], environ: Mapping[str, str]) -> SweepPlan:
    """Read the study, try its flags, and decide; nothing is written.

    Raises:
      UsageError: the file is no study, it needs what this machine has not, or a flag cannot be used as given.
      ModelError: the model's source does not tell its parameters.
    """
    study = _read_study(settings.study)
    _refuse_without_twin(study, settings)
    _refuse_said_twice(study, words, settings.study)
    tried = [parse_trial(words, study.flags(values), study.args) for values in study.samples()]
    folder = settings.sweep_dir or _default_folder(tried[0])
    _refuse_folder(folder)
    most = settings.max_trials or study.max_trials
    trials = min(most, study.grid_size) if study.algorithm == "grid" else most
    parallel = min(settings.parallel_trials or study.parallel_trials, trials)
    return SweepPlan(
        study=study,
        folder=folder.rstrip("/"),
        args=_shared_args(study, _without_folders(tried[0])),
        environ={**_spoken_to_nobody(environ), **dict(study.env)},
        max_trials=trials,
        parallel_trials=parallel,
        threads=max(1, len(os.sched_getaffinity(0)) // parallel) if hasattr(os, "sched_getaffinity") else 1,
        seed=settings.sampler_seed,
        notes=(*_notes(study, most), *_left_out(tried[0], settings.study)),
    )


def _read_study(path: str) -> Study:
    spec = read_spec(path)
    if spec.kind != "tuning_job":
        raise UsageError(f"--study={path} is no study: expected a file with studySpec, such as hptuning_config.yaml.")
    try:
        return Study.of(spec.content)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None


def _refuse_without_twin(study: Study, settings: Sweeping) -> None:
    if study.without_twin and not settings.approximate:
        raise UsageError(
            f"{settings.study}: this machine has no twin of {'; '.join(study.without_twin)}. Take it out, or run the "
            "rest with --approximate."
        )


def _refuse_said_twice(study: Study, words: Iterable[str], path: str) -> None:
    """The service appends a trial's values to the arguments, and the trainer refuses a flag with two values."""
    names = {_name(flag): flag for values in study.samples() for flag in study.flags(values)}
    for origin, given in (("the command line", words), (f"the args in {path}", study.args)):
        for word in given:
            if word.startswith("--") and _name(word) in names:
                raise UsageError(
                    f"{word} stands in {origin}, and the study tries values of {_name(word)}: keep one of the two."
                )


def _without_folders(parsed: Parsed) -> Job:
    """The job, free of what each trial has of its own. Raises UsageError where the user asks for it here."""
    for name in OWN_OF_A_TRIAL:
        if parsed.sources[name] == "flag":
            raise UsageError(
                f"{all_settings()[name].flag} is not for a sweep: each trial has a folder of its own below "
                "--sweep-dir; name another one to start anew."
            )
    unset = {name: all_settings()[name].default for name in OWN_OF_A_TRIAL}
    return replace(parsed.job, output=replace(parsed.job.output, **unset))


def _shared_args(study: Study, job: Job) -> tuple[str, ...]:
    """The flags that all trials share."""
    own = {_name(flag) for values in study.samples() for flag in study.flags(values)}
    return tuple(word for word in to_argv(job) if _name(word) not in own)


def _default_folder(parsed: Parsed) -> str:
    folder, name = posixpath.split(default_job_dir(parsed.job.model.model))
    return posixpath.join(folder, f"sweep-{name}")


def _refuse_folder(folder: str) -> None:
    if "://" in folder or UNREADABLE.search(folder):
        raise UsageError(
            f"--sweep-dir={folder}: expected a folder on this machine, without brackets and backslashes in its name."
        )


def _spoken_to_nobody(environ: Mapping[str, str]) -> dict[str, str]:
    """What a cloud told this process is not for the trials."""
    return {name: value for name, value in environ.items() if not name.startswith(SPOKEN_BY_THE_CLOUD)}


def _notes(study: Study, most: int) -> list[str]:
    notes = [*study.said, *(f"approximated: {each}" for each in study.without_twin)]
    if study.algorithm == "grid" and study.grid_size != most:
        whole = f"the grid has {study.grid_size:,} points"
        notes.append(f"{whole}: that is all to try" if study.grid_size < most else f"{whole}: the first {most} are run")
    return notes


def _left_out(parsed: Parsed, path: str) -> list[str]:
    found = [name for name in OWN_OF_A_TRIAL if parsed.sources[name] in ("below", "config")]
    names = ", ".join(all_settings()[name].flag for name in found)
    return [f"{names} in the args of {path} left out: each trial has its own folder"] if found else []


def _name(word: str) -> str:
    return word.partition("=")[0].lstrip("-").replace("-", "_")
