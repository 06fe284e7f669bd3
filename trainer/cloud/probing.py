"""Can the places of a job be used? Proved by what is done there and undone, before a job counts on it.

A bucket is asked in a process of its own, trainer.training.probe, which can be ended: TensorFlow waits for credentials
and lost connections for minutes, makes folders in a bucket that is not there for ever, and takes no signal meanwhile.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

from trainer.cloud.refusals import LOGIN, of_tensorflow, unreachable
from trainer.cloud.storage import split
from trainer.job.config import Job
from trainer.job.environment import helper_environ
from trainer.job.errors import StorageFailed, UsageError
from trainer.job.paths import JobPaths
from trainer.job.prediction import Prediction
from trainer.job.reporting import Reporting

MARK = ".trainer-check-"  # begins the names of what is made
START_SECS = 60.0  # of a new process on a busy machine
SILENT_SECS = 10.0  # a step that takes longer takes minutes
# Of TensorFlow's file system for gs://; its defaults ask a silent service for three minutes.
IMPATIENT = {
    "GCS_RETRY_CONFIG_MAX_RETRIES": "4",
    "GCS_RETRY_CONFIG_INIT_DELAY_TIME_US": "100000",
    "GCS_REQUEST_CONNECTION_TIMEOUT_SECS": "3",
    "GCS_REQUEST_IDLE_TIMEOUT_SECS": "5",
}
# Step -> the permission it needs. An object that is written over is deleted: each checkpoint does that.
PERMISSIONS = {
    "create": "storage.objects.create",
    "read": "storage.objects.get",
    "list": "storage.objects.list",
    "overwrite": "storage.objects.delete",
    "delete": "storage.objects.delete",
}


@dataclasses.dataclass(frozen=True)
class Place:
    """A folder that a job writes, or a file, pattern or folder that it reads, and the flag that names it."""

    flag: str
    url: str
    writes: bool
    is_folder: bool = False  # of what is read

    @property
    def is_remote(self) -> bool:
        """Whether it is no local file; `gs:/bucket` is a slip of the pen, no folder called gs:."""
        return "://" in self.url or self.url.startswith("gs:")


def places_of(job: Job, paths: JobPaths) -> list[Place]:
    """What a job's flags name, each folder once: one below another is that one's."""
    folders = {
        "--job-dir": paths.job_dir,
        "--checkpoint-dir": paths.checkpoint_dir,
        "--log-dir": paths.log_dir,
        "--export-dir": job.output.export_dir,
        "--cache-data": job.data.cache_data,
    }
    found = list[Place]()
    for flag, folder in folders.items():
        if folder and not any(f"{folder}/".startswith(f"{each.url.rstrip('/')}/") for each in found):
            found.append(Place(flag, folder, writes=True))
    files = {"--train-files": job.data.train_files, "--eval-files": job.data.eval_files}
    return found + [place for flag, names in files.items() for place in places_to_read(flag, names)]


def places_of_prediction(settings: Prediction) -> list[Place]:
    """What a prediction's flags name."""
    return [
        Place("--export", str(settings.export), writes=False, is_folder=True),
        *places_to_read("--files", settings.files),
        Place("--output", str(settings.output), writes=True),
    ]


def places_of_report(settings: Reporting) -> list[Place]:
    """What the flags of a report name; its page goes into the job directory where they name no other file."""
    job_dir = Place("--job-dir", str(settings.job_dir), writes=settings.output is None, is_folder=True)
    return [job_dir, *([Place("--output", settings.output, writes=True)] if settings.output else [])]


def places_to_read(flag: str, names: Sequence[str]) -> list[Place]:
    """Files and patterns, of each folder the first: what holds for one holds for its neighbours."""
    first = {name.rpartition("/")[0]: name for name in reversed(names)}
    return [Place(flag, name, writes=False) for name in reversed(first.values())]


def prove(places: Sequence[Place]) -> None:
    """Use places as a job does: in a folder, a file is made and removed, and every folder that was made for it.

    Local files to be read are left to whoever opens them.

    Raises:
      StorageFailed: a local folder cannot be written.
      UsageError: what is in a bucket cannot be used, or what is not local is in no bucket.
    """
    for place in places:
        if place.writes and not place.is_remote:
            _prove_local(place.flag, place.url)
    remote = [place for place in places if place.is_remote]
    for place in remote:
        try:
            split(place.url)
        except UsageError as error:
            raise UsageError(f"{place.flag}={error}") from None
    if remote:
        _prove_remote(remote)


def _prove_local(flag: str, folder: str) -> None:
    try:
        with _made(folder), tempfile.NamedTemporaryFile(dir=folder, prefix=MARK):
            pass
    except OSError as error:
        raise StorageFailed(
            f"{flag}={folder} cannot be written ({error.strerror}): name another folder, or see to its permissions."
        ) from error


def _prove_remote(places: Sequence[Place]) -> None:
    child = _start(places)
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    reader = threading.Thread(target=_read_lines, args=(child, lines), name="probe", daemon=True)
    reader.start()
    try:
        _await(places, lines)
    finally:
        child.kill()
        child.wait()
        reader.join()
        child.stdout.close()  # type: ignore[union-attr]


def _start(places: Sequence[Place]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "trainer.training.probe", json.dumps([dataclasses.asdict(each) for each in places])],
        env={**IMPATIENT, **helper_environ(), "TF_CPP_MIN_LOG_LEVEL": "3"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )


def _read_lines(child: subprocess.Popen[str], lines: queue.SimpleQueue[str | None]) -> None:
    for line in child.stdout:  # type: ignore[union-attr]
        lines.put(line)
    lines.put(None)


def _await(places: Sequence[Place], lines: queue.SimpleQueue[str | None]) -> None:
    """Follow the process to its end. Raises UsageError."""
    place, step, heard = places[0], "create", "it said nothing"
    until = time.monotonic() + START_SECS
    while True:
        try:
            line = lines.get(timeout=max(0.0, until - time.monotonic()))
        except queue.Empty:
            raise UsageError(f"{place.flag}={_no_answer(place, step)}") from None
        if line is None:
            raise UsageError(f"{place.flag}={place.url} cannot be tried: the process that tries it ended ({heard}).")
        said = _parsed(line)
        if said is None:  # a warning of some library
            heard = line.strip() or heard
            continue
        if said.get("done"):
            return
        place, step = places[said["place"]], said["step"]
        if "error" in said:
            raise UsageError(f"{place.flag}={_in_words(place, step, said['error'])}")
        until = time.monotonic() + SILENT_SECS


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        said = json.loads(line)
    except ValueError:
        return None
    return said if isinstance(said, dict) else None


def _no_answer(place: Place, step: str) -> str:
    """The sentence for a step without an end; credentials are asked for in the first one."""
    why = f"no answer for {SILENT_SECS:.0f} s to the attempt to {step} an object"
    if _has_credentials():
        return unreachable(place.url, why)
    return (
        f"{place.url}: no Google credentials were found on this machine, and nobody hands them out ({why}); {LOGIN}; "
        "where there are none to be had, NO_GCE_CHECK=true goes on without."
    )


def _has_credentials() -> bool:
    """Whether TensorFlow finds some without a metadata server; cf. google_auth_provider.cc."""
    folder = os.environ.get("CLOUDSDK_CONFIG") or os.path.expanduser("~/.config/gcloud")
    named = ("GOOGLE_AUTH_TOKEN_FOR_TESTING", "GOOGLE_APPLICATION_CREDENTIALS")
    return any(os.environ.get(name) for name in named) or os.path.exists(
        os.path.join(folder, "application_default_credentials.json")
    )


def _in_words(place: Place, step: str, said: str) -> str:
    """The sentence for an error of TensorFlow's file system."""
    error = of_tensorflow(said, place.url, PERMISSIONS[step], f"to the attempt to {step} an object")
    if error is not None:
        return str(error)
    return f"{place.url}: the attempt to {step} an object failed ({said.rstrip('. ')}); see to the bucket and the name."


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
