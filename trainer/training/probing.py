"""Can a folder be written? Proved by a file that is made there and removed.

    python -m trainer.training.probing FOLDER

asks a bucket in a process of its own, which can be ended: TensorFlow waits for credentials and for lost connections
for minutes, and takes no signal meanwhile. Exit code 1 with a line of words where the folder cannot be written.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator

import trainer
from trainer.job.errors import StorageFailed

MARK = ".trainer-check-"
DEADLINE_SECS = 60.0
# Of TensorFlow's file system for gs://; its defaults ask a silent service for three minutes.
IMPATIENT = {
    "GCS_RETRY_CONFIG_MAX_RETRIES": "2",
    "GCS_RETRY_CONFIG_INIT_DELAY_TIME_US": "100000",
    "GCS_REQUEST_CONNECTION_TIMEOUT_SECS": "5",
    "GCS_REQUEST_IDLE_TIMEOUT_SECS": "10",
}


def prove_writable(flag: str, folder: str) -> None:
    """Make a file in a folder, and remove it and every folder that was made for it. Raises StorageFailed."""
    if "://" in folder:
        _prove_remote(flag, folder)
        return
    try:
        with _made(folder), tempfile.NamedTemporaryFile(dir=folder, prefix=MARK):
            pass
    except OSError as error:
        raise StorageFailed(
            f"{flag}={folder} cannot be written ({error.strerror}): name another folder, or see to its permissions."
        ) from error


@contextlib.contextmanager
def _made(folder: str) -> Iterator[None]:
    """Within this context there is such a folder."""
    path = pathlib.Path(folder).absolute()
    missing = [each for each in (path, *path.parents) if not os.path.lexists(each)]
    try:
        path.mkdir(parents=True, exist_ok=True)
        yield
    finally:
        for each in missing:
            with contextlib.suppress(OSError):  # somebody uses it by now, or it was not even made
                each.rmdir()


def _prove_remote(flag: str, folder: str) -> None:
    root = str(pathlib.Path(trainer.__file__).parents[1])
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    own = {"PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "trainer.training.probing", folder],
            env={**IMPATIENT, **os.environ, **own},
            capture_output=True,
            text=True,
            timeout=DEADLINE_SECS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise StorageFailed(
            f"{flag}={folder}: no answer within {DEADLINE_SECS:.0f} s: see to the network and to your credentials."
        ) from error
    if done.returncode:
        words = (done.stdout.strip().splitlines() or done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise StorageFailed(
            f"{flag}={folder} cannot be written ({words}): see that the bucket is there and lets you write."
        )


def _probe(folder: str) -> int:
    import tensorflow as tf

    path = f"{folder.rstrip('/')}/{MARK}{uuid.uuid4().hex}"
    try:
        with tf.io.gfile.GFile(path, "wb") as file:
            file.write(b"written by trainer.check")
        tf.io.gfile.remove(path)
    except tf.errors.OpError as error:
        print(" ".join(str(error.message).split())[:300])
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_probe(sys.argv[1]))
