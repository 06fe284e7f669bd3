"""A file of the old AI Platform Training (shut down in January 2025) to the two files that Vertex AI takes.

Every field of the old API is either mapped or named among those without a twin; what is not certain, because the old
documentation is gone or the new service differs, is an assumption in one sentence for the user to look at.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trainer.cloud.legacy_fields import OF_PREDICTION, OF_THE_SERVICE, Notes, read_job
from trainer.cloud.legacy_pools import convert_pools
from trainer.cloud.legacy_study import convert_study
from trainer.cloud.specs import read_spec
from trainer.cloud.wording import shown
from trainer.job.errors import StorageFailed, UsageError

OLD_TIMEOUT = "604800s"
STRATEGIES = {"ON_DEMAND": "STANDARD", "LOW_COST": "SPOT"}
KEPT = ("serviceAccount", "network", "enableWebAccess")
WITHOUT_TWIN = {  # path of the old field -> why no key of the new files stands for it; {} is its value
    "trainingInput.region": "the command says it: --region={}.",
    "trainingInput.runtimeVersion": "the image says which TensorFlow runs, and with the old one it is not the same.",
    "trainingInput.pythonVersion": "the image says which Python runs.",
    "trainingInput.useChiefInTfConfig": "TF_CONFIG always says chief on Vertex AI.",
    "trainingInput.scheduling.priority": "Vertex AI has no priorities.",
    "trainingInput.scheduling.maxWaitTime": "Vertex AI limits the wait with strategy FLEX_START only.",
    "trainingInput.hyperparameters.resumePreviousJobId": "a study of Vertex AI begins anew.",
    "trainingInput.nasJobSpec": "the search for architectures was a service of its own.",
    **{
        f"trainingInput.{role}Config.tpuTfVersion": "the image says which TensorFlow runs."
        for role in ("master", "worker", "parameterServer", "evaluator")
    },
    **dict.fromkeys(OF_PREDICTION, "it is of prediction, not of training; python -m trainer.predict predicts."),
    **dict.fromkeys(OF_THE_SERVICE, "the old service wrote it about a job that has run."),
}


@dataclass(frozen=True)
class Conversion:
    """What an old file becomes.

    Attributes:
      custom_job: a CustomJobSpec, the content of config.yaml.
      tuning_job: a HyperparameterTuningJob, the content of hptuning_config.yaml, where the old one had hyperparameters.
      assumptions: what to look at before money is spent, a sentence each.
      without_twin: the fields that no key of the new files stands for, a sentence each.
    """

    custom_job: dict[str, Any]
    tuning_job: dict[str, Any] | None
    assumptions: tuple[str, ...]
    without_twin: tuple[str, ...]


@dataclass(frozen=True)
class Written:
    """The files that `write_conversion` wrote."""

    files: tuple[str, ...]
    conversion: Conversion

    @property
    def report(self) -> str:
        """What a user has to read: the files, every assumption, every field without a twin; lines."""
        lines = [f"wrote {' and '.join(self.files)}"]
        for heading, sentences in (
            ("assumptions, to be looked at:", self.conversion.assumptions),
            ("without a twin in the new files:", self.conversion.without_twin),
        ):
            lines += [heading, *(f"  - {sentence}" for sentence in sentences)] if sentences else []
        return "\n".join(lines) + "\n"


def convert(content: Mapping[str, Any]) -> Conversion:
    """Convert what an old file says; `content` is its root, with the key trainingInput, and is not changed.

    Raises:
      UsageError: a key that the old service never had, a value of another type, or what the old service refused.
    """
    notes = Notes()
    job = copy.deepcopy(read_job(content, notes))
    training = job.get("trainingInput", {})
    _say_what_has_no_twin(job, notes)
    spec = {"workerPoolSpecs": convert_pools(training, notes), **_around(training, notes)}
    tuning = _tuning_job(job, training, spec, notes) if "hyperparameters" in training else None
    _say_what_the_command_says(job, training, tuning is not None, notes)
    return Conversion(spec, tuning, tuple(notes.assumptions), tuple(notes.without_twin))


def write_conversion(path: str, folder: str | None = None) -> Written:
    """Convert a file into FOLDER/config.yaml and, with hyperparameters, FOLDER/hptuning_config.yaml, commented.

    Without a folder they are put beside the old file.

    Raises:
      UsageError: the file is no legacy one, cannot be converted, or one of the new files is there already.
      StorageFailed: the folder cannot be written.
    """
    from trainer.cloud.legacy_files import render  # yaml: a door's help page does without

    spec = read_spec(path)
    if spec.kind != "legacy":
        raise UsageError(
            f"{path} is of Vertex AI already, there is nothing to convert: python -m trainer.submit takes it."
        )
    try:
        conversion = convert(spec.content)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None
    folder = folder or os.path.dirname(path) or "."
    contents = {"config.yaml": conversion.custom_job, "hptuning_config.yaml": conversion.tuning_job}
    said = (conversion.assumptions, conversion.without_twin)
    texts = {
        os.path.join(folder, name): render(os.path.basename(path), name, each, *said)
        for name, each in contents.items()
        if each is not None
    }
    _write_new(folder, texts)
    return Written(tuple(texts), conversion)


def _around(training: Mapping[str, Any], notes: Notes) -> dict[str, Any]:
    """What a CustomJobSpec says beside its pools."""
    found: dict[str, Any] = {"scheduling": _scheduling(training.get("scheduling", {}), notes)}
    job_dir = training.get("jobDir")
    if job_dir is not None:
        if not job_dir.startswith("gs://"):
            raise UsageError(
                f"trainingInput.jobDir={shown(job_dir)}: expected a folder in Cloud Storage, gs://BUCKET/..."
            )
        found["baseOutputDirectory"] = {"outputUriPrefix": job_dir}
    return found | {name: training[name] for name in KEPT if name in training}


def _scheduling(old: Mapping[str, Any], notes: Notes) -> dict[str, Any]:
    if "maxRunningTime" not in old:
        notes.assume(
            f"maxRunningTime is not said: the timeout is the old default, {OLD_TIMEOUT}, seven days; lower it."
        )
    found: dict[str, Any] = {"timeout": old.get("maxRunningTime", OLD_TIMEOUT)}
    strategy = STRATEGIES.get(old.get("strategy", ""))
    if strategy:
        found["strategy"] = strategy
    if strategy == "SPOT":
        notes.assume("trainingInput.scheduling.strategy=LOW_COST becomes SPOT: Google may take the machines away.")
    if "resilientToWorkerRestart" in old:
        found["restartJobOnWorkerRestart"] = old["resilientToWorkerRestart"]
    return found


def _tuning_job(
    job: Mapping[str, Any], training: Mapping[str, Any], spec: Mapping[str, Any], notes: Notes
) -> dict[str, Any]:
    named = {"displayName": job["jobId"]} if "jobId" in job else {}
    found = {**named, **convert_study(training["hyperparameters"], notes), "trialJobSpec": copy.deepcopy(dict(spec))}
    if job.get("labels"):
        found["labels"] = job["labels"]
    if training.get("encryptionConfig"):
        found["encryptionSpec"] = training["encryptionConfig"]
    return found


def _say_what_the_command_says(job: Mapping[str, Any], training: Mapping[str, Any], tuning: bool, notes: Notes) -> None:
    """Fields of a CustomJob around its spec: config.yaml has no key for them, hptuning_config.yaml has."""
    also = "; hptuning_config.yaml has it" if tuning else ""
    labels = ",".join(f"{name}={value}" for name, value in job.get("labels", {}).items())
    for where, value, flag in (
        ("jobId", job.get("jobId"), f"Vertex AI numbers jobs itself, and --display-name={job.get('jobId')} names one"),
        ("labels", job.get("labels"), f"for config.yaml the command says it: --labels={labels}"),
        ("trainingInput.encryptionConfig", training.get("encryptionConfig"), "for config.yaml gcloud has --kms-key"),
    ):
        if value:
            notes.drop(where, value, f"{flag}{also}.")


def _say_what_has_no_twin(job: Mapping[str, Any], notes: Notes) -> None:
    for where, reason in WITHOUT_TWIN.items():
        value: Any = job
        for part in where.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if value is not None:
            notes.drop(where, value, reason.replace("{}", str(value)))


def _write_new(folder: str, texts: Mapping[str, str]) -> None:
    """Write all files or none; never over another."""
    there = [path for path in texts if os.path.lexists(path)]
    if there:
        raise UsageError(f"{' and '.join(there)} would be overwritten: give another folder with --output=FOLDER.")
    made: list[str] = []
    try:
        os.makedirs(folder, exist_ok=True)
        for path, text in texts.items():
            with open(path, "x", encoding="utf-8") as file:
                made.append(path)
                file.write(text)
    except OSError as error:
        for path in made:
            os.remove(path)
        raise StorageFailed(
            f"{error.filename or (made or [folder])[-1]} cannot be written: {error.strerror}."
        ) from None
