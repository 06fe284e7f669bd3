"""A job whose places are in Cloud Storage: it works there, and what is broken is told in one sentence, soon."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import pathlib
import socket
import time
from collections.abc import Iterator, Mapping

import pytest

from tests.gcs_rig import Fault, Gcs
from tests.runner import Running, flags, run, write_project
from trainer.cloud.lease import LEASE_SECS
from trainer.job.errors import JobDirError, StorageFailed, TrainerError, UsageError

SOON_SECS = 20.0
ACCOUNT = "job@a-project.iam.gserviceaccount.com"
DATA = "gs://data/train.csv"


def denied(permission: str) -> str:
    return f"{ACCOUNT} does not have {permission} access to the Google Cloud Storage object."


@dataclasses.dataclass(frozen=True)
class Broken:
    """A storage that cannot be used.

    Attributes:
      words: what the sentence must say.
      faults: what the storage answers.
      env: environment variables in place of the right ones; HOLE stands for an address where nobody answers, NOBODY for
        one where nobody listens, None for a variable that is not set.
      change: flags in place of the right ones.
      token: the one that the storage accepts.
    """

    words: tuple[str, ...]
    faults: tuple[Fault, ...] = ()
    env: Mapping[str, str | None] = dataclasses.field(default_factory=dict)
    change: Mapping[str, str] = dataclasses.field(default_factory=dict)
    token: str | None = None


UNNAMED = {"GOOGLE_AUTH_TOKEN_FOR_TESTING": None, "HOME": "/nonexistent", "CLOUDSDK_CONFIG": "/nonexistent"}
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
    "an expired token": Broken(
        ("credentials are not accepted", "gcloud auth application-default login"), token="another"
    ),
    "no credentials": Broken(
        ("no Google credentials were found", "gcloud auth application-default login"),
        (Fault(".", 401, message="Anonymous caller does not have storage.objects.create access."),),
        env={**UNNAMED, "NO_GCE_CHECK": "true"},
    ),
    "a metadata server that is silent": Broken(
        ("no Google credentials were found", "NO_GCE_CHECK=true"), env={**UNNAMED, "GCE_METADATA_HOST": "HOLE"}
    ),
    "nobody listens": Broken(
        ("cannot be reached", "check the network and its proxy"), env={"https_proxy": "http://NOBODY"}
    ),
    "a network that swallows all": Broken(
        ("cannot be reached", "check the network"), env={"https_proxy": "http://HOLE"}
    ),
    "a storage that is down": Broken(("answers 503", "try again later"), (Fault("(POST|PUT) /upload", 503),)),
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


@contextlib.contextmanager
def addresses() -> Iterator[dict[str, str]]:
    """One that takes connections and never answers, and one that is nobody's."""
    with socket.socket() as hole, socket.socket() as nobody:
        for each in (hole, nobody):
            each.bind(("127.0.0.1", 0))
        hole.listen(64)
        yield {name: f"127.0.0.1:{each.getsockname()[1]}" for name, each in (("HOLE", hole), ("NOBODY", nobody))}


def filled(value: str, known: Mapping[str, str]) -> str:
    for word, address in known.items():
        value = value.replace(word, address)
    return value


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_what_is_broken_is_told_soon(broken: Broken, gcs: Gcs, tmp_path: pathlib.Path) -> None:
    write_project(tmp_path)
    gcs.state.reset()
    gcs.put("data", {"train.csv": (tmp_path / "train.csv").read_bytes()})
    gcs.faults(*(dataclasses.replace(each) for each in broken.faults))
    gcs.state.token = broken.token
    with addresses() as known:
        changed = {name: value and filled(value, known) for name, value in broken.env.items()}
        environ = {name: value for name, value in {**gcs.tensorflow_environ(), **changed}.items() if value is not None}
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
