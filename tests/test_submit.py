"""`python -m trainer.submit` against the loopback Vertex: what it prints, what it sends, what becomes of it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
import yaml

from tests import warm
from tests.gcs_rig import Gcs
from tests.runner import DENSE, ROOT, read_json, write_csv
from tests.vertex_rig import Vertex
from tests.vertex_schema import normal

pytestmark = pytest.mark.xdist_group("submit")
COMMAND = (sys.executable, "-m", "trainer.submit")
PLACE = ("--project=my-project", "--region=us-central1")
IMAGE = "--image=us-central1-docker.pkg.dev/my-project/images/keras-trainer:1"
JOB_DIR = "--job-dir=gs://my-bucket/first"
SENT = (*PLACE, IMAGE, JOB_DIR, "--via=rest")


@pytest.fixture
def vertex(tmp_path: Path) -> Iterator[Vertex]:
    (tmp_path / "bucket").mkdir()
    with Vertex(buckets={"my-bucket": tmp_path / "bucket"}, runs=tmp_path) as service:
        yield service


def environ(vertex: Vertex | None = None) -> dict[str, str]:
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("GOOGLE_", "CLOUDSDK_", "TRAINER_"))
    }
    return {**kept, "PYTHONPATH": str(ROOT), "NO_GCE_CHECK": "true", **(vertex.env if vertex else {})}


def submit(
    folder: Path, *argv: str, vertex: Vertex | None = None, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [warm.python(), *COMMAND[1:], *argv], cwd=folder, env={**environ(vertex), **(env or {})}, capture_output=True,
        text=True, timeout=200, check=False,
    )  # fmt: skip


def spec(folder: Path, args: Sequence[str] = ("--model=trainer.samples.place_names",)) -> Path:
    """A small config.yaml."""
    container = {"imageUri": "image:1", "args": list(args)}
    pool = {"machineSpec": {"machineType": "n1-standard-4"}, "replicaCount": 1, "containerSpec": container}
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump({"workerPoolSpecs": [pool], "scheduling": {"timeout": "7200s"}}))
    return path


def sent_name(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[0].removeprefix("submitted ")


@pytest.mark.parametrize("name", ["config.yaml", "hptuning_config.yaml"])
def test_a_dry_run_of_the_shipped_files_prints_what_the_service_takes(tmp_path: Path, name: str) -> None:
    shutil.copy(ROOT / name, tmp_path)
    kind = "customJobs" if name == "config.yaml" else "hyperparameterTuningJobs"
    shown = [submit(tmp_path, f"--spec={name}", "--dry-run", f"--dry-run-format={form}") for form in ("yaml", "json")]
    assert [done.returncode for done in shown] == [0, 0]
    from_yaml, from_json = yaml.safe_load(shown[0].stdout), json.loads(shown[1].stdout)
    for body in (from_yaml, from_json):
        body["displayName"] = re.sub(r"\d{8}-\d{6}", "TIME", body["displayName"])
    assert from_yaml == from_json
    assert normal(kind, from_json)
    assert shown[0].stdout.startswith(
        f"# POST https://REGION-aiplatform.googleapis.com/v1/projects/PROJECT/locations/REGION/{kind}\n"
    )
    assert "still has the placeholders REGION, PROJECT, REPOSITORY" in shown[0].stderr
    ready = submit(tmp_path, f"--spec={name}", "--dry-run", *PLACE, IMAGE, JOB_DIR)
    assert (ready.returncode, "errors:" in ready.stderr) == (0, False), ready.stderr


@pytest.mark.skipif(shutil.which("gcloud") is None, reason="the gcloud program is not installed")
@pytest.mark.parametrize("name", ["config.yaml", "hptuning_config.yaml"])
def test_gcloud_sends_the_shipped_files_as_rest_does(tmp_path: Path, name: str) -> None:
    shutil.copy(ROOT / name, tmp_path)
    with Vertex() as vertex:
        env = {**vertex.env, "CLOUDSDK_CONFIG": str(tmp_path / "gcloud")}
        flags = [f"--spec={name}", *PLACE, IMAGE, JOB_DIR, "--no-check", "--display-name=mine", "--labels=a=b"]
        for via in ("gcloud", "rest"):
            sent_name(submit(tmp_path, *flags, f"--via={via}", env=env))
        jobs = list(vertex.jobs.values())
    kind = "customJobs" if name == "config.yaml" else "hyperparameterTuningJobs"
    by_gcloud, by_rest = (normal(kind, job) for job in jobs)
    for job in (by_gcloud, by_rest):
        assert job["labels"].pop("trainer-submission")
    assert by_gcloud == by_rest


def test_a_submitted_job_trains_and_is_followed_to_its_end(tmp_path: Path, vertex: Vertex) -> None:
    spec(tmp_path)
    flags = ["--train-steps=20", "--eval-steps=2", "--exporters=final", "--lstm-units=8", "--labels=team=blue"]
    done = submit(tmp_path, *SENT, "--no-check", "--wait", *flags, vertex=vertex)
    name = sent_name(done)
    assert re.search(r"^20\d\d-\d\d-\d\d \d\d:\d\d:\d\d UTC  running$", done.stdout, re.MULTILINE)
    assert done.stdout.rstrip().endswith("succeeded")
    result = read_json(tmp_path / "bucket/first/result.json")
    assert (result["status"], result["global_step"]) == ("finished", 20)
    (request,) = vertex.posts()
    assert request.body["labels"].pop("trainer-submission")
    assert re.fullmatch(r"place_names-\d{8}-\d{6}", request.body.pop("displayName"))
    assert request.body == {
        "jobSpec": {
            "workerPoolSpecs": [
                {
                    "machineSpec": {"machineType": "n1-standard-4"},
                    "replicaCount": 1,
                    "containerSpec": {
                        "imageUri": "us-central1-docker.pkg.dev/my-project/images/keras-trainer:1",
                        "args": [
                            "--train-steps=20",
                            "--eval-steps=2",
                            "--exporters=final",
                            "--job-dir=gs://my-bucket/first",
                            "--lstm-units=8",
                        ],
                    },
                }
            ],
            "scheduling": {"timeout": "7200s"},
            "baseOutputDirectory": {"outputUriPrefix": "gs://my-bucket/first"},
        },
        "labels": {"team": "blue"},
    }
    status = submit(tmp_path, "status", name, "--via=rest", vertex=vertex)
    assert (status.returncode, status.stdout.splitlines()[0]) == (0, name)
    assert "state    succeeded" in status.stdout
    logs = submit(tmp_path, "logs", name.rpartition("/")[2], *PLACE, "--via=rest", vertex=vertex)
    assert logs.returncode == 0, logs.stderr
    assert "evaluation at step 20" in logs.stdout
    over = submit(tmp_path, "cancel", name, "--via=rest", vertex=vertex)
    assert (over.returncode, over.stdout) == (0, f"{name} is over: succeeded.\n")


def test_a_model_of_this_machine_goes_along(tmp_path: Path, vertex: Vertex) -> None:
    spec(tmp_path, ["--train-files=gs://my-bucket/train.csv", "--eval-files=gs://my-bucket/train.csv"])
    write_csv(tmp_path / "bucket/train.csv", 40)
    source = textwrap.dedent(DENSE).replace("units: int = 8", "units: int = UNITS")
    (tmp_path / "model.py").write_text("from sizes import UNITS\n" + source)
    (tmp_path / "sizes.py").write_text("UNITS = 3\n")
    (tmp_path / "secret.py").write_text("KEY = 'not for anybody'\n")
    flags = ["--model=model.py", "--staging=gs://staged/mine", "--train-steps=4", "--exporters=final", *PLACE, IMAGE]
    with Gcs(tmp_path) as gcs:
        gcs.make_bucket("staged")
        vertex_env = {**vertex.env, "STORAGE_EMULATOR_HOST": gcs.url}
        with pytest.MonkeyPatch.context() as patch:  # the containers run as children of this process
            patch.setenv("STORAGE_EMULATOR_HOST", gcs.url)
            done = submit(tmp_path, *flags, JOB_DIR, "--via=rest", "--no-check", "--wait", env=vertex_env)
        staged = gcs.content("staged")
    sent_name(done)
    container = vertex.posts()[0].body["jobSpec"]["workerPoolSpecs"][0]["containerSpec"]
    (model,) = (arg for arg in container["args"] if arg.startswith("--model="))
    folder = re.fullmatch(r"--model=gs://staged/(mine/models/[0-9a-f]{12})/model\.py:build_model", model)
    assert folder is not None, model
    assert sorted(staged) == [f"{folder[1]}/model.py", f"{folder[1]}/sizes.py"]
    manifest = read_json(tmp_path / "bucket/first/manifest.json")
    assert read_json(tmp_path / "bucket/first/result.json")["global_step"] == 4
    assert manifest["settings"]["model"]["value"] == model.removeprefix("--model=")


def test_a_prebuilt_image_installs_this_project(tmp_path: Path, vertex: Vertex) -> None:
    package = {"executorImageUri": "image:1", "args": ["--epochs=1"]}
    pool = {"machineSpec": {"machineType": "n1-standard-4"}, "replicaCount": 1, "pythonPackageSpec": package}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"workerPoolSpecs": [pool]}))
    with Gcs(tmp_path) as gcs:
        gcs.make_bucket("staged")
        env = {**vertex.env, "STORAGE_EMULATOR_HOST": gcs.url}
        names = []
        for _ in range(2):  # the second finds what the first has put there
            done = submit(tmp_path, *PLACE, JOB_DIR, "--staging=gs://staged/x", "--via=rest", "--no-check", env=env)
            sent_name(done)
            names += vertex.posts()[-1].body["jobSpec"]["workerPoolSpecs"][0]["pythonPackageSpec"]["packageUris"]
        staged = gcs.content("staged")
    assert names[0] == names[1]
    assert re.fullmatch(r"gs://staged/x/packages/[0-9a-f]{12}/keras_trainer-[\w.]+\.tar\.gz", names[0])
    with tarfile.open(fileobj=io.BytesIO(staged[names[0].removeprefix("gs://staged/")])) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    assert {"setup.py", "trainer/task.py", "trainer/cloud/fetch.py", "trainer/training/report.html.j2"} <= packed
    assert not [name for name in packed if name.startswith(("tests", ".")) or "secret" in name]


def test_ctrl_c_leaves_the_job_running_and_cancel_ends_it(tmp_path: Path, vertex: Vertex) -> None:
    spec(tmp_path)
    with waiting(tmp_path, vertex, "--train-steps=1000000") as process:
        assert process.stdout is not None
        name = process.stdout.readline().removeprefix("submitted ").strip()
        vertex.wait_for(name, "JOB_STATE_RUNNING")
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert err.rstrip().endswith(
        f"stopped looking; the job goes on. Its state: python -m trainer.submit status {name}; its end: python -m "
        f"trainer.submit cancel {name}"
    )
    assert vertex.jobs[name]["state"] == "JOB_STATE_RUNNING"
    cancelled = submit(tmp_path, "cancel", name, "--via=rest", vertex=vertex)
    assert (cancelled.returncode, cancelled.stdout.split(" See")[0]) == (0, f"{name} is asked to end.")
    vertex.wait_for(name, "JOB_STATE_CANCELLED")
    status = submit(tmp_path, "status", name, "--via=rest", vertex=vertex)
    assert (status.returncode, "state    cancelled" in status.stdout) == (6, True)
    assert status.stderr == f"trainer.submit: the job {name} was cancelled; its logs say more.\n"


@contextlib.contextmanager
def waiting(folder: Path, vertex: Vertex, *argv: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [*COMMAND, *SENT, "--no-check", "--wait", *argv],
        cwd=folder, env=environ(vertex), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("argv", "words", "exit_code"),
    [
        (["--regoin=x"], "unknown flag --regoin=x: did you mean --region?", 2),
        (["--epocs=2"], "unknown flag --epocs=2: did you mean --epochs?", 2),
        (["--spec=confg.yaml"], "confg.yaml: no such file", 2),
        (["--project=", JOB_DIR], "--project=: expected a value that is not empty", 2),
        ([JOB_DIR], "--project is missing: give --project=my-project", 2),
        ([*PLACE], "--job-dir is missing, and config.yaml has no baseOutputDirectory", 2),
        ([*SENT, "--train-files=data.csv", "--no-local"], "unknown flag --no-local", 2),
        (["status"], "no job named: give its number or its full name", 2),
        (["status", "12"], "12 is the ID of a job, and --project and --region are missing", 2),
        (["cancel", "jobs/12"], "jobs/12 is no name of a job", 2),
        (["status", "12", *PLACE, "--via=rest"], "there is no job 12 in project my-project", 2),
        (["--convert-legacy=nothing.yaml"], "nothing.yaml: no such file", 2),
        (["--convert-legacy=config.yaml"], "config.yaml", 2),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else None,
)
def test_a_mistake_gets_one_sentence(
    tmp_path: Path, vertex: Vertex, argv: list[str], words: str, exit_code: int
) -> None:
    spec(tmp_path)
    before = sorted(tmp_path.iterdir())
    done = submit(tmp_path, *argv, vertex=vertex)
    assert done.returncode == exit_code, done.stderr
    assert "Traceback" not in done.stderr
    assert words in done.stderr.splitlines()[-1]
    assert (vertex.posts(), sorted(tmp_path.iterdir())) == ([], before)


def test_files_of_this_machine_are_found_before_anything_is_sent(tmp_path: Path, vertex: Vertex) -> None:
    spec(tmp_path, ["--model=trainer.samples.place_names", "--batch-size=0"])
    bad = submit(tmp_path, *SENT, vertex=vertex)
    assert (bad.returncode, bad.stderr.splitlines()[-1].startswith("trainer.submit: --batch-size=0")) == (2, True)
    spec(tmp_path)
    done = submit(tmp_path, *SENT, "--dry-run", "--train-files=data.csv", "--region=us-central1-a", vertex=vertex)
    assert done.returncode == 2  # --region given twice, and differently
    done = submit(tmp_path, *SENT, "--dry-run", "--train-files=data.csv", vertex=vertex)
    assert "--train-files=data.csv: is on this machine, where a job in the cloud does not see it" in done.stderr
    assert vertex.posts() == []


def test_what_the_service_refuses_is_said_in_its_words(tmp_path: Path, vertex: Vertex) -> None:
    spec(tmp_path)
    vertex.fail("POST .*customJobs", 400, message="Machine type n9 is not supported.")
    done = submit(tmp_path, *SENT, "--no-check", vertex=vertex)
    assert done.returncode == 2
    assert "400: Machine type n9 is not supported" in done.stderr.splitlines()[-1]


def test_a_legacy_file_becomes_two(tmp_path: Path) -> None:
    (tmp_path / "old.yaml").write_text(
        "trainingInput:\n  scaleTier: CUSTOM\n  masterType: standard_gpu\n  region: us-central1\n"
        "  jobDir: gs://my-bucket/old\n  pythonModule: trainer.task\n  packageUris: ['gs://my-bucket/t.tar.gz']\n"
        "  hyperparameters:\n    goal: MAXIMIZE\n    hyperparameterMetricTag: accuracy\n    maxTrials: 4\n"
        "    params:\n    - {parameterName: units, type: INTEGER, minValue: 8, maxValue: 64}\n"
    )
    done = submit(tmp_path, "--convert-legacy=old.yaml")
    assert done.returncode == 0, done.stderr
    assert {"config.yaml", "hptuning_config.yaml"} <= {path.name for path in tmp_path.iterdir()}
    assert "NVIDIA_TESLA_T4" in (tmp_path / "config.yaml").read_text()
    again = submit(tmp_path, "--convert-legacy=old.yaml")
    assert (again.returncode, "config.yaml" in again.stderr) == (2, True)


def test_help_says_what_there_is_without_a_cloud(tmp_path: Path) -> None:
    done = submit(tmp_path, "--help")
    assert done.returncode == 0
    assert all(word in done.stdout for word in ("--dry-run", "--convert-legacy", "status|logs|cancel"))
