"""A job whose places are in Cloud Storage: it works there, and what is broken is told in one sentence, soon."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import time
from collections.abc import Iterator, Mapping

import pytest

from tests.broken_storage import ACCOUNT, EVERYWHERE, SOON_SECS, Broken, broken_environ, denied
from tests.gcs_rig import Fault, Gcs
from tests.runner import Running, flags, run, write_project
from trainer.cloud.lease import LEASE_SECS
from trainer.job.errors import JobDirError, StorageFailed, TrainerError, UsageError

DATA = "gs://data/train.csv"
READS = {"--train-files": DATA}
BROKEN = {
    "no bucket": Broken(("there is no bucket absent", "gcloud storage"), change={"--job-dir": "gs://absent/job"}),
    "may not create": Broken(
        ("access denied", "storage.objects.create", "gs://jobs", ACCOUNT),
        (Fault("(POST|PUT) /upload", 403, message=denied("storage.objects.create")),),
    ),
    "may not read": Broken(
        ("access denied", "storage.objects.get", ACCOUNT),
        (Fault("GET /jobs/|GET .*/b/jobs/o/.*media", 403, message=denied("storage.objects.get")),),
    ),
    "may not list": Broken(
        ("access denied", "storage.objects.list", ACCOUNT),
        (Fault(r"GET /storage/v1/b/jobs/o(\?|/\?)", 403, message=denied("storage.objects.list")),),
    ),
    "may not write over": Broken(
        ("access denied", "storage.objects.delete", ACCOUNT),
        (Fault("(POST|PUT) /upload", 403, skip=2, message=denied("storage.objects.delete")),),
    ),
    "may not delete": Broken(
        ("access denied", "storage.objects.delete", ACCOUNT),
        (Fault("DELETE ", 403, message=denied("storage.objects.delete")),),
    ),
    "too many requests": Broken(("answers 429", "try again later"), (Fault("(POST|PUT) /upload", 429),)),
    "no bucket of data": Broken(
        ("--train-files=gs://absent/*.csv", "there is no bucket absent"), change={"--train-files": "gs://absent/*.csv"}
    ),
    "may not list data": Broken(
        ("--train-files=gs://data/*.csv", "storage.objects.list"),
        (Fault("GET /storage/v1/b/data/o", 403, message=denied("storage.objects.list")),),
        change={"--train-files": "gs://data/*.csv"},
    ),
    "may not read data": Broken(
        (f"--train-files={DATA}", "storage.objects.get"),
        (Fault("GET /data/|GET .*/b/data/o/.*media", 403, message=denied("storage.objects.get")),),
        change=READS,
    ),
    **EVERYWHERE,
}


@pytest.fixture(scope="module")
def gcs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gcs]:
    with Gcs(tmp_path_factory.mktemp("gcs"), tls=True) as rig:
        rig.make_bucket("jobs")
        rig.make_bucket("data")
        yield rig


def argv(change: Mapping[str, str]) -> list[str]:
    """The usual flags, with others in place of some."""
    kept = [each for each in flags() if each.partition("=")[0] not in change]
    return kept + [f"{name}={value}" for name, value in change.items()]


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_what_is_broken_is_told_soon(broken: Broken, gcs: Gcs, tmp_path: pathlib.Path) -> None:
    write_project(tmp_path)
    gcs.state.reset()
    gcs.put("data", {"train.csv": (tmp_path / "train.csv").read_bytes()})
    with broken_environ(gcs, broken) as environ:
        began = time.monotonic()
        done = run(tmp_path, argv({"--job-dir": "gs://jobs/first", **broken.change}), env=environ)
        secs = time.monotonic() - began
    assert done.exit_code == 2, done.err
    assert secs < SOON_SECS
    [sentence] = done.sentences
    assert sentence.startswith("trainer.task: --")
    for each in broken.words:
        assert each in sentence
    gcs.state.reset()
    left = gcs.content("jobs")
    assert all("trainer-check" in name for name in left), left
    assert bool(left) == any("DELETE" in fault.match for fault in broken.faults)
    gcs.remove("jobs", left)


def test_a_job_lives_in_buckets(gcs: Gcs, tmp_path: pathlib.Path) -> None:
    write_project(tmp_path)
    gcs.state.reset()
    gcs.put("data", {"train.csv": (tmp_path / "train.csv").read_bytes()})
    places = {"--job-dir": "gs://jobs/a job", "--train-files": DATA, "--eval-files": DATA}
    run(tmp_path, [*argv(places), "--eval-every-steps=60"], env=gcs.tensorflow_environ()).ok()
    content = gcs.content("jobs")
    result = json.loads(content["a job/result.json"])
    assert result["global_step"] == 60
    assert any(name.startswith("a job/export/final/") for name in content)
    assert not [name for name in content if "trainer-check" in name or "unfinished" in name]


def test_of_two_jobs_in_one_place_one_trains(gcs: Gcs, tmp_path: pathlib.Path) -> None:
    write_project(tmp_path)
    gcs.state.reset()
    flags = [*argv({"--job-dir": "gs://jobs/shared", "--train-steps": "1000000"}), "--eval-every-steps=1000000"]
    first = Running(tmp_path, flags, env=gcs.tensorflow_environ())
    try:
        first.wait_for(r"^step \d+")
        began = time.monotonic()
        second = run(tmp_path, flags, env=gcs.tensorflow_environ())
        assert time.monotonic() - began < LEASE_SECS
        assert second.exit_code == JobDirError.exit_code
        assert second.sentences[-1].startswith(
            f"trainer.task: another process is at work in gs://jobs/shared (process {first.process.pid} on "
        )
        first.kill()
        heir = Running(tmp_path, flags, env=gcs.tensorflow_environ())
        try:
            heir.wait_until(lambda: "step " in heir.err, "a step", LEASE_SECS)
        finally:
            heir.kill()
    finally:
        first.kill()


UPLOADS, MEDIA = "(POST|PUT) /upload.*(checkpoints|ckpt)", "GET /data/"
GOES_AWAY = {
    "saving": (Fault(UPLOADS, 503), StorageFailed, "answers 503"),
    "saving is forbidden": (Fault(UPLOADS, 403, message=denied("storage.objects.create")), UsageError, "access denied"),
    "reading": (Fault(MEDIA, 503), StorageFailed, f"{DATA}: Cloud Storage answers 503"),
    "what is read is gone": (Fault(MEDIA, 404, message="No such object: data/train.csv"), UsageError, "no such object"),
}


@pytest.mark.parametrize(("fault", "error", "words"), GOES_AWAY.values(), ids=GOES_AWAY)
def test_a_storage_that_goes_away_ends_the_job(
    fault: Fault, error: type[TrainerError], words: str, gcs: Gcs, tmp_path: pathlib.Path
) -> None:
    """TensorFlow's session would begin again with the first weights, without a word, and for ever."""
    write_project(tmp_path)
    gcs.state.reset()
    gcs.put("data", {"train.csv": (tmp_path / "train.csv").read_bytes()})
    name = f"away-{time.monotonic_ns()}"
    places = {"--job-dir": f"gs://jobs/{name}", "--train-files": DATA, "--train-steps": "1000000"}
    job = Running(
        tmp_path,
        [*argv(places), "--cache=never", "--eval-every-steps=1000000", "--save-checkpoints-steps=200"],
        env=gcs.tensorflow_environ(),
    )
    job.wait_for(r"^step [2-9]\d*/")
    gcs.faults(dataclasses.replace(fault))
    done = job.finish()
    gcs.state.reset()
    assert done.exit_code == error.exit_code, done.err
    assert "Traceback" not in done.err
    assert done.sentences[-1].startswith("trainer.task: gs://")
    assert words in done.sentences[-1]
