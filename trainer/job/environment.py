"""The environment variables that cloud services set, read once and typed."""

from __future__ import annotations

import atexit
import os
import pathlib
import shlex
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass

from trainer.job.cluster import Cluster, read_cluster
from trainer.job.errors import UsageError


def helper_environ() -> dict[str, str]:
    """The environment of a process that runs a module of this package: it finds it anywhere, and leaves GPUs alone."""
    root = str(pathlib.Path(__file__).parents[2])
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": ""}


def scratch_folder(purpose: str) -> str:
    """A new folder on this machine, which goes when the process ends."""
    folder = tempfile.mkdtemp(prefix=f"keras-trainer-{purpose}-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@dataclass(frozen=True)
class Environment:
    """What the process was told from outside; the empty one is a laptop's.

    `checkpoint_dir`, `model_dir` and `log_dir` are folders a managed service gives a job; `trial_id` tells the trials
    of one study apart; `hp_metric_file` (absolute) is where their tuner looks for metrics; `cluster` is
    who else takes part, None for this machine alone; `command` is how the user called us, for the commands we propose.
    """

    checkpoint_dir: str | None = None
    model_dir: str | None = None
    log_dir: str | None = None
    trial_id: str | None = None
    hp_metric_file: str | None = None
    cluster: Cluster | None = None
    command: str = "python -m trainer.task"

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Environment:
        """Read it from `os.environ` or the like; a variable that is set but empty counts as not set.

        Raises:
          UsageError: TF_CONFIG or CLUSTER_SPEC cannot be used, the trial id is no plain name, or the metric file is not
            local.
        """
        return cls(
            checkpoint_dir=environ.get("AIP_CHECKPOINT_DIR") or None,
            model_dir=environ.get("AIP_MODEL_DIR") or None,
            log_dir=environ.get("AIP_TENSORBOARD_LOG_DIR") or None,
            trial_id=_trial_id(environ.get("CLOUD_ML_TRIAL_ID", "")),
            hp_metric_file=_hp_metric_file(environ.get("CLOUD_ML_HP_METRIC_FILE", "")),
            cluster=read_cluster(environ.get("TF_CONFIG"), environ.get("CLUSTER_SPEC")),
            command=shlex.quote(environ["TRAINER_COMMAND"]) if environ.get("TRAINER_COMMAND") else cls.command,
        )

    @property
    def has_tuner(self) -> bool:
        """Whether a tuner started this job, and waits for its metrics."""
        return self.trial_id is not None or self.hp_metric_file is not None

    @property
    def settings(self) -> dict[str, str]:
        """Variable name -> value, for those that stand for a setting."""
        named = {
            "AIP_CHECKPOINT_DIR": self.checkpoint_dir,
            "AIP_MODEL_DIR": self.model_dir,
            "AIP_TENSORBOARD_LOG_DIR": self.log_dir,
        }
        return {name: value for name, value in named.items() if value is not None}


def _trial_id(text: str) -> str | None:
    """The id becomes a folder's name, so it must not lead anywhere else."""
    if "/" in text or text in (".", ".."):
        raise UsageError(f"CLOUD_ML_TRIAL_ID={text}: expected a plain name such as 7, as it names the trial's folder.")
    return text or None


def _hp_metric_file(text: str) -> str | None:
    """A path that cloudml-hypertune takes: it fails on a bare name, and makes a local folder gs: of gs://..."""
    if "://" in text:
        raise UsageError(
            f"CLOUD_ML_HP_METRIC_FILE={text}: metrics are handed to the tuner in a local file: name one, or unset it."
        )
    return os.path.abspath(text) if text else None
