"""The environment variables that cloud services set, read once and typed."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trainer.job.errors import UsageError


@dataclass(frozen=True)
class Environment:
    """What the process was told from outside; the empty one is a laptop's.

    `checkpoint_dir`, `model_dir` and `log_dir` are folders a managed service gives a job; `trial_id` tells the trials
    of one study apart; `tf_config` is the parsed TF_CONFIG of a cluster; `command` is how the user called us, for the
    commands we propose.
    """

    checkpoint_dir: str | None = None
    model_dir: str | None = None
    log_dir: str | None = None
    trial_id: str | None = None
    tf_config: Mapping[str, Any] | None = None
    command: str = "python -m trainer.task"

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Environment:
        """Read it from `os.environ` or the like; a variable that is set but empty counts as not set.

        Raises:
          UsageError: TF_CONFIG is not a JSON object, or the trial id is no plain name.
        """
        return cls(
            checkpoint_dir=environ.get("AIP_CHECKPOINT_DIR") or None,
            model_dir=environ.get("AIP_MODEL_DIR") or None,
            log_dir=environ.get("AIP_TENSORBOARD_LOG_DIR") or None,
            trial_id=_trial_id(environ.get("CLOUD_ML_TRIAL_ID", "")),
            tf_config=_tf_config(environ.get("TF_CONFIG", "")),
            command=shlex.quote(environ["TRAINER_COMMAND"]) if environ.get("TRAINER_COMMAND") else cls.command,
        )

    def refuse_cluster(self) -> None:
        """Refuse a TF_CONFIG with more than one task. Raises UsageError.

        A cluster of a lone chief is this machine alone.
        """
        cluster = (self.tf_config or {}).get("cluster", {})
        tasks = sum(len(addresses) for addresses in cluster.values())
        if tasks > 1:
            raise UsageError(
                f"TF_CONFIG names a cluster of {tasks} tasks ({', '.join(cluster)}): this version trains on one "
                "machine, so give the job a single replica, or unset TF_CONFIG."
            )

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


def _tf_config(text: str) -> dict[str, Any] | None:
    if not text.strip():
        return None
    try:
        parsed = json.loads(text)
    except ValueError as error:
        raise UsageError(f"TF_CONFIG is not JSON ({error}): unset it to train on this machine alone.") from None
    if not isinstance(parsed, dict):
        raise UsageError(f"TF_CONFIG={text}: expected a JSON object; unset it to train on this machine alone.")
    return parsed or None
