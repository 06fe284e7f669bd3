"""Run a job that was submitted to the loopback Vertex, as its first container would run."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

from tests import warm
from tests.runner import environ

ROLES = ("chief", "worker", "ps", "evaluator")
GRACE_SECS = 30.0  # between SIGTERM and SIGKILL
FOLDERS = {"AIP_MODEL_DIR": "model", "AIP_CHECKPOINT_DIR": "checkpoints", "AIP_TENSORBOARD_LOG_DIR": "logs"}


@dataclasses.dataclass(frozen=True)
class Container:
    """What is started: no shell, an environment of its own."""

    argv: list[str]
    env: dict[str, str]


def container_of(job: Mapping[str, Any], project: str, number: str, buckets: Mapping[str, Path]) -> Container:
    """The first replica of the first pool of a CustomJob; gs:// of a known bucket becomes a folder."""
    spec = job["jobSpec"]
    pool = spec["workerPoolSpecs"][0]
    image, package = pool.get("containerSpec", {}), pool.get("pythonPackageSpec", {})
    command = image.get("command") or ["python", "-m", package.get("pythonModule", "trainer.task")]
    argv = [warm.python() if command[0] in ("python", "python3") else command[0], *command[1:]]
    argv += image.get("args") or package.get("args") or []
    said = {each["name"]: each.get("value", "") for each in image.get("env") or package.get("env") or []}
    base = spec.get("baseOutputDirectory", {}).get("outputUriPrefix", "").rstrip("/")
    folders = {name: f"{base}/{folder}/" for name, folder in FOLDERS.items()} if base else {}
    own = {
        **folders,
        "CLOUD_ML_PROJECT_ID": project,
        "CLOUD_ML_JOB_ID": number,
        "TF_CONFIG": json.dumps(tf_config(spec["workerPoolSpecs"])),
        **said,
    }
    return Container(
        [localized(word, buckets) for word in argv],
        environ(**{name: localized(value, buckets) for name, value in own.items()}),
    )


def tf_config(pools: list[Mapping[str, Any]]) -> dict[str, Any]:
    """What the service tells the chief; an evaluator is no part of the cluster."""
    cluster = {}
    for at, (role, pool) in enumerate(zip(ROLES, pools, strict=False)):
        replicas = int(pool.get("replicaCount", 0)) if pool else 0
        if replicas and role != "evaluator":
            cluster[role] = [f"127.0.0.1:{2222 + 100 * at + replica}" for replica in range(replicas)]
    return {"cluster": cluster, "environment": "cloud", "task": {"type": "chief", "index": 0}}


def localized(text: str, buckets: Mapping[str, Path]) -> str:
    """Text with the folders of buckets in place of their gs:// names."""
    for bucket, folder in buckets.items():
        text = re.sub(rf"gs://{re.escape(bucket)}(?=/|$)", lambda _, to=folder: str(to), text)
    return text


class Replica:
    """A container at work; `say` gets its lines and whether they stood on stderr."""

    def __init__(self, container: Container, folder: Path, say: Callable[[str, bool], None]) -> None:
        self.process = subprocess.Popen(
            container.argv,
            cwd=folder,
            env=container.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
        pipes = ((self.process.stdout, False), (self.process.stderr, True))
        self._readers = [threading.Thread(target=_pump, args=(pipe, is_error, say)) for pipe, is_error in pipes]
        for reader in self._readers:
            reader.start()

    def wait(self) -> int:
        """Its exit code, after its last line was said; what it left behind is killed."""
        exit_code = self.process.wait()
        self.signal_group(signal.SIGKILL)
        for reader in self._readers:
            reader.join()
        return exit_code

    def stop(self) -> None:
        """Ask it to end, and see that it does, as the service does when a job is cancelled."""
        self.process.terminate()
        try:
            self.process.wait(GRACE_SECS)
        except subprocess.TimeoutExpired:
            self.signal_group(signal.SIGKILL)

    def signal_group(self, signum: int) -> None:
        """Reach its children too."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signum)


def _pump(pipe: IO[str] | None, is_error: bool, say: Callable[[str, bool], None]) -> None:
    assert pipe is not None
    with pipe:
        for line in pipe:
            say(line.rstrip("\n"), is_error)
