"""What a submission puts into Cloud Storage arrives whole, whatever the network does; what cannot be is told soon."""

from __future__ import annotations

import dataclasses
import io
import json
import pathlib
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator, Mapping, Sequence

import pytest

from tests.broken_storage import ACCOUNT, SOON_SECS, denied
from tests.gcs_rig import Fault, Gcs
from tests.runner import environ, write_model
from tests.vertex_rig import Vertex
from trainer.job.errors import StorageFailed, UsageError

pytestmark = pytest.mark.xdist_group("submit_storage")
COMMAND = (sys.executable, "-m", "trainer.submit")
SENT = ("--project=my-project", "--region=europe-west4", "--via=rest", "--job-dir=gs://jobs/first")
SHARE, LATENCY_SECS = 0.2, 0.03
HELPERS = 8
DEADLINE_SECS = 250.0


@pytest.fixture(scope="module")
def gcs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gcs]:
    with Gcs(tmp_path_factory.mktemp("gcs"), tls=True, location="EUROPE-WEST4") as rig:
        rig.make_bucket("jobs")
        yield rig


@pytest.fixture
def vertex(gcs: Gcs, tmp_path: pathlib.Path) -> Iterator[Vertex]:
    gcs.state.reset()
    gcs.remove("jobs", gcs.content("jobs"))
    gcs.state.reset()
    (tmp_path / "bucket").mkdir()
    with Vertex(buckets={"jobs": tmp_path / "bucket"}, runs=tmp_path) as service:
        yield service
    gcs.state.reset()


@pytest.fixture
def project(tmp_path: pathlib.Path) -> pathlib.Path:
    """A model with helpers of its own, for an image that installs this project."""
    write_model(tmp_path / "model.py")
    for number in range(HELPERS):
        (tmp_path / f"helper_{number}.py").write_text(f"VALUE = {number}\n" * 1000)
    imports = "".join(f"import helper_{number}\n" for number in range(HELPERS))
    (tmp_path / "model.py").write_text(imports + (tmp_path / "model.py").read_text())
    package = {"executorImageUri": "image:1", "args": ["--train-files=gs://jobs/a.csv"]}
    pool = {"machineSpec": {"machineType": "n1-standard-4"}, "replicaCount": 1, "pythonPackageSpec": package}
    spec = {"workerPoolSpecs": [pool], "scheduling": {"timeout": "7200s"}}
    (tmp_path / "config.yaml").write_text(json.dumps(spec))  # JSON is YAML
    return tmp_path


def start(folder: pathlib.Path, argv: Sequence[str], env: Mapping[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, *argv], cwd=folder, env=environ(**env), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def submit(folder: pathlib.Path, argv: Sequence[str], env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    process = start(folder, argv, env)
    out, err = process.communicate(timeout=DEADLINE_SECS)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def both(gcs: Gcs, vertex: Vertex) -> dict[str, str]:
    """The environment of a process that meets these two."""
    return {**gcs.environ(), **vertex.env, "STORAGE_EMULATOR_HOST": gcs.url}


def assert_staged(gcs: Gcs, project: pathlib.Path) -> None:
    """All of the model and of this project is there, byte for byte."""
    gcs.state.reset()
    staged = gcs.content("jobs")
    models = {name.rpartition("/")[2]: content for name, content in staged.items() if "/models/" in name}
    assert models == {path.name: path.read_bytes() for path in project.glob("*.py")}
    [package] = [content for name, content in staged.items() if "/packages/" in name]
    with tarfile.open(fileobj=io.BytesIO(package)) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
        assert all(archive.extractfile(each).read() is not None for each in archive.getmembers() if each.isfile())  # type: ignore[union-attr]
    assert {"setup.py", "trainer/task.py"} <= names


def test_faults_change_nothing(gcs: Gcs, vertex: Vertex, project: pathlib.Path) -> None:
    gcs.weather(SHARE, LATENCY_SECS)
    argv = ["--model=model.py", "--no-check", *SENT]
    done = submit(project, argv, both(gcs, vertex))
    assert done.returncode == 0, done.stderr
    assert [each for each in gcs.log if each.fault is not None]
    assert_staged(gcs, project)
    assert len(vertex.posts()) == 1
    gcs.weather(SHARE, LATENCY_SECS)
    assert submit(project, argv, both(gcs, vertex)).returncode == 0
    assert not [each for each in gcs.log if "/upload/" in each.path], "what was there was sent again"


def test_a_kill_in_the_middle_leaves_nothing_half(gcs: Gcs, vertex: Vertex, project: pathlib.Path) -> None:
    """Each object that is there is whole, and the next submission brings the others."""
    argv = ["--model=model.py", "--no-check", *SENT]
    for uploads in (1, 4):
        gcs.state.reset()
        gcs.weather(SHARE, LATENCY_SECS)
        process = start(project, argv, both(gcs, vertex))
        end = time.monotonic() + DEADLINE_SECS
        while sum("/upload/" in each.path for each in gcs.log) < uploads and process.poll() is None:
            assert time.monotonic() < end
            time.sleep(0.002)
        process.kill()
        process.communicate()
        gcs.state.reset()
        for name, content in gcs.content("jobs").items():
            if "/models/" in name:
                assert content == (project / name.rpartition("/")[2]).read_bytes()
    done = submit(project, argv, both(gcs, vertex))
    assert done.returncode == 0, done.stderr
    assert_staged(gcs, project)


BROKEN: dict[str, tuple[list[str], tuple[Fault, ...], tuple[str, ...]]] = {  # flags, faults, words of the sentence
    "no bucket": (["--staging=gs://absent/x", "--no-check"], (), ("there is no bucket absent", "gcloud storage")),
    "may not create": (
        ["--no-check"],
        (Fault("(POST|PUT) /upload", 403, message=denied("storage.objects.create")),),
        ("access denied", "storage.objects.create", ACCOUNT),
    ),
    "a storage that is down": (["--no-check"], (Fault(".", 503),), ("answers 503", "try again later")),
    "a bucket elsewhere": (
        ["--region=us-central1"],
        (),
        ("--region=us-central1: the bucket of the results is in europe-west4", "use a bucket in us-central1"),
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_told_soon(name: str, gcs: Gcs, vertex: Vertex, project: pathlib.Path) -> None:
    change, faults, words = BROKEN[name]
    gcs.faults(*(dataclasses.replace(each) for each in faults))
    kept = [each for each in SENT if each.partition("=")[0] not in {other.partition("=")[0] for other in change}]
    began = time.monotonic()
    done = submit(project, ["--model=model.py", *kept, *change], both(gcs, vertex))
    assert time.monotonic() - began < SOON_SECS
    assert done.returncode == (StorageFailed.exit_code if "down" in name else UsageError.exit_code)
    [sentence] = [line for line in done.stderr.splitlines() if words[0] in line]
    assert all(each in sentence for each in words)
    assert "Traceback" not in done.stderr
    assert vertex.posts() == []
