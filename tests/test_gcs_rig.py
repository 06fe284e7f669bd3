"""The loopback Cloud Storage is one for TensorFlow's own gs:// too, and leaves nothing behind."""

from __future__ import annotations

import pathlib
import subprocess
import sys
import threading

import psutil
import pytest

from tests.gcs_rig import Fault, Gcs

# As large as a checkpoint's part, through every fault that TensorFlow tries again after.
WRITE_AND_READ = """
import os, sys
import tensorflow as tf
for number in range(6):
    path, content = f"gs://{sys.argv[1]}/{number}", os.urandom(300_000)
    with tf.io.gfile.GFile(path, "wb") as file:
        file.write(content)
    with tf.io.gfile.GFile(path, "rb") as file:
        assert file.read() == content, path
print(sorted(tf.io.gfile.listdir(f"gs://{sys.argv[1]}")))
"""


def test_tensorflow_reads_what_it_wrote_through_faults(tmp_path: pathlib.Path) -> None:
    with Gcs(tmp_path, tls=True) as gcs:
        gcs.make_bucket("a-bucket")
        gcs.faults(
            Fault("GET ", 503, times=3, skip=1),
            Fault("PUT /upload", "reset", times=2, skip=1),
            Fault("PUT /upload", "drop", times=2),
            Fault("POST /upload", 429, times=2, skip=2),
        )
        done = subprocess.run(
            [sys.executable, "-c", WRITE_AND_READ, "a-bucket"],
            env=gcs.tensorflow_environ(), capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.stdout == "['0', '1', '2', '3', '4', '5']\n", done.stderr
        gcs.faults()
        assert {len(content) for content in gcs.content("a-bucket").values()} == {300_000}
        assert {each.fault for each in gcs.log} >= {503, 429, "reset", "drop"}


def servers() -> list[psutil.Process]:
    return [each for each in psutil.Process().children() if "fake-gcs" in each.name()]


@pytest.mark.parametrize("tls", [False, True])
def test_nothing_is_left_behind(tmp_path: pathlib.Path, tls: bool) -> None:
    threads, others = threading.active_count(), servers()  # the session's own rig may be there
    with Gcs(tmp_path, tls=tls) as gcs:
        gcs.make_bucket("a-bucket")
        gcs.put("a-bucket", {"x": b"1"})
        assert gcs.content("a-bucket") == {"x": b"1"}
        [server] = [each for each in servers() if each not in others]
    assert not server.is_running()
    assert threading.active_count() == threads
