"""The errors a user can meet, as one tree; everything else is a bug of ours and keeps its traceback.

    TrainerError            base: one sentence for the user, and the exit code of the door
    |-- UsageError        2   a flag, a config file or an environment variable
    |-- ModelError        2   the model module, what it builds, or what conversion would lose
    |-- DataError         2   input files: missing, empty, wrong columns, bad rows
    |-- JobDirError       2   the job directory belongs to another run
    |-- TrainingFailed    3   training itself went wrong (a NaN loss), or a trial had nothing to tell its tuner
    |-- VerificationFailed 4  an export predicts something else than the model
    |-- StorageFailed     5   disk full, not writable, checkpoints that cannot be read
    |-- CloudError        6   the cloud service failed or refused, or a job there did
    `-- Interrupted     130/143   stopped by SIGINT or SIGTERM; a checkpoint was saved

A message is a sentence that says what was given, what is allowed and what to do, in the user's own spelling.
"""

from __future__ import annotations

import errno
import signal

# what an OSError has that storage is the cause of
FULL_ERRNOS = (errno.ENOSPC, errno.EDQUOT)
DENIED_ERRNOS = (errno.EACCES, errno.EROFS, errno.EPERM, errno.ENOTDIR)


class TrainerError(Exception):
    """A sentence for the user; `exit_code` is what the door returns."""

    exit_code = 2


class UsageError(TrainerError):
    """A flag, a config file or an environment variable cannot be used as given."""


class ModelError(TrainerError):
    """The model module does not load, does not build, or would not survive conversion."""


class DataError(TrainerError):
    """The input files are missing, empty, or not what the model needs."""


class JobDirError(TrainerError):
    """The job directory holds a run of another model, vocabulary or data, or is in use."""


class TrainingFailed(TrainerError):
    """Training cannot go on, such as after a NaN loss."""

    exit_code = 3


class VerificationFailed(TrainerError):
    """An export does not predict what the trained model predicts."""

    exit_code = 4


class StorageFailed(TrainerError):
    """The disk is full, a path is not writable, or no checkpoint can be read."""

    exit_code = 5


class CloudError(TrainerError):
    """The cloud service failed or refused, or the job that was waited for did."""

    exit_code = 6


class Interrupted(TrainerError):
    """A signal ended the run; the exit code is the shell's own, 128 + signal number."""

    def __init__(self, message: str, signum: int = signal.SIGINT) -> None:
        super().__init__(message)
        self.exit_code = 128 + signum
