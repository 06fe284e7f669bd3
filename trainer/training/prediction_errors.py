"""What can go wrong with files while predictions are made, in the user's words."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import tensorflow as tf

from trainer.job.errors import DENIED_ERRNOS, FULL_ERRNOS, StorageFailed
from trainer.training.explanations import DENIED, FULL
from trainer.training.failures import in_words, storage_refusals

NO_FOLDER = ("ot a directory", "File exists")


@contextlib.contextmanager
def output_explained(output: str) -> Iterator[None]:
    """Turn a full disk, a missing permission or a storage that is away into a sentence.

    Raises:
      StorageFailed: that is what happened.
      UsageError: a bucket that could be used before cannot be any more.
    """
    try:
        with storage_refusals():
            yield
    except (OSError, tf.errors.OpError) as error:
        sentence = _sentence(error, output)
        if sentence is None:
            raise
        raise StorageFailed(sentence) from error


def _sentence(error: Exception, output: str) -> str | None:
    number, text = getattr(error, "errno", None), str(error)
    if number in FULL_ERRNOS or any(each in text for each in FULL):
        return (
            f"the disk is full while writing to {output}: make room and start the same command again, the files that "
            "are whole stay."
        )
    no_folder = any(each in text for each in NO_FOLDER)  # input files have been found, so that it is not one of them
    if no_folder or number in DENIED_ERRNOS or any(each in text for each in DENIED):
        if not no_folder and output not in text:
            return f"a file cannot be used ({in_words(error)}): see to its permissions."
        return f"--output={output} cannot be written ({in_words(error)}): name another folder."
    return None
