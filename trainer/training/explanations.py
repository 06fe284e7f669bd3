"""TensorFlow's errors at run time in the user's words. What is not recognised stays a traceback: a bug of ours."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

import tensorflow as tf

from trainer.job.errors import DENIED_ERRNOS, FULL_ERRNOS, DataError, StorageFailed, TrainingFailed
from trainer.job.paths import JobPaths
from trainer.training.failures import in_words, storage_refusals
from trainer.training.inputs import Inputs
from trainer.training.labels import UNKNOWN_CLASS
from trainer.training.reader import READ_ERRORS

READING = ("DecodeCSV", "decode_csv", "a bad row", "parse_example", "ParseExample")  # in messages about a row
FULL = ("No space left on device", "Disk quota exceeded")
DENIED = ("Permission denied", "Read-only file system", "Operation not permitted")


@contextlib.contextmanager
def storage_explained(paths: JobPaths) -> Iterator[None]:
    """Turn a full disk, a missing permission or a bucket that does not answer into a sentence.

    Raises:
      StorageFailed, UsageError: that is what happened.
    """
    try:
        with storage_refusals():
            yield
    except (OSError, tf.errors.OpError) as error:
        sentence = _storage_sentence(error, paths)
        if sentence is None:
            raise
        raise StorageFailed(sentence) from error


@contextlib.contextmanager
def training_explained(inputs: Inputs, paths: JobPaths) -> Iterator[None]:
    """Turn bad rows and NaN losses into sentences. Raises DataError or TrainingFailed."""
    try:
        yield
    except tf.estimator.NanLossDuringTrainingError as error:
        raise TrainingFailed(
            "the loss became NaN or infinite: lower the learning rate or look for missing and huge values in the data: "
            f"the checkpoints up to there are in {paths.checkpoints}."
        ) from error
    except (tf.errors.NotFoundError, tf.errors.InternalError):  # an object that is shorter by now is the latter
        _check_files(inputs)
        raise
    except READ_ERRORS as error:
        _check_files(inputs)  # what is half one file and half another is no bad row
        message = f"{getattr(error, 'message', '')} {error}"
        if UNKNOWN_CLASS in message:
            inputs.find_unknown_class()
        label = re.search(r"Received a label value of (\S+) which is outside the valid range of (\[[^)]*\))", message)
        if label:
            raise DataError(
                f"column {inputs.label_column}: found the label {label[1]} where the model's output has room for "
                f"{label[2]}: give the last layer more units, or mend the data."
            ) from error
        inputs.find_bad_row()
        if not isinstance(error, tf.errors.InvalidArgumentError) or any(word in message for word in READING):
            raise DataError(f"a row cannot be read: {in_words(error)}") from error
        raise TrainingFailed(f"a step failed: {in_words(error)} (--verbosity=debug shows where)") from error


def _check_files(inputs: Inputs) -> None:
    inputs.check_files(training=True)
    inputs.check_files(training=False)


def _storage_sentence(error: Exception, paths: JobPaths) -> str | None:
    number, text = getattr(error, "errno", None), str(error)
    if number in FULL_ERRNOS or any(each in text for each in FULL):
        return (
            f"the disk is full while writing to {paths.job_dir}: make room and start the same command again, it goes "
            "on from the last checkpoint."
        )
    if number in DENIED_ERRNOS or any(each in text for each in DENIED):
        if not any(folder in text for folder in (paths.job_dir, paths.checkpoints, paths.logs)):
            return f"a file cannot be used ({in_words(error)}): see to its permissions."
        return f"{paths.job_dir} or a folder in it cannot be written ({in_words(error)}): name another --job-dir."
    return None
